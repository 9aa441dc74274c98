//! How to delete or empty things.

/// A queue to be deleted. A `&str` or a `String` is a queue to be deleted whatever is in it.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct QueueDelete {
    pub(crate) queue: String,
    pub(crate) if_unused: bool,
    pub(crate) if_empty: bool,
    pub(crate) nowait: bool,
}

impl QueueDelete {
    /// Deletes this queue, its messages and its bindings.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }

    /// Refused with 406 if it has consumers.
    pub fn if_unused(mut self) -> Self {
        self.if_unused = true;
        self
    }

    /// Refused with 406 if it has messages.
    pub fn if_empty(mut self) -> Self {
        self.if_empty = true;
        self
    }

    /// Asks for no reply: the count is 0 then, and an error closes the channel later.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }
}

/// An exchange to be deleted. A `&str` or a `String` is one to be deleted whatever is bound to it.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ExchangeDelete {
    pub(crate) exchange: String,
    pub(crate) if_unused: bool,
    pub(crate) nowait: bool,
}

impl ExchangeDelete {
    /// Deletes this exchange and its bindings.
    pub fn new(exchange: impl Into<String>) -> Self {
        Self { exchange: exchange.into(), ..Self::default() }
    }

    /// Refused with 406 if anything is bound to it.
    pub fn if_unused(mut self) -> Self {
        self.if_unused = true;
        self
    }

    /// Asks for no reply. An error closes the channel later.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }
}

/// A queue to be emptied. A `&str` or a `String` is one with the defaults.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct QueuePurge {
    pub(crate) queue: String,
    pub(crate) nowait: bool,
}

impl QueuePurge {
    /// Empties this queue of what is ready for delivery; what is delivered and unacked stays.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }

    /// Asks for no reply: the count is 0 then, and an error closes the channel later.
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }
}

macro_rules! from_names {
    ($($option:ident)*) => {$(
        impl From<&str> for $option {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl From<&String> for $option {
            fn from(name: &String) -> Self {
                Self::new(name)
            }
        }

        impl From<String> for $option {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }
    )*};
}

from_names!(QueueDelete ExchangeDelete QueuePurge);
