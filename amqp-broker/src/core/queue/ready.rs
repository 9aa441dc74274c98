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
    /// As they came; what is put back goes to its old place.
    Sequence,
    /// As they came; what is put back goes first. (Quorum queues)
    ReturnsFirst,
}

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

/// The waiting messages, by priority.
#[derive(Debug)]
pub(crate) struct Ready {
    order: Order,
    measure: Measure,
    returned: VecDeque<Entry>,
    /// Index is the priority; there is always one.
    levels: Vec<VecDeque<Entry>>,
    len: usize,
    bytes: usize,
    /// Whether a message that expires was ever here.
    may_expire: bool,
}

impl Ready {
    pub(crate) fn new(order: Order, measure: Measure, max_priority: u8) -> Self {
        let levels = (0..=max_priority).map(|_| VecDeque::new()).collect();
        Self { order, measure, returned: VecDeque::new(), levels, len: 0, bytes: 0, may_expire: false }
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

    fn level(&mut self, entry: &Entry) -> Option<&mut VecDeque<Entry>> {
        let top = self.levels.len().saturating_sub(1);
        self.levels.get_mut(usize::from(entry.message.priority().unwrap_or(0)).min(top))
    }

    fn counted(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += self.bytes_of(&entry.message);
        self.may_expire |= entry.expires != NEVER;
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
        if self.order == Order::ReturnsFirst {
            self.returned.push_back(entry);
        } else if let Some(level) = self.level(&entry) {
            let at = level.partition_point(|other| other.sequence < entry.sequence);
            level.insert(at, entry);
        }
    }

    /// Takes the message that is next.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.returned.pop_front() {
            Some(entry) => entry,
            None => self.levels.iter_mut().rev().find_map(VecDeque::pop_front)?,
        };
        self.uncounted(&entry);
        Some(entry)
    }

    /// The message that is dropped when there are too many: the oldest of the lowest priority.
    pub(crate) fn pop_to_drop(&mut self) -> Option<Entry> {
        let entry = match self.levels.iter_mut().find_map(VecDeque::pop_front) {
            Some(entry) => entry,
            None => self.returned.pop_front()?,
        };
        self.uncounted(&entry);
        Some(entry)
    }

    /// The head of any level if it has expired: messages expire only there.
    pub(crate) fn pop_expired(&mut self, now: Micros) -> Option<Entry> {
        if !self.may_expire {
            return None;
        }
        let is_expired = |head: Option<&Entry>| head.and_then(Entry::expires).is_some_and(|expires| expires <= now);
        let entry = if is_expired(self.returned.front()) {
            self.returned.pop_front()?
        } else {
            self.levels.iter_mut().find(|level| is_expired(level.front()))?.pop_front()?
        };
        self.uncounted(&entry);
        Some(entry)
    }

    /// When the next head expires.
    pub(crate) fn next_expiry(&self) -> Option<Micros> {
        if !self.may_expire {
            return None;
        }
        let heads = self.levels.iter().map(VecDeque::front).chain([self.returned.front()]);
        heads.flatten().filter_map(Entry::expires).min()
    }

    /// All of them, in the order in which they would leave.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.returned.iter().chain(self.levels.iter().rev().flatten())
    }

    pub(crate) fn clear(&mut self) -> usize {
        let len = std::mem::take(&mut self.len);
        self.bytes = 0;
        self.returned.clear();
        self.levels.iter_mut().for_each(VecDeque::clear);
        len
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
