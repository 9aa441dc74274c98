//! What the broker does when a rule holds.

use std::time::Duration;

use amqp_proto::method::{Method, PropertiesRef, ReplyCode, basic, channel, exchange, queue};
use amqp_proto::wire::ShortStr;

use super::{Reaction, Seen};
use crate::core::message::Incoming;
use crate::core::refusal::Refusal;
use crate::core::session::Publish;
use crate::core::timers::Timer;
use crate::core::{Core, Micros, SessionId};

/// What a rule makes of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Verdict {
    /// No rule holds.
    Usual,
    NoConfirm,
    ConfirmAfter(Micros),
    Nack,
    Reject,
    /// There is nothing left to do.
    Done,
}

impl Core {
    pub(in crate::core) fn judge_publish(
        &mut self,
        id: SessionId,
        number: u16,
        publish: &Publish,
        incoming: &Incoming,
    ) -> Verdict {
        if self.faults.is_empty() {
            return Verdict::Usual;
        }
        let Some(session) = self.sessions.get(&id) else { return Verdict::Usual };
        let connection = session.name();
        let seen = Seen {
            connection: &connection,
            channel: number,
            method: "basic.publish",
            exchange: &publish.exchange.to_string(),
            queue: "",
            routing_key: &publish.routing_key.to_string(),
            properties: incoming.properties(),
            body: incoming.body(),
        };
        match self.faults.reaction(&seen) {
            None => Verdict::Usual,
            Some(Reaction::NoConfirm) => Verdict::NoConfirm,
            Some(Reaction::ConfirmAfter(delay)) => Verdict::ConfirmAfter(micros(delay)),
            Some(Reaction::ConfirmWithin(most)) => {
                Verdict::ConfirmAfter(self.random.next() % micros(most).saturating_add(1))
            }
            Some(reaction) if reaction.is_beside() => {
                self.react(id, number, (60, 40), reaction);
                Verdict::Usual
            }
            Some(Reaction::Nack) => Verdict::Nack,
            Some(Reaction::Reject) => Verdict::Reject,
            Some(reaction) => {
                // A sequence number it has, even so.
                if let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number))
                    && let Some(last) = &mut channel.confirms
                {
                    *last += 1;
                    let sequence = *last;
                    channel.held.insert(sequence);
                }
                self.react(id, number, (60, 40), reaction);
                Verdict::Done
            }
        }
    }

    /// `true` if a rule has done something instead.
    pub(in crate::core) fn judge_method(&mut self, id: SessionId, number: u16, method: &Method<'_>) -> bool {
        if self.faults.is_empty() {
            return false;
        }
        let Some(session) = self.sessions.get(&id) else { return false };
        let connection = session.name();
        let (exchange, queue, routing_key) = names_of(method);
        let seen = Seen {
            connection: &connection,
            channel: number,
            method: method.name(),
            exchange: &exchange,
            queue: &queue,
            routing_key: &routing_key,
            properties: PropertiesRef::default(),
            body: &[],
        };
        let blamed = (method.class_id(), method.method_id());
        let Some(reaction) = self.faults.reaction(&seen).filter(|reaction| !reaction.is_about_confirms()) else {
            return false;
        };
        let is_instead = !reaction.is_beside();
        self.react(id, number, blamed, reaction);
        is_instead
    }

    fn react(&mut self, id: SessionId, number: u16, blamed: (u16, u16), reaction: Reaction) {
        match reaction {
            Reaction::CloseChannel(code, text) => self.close_channel(id, number, code, &text, blamed),
            Reaction::CloseConnection(code, text) => {
                let refusal = Refusal::Close { code: ReplyCode(code), text, method: Some(blamed) };
                self.refuse(id, 0, refusal);
            }
            Reaction::Cut => self.cut(id),
            Reaction::Stall => self.stall(id, true),
            Reaction::Delay(delay) => self.hush_for(id, micros(delay)),
            Reaction::CancelConsumers(queue) => {
                if let Some(vhost) = self.sessions.get(&id).map(|session| session.vhost.to_string()) {
                    // There may be no such queue yet.
                    let _ = self.cancel_consumers(&vhost, &queue);
                }
            }
            Reaction::RaiseAlarm(alarm) => self.change_alarm(alarm, true),
            Reaction::EndAlarm(alarm) => self.change_alarm(alarm, false),
            Reaction::Resume(name) => self.named(&name).into_iter().for_each(|stalled| self.stall(stalled, false)),
            // What is about confirms was dealt with, where there are any.
            Reaction::Ignore
            | Reaction::NoConfirm
            | Reaction::ConfirmAfter(_)
            | Reaction::ConfirmWithin(_)
            | Reaction::Nack
            | Reaction::Reject => {}
        }
    }

    /// Writes nothing on a connection for so long.
    fn hush_for(&mut self, id: SessionId, delay: Micros) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.silent_until = session.silent_until.max(self.now.saturating_add(delay));
        self.timers.arm(Timer::Answer(id), Some(session.silent_until));
    }

    /// Closes a channel with any code.
    pub(in crate::core) fn close_channel(
        &mut self,
        id: SessionId,
        number: u16,
        code: u16,
        text: &str,
        blamed: (u16, u16),
    ) {
        self.release_channel(id, number);
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return;
        };
        channel.closing = true;
        let (class_id, method_id) = blamed;
        let reply_text = ShortStr::truncated(text);
        self.put(id, number, &channel::Close { reply_code: ReplyCode(code), reply_text, class_id, method_id });
    }

    /// Drops a connection without a word.
    pub(in crate::core) fn cut(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.cut = true;
        }
        self.end_session(id);
    }

    /// Stops reading from and writing to a connection, or goes on.
    pub(in crate::core) fn stall(&mut self, id: SessionId, stalled: bool) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.stalled = stalled;
            session.last_read = self.now;
        }
        self.wake(id);
        self.arm_session(id);
    }
}

/// The exchange, the queue and the routing key that a method names.
fn names_of(method: &Method<'_>) -> (String, String, String) {
    let text = |name: ShortStr<'_>| name.to_string_lossy().into_owned();
    let none = String::new;
    match method {
        Method::Queue(queue::Method::Declare(method)) => (none(), text(method.queue), none()),
        Method::Queue(queue::Method::Bind(method)) => {
            (text(method.exchange), text(method.queue), text(method.routing_key))
        }
        Method::Queue(queue::Method::Unbind(method)) => {
            (text(method.exchange), text(method.queue), text(method.routing_key))
        }
        Method::Queue(queue::Method::Purge(method)) => (none(), text(method.queue), none()),
        Method::Queue(queue::Method::Delete(method)) => (none(), text(method.queue), none()),
        Method::Exchange(exchange::Method::Declare(method)) => (text(method.exchange), none(), none()),
        Method::Exchange(exchange::Method::Delete(method)) => (text(method.exchange), none(), none()),
        Method::Exchange(exchange::Method::Bind(method)) => (text(method.source), none(), text(method.routing_key)),
        Method::Exchange(exchange::Method::Unbind(method)) => (text(method.source), none(), text(method.routing_key)),
        Method::Basic(basic::Method::Consume(method)) => (none(), text(method.queue), none()),
        Method::Basic(basic::Method::Get(method)) => (none(), text(method.queue), none()),
        _ => (none(), none(), none()),
    }
}

fn micros(time: Duration) -> Micros {
    // Half of all there is, so that it can be added to.
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX / 2)
}
