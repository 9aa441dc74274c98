//! How to get one message.

/// A `basic.get`. A `&str` or a `String` is a queue's name with the defaults.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Get {
    pub(crate) queue: String,
    pub(crate) no_ack: bool,
}

impl Get {
    /// Gets from this queue, at most 255 bytes. What is got is to be acked.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }

    /// The broker takes the message for settled as soon as it is sent. If the call is dropped before its reply, the
    /// message is lost: with acks it would be put back.
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }
}

impl From<&str> for Get {
    fn from(queue: &str) -> Self {
        Self::new(queue)
    }
}

impl From<&String> for Get {
    fn from(queue: &String) -> Self {
        Self::new(queue)
    }
}

impl From<String> for Get {
    fn from(queue: String) -> Self {
        Self::new(queue)
    }
}
