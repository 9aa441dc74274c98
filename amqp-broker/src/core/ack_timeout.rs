//! Acks that do not come. Up to RabbitMQ 4.2 a channel closes when one of its deliveries has been unsettled for too long; since
//! 4.3 quorum queues take their messages back and cancel the consumer, and no other queue minds.

use amqp_proto::method::ReplyCode;

use super::late::Late;
use super::queue::{ConsumerId, Kind, PutBack, QueueId};
use super::session::Unacked;
use super::timers::Timer;
use super::{Core, Micros, SessionId};

/// What is overdue.
struct Overdue {
    queue: QueueId,
    consumer: Option<ConsumerId>,
    delivery_tag: u64,
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
        if self.version.queues_time_acks() {
            self.take_back_overdue(id, number, &Overdue { queue, consumer, delivery_tag });
            // There may be others.
            self.look_for_overdue_acks(id, number);
        } else {
            let millis = self.ack_timeout(unacked).unwrap_or_default() / 1000;
            self.close_for_overdue(id, number, &millis.to_string());
        }
    }

    fn close_for_overdue(&mut self, id: SessionId, number: u16, millis: &str) {
        let text = format!(
            "PRECONDITION_FAILED - delivery acknowledgement on channel {number} timed out. Timeout value used: {millis} ms. This \
             timeout value can be configured, see consumers doc guide to learn more"
        );
        self.close_channel(id, number, ReplyCode::PRECONDITION_FAILED.0, &text, (0, 0));
    }

    /// The queue takes back what is overdue and cancels the consumer. It is subscribed still, and is given more when it has
    /// settled that. Where there is no consumer to cancel, the channel closes.
    fn take_back_overdue(&mut self, id: SessionId, number: u16, overdue: &Overdue) {
        let Some(session) = self.sessions.get(&id) else { return };
        let Some(channel) = session.channels.get(&number) else { return };
        let is_theirs = |unacked: &Unacked| match overdue.consumer {
            Some(_) => unacked.queue == overdue.queue && unacked.consumer == overdue.consumer,
            None => unacked.delivery_tag == overdue.delivery_tag,
        };
        let is_due = |unacked: &Unacked| self.ack_due(unacked).is_some_and(|due| due <= self.now);
        let void = channel.unacked.iter().filter(|unacked| is_theirs(unacked) && is_due(unacked));
        let void: Vec<u64> = void.map(|unacked| unacked.delivery_tag).collect();
        let told = overdue.consumer.filter(|_| session.capabilities.consumer_cancel_notify);
        let tag =
            channel.consumers.iter().find(|(_, (_, consumer))| Some(*consumer) == told).map(|(tag, _)| tag.clone());

        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&overdue.queue) else { return };
        for unacked in channel.unacked.iter_mut().filter(|unacked| void.contains(&unacked.delivery_tag)) {
            let Some(entry) = unacked.entry.take() else { continue };
            queue.put_back(overdue.queue, entry, PutBack::Overdue, &mut self.dead);
            if !overdue.consumer.is_some_and(|consumer| queue.consumers.timed_out(consumer)) {
                queue.lingering.settled(overdue.consumer);
            }
        }
        match tag {
            Some(tag) => {
                self.later(id, number, Late::Cancel(tag));
                self.run_queue(overdue.queue);
            }
            None => self.close_for_overdue(id, number, "-1"),
        }
    }
}
