//! Faults on demand: rules that look at what comes in, and what the broker then does instead of its duty.

use std::fmt;
use std::time::Duration;

use amqp_proto::method::{Method, PropertiesRef, ReplyCode, basic, channel, exchange, queue};

use super::alarm::Alarm;
use super::message::Incoming;
use super::refusal::Refusal;
use super::session::Publish;
use super::timers::Timer;
use super::{Core, Micros, SessionId};

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Seen<'a> {
    /// The client property `connection_name`.
    pub connection: &'a str,
    /// The channel's number.
    pub channel: u16,
    /// The method, such as `basic.publish` or `queue.declare`.
    pub method: &'static str,
    /// The exchange it names; empty if it names none.
    pub exchange: &'a str,
    /// The queue it names; empty if it names none.
    pub queue: &'a str,
    /// The routing key it names; empty if it names none.
    pub routing_key: &'a str,
    /// The properties of what is published; none of another method.
    pub properties: PropertiesRef<'a>,
    /// The body of what is published; empty for another method.
    pub body: &'a [u8],
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum On {
    /// Messages that are published.
    Publish,
    /// A method by its name, such as `queue.declare`.
    Method(&'static str),
    /// Everything on channels.
    Anything,
}

/// What the broker does instead of what it would do.
///
/// What is about confirms does nothing on channels without them, and on methods that are no publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// Takes the message, and never confirms it.
    NoConfirm,
    /// Takes the message, and confirms it so much later: after those that were published meanwhile.
    ConfirmAfter(Duration),
    /// Takes the message, and confirms it at some moment within this time, by the broker's seed: confirms come in any order,
    /// each for itself or several at once, as a real broker's may.
    ConfirmWithin(Duration),
    /// Says that it could not take the message: `basic.nack`. It is in its queues all the same, as it may be with
    /// RabbitMQ.
    Nack,
    /// Does not take the message, and says so: `basic.nack`, as of a queue that is full.
    Reject,
    /// Loses it: nothing is done and nothing is said.
    Ignore,
    /// Does it, and writes nothing on this connection for so long, heartbeats neither: the answer is late.
    Delay(Duration),
    /// Cancels all consumers of this queue of the connection's virtual host, as when a queue's node goes, and then does it.
    CancelConsumers(String),
    /// Has an alarm from now on, until [`set_alarm`](crate::Broker::set_alarm) ends it, and then does it: who publishes is
    /// blocked.
    RaiseAlarm(Alarm),
    /// Closes the channel with this code and text.
    CloseChannel(u16, String),
    /// Closes the connection with this code and text.
    CloseConnection(u16, String),
    /// Drops the connection without a word.
    Cut,
    /// Reads and writes nothing any more on this connection, heartbeats neither, until `resume`.
    Stall,
}

impl Reaction {
    /// Whether the broker does what it would do as well.
    fn is_beside(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::CancelConsumers(_) | Self::RaiseAlarm(_))
    }

    /// Whether it is about publishes only.
    fn is_about_confirms(&self) -> bool {
        matches!(self, Self::NoConfirm | Self::ConfirmAfter(_) | Self::ConfirmWithin(_) | Self::Nack | Self::Reject)
    }
}

fn micros(time: Duration) -> Micros {
    // Half of all there is, so that it can be added to.
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX / 2)
}

/// A rule: what it is about, when it holds, what then happens, and how often.
pub struct Rule {
    on: On,
    when: Box<dyn Fn(&Seen<'_>) -> bool + Send>,
    reaction: Reaction,
    /// Times that are left; `None` is for ever.
    left: Option<u32>,
    /// Times to let pass first.
    skip: u32,
}

impl Rule {
    /// A rule that always holds.
    #[must_use]
    pub fn new(on: On, reaction: Reaction) -> Self {
        Self { on, when: Box::new(|_| true), reaction, left: None, skip: 0 }
    }

    /// The rule holds where `when` says so. Of two such calls the later one counts.
    #[must_use]
    pub fn when(mut self, when: impl Fn(&Seen<'_>) -> bool + Send + 'static) -> Self {
        self.when = Box::new(when);
        self
    }

    /// The rule holds so many times, and is then forgotten.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// The rule lets so many pass before it holds.
    #[must_use]
    pub fn after(mut self, times: u32) -> Self {
        self.skip = times;
        self
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, reaction, left, skip, .. } = self;
        f.debug_struct("Rule")
            .field("on", on)
            .field("reaction", reaction)
            .field("left", left)
            .field("skip", skip)
            .finish()
    }
}

/// The rules, oldest first: the first that holds counts.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Rule>,
}

impl Faults {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn reaction(&mut self, seen: &Seen<'_>) -> Option<Reaction> {
        let is_about = |on: On| match on {
            On::Publish => seen.method == "basic.publish",
            On::Method(name) => seen.method == name,
            On::Anything => true,
        };
        let mut found = None;
        for rule in &mut self.rules {
            if rule.left == Some(0) || !is_about(rule.on) || !(rule.when)(seen) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.left = rule.left.map(|left| left - 1);
            found = Some(rule.reaction.clone());
            break;
        }
        self.rules.retain(|rule| rule.left != Some(0));
        found
    }
}

/// What a rule makes of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
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
    pub(super) fn judge_publish(
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
    pub(super) fn judge_method(&mut self, id: SessionId, number: u16, method: &Method<'_>) -> bool {
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
    pub(super) fn close_channel(&mut self, id: SessionId, number: u16, code: u16, text: &str, blamed: (u16, u16)) {
        self.release_channel(id, number);
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return;
        };
        channel.closing = true;
        let (class_id, method_id) = blamed;
        let reply_text = amqp_proto::wire::ShortStr::truncated(text);
        self.put(id, number, &channel::Close { reply_code: ReplyCode(code), reply_text, class_id, method_id });
    }

    /// Drops a connection without a word.
    pub(super) fn cut(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.cut = true;
        }
        self.end_session(id);
    }

    /// Stops reading from and writing to a connection, or goes on.
    pub(super) fn stall(&mut self, id: SessionId, stalled: bool) {
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
    let text = |name: amqp_proto::wire::ShortStr<'_>| name.to_string_lossy().into_owned();
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
