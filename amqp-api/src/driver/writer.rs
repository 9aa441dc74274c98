//! Bytes out: what was taken from the core, to the transport, without the lock.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use amqp_proto::conn::Outbound;

use super::Io;

/// How many pieces one system call takes.
const SLICES: usize = 64;

/// How many system calls there are before reading has its turn.
const WRITES: usize = 16;

/// The writing half of a session.
pub(super) struct Writer {
    /// What is being written. The core swaps its own for this when it is empty.
    pub(super) outbound: Outbound,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The transport does not take anything any more.
    failed: bool,
}

/// How far writing went.
pub(super) struct Wrote {
    pub(super) bytes: usize,
    /// The transport does not take more now: the task is woken when it does.
    pub(super) pending: bool,
    pub(super) error: Option<io::Error>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { outbound: Outbound::new(), unflushed: false, failed: false }
    }

    /// Whether all of it has gone, as far as it ever will.
    pub(super) fn is_done(&self) -> bool {
        self.failed || (self.outbound.is_empty() && !self.unflushed)
    }

    /// Writes what the transport takes.
    pub(super) fn poll(&mut self, io: &mut dyn Io, cx: &mut Context<'_>) -> Wrote {
        let mut wrote = Wrote { bytes: 0, pending: false, error: None };
        if self.failed {
            // Nobody will see it: the end of the connection is on its way.
            wrote.bytes = self.outbound.len();
            self.outbound.advance(wrote.bytes);
            return wrote;
        }
        for _ in 0..WRITES {
            if self.outbound.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.outbound.io_slices(&mut slices);
            match io.poll_write_vectored(cx, slices.get(..filled).unwrap_or_default()) {
                Poll::Ready(Ok(0)) => return self.fail(wrote, io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.outbound.advance(count);
                    self.unflushed = true;
                    wrote.bytes += count;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return self.fail(wrote, error),
                Poll::Pending => {
                    wrote.pending = true;
                    return wrote;
                }
            }
        }
        if self.unflushed && self.outbound.is_empty() {
            match io.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return self.fail(wrote, error),
                Poll::Pending => wrote.pending = true,
            }
        }
        wrote
    }

    fn fail(&mut self, mut wrote: Wrote, error: io::Error) -> Wrote {
        self.failed = true;
        wrote.error = Some(error);
        wrote
    }
}
