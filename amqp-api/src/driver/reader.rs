//! Bytes in: from the transport to blocks of whole frames, without the lock.

use std::io;
use std::task::{Context, Poll};

use amqp_proto::wire::{Block, Deframer, FrameError};
use bytes::BytesMut;

use super::Io;

/// How much is read at once when little comes, and when much does.
const SMALL: usize = 8 * 1024;
const LARGE: usize = 64 * 1024;

/// The reading half of a session.
pub(super) struct Reader {
    buffer: BytesMut,
    /// How much room a read gets: what an idle connection holds in memory.
    room: usize,
    pub(super) deframer: Deframer,
    /// What has been cut and not been handled.
    pub(super) block: Option<Block>,
    /// Why the stream cannot be cut any further; to be reported once, after the block.
    pub(super) broken: Option<FrameError>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The stream does not fall into frames any more: what comes is thrown away, until it ends.
    Discarding,
    Ended,
}

/// What a read has brought.
pub(super) enum Read {
    /// Nothing now: the task is woken when there is something.
    Pending,
    /// Bytes.
    Some,
    /// The end of the stream, clean or not. There will be nothing more.
    End(Option<io::Error>),
}

impl Reader {
    pub(super) fn new(frame_max: u32) -> Self {
        Self {
            buffer: BytesMut::new(),
            room: SMALL,
            deframer: Deframer::new(frame_max),
            block: None,
            broken: None,
            state: State::Reading,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Reads once.
    pub(super) fn poll(&mut self, io: &mut dyn Io, cx: &mut Context<'_>) -> Read {
        if self.has_ended() {
            return Read::Pending;
        }
        self.make_room();
        let spare = self.buffer.capacity() - self.buffer.len();
        match io.poll_read(cx, &mut self.buffer) {
            Poll::Pending => Read::Pending,
            Poll::Ready(Ok(0)) => {
                let torn = self.torn();
                self.end(torn)
            }
            Poll::Ready(Ok(count)) => {
                if count >= spare {
                    self.room = LARGE.min(self.room * 2);
                }
                self.cut();
                Read::Some
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Read::Some,
            Poll::Ready(Err(error)) => self.end(Some(error)),
        }
    }

    /// Reads once and throws away what came.
    pub(super) fn poll_discarding(&mut self, io: &mut dyn Io, cx: &mut Context<'_>) -> Read {
        self.state = State::Discarding;
        self.poll(io, cx)
    }

    /// Room for the next read. When the last block was dropped the buffer's memory is used again; otherwise, when a large
    /// body stays where it was read, there is a new one.
    fn make_room(&mut self) {
        let (partial, spare) = (self.buffer.len(), self.buffer.capacity() - self.buffer.len());
        // A long partial frame has room for its rest, and is not worth moving.
        if spare == 0 || (spare < self.room / 2 && partial < SMALL / 2) {
            self.buffer.reserve(self.room.saturating_sub(partial).max(SMALL / 2));
        }
    }

    /// Takes the whole frames from the start of the buffer.
    fn cut(&mut self) {
        if self.state == State::Discarding {
            return self.buffer.clear();
        }
        if self.block.is_some() {
            return;
        }
        match self.deframer.next_block(&mut self.buffer) {
            Ok(block) => self.block = block,
            Err(error) => {
                self.broken = Some(error);
                self.state = State::Discarding;
                self.buffer = BytesMut::new();
            }
        }
    }

    /// The block was handled: looks at what stood behind it, a partial frame most likely, or something that is none.
    /// Not before, because the deframer makes room for the whole of that frame, and can do so in place only when nobody
    /// holds the block. `true`: there is more to handle.
    pub(super) fn handled(&mut self) -> bool {
        if self.block.take().is_some() && !self.buffer.is_empty() {
            self.cut();
        }
        self.block.is_some() || self.broken.is_some()
    }

    /// What is wrong with a stream that ends here: it may end between frames only.
    fn torn(&self) -> Option<io::Error> {
        let error = match self.state {
            State::Reading => self.deframer.check_end(&self.buffer).err()?,
            State::Discarding | State::Ended => return None,
        };
        Some(io::Error::new(io::ErrorKind::UnexpectedEof, error))
    }

    fn end(&mut self, error: Option<io::Error>) -> Read {
        self.state = State::Ended;
        self.buffer = BytesMut::new();
        Read::End(error)
    }

    /// Nothing has come for long: gives the memory back.
    pub(super) fn shrink(&mut self) {
        if self.buffer.is_empty() && self.block.is_none() {
            self.buffer = BytesMut::new();
            self.room = SMALL;
        }
    }
}
