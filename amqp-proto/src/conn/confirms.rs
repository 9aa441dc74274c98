//! Publisher confirms: which publish of a channel has which outcome.
//!
//! ```text
//!   sequence numbers   … acked acked │ base                      next │ not published yet
//!   slots                            │ [ 7 │ - │ resolved │ 9 │ … ]   │
//! ```
//!
//! A publish gets its sequence number in the critical section that queues its frames, so numbers are in wire order. An
//! ack of the front is O(1), `multiple` pops from the front. A slot names who waits for it, if somebody does: one in
//! `waiters`, or a batch in `publish_batches`. Outcomes live there and not in the window, so a confirm that is read late holds
//! nothing else.
//!
//! What failed is counted as well, for whoever waits for all confirms at once ([`Barrier`]) and may not have asked for a
//! single one.
//!
//! `basic.return` has no sequence number: see [`Mandatory`].

use std::collections::VecDeque;
use std::time::Instant;

use super::content::Returned;
use super::event::Unconfirmed;
use super::fingerprint::Fingerprint;
use super::ids::{BatchId, ConfirmId, RequestId};
use super::retained::Retained;
use crate::error::Error;

/// The publishes of one channel that are not confirmed yet.
#[derive(Debug)]
pub(super) struct Window {
    /// The sequence number of the front slot.
    base: u64,
    slots: VecDeque<Slot>,
    /// How many of the slots wait for their outcome.
    open: usize,
    /// How many may.
    limit: usize,
    mandatory: VecDeque<Mandatory>,
    last_returned: u64,
    /// Up to which publish the deadline is set, turn by turn.
    deadlines: VecDeque<(u64, Instant)>,
    armed_to: u64,
    /// The connection has an entry for it among its deadlines.
    pub(super) timed: bool,
    barriers: VecDeque<Barrier>,
    /// The messages, if they are to be sent again.
    pub(super) retained: Option<Box<Retained>>,
    failed: Unconfirmed,
}

/// A publish that is not known to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// It has its outcome already, out of order.
    Resolved,
    /// Its time is over, and all have been told; the broker may still answer, or send it back.
    Overdue,
    Open(Waiter),
}

/// Who waits for a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Nobody,
    Confirm(ConfirmId),
    /// The message of this index, from 0.
    Batch(BatchId, u32),
}

/// What is remembered of a mandatory publish in order to recognise it when it is returned. Returns come in publish
/// order and before their acks, so only publishes after the last returned one are compared, and the first one that is
/// alike is it.
#[derive(Debug, Clone, Copy)]
struct Mandatory {
    seq: u64,
    fingerprint: Fingerprint,
    returned: bool,
}

/// Somebody waits until everything up to a publish has its outcome.
#[derive(Debug, Clone, Copy)]
struct Barrier {
    last: u64,
    request: RequestId,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            base: 1,
            slots: VecDeque::new(),
            open: 0,
            limit: usize::MAX,
            mandatory: VecDeque::new(),
            last_returned: 0,
            deadlines: VecDeque::new(),
            armed_to: 0,
            timed: false,
            barriers: VecDeque::new(),
            retained: None,
            failed: Unconfirmed::default(),
        }
    }
}

impl Window {
    /// The sequence number that the next publish gets.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Takes note of a publish.
    #[inline]
    pub(super) fn push(&mut self, waiter: Waiter, fingerprint: Option<Fingerprint>) {
        if let Some(fingerprint) = fingerprint {
            self.mandatory.push_back(Mandatory { seq: self.next(), fingerprint, returned: false });
        }
        self.slots.push_back(Slot::Open(waiter));
        self.open += 1;
    }

    /// How many publishes wait for their outcome.
    #[inline]
    pub(super) fn unconfirmed(&self) -> usize {
        self.open
    }

    /// How many may; those who are about to publish keep to it.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Messages are kept from now on, of up to so many bytes.
    pub(super) fn retain_up_to(&mut self, bytes: usize) {
        match &mut self.retained {
            Some(retained) => retained.set_limit(bytes),
            None => self.retained = Some(Box::new(Retained::new(bytes))),
        }
    }

    /// Whether there is a place for another publish, besides those that were promised.
    #[inline]
    pub(super) fn has_place(&self, promised: usize) -> bool {
        self.open.saturating_add(promised) < self.limit
            && self.retained.as_ref().is_none_or(|retained| !retained.is_full())
    }

    /// Goes on where the window of another channel, which has ended, has stopped: what failed there still counts.
    pub(super) fn inherit(&mut self, other: &mut Self) {
        self.limit = other.limit;
        self.failed = std::mem::take(&mut other.failed);
        self.retained = other.retained.as_ref().map(|retained| Box::new(Retained::new(retained.limit())));
    }

    // ---- outcomes ----------------------------------------------------------------------------------------------

    /// Resolves a tag, or all up to it, and names those that waited, in order. `false`: the broker confirmed what was
    /// never published.
    #[inline]
    pub(super) fn resolve(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(Waiter)) -> bool {
        if tag >= self.next() || (tag == 0 && !multiple) {
            return false;
        }
        if multiple || tag == self.base {
            // Tag 0 with multiple: all that is outstanding (0-9-1 §1.8.3.13).
            let last = if tag == 0 { self.next() - 1 } else { tag };
            while self.base <= last
                && let Some(slot) = self.slots.pop_front()
            {
                if let Slot::Open(waiter) = slot {
                    self.open -= 1;
                    each(waiter);
                }
                self.base += 1;
            }
        } else if let Some(at) = tag.checked_sub(self.base).and_then(|at| usize::try_from(at).ok())
            && let Some(slot) = self.slots.get_mut(at)
            && let Slot::Open(waiter) = std::mem::replace(slot, Slot::Resolved)
        {
            self.open -= 1;
            each(waiter);
        }
        while self.slots.front() == Some(&Slot::Resolved) {
            self.slots.pop_front();
            self.base += 1;
        }
        if let Some(retained) = &mut self.retained {
            retained.release(tag);
            retained.release_below(self.base);
        }
        while self.mandatory.front().is_some_and(|publish| publish.seq < self.base) {
            self.mandatory.pop_front();
        }
        while self.deadlines.front().is_some_and(|(seq, _)| *seq < self.base) {
            self.deadlines.pop_front();
        }
        true
    }

    /// Counts what a nack refuses, before [`resolve`](Self::resolve). What came back before counts as returned.
    #[cold]
    pub(super) fn count_nacked(&mut self, tag: u64, multiple: bool) {
        let (first, last) = match (multiple, tag) {
            (true, 0) => (self.base, self.next() - 1),
            (true, _) => (self.base, tag),
            (false, _) => (tag, tag),
        };
        let is_open = |seq: u64| {
            let slot = seq.checked_sub(self.base).and_then(|at| self.slots.get(usize::try_from(at).ok()?));
            matches!(slot, Some(Slot::Open(_)))
        };
        let last = last.min(self.next() - 1);
        let refused = (first..=last).filter(|seq| is_open(*seq) && !self.was_returned(*seq)).count();
        self.failed.nacked += refused as u64;
    }

    /// The waiters whose time is over. Their publishes stay in the window: the broker may still answer.
    pub(super) fn expire(&mut self, now: Instant, cause: &Error, mut each: impl FnMut(Waiter)) {
        while let Some((last, deadline)) = self.deadlines.front().copied()
            && deadline <= now
        {
            self.deadlines.pop_front();
            for at in 0..self.slots.len() {
                let seq = self.base + at as u64;
                let Some(slot) = self.slots.get_mut(at).filter(|_| seq <= last) else { break };
                if let Slot::Open(waiter) = *slot {
                    *slot = Slot::Overdue;
                    self.lose(seq, waiter, cause, &mut each);
                }
            }
        }
    }

    /// All that wait, in order; nothing is left.
    pub(super) fn drain(&mut self, cause: &Error, mut each: impl FnMut(Waiter)) {
        for slot in std::mem::take(&mut self.slots) {
            let seq = self.base;
            self.base += 1;
            if let Slot::Open(waiter) = slot {
                self.lose(seq, waiter, cause, &mut each);
            }
        }
        self.mandatory.clear();
        self.deadlines.clear();
    }

    /// The connection is lost: what became of its publishes will not be known, but of those that are sent again.
    pub(super) fn interrupt(&mut self, cause: &Error, mut each: impl FnMut(Waiter)) {
        for at in 0..self.slots.len() {
            let seq = self.base + at as u64;
            let stays = self.retained.as_ref().is_some_and(|retained| retained.holds(seq)) && !self.was_returned(seq);
            if let Some(slot) = self.slots.get_mut(at).filter(|_| !stays)
                && let Slot::Open(waiter) = std::mem::replace(slot, Slot::Resolved)
            {
                self.lose(seq, waiter, cause, &mut each);
            }
        }
    }

    /// This one is not sent again.
    pub(super) fn give_up(&mut self, seq: u64, cause: &Error, mut each: impl FnMut(Waiter)) {
        let at = seq.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at))
            && let Slot::Open(waiter) = *slot
        {
            *slot = Slot::Resolved;
            self.lose(seq, waiter, cause, &mut each);
        }
    }

    /// The channel is opened again: what waits for its outcome is sent again, and counts from 1.
    pub(super) fn begin_anew(&mut self) {
        let (base, slots) = (self.base, std::mem::take(&mut self.slots));
        let mut old = Vec::with_capacity(self.open);
        for (seq, slot) in (base..).zip(slots) {
            if matches!(slot, Slot::Open(_)) {
                old.push(seq);
                self.slots.push_back(slot);
            }
        }
        // How many are left of all up to a number.
        let up_to = |seq: u64| old.partition_point(|old| *old <= seq) as u64;
        self.mandatory.retain_mut(|publish| match old.binary_search(&publish.seq) {
            Ok(at) => {
                publish.seq = at as u64 + 1;
                true
            }
            Err(_) => false,
        });
        let mut last_timed = 0;
        self.deadlines.retain_mut(|(seq, _)| {
            *seq = up_to(*seq);
            *seq > std::mem::replace(&mut last_timed, *seq)
        });
        self.barriers.iter_mut().for_each(|barrier| barrier.last = up_to(barrier.last));
        if let Some(retained) = &mut self.retained {
            retained.renumber(&old);
        }
        (self.base, self.last_returned, self.armed_to) = (1, 0, up_to(self.armed_to));
    }

    /// What became of a publish will not be known.
    fn lose(&mut self, seq: u64, waiter: Waiter, cause: &Error, each: &mut impl FnMut(Waiter)) {
        self.open -= 1;
        if !self.was_returned(seq) {
            self.failed.unknown += 1;
            self.failed.last_cause = Some(cause.clone());
        }
        if let Some(retained) = &mut self.retained {
            retained.release(seq);
        }
        each(waiter);
    }

    fn was_returned(&self, seq: u64) -> bool {
        let at = self.mandatory.partition_point(|publish| publish.seq < seq);
        self.mandatory.get(at).is_some_and(|publish| publish.seq == seq && publish.returned)
    }

    /// Finds the publish that this is the return of, and who waits for it; `None` if there is no mandatory publish that
    /// it could be, or only one whose time is over. What looks most alike wins; no return is left without a publish
    /// while there is one to the same exchange and routing key.
    pub(super) fn returned(&mut self, fingerprint: Fingerprint, message: &Returned) -> Option<Waiter> {
        type Alike = fn(&Fingerprint, &Fingerprint) -> bool;
        let tiers: [Alike; 3] =
            [|a, b| a == b, |a, b| a.names == b.names && a.body == b.body, |a, b| a.names == b.names];
        let (base, slots) = (self.base, &self.slots);
        let slot_of = |publish: &Mandatory| slots.get(usize::try_from(publish.seq - base).ok()?).copied();
        let from = self.mandatory.partition_point(|publish| publish.seq <= self.last_returned);
        let at = tiers.iter().find_map(|alike| {
            self.mandatory.range(from..).position(|publish| {
                alike(&publish.fingerprint, &fingerprint) && slot_of(publish).is_some_and(|slot| slot != Slot::Resolved)
            })
        })?;
        let publish = *self.mandatory.get(from + at)?;
        self.last_returned = publish.seq;
        let Some(Slot::Open(waiter)) = slot_of(&publish) else { return None };
        if let Some(publish) = self.mandatory.get_mut(from + at) {
            publish.returned = true;
        }
        self.failed.returned += 1;
        self.failed.last_returned = Some(Box::new(message.clone()));
        Some(waiter)
    }

    // ---- all at once -------------------------------------------------------------------------------------------

    /// What has failed so far.
    pub(super) fn failed(&self) -> &Unconfirmed {
        &self.failed
    }

    /// The request ends when all that is published now has its outcome.
    pub(super) fn wait(&mut self, request: RequestId) {
        self.barriers.push_back(Barrier { last: self.next() - 1, request });
    }

    /// Those who wait for all.
    pub(super) fn barriers(&self) -> impl Iterator<Item = RequestId> {
        self.barriers.iter().map(|barrier| barrier.request)
    }

    pub(super) fn has_barriers(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Keeps those barriers.
    pub(super) fn retain_barriers(&mut self, keep: impl Fn(RequestId) -> bool) {
        self.barriers.retain(|barrier| keep(barrier.request));
    }

    /// A request that has waited long enough.
    pub(super) fn pop_barrier(&mut self) -> Option<RequestId> {
        let settled = self.slots.iter().take_while(|slot| !matches!(slot, Slot::Open(_))).count();
        let barrier = self.barriers.front()?;
        if barrier.last >= self.base + settled as u64 {
            return None;
        }
        self.barriers.pop_front().map(|barrier| barrier.request)
    }

    // ---- deadlines ---------------------------------------------------------------------------------------------

    /// Whether every publish has its deadline.
    pub(super) fn is_armed(&self) -> bool {
        self.armed_to + 1 >= self.next()
    }

    /// Sets the deadline of what was published since the last turn.
    pub(super) fn arm(&mut self, deadline: Instant) {
        let last = self.next() - 1;
        if last > self.armed_to {
            self.armed_to = last;
            self.deadlines.push_back((last, deadline));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(_, deadline)| *deadline)
    }
}
