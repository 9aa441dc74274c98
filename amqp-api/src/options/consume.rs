//! How to consume.

use amqp_proto::wire::FieldValue;

use super::Arguments;

/// A subscription to a queue. A `&str` or a `String` is a queue's name with the defaults.
///
/// ```
/// # use amqp_api::Consume;
///
/// let consume = Consume::new("orders").tag("importer").prefetch(20).exclusive();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Consume {
    pub(crate) queue: String,
    pub(crate) tag: String,
    pub(crate) prefetch: Option<u16>,
    pub(crate) no_local: bool,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) arguments: Arguments,
}

impl Consume {
    /// Consumes from this queue, at most 255 bytes. Its deliveries are to be acked; the tag is made up; the prefetch is
    /// that of [`Config::prefetch`](crate::Config), by default 100.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }

    /// The consumer's tag, at most 255 bytes and unique on its channel.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// How many deliveries the broker sends ahead of their acks. 0 is no bound on the broker's side; what has been
    /// received and not been read is then bounded in bytes, by pausing the connection's reads.
    pub fn prefetch(mut self, count: u16) -> Self {
        self.prefetch = Some(count);
        self
    }

    /// The broker takes a message for settled as soon as it is sent; it is lost if this side fails. Prefetch does not
    /// apply: see [`prefetch`](Self::prefetch) with 0.
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    /// No messages published on the same connection. RabbitMQ ignores this.
    pub fn no_local(mut self) -> Self {
        self.no_local = true;
        self
    }

    /// No other consumer on the queue; refused with 403 if there is one.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// `x-priority`: consumers with a higher one are served first. Default: 0.
    pub fn priority(self, priority: i32) -> Self {
        self.argument("x-priority", priority)
    }

    /// Adds an argument, such as `x-stream-offset`.
    pub fn argument(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        self.arguments.set(key, value);
        self
    }
}

impl From<&str> for Consume {
    fn from(queue: &str) -> Self {
        Self::new(queue)
    }
}

impl From<&String> for Consume {
    fn from(queue: &String) -> Self {
        Self::new(queue)
    }
}

impl From<String> for Consume {
    fn from(queue: String) -> Self {
        Self::new(queue)
    }
}
