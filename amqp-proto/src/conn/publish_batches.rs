//! Batches: messages with one confirm for all.
//!
//! Each of the publishes knows which message of its batch it is.

use slab::Slab;

use super::content::Returned;
use super::event::{BatchFailure, BatchOutcome};
use super::ids::{BatchId, ChannelId};
use crate::error::{Error, ErrorKind};

/// The batches that somebody waits for, of all channels.
#[derive(Debug, Default)]
pub(super) struct Batches {
    slots: Slab<Batch>,
    /// How many of them have publishes without outcome, and somebody who waits.
    waiting: usize,
}

#[derive(Debug, Default)]
struct Batch {
    /// What it was published on last.
    channel: Option<ChannelId>,
    /// How many publishes have no outcome.
    open: usize,
    sent: usize,
    failures: Vec<BatchFailure>,
    watched: bool,
    abandoned: bool,
}

impl Batches {
    pub(super) fn insert(&mut self) -> BatchId {
        // A slab of 2^32 slots does not fit into memory.
        BatchId { index: u32::try_from(self.slots.insert(Batch::default())).unwrap_or(u32::MAX) }
    }

    /// A message of the batch was queued.
    #[inline]
    pub(super) fn sent(&mut self, id: BatchId, channel: ChannelId) {
        let Some(batch) = self.slots.get_mut(id.index()) else { return };
        batch.channel = Some(channel);
        self.waiting += usize::from(batch.open == 0);
        batch.open += 1;
        batch.sent += 1;
    }

    /// A message of the batch has its outcome, or its error; `true` wants an event.
    #[inline]
    pub(super) fn resolve(&mut self, id: BatchId, index: u32, error: Option<Error>) -> bool {
        let Some(batch) = self.slots.get_mut(id.index()) else { return false };
        if let Some(error) = error {
            batch.fail(index, error);
        }
        batch.open -= 1;
        if batch.open > 0 {
            return false;
        }
        if batch.abandoned {
            self.slots.remove(id.index());
            return false;
        }
        self.waiting -= 1;
        batch.watched
    }

    /// A message of the batch came back. `Some` if nobody waits for the batch any more.
    pub(super) fn returned(&mut self, id: BatchId, index: u32, message: Box<Returned>) -> Option<Box<Returned>> {
        match self.slots.get_mut(id.index()) {
            Some(batch) if !batch.abandoned => {
                batch.fail(index, Error::new(ErrorKind::NoRoute(message)));
                None
            }
            _ => Some(message),
        }
    }

    /// Whether somebody waits for an outcome that is not there.
    pub(super) fn any_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn take(&mut self, id: BatchId) -> Option<BatchOutcome> {
        let batch = self.slots.get_mut(id.index())?;
        batch.watched = true;
        if batch.open > 0 {
            return None;
        }
        let Batch { sent, mut failures, .. } = self.slots.remove(id.index());
        // What came back and was refused as well came back first.
        failures.sort_by_key(|failure| failure.index);
        failures.dedup_by_key(|failure| failure.index);
        Some(BatchOutcome { messages: sent, failures })
    }

    /// Gives it up. What failed and nobody has seen is handed back, with the channel it was published on last.
    pub(super) fn abandon(&mut self, id: BatchId) -> Option<(ChannelId, Vec<BatchFailure>)> {
        let batch = self.slots.get_mut(id.index())?;
        let failures = std::mem::take(&mut batch.failures);
        let channel = batch.channel;
        if batch.open == 0 {
            self.slots.remove(id.index());
        } else {
            self.waiting -= usize::from(!batch.abandoned);
            batch.abandoned = true;
        }
        Some((channel?, failures))
    }
}

impl Batch {
    #[cold]
    fn fail(&mut self, index: u32, error: Error) {
        if !self.abandoned {
            self.failures.push(BatchFailure { index: index as usize, error });
        }
    }
}
