//! What a channel is asked for while its connection is down.
//!
//! A channel of a lost connection is suspended: it keeps its number, its settings and its consumers, and what is asked of
//! it is encoded and held ([`Held`]), with deadlines that run. When the channel is open again, with its settings, and with
//! every consumer confirmed, what was held goes out in its order, and the channel is as it was before. A request whose time
//! is over is not sent. There is no room to publish meanwhile, so that no message is held.

use std::collections::VecDeque;

use super::channel::{About, Channel, ChannelState, Pending};
use super::{ChannelId, Connection, ConsumerId, Reply, RequestId};
use crate::error::{Error, ErrorKind, TimeoutReason};
use crate::method::{Method, MethodCodec, basic, tx};
use crate::wire::EncodeError;

/// What waits until a channel is open again.
#[derive(Debug, Default)]
pub(super) struct Held {
    parts: VecDeque<Part>,
    /// What was encoded since the last part.
    open: Vec<u8>,
    /// Bytes in `parts`.
    bytes: usize,
    /// Who waits for `channel.open-ok`.
    pub(super) opened: Option<RequestId>,
    /// The prefetch that the broker is to know of when the parts come.
    pub(super) prefetch: Option<u16>,
    pub(super) stage: Stage,
    /// How often it was refused.
    pub(super) refusals: u32,
    /// The prefetch that the broker was told last.
    pub(super) told: Option<u16>,
}

/// How far a suspended channel has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Nothing was sent for it yet.
    #[default]
    Waiting,
    /// It was opened, and replies are awaited.
    Reopening,
    /// The broker has refused it for now.
    Refused,
}

/// The frames of one request, or of methods without a reply.
#[derive(Debug)]
struct Part {
    frames: Vec<u8>,
    pending: Option<Pending>,
}

impl Held {
    pub(super) fn new(prefetch: Option<u16>) -> Self {
        Self { prefetch, ..Self::default() }
    }

    /// Of a channel that is new, for whoever waits until it is open.
    pub(super) fn for_new(opened: RequestId) -> Self {
        Self { opened: Some(opened), ..Self::default() }
    }

    /// Where the channel's next frames go.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    /// What was encoded is a part.
    pub(super) fn push(&mut self, pending: Option<Pending>) {
        let frames = std::mem::take(&mut self.open);
        self.bytes += frames.len();
        self.parts.push_back(Part { frames, pending });
    }

    /// Takes out the part of this request.
    fn remove(&mut self, request: RequestId) -> Option<Pending> {
        let is_its = |part: &Part| part.pending.as_ref().is_some_and(|pending| pending.request == Some(request));
        let at = self.parts.iter().position(is_its)?;
        let part = self.parts.remove(at)?;
        self.bytes -= part.frames.len();
        part.pending
    }

    /// Whether a consumer is to begin by one of the parts.
    pub(super) fn begins(&self, consumer: ConsumerId) -> bool {
        let about = |part: &Part| match part.pending.as_ref().map(|pending| &pending.about) {
            Some(About::Consume(id, _)) => *id == consumer,
            _ => false,
        };
        self.parts.iter().any(about)
    }

    /// All replies that are waited for.
    pub(super) fn into_pending(self) -> impl Iterator<Item = Pending> {
        self.parts.into_iter().filter_map(|part| part.pending)
    }
}

impl Connection {
    /// Where the channel's next frames go: behind what is held of it, or its body, if one is leaving.
    #[inline]
    pub(super) fn tail_of(&mut self, id: ChannelId) -> &mut Vec<u8> {
        match self.channels.get_mut(id) {
            Some(Channel { held: Some(held), .. }) => held.tail(),
            Some(Channel { backlog: Some(backlog), .. }) => backlog.tail(),
            _ => self.out.tail(),
        }
    }

    /// Where frames go that are about what the broker has sent on the channel, which is open at the broker then.
    #[inline]
    pub(super) fn wire_of(&mut self, id: ChannelId) -> &mut Vec<u8> {
        match self.channels.get_mut(id) {
            Some(Channel { backlog: Some(backlog), .. }) => backlog.tail(),
            _ => self.out.tail(),
        }
    }

    /// Whether the channel waits for its connection.
    pub(super) fn is_held(&self, id: ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| channel.held.is_some())
    }

    /// A channel that waits for its connection holds no more than that.
    pub(super) fn check_held(&self, id: ChannelId) -> Result<(), Error> {
        let limit = self.config.limits.publish_buffer.max(1);
        match self.channels.get(id).and_then(|channel| channel.held.as_ref()) {
            Some(held) if held.bytes >= limit => Err(Error::new(ErrorKind::Full)),
            _ => Ok(()),
        }
    }

    /// What is asked of a channel whose connection was lost, where it is not simply sent, or held.
    pub(super) fn request_after_loss(
        &mut self,
        id: ChannelId,
        method: &Method<'_>,
    ) -> Result<Option<RequestId>, Error> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(None) };
        let waits = channel.held.is_some();
        let (name, answer) = match method {
            // There is nothing unsettled.
            Method::Basic(basic::Method::Recover(_) | basic::Method::RecoverAsync(_)) if waits => {
                (method.name(), Ok(Reply::Done))
            }
            Method::Tx(tx::Method::Rollback(_)) => {
                channel.void = None;
                if !waits {
                    return Ok(None);
                }
                (method.name(), Ok(Reply::Done))
            }
            Method::Tx(tx::Method::Commit(_)) => match channel.void.take() {
                Some(cause) if waits => (method.name(), Err(cause)),
                Some(cause) => return self.roll_back_void(id, cause).map(Some),
                None => return Ok(None),
            },
            _ => {
                self.check_held(id)?;
                return Ok(None);
            }
        };
        let request = self.calls.insert(name, None);
        self.answer(Some(request), answer);
        Ok(Some(request))
    }

    /// Part of a transaction was lost with the connection: what has been sent of it since is not to be committed either.
    fn roll_back_void(&mut self, id: ChannelId, cause: Error) -> Result<RequestId, Error> {
        const ROLLBACK_OK: (u16, u16) = (tx::RollbackOk::CLASS_ID, tx::RollbackOk::METHOD_ID);
        self.flush_acks(id);
        self.send(id, &tx::Rollback {}.into())?;
        let request = self.calls.insert("tx.commit", Some(self.config.timeouts.call));
        if let Some(channel) = self.channels.get_mut(id) {
            channel.uncommitted = false;
            channel.await_reply(Pending { reply: ROLLBACK_OK, request: Some(request), about: About::Void(cause) });
        }
        Ok(request)
    }

    /// Why a request whose time is over was not answered. If it was held it is not going to be sent.
    pub(super) fn expired_reason(&mut self, request: RequestId) -> TimeoutReason {
        let waits_for_room = self.calls.room_of(request).is_some_and(|channel| self.is_held(channel));
        if (waits_for_room || self.drop_held(request))
            && let Some(cause) = self.lost_by_cause()
        {
            return TimeoutReason::Disconnected { cause: cause.to_string() };
        }
        self.call_reason(request)
    }

    /// The time of a request is over: whether it was held, and is not going to be sent.
    fn drop_held(&mut self, request: RequestId) -> bool {
        if self.recovering.is_none() {
            return false;
        }
        for id in self.channels.ids() {
            let Some(Channel { held: Some(held), .. }) = self.channels.get_mut(id) else { continue };
            if held.opened == Some(request) {
                return true;
            }
            let Some(pending) = held.remove(request) else { continue };
            if let About::Consume(consumer, _) = pending.about {
                self.end_consumer(consumer, None);
                self.forget_consumer(consumer);
            }
            return true;
        }
        false
    }

    /// The channel is open again, with all that belongs to it: what was held goes out.
    pub(super) fn go_live(&mut self, id: ChannelId) {
        self.send_again(id);
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Some(held) = channel.held.take() else { return };
        let frame_max = self.frame_max as usize;
        channel.state = ChannelState::Open;
        channel.stopped = false;
        let Held { parts, open, opened, .. } = *held;
        let mut refused = Vec::new();
        for Part { frames, pending } in parts {
            // The limit may be another than when they were encoded.
            let is_too_long = frame_max != 0 && frames.len() > frame_max;
            match pending {
                Some(pending) if is_too_long => refused.push((pending, frames.len())),
                pending => {
                    self.out.tail().extend_from_slice(&frames);
                    channel.pending_mut().extend(pending);
                }
            }
        }
        self.out.tail().extend_from_slice(&open);
        for (pending, size) in refused {
            if let About::Consume(consumer, _) = pending.about {
                self.end_consumer(consumer, None);
                self.forget_consumer(consumer);
            }
            self.answer(pending.request, Err(EncodeError::TooLong { size, limit: frame_max }.into()));
        }
        if opened.is_some() {
            self.answer(opened, Ok(Reply::Done));
        }
        for consumer in self.consumers_of(id) {
            if self.consumer_mut(consumer).is_some_and(|consumer| !consumer.awaits_ok) {
                // What had to wait for the channel.
                self.subscribed(id, consumer);
            }
        }
        self.turn = true;
        self.join_turns(id);
        self.grant_room();
    }

    /// The channel waits no more, because it has ended or is being closed: whoever waits for it is told.
    pub(super) fn drop_all_held(&mut self, id: ChannelId, cause: &Error) {
        let Some(held) = self.channels.get_mut(id).and_then(|channel| channel.held.take()) else { return };
        if held.opened.is_some() {
            self.answer(held.opened, Err(cause.clone()));
        }
        for pending in held.into_pending() {
            match pending.about {
                About::Cancel(..) => self.answer(pending.request, Ok(Reply::Done)),
                _ => self.answer(pending.request, Err(cause.clone())),
            }
        }
    }

    /// Closes a channel that waits for its connection; `false` if it does not. If the broker knows of it already, it is
    /// to be told.
    pub(super) fn close_held(&mut self, id: ChannelId) -> bool {
        let Some(Channel { held: Some(held), number, .. }) = self.channels.get(id) else { return false };
        let (number, is_known) = (*number, held.stage == Stage::Reopening);
        let cause = Error::new(ErrorKind::ChannelNotOpen);
        self.drop_all_held(id, &cause);
        if is_known {
            return false;
        }
        self.end_channel(id, &cause, false);
        self.free_number_of(number, id);
        self.channels.forget_if_done(id);
        true
    }

    /// The number of a channel that has ended is free, unless it is lent to the connection's own channel: then it is when
    /// that is closed.
    pub(super) fn free_number_of(&mut self, number: u16, id: ChannelId) {
        if self.channels.is_at(number, id) {
            let successor = self.channels.free_number(number);
            self.begin(successor);
        }
    }
}
