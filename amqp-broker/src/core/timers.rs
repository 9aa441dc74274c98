//! When something is due.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::QueueId;
use super::{Micros, SessionId};

/// What can be due. Each has one time at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A heartbeat, or the patience with a client.
    Session(SessionId),
    /// A message or a queue expires.
    Queue(QueueId),
    /// An ack is overdue on this channel, if it has not come.
    Ack(SessionId, u16),
    /// A session may write again, after a fault.
    Answer(SessionId),
    /// A confirm that a fault holds back: session, channel, sequence number.
    Confirm(SessionId, u16, u64),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Micros, Timer)>,
    armed: BTreeMap<Timer, Micros>,
}

impl Timers {
    /// Sets or unsets the time of a timer.
    pub(super) fn arm(&mut self, timer: Timer, at: Option<Micros>) {
        let before = match at {
            Some(at) => self.armed.insert(timer, at),
            None => self.armed.remove(&timer),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, timer));
        }
        if let Some(at) = at {
            self.due.insert((at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Micros) -> Option<Timer> {
        let &(at, timer) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, timer));
        self.armed.remove(&timer);
        Some(timer)
    }
}
