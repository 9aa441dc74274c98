//! How to declare a queue.

use std::time::Duration;

use amqp_proto::wire::FieldValue;

use super::arguments::{Arguments, milliseconds, number, seconds};

/// A queue to be declared. A `&str` or a `String` is a durable queue of this name.
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_api::Queue;
///
/// let orders = Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5);
/// let lately = Queue::new("lately").ttl(Duration::from_secs(60)).max_length(1000);
/// let replies = Queue::server_named();
/// ```
///
/// A queue that exists already has to have been declared in the same way: a difference is refused with 406.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) passive: bool,
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) nowait: bool,
    pub(crate) arguments: Arguments,
}

/// What happens to a queue that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest messages are dropped or dead-lettered. The broker's default.
    DropHead,
    /// New messages are refused; a publisher with confirms gets a nack.
    RejectPublish,
    /// The same, and they are dead-lettered. Classic queues only.
    RejectPublishDlx,
}

/// How sure it is that what a quorum queue dead-letters arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterStrategy {
    /// It may be lost on the way. The broker's default.
    AtMostOnce,
    /// It is kept until the target queues have confirmed it. Needs a dead-letter exchange and
    /// [`Overflow::RejectPublish`].
    AtLeastOnce,
}

/// How a classic queue keeps its messages, before RabbitMQ 3.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueMode {
    /// In memory as far as possible. The broker's default.
    Default,
    /// On disk as far as possible, which all queues do since 3.12.
    Lazy,
}

/// On which node the leader of a replicated queue is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaderLocator {
    /// The one that the declaring connection is on. The broker's default.
    ClientLocal,
    /// The one with the fewest leaders.
    Balanced,
}

impl Queue {
    /// A durable queue of the broker's default type: classic, unless the virtual host says otherwise. The name is at
    /// most 255 bytes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), durable: true, ..Self::default() }
    }

    /// A durable classic queue, by `x-queue-type`.
    pub fn classic(name: impl Into<String>) -> Self {
        Self::new(name).argument("x-queue-type", "classic")
    }

    /// A quorum queue: replicated, durable.
    pub fn quorum(name: impl Into<String>) -> Self {
        Self::new(name).argument("x-queue-type", "quorum")
    }

    /// A stream: a replicated log that is read without being emptied.
    pub fn stream(name: impl Into<String>) -> Self {
        Self::new(name).argument("x-queue-type", "stream")
    }

    /// A queue of this connection alone, that goes with it. Nobody else may use it: 405.
    pub fn exclusive(name: impl Into<String>) -> Self {
        Self { name: name.into(), exclusive: true, ..Self::default() }
    }

    /// An [`exclusive`](Self::exclusive) queue whose name the broker makes up: the call's result has it.
    pub fn server_named() -> Self {
        Self::exclusive("")
    }

    /// Only asks whether it exists, and for its counts: 404 if not.
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// Whether it outlives a restart of the broker. Default: true, but for exclusive queues.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// It goes when its last consumer goes.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// Asks for no reply: the counts are 0 then, and an error closes the channel later. Needs a name.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }

    /// `x-message-ttl`: how long a message stays, in whole milliseconds.
    pub fn ttl(self, time: Duration) -> Self {
        self.argument("x-message-ttl", milliseconds(time))
    }

    /// `x-expires`: the queue goes when it was not used for this long, in whole milliseconds, at least 1.
    pub fn expires(self, time: Duration) -> Self {
        self.argument("x-expires", milliseconds(time))
    }

    /// `x-max-length`: how many ready messages it holds.
    pub fn max_length(self, messages: u64) -> Self {
        self.argument("x-max-length", number(messages))
    }

    /// `x-max-length-bytes`: how many bytes of ready bodies it holds; of a stream, how large its log grows.
    pub fn max_length_bytes(self, bytes: u64) -> Self {
        self.argument("x-max-length-bytes", number(bytes))
    }

    /// `x-overflow`: what happens when it is full.
    pub fn overflow(self, overflow: Overflow) -> Self {
        let overflow = match overflow {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDlx => "reject-publish-dlx",
        };
        self.argument("x-overflow", overflow)
    }

    /// `x-dead-letter-exchange`: where rejected, expired and dropped messages go.
    pub fn dead_letter_exchange(self, exchange: impl AsRef<str>) -> Self {
        self.argument("x-dead-letter-exchange", exchange.as_ref())
    }

    /// `x-dead-letter-routing-key`: the routing key that they get. Default: the one they had.
    pub fn dead_letter_routing_key(self, routing_key: impl AsRef<str>) -> Self {
        self.argument("x-dead-letter-routing-key", routing_key.as_ref())
    }

    /// `x-single-active-consumer`: one consumer gets all, until it goes.
    pub fn single_active_consumer(self) -> Self {
        self.argument("x-single-active-consumer", true)
    }

    /// `x-max-priority`: how many priorities a classic queue tells apart; brokers advise to use few.
    pub fn max_priority(self, priorities: u8) -> Self {
        self.argument("x-max-priority", i64::from(priorities))
    }

    /// `x-delivery-limit`: how often a quorum queue delivers a message again before it drops or dead-letters it.
    pub fn delivery_limit(self, deliveries: u64) -> Self {
        self.argument("x-delivery-limit", number(deliveries))
    }

    /// `x-dead-letter-strategy`: how sure it is that what a quorum queue dead-letters arrives.
    pub fn dead_letter_strategy(self, strategy: DeadLetterStrategy) -> Self {
        let strategy = match strategy {
            DeadLetterStrategy::AtMostOnce => "at-most-once",
            DeadLetterStrategy::AtLeastOnce => "at-least-once",
        };
        self.argument("x-dead-letter-strategy", strategy)
    }

    /// `x-quorum-initial-group-size`: on how many nodes a quorum queue is put when it is made.
    pub fn initial_group_size(self, nodes: u64) -> Self {
        self.argument("x-quorum-initial-group-size", number(nodes))
    }

    /// `x-quorum-target-group-size`: on how many nodes a quorum queue is to be, as nodes come and go. RabbitMQ has it
    /// since 3.13.
    pub fn target_group_size(self, nodes: u64) -> Self {
        self.argument("x-quorum-target-group-size", number(nodes))
    }

    /// `x-initial-cluster-size`: on how many nodes a stream is put when it is made.
    pub fn initial_cluster_size(self, nodes: u64) -> Self {
        self.argument("x-initial-cluster-size", number(nodes))
    }

    /// `x-max-age`: how long a stream keeps its messages, in whole seconds. They go by segments.
    pub fn max_age(self, time: Duration) -> Self {
        self.argument("x-max-age", seconds(time))
    }

    /// `x-stream-max-segment-size-bytes`: how large a segment file of a stream's log gets; at most 3 GB.
    pub fn stream_max_segment_size(self, bytes: u64) -> Self {
        self.argument("x-stream-max-segment-size-bytes", number(bytes))
    }

    /// `x-stream-filter-size-bytes`: how large the filter of each chunk of a stream is: 16 to 255 bytes, by default 16.
    /// RabbitMQ has it since 3.13.
    pub fn stream_filter_size(self, bytes: u8) -> Self {
        self.argument("x-stream-filter-size-bytes", i64::from(bytes))
    }

    /// `x-queue-version`: which format a classic queue has on disk, 1 or 2. RabbitMQ 4 has only 2.
    pub fn queue_version(self, version: u8) -> Self {
        self.argument("x-queue-version", i64::from(version))
    }

    /// `x-queue-mode`: how a classic queue keeps its messages. RabbitMQ ignores it since 3.12.
    pub fn queue_mode(self, mode: QueueMode) -> Self {
        let mode = match mode {
            QueueMode::Default => "default",
            QueueMode::Lazy => "lazy",
        };
        self.argument("x-queue-mode", mode)
    }

    /// `x-consumer-timeout`: how long a delivery may stay unsettled, in whole milliseconds; then the broker closes the
    /// channel with 406, or, from a quorum queue since RabbitMQ 4.3, cancels the consumer. The broker looks every minute
    /// or so. RabbitMQ has it since 3.12, and since 4.3 no longer for classic queues.
    pub fn consumer_timeout(self, time: Duration) -> Self {
        self.argument("x-consumer-timeout", milliseconds(time))
    }

    /// `x-queue-leader-locator`: where the leader of a quorum queue or stream is put.
    pub fn leader_locator(self, locator: LeaderLocator) -> Self {
        let locator = match locator {
            LeaderLocator::ClientLocal => "client-local",
            LeaderLocator::Balanced => "balanced",
        };
        self.argument("x-queue-leader-locator", locator)
    }

    /// Adds an argument, or replaces it.
    pub fn argument(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        self.arguments.set(key, value);
        self
    }
}

impl From<&str> for Queue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&String> for Queue {
    fn from(name: &String) -> Self {
        Self::new(name)
    }
}

impl From<String> for Queue {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
