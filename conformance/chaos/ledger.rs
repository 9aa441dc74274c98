//! What became of every message: what its publisher was told, and how often it was consumed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acked,
    /// It ended as unknown.
    Unknown,
    /// There was no room for it in time, or no channel: not a byte of it has left.
    NotSent,
    /// Refused by the broker.
    Nacked,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    told: Option<Told>,
    consumed: u32,
}

/// All messages, by their numbers.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<Entry>>);

/// The end of the matter.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    pub(crate) published: usize,
    pub(crate) acked: usize,
    pub(crate) unknown: usize,
    pub(crate) not_sent: usize,
    pub(crate) nacked: usize,
    /// Publishes without an outcome.
    pub(crate) open: usize,
    /// Messages that were consumed, and how many of them more than once.
    pub(crate) consumed: usize,
    pub(crate) again: usize,
    /// Those that were acked and never consumed.
    pub(crate) lost: Vec<u64>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of one more message.
    pub(crate) fn begin(&self) -> u64 {
        let mut entries = self.lock();
        entries.push(Entry::default());
        entries.len() as u64 - 1
    }

    pub(crate) fn told(&self, number: u64, told: Told) {
        let before = self.lock()[index(number)].told.replace(told);
        assert_eq!(before, None, "message {number} has two outcomes: {before:?}, then {told:?}");
    }

    pub(crate) fn consumed(&self, number: u64) {
        self.lock()[index(number)].consumed += 1;
    }

    pub(crate) fn balance(&self) -> Balance {
        let entries = self.lock();
        let mut balance = Balance { published: entries.len(), ..Balance::default() };
        for (number, entry) in (0..).zip(entries.iter()) {
            match entry.told {
                Some(Told::Acked) => balance.acked += 1,
                Some(Told::Unknown) => balance.unknown += 1,
                Some(Told::NotSent) => balance.not_sent += 1,
                Some(Told::Nacked) => balance.nacked += 1,
                None => balance.open += 1,
            }
            balance.consumed += usize::from(entry.consumed > 0);
            balance.again += usize::from(entry.consumed > 1);
            if entry.told == Some(Told::Acked) && entry.consumed == 0 {
                balance.lost.push(number);
            }
        }
        balance
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("the messages are in memory")
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, acked, unknown, not_sent, nacked, open, consumed, again, lost } = self;
        write!(
            f,
            "{published} published: {acked} acked, {unknown} unknown, {not_sent} not sent, {nacked} nacked, {open} without \
             an outcome; {consumed} consumed, {again} of them again; {} lost",
            lost.len()
        )
    }
}
