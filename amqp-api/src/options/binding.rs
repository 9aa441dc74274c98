//! What ties a queue or an exchange to an exchange.

use amqp_proto::wire::FieldValue;

use super::Arguments;

/// The routing key and the arguments of a binding. A `&str` or a `String` is a binding with this routing key.
///
/// ```
/// # use amqp_api::Binding;
///
/// let by_key = Binding::new("order.*");
/// let by_headers = Binding::default().argument("x-match", "all").argument("format", "pdf");
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Binding {
    pub(crate) routing_key: String,
    pub(crate) nowait: bool,
    pub(crate) arguments: Arguments,
}

impl Binding {
    /// A binding with this routing key, at most 255 bytes; a pattern at a topic exchange. `Binding::default()` has an
    /// empty one, as bindings of fanout and headers exchanges do.
    pub fn new(routing_key: impl Into<String>) -> Self {
        Self { routing_key: routing_key.into(), ..Self::default() }
    }

    /// Adds an argument: at a headers exchange, `x-match` or a header to be matched.
    pub fn argument(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        self.arguments.set(key, value);
        self
    }

    /// Asks for no reply. An error closes the channel later. `queue.unbind` has no such form and ignores it.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }
}

impl From<&str> for Binding {
    fn from(routing_key: &str) -> Self {
        Self::new(routing_key)
    }
}

impl From<&String> for Binding {
    fn from(routing_key: &String) -> Self {
        Self::new(routing_key)
    }
}

impl From<String> for Binding {
    fn from(routing_key: String) -> Self {
        Self::new(routing_key)
    }
}
