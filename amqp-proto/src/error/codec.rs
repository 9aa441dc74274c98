//! What is wrong with a typed or packed body.

use std::sync::Arc;

/// The error of a format's library, as it came.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A value that cannot be written as a body, or a body that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be written in this format.
    #[error("the value cannot be written as {content_type}: {cause}")]
    Encode {
        /// The MIME type of the format.
        content_type: String,
        /// Why not.
        cause: Cause,
    },
    /// The body is not of this format, or is no such value.
    #[error("the body cannot be read as {content_type}: {cause}")]
    Decode {
        /// The MIME type of the format.
        content_type: String,
        /// Why not.
        cause: Cause,
    },
    /// The message says that it is of another format.
    #[error("the content type is {found:?}, and not {expected:?}")]
    ContentType {
        /// What the message says.
        found: String,
        /// What the codec writes, and at least reads.
        expected: String,
    },
    /// The body is packed in a way that is not known here, or that needs a feature that is not enabled.
    #[error("the content encoding {encoding:?} is not known")]
    ContentEncoding {
        /// What the message says.
        encoding: String,
    },
    /// The body does not unpack.
    #[error("the body is no valid {encoding}: {cause}")]
    Unpack {
        /// The content encoding.
        encoding: String,
        /// Why not.
        cause: Cause,
    },
    /// The body unpacks to more than is allowed.
    #[error("the body unpacks to more than {limit} bytes")]
    TooLarge {
        /// [`Limits::max_body`](crate::config::Limits), in bytes.
        limit: u64,
    },
}

impl CodecError {
    /// The error of the format's library, if it was that.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode { cause, .. } | Self::Decode { cause, .. } | Self::Unpack { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}
