//! Consumers that the broker has ended, and that consume again.
//!
//! A broker cancels a consumer when its queue goes, or moves, or when it acked too late (`consumer_timeout`). Under recovery
//! it is subscribed anew: on the connection's own channel the queue is declared first, with its bindings, if it is recorded,
//! and otherwise asked after. One at a time. If that is refused again and again, or the queue is not there, the consumer ends
//! with the reason for which it was cancelled.

use std::collections::VecDeque;

use super::channel::{About, ChannelState, Pending};
use super::consumers::ConsumerState;
use super::handshake::Phase;
use super::replies::DECLARE_OK;
use super::{ChannelId, Connection, ConsumerId, Event};
use crate::error::{CloseReason, Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{put_any, queue};
use crate::recovery::{Item, Restore};
use crate::wire::ShortStr;

/// Consumers that are to be subscribed anew, and why they were ended.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    waiting: VecDeque<(ConsumerId, Error)>,
    /// The one whose queue is being looked after.
    current: Option<(ConsumerId, Error)>,
}

impl Repairs {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Connection {
    /// The broker has cancelled a consumer. `false`: it has ended by that.
    pub(super) fn resubscribes(&mut self, id: ConsumerId, cause: &Error) -> bool {
        let is_open = matches!(self.phase, Phase::Open);
        let Some(consumer) = self.consumer_mut(id) else { return false };
        let goes_on = consumer.state == ConsumerState::Active && !consumer.subscription.queue.is_empty();
        let channel = consumer.channel;
        let is_usable = self.channels.get(channel).is_some_and(|channel| channel.held.is_none());
        if self.recovering.is_none() || !goes_on || !is_open || !is_usable {
            return false;
        }
        if let Some(consumer) = self.consumer_mut(id) {
            consumer.state = ConsumerState::Suspended;
            consumer.awaits_ok = false;
        }
        if let Some(recovering) = &mut self.recovering {
            recovering.repairs.waiting.push_back((id, cause.clone()));
        }
        self.repair_next();
        true
    }

    /// Looks after the queue of the next consumer that was cancelled.
    fn repair_next(&mut self) {
        loop {
            let Some(recovering) = &mut self.recovering else { return };
            if recovering.repairs.current.is_some() || recovering.restore.is_some() {
                return;
            }
            let Some((id, cause)) = recovering.repairs.waiting.pop_front() else { return };
            let suspended = self
                .consumers
                .get(id.index())
                .filter(|consumer| consumer.generation == id.generation && consumer.state == ConsumerState::Suspended);
            // It may have been cancelled meanwhile.
            let Some(consumer) = suspended else { continue };
            let queue = consumer.subscription.queue.clone();
            if let Err(error) = self.look_after(&queue) {
                self.event(Event::NotRestored { what: format!("consumer of {}", lossy(&queue)), error });
                self.end_consumer(id, Some(cause));
                continue;
            }
            if let Some(recovering) = &mut self.recovering {
                recovering.repairs.current = Some((id, cause));
            }
            if self.recovering.as_ref().is_some_and(|recovering| recovering.restore.is_some()) {
                self.declare_next();
            }
        }
    }

    fn look_after(&mut self, queue: &[u8]) -> Result<(), Error> {
        let id = self.internal_channel()?;
        let Some(recovering) = &mut self.recovering else { return Ok(()) };
        if recovering.topology.queue(&lossy(queue)).is_some() {
            recovering.restore = Some(Restore::only(&recovering.topology, &lossy(queue)));
            return Ok(());
        }
        let declare =
            queue::Declare { queue: ShortStr::from_bytes(queue)?, passive: true, ..queue::Declare::default() };
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        put_any(self.out.tail(), channel.number, &declare.into())?;
        channel.await_reply(Pending { reply: DECLARE_OK, request: None, about: About::Declare });
        Ok(())
    }

    /// Whether what was said on the connection's own channel is about such a queue: then it is there.
    pub(super) fn repaired(&mut self) -> bool {
        let current = self.recovering.as_mut().and_then(|recovering| recovering.repairs.current.take());
        let Some((id, cause)) = current else { return false };
        if let Err(error) = self.subscribe_again(id, &cause) {
            self.end_consumer(id, Some(error));
        }
        self.repair_next();
        self.close_internal_channel_if_idle();
        true
    }

    /// The broker has refused the queue of such a consumer, for good: it ends.
    pub(super) fn not_repaired(&mut self) {
        let current = self.recovering.as_mut().and_then(|recovering| recovering.repairs.current.take());
        if let Some((id, cause)) = current {
            self.end_consumer(id, Some(cause));
        }
        self.repair_next();
    }

    /// Whether a queue is being looked after that is not recorded.
    pub(super) fn asks_after_queue(&self) -> bool {
        self.recovering.as_ref().is_some_and(|it| it.repairs.current.is_some() && it.restore.is_none())
    }

    fn subscribe_again(&mut self, id: ConsumerId, cause: &Error) -> Result<(), Error> {
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        let (channel, prefetch, no_ack) = (consumer.channel, consumer.prefetch, consumer.no_ack);
        let consumer_tag = consumer.tag.to_string();
        if consumer.state != ConsumerState::Suspended {
            return Ok(());
        }
        self.usable(channel)?;
        self.flush_acks(channel);
        let told = self.channels.get(channel).and_then(|channel| channel.prefetch);
        if !no_ack && told.is_some_and(|told| told != prefetch) {
            self.tell_prefetch(channel, prefetch)?;
        }
        self.send_consume(channel, id)?;
        self.event(Event::Resubscribed { consumer_tag, cause: cause.clone() });
        Ok(())
    }

    /// The broker has closed a channel because one of its consumers acked too late: RabbitMQ before 4.3 has no other way to
    /// end it. Nothing is wrong with the channel, which is opened again.
    pub(super) fn is_consumer_timeout(&self, id: ChannelId, reason: &CloseReason) -> bool {
        let is_open = self.channels.get(id).is_some_and(|channel| matches!(channel.state, ChannelState::Open));
        self.recovering.is_some()
            && matches!(self.phase, Phase::Open)
            && is_open
            && reason.code == ReplyCode::PRECONDITION_FAILED
            && (reason.class_id, reason.method_id) == (0, 0)
            && reason.text.contains("delivery acknowledgement")
    }

    /// Opens it again; the close was answered.
    pub(super) fn reopen_timed_out(&mut self, id: ChannelId, reason: CloseReason) {
        let cause = Error::new(ErrorKind::ChannelClosed(reason));
        self.suspend(id, &cause);
        for consumer in self.consumers_of(id) {
            let tag = self.consumer_tag(consumer).to_owned();
            self.event(Event::Resubscribed { consumer_tag: tag, cause: cause.clone() });
        }
        self.reopen(id);
    }

    /// What was being restored for a consumer that was cancelled.
    pub(super) fn repairs_item(&self, item: &Item) -> bool {
        let Some(recovering) = &self.recovering else { return false };
        let Some((id, _)) = &recovering.repairs.current else { return false };
        let queue = self.consumers.get(id.index()).map(|consumer| lossy(&consumer.subscription.queue));
        matches!(item, Item::Queue(name) if Some(name) == queue.as_ref())
    }
}

fn lossy(queue: &[u8]) -> String {
    String::from_utf8_lossy(queue).into_owned()
}
