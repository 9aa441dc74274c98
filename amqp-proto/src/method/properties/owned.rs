//! Properties of one's own.

use std::borrow::Borrow;
use std::fmt;

use smallvec::SmallVec;

use super::decoded::{PROPERTIES, PropertiesRef, flag};
use crate::wire::{EncodeError, FieldChecker, FieldTable, FieldValue, Reader, ShortStr, WireType};

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
    ($($(#[$doc:meta])* $setter:ident, $flag:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`EncodeError::ShortStringTooLong`] if it has more than 255 bytes.
        pub fn $setter(&mut self, text: impl AsRef<str>) -> Result<(), EncodeError> {
            self.set_string(flag::$flag, text.as_ref())
        }
    )*};
}

impl Properties {
    /// No properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Valid properties, those of `flags` in order.
    pub(super) fn from_wire(flags: u16, fields: SmallVec<[u8; 32]>) -> Self {
        Self { flags, fields }
    }

    string_setters! {
        /// Sets the MIME type of the body.
        set_content_type, CONTENT_TYPE;
        /// Sets the MIME encoding of the body.
        set_content_encoding, CONTENT_ENCODING;
        /// Sets what this is the answer to.
        set_correlation_id, CORRELATION_ID;
        /// Sets the queue to send the answer to.
        set_reply_to, REPLY_TO;
        /// Sets the time to live in queues: milliseconds, as decimal digits.
        set_expiration, EXPIRATION;
        /// Sets the application's id of the message.
        set_message_id, MESSAGE_ID;
        /// Sets the `type` property: the application's type of the message.
        set_kind, KIND;
        /// Sets the publishing user; the broker refuses one that is not the connection's.
        set_user_id, USER_ID;
        /// Sets the publishing application.
        set_app_id, APP_ID;
        /// Sets the reserved property, the cluster id of 0-8.
        set_cluster_id, CLUSTER_ID;
    }

    /// Sets the delivery mode: 1 is transient, 2 is persistent.
    pub fn set_delivery_mode(&mut self, mode: u8) {
        self.set(flag::DELIVERY_MODE, &[], &[mode]);
    }

    /// Sets the priority, 0 to 255.
    pub fn set_priority(&mut self, priority: u8) {
        self.set(flag::PRIORITY, &[], &[priority]);
    }

    /// Sets the timestamp: seconds since 1970-01-01 UTC.
    pub fn set_timestamp(&mut self, seconds: u64) {
        self.set(flag::TIMESTAMP, &[], &seconds.to_be_bytes());
    }

    /// Sets all the headers.
    ///
    /// # Errors
    /// If the table cannot be encoded.
    pub fn set_headers(&mut self, headers: impl Borrow<FieldTable>) -> Result<(), EncodeError> {
        let headers = headers.borrow().as_ref();
        let size = headers.encodable_size()?;
        self.set(flag::HEADERS, &size.to_be_bytes(), headers.as_wire());
        Ok(())
    }

    /// Sets one header, and leaves the others. One of this key is replaced.
    ///
    /// # Errors
    /// As of [`FieldTable::insert`]. The headers are then unchanged.
    pub fn insert_header(&mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Result<(), EncodeError> {
        let mut headers = self.view().headers.map(|headers| headers.to_owned()).unwrap_or_default();
        headers.insert(key, value)?;
        self.set_headers(&headers)
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
    pub(in crate::method) fn wire(&self) -> (u16, &[u8]) {
        (self.flags, &self.fields)
    }

    fn set_string(&mut self, flag: u16, text: &str) -> Result<(), EncodeError> {
        let text = ShortStr::new(text)?;
        self.set(flag, &[text.len_octet()], text.as_bytes());
        Ok(())
    }

    /// Puts a property, `head` and `tail`, in its place.
    fn set(&mut self, flag: u16, head: &[u8], tail: &[u8]) {
        let (start, stop) = self.place_of(flag);
        if start < stop {
            self.fields.drain(start..stop);
        }
        self.fields.insert_from_slice(start, tail);
        self.fields.insert_from_slice(start, head);
        self.flags |= flag;
    }

    /// From where to where a property reaches, or would.
    fn place_of(&self, flag: u16) -> (usize, usize) {
        let mut end = 0;
        for property in PROPERTIES.iter().filter(|property| self.flags & property.flag != 0) {
            if property.flag < flag {
                break;
            }
            let start = end;
            end = start + self.size_at(start, property.wire_type);
            if property.flag == flag {
                return (start, end);
            }
        }
        (end, end)
    }

    /// Bytes of the property that starts here.
    fn size_at(&self, start: usize, wire_type: WireType) -> usize {
        let rest = self.fields.get(start..).unwrap_or_default();
        let mut checker = FieldChecker::new(rest);
        match checker.check(wire_type) {
            Ok(()) => rest.len() - checker.rest().len(),
            Err(_) => 0,
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
