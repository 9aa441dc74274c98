//! What can go wrong between bytes and fields.

use std::fmt;

/// The byte stream does not fall into frames. Nothing behind it can be read: the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame's announced size is over the limit. It was not buffered.
    #[error("a frame of {size} bytes was announced, the limit is {limit}")]
    TooLarge {
        /// Bytes of the whole frame: payload and 8 bytes of overhead.
        size: u64,
        /// The limit on it, in bytes.
        limit: u32,
    },
    /// A frame does not end with the octet 0xCE.
    #[error("a frame ends with {octet:#04x} instead of 0xCE")]
    BadEnd {
        /// What stands at its place.
        octet: u8,
    },
    /// A frame type that 0-9-1 does not define.
    #[error("unknown frame type {0}")]
    UnknownType(u8),
    /// The peer answered with a protocol header, because it does not speak our version. These are the four bytes
    /// behind `AMQP`, for example `[0, 0, 9, 1]`.
    #[error("the peer answered with a protocol header: it offers AMQP version {}.{}.{} (protocol {})",
        .0[1], .0[2], .0[3], .0[0])]
    ProtocolHeader([u8; 4]),
    /// The stream ended inside a protocol header.
    #[error("the stream ended inside a protocol header, after {have} of 8 bytes")]
    TruncatedProtocolHeader {
        /// Bytes that were there, fewer than 8.
        have: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {have} bytes of it")]
    TruncatedFrame {
        /// Bytes of the frame that were there.
        have: usize,
    },
}

/// The payload of a frame does not decode.
///
/// It is displayed as `basic.deliver.routing_key at byte 17: the payload ends here`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeError {
    /// The class, 0 where it was not readable or there is none.
    pub class_id: u16,
    /// The method; 0 in a content header or where there is none.
    pub method_id: u16,
    /// Name of the method, such as `basic.deliver`, or `content header`, `method`, `table`.
    pub name: &'static str,
    /// Name of the field, empty where no field is to blame.
    pub field: &'static str,
    /// Where, in bytes from the start of the frame's payload.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The payload, or the table or array around it, ends inside the field: it is cut off, or a declared length
    /// reaches beyond the end.
    #[error("the payload ends inside the field")]
    Truncated,
    /// Bytes are left over behind the last field.
    #[error("{0} bytes are left over")]
    TrailingBytes(usize),
    /// No class of 0-9-1.
    #[error("unknown class {0}")]
    UnknownClass(u16),
    /// No method of this class.
    #[error("unknown method {1} of class {0}")]
    UnknownMethod(u16, u16),
    /// No type of a field value.
    #[error("unknown field value type {0:#04x}")]
    UnknownTag(u8),
    /// The key of a table is not UTF-8.
    #[error("a table's key is not UTF-8")]
    KeyNotUtf8,
    /// Tables and arrays are nested deeper than [`MAX_TABLE_DEPTH`](super::MAX_TABLE_DEPTH).
    #[error("tables are nested deeper than {}", super::MAX_TABLE_DEPTH)]
    TooDeep,
    /// A property flag that 0-9-1 does not define is set.
    #[error("unknown property flags {0:#06x}")]
    UnknownPropertyFlags(u16),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.field.is_empty() {
            write!(f, ".{}", self.field)?;
        }
        write!(f, " at byte {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// Something cannot be put into AMQP's form. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A name or other short string is longer than 255 bytes.
    #[error("the {field} has {len} bytes, at most 255 are possible")]
    ShortStringTooLong {
        /// What it is: `queue`, `routing key` …, or `short text` where that is not known.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// Tables and arrays are nested deeper than [`MAX_TABLE_DEPTH`](super::MAX_TABLE_DEPTH).
    #[error("tables are nested deeper than {}", super::MAX_TABLE_DEPTH)]
    TooDeep,
    /// A string, a table, an array or a payload is longer than its length field can say, or than the limit.
    #[error("{size} bytes, at most {limit} are possible")]
    TooLong {
        /// Its length in bytes.
        size: usize,
        /// What is possible, in bytes.
        limit: usize,
    },
    /// A floating-point number is infinite or no number. Brokers written in Erlang cannot represent it: RabbitMQ closes
    /// the socket without a word. (It is not looked for in tables that were received and are sent on.)
    #[error("the value of {key:?} is a floating-point number that is infinite or none at all")]
    NotFinite {
        /// The key of the table's entry that it is, or stands in.
        key: String,
    },
}

impl EncodeError {
    /// Longer than a length field of 32 bits can say.
    #[cold]
    pub(crate) fn over_u32(size: usize) -> Self {
        Self::TooLong { size, limit: u32::MAX as usize }
    }
}
