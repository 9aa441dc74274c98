//! Decoded properties, and the table of properties.

use std::fmt;

use smallvec::SmallVec;

use super::owned::Properties;
use crate::method::header::{FIXED_LEN, header_error};
use crate::wire::{
    DecodeError, DecodeErrorKind, EncodeError, Field, FieldChecker, Reader, ShortStr, TableRef, WireType, Writer,
};

/// The lowest bits of a word of flags: not a property, and whether another word follows.
const CONTINUED: u16 = 1;
const UNDEFINED: u16 = 2;

/// A row of the table of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PropertyInfo {
    /// Its name, as in [`PropertiesRef`].
    pub name: &'static str,
    /// Its type.
    pub wire_type: WireType,
    /// Its bit in the property flags.
    pub flag: u16,
}

/// Makes everything that has a line per property.
macro_rules! properties {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $wire_type:ident, $flag:ident = $bit:literal;)*) => {
        /// The bits of the property flags.
        pub(super) mod flag {
            $(pub(in crate::method::properties) const $flag: u16 = 1 << $bit;)*
        }

        /// The properties, in the order of the wire.
        pub const PROPERTIES: [PropertyInfo; 14] = [$(PropertyInfo {
            name: stringify!($field),
            wire_type: WireType::$wire_type,
            flag: flag::$flag,
        },)*];

        /// The properties of a message, decoded and borrowed.
        ///
        /// Two are equal if all of them are, headers regardless of order; see [`TableRef`].
        #[derive(Clone, Copy, PartialEq, Eq, Default)]
        pub struct PropertiesRef<'a> {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl<'a> PropertiesRef<'a> {
            /// Reads the properties that `flags` announces, in order.
            #[inline]
            pub(super) fn read(flags: u16, reader: &mut Reader<'a>) -> Option<Self> {
                let mut properties = Self::default();
                $(
                    if flags & flag::$flag != 0 {
                        properties.$field = Some(reader.read()?);
                    }
                )*
                Some(properties)
            }

            /// Appends what is there and gives the flags.
            fn put(&self, writer: &mut Writer<'_>) -> Result<u16, EncodeError> {
                let mut flags = 0;
                $(
                    if let Some(property) = self.$field {
                        flags |= flag::$flag;
                        property.put(writer)?;
                    }
                )*
                Ok(flags)
            }
        }

        impl fmt::Debug for PropertiesRef<'_> {
            /// Prints what is there.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct("Properties");
                $(
                    if let Some(property) = &self.$field {
                        out.field(stringify!($field), property);
                    }
                )*
                out.finish()
            }
        }
    };
}

properties! {
    /// MIME type of the body.
    content_type: ShortStr<'a> = ShortStr, CONTENT_TYPE = 15;
    /// MIME encoding of the body, `gzip` for example.
    content_encoding: ShortStr<'a> = ShortStr, CONTENT_ENCODING = 14;
    /// Headers of the application, and the broker's `x-` ones.
    headers: TableRef<'a> = Table, HEADERS = 13;
    /// 1 is transient, 2 is persistent.
    delivery_mode: u8 = Octet, DELIVERY_MODE = 12;
    /// Priority, 0 to 255, in queues that know priorities.
    priority: u8 = Octet, PRIORITY = 11;
    /// What this is the answer to.
    correlation_id: ShortStr<'a> = ShortStr, CORRELATION_ID = 10;
    /// Where to send the answer: a queue.
    reply_to: ShortStr<'a> = ShortStr, REPLY_TO = 9;
    /// Time to live in queues: milliseconds, as decimal digits.
    expiration: ShortStr<'a> = ShortStr, EXPIRATION = 8;
    /// The application's id of the message.
    message_id: ShortStr<'a> = ShortStr, MESSAGE_ID = 7;
    /// Seconds since 1970-01-01 UTC.
    timestamp: u64 = Timestamp, TIMESTAMP = 6;
    /// The `type` property: the application's type of the message.
    kind: ShortStr<'a> = ShortStr, KIND = 5;
    /// The publishing user; the broker checks it.
    user_id: ShortStr<'a> = ShortStr, USER_ID = 4;
    /// The publishing application.
    app_id: ShortStr<'a> = ShortStr, APP_ID = 3;
    /// Reserved in 0-9-1; the cluster id of 0-8.
    cluster_id: ShortStr<'a> = ShortStr, CLUSTER_ID = 2;
}

impl<'a> PropertiesRef<'a> {
    /// Decodes flags and properties, all of `bytes`.
    #[inline]
    pub(in crate::method) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if let Some((flags, mut reader)) = read_flags(bytes)
            && let Some(properties) = Self::read(flags, &mut reader)
            && reader.rest().is_empty()
        {
            return Ok(properties);
        }
        Err(explain(bytes))
    }

    /// A copy that does not borrow.
    #[must_use]
    pub fn to_owned(&self) -> Properties {
        let mut fields = Vec::new();
        let mut writer = Writer::new(&mut fields);
        // Without headers nothing can fail.
        let flags = PropertiesRef { headers: None, ..*self }.put(&mut writer).unwrap_or_default();
        let mut properties = Properties::from_wire(flags, SmallVec::from_vec(fields));
        if let Some(headers) = self.headers {
            // Headers that came from a frame fit into one.
            let _ = properties.set_headers(headers.to_owned());
        }
        properties
    }

    /// Whether a message with these properties can be the one that had the others when it was published: brokers
    /// sort headers, drop those of a key that was there already, and change `L` to `l`.
    ///
    /// Headers of the given names are left out of the comparison.
    #[must_use]
    pub fn same_content(&self, other: &PropertiesRef<'_>, ignoring_headers: &[&str]) -> bool {
        let headers = |properties: &PropertiesRef<'_>| properties.headers.is_some();
        let (own, others) = (self.headers.unwrap_or_default(), other.headers.unwrap_or_default());
        (!headers(self) && !headers(other) || own.eq_ignoring(&others, ignoring_headers))
            && PropertiesRef { headers: None, ..*self } == PropertiesRef { headers: None, ..*other }
    }
}

/// Reads the flags, and gives a reader of what follows them. More words of flags may follow the first, for properties
/// that 0-9-1 does not have. (0-9-1 §4.2.6.1)
#[inline]
fn read_flags(bytes: &[u8]) -> Option<(u16, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let flags: u16 = reader.read()?;
    if flags & (CONTINUED | UNDEFINED) != 0 {
        return read_more_flags(flags, reader.rest());
    }
    Some((flags, reader))
}

#[cold]
fn read_more_flags(first: u16, rest: &[u8]) -> Option<(u16, Reader<'_>)> {
    let mut reader = Reader::new(rest);
    let mut word = first & (CONTINUED | UNDEFINED);
    while word == CONTINUED {
        word = reader.read()?;
    }
    (word == 0).then_some((first & !CONTINUED, reader))
}

/// Why these flags and properties do not decode.
#[cold]
#[inline(never)]
fn explain(bytes: &[u8]) -> DecodeError {
    let error = |name, offset, kind| header_error(name, FIXED_LEN + offset, kind);
    let offset = |rest: &[u8]| bytes.len() - rest.len();
    let mut reader = Reader::new(bytes);
    let first: u16 = reader.read().unwrap_or_default();
    let mut word = first & (CONTINUED | UNDEFINED);
    loop {
        if reader.rest().len() == bytes.len() {
            return error("property_flags", 0, DecodeErrorKind::Truncated);
        }
        if word & !CONTINUED != 0 {
            let kind = DecodeErrorKind::UnknownPropertyFlags(word & !CONTINUED);
            return error("property_flags", offset(reader.rest()) - 2, kind);
        }
        if word & CONTINUED == 0 {
            break;
        }
        match reader.read() {
            Some(next) => word = next,
            None => return error("property_flags", offset(reader.rest()), DecodeErrorKind::Truncated),
        }
    }
    let mut checker = FieldChecker::new(reader.rest());
    for property in PROPERTIES.iter().filter(|property| first & property.flag != 0) {
        if let Err(failure) = checker.check(property.wire_type) {
            return error(property.name, failure.offset_in(bytes), failure.kind);
        }
    }
    let left = checker.rest().len();
    error("", bytes.len() - left, DecodeErrorKind::TrailingBytes(left))
}
