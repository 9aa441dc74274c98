//! How to cancel a consumer by its tag.

/// A `basic.cancel`. A `&str` or a `String` is a consumer's tag with the defaults.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Cancel {
    pub(crate) tag: String,
    pub(crate) nowait: bool,
}

impl Cancel {
    /// Cancels the consumer of this tag, at most 255 bytes.
    pub fn new(consumer_tag: impl Into<String>) -> Self {
        Self { tag: consumer_tag.into(), nowait: false }
    }

    /// Asks for no answer. The consumer ends at once, after what it has received; what is still on its way is put back,
    /// or, without acks, lost.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }
}

impl From<&str> for Cancel {
    fn from(consumer_tag: &str) -> Self {
        Self::new(consumer_tag)
    }
}

impl From<&String> for Cancel {
    fn from(consumer_tag: &String) -> Self {
        Self::new(consumer_tag)
    }
}

impl From<String> for Cancel {
    fn from(consumer_tag: String) -> Self {
        Self::new(consumer_tag)
    }
}
