//! The end of channels and connections, by either side.

use amqp_proto::method::{MethodCodec, channel, connection};
use amqp_proto::wire::ShortStr;

use super::{CLOSE_PATIENCE, Core, Phase, SessionId};
use crate::core::Micros;
use crate::core::queue::PutBack;
use crate::core::refusal::{Refusal, is_soft};
use crate::core::settle::Settle;
use crate::core::timers::Timer;

impl Core {
    /// Sends a method.
    pub(in crate::core) fn put<'a, M: MethodCodec<'a>>(&mut self, id: SessionId, channel: u16, method: &M) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.put(channel, method);
        }
        self.wake(id);
    }

    /// Closes the channel or the connection, as the refusal wants it.
    pub(in crate::core) fn refuse(&mut self, id: SessionId, number: u16, refusal: Refusal) {
        let (code, text, blamed) = match refusal {
            Refusal::Hangup => {
                self.release_session(id);
                return self.end_session(id);
            }
            Refusal::Close { code, text, method } => (code, text, method.unwrap_or_default()),
        };
        let (class_id, method_id) = blamed;
        let reply_text = ShortStr::truncated(&text);
        if number != 0 && is_soft(code) {
            self.release_channel(id, number);
            let Some(session) = self.sessions.get_mut(&id) else { return };
            if let Some(channel) = session.channels.get_mut(&number) {
                channel.closing = true;
            }
            session.put(number, &channel::Close { reply_code: code, reply_text, class_id, method_id });
            return self.wake(id);
        }
        self.release_session(id);
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.phase {
            Phase::Closing | Phase::Silent | Phase::Over => return,
            // Those who are no further are not told what was wrong.
            Phase::Header | Phase::Starting | Phase::Securing | Phase::Tuning => return self.hush(id),
            Phase::Opening | Phase::Running => {}
        }
        session.put(0, &connection::Close { reply_code: code, reply_text, class_id, method_id });
        let was_running = session.phase == Phase::Running;
        session.phase = Phase::Closing;
        session.blocked = false;
        let heartbeat = Micros::from(session.heartbeat) * 1_000_000;
        session.patience = now + if heartbeat > 0 { heartbeat.min(CLOSE_PATIENCE) } else { CLOSE_PATIENCE };
        if was_running {
            self.log(id, "error", &format!("{text}: closing AMQP connection"));
        }
        self.wake(id);
        self.arm_session(id);
    }

    /// The socket is to be closed.
    pub(in crate::core) fn end_session(&mut self, id: SessionId) {
        self.release_session(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = Phase::Over;
            session.held = None;
        }
        self.wake(id);
        self.arm_session(id);
    }

    /// Lets go of all that a session holds: channels, and its exclusive queues.
    pub(in crate::core) fn release_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let numbers: Vec<_> = session.channels.keys().copied().collect();
        for number in numbers {
            self.release_channel(id, number);
            self.forget_channel(id, number);
        }
        let owned: Vec<_> =
            self.queues.iter().filter(|(_, queue)| queue.owner == Some(id)).map(|(queue, _)| *queue).collect();
        for queue in owned {
            self.delete_queue(queue);
        }
    }

    /// Lets go of all that a channel holds: consumers, and what was not settled.
    pub(in crate::core) fn release_channel(&mut self, id: SessionId, number: u16) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(channel) = session.channels.get_mut(&number) else { return };
        let consumers = std::mem::take(&mut channel.consumers);
        let mut unacked: Vec<_> = std::mem::take(&mut channel.unacked).into();
        if let Some(transaction) = channel.transaction.take() {
            unacked.extend(transaction.settled.into_iter().flat_map(|(_, settled)| settled));
            unacked.sort_by_key(|unacked| unacked.delivery_tag);
        }
        channel.acks.clear();
        channel.nacks.clear();
        channel.held.clear();
        let late = std::mem::take(&mut channel.late);
        if let Some(reply) = channel.reply_consumer.take() {
            self.reply_queues.remove(reply.queue.as_bytes());
        }
        // What was on its way goes back behind what had arrived.
        let on_its_way = self.take_back(id, late);
        unacked.extend(on_its_way);
        // Consumers first, so that nothing comes back to them.
        for (queue, consumer) in consumers.values() {
            self.remove_consumer(*queue, *consumer);
        }
        self.settle(id, number, unacked, Settle::Requeue(PutBack::Abandoned));
        for (queue, _) in consumers.values() {
            self.delete_if_unused(*queue);
        }
    }

    pub(in crate::core) fn forget_channel(&mut self, id: SessionId, number: u16) {
        self.timers.arm(Timer::Ack(id, number), None);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.channels.remove(&number);
        }
    }
}
