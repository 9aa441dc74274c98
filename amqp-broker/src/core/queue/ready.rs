//! The messages that wait in a queue.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::Micros;
use crate::core::message::Message;

/// A message's place in a queue. It is as small as it can be: there may be millions.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    /// The place: where it goes back to.
    pub(crate) sequence: u64,
    /// When it expires; [`NEVER`] if it does not.
    expires: Micros,
    /// How often it was returned unprocessed, as quorum queues count it.
    pub(crate) delivery_count: u16,
    /// How often it was handed out before.
    pub(crate) acquired_count: u16,
    pub(crate) redelivered: bool,
}

const NEVER: Micros = Micros::MAX;

impl Entry {
    pub(crate) fn new(message: Arc<Message>, sequence: u64, expires: Option<Micros>) -> Self {
        let redelivered = message.was_rejected();
        Self { message, sequence, expires: expires.unwrap_or(NEVER), delivery_count: 0, acquired_count: 0, redelivered }
    }

    pub(crate) fn expires(&self) -> Option<Micros> {
        (self.expires != NEVER).then_some(self.expires)
    }
}

/// In which order messages leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The highest priority first, and of each as they came; what is put back goes to its old place. Classic queues, with priorities
    /// up to this one.
    Sequence(u8),
    /// As they came; what is put back goes first. Quorum queues of 3.10.
    ReturnsFirst,
    /// The same, but that of messages with a priority above 4 two go for each other one. Quorum queues of 4.0.
    TwoToOne,
    /// The same, by 32 priorities. Quorum queues of 4.3.
    ByPriority,
}

impl Order {
    fn levels(self) -> usize {
        match self {
            Self::Sequence(max_priority) => usize::from(max_priority) + 1,
            Self::ReturnsFirst => 1,
            Self::TwoToOne => 2,
            Self::ByPriority => 32,
        }
    }

    /// The level that a message waits in.
    fn level(self, priority: Option<u8>) -> usize {
        match self {
            Self::Sequence(max_priority) => usize::from(priority.unwrap_or(0).min(max_priority)),
            Self::ReturnsFirst => 0,
            Self::TwoToOne => usize::from(priority.is_some_and(|priority| priority > USUAL_PRIORITY)),
            Self::ByPriority => usize::from(priority.unwrap_or(USUAL_PRIORITY).min(31)),
        }
    }

    /// Whether a message expires only when it is the next to leave, and not as soon as it is the next of its level.
    fn expires_in_turn(self) -> bool {
        matches!(self, Self::ReturnsFirst | Self::TwoToOne)
    }
}

/// The priority of a message that has none, in quorum queues.
const USUAL_PRIORITY: u8 = 4;
/// How many of the upper level leave for one of the lower.
const UPPER_TURNS: u8 = 2;

/// What counts as the bytes of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Measure {
    #[default]
    Bodies,
    /// Properties as well. (Quorum queues of 4.3)
    WholeMessages,
}

impl Measure {
    pub(crate) fn of(self, message: &Message) -> usize {
        match self {
            Self::Bodies => message.body().len(),
            Self::WholeMessages => message.properties_len() + message.body().len(),
        }
    }
}

/// The waiting messages.
#[derive(Debug)]
pub(crate) struct Ready {
    order: Order,
    measure: Measure,
    /// What was put back, of queues where that goes first.
    returned: VecDeque<Entry>,
    /// There is always one; the last is served first.
    levels: Vec<VecDeque<Entry>>,
    /// How many left one of two levels since the lower had its turn.
    turn: u8,
    len: usize,
    bytes: usize,
    /// Whether a message that expires was ever here.
    may_expire: bool,
}

impl Ready {
    pub(crate) fn new(order: Order, measure: Measure) -> Self {
        let levels = (0..order.levels()).map(|_| VecDeque::new()).collect();
        Self { order, measure, returned: VecDeque::new(), levels, turn: 0, len: 0, bytes: 0, may_expire: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the waiting messages, as this queue counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that this one counts for.
    pub(crate) fn bytes_of(&self, message: &Message) -> usize {
        self.measure.of(message)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.counted(&entry);
        if let Some(level) = self.level(&entry) {
            level.push_back(entry);
        }
    }

    /// Puts back what was handed out.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.counted(&entry);
        if !matches!(self.order, Order::Sequence(_)) {
            self.returned.push_back(entry);
        } else if let Some(level) = self.level(&entry) {
            let at = level.partition_point(|other| other.sequence < entry.sequence);
            level.insert(at, entry);
        }
    }

    /// Puts it behind all that has no priority.
    pub(crate) fn put_last(&mut self, entry: Entry) {
        self.counted(&entry);
        if let Some(level) = self.levels.first_mut() {
            level.push_back(entry);
        }
    }

    /// Takes the message that is next.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.returned.pop_front() {
            Some(entry) => entry,
            None => {
                let next = next_level(self.order, self.turn, &self.levels, |level| level.front())?;
                self.turn = turn_after(self.turn);
                self.levels.get_mut(next)?.pop_front()?
            }
        };
        self.uncounted(&entry);
        Some(entry)
    }

    /// The message that is dropped when there are too many: the oldest of the lowest priority, or in a quorum queue the next.
    pub(crate) fn pop_to_drop(&mut self) -> Option<Entry> {
        if !matches!(self.order, Order::Sequence(_)) {
            return self.pop();
        }
        let entry = self.levels.iter_mut().find_map(VecDeque::pop_front)?;
        self.uncounted(&entry);
        Some(entry)
    }

    /// Takes one that has expired.
    pub(crate) fn pop_expired(&mut self, now: Micros) -> Option<Entry> {
        if !self.may_expire {
            return None;
        }
        let is_expired = |head: &Entry| head.expires().is_some_and(|expires| expires <= now);
        if self.order.expires_in_turn() {
            return if is_expired(self.next()?) { self.pop() } else { None };
        }
        let returned = Some(&mut self.returned);
        let mut all = returned.into_iter().chain(&mut self.levels);
        let entry = all.find(|level| level.front().is_some_and(is_expired))?.pop_front()?;
        self.uncounted(&entry);
        Some(entry)
    }

    /// When the next will expire.
    pub(crate) fn next_expiry(&self) -> Option<Micros> {
        if !self.may_expire {
            return None;
        }
        if self.order.expires_in_turn() {
            return self.next()?.expires();
        }
        let heads = self.levels.iter().map(VecDeque::front).chain([self.returned.front()]);
        heads.flatten().filter_map(Entry::expires).min()
    }

    fn next(&self) -> Option<&Entry> {
        self.returned.front().or_else(|| {
            let next = next_level(self.order, self.turn, &self.levels, |level| level.front())?;
            self.levels.get(next)?.front()
        })
    }

    /// All of them, in the order in which they would leave.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let mut levels: Vec<_> = self.levels.iter().map(|level| level.iter().peekable()).collect();
        let mut turn = self.turn;
        let rest = std::iter::from_fn(move || {
            let heads: Vec<_> = levels.iter_mut().map(|level| level.peek().copied()).collect();
            let next = next_level(self.order, turn, &heads, |head| *head)?;
            turn = turn_after(turn);
            levels.get_mut(next)?.next()
        });
        self.returned.iter().chain(rest)
    }

    pub(crate) fn clear(&mut self) -> usize {
        let len = std::mem::take(&mut self.len);
        self.bytes = 0;
        self.returned.clear();
        self.levels.iter_mut().for_each(VecDeque::clear);
        len
    }

    fn level(&mut self, entry: &Entry) -> Option<&mut VecDeque<Entry>> {
        self.levels.get_mut(self.order.level(entry.message.priority()))
    }

    fn counted(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += self.bytes_of(&entry.message);
        self.may_expire |= entry.expires != NEVER;
    }

    fn uncounted(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes -= self.bytes_of(&entry.message);
        // A queue that was full once does not keep its memory for ever.
        if self.len == 0 {
            self.levels.iter_mut().filter(|level| level.capacity() > 1024).for_each(VecDeque::shrink_to_fit);
        }
    }
}

/// The level whose head is next.
fn next_level<'a, L>(
    order: Order,
    turn: u8,
    levels: &'a [L],
    head: impl Fn(&'a L) -> Option<&'a Entry>,
) -> Option<usize> {
    if order == Order::TwoToOne
        && turn == UPPER_TURNS
        && let [lower, upper] = levels
        && let (Some(lower), Some(upper)) = (head(lower), head(upper))
    {
        return Some(usize::from(upper.sequence < lower.sequence));
    }
    levels.iter().rposition(|level| head(level).is_some())
}

fn turn_after(turn: u8) -> u8 {
    if turn == UPPER_TURNS { 0 } else { turn + 1 }
}
