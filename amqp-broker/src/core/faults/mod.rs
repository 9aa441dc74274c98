//! Faults on demand: rules that look at what comes in. What the broker then does instead of its duty is in `react`.

mod react;

use std::fmt;
use std::time::Duration;

use amqp_proto::method::PropertiesRef;

pub(super) use react::Verdict;

use super::alarm::Alarm;

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
    /// Has an alarm from now on, until [`EndAlarm`](Self::EndAlarm) or [`set_alarm`](crate::Broker::set_alarm) ends it, and then
    /// does it: who publishes is blocked.
    RaiseAlarm(Alarm),
    /// Ends an alarm, and then does it: who was blocked goes on. Nothing is read from those who are blocked, so this is for what
    /// others do.
    EndAlarm(Alarm),
    /// Closes the channel with this code and text.
    CloseChannel(u16, String),
    /// Closes the connection with this code and text.
    CloseConnection(u16, String),
    /// Drops the connection without a word.
    Cut,
    /// Reads and writes nothing any more on this connection, heartbeats neither, until [`Resume`](Self::Resume) or
    /// [`resume_connections`](crate::Broker::resume_connections).
    Stall,
    /// Goes on with the stalled connections whose client property `connection_name` is this, and then does it. Nothing is read
    /// from them, so this is for what others do.
    Resume(String),
}

impl Reaction {
    /// Whether the broker does what it would do as well.
    fn is_beside(&self) -> bool {
        matches!(
            self,
            Self::Delay(_) | Self::CancelConsumers(_) | Self::RaiseAlarm(_) | Self::EndAlarm(_) | Self::Resume(_)
        )
    }

    /// Whether it is about publishes only.
    fn is_about_confirms(&self) -> bool {
        matches!(self, Self::NoConfirm | Self::ConfirmAfter(_) | Self::ConfirmWithin(_) | Self::Nack | Self::Reject)
    }
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
