//! Bytes of a socket to blocks of whole frames.
//!
//! Written by hand and not by a parser: on a partial frame it must reserve for the whole of it, so that the next read
//! completes it in one piece, and it must refuse a size over the limit before anything is buffered for it.

use bytes::BytesMut;

use super::error::FrameError;
use super::frame::{Block, FRAME_END, FRAME_OVERHEAD, FrameKind, HEADER_LEN, PROTOCOL_HEADER, parse_header};

/// The limit on frames, in bytes, where the peers have negotiated none (`frame_max` 0): 128 MiB.
pub const MAX_FRAME_UNLIMITED: u32 = 128 << 20;

/// The most that is reserved ahead on the word of a length field, in bytes.
const MAX_RESERVE: usize = 1 << 20;

/// Cuts a byte stream into frames.
///
/// ```
/// use amqp_proto::wire::{Deframer, FrameKind};
/// use bytes::BytesMut;
///
/// let mut deframer = Deframer::new(4096);
/// let mut buf = BytesMut::from(&b"\x08\0\0\0\0\0\0\xCE\x08\0\0"[..]);
/// let block = deframer.next_block(&mut buf)?.expect("a whole frame is there");
/// assert_eq!(block.frames().map(|frame| frame.kind).collect::<Vec<_>>(), [FrameKind::Heartbeat]);
/// assert_eq!(&buf[..], b"\x08\0\0", "the start of the next frame stays");
/// assert!(deframer.next_block(&mut buf)?.is_none());
/// # Ok::<(), amqp_proto::wire::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Deframer {
    /// Not 0.
    limit: u32,
    /// No byte has been taken from the stream yet: a protocol header may come.
    at_start: bool,
}

impl Deframer {
    /// A deframer for a new stream. `frame_max` is the limit on whole frames in bytes (payload and 8 bytes more); 0
    /// stands for [`MAX_FRAME_UNLIMITED`].
    #[must_use]
    pub fn new(frame_max: u32) -> Self {
        Self { limit: effective_limit(frame_max), at_start: true }
    }

    /// Changes the limit, for the frames that have not been cut yet.
    #[inline]
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.limit = effective_limit(frame_max);
    }

    /// Takes all whole frames at the start of `buf`, without copying. `None` if there is none yet: read more.
    ///
    /// A partial frame stays in `buf`, which then has room for the whole of it, or for 1 MiB of it.
    ///
    /// # Errors
    /// When the stream does not fall into frames. Whole frames before that place come first, as a block; every later
    /// call gives the error again.
    #[inline]
    pub fn next_block(&mut self, buf: &mut BytesMut) -> Result<Option<Block>, FrameError> {
        let (end, stop) = scan(buf, self.limit);
        if end > 0 {
            self.at_start = false;
            return Ok(Some(Block::new(buf.split_to(end).freeze())));
        }
        self.without_frame(buf, stop)
    }

    /// There is no whole frame at the start of `buf`.
    #[cold]
    fn without_frame(&self, buf: &mut BytesMut, stop: Stop) -> Result<Option<Block>, FrameError> {
        match stop {
            Stop::Short { missing } => {
                buf.reserve(missing.min(MAX_RESERVE));
                Ok(None)
            }
            // 0-9-1 §4.2.2: a server that does not like our protocol header answers with its own.
            Stop::Error(FrameError::UnknownType(b'A')) if self.at_start && is_protocol_header(buf) => {
                match protocol_version(buf) {
                    Some(version) => Err(FrameError::ProtocolHeader(version)),
                    None => Ok(None),
                }
            }
            Stop::Error(error) => Err(error),
        }
    }

    /// Whether the stream may end here, with `rest` being what [`next_block`](Self::next_block) has left of it.
    ///
    /// # Errors
    /// [`FrameError::TruncatedProtocolHeader`] or [`FrameError::TruncatedFrame`] if `rest` is the start of one.
    pub fn check_end(&self, rest: &[u8]) -> Result<(), FrameError> {
        match rest.len() {
            0 => Ok(()),
            have if self.at_start && is_protocol_header(rest) => Err(FrameError::TruncatedProtocolHeader { have }),
            have => Err(FrameError::TruncatedFrame { have }),
        }
    }
}

/// Why the scan stopped.
enum Stop {
    /// Bytes are missing for the next frame; 0 if not even its size is known.
    Short {
        missing: usize,
    },
    Error(FrameError),
}

/// The end of the last whole frame, and why none follows.
#[inline]
fn scan(buf: &[u8], limit: u32) -> (usize, Stop) {
    let mut rest = buf;
    let stop = loop {
        match take_frame(rest, limit) {
            Ok(after) => rest = after,
            Err(stop) => break stop,
        }
    };
    (buf.len() - rest.len(), stop)
}

/// What is behind the whole frame at the start of `buf`.
#[inline]
fn take_frame(buf: &[u8], limit: u32) -> Result<&[u8], Stop> {
    let Some(&kind) = buf.first() else {
        return Err(Stop::Short { missing: 0 });
    };
    if FrameKind::from_octet(kind).is_none() {
        return Err(Stop::Error(FrameError::UnknownType(kind)));
    }
    let Some((header, payload)) = buf.split_first_chunk::<HEADER_LEN>() else {
        return Err(Stop::Short { missing: 0 });
    };
    let (_, _, size) = parse_header(*header);
    // 0-9-1 §4.2.3: a peer must not send frames larger than the agreed size, which counts the whole frame.
    let whole = u64::from(size) + FRAME_OVERHEAD as u64;
    if whole > u64::from(limit) {
        return Err(Stop::Error(FrameError::TooLarge { size: whole, limit }));
    }
    match payload.get(size as usize) {
        Some(&FRAME_END) => Ok(payload.get(size as usize + 1..).unwrap_or_default()),
        Some(&octet) => Err(Stop::Error(FrameError::BadEnd { octet })),
        None => Err(Stop::Short { missing: size as usize + 1 - payload.len() }),
    }
}

fn effective_limit(frame_max: u32) -> u32 {
    if frame_max == 0 { MAX_FRAME_UNLIMITED } else { frame_max }
}

/// Whether this is the start of a protocol header, or more.
fn is_protocol_header(bytes: &[u8]) -> bool {
    let name = PROTOCOL_HEADER.iter().take(4);
    bytes.iter().zip(name).all(|(byte, expected)| byte == expected)
}

/// The four bytes behind `AMQP`, when they are all there.
fn protocol_version(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.get(4..8)?.try_into().ok()
}
