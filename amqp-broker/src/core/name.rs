//! Names of exchanges, queues, consumers, virtual hosts and users.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A name: bytes that should be UTF-8, shared by all who hold it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<[u8]>);

impl Name {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As RabbitMQ does with the names in declarations.
    pub(crate) fn without_line_ends(bytes: &[u8]) -> Self {
        match bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            false => Self::from(bytes),
            true => Self(bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()),
        }
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}
