//! Bodies as they were received: inline when small, shared when large, in several pieces when there were several frames.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::inflow::StreamedBody;

/// A body of this many bytes or fewer is copied next to its envelope.
pub(in crate::conn) const INLINE_BODY: usize = 1024;

/// The part of a body that does not stand inline.
#[derive(Debug, Clone, Default)]
pub(in crate::conn) enum Payload {
    /// It stands inline.
    #[default]
    Inline,
    /// One frame's worth, shared with the block that it was read in.
    One(Bytes),
    /// Several frames' worth.
    Many(Vec<Bytes>),
    /// It is read while it comes in.
    Streamed(StreamedBody),
}

impl Payload {
    #[inline]
    pub(in crate::conn) fn len(&self) -> usize {
        match self {
            Self::Inline | Self::Streamed(_) => 0,
            Self::One(body) => body.len(),
            Self::Many(chunks) => total(chunks),
        }
    }

    pub(in crate::conn) fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Inline | Self::Streamed(_) => *self = Self::One(chunk),
            Self::One(first) => *self = Self::Many(vec![std::mem::take(first), chunk]),
            Self::Many(chunks) => chunks.push(chunk),
        }
    }
}

#[cold]
fn total(chunks: &[Bytes]) -> usize {
    chunks.iter().map(Bytes::len).sum()
}

/// The body of a received message.
///
/// A body that came in one frame is in one piece, and [`as_slice`](Body::as_slice) shows it. A larger one is a sequence
/// of [`chunks`](Body::chunks): read it in order with [`reader`](Body::reader), or join it with
/// [`to_bytes`](Body::to_bytes).
#[derive(Clone, Copy)]
pub struct Body<'a> {
    inline: &'a [u8],
    shared: &'a [Bytes],
}

impl<'a> Body<'a> {
    pub(super) fn new(inline: &'a [u8], payload: &'a Payload) -> Self {
        match payload {
            Payload::Inline | Payload::Streamed(_) => Self { inline, shared: &[] },
            Payload::One(body) => Self { inline: &[], shared: std::slice::from_ref(body) },
            Payload::Many(chunks) => Self { inline: &[], shared: chunks },
        }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.inline.len() + self.shared.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The body, if it is in one piece.
    #[must_use]
    pub fn as_slice(self) -> Option<&'a [u8]> {
        match self.shared {
            [] => Some(self.inline),
            [one] => Some(one),
            _ => None,
        }
    }

    /// The body in one piece; copied only if it came in several.
    #[must_use]
    pub fn to_slice(self) -> Cow<'a, [u8]> {
        self.as_slice().map_or_else(|| Cow::Owned(self.to_vec()), Cow::Borrowed)
    }

    /// The pieces in order. An empty body has none.
    pub fn chunks(self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.inline).chain(self.shared.iter().map(|chunk| &chunk[..])).filter(|chunk| !chunk.is_empty())
    }

    /// A copy in one piece.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.chunks().for_each(|chunk| all.extend_from_slice(chunk));
        all
    }

    /// The body in one piece; shared, not copied, if it came in one frame of more than a kilobyte.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        match self.shared {
            [] => Bytes::copy_from_slice(self.inline),
            [one] => one.clone(),
            chunks => {
                let mut all = BytesMut::with_capacity(self.len());
                chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
                all.freeze()
            }
        }
    }

    /// Reads the body from the start, chunk after chunk.
    #[must_use]
    pub fn reader(self) -> BodyReader<'a> {
        BodyReader { current: self.inline, rest: self.shared }.settled()
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_slice() {
            Some(bytes) if bytes.len() <= 64 => write!(f, "b\"{}\"", bytes.escape_ascii()),
            _ => write!(f, "Body({} bytes)", self.len()),
        }
    }
}

impl PartialEq<[u8]> for Body<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        self.len() == other.len() && {
            let mut rest = other;
            self.chunks().all(|chunk| rest.split_off(..chunk.len()) == Some(chunk))
        }
    }
}

impl PartialEq<&[u8]> for Body<'_> {
    fn eq(&self, other: &&[u8]) -> bool {
        *self == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Body<'_> {
    fn eq(&self, other: &&[u8; N]) -> bool {
        *self == other[..]
    }
}

impl PartialEq<str> for Body<'_> {
    fn eq(&self, other: &str) -> bool {
        *self == *other.as_bytes()
    }
}

impl PartialEq<&str> for Body<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == *other.as_bytes()
    }
}

/// A body being read: a [`Buf`].
#[derive(Debug, Clone)]
pub struct BodyReader<'a> {
    current: &'a [u8],
    rest: &'a [Bytes],
}

impl BodyReader<'_> {
    /// Steps over empty chunks.
    fn settled(mut self) -> Self {
        self.settle();
        self
    }

    fn settle(&mut self) {
        while self.current.is_empty()
            && let Some((next, rest)) = self.rest.split_first()
        {
            self.current = next;
            self.rest = rest;
        }
    }
}

impl Buf for BodyReader<'_> {
    fn remaining(&self) -> usize {
        self.current.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    fn chunk(&self) -> &[u8] {
        self.current
    }

    fn advance(&mut self, mut count: usize) {
        while count > self.current.len() && !self.rest.is_empty() {
            count -= self.current.len();
            self.current = &[];
            self.settle();
        }
        self.current = &self.current[count..];
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn payload(chunks: &[&'static [u8]]) -> Payload {
        let mut payload = Payload::Inline;
        chunks.iter().for_each(|chunk| payload.push(Bytes::from_static(chunk)));
        payload
    }

    #[test]
    fn a_body_reads_the_same_in_any_number_of_pieces() {
        let whole: &[u8] = b"0123456789";
        for (inline, chunks) in [
            (whole, vec![]),
            (&b""[..], vec![whole]),
            (b"", vec![&b"01"[..], b"", b"2345", b"6789"]),
            (b"", vec![&b""[..], b"0123456789", b""]),
        ] {
            let payload = payload(&chunks);
            let body = Body::new(inline, &payload);
            assert_eq!(body.len(), 10);
            assert_eq!(body, whole);
            assert!(body != b"0123456780"[..] && body != b"012345678"[..]);
            assert_eq!(body.to_vec(), whole);
            assert_eq!(body.to_bytes(), whole);
            assert_eq!(body.to_slice(), whole);
            let mut read = Vec::new();
            body.reader().reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, whole);
            for skip in 0..=10 {
                let mut reader = body.reader();
                reader.advance(skip);
                assert_eq!(reader.remaining(), 10 - skip);
                assert_eq!(reader.copy_to_bytes(10 - skip), whole[skip..]);
            }
        }
        assert!(Body::new(b"", &Payload::Inline).is_empty());
    }
}
