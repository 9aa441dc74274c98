//! Content headers: what stands between a method with content and its body.
//!
//! ```text
//! 0          2        4           12               14
//! +----------+--------+-----------+----------------+-------------+
//! | class-id | weight | body size | property flags | properties… |     0-9-1 §4.2.6.1
//! +----------+--------+-----------+----------------+-------------+
//!    short     short    longlong       short
//! ```

use super::properties::{Properties, PropertiesRef};
use crate::wire::{DecodeError, DecodeErrorKind, EncodeError, FRAME_END, FrameKind, Reader, frame_header};

/// Bytes before the property flags.
pub(super) const FIXED_LEN: usize = 12;

/// A content header. Its properties are decoded when asked for.
///
/// ```
/// use amqp_proto::method::ContentHeader;
///
/// let payload = b"\0\x3C\0\0\0\0\0\0\0\0\0\x05\x10\0\x02";
/// let header = ContentHeader::decode(payload)?;
/// assert_eq!((header.class_id, header.body_size), (60, 5));
/// assert_eq!(header.properties.decode()?.delivery_mode, Some(2));
/// # Ok::<(), amqp_proto::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it: 60, basic, in 0-9-1.
    pub class_id: u16,
    /// Bytes of the body that follows. Any number can stand here: allocate nothing on its word.
    pub body_size: u64,
    /// The properties, not decoded.
    pub properties: RawProperties<'a>,
}

impl<'a> ContentHeader<'a> {
    /// Decodes class and body size from the payload of a header frame.
    ///
    /// # Errors
    /// If the payload is shorter than 12 bytes.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let mut fixed = || Some((reader.read()?, reader.read::<u16>()?, reader.read()?));
        match fixed() {
            Some((class_id, _weight, body_size)) => {
                Ok(Self { class_id, body_size, properties: RawProperties(reader.rest()) })
            }
            None => Err(truncated_header(payload)),
        }
    }
}

/// The payload ends before the properties.
#[cold]
fn truncated_header(payload: &[u8]) -> DecodeError {
    let field = match payload.len() {
        0..2 => "class_id",
        2..4 => "weight",
        _ => "body_size",
    };
    header_error(field, payload.len(), DecodeErrorKind::Truncated)
}

/// An error in a content header.
pub(super) fn header_error(field: &'static str, offset: usize, kind: DecodeErrorKind) -> DecodeError {
    DecodeError { class_id: super::basic::CLASS_ID, method_id: 0, name: "content header", field, offset, kind }
}

/// Property flags and properties of a content header, not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawProperties<'a>(&'a [u8]);

impl<'a> RawProperties<'a> {
    /// What [`as_bytes`](Self::as_bytes) gave.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes from the property flags to the end of the payload.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Decodes the properties.
    ///
    /// # Errors
    /// If they do not decode or something follows them. The error's offset counts from the start of the content
    /// header.
    #[inline]
    pub fn decode(self) -> Result<PropertiesRef<'a>, DecodeError> {
        PropertiesRef::decode(self.0)
    }
}

/// Appends a whole frame with a content header. 60 is the class of [`basic`](super::basic::CLASS_ID).
///
/// A publish is three frames and more, which must go out one behind the other:
///
/// ```
/// use amqp_proto::method::{Properties, basic, put_content_header, put_method};
/// use amqp_proto::wire::{EncodeError, FrameKind, ShortStr, put_frame};
///
/// let mut properties = Properties::new();
/// properties.set_delivery_mode(2);
///
/// let mut out = Vec::new();
/// let routing_key = ShortStr::new("hello")?;
/// put_method(&mut out, 1, &basic::Publish { routing_key, ..Default::default() })?;
/// put_content_header(&mut out, 1, basic::CLASS_ID, 5, &properties)?;
/// put_frame(&mut out, FrameKind::Body, 1, b"world")?;
/// # Ok::<(), EncodeError>(())
/// ```
///
/// # Errors
/// [`EncodeError::TooLong`] if the properties are longer than a length of 32 bits can say; `out` is then as it was.
/// Whether the frame is larger than negotiated is the caller's business: a header cannot be split.
#[inline]
pub fn put_content_header(
    out: &mut Vec<u8>,
    channel: u16,
    class_id: u16,
    body_size: u64,
    properties: &Properties,
) -> Result<(), EncodeError> {
    let (flags, fields) = properties.wire();
    let len = FIXED_LEN + 2 + fields.len();
    let size = u32::try_from(len).map_err(|_| EncodeError::over_u32(len))?;
    let mut head = [0; 7 + FIXED_LEN + 2];
    head[..7].copy_from_slice(&frame_header(FrameKind::Header, channel, size));
    head[7..9].copy_from_slice(&class_id.to_be_bytes());
    head[11..19].copy_from_slice(&body_size.to_be_bytes());
    head[19..].copy_from_slice(&flags.to_be_bytes());
    out.reserve(head.len() + fields.len() + 1);
    out.extend_from_slice(&head);
    out.extend_from_slice(fields);
    out.push(FRAME_END);
    Ok(())
}
