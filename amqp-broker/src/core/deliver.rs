//! From queues to consumers.

use std::sync::Arc;

use super::late::{Delivery, Late};
use super::message::Message;
use super::queue::{Arrival, ConsumerId, Entry, Kind, QueueId};
use super::timers::Timer;
use super::{Core, SessionId};

impl Core {
    /// A message comes to a queue. `false` if the queue is full and its publisher is to know.
    pub(super) fn enqueue(&mut self, id: QueueId, message: Arc<Message>) -> bool {
        let (now, turn, millis) = (self.now, self.turn, self.unix_millis());
        let Some(queue) = self.queues.get_mut(&id) else { return true };
        if queue.kind == Kind::Stream {
            queue.log.append(message, turn, millis);
            self.run_stream(id);
            return true;
        }
        queue.expire(id, now, &mut self.dead);
        let arrival = queue.arrive(id, message, now, &mut self.dead);
        // One that lives for no time at all reaches a consumer that waits.
        self.give(id);
        matches!(arrival, Arrival::Taken)
    }

    /// Gives what waits in a queue to those who can take it, drops what is too much or too old, and sets its timer.
    pub(super) fn run_queue(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if queue.kind == Kind::Stream {
            return self.run_stream(id);
        }
        queue.expire(id, now, &mut self.dead);
        self.give(id);
    }

    /// The same, but nothing has become too old before.
    fn give(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else { return };
        while queue.ready.len() > 0 {
            let Some(consumer_id) = queue.consumers.next() else { break };
            let Some(consumer) = queue.consumers.get_mut(consumer_id) else { break };
            let session_id = consumer.session;
            let session = self.sessions.get_mut(&session_id);
            let can_take = session.is_some_and(|session| {
                let is_full = session.is_full();
                session.congested |= is_full;
                let channel = session.channels.get(&consumer.channel);
                let has_room = consumer.no_ack || channel.is_some_and(|channel| !channel.is_at_global_prefetch());
                consumer.has_room() && has_room && !is_full
            });
            if !can_take {
                queue.consumers.block(consumer_id);
                continue;
            }
            let Some(entry) = queue.ready.pop() else { break };
            let (number, no_ack, tag) = (consumer.channel, consumer.no_ack, consumer.tag.clone());
            if !no_ack {
                consumer.unacked += 1;
                queue.unacked += 1;
            }
            queue.consumers.served(consumer_id);
            let delivery =
                Delivery { tag, queue: id, kind: queue.kind, consumer: consumer_id, no_ack, entry, offset: None };
            hand_over(&mut self.sessions, &mut self.dirty, session_id, number, delivery);
        }
        queue.drop_overflow(id, &mut self.dead);
        queue.expire(id, now, &mut self.dead);
        let deadline = queue.deadline();
        self.timers.arm(Timer::Queue(id), deadline);
    }

    /// Streams go to every consumer, from where it is.
    fn run_stream(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let ids: Vec<ConsumerId> = queue.consumers.iter().map(|(id, _)| id).collect();
        for consumer_id in ids {
            while let Some(consumer) = queue.consumers.get_mut(consumer_id) {
                let Some(session) = self.sessions.get_mut(&consumer.session) else { break };
                let is_full = session.is_full();
                session.congested |= is_full;
                if is_full || !consumer.has_room() {
                    break;
                }
                let Some((offset, message)) = consumer.cursor.as_mut().and_then(|cursor| queue.log.read(cursor)) else {
                    break;
                };
                consumer.unacked += 1;
                let (session, number, tag) = (consumer.session, consumer.channel, consumer.tag.clone());
                let delivery = Delivery {
                    tag,
                    queue: id,
                    kind: Kind::Stream,
                    consumer: consumer_id,
                    no_ack: false,
                    entry: Entry::new(message, offset, None),
                    offset: Some(offset),
                };
                hand_over(&mut self.sessions, &mut self.dirty, session, number, delivery);
            }
        }
    }

    /// The consumers of a channel may be able to take messages again.
    pub(super) fn unblock_consumers(&mut self, id: SessionId, number: u16) {
        let Some(channel) = self.sessions.get(&id).and_then(|session| session.channels.get(&number)) else { return };
        let mut queues = Vec::new();
        for (queue_id, consumer) in channel.consumers.values() {
            if let Some(queue) = self.queues.get_mut(queue_id)
                && (queue.consumers.unblock(*consumer) || queue.kind == Kind::Stream)
            {
                queues.push(*queue_id);
            }
        }
        // The same one does not always come first: those of a shared prefetch get their turns.
        let first = usize::try_from(self.turn).unwrap_or_default() % queues.len().max(1);
        queues.rotate_left(first);
        queues.into_iter().for_each(|queue| self.run_queue(queue));
    }

    /// Something of a queue is due.
    pub(super) fn queue_timeout(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get(&id) else { return };
        let unused = queue.policy.expires.filter(|_| !queue.is_used());
        if unused.is_some_and(|millis| queue.idle_since.saturating_add(millis.saturating_mul(1000)) <= self.now) {
            return self.delete_queue(id);
        }
        self.run_queue(id);
        self.forward_again(id);
    }
}

/// Puts a delivery to its channel.
fn hand_over(
    sessions: &mut std::collections::BTreeMap<SessionId, super::session::Session>,
    dirty: &mut Vec<(SessionId, u16)>,
    id: SessionId,
    number: u16,
    delivery: Delivery,
) {
    let Some(session) = sessions.get_mut(&id) else { return };
    session.late_bytes += delivery.entry.message.size();
    let Some(channel) = session.channels.get_mut(&number) else { return };
    channel.unacked_by_consumers += usize::from(!delivery.no_ack);
    channel.late.push_back(Late::Deliver(Box::new(delivery)));
    if !std::mem::replace(&mut channel.dirty, true) {
        dirty.push((id, number));
    }
}
