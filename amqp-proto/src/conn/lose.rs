//! The connection is lost and will come back: what that means to everybody who waits.
//!
//! Calls in flight and confirms end, with the cause: nobody can know what the broker has made of them. Deliveries that
//! have to be settled are void, as the broker puts them back, and so are their tags: each channel begins a new epoch.
//! Deliveries without acks stay readable. Channels and consumers are suspended.

use super::channel::{About, ChannelState, Mode};
use super::consumers::{ConsumerState, Ended};
use super::handshake::Phase;
use super::held::{Held, Stage};
use super::replies::{CHANNEL_CLOSE_OK, CHANNEL_OPEN_OK};
use super::settle::Unsettled;
use super::{ChannelId, Connection, ConsumerId, Event, Reply};
use crate::error::{Error, ErrorKind};

/// Publishes without confirms that the driver has not written.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// They wait.
    pub(super) queued: u64,
    /// They were taken together; some may have been written.
    pub(super) leaving: u64,
}

impl Connection {
    /// The connection is lost, for this cause, and will come back.
    #[cold]
    pub(super) fn lose(&mut self, cause: &Error) {
        let Some(recovering) = &mut self.recovering else { return };
        let was_up = recovering.cause.is_none();
        let delay = recovering.next_delay();
        recovering.restore = None;
        recovering.repairs.clear();
        recovering.cause = Some(cause.clone());
        recovering.channel = None;
        self.enter(Phase::Lost { delay });
        self.heartbeats = None;
        if self.blocked.take().is_some() {
            self.event(Event::Unblocked);
        }
        self.event(if was_up { Event::Disconnected(cause.clone()) } else { Event::AttemptFailed(cause.clone()) });
        // Also one that is being closed.
        for id in self.channels.ids() {
            if self.is_internal_channel(id) {
                self.forget_internal_channel(id);
            }
        }
        self.report_unsent();
        self.lose_secrets(cause);
        self.bulk.clear();
        self.dirty.clear();
        for id in self.channels.ids() {
            self.lose_channel(id, cause);
        }
        self.channels.forget_stragglers();
        self.in_flight = 0;
    }

    /// Publishes without confirms that never left, counted.
    fn report_unsent(&mut self) {
        let plain = |id: &&ChannelId| {
            self.channels.get(**id).is_some_and(|channel| {
                matches!(channel.mode, Mode::Plain) && matches!(channel.state, ChannelState::Open)
            })
        };
        let bodies = self.bulk.iter().filter(plain).count() as u64;
        let leaving = if self.in_flight > 0 { self.unsent.leaving } else { 0 };
        let count = self.unsent.queued + leaving + bodies;
        self.unsent = Unsent::default();
        if count > 0 {
            self.event(Event::PublishesLost { count });
        }
    }

    fn lose_channel(&mut self, id: ChannelId, cause: &Error) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let number = channel.number;
        channel.backlog = None;
        match channel.state {
            ChannelState::Opening | ChannelState::Open => return self.suspend(id, cause),
            ChannelState::Closing => {
                // It is as closed as was asked for.
                for pending in channel.take_all_pending() {
                    let closed = pending.reply == CHANNEL_CLOSE_OK;
                    self.answer(pending.request, if closed { Ok(Reply::Done) } else { Err(cause.clone()) });
                }
                self.end_channel(id, &Error::new(ErrorKind::ChannelNotOpen), false);
            }
            ChannelState::Closed(_) => {}
        }
        self.free_number_of(number, id);
        self.channels.forget_if_done(id);
    }

    /// The channel is gone at the broker, and will be opened again: it keeps its settings and its consumers.
    pub(super) fn suspend(&mut self, id: ChannelId, cause: &Error) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let mut held = channel.held.take().unwrap_or_else(|| Box::new(Held::new(channel.prefetch)));
        held.stage = Stage::Waiting;
        let pending = channel.take_all_pending();
        if let Some(open) = pending.iter().find(|pending| pending.reply == CHANNEL_OPEN_OK && pending.request.is_some())
        {
            held.opened = open.request;
        }
        channel.held = Some(held);
        channel.assembly = None;
        channel.unsettled = Unsettled::default();
        channel.epoch += 1;
        channel.recovering = 0;
        channel.ended = Ended::default();
        channel.last_consumer = None;
        channel.dirty = false;
        if std::mem::take(&mut channel.uncommitted) {
            channel.void = Some(cause.clone());
        }
        self.stop_line(id);
        self.interrupt_publishes(id, cause);
        for pending in pending {
            match pending.about {
                _ if pending.reply == CHANNEL_OPEN_OK => {}
                // It has ended with the connection, or goes on as it was asked to.
                About::Cancel(consumer, _) => {
                    if let Some(consumer) = consumer {
                        self.end_consumer(consumer, None);
                    }
                    self.answer(pending.request, Ok(Reply::Done));
                }
                About::Resume(..) | About::Replace(..) => self.answer(pending.request, Ok(Reply::Done)),
                About::Consume(consumer, _) => {
                    self.end_consumer(consumer, None);
                    self.forget_consumer(consumer);
                    self.answer(pending.request, Err(cause.clone()));
                }
                _ => self.answer(pending.request, Err(cause.clone())),
            }
        }
        self.fail_bodies_of(id, cause);
        self.suspend_consumers(id);
        self.close_if_released(id);
    }

    fn suspend_consumers(&mut self, channel: ChannelId) {
        for id in self.consumers_of(channel) {
            let held = self.channels.get(channel).and_then(|channel| channel.held.as_ref());
            let Some(consumer) = self.consumers.get_mut(id.index()) else { continue };
            if held.is_some_and(|held| held.begins(id)) {
                continue;
            }
            consumer.awaits_ok = false;
            let freed = consumer.rewind();
            let (cancels, resuming) = (std::mem::take(&mut consumer.cancels), consumer.resuming.take());
            if let Some(resuming) = &resuming {
                consumer.prefetch = resuming.prefetch;
            }
            let (state, no_ack) = (consumer.state, consumer.no_ack);
            if matches!(state, ConsumerState::Active | ConsumerState::Starting) {
                consumer.state = ConsumerState::Suspended;
            }
            let (grown, shrunk) = consumer.apply_prefetch();
            self.buffered += grown;
            self.unbuffer(freed + shrunk);
            if !no_ack {
                self.drop_unread_bodies(id);
            }
            if state == ConsumerState::Cancelling {
                self.end_consumer(id, None);
            }
            for request in cancels.into_iter().chain(resuming.map(|resuming| Some(resuming.request))) {
                self.answer(request, Ok(Reply::Done));
            }
        }
        self.forget_old_tags(channel);
    }

    /// A consumer goes on by its present tag. The one that the application knows it by stays taken.
    fn forget_old_tags(&mut self, channel: ChannelId) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        let consumers = &self.consumers;
        channel.consumers.retain(|tag, id| {
            consumers.get(id.index()).is_some_and(|it| *it.tag == **tag || it.subscription.name == *tag)
        });
    }

    /// The consumers of a channel, in the order in which they began.
    pub(super) fn consumers_of(&self, channel: ChannelId) -> Vec<ConsumerId> {
        let mut ids: Vec<ConsumerId> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.channel == channel)
            .map(|(index, consumer)| ConsumerId {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: consumer.generation,
            })
            .collect();
        ids.sort_unstable_by_key(|id| id.generation);
        ids
    }
}
