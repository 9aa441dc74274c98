//! The dead letters of a quorum queue whose strategy is `at-least-once`: they stay until all queues that they are routed to have
//! taken them. What RabbitMQ's dead-letter worker does for a queue.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Measure, QueueId};
use crate::core::Micros;
use crate::core::death::Reason;
use crate::core::message::Message;

/// How many may be under way at a time.
const UNDER_WAY: usize = 32;
/// After how long one is sent again that was not taken.
const PATIENCE: Micros = 180_000_000;

/// A message that has died, as it is published again.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) message: Arc<Message>,
    pub(crate) reason: Reason,
    /// The queues that have it.
    pub(crate) taken_by: Vec<QueueId>,
    pub(crate) last_sent: Option<Micros>,
}

impl Letter {
    pub(crate) fn new(message: Arc<Message>, reason: Reason) -> Self {
        Self { message, reason, taken_by: Vec::new(), last_sent: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    measure: Measure,
    waiting: VecDeque<Letter>,
    under_way: Vec<Letter>,
    /// When those that were not taken are looked at again.
    retry_at: Option<Micros>,
    /// Of all of them.
    bytes: usize,
}

impl DeadLetters {
    pub(crate) fn new(measure: Measure) -> Self {
        Self { measure, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Bytes of them, as this queue counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn retry_at(&self) -> Option<Micros> {
        self.retry_at
    }

    pub(crate) fn push(&mut self, letter: Letter) {
        self.bytes += self.measure.of(&letter.message);
        self.waiting.push_back(letter);
    }

    /// Takes out one to be sent for the first time, if there may be more under way. It comes back by [`sent`](Self::sent).
    pub(crate) fn next(&mut self) -> Option<Letter> {
        if self.under_way.len() < UNDER_WAY { self.waiting.pop_front() } else { None }
    }

    /// Takes out those to be sent again. They come back by [`sent`](Self::sent).
    pub(crate) fn take_due(&mut self, now: Micros) -> Vec<Letter> {
        if self.retry_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_due = |letter: &Letter| letter.last_sent.is_none_or(|sent| sent + PATIENCE <= now);
        let (due, others) = std::mem::take(&mut self.under_way).into_iter().partition(is_due);
        self.under_way = others;
        self.retry_at = Some(now + PATIENCE);
        due
    }

    /// One that was taken out was sent: it is done, or stays.
    pub(crate) fn sent(&mut self, letter: Letter, is_done: bool, now: Micros) {
        if is_done {
            self.bytes = self.bytes.saturating_sub(self.measure.of(&letter.message));
        } else {
            self.under_way.push(letter);
        }
        if self.under_way.is_empty() {
            self.retry_at = None;
        } else {
            self.retry_at.get_or_insert(now + PATIENCE);
        }
    }

    /// Drops all of them, and says how many they were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.len();
        *self = Self::new(self.measure);
        count
    }
}
