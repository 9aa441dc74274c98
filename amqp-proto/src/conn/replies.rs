//! Replies to their requests.
//!
//! A reply resolves the oldest outstanding request of its kind; consume-ok and cancel-ok are matched by consumer tag. A
//! request that timed out or was given up has left a tombstone: its reply goes to nobody, and what it has brought about
//! is undone ([`Connection::compensate`]).

use super::channel::{About, ChannelState};
use super::consumers::{ConsumerState, Item, Recipient};
use super::inbound::Fault;
use super::{ChannelId, Connection, ConsumerId, Event, Reply, RequestId};
use crate::error::{CloseReason, Error, ErrorKind};
use crate::method::{Method, MethodCodec, basic, channel, put_method, queue};
use crate::wire::ShortStr;

/// The reply that `basic.get-ok` and `basic.get-empty` both are.
pub(super) const GET_OK: (u16, u16) = (basic::GetOk::CLASS_ID, basic::GetOk::METHOD_ID);

/// `queue.declare-ok`.
pub(super) const DECLARE_OK: (u16, u16) = (queue::DeclareOk::CLASS_ID, queue::DeclareOk::METHOD_ID);

/// `channel.open-ok`.
pub(super) const CHANNEL_OPEN_OK: (u16, u16) = (channel::OpenOk::CLASS_ID, channel::OpenOk::METHOD_ID);

/// `channel.close-ok`.
pub(super) const CHANNEL_CLOSE_OK: (u16, u16) = (channel::CloseOk::CLASS_ID, channel::CloseOk::METHOD_ID);

impl Connection {
    /// A method on an open channel that carries no content.
    pub(super) fn handle_reply(&mut self, id: ChannelId, method: &Method<'_>) -> Result<(), Fault> {
        match method {
            Method::Channel(channel::Method::Close(close)) => self.channel_closed_by_broker(id, close),
            Method::Channel(channel::Method::CloseOk(_)) => self.channel_close_ok(id),
            Method::Channel(channel::Method::Flow(flow)) => self.flow_from_broker(id, flow.active),
            Method::Basic(basic::Method::Cancel(cancel)) => self.cancelled_by_broker(id, cancel),
            Method::Basic(basic::Method::ConsumeOk(ok)) => self.consume_ok(id, ok.consumer_tag, method),
            Method::Basic(basic::Method::CancelOk(ok)) => self.cancel_ok(id, ok.consumer_tag, method),
            Method::Basic(basic::Method::GetEmpty(_)) => self.replied(id, GET_OK, Reply::Got(None), method),
            _ => {
                let reply = match method {
                    Method::Queue(queue::Method::DeclareOk(ok)) => Reply::QueueDeclared {
                        queue: ok.queue.to_string_lossy().into_owned(),
                        message_count: ok.message_count,
                        consumer_count: ok.consumer_count,
                    },
                    Method::Queue(queue::Method::PurgeOk(ok)) => Reply::MessageCount(ok.message_count),
                    Method::Queue(queue::Method::DeleteOk(ok)) => Reply::MessageCount(ok.message_count),
                    Method::Channel(channel::Method::FlowOk(ok)) => Reply::Flow(ok.active),
                    _ => Reply::Done,
                };
                self.replied(id, (method.class_id(), method.method_id()), reply, method)
            }
        }
    }

    /// The oldest request of the kind has its reply.
    fn replied(&mut self, id: ChannelId, kind: (u16, u16), reply: Reply, method: &Method<'_>) -> Result<(), Fault> {
        if let (Reply::QueueDeclared { queue, .. }, true) = (&reply, self.recovering.is_some()) {
            self.note_queue(id, queue);
        }
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let number = channel.number;
        let Some(pending) = channel.take_pending(kind) else { return Err(Fault::unexpected(method.name(), number)) };
        match kind {
            (channel::OpenOk::CLASS_ID, channel::OpenOk::METHOD_ID) => {
                if matches!(channel.state, ChannelState::Opening) {
                    channel.state = ChannelState::Open;
                }
            }
            (basic::RecoverOk::CLASS_ID, basic::RecoverOk::METHOD_ID) => channel.recovering -= 1,
            _ => {}
        }
        match pending.about {
            About::Declare => {
                self.declared_again(method);
                return Ok(());
            }
            About::Change(change) => self.record(*change, id, &reply),
            About::Void(error) => {
                self.answer(pending.request, Err(error));
                return Ok(());
            }
            _ => {}
        }
        self.answer(pending.request, Ok(reply));
        self.reopened_if_complete(id);
        Ok(())
    }

    fn consume_ok(&mut self, id: ChannelId, tag: ShortStr<'_>, method: &Method<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let kind = (method.class_id(), method.method_id());
        let Some(pending) = channel.take_pending_about(kind, |about| about.has_tag(tag.as_bytes())) else {
            return Err(Fault::unexpected(method.name(), channel.number));
        };
        let reply = match pending.about {
            About::Consume(consumer, _) => {
                self.consuming(consumer);
                self.record_consumer(consumer);
                self.subscribed(id, consumer);
                Reply::Consuming(consumer)
            }
            About::Restored(consumer, _) => {
                self.consuming(consumer);
                self.subscribed(id, consumer);
                Reply::Done
            }
            About::Resume(consumer, _) => {
                self.subscribed(id, consumer);
                Reply::Done
            }
            _ => Reply::Done,
        };
        self.answer(pending.request, Ok(reply));
        self.reopened_if_complete(id);
        Ok(())
    }

    /// The broker has confirmed a consumer.
    fn consuming(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumer_mut(id) {
            consumer.started = true;
            if consumer.state == ConsumerState::Starting {
                consumer.state = ConsumerState::Active;
            }
        }
    }

    fn cancel_ok(&mut self, id: ChannelId, tag: ShortStr<'_>, method: &Method<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let kind = (method.class_id(), method.method_id());
        let Some(pending) = channel.take_pending_about(kind, |about| about.has_tag(tag.as_bytes())) else {
            return Err(Fault::unexpected(method.name(), channel.number));
        };
        match pending.about {
            About::Cancel(Some(consumer), _) => self.end_consumer(consumer, None),
            About::Replace(consumer, tag) => self.replaced(id, consumer, &tag),
            _ => {}
        }
        self.answer(pending.request, Ok(Reply::Done));
        Ok(())
    }

    /// Consumer cancel notification: the queue was deleted, for example.
    fn cancelled_by_broker(&mut self, id: ChannelId, cancel: &basic::Cancel<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let tag = cancel.consumer_tag.to_string_lossy();
        let known = channel.consumers.get(&*tag).copied();
        let number = channel.number;
        if !cancel.nowait && self.usable(id).is_ok() {
            put_method(self.wire_of(id), number, &basic::CancelOk { consumer_tag: cancel.consumer_tag })?;
        }
        // One that goes on by another tag has not ended.
        if let Some(consumer) = known
            && let Some(living) = self.consumer_mut(consumer)
            && *living.tag == *tag
        {
            // RabbitMQ 4.3 keeps the subscription of one that acks too late: it delivers again once that is settled.
            let may_live_on = living.state != ConsumerState::Cancelling && !living.awaits_ok;
            if may_live_on && self.usable(id).is_ok() {
                put_method(
                    self.wire_of(id),
                    number,
                    &basic::Cancel { consumer_tag: cancel.consumer_tag, nowait: true },
                )?;
            }
            let consumer_tag = tag.into_owned();
            let cause = Error::new(ErrorKind::ConsumerCancelled { consumer_tag });
            if !self.resubscribes(consumer, &cause) {
                self.end_consumer(consumer, Some(cause));
            }
        }
        Ok(())
    }

    fn flow_from_broker(&mut self, id: ChannelId, active: bool) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        channel.stopped = !active || channel.held.is_some();
        let number = channel.number;
        if !active {
            self.leave_turns(id);
        }
        // Nothing follows channel.close.
        if self.usable(id).is_ok() {
            put_method(self.wire_of(id), number, &channel::FlowOk { active })?;
        }
        self.join_turns(id);
        self.grant_room();
        Ok(())
    }

    /// Channel.close from the broker: answered, everybody on the channel is told, its number is free.
    fn channel_closed_by_broker(&mut self, id: ChannelId, close: &channel::Close<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let number = channel.number;
        // Closes that cross: the answer to ours is still to come, and the number is in use until then. A close that
        // waits behind a body never leaves.
        let was_closing = matches!(channel.state, ChannelState::Closing);
        let crossing = was_closing && channel.backlog.is_none();
        let reason =
            CloseReason::new(close.reply_code, close.reply_text.to_string_lossy(), close.class_id, close.method_id);
        let mut backlog = None;
        if !self.is_closing() {
            backlog = self.void_backlog(id);
            let tail = backlog.as_mut().map_or_else(|| self.out.tail(), |backlog| backlog.tail());
            put_method(tail, number, &channel::CloseOk {})?;
        }
        if self.is_internal_channel(id) {
            self.internal_channel_closed(id, reason);
            return Ok(());
        }
        if self.is_held(id) && self.reopening_refused(id, &reason) {
            return Ok(());
        }
        if !self.is_closing() && backlog.is_none() && self.is_consumer_timeout(id, &reason) {
            self.reopen_timed_out(id, reason);
            return Ok(());
        }
        // Whoever has closed it meanwhile is told as well: something that was sent before has failed.
        self.end_channel(id, &Error::new(ErrorKind::ChannelClosed(reason)), true);
        if crossing {
            self.channels.await_straggler(number);
        } else if let Some(backlog) = backlog
            && let Some(channel) = self.channels.get_mut(id)
        {
            // In the middle of a body nothing else may be sent: the answer follows it.
            channel.backlog = Some(backlog);
            if !was_closing {
                self.channels.note_closing(number);
            }
        } else {
            let successor = self.channels.free_number(number);
            self.begin(successor);
        }
        self.channels.forget_if_done(id);
        Ok(())
    }

    fn channel_close_ok(&mut self, id: ChannelId) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let number = channel.number;
        let Some(pending) = channel.take_pending(CHANNEL_CLOSE_OK) else {
            return Err(Fault::unexpected("channel.close-ok", number));
        };
        if self.is_internal_channel(id) {
            self.internal_channel_close_ok(id);
            return Ok(());
        }
        self.answer(pending.request, Ok(Reply::Done));
        self.end_channel(id, &Error::new(ErrorKind::ChannelNotOpen), false);
        let successor = self.channels.free_number(number);
        self.channels.forget_if_done(id);
        self.begin(successor);
        Ok(())
    }

    /// A channel that waited for its number has it: what it has to say leaves now.
    pub(super) fn begin(&mut self, successor: Option<ChannelId>) {
        let Some(id) = successor else { return };
        if self.is_open()
            && let Some(backlog) = self.channels.get_mut(id).and_then(|channel| channel.backlog.take())
        {
            // Where the connection is lost, the channel is opened when it is back.
            if !self.is_disconnected() {
                self.out.tail().extend_from_slice(&backlog.into_tail());
            }
            self.join_turns(id);
            self.grant_room();
        }
    }

    /// An ack or nack of publishes.
    pub(super) fn confirmed(&mut self, id: ChannelId, tag: u64, multiple: bool, acked: bool) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let number = channel.number;
        let Some(known) = self.resolve_publishes(id, tag, multiple, acked) else {
            return Err(Fault::unexpected("confirm of a publish", number));
        };
        if known {
            Ok(())
        } else {
            Err(Fault::unexpected(format!("confirm of publish {tag}, which was never sent,"), number))
        }
    }

    /// Gives a reply to whoever waits for it, or undoes it.
    pub(super) fn answer(&mut self, request: Option<RequestId>, result: Result<Reply, Error>) {
        let Some(request) = request else { return self.compensate(result) };
        match self.calls.resolve(request, result) {
            Ok(true) => self.event(Event::Resolved(request)),
            Ok(false) => {}
            Err(result) => self.compensate(result),
        }
    }

    /// The same for a request that belongs to the connection.
    pub(super) fn resolve(&mut self, request: RequestId, result: Result<Reply, Error>) {
        self.answer(Some(request), result);
    }

    /// Undoes what a reply that nobody waits for has brought about. A message got with `no_ack` cannot be put back.
    pub(super) fn compensate(&mut self, result: Result<Reply, Error>) {
        match result {
            Ok(Reply::Got(Some(delivery))) if delivery.needs_settling() => self.requeue(delivery.delivery_tag()),
            Ok(Reply::Consuming(consumer)) => self.release_consumer(consumer),
            Ok(_) => {}
            Err(error) => {
                if let ErrorKind::BadDelivery { delivery_tag, .. } = error.kind() {
                    self.requeue(*delivery_tag);
                }
            }
        }
    }

    /// A consumer gets nothing more; what it has stays readable.
    pub(super) fn end_consumer(&mut self, id: ConsumerId, cause: Option<Error>) {
        let Some(consumer) = self.consumer_mut(id) else { return };
        if consumer.state == ConsumerState::Ended {
            return;
        }
        consumer.state = ConsumerState::Ended;
        self.forget_recorded_consumer(id);
        let Some(consumer) = self.consumer_mut(id) else { return };
        let (released, watched) = (consumer.released, std::mem::take(&mut consumer.watched));
        let (owner, no_ack, resuming) = (consumer.channel, consumer.no_ack, consumer.resuming.take());
        let cancels = std::mem::take(&mut consumer.cancels);
        let freed = consumer.stop_counting();
        let why = cause.clone().unwrap_or_else(|| Error::new(ErrorKind::ChannelNotOpen));
        if let Some(cause) = cause {
            consumer.push(Item::Bad(cause));
        }
        self.unbuffer(freed);
        if let Some(channel) = self.channels.get_mut(owner) {
            // All of its tags: there are several where its prefetch has changed.
            for (tag, id) in channel.consumers.extract_if(|_, other| *other == id) {
                channel.ended.remember(tag, Recipient { id, no_ack });
            }
            channel.last_consumer = None;
        }
        let was_cancelled = matches!(why.kind(), ErrorKind::ConsumerCancelled { .. });
        for request in cancels {
            self.answer(request, if was_cancelled { Ok(Reply::Done) } else { Err(why.clone()) });
        }
        if let Some(resuming) = resuming {
            self.answer(Some(resuming.request), Err(why));
        }
        if released {
            self.forget_consumer(id);
        } else if watched {
            self.event(Event::ConsumerReady(id));
        }
    }

    pub(super) fn consumer_mut(&mut self, id: ConsumerId) -> Option<&mut super::Consumer> {
        self.consumers.get_mut(id.index()).filter(|consumer| consumer.generation == id.generation)
    }

    pub(super) fn forget_consumer(&mut self, id: ConsumerId) {
        if self.consumer_mut(id).is_some() {
            let freed = self.consumers.remove(id.index()).stop_counting();
            self.unbuffer(freed);
            self.drop_unread_bodies(id);
        }
    }
}
