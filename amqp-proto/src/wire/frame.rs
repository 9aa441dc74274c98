//! Frames, blocks of whole frames, and the writing of frames.
//!
//! ```text
//! 0      1         3             7                  size+7 size+8
//! +------+---------+-------------+  +------------+  +-----------+
//! | type | channel |     size    |  |  payload   |  | frame-end |     0-9-1 §4.2.3
//! +------+---------+-------------+  +------------+  +-----------+
//!  octet    short       long         size octets       octet
//! ```

use std::ops::Range;

use bytes::Bytes;

use super::error::EncodeError;

/// What a client sends first. The version is 0-9-1. (0-9-1 §4.2.2)
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The octet every frame ends with.
pub const FRAME_END: u8 = 0xCE;

/// Bytes that a frame has beyond its payload: type, channel and size before it, the end octet behind it.
pub const FRAME_OVERHEAD: usize = 8;

/// The least frame size that peers can negotiate, in bytes.
pub const FRAME_MIN_SIZE: u32 = 4096;

/// Bytes before the payload.
pub(super) const HEADER_LEN: usize = 7;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A method.
    Method = 1,
    /// A content header: body size and properties.
    Header = 2,
    /// A piece of a content body.
    Body = 3,
    /// A heartbeat.
    Heartbeat = 8,
}

impl FrameKind {
    /// The kind of this type octet, `None` if 0-9-1 does not define it.
    #[inline]
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// One frame, borrowed from a [`Block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: FrameKind,
    /// Its channel; 0 is the connection.
    pub channel: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Whole frames in one piece of memory, checked by the [`Deframer`](super::Deframer). Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Block(Bytes);

impl Block {
    /// Bytes that the deframer has found to be whole frames.
    #[inline]
    pub(super) fn new(checked: Bytes) -> Self {
        Self(checked)
    }

    /// The frames in order.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        Frames { rest: &self.0 }
    }

    /// `part`, a piece of this block such as a body frame's payload, as bytes that keep the block's memory alive.
    ///
    /// Nothing is copied, unless `part` does not lie in this block.
    #[inline]
    #[must_use]
    pub fn slice_ref(&self, part: &[u8]) -> Bytes {
        if self.contains(part) { self.0.slice_ref(part) } else { Bytes::copy_from_slice(part) }
    }

    /// `Bytes::slice_ref` panics where this is false.
    #[inline]
    fn contains(&self, part: &[u8]) -> bool {
        let (own, part) = (self.0.as_ptr_range(), part.as_ptr_range());
        own.start <= part.start && part.end <= own.end
    }

    /// How many bytes stand before the frame that is next in `frames`, which are of this block.
    #[inline]
    pub(crate) fn position(&self, frames: &Frames<'_>) -> usize {
        self.0.len().saturating_sub(frames.rest.len())
    }

    /// The bytes at these positions, frame headers and ends included; none if there are not so many.
    #[inline]
    pub(crate) fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.0.get(at).unwrap_or_default()
    }

    /// Bytes of all its frames.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no frame in it. The deframer makes no such block.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The frames of a [`Block`] in order. Cloning it is cheap, to look ahead.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        // A block holds whole frames only, so none of these `?` ends the iteration early.
        let (header, rest) = self.rest.split_first_chunk::<HEADER_LEN>()?;
        let (kind, channel, size) = parse_header(*header);
        let (payload, rest) = rest.split_at_checked(size as usize)?;
        let (_end, rest) = rest.split_first()?;
        self.rest = rest;
        Some(Frame { kind: FrameKind::from_octet(kind)?, channel, payload })
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

/// Type octet, channel and payload size.
#[inline]
pub(super) fn parse_header(header: [u8; HEADER_LEN]) -> (u8, u16, u32) {
    let [kind, c0, c1, s0, s1, s2, s3] = header;
    (kind, u16::from_be_bytes([c0, c1]), u32::from_be_bytes([s0, s1, s2, s3]))
}

/// The bytes before a payload.
#[inline]
pub(crate) fn frame_header(kind: FrameKind, channel: u16, size: u32) -> [u8; HEADER_LEN] {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [kind as u8, c0, c1, s0, s1, s2, s3]
}

/// Appends a whole frame.
///
/// # Errors
/// [`EncodeError::TooLong`] for a payload over 2³² − 1 bytes. The negotiated frame size is the caller's business.
#[inline]
pub fn put_frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16, payload: &[u8]) -> Result<(), EncodeError> {
    let size = u32::try_from(payload.len()).map_err(|_| EncodeError::over_u32(payload.len()))?;
    out.reserve(payload.len() + FRAME_OVERHEAD);
    out.extend_from_slice(&frame_header(kind, channel, size));
    out.extend_from_slice(payload);
    out.push(FRAME_END);
    Ok(())
}

/// Appends what stands before the payload of a body frame of `size` bytes. The caller appends, or links, the payload
/// and then [`FRAME_END`].
#[inline]
pub fn put_body_frame_header(out: &mut Vec<u8>, channel: u16, size: u32) {
    out.extend_from_slice(&frame_header(FrameKind::Body, channel, size));
}

/// Appends a heartbeat frame.
#[inline]
pub fn put_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[FrameKind::Heartbeat as u8, 0, 0, 0, 0, 0, 0, FRAME_END]);
}

/// Appends what stands before a payload whose size is not known yet, together with the first `N` bytes of it.
/// [`finish_frame`] completes the frame.
#[inline]
pub(crate) fn start_frame<const N: usize>(out: &mut Vec<u8>, kind: FrameKind, channel: u16, head: [u8; N]) {
    out.extend_from_slice(&frame_header(kind, channel, 0));
    out.extend_from_slice(&head);
}

/// Writes back the size of the frame that starts at `start`, and ends it.
#[inline]
pub(crate) fn finish_frame(out: &mut Vec<u8>, start: usize) -> Result<(), EncodeError> {
    let payload = out.len().saturating_sub(start + HEADER_LEN);
    let size = u32::try_from(payload).map_err(|_| EncodeError::over_u32(payload))?;
    if let Some(field) = out.get_mut(size_field(start)) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    out.push(FRAME_END);
    Ok(())
}

/// Where the size of a frame stands.
#[inline]
fn size_field(start: usize) -> Range<usize> {
    start + 3..start + HEADER_LEN
}
