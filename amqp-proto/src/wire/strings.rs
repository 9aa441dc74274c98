//! Short and long strings.

use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

use super::error::EncodeError;

/// A short string: at most 255 bytes, borrowed.
///
/// Names (exchange, queue, routing key, consumer tag), reply texts and most properties are short strings. They should
/// be UTF-8, which is checked by [`to_str`](Self::to_str) only: eagerly it would cost more than all other decoding.
///
/// ```
/// use amqp_proto::wire::{EncodeError, ShortStr};
///
/// let name = ShortStr::new("orders")?;
/// assert_eq!(name.to_str(), Ok("orders"));
/// assert!(ShortStr::new(&"x".repeat(256)).is_err());
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShortStr<'a>(&'a [u8]);

impl<'a> ShortStr<'a> {
    /// The most bytes of a short string.
    pub const MAX_LEN: usize = 255;

    /// The empty string.
    pub const EMPTY: Self = Self(&[]);

    /// A short string of this text.
    ///
    /// # Errors
    /// [`EncodeError::ShortStringTooLong`] if it has more than 255 bytes.
    #[inline]
    pub const fn new(text: &'a str) -> Result<Self, EncodeError> {
        Self::from_bytes(text.as_bytes())
    }

    /// The same as [`new`](Self::new), for this field: an error says which it was, `queue` for example.
    ///
    /// # Errors
    /// [`EncodeError::ShortStringTooLong`] if it has more than 255 bytes.
    #[inline]
    pub const fn named(field: &'static str, text: &'a str) -> Result<Self, EncodeError> {
        if text.len() > Self::MAX_LEN {
            return Err(EncodeError::ShortStringTooLong { field, len: text.len() });
        }
        Ok(Self(text.as_bytes()))
    }

    /// A short string of these bytes, which need not be UTF-8.
    ///
    /// # Errors
    /// [`EncodeError::ShortStringTooLong`] if there are more than 255.
    #[inline]
    pub const fn from_bytes(bytes: &'a [u8]) -> Result<Self, EncodeError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(EncodeError::ShortStringTooLong { field: "short text", len: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// As much of this text as fits: for reply texts. It is cut between characters.
    #[must_use]
    pub fn truncated(text: &'a str) -> Self {
        Self(text.get(..floor_char_boundary(text, Self::MAX_LEN)).unwrap_or_default().as_bytes())
    }

    /// Bytes whose length came from a length octet.
    #[inline]
    pub(crate) fn from_wire(bytes: &'a [u8]) -> Self {
        debug_assert!(bytes.len() <= Self::MAX_LEN);
        Self(bytes)
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    #[inline]
    pub const fn to_str(self) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(self.0)
    }

    /// The text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn to_string_lossy(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }

    /// Its length in bytes, 0 to 255.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Its length, as it stands on the wire.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 255 bytes, by construction")]
    pub(crate) const fn len_octet(self) -> u8 {
        self.0.len() as u8
    }

    /// Whether it has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<str> for ShortStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}

impl fmt::Display for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_string_lossy(), f)
    }
}

/// A long string: up to 2³² − 1 bytes of any kind, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LongStr<'a>(pub &'a [u8]);

impl fmt::Debug for LongStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0), f)
    }
}

/// The greatest character boundary up to `max`. (`str::floor_char_boundary` is newer than our oldest compiler.)
fn floor_char_boundary(text: &str, max: usize) -> usize {
    if text.len() <= max {
        return text.len();
    }
    (0..=max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_text_is_cut_between_characters() {
        let text = "ü".repeat(200);
        let cut = ShortStr::truncated(&text);
        assert_eq!(cut.len(), 254);
        assert_eq!(cut.to_str(), Ok("ü".repeat(127).as_str()));
        assert_eq!(ShortStr::truncated("short"), "short");
        assert_eq!(ShortStr::truncated(&"x".repeat(300)).len(), 255);
    }

    #[test]
    fn a_name_that_is_no_utf_8_is_an_error_only_when_its_text_is_asked_for() {
        let name = ShortStr::from_bytes(b"a\xFF").unwrap();
        assert!(name.to_str().is_err());
        assert_eq!(name.to_string_lossy(), "a\u{FFFD}");
        assert_eq!(format!("{name} {name:?}"), "a\u{FFFD} \"a\u{FFFD}\"");
        assert_eq!(name.as_bytes(), b"a\xFF");
    }

    #[test]
    fn a_long_string_is_printed_as_text() {
        assert_eq!(format!("{:?}", LongStr(b"PLAIN")), "\"PLAIN\"");
    }
}
