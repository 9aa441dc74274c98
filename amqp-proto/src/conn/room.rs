//! Room to publish, and those who wait for it.
//!
//! There is room for a publish while less than [`Limits::publish_buffer`](crate::config::Limits) bytes wait to be
//! written, the broker has not blocked the connection, and the channel has neither a backlog nor been stopped by
//! `channel.flow`. So what waits is bounded by that limit and one message for each channel.
//!
//! Who waits stands in its channel's line, and nobody who comes later overtakes: while somebody waits, publishes that did
//! not wait find no room. Channels that could publish take turns. When half of the buffer is written, as many get room as
//! the buffer holds, each as much as it asked for; it is kept for them until they take it, give up, or are out of time.
//! Each has waited once then, with one deadline.
//!
//! ```text
//!   wait_room ──► line of the channel ──────────► granted ──────────► taken: the next publish on the channel is theirs
//!                   │        ▲  channel in turns     │ │ channel or connection stopped meanwhile
//!                   │        └───────────────────────┼─┘
//!                   └────────────────────────────────┴──► given up, timed out, channel gone
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::calls::Calls;
use super::channel::Channel;
use super::publish::BULK;
use super::{ChannelId, Connection, Event, Reply, RequestId};
use crate::error::Error;

/// What a request for room is called; no method has this name.
pub(super) const ROOM: &str = "basic.publish";

/// What a message costs on the wire beyond its body, roughly.
const OVERHEAD: usize = 64;

/// What all channels share.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Channels on which somebody waits and that could publish, in turn.
    turns: VecDeque<ChannelId>,
    /// Bytes that are kept for those who were granted room.
    promised: usize,
    /// Somebody on this channel has just taken what was kept: the next publish there is theirs.
    admitted: Option<ChannelId>,
}

/// Those who wait on one channel: first those who were granted room, then the others, in the order in which they came.
/// Who is gone is left out later, but for those who were granted.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: VecDeque<Waiter>,
    granted: usize,
    /// How many of those who were not granted are gone.
    gone: usize,
    /// It stands among `turns`.
    in_turn: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    request: RequestId,
    bytes: usize,
}

impl Line {
    /// Whether somebody waits who was not granted room yet.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.waiters.len() > self.granted + self.gone
    }

    /// How many were granted room and have not taken it.
    #[inline]
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// Grants room to the next.
    fn grant(&mut self, calls: &Calls) -> Option<Waiter> {
        while let Some(waiter) = self.waiters.get(self.granted).copied() {
            if calls.is_waiting(waiter.request) {
                self.granted += 1;
                return Some(waiter);
            }
            self.waiters.remove(self.granted);
            self.gone -= 1;
        }
        None
    }

    /// Removes one who was granted room.
    fn remove_granted(&mut self, request: RequestId) -> Option<Waiter> {
        let at = self.waiters.iter().take(self.granted).position(|waiter| waiter.request == request)?;
        self.granted -= 1;
        self.waiters.remove(at)
    }

    /// One who was not granted room is gone.
    fn lose(&mut self, calls: &Calls) {
        self.gone += 1;
        // So that whoever tries and gives up again and again does not pile up here.
        if self.gone * 2 > self.waiters.len() {
            let granted = self.granted;
            let mut at = 0;
            self.waiters.retain(|waiter| {
                at += 1;
                at <= granted || calls.is_waiting(waiter.request)
            });
            self.gone = 0;
        }
    }

    /// Takes back what was granted; returns how many bytes that were.
    fn revoke(&mut self) -> usize {
        let granted = std::mem::take(&mut self.granted);
        self.waiters.iter().take(granted).map(|waiter| waiter.bytes).sum()
    }
}

impl Connection {
    /// Whether a publish on this channel, or the next part of the body that is written on it, would be queued now. Also
    /// true where it would fail at once.
    #[must_use]
    pub fn can_publish(&self, id: ChannelId) -> bool {
        if !self.is_open() {
            return true;
        }
        match self.channels.get(id) {
            Some(channel) if channel.check_open().is_ok() => {
                self.has_room() && !channel.line.is_waiting() && channel.takes_content() && channel.has_place()
            }
            _ => true,
        }
    }

    /// Whether there is room for those who have not waited, as far as that is the same for all channels.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.out.len() + self.in_flight + self.room.promised < self.publish_limit()
            && self.room.turns.is_empty()
            && self.blocked.is_none()
    }

    /// The channel, if a publish on it finds room: because there is some, or because it was kept for it.
    ///
    /// # Errors
    /// [`ErrorKind::Full`](crate::error::ErrorKind::Full) if there is no room; otherwise why the channel cannot be used.
    #[inline]
    pub(super) fn take_room_on(&mut self, id: ChannelId) -> Result<&mut Channel, Error> {
        if !self.is_open() {
            return self.usable(id).map_err(|error| error.during(ROOM));
        }
        let (has_room, admitted) = (self.has_room(), self.room.admitted == Some(id));
        let channel = self.channels.usable(id).map_err(|error| error.during(ROOM))?;
        let takes_content = channel.backlog.is_none() && !channel.stopped;
        if takes_content && admitted {
            self.room.admitted = None;
        } else if !(takes_content && has_room && !channel.line.is_waiting() && channel.has_place()) {
            return Err(channel.no_room());
        }
        Ok(channel)
    }

    /// The bytes that may wait to be written: a limit of 0 would let nothing through.
    #[inline]
    fn publish_limit(&self) -> usize {
        self.config.limits.publish_buffer.max(1)
    }

    /// Waits in line for room on this channel, for a message with a body of this many bytes. When
    /// [`take_reply`](Self::take_reply) gives [`Reply::Done`] the next publish on this channel has its room; it must
    /// follow at once, before anything else is asked of the connection. Without a `timeout` the configuration's holds.
    pub fn wait_room(&mut self, id: ChannelId, bytes: usize, timeout: Option<Duration>) -> RequestId {
        let timeout = timeout.unwrap_or(self.config.timeouts.room);
        let request = self.calls.insert_for_room(ROOM, timeout, id);
        self.turn = true;
        match self.usable(id) {
            Ok(channel) => {
                channel.line.waiters.push_back(Waiter { request, bytes: bytes.saturating_add(OVERHEAD) });
                self.join_turns(id);
                self.grant_room();
            }
            Err(error) => self.resolve(request, Err(error)),
        }
        request
    }

    /// Takes the room that was kept for this request, if it was. Where the channel cannot publish after all, it and those
    /// behind it stay in line.
    pub(super) fn take_room(&mut self, request: RequestId) -> Option<Result<Reply, Error>> {
        let is_blocked = self.blocked.is_some();
        if let Some(id) = self.calls.room_of(request)
            && let Some(channel) = self.channels.get_mut(id)
            && channel.line.waiters.iter().take(channel.line.granted).any(|waiter| waiter.request == request)
        {
            if is_blocked || !channel.takes_content() {
                self.room.promised -= channel.line.revoke();
                self.join_turns(id);
            } else if let Some(waiter) = channel.line.remove_granted(request) {
                self.room.promised -= waiter.bytes;
                self.room.admitted = Some(id);
                self.calls.abandon(request);
                self.join_turns(id);
                return Some(Ok(Reply::Done));
            }
        }
        self.calls.take(request)
    }

    /// A request for room is over, without having taken any: it was given up, or its time is. Its slot in `calls` is
    /// gone already, or done.
    pub(super) fn leave_line(&mut self, request: RequestId, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        match channel.line.remove_granted(request) {
            Some(waiter) => {
                self.room.promised -= waiter.bytes;
                self.join_turns(id);
            }
            None => {
                channel.line.lose(&self.calls);
                if !channel.line.is_waiting() {
                    self.leave_turns(id);
                }
            }
        }
        self.grant_room();
    }

    /// Nobody can publish on this channel any more: all who wait there are told why.
    pub(super) fn close_line(&mut self, id: ChannelId, cause: &Error) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let mut line = std::mem::take(&mut channel.line);
        self.room.promised -= line.revoke();
        self.room.turns.retain(|turn| *turn != id);
        self.room.admitted = self.room.admitted.filter(|admitted| *admitted != id);
        for waiter in line.waiters {
            // Whoever is gone needs no answer.
            if self.calls.is_waiting(waiter.request) {
                self.resolve(waiter.request, Err(cause.clone()));
            }
        }
        if !self.is_finished() {
            self.grant_room();
        }
    }

    /// Nobody can publish on this channel until its connection is back: those who wait stay in line.
    pub(super) fn stop_line(&mut self, id: ChannelId) {
        self.leave_turns(id);
        if let Some(channel) = self.channels.get_mut(id) {
            channel.stopped = true;
            self.room.promised -= channel.line.revoke();
        }
        self.room.admitted = self.room.admitted.filter(|admitted| *admitted != id);
    }

    /// The channel may be able to publish again, or somebody new waits there: it takes part, if somebody does.
    pub(super) fn join_turns(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id)
            && !channel.line.in_turn
            && channel.line.is_waiting()
            && channel.takes_content()
        {
            channel.line.in_turn = true;
            self.room.turns.push_back(id);
        }
    }

    /// The channel cannot publish for a while, or nobody waits there any more.
    pub(super) fn leave_turns(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id)
            && std::mem::take(&mut channel.line.in_turn)
        {
            self.room.turns.retain(|turn| *turn != id);
        }
    }

    /// Grants room to those who wait for it, if there is some.
    #[inline]
    pub(super) fn grant_room(&mut self) {
        let waiting = self.out.len() + self.in_flight;
        if !self.room.turns.is_empty() && waiting <= self.publish_limit() / 2 && self.blocked.is_none() {
            self.grant_up_to(self.publish_limit() - waiting);
        }
    }

    fn grant_up_to(&mut self, limit: usize) {
        while self.room.promised < limit
            && let Some(id) = self.room.turns.pop_front()
        {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            channel.line.in_turn = false;
            if !channel.takes_content() || !channel.has_place() {
                continue;
            }
            let Some(waiter) = channel.line.grant(&self.calls) else { continue };
            self.room.promised += waiter.bytes;
            if self.calls.take_watched(waiter.request) {
                self.event(Event::Resolved(waiter.request));
            }
            // A large message has the channel for itself until it has left.
            if waiter.bytes <= BULK {
                self.join_turns(id);
            }
        }
    }
}
