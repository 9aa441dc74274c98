//! How to declare an exchange.

use amqp_proto::wire::FieldValue;

use super::Arguments;

/// An exchange to be declared: durable, not deleted by itself, open to publishers.
///
/// ```
/// # use amqp_api::Exchange;
///
/// let events = Exchange::topic("events");
/// let scratch = Exchange::fanout("scratch").durable(false).auto_delete();
/// let delayed = Exchange::custom("later", "x-delayed-message").argument("x-delayed-type", "direct");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Exchange {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) passive: bool,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) nowait: bool,
    pub(crate) arguments: Arguments,
}

impl Exchange {
    /// Routes to the queues whose binding key is the routing key.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::custom(name, "direct")
    }

    /// Routes to every bound queue.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::custom(name, "fanout")
    }

    /// Routes to the queues whose binding key, a pattern of words, matches the routing key: `*` is one word, `#` any
    /// number.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::custom(name, "topic")
    }

    /// Routes to the queues whose binding arguments match the message's headers.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::custom(name, "headers")
    }

    /// An exchange of a type that a plugin brings, `x-consistent-hash` for example. Both are at most 255 bytes.
    pub fn custom(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: Arguments::default(),
        }
    }

    /// Only asks whether it exists: 404 if not, whatever its type.
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// Whether it outlives a restart of the broker. Default: true.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// It goes when the last binding to it goes.
    pub fn auto_delete(mut self) -> Self {
        self.auto_delete = true;
        self
    }

    /// Only other exchanges may publish to it.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Asks for no reply. An error closes the channel later.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }

    /// `alternate-exchange`: gets what no queue would take.
    pub fn alternate_exchange(self, exchange: impl AsRef<str>) -> Self {
        self.argument("alternate-exchange", exchange.as_ref())
    }

    /// Adds an argument.
    pub fn argument(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        self.arguments.set(key, value);
        self
    }
}
