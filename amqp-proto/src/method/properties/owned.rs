//! Properties of one's own.

use std::borrow::Borrow;
use std::fmt;

use smallvec::SmallVec;

use super::decoded::{PROPERTIES, PropertiesRef, flag};
use crate::wire::{EncodeError, FieldTable, FieldValue, Reader, ShortStr, Sink, TableRef, WireType, put_entry};

/// The flag of the first property; the next one's is half of it, and so on.
const FIRST: u16 = 1 << 15;

/// Room that is made when headers do not fit beside the other properties, in bytes: most messages need no more.
const HEADERS_ROOM: usize = 128;

/// The properties of a message to be published.
///
/// They are kept as they go over the wire; nothing is allocated while they have up to 32 bytes.
///
/// ```
/// use amqp_proto::method::Properties;
/// use amqp_proto::wire::EncodeError;
///
/// let mut properties = Properties::new();
/// properties.set_delivery_mode(2);
/// properties.set_content_type("text/plain")?;
/// properties.insert_header("attempt", 1)?;
/// let view = properties.view();
/// assert_eq!(view.delivery_mode, Some(2));
/// assert_eq!(view.content_type.unwrap().to_str(), Ok("text/plain"));
/// assert_eq!(view.headers.unwrap().get("attempt").unwrap().as_i64(), Some(1));
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Clone, Default)]
pub struct Properties {
    flags: u16,
    /// Valid properties, those of `flags` in order.
    fields: SmallVec<[u8; 32]>,
}

/// Setters of short strings.
macro_rules! string_setters {
    ($($(#[$doc:meta])* $setter:ident, $flag:ident, $name:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`EncodeError::ShortStringTooLong`] if it has more than 255 bytes.
        pub fn $setter(&mut self, text: impl AsRef<str>) -> Result<(), EncodeError> {
            self.set_string(flag::$flag, $name, text.as_ref())
        }
    )*};
}

impl Properties {
    /// No properties.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Valid properties, those of `flags` in order.
    pub(super) fn from_wire(flags: u16, fields: SmallVec<[u8; 32]>) -> Self {
        Self { flags, fields }
    }

    string_setters! {
        /// Sets the MIME type of the body.
        set_content_type, CONTENT_TYPE, "content type";
        /// Sets the MIME encoding of the body.
        set_content_encoding, CONTENT_ENCODING, "content encoding";
        /// Sets what this is the answer to.
        set_correlation_id, CORRELATION_ID, "correlation id";
        /// Sets the queue to send the answer to.
        set_reply_to, REPLY_TO, "reply to";
        /// Sets the time to live in queues: milliseconds, as decimal digits.
        set_expiration, EXPIRATION, "expiration";
        /// Sets the application's id of the message.
        set_message_id, MESSAGE_ID, "message id";
        /// Sets the `type` property: the application's type of the message.
        set_kind, KIND, "message type";
        /// Sets the publishing user; the broker refuses one that is not the connection's.
        set_user_id, USER_ID, "user id";
        /// Sets the publishing application.
        set_app_id, APP_ID, "app id";
        /// Sets the reserved property, the cluster id of 0-8.
        set_cluster_id, CLUSTER_ID, "cluster id";
    }

    /// Sets the delivery mode: 1 is transient, 2 is persistent.
    pub fn set_delivery_mode(&mut self, mode: u8) {
        self.set(flag::DELIVERY_MODE, [mode], &[]);
    }

    /// Sets the priority, 0 to 255.
    pub fn set_priority(&mut self, priority: u8) {
        self.set(flag::PRIORITY, [priority], &[]);
    }

    /// Sets the timestamp: seconds since 1970-01-01 UTC.
    pub fn set_timestamp(&mut self, seconds: u64) {
        self.set(flag::TIMESTAMP, seconds.to_be_bytes(), &[]);
    }

    /// Sets all the headers.
    ///
    /// # Errors
    /// If the table cannot be encoded.
    pub fn set_headers(&mut self, headers: impl Borrow<FieldTable>) -> Result<(), EncodeError> {
        let headers = headers.borrow().as_ref();
        let size = headers.encodable_size()?;
        self.set(flag::HEADERS, size.to_be_bytes(), headers.as_wire());
        Ok(())
    }

    /// Sets one header, and leaves the others. One of this key is replaced.
    ///
    /// # Errors
    /// As of [`FieldTable::insert`]. The headers are then unchanged.
    pub fn insert_header(&mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Result<(), EncodeError> {
        self.put_header(ShortStr::named("header's key", key.as_ref())?, &value.into())
    }

    fn put_header(&mut self, key: ShortStr<'_>, value: &FieldValue) -> Result<(), EncodeError> {
        let (start, stop) = self.place_of(flag::HEADERS);
        let old = self.fields.get(start + 4..stop).and_then(|entries| TableRef::written(entries).find(key));
        // The entry is written behind everything, with a length before it if it is the first, and then moved to its
        // place.
        let end = self.fields.len();
        if !self.fields.spilled() {
            self.fields.reserve(HEADERS_ROOM);
        }
        if start == stop {
            self.fields.put_few([0; 4]);
        }
        let size = put_entry(&mut self.fields, key, value).and_then(|()| {
            let total = self.fields.len() - end + stop - start;
            u32::try_from(total).map_err(|_| EncodeError::over_u32(total))
        });
        let size = match size {
            Ok(total) => total - 4,
            Err(error) => {
                self.fields.truncate(end);
                return Err(error);
            }
        };
        let written = self.fields.len() - end;
        let (place, old_len) = match old {
            Some((from, to)) => (start + 4 + from, to - from),
            None => (stop, 0),
        };
        if let Some(behind) = self.fields.get_mut(place..) {
            behind.rotate_right(written);
        }
        if old_len > 0 {
            self.fields.drain(place + written..place + written + old_len);
        }
        let size = size - u32::try_from(old_len).unwrap_or_default();
        if let Some(field) = self.fields.get_mut(start..start + 4) {
            field.copy_from_slice(&size.to_be_bytes());
        }
        self.flags |= flag::HEADERS;
        Ok(())
    }

    /// The properties, decoded.
    #[inline]
    #[must_use]
    pub fn view(&self) -> PropertiesRef<'_> {
        // They are valid by construction.
        PropertiesRef::read(self.flags, &mut Reader::new(&self.fields)).unwrap_or_default()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags == 0
    }

    /// How many bytes of a content header's payload they take, with their flags: at least 2. The payload has 12 more.
    #[inline]
    #[must_use]
    pub fn wire_size(&self) -> usize {
        2 + self.fields.len()
    }

    /// Flags and properties.
    #[inline]
    pub(crate) fn wire(&self) -> (u16, &[u8]) {
        (self.flags, &self.fields)
    }

    fn set_string(&mut self, flag: u16, name: &'static str, text: &str) -> Result<(), EncodeError> {
        let text = ShortStr::named(name, text)?;
        self.set(flag, [text.len_octet()], text.as_bytes());
        Ok(())
    }

    /// Puts a property, `head` and `tail`, in its place.
    fn set<const N: usize>(&mut self, flag: u16, head: [u8; N], tail: &[u8]) {
        let (start, stop) = self.place_of(flag);
        if start < stop {
            self.fields.drain(start..stop);
        }
        let end = self.fields.len();
        self.fields.put_few(head);
        if !tail.is_empty() {
            self.fields.put(tail);
        }
        if start < end
            && let Some(behind) = self.fields.get_mut(start..)
        {
            behind.rotate_right(N + tail.len());
        }
        self.flags |= flag;
    }

    /// From where to where a property reaches, or would.
    fn place_of(&self, flag: u16) -> (usize, usize) {
        // Higher bits come first.
        let mut before = self.flags & !(flag | (flag - 1));
        let mut start = 0;
        while before != 0 {
            let next = before.leading_zeros();
            start += self.size_at(start, next);
            before &= !(FIRST >> next);
        }
        let size = if self.flags & flag == 0 { 0 } else { self.size_at(start, flag.leading_zeros()) };
        (start, start + size)
    }

    /// Bytes of the property that starts here, the one of this number. It is valid.
    #[inline]
    fn size_at(&self, start: usize, number: u32) -> usize {
        let rest = self.fields.get(start..).unwrap_or_default();
        match PROPERTIES.get(number as usize).map(|property| property.wire_type) {
            Some(WireType::ShortStr) => 1 + rest.first().copied().map_or(0, usize::from),
            Some(WireType::Table) => 4 + rest.first_chunk().copied().map_or(0, u32::from_be_bytes) as usize,
            Some(WireType::Timestamp) => 8,
            _ => 1,
        }
    }
}

impl From<PropertiesRef<'_>> for Properties {
    fn from(properties: PropertiesRef<'_>) -> Self {
        properties.to_owned()
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for Properties {}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
