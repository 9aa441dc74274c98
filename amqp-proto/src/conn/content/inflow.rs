//! The body of a delivery that was handed out before it was complete: what of it has come and was not read.
//!
//! ```text
//!              the last byte                  all was read
//!   Coming ───────────────────► complete ────────────────────► at its end
//!      │ its channel or the connection ends
//!      └───────────────────────────────────► failed: what was not read is thrown away
//! ```
//!
//! Chunks are slices of what was read from the socket, but for small ones: those are gathered, so that a peer that sends
//! byte by byte costs bytes and not handles.

use std::collections::VecDeque;

use bytes::Bytes;

use super::body::INLINE_BODY;
use crate::conn::ids::{BodyId, ChannelId, ConsumerId};
use crate::error::Error;
use crate::wire::Block;

#[derive(Debug)]
pub(in crate::conn) struct Inflow {
    pub(in crate::conn) generation: u32,
    pub(in crate::conn) channel: ChannelId,
    pub(in crate::conn) consumer: ConsumerId,
    /// Somebody has the delivery. Until then it stands in the consumer's queue.
    pub(in crate::conn) handed_out: bool,
    /// Nobody will read it: what still comes is thrown away.
    pub(in crate::conn) released: bool,
    /// Somebody waits for the next chunk.
    pub(in crate::conn) watched: bool,
    /// Bytes that have not come.
    missing: u64,
    chunks: VecDeque<Bytes>,
    gathered: Vec<u8>,
    /// Bytes in both.
    held: usize,
    /// They count among those that pause reading.
    counted: bool,
    failed: Option<Error>,
}

/// Small chunks are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;

/// What a body has next.
#[derive(Debug)]
#[non_exhaustive]
pub enum NextChunk {
    /// The next bytes, at least one.
    Chunk(Bytes),
    /// Nothing yet; `Event::BodyReady` will come.
    Pending,
    /// That was all of it.
    End,
    /// The rest will not come, for this reason.
    Failed(Error),
}

impl Inflow {
    pub(in crate::conn) fn new(generation: u32, channel: ChannelId, consumer: ConsumerId, size: u64) -> Self {
        Self {
            generation,
            channel,
            consumer,
            handed_out: false,
            released: false,
            watched: false,
            missing: size,
            chunks: VecDeque::new(),
            gathered: Vec::new(),
            held: 0,
            counted: true,
            failed: None,
        }
    }

    /// Whether more of it is to come.
    pub(in crate::conn) fn is_coming(&self) -> bool {
        self.missing > 0 && self.failed.is_none()
    }

    /// Whether it is of no use any more.
    pub(in crate::conn) fn is_done(&self) -> bool {
        self.released && !self.is_coming()
    }

    /// Takes what has come, which stands in `block`; returns by how many counted bytes it grew.
    pub(in crate::conn) fn push(&mut self, chunk: &[u8], block: &Block) -> usize {
        self.missing -= chunk.len() as u64;
        if self.released || self.failed.is_some() {
            return 0;
        }
        if chunk.len() <= INLINE_BODY {
            self.gathered.extend_from_slice(chunk);
            if self.gathered.len() >= GATHER {
                self.flush_gathered();
            }
        } else {
            self.flush_gathered();
            self.chunks.push_back(block.slice_ref(chunk));
        }
        self.held += chunk.len();
        self.if_counted(chunk.len())
    }

    /// The next chunk; with how many counted bytes went.
    pub(in crate::conn) fn next(&mut self) -> (NextChunk, usize) {
        if self.chunks.is_empty() {
            self.flush_gathered();
        }
        match (self.chunks.pop_front(), &self.failed) {
            (Some(chunk), _) => {
                self.held -= chunk.len();
                let freed = self.if_counted(chunk.len());
                (NextChunk::Chunk(chunk), freed)
            }
            (None, Some(error)) => (NextChunk::Failed(error.clone()), 0),
            (None, None) if self.missing == 0 => (NextChunk::End, 0),
            (None, None) => {
                self.watched = true;
                (NextChunk::Pending, 0)
            }
        }
    }

    /// The rest will not come. Part of a body is of no use, so it goes; returns how many counted bytes that were.
    pub(in crate::conn) fn fail(&mut self, error: &Error) -> usize {
        self.failed = Some(error.clone());
        self.clear()
    }

    /// Nobody will read it; returns how many counted bytes went.
    pub(in crate::conn) fn release(&mut self) -> usize {
        self.released = true;
        self.clear()
    }

    /// What is held pauses reading no more; returns how many counted bytes that were.
    pub(in crate::conn) fn stop_counting(&mut self) -> usize {
        let freed = self.if_counted(self.held);
        self.counted = false;
        freed
    }

    fn clear(&mut self) -> usize {
        self.chunks = VecDeque::new();
        self.gathered = Vec::new();
        let held = std::mem::take(&mut self.held);
        self.if_counted(held)
    }

    fn flush_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks.push_back(Bytes::from(std::mem::take(&mut self.gathered)));
        }
    }

    fn if_counted(&self, bytes: usize) -> usize {
        if self.counted { bytes } else { 0 }
    }
}

/// The body of a streamed delivery: how to read it, and its size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamedBody {
    pub(in crate::conn) id: BodyId,
    pub(in crate::conn) size: u64,
}

impl StreamedBody {
    /// Reads it: [`next_chunk`](crate::conn::Connection::next_chunk).
    #[must_use]
    pub fn id(self) -> BodyId {
        self.id
    }

    /// Its size in bytes, as the header announced it.
    #[must_use]
    pub fn size(self) -> u64 {
        self.size
    }
}
