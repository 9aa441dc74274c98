//! How a connection ends, and what its end means to everybody who waits: each is told once, with the cause.

use std::time::Instant;

use super::channel::ChannelState;
use super::consumers::{ConsumerState, Ended};
use super::handshake::Phase;
use super::inbound::Fault;
use super::{ChannelId, Connection, Event, Outbound, Reply, RequestId};
use crate::error::{Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{connection, put_method};
use crate::wire::ShortStr;

impl Connection {
    /// Closes the connection: what was accepted is sent first, confirms that somebody waits for are awaited as long as
    /// the close's deadline allows, and the request resolves when the broker has answered. In the handshake there is
    /// nobody to answer yet, and the connection ends at once.
    pub fn close(&mut self, code: ReplyCode, text: &str) -> RequestId {
        let request = self.calls.insert("connection.close", None);
        match &self.phase {
            Phase::Closed(result) => {
                let result = result.clone().map(|()| Reply::Done);
                self.resolve(request, result);
            }
            phase if phase.is_handshake() || self.is_disconnected() => {
                self.closers.push(request);
                self.abort();
            }
            Phase::Open | Phase::Hooks | Phase::Restoring => {
                self.closers.push(request);
                self.restore_no_more();
                self.enter(Phase::Draining { code, text: text.to_owned() });
                self.flush_all_acks();
                self.drop_void_bodies();
                self.send_close_if_drained();
            }
            _ => self.closers.push(request),
        }
        request
    }

    /// Ends the connection at once; what waits to be written is thrown away.
    pub fn abort(&mut self) {
        self.end(Ok(()));
        self.out = Outbound::new();
    }

    /// A request that resolves when the connection has ended: `Ok` if this side closed it, otherwise the cause.
    pub fn watch_closed(&mut self) -> RequestId {
        let request = self.calls.insert("connection.close", None);
        match &self.phase {
            Phase::Closed(result) => {
                let result = result.clone().map(|()| Reply::Done);
                self.resolve(request, result);
            }
            _ => self.watchers.push(request),
        }
        request
    }

    /// Connection.close leaves when no part of a large message is left, and no confirm that somebody waits for.
    pub(super) fn send_close_if_drained(&mut self) {
        if self.is_closing() && self.bulk.is_empty() && !self.awaits_outcomes() {
            self.send_close();
        }
    }

    fn send_close(&mut self) {
        let Phase::Draining { code, text } = &self.phase else { return };
        let close =
            connection::Close { reply_code: *code, reply_text: ShortStr::truncated(text), class_id: 0, method_id: 0 };
        // A close has no field that could fail to encode.
        let _ = put_method(self.out.tail(), 0, &close);
        self.phase = Phase::Closing;
        // Nothing follows close, not even a heartbeat, and the phase has a deadline of its own.
        self.heartbeats = None;
    }

    /// The broker broke the protocol: it is told why, if it can be, and the connection ends.
    #[cold]
    pub(super) fn fail(&mut self, fault: &Fault) {
        match self.phase {
            // What comes after our close is to be ignored, whatever it is (0-9-1 §1.4.2.8).
            Phase::Closing | Phase::Closed(_) => return,
            // Before start-ok there is no close.
            Phase::AwaitStart => {}
            _ => {
                let text = fault.error.to_string();
                let close = connection::Close {
                    reply_code: fault.code,
                    reply_text: ShortStr::truncated(&text),
                    class_id: 0,
                    method_id: 0,
                };
                let _ = put_method(self.out.tail(), 0, &close);
            }
        }
        self.end(Err(fault.error.clone()));
    }

    /// The end, for everybody who waits. `Ok`: this side wanted it.
    pub(super) fn end(&mut self, result: Result<(), Error>) {
        if self.is_finished() {
            return;
        }
        let result = match result {
            Err(cause) if self.recovers(&cause) => return self.lose(&cause),
            result => result,
        };
        let was_opening = !self.was_open;
        self.phase = Phase::Closed(result.clone());
        self.phase_deadline = None;
        self.heartbeats = None;
        self.turn = true;
        let lost = result.is_err();
        let cause = result.clone().err().unwrap_or_else(|| Error::new(ErrorKind::ConnectionNotOpen));
        for id in self.channels.ids() {
            self.end_channel(id, &cause, lost);
            if let Some(channel) = self.channels.get_mut(id) {
                channel.backlog = None;
            }
            self.channels.forget_if_done(id);
        }
        let ended = result.map(|()| Reply::Done);
        for closer in std::mem::take(&mut self.closers) {
            let result = ended.as_ref().map(|_| Reply::Done).map_err(Clone::clone);
            self.resolve(closer, result);
        }
        for watcher in std::mem::take(&mut self.watchers) {
            let result = ended.as_ref().map(|_| Reply::Done).map_err(Clone::clone);
            self.resolve(watcher, result);
        }
        if was_opening {
            self.resolve(self.opened, Err(cause.clone()));
        }
        // What is left belongs to no channel.
        for request in self.calls.waiting() {
            self.resolve(request, Err(cause.clone()));
        }
        self.bulk.clear();
        self.dirty.clear();
        self.unarmed.clear();
        self.confirm_deadlines.clear();
        self.event(Event::Closed);
    }

    /// The end of a channel. `lost`: it was not closed by its owner, so its consumers say why they end.
    pub(super) fn end_channel(&mut self, id: ChannelId, cause: &Error, lost: bool) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if matches!(channel.state, ChannelState::Closed(_)) {
            return;
        }
        channel.state = ChannelState::Closed(cause.clone());
        channel.assembly = None;
        channel.backlog = None;
        channel.dirty = false;
        channel.unsettled.invalidate();
        channel.consumers.clear();
        channel.ended = Ended::default();
        channel.last_consumer = None;
        let pending = channel.take_all_pending();
        let returns_watched = std::mem::take(&mut channel.returns_watched);
        self.lose_all_publishes(id, cause);
        if returns_watched {
            self.events.push_back(Event::Returned(id));
        }
        for pending in pending {
            self.answer(pending.request, Err(cause.clone()));
        }
        self.drop_all_held(id, cause);
        self.close_line(id, cause);
        self.end_bodies_of(id, cause);
        self.end_consumers_of(id, cause, lost);
        self.event(Event::ChannelClosed(id));
        self.restored_if_all_are_back();
    }

    /// Unread deliveries that have to be settled are void: the broker has requeued them. Those without acks are not
    /// lost.
    fn end_consumers_of(&mut self, channel: ChannelId, cause: &Error, lost: bool) {
        for id in self.consumers_of(channel) {
            let Some(consumer) = self.consumer_mut(id) else { continue };
            // Nobody has a handle to a consumer that never started, whether it was cancelled meanwhile or not.
            let orphan = !consumer.started;
            if !consumer.no_ack {
                let freed = consumer.forget_deliveries();
                self.unbuffer(freed);
                self.drop_unread_bodies(id);
            }
            let ended_before = self.consumer_mut(id).is_some_and(|consumer| consumer.state == ConsumerState::Ended);
            self.end_consumer(id, (lost && !ended_before).then(|| cause.clone()));
            if orphan {
                self.forget_consumer(id);
            }
        }
    }

    pub(super) fn phase_timed_out(&mut self) {
        match self.phase {
            Phase::Lost { .. } => return self.dial(),
            // The broker is not asked for anything at present.
            Phase::Restoring if self.tries_later() => return self.progress(),
            _ => {}
        }
        if matches!(self.phase, Phase::Draining { .. }) && self.bulk.is_empty() {
            // Only confirms are missing. Their publishes end as unknown, with the connection.
            self.send_close();
            self.phase_deadline = None;
            self.turn = true;
            return;
        }
        let reason = self.phase.timeout_reason();
        let error = Error::timeout(reason, self.blocked.is_some());
        self.end(Err(error));
        self.out = Outbound::new();
    }

    /// Requests whose time is over. Their replies will find tombstones.
    pub(super) fn expire_calls(&mut self, now: Instant) {
        while let Some(request) = self.calls.pop_expired(now) {
            let reason = self.expired_reason(request);
            let error = Error::timeout(reason, self.blocked.is_some());
            let room = self.calls.room_of(request);
            self.resolve(request, Err(error));
            if let Some(channel) = room {
                self.leave_line(request, channel);
            }
        }
    }

    /// Why nothing can be asked of the connection.
    #[cold]
    pub(super) fn not_open(&self) -> Error {
        match &self.phase {
            Phase::Closed(Err(error)) => error.clone(),
            _ => Error::new(ErrorKind::ConnectionNotOpen),
        }
    }
}
