//! The loop over one transport.
//!
//! A turn reads what there is, cuts it into frames, writes what was taken before, and then, under the lock, once:
//! hands the frames to the core, lets it look at the clock, collects who is to be woken, and swaps the written-out buffer
//! for what waits to be written. Then it wakes them, and the next turn writes. System calls and wakers are outside of the
//! lock; so a publisher never waits for a socket, and what is published during a write leaves together with the next.
//!
//! When a turn finds nothing to read, nothing to write and nothing due, the task's waker is put into the state, under
//! the same lock under which that was found out, and the task waits.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use amqp_proto::conn::Outbound;
use amqp_proto::error::{Error, TimeoutReason};

use super::hooks::Hooks;
use super::reader::{Read, Reader};
use super::timer::Timer;
use super::writer::{Writer, Wrote};
use super::{Io, Runtime};
use crate::shared::{Rest, Shared, Touch};
use crate::wakers::Wakes;

/// How many turns there are before other tasks have theirs.
const TURNS: usize = 2;

/// How long the last bytes have to leave, and the peer to close its side, after the connection has ended.
const LINGER: Duration = Duration::from_secs(1);

/// A connection on one transport.
pub(super) struct Session {
    shared: Arc<Shared>,
    io: Box<dyn Io>,
    runtime: Arc<dyn Runtime>,
    reader: Reader,
    writer: Writer,
    timer: Timer,
    wakes: Wakes,
    /// The core wants to read.
    reading: bool,
    /// A failed write, and until when it is kept from the core: the broker may have said why before it hung up, and what
    /// it said may not be here yet.
    write_error: Option<(Instant, io::Error)>,
    hooks: Option<Hooks>,
    ending: Option<Ending>,
}

/// The transport is done with, and has until the deadline to be shut down.
struct Ending {
    deadline: Instant,
    /// What is to be written behind what is being written.
    farewell: Outbound,
    shut_down: bool,
    /// The connection has ended. If not, it was lost and comes back on another transport.
    finished: bool,
    told: bool,
}

/// What a session was left for.
pub(super) enum Left {
    /// Another transport: this one is still to be shut down, by polling on.
    Transport,
    /// Nothing: it is over, and shut down.
    Everything,
}

/// What comes after a turn.
enum Step {
    Again,
    Wait,
    End,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, io: Box<dyn Io>, runtime: Arc<dyn Runtime>, hooks: Option<Hooks>) -> Self {
        let frame_max = shared.lock().conn.frame_max();
        Self {
            shared,
            io,
            runtime,
            reader: Reader::new(frame_max),
            writer: Writer::new(),
            timer: Timer::default(),
            wakes: Wakes::default(),
            reading: true,
            write_error: None,
            hooks,
            ending: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Step {
        let was_reading = self.reading;
        let read = if was_reading { self.reader.poll(&mut *self.io, cx) } else { Read::Pending };
        let nothing_read = matches!(read, Read::Pending);
        let mut wrote = self.writer.poll(&mut *self.io, cx);
        let now = self.runtime.now();
        if let Some(error) = wrote.error.take() {
            self.write_error = Some((now + LINGER, error));
        }

        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let conn = &mut state.conn;
        match read {
            Read::Pending => {}
            Read::Some => conn.handle_received(now),
            Read::End(None) => match self.write_error.take() {
                Some((_, error)) => conn.handle_io_error(now, &error),
                None => conn.handle_eof(now),
            },
            Read::End(Some(error)) => conn.handle_io_error(now, &error),
        }
        if let Some(block) = &self.reader.block {
            conn.handle_block(now, block);
            self.reader.deframer.set_frame_max(conn.frame_max());
        }
        if let Some(error) = self.reader.broken.take() {
            conn.handle_frame_error(now, error);
        }
        if wrote.bytes > 0 {
            conn.handle_wrote(now, wrote.bytes);
        }
        if let Some((_, error)) = self.write_error.take_if(|(until, _)| *until <= now || !was_reading) {
            conn.handle_io_error(now, &error);
        }
        conn.arm(now);
        let mut deadline = conn.poll_timeout();
        if let Some((_, reason)) = deadline.take_if(|(at, _)| *at <= now) {
            match reason {
                TimeoutReason::Handshake { .. } if self.io.is_setting_up() => {
                    // The peer, that the core waits for, has not come to AMQP.
                    let error = Error::timeout(TimeoutReason::Handshake { state: "TlsHandshake" }, false);
                    conn.handle_io_error(now, &io::Error::other(error));
                }
                _ => conn.handle_timeout(now),
            }
            deadline = conn.poll_timeout();
        }
        if self.writer.outbound.is_empty() && conn.has_outbound() {
            conn.take_outbound(&mut self.writer.outbound);
        }
        self.reading = conn.wants_read() && !self.reader.has_ended();
        let left = conn.is_disconnected().then(|| (conn.take_farewell(), conn.is_finished()));
        let hooks = conn.take_hooks();
        let resumed = self.reading && !was_reading;
        let waits = nothing_read && !resumed && left.is_none() && hooks.is_none() && self.write_waits(&wrote);
        state.settle(Touch::Nothing, &mut self.wakes);
        if waits {
            state.park_driver(cx.waker(), Rest { drained: self.writer.is_done(), paused: !self.reading });
        }
        drop(guard);

        let more = self.reader.handled();
        self.wakes.run();
        if let (Some(run), Some(hooks)) = (hooks, &self.hooks) {
            hooks.start(&*self.runtime, Arc::clone(&self.shared), run);
        }
        if let Some((farewell, finished)) = left {
            let deadline = now + LINGER;
            self.ending = Some(Ending { deadline, farewell, shut_down: false, finished, told: false });
            return Step::Again;
        }
        if more || !waits {
            return Step::Again;
        }
        let due = [deadline.map(|(at, _)| at), self.write_error.as_ref().map(|(until, _)| *until)];
        if self.timer.poll(cx, &*self.runtime, due.into_iter().flatten().min()) {
            self.reader.shrink();
            return Step::Again;
        }
        Step::Wait
    }

    /// Whether the writing half can do nothing before it is woken.
    fn write_waits(&self, wrote: &Wrote) -> bool {
        wrote.pending || self.writer.is_done()
    }

    /// Writes what is left, shuts the transport down and waits for the peer to do so too; what still comes is thrown
    /// away. If the socket were closed with unread bytes in it, the peer might not see our last ones.
    fn end(&mut self, cx: &mut Context<'_>, ending: &mut Ending) -> Step {
        if self.timer.poll(cx, &*self.runtime, Some(ending.deadline)) {
            return Step::End;
        }
        if !ending.shut_down {
            if self.writer.outbound.is_empty() {
                self.writer.outbound = std::mem::take(&mut ending.farewell);
            }
            let wrote = self.writer.poll(&mut *self.io, cx);
            if wrote.error.is_some() {
                return Step::End;
            }
            if !self.writer.is_done() || !ending.farewell.is_empty() {
                return if wrote.pending { Step::Wait } else { Step::Again };
            }
            match self.io.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => ending.shut_down = true,
                Poll::Ready(Err(_)) => return Step::End,
                Poll::Pending => return Step::Wait,
            }
        }
        if self.reader.has_ended() {
            return Step::End;
        }
        match self.reader.poll_discarding(&mut *self.io, cx) {
            Read::Pending => Step::Wait,
            Read::Some => Step::Again,
            Read::End(_) => Step::End,
        }
    }

    /// Takes turns until there is nothing to do at present, or nothing at all.
    pub(super) fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Left> {
        for _ in 0..TURNS {
            let step = match self.ending.take() {
                None => self.turn(cx),
                Some(mut ending) if !ending.finished && !ending.told => {
                    ending.told = true;
                    self.ending = Some(ending);
                    return Poll::Ready(Left::Transport);
                }
                Some(mut ending) => {
                    let step = self.end(cx, &mut ending);
                    self.ending = Some(ending);
                    step
                }
            };
            match step {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::End => return Poll::Ready(Left::Everything),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
