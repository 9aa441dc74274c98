//! How to consume.

use std::time::{Duration, SystemTime};

use amqp_proto::conn;
use amqp_proto::error::Error;
use amqp_proto::wire::{FieldValue, ShortStr};

use super::arguments::{Arguments, number, seconds};

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
    queue: String,
    tag: String,
    prefetch: Option<u16>,
    no_local: bool,
    no_ack: bool,
    exclusive: bool,
    nowait: bool,
    pub(super) arguments: Arguments,
    stream_filters: Vec<FieldValue>,
}

/// Where in a stream a consumer begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamOffset {
    /// At the oldest message that there is.
    First,
    /// At the last chunk: a chunk is what the broker has written at a time, one message or some thousands.
    Last,
    /// At what is published from now on. The broker's default.
    Next,
    /// At the message of this number, or the oldest that there is after it. [`Delivery`](crate::Delivery) has the number
    /// of each.
    Offset(u64),
    /// At the chunk that holds this time, in whole seconds: earlier messages may come first.
    Timestamp(SystemTime),
    /// So long ago, in the broker's words: a number and one of `Y`, `M`, `D`, `h`, `m`, `s`, `7D` for example. As for
    /// a timestamp, earlier messages may come first.
    Interval(String),
}

impl StreamOffset {
    /// So long ago, in the broker's words: see [`Interval`](Self::Interval).
    pub fn interval(interval: impl Into<String>) -> Self {
        Self::Interval(interval.into())
    }

    /// So long ago, in whole seconds.
    #[must_use]
    pub fn ago(time: Duration) -> Self {
        Self::Interval(seconds(time))
    }
}

impl From<StreamOffset> for FieldValue {
    fn from(offset: StreamOffset) -> Self {
        match offset {
            StreamOffset::First => Self::from("first"),
            StreamOffset::Last => Self::from("last"),
            StreamOffset::Next => Self::from("next"),
            StreamOffset::Offset(offset) => Self::from(number(offset)),
            // What was before 1970 is before every message.
            StreamOffset::Timestamp(time) => Self::Timestamp(
                time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since_epoch| since_epoch.as_secs()),
            ),
            StreamOffset::Interval(interval) => Self::from(interval),
        }
    }
}

impl Consume {
    /// Consumes from this queue, at most 255 bytes. Its deliveries are to be acked; the tag is made up; the prefetch is
    /// that of [`Config::prefetch`](crate::Config), by default 100.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }

    /// What the core takes. `streamed`: bodies are read while they come in.
    pub(crate) fn fields(&self, streamed: bool) -> Result<conn::Consume<'_>, Error> {
        let fields = || -> Result<_, Error> {
            Ok(conn::Consume {
                queue: ShortStr::named("queue", &self.queue)?,
                consumer_tag: ShortStr::named("consumer tag", &self.tag)?,
                prefetch: self.prefetch,
                no_local: self.no_local,
                no_ack: self.no_ack,
                exclusive: self.exclusive,
                nowait: self.nowait,
                streamed,
                arguments: self.arguments.get()?,
            })
        };
        fields().map_err(|error| error.during("basic.consume"))
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

    /// Asks for no answer: the consumer is there at once, and an error closes the channel later.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }

    /// `x-stream-offset`: where in a stream to begin. Default: [`StreamOffset::Next`].
    ///
    /// ```
    /// # use amqp_api::{Consume, StreamOffset};
    ///
    /// let all = Consume::new("log").stream_offset(StreamOffset::First);
    /// let later = Consume::new("log").stream_offset(StreamOffset::Offset(17)).stream_filter("berlin");
    /// ```
    ///
    /// A stream has to be consumed with acks and with a prefetch, which is the default.
    pub fn stream_offset(self, offset: StreamOffset) -> Self {
        self.argument("x-stream-offset", offset)
    }

    /// `x-stream-filter`: of a stream, only chunks that may hold messages with this filter value
    /// ([`Message::stream_filter_value`](crate::Message::stream_filter_value)); what it is called with more than once is
    /// wanted alternatively. The broker filters by chunks, so messages with other values come along: look again. RabbitMQ
    /// has it since 3.13; before, everything comes.
    pub fn stream_filter(mut self, value: impl Into<String>) -> Self {
        self.stream_filters.push(FieldValue::from(value.into()));
        let values = self.stream_filters.clone();
        self.argument("x-stream-filter", values)
    }

    /// `x-stream-match-unfiltered`: with [`stream_filter`](Self::stream_filter), also messages without a filter value.
    pub fn stream_match_unfiltered(self) -> Self {
        self.argument("x-stream-match-unfiltered", true)
    }

    /// Adds an argument, or replaces it.
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
