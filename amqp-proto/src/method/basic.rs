//! Class basic: publishing, consuming and acknowledging messages.

use super::class::class;
use super::reply_code::ReplyCode;
use crate::wire::{ShortStr, TableRef};

class! {
    /// Any method of class basic.
    "basic" = 60, Basic: enum Method<'a>;

    /// Limits how much may be delivered and not acknowledged.
    "qos" = 10, client, sync, plain, replies "qos-ok";
    struct Qos {
        /// The limit in bytes; RabbitMQ knows only 0, no limit.
        pub prefetch_size: u32,
        /// The limit in messages; 0 is no limit.
        pub prefetch_count: u16,
        /// For the channel as a whole, and not for each consumer that comes after.
        pub global: bool,
    }

    /// The limit holds.
    "qos-ok" = 11, server, sync, plain;
    struct QosOk {}

    /// Starts a consumer.
    "consume" = 20, client, sync, plain, replies "consume-ok";
    struct Consume<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// The consumer's name on the channel; if empty, the broker makes one.
        pub consumer_tag: ShortStr<'a>,
        /// Leave out what this connection publishes. RabbitMQ ignores it.
        pub no_local: bool,
        /// Messages count as acknowledged when they are sent.
        pub no_ack: bool,
        /// No other consumer may be on the queue.
        pub exclusive: bool,
        /// Do not answer.
        pub nowait: bool,
        /// Arguments, such as `x-priority`.
        pub arguments: TableRef<'a>,
    }

    /// The consumer is there.
    "consume-ok" = 21, server, sync, plain;
    struct ConsumeOk<'a> {
        /// Its name.
        pub consumer_tag: ShortStr<'a>,
    }

    /// Ends a consumer. The broker sends it when the queue has gone.
    "cancel" = 30, both, sync, plain, replies "cancel-ok";
    struct Cancel<'a> {
        /// The consumer.
        pub consumer_tag: ShortStr<'a>,
        /// Do not answer.
        pub nowait: bool,
    }

    /// The consumer is gone.
    "cancel-ok" = 31, both, sync, plain;
    struct CancelOk<'a> {
        /// The consumer.
        pub consumer_tag: ShortStr<'a>,
    }

    /// Publishes a message.
    "publish" = 40, client, async, content;
    struct Publish<'a> {
        reserved reserved_1: u16,
        /// The exchange; the empty one routes to the queue that the routing key names.
        pub exchange: ShortStr<'a>,
        /// Where to, by the exchange's type.
        pub routing_key: ShortStr<'a>,
        /// Return it if it is routed to no queue.
        pub mandatory: bool,
        /// Return it if no consumer takes it at once. RabbitMQ refuses it.
        pub immediate: bool,
    }

    /// Gives a message back.
    "return" = 50, server, async, content;
    struct Return<'a> {
        /// Why.
        pub reply_code: ReplyCode,
        /// Why, in words.
        pub reply_text: ShortStr<'a>,
        /// The exchange it was published to.
        pub exchange: ShortStr<'a>,
        /// The routing key it was published with.
        pub routing_key: ShortStr<'a>,
    }

    /// A message for a consumer.
    "deliver" = 60, server, async, content;
    struct Deliver<'a> {
        /// The consumer.
        pub consumer_tag: ShortStr<'a>,
        /// The message's number on the channel.
        pub delivery_tag: u64,
        /// It may have been delivered before.
        pub redelivered: bool,
        /// The exchange it was published to.
        pub exchange: ShortStr<'a>,
        /// The routing key it was published with.
        pub routing_key: ShortStr<'a>,
    }

    /// Asks for one message.
    "get" = 70, client, sync, plain, replies "get-ok" | "get-empty";
    struct Get<'a> {
        reserved reserved_1: u16,
        /// The queue; if empty, the one the channel declared last.
        pub queue: ShortStr<'a>,
        /// The message counts as acknowledged when it is sent.
        pub no_ack: bool,
    }

    /// Here it is.
    "get-ok" = 71, server, sync, content;
    struct GetOk<'a> {
        /// The message's number on the channel.
        pub delivery_tag: u64,
        /// It may have been delivered before.
        pub redelivered: bool,
        /// The exchange it was published to.
        pub exchange: ShortStr<'a>,
        /// The routing key it was published with.
        pub routing_key: ShortStr<'a>,
        /// Messages that are left in the queue.
        pub message_count: u32,
    }

    /// There is none.
    "get-empty" = 72, server, sync, plain;
    struct GetEmpty {
        reserved reserved_1: ShortStr<'a>,
    }

    /// Acknowledges deliveries; from the broker, confirms publishes.
    "ack" = 80, both, async, plain;
    struct Ack {
        /// The delivery, or the publish.
        pub delivery_tag: u64,
        /// And all before it; with tag 0, all there are.
        pub multiple: bool,
    }

    /// Refuses a delivery.
    "reject" = 90, client, async, plain;
    struct Reject {
        /// The delivery.
        pub delivery_tag: u64,
        /// Put it back into the queue, instead of discarding or dead-lettering it.
        pub requeue: bool,
    }

    /// Asks for all unacknowledged deliveries again, without an answer. Deprecated.
    "recover-async" = 100, client, async, plain;
    struct RecoverAsync {
        /// Put them back into the queue, instead of delivering them to the same consumer.
        pub requeue: bool,
    }

    /// Asks for all unacknowledged deliveries again.
    "recover" = 110, client, sync, plain, replies "recover-ok";
    struct Recover {
        /// Put them back into the queue, instead of delivering them to the same consumer. RabbitMQ refuses false.
        pub requeue: bool,
    }

    /// They will come.
    "recover-ok" = 111, server, sync, plain;
    struct RecoverOk {}

    /// Refuses deliveries; from the broker, publishes. (RabbitMQ)
    "nack" = 120, both, async, plain;
    struct Nack {
        /// The delivery, or the publish.
        pub delivery_tag: u64,
        /// And all before it; with tag 0, all there are.
        pub multiple: bool,
        /// Put them back into the queue, instead of discarding or dead-lettering them.
        pub requeue: bool,
    }
}
