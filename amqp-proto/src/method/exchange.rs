//! Class exchange: exchanges and their bindings to each other.

use super::class::class;
use crate::wire::{ShortStr, TableRef};

class! {
    /// Any method of class exchange.
    "exchange" = 40, Exchange: enum Method<'a>;

    /// Creates an exchange, or checks that it is there.
    "declare" = 10, client, sync, plain, replies "declare-ok";
    struct Declare<'a> {
        reserved reserved_1: u16,
        /// Its name.
        pub exchange: ShortStr<'a>,
        /// Its type: `direct`, `fanout`, `topic`, `headers` or a plug-in's.
        pub kind: ShortStr<'a>,
        /// Only check that it is there.
        pub passive: bool,
        /// It outlives a restart of the broker.
        pub durable: bool,
        /// It is deleted when its last binding goes.
        pub auto_delete: bool,
        /// Only other exchanges may publish to it.
        pub internal: bool,
        /// Do not answer.
        pub nowait: bool,
        /// Arguments, such as `alternate-exchange`.
        pub arguments: TableRef<'a>,
    }

    /// The exchange is there.
    "declare-ok" = 11, server, sync, plain;
    struct DeclareOk {}

    /// Deletes an exchange.
    "delete" = 20, client, sync, plain, replies "delete-ok";
    struct Delete<'a> {
        reserved reserved_1: u16,
        /// Its name.
        pub exchange: ShortStr<'a>,
        /// Only if nothing is bound to it.
        pub if_unused: bool,
        /// Do not answer.
        pub nowait: bool,
    }

    /// The exchange is gone.
    "delete-ok" = 21, server, sync, plain;
    struct DeleteOk {}

    /// Binds an exchange to an exchange. (RabbitMQ)
    "bind" = 30, client, sync, plain, replies "bind-ok";
    struct Bind<'a> {
        reserved reserved_1: u16,
        /// The exchange that gets the messages.
        pub destination: ShortStr<'a>,
        /// The exchange that gives them.
        pub source: ShortStr<'a>,
        /// Which ones, by the source's type.
        pub routing_key: ShortStr<'a>,
        /// Do not answer.
        pub nowait: bool,
        /// Which ones, for headers exchanges.
        pub arguments: TableRef<'a>,
    }

    /// The binding is there. (RabbitMQ)
    "bind-ok" = 31, server, sync, plain;
    struct BindOk {}

    /// Removes a binding of an exchange to an exchange. (RabbitMQ)
    "unbind" = 40, client, sync, plain, replies "unbind-ok";
    struct Unbind<'a> {
        reserved reserved_1: u16,
        /// The exchange that got the messages.
        pub destination: ShortStr<'a>,
        /// The exchange that gave them.
        pub source: ShortStr<'a>,
        /// As in the bind.
        pub routing_key: ShortStr<'a>,
        /// Do not answer.
        pub nowait: bool,
        /// As in the bind.
        pub arguments: TableRef<'a>,
    }

    /// The binding is gone. Its number is 51, not 41. (RabbitMQ)
    "unbind-ok" = 51, server, sync, plain;
    struct UnbindOk {}
}
