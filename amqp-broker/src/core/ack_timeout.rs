//! Acks that do not come. Up to RabbitMQ 4.2 a channel closes when one of its deliveries has been unsettled for too long; since
//! 4.3 quorum queues take their messages back and cancel the consumer, and no other queue minds.

use amqp_proto::method::ReplyCode;

use super::late::Late;
use super::queue::{ConsumerId, Kind, QueueId};
use super::session::Unacked;
use super::timers::Timer;
use super::{Core, Micros, SessionId};

/// What is overdue.
struct Overdue {
    queue: QueueId,
    consumer: Option<ConsumerId>,
    delivery_tag: u64,
    /// How long it might have taken.
    timeout: Micros,
}

impl Core {
    /// A channel was given deliveries: perhaps it is to be looked at sooner than was thought.
    pub(super) fn watch_acks(&mut self, id: SessionId, number: u16) {
        let Some(channel) = self.sessions.get(&id).and_then(|session| session.channels.get(&number)) else { return };
        let new = channel.unacked.iter().rev().take_while(|unacked| unacked.since == self.now);
        let Some(due) = new.filter_map(|unacked| self.ack_due(unacked)).min() else { return };
        if channel.acks_due.is_none_or(|before| due < before) {
            self.look_for_acks_at(id, number, Some(due));
        }
    }

    fn look_for_acks_at(&mut self, id: SessionId, number: u16, due: Option<Micros>) {
        if let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) {
            channel.acks_due = due;
            self.timers.arm(Timer::Ack(id, number), due);
        }
    }

    /// When a delivery becomes overdue; `None` if it never does.
    fn ack_due(&self, unacked: &Unacked) -> Option<Micros> {
        Some(unacked.since.saturating_add(self.ack_timeout(unacked)?))
    }

    fn ack_timeout(&self, unacked: &Unacked) -> Option<Micros> {
        let queue = self.queues.get(&unacked.queue)?;
        // What a queue has taken back is nobody's any more.
        if self.version.queues_time_acks() && (queue.kind != Kind::Quorum || unacked.entry.is_none()) {
            return None;
        }
        let usual = || Micros::try_from(self.limits.consumer_timeout.as_micros()).unwrap_or(Micros::MAX);
        Some(queue.policy.consumer_timeout.map_or_else(usual, |millis| millis.saturating_mul(1000)))
    }

    /// The time has come at which an ack may be overdue.
    pub(super) fn look_for_overdue_acks(&mut self, id: SessionId, number: u16) {
        self.look_for_acks_at(id, number, None);
        let Some(channel) = self.sessions.get(&id).and_then(|session| session.channels.get(&number)) else { return };
        let soonest = channel.unacked.iter().filter_map(|unacked| Some((self.ack_due(unacked)?, unacked)));
        let Some((due, unacked)) = soonest.min_by_key(|(due, _)| *due) else { return };
        if due > self.now {
            return self.look_for_acks_at(id, number, Some(due));
        }
        let Unacked { queue, consumer, delivery_tag, .. } = *unacked;
        let timeout = self.ack_timeout(unacked).unwrap_or_default();
        let overdue = Overdue { queue, consumer, delivery_tag, timeout };
        if self.version.queues_time_acks() {
            self.take_back_overdue(id, number, &overdue);
            // There may be others.
            self.look_for_overdue_acks(id, number);
        } else {
            self.close_for_overdue(id, number, &overdue);
        }
    }

    fn close_for_overdue(&mut self, id: SessionId, number: u16, overdue: &Overdue) {
        let text = format!(
            "PRECONDITION_FAILED - delivery acknowledgement on channel {number} timed out. Timeout value used: {} ms. This \
             timeout value can be configured, see consumers doc guide to learn more",
            overdue.timeout / 1000
        );
        self.close_channel(id, number, ReplyCode::PRECONDITION_FAILED.0, &text, (0, 0));
    }

    /// The queue takes back what the consumer has, and gives it nothing more. Acks that come later are without effect.
    fn take_back_overdue(&mut self, id: SessionId, number: u16, overdue: &Overdue) {
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return;
        };
        let is_theirs = |unacked: &&mut Unacked| match overdue.consumer {
            Some(_) => unacked.queue == overdue.queue && unacked.consumer == overdue.consumer,
            None => unacked.delivery_tag == overdue.delivery_tag,
        };
        let entries: Vec<_> =
            channel.unacked.iter_mut().filter(is_theirs).filter_map(|unacked| unacked.entry.take()).collect();
        let tag = channel.consumers.iter().find(|(_, (_, consumer))| Some(*consumer) == overdue.consumer);
        let tag = tag.map(|(tag, _)| tag.clone());
        if let Some(tag) = &tag {
            channel.consumers.remove(tag.as_bytes());
        }
        if let Some(queue) = self.queues.get_mut(&overdue.queue) {
            for entry in entries {
                queue.put_back(overdue.queue, entry, true, &mut self.dead);
            }
        }
        if let Some(tag) = tag {
            self.later(id, number, Late::Cancel(tag));
        }
        match overdue.consumer {
            Some(consumer) => self.remove_consumer(overdue.queue, consumer),
            None => self.run_queue(overdue.queue),
        }
    }
}
