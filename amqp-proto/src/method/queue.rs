//! Class queue: queues and their bindings to exchanges.

use super::class::class;
use crate::wire::{ShortStr, TableRef};

class! {
    /// Any method of class queue.
    "queue" = 50, Queue: enum Method<'a>;

    /// Creates a queue, or checks that it is there.
    "declare" = 10, client, sync, plain, replies "declare-ok";
    struct Declare<'a> {
        reserved reserved_1: u16,
        /// Its name; if empty, the broker makes one.
        pub queue: ShortStr<'a>,
        /// Only check that it is there.
        pub passive: bool,
        /// It outlives a restart of the broker.
        pub durable: bool,
        /// Only this connection may use it; it is deleted with the connection.
        pub exclusive: bool,
        /// It is deleted when its last consumer goes.
        pub auto_delete: bool,
        /// Do not answer.
        pub nowait: bool,
        /// Arguments, such as `x-queue-type`.
        pub arguments: TableRef<'a>,
    }

    /// The queue is there.
    "declare-ok" = 11, server, sync, plain;
    struct DeclareOk<'a> {
        /// Its name.
        pub queue: ShortStr<'a>,
        /// Messages that are ready in it.
        pub message_count: u32,
        /// Its consumers.
        pub consumer_count: u32,
    }

    /// Binds a queue to an exchange.
    "bind" = 20, client, sync, plain, replies "bind-ok";
    struct Bind<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// The exchange.
        pub exchange: ShortStr<'a>,
        /// Which messages, by the exchange's type.
        pub routing_key: ShortStr<'a>,
        /// Do not answer.
        pub nowait: bool,
        /// Which messages, for headers exchanges.
        pub arguments: TableRef<'a>,
    }

    /// The binding is there.
    "bind-ok" = 21, server, sync, plain;
    struct BindOk {}

    /// Removes a queue's binding.
    "unbind" = 50, client, sync, plain, replies "unbind-ok";
    struct Unbind<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// The exchange.
        pub exchange: ShortStr<'a>,
        /// As in the bind.
        pub routing_key: ShortStr<'a>,
        /// As in the bind.
        pub arguments: TableRef<'a>,
    }

    /// The binding is gone.
    "unbind-ok" = 51, server, sync, plain;
    struct UnbindOk {}

    /// Removes the messages that are ready in a queue.
    "purge" = 30, client, sync, plain, replies "purge-ok";
    struct Purge<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// Do not answer.
        pub nowait: bool,
    }

    /// They are gone.
    "purge-ok" = 31, server, sync, plain;
    struct PurgeOk {
        /// How many there were.
        pub message_count: u32,
    }

    /// Deletes a queue.
    "delete" = 40, client, sync, plain, replies "delete-ok";
    struct Delete<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// Only if it has no consumers.
        pub if_unused: bool,
        /// Only if it has no messages.
        pub if_empty: bool,
        /// Do not answer.
        pub nowait: bool,
    }

    /// The queue is gone.
    "delete-ok" = 41, server, sync, plain;
    struct DeleteOk {
        /// How many messages were in it.
        pub message_count: u32,
    }
}
