//! Batches: messages with one confirm for all.
//!
//! A batch leaves in one part, or in several where there was no room for all at once. The publishes of a part follow each
//! other in sequence, so a part says by two numbers which sequence number is which message of the batch.

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
    parts: Vec<Part>,
    /// How many publishes have no outcome.
    open: usize,
    sent: usize,
    failures: Vec<BatchFailure>,
    watched: bool,
    abandoned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    channel: ChannelId,
    /// The sequence number of its first message, and which of the batch that is.
    seq: u64,
    index: usize,
}

impl Batches {
    pub(super) fn insert(&mut self) -> BatchId {
        // A slab of 2^32 slots does not fit into memory.
        BatchId { index: u32::try_from(self.slots.insert(Batch::default())).unwrap_or(u32::MAX) }
    }

    /// A message of the batch was queued.
    #[inline]
    pub(super) fn sent(&mut self, id: BatchId, channel: ChannelId, seq: u64, index: usize) {
        let Some(batch) = self.slots.get_mut(id.index()) else { return };
        let goes_on = batch.parts.last().is_some_and(|part| {
            part.channel == channel && seq.wrapping_sub(part.seq) == (index as u64).wrapping_sub(part.index as u64)
        });
        if !goes_on {
            batch.parts.push(Part { channel, seq, index });
        }
        self.waiting += usize::from(batch.open == 0);
        batch.open += 1;
        batch.sent += 1;
    }

    /// A message of the batch has its outcome, or its error; `true` wants an event.
    #[inline]
    pub(super) fn resolve(&mut self, id: BatchId, channel: ChannelId, seq: u64, error: Option<Error>) -> bool {
        let Some(batch) = self.slots.get_mut(id.index()) else { return false };
        if let Some(error) = error {
            batch.fail(channel, seq, error);
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
    pub(super) fn returned(
        &mut self,
        id: BatchId,
        channel: ChannelId,
        seq: u64,
        message: Box<Returned>,
    ) -> Option<Box<Returned>> {
        match self.slots.get_mut(id.index()) {
            Some(batch) if !batch.abandoned => {
                batch.fail(channel, seq, Error::new(ErrorKind::NoRoute(message)));
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
        let channel = batch.parts.last().map(|part| part.channel);
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
    fn fail(&mut self, channel: ChannelId, seq: u64, error: Error) {
        if self.abandoned {
            return;
        }
        let part = self.parts.iter().rev().find(|part| part.channel == channel && part.seq <= seq);
        if let Some(part) = part
            && let Ok(at) = usize::try_from(seq - part.seq)
        {
            self.failures.push(BatchFailure { index: part.index + at, error });
        }
    }
}
