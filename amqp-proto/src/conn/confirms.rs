//! Publisher confirms: which publish of a channel has which outcome.
//!
//! ```text
//!   sequence numbers   … acked acked │ base                      next │ not published yet
//!   slots                            │ [ 7 │ - │ resolved │ 9 │ … ]   │
//! ```
//!
//! A publish gets its sequence number in the critical section that queues its frames, so numbers are in wire order. An
//! ack of the front is O(1), `multiple` pops from the front. A slot names the waiter in the connection's slab, if there
//! is one; outcomes live there and not in the window, so a confirm that is read late holds nothing else.
//!
//! `basic.return` has no sequence number: see [`Mandatory`].

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Instant;

use foldhash::fast::FixedState;
use slab::Slab;

use super::content::Returned;
use super::event::Outcome;
use super::ids::ConfirmId;
use crate::method::PropertiesRef;
use crate::wire::{TableRef, ValueRef};

/// The publishes of one channel that are not confirmed yet.
#[derive(Debug)]
pub(super) struct Window {
    /// The sequence number of the front slot.
    base: u64,
    slots: VecDeque<Waiter>,
    mandatory: VecDeque<Mandatory>,
    last_returned: u64,
    /// Up to which publish the deadline is set, turn by turn.
    deadlines: VecDeque<(u64, Instant)>,
    armed_to: u64,
    /// The connection has an entry for it among its deadlines.
    pub(super) timed: bool,
}

/// Who waits for a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiter {
    /// It has its outcome already, out of order.
    Resolved,
    Nobody,
    Confirm(u32),
}

/// What is remembered of a mandatory publish in order to recognise it when it is returned. Returns come in publish
/// order and before their acks, so only publishes after the last returned one are compared, and the first one that is
/// alike is it.
#[derive(Debug, Clone, Copy)]
struct Mandatory {
    seq: u64,
    fingerprint: Fingerprint,
}

/// Exchange and routing key, body, and properties, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    names: u64,
    body: u64,
    properties: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            base: 1,
            slots: VecDeque::new(),
            mandatory: VecDeque::new(),
            last_returned: 0,
            deadlines: VecDeque::new(),
            armed_to: 0,
            timed: false,
        }
    }
}

impl Window {
    /// The sequence number that the next publish gets.
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Takes note of a publish.
    #[inline]
    pub(super) fn push(&mut self, waiter: Option<ConfirmId>, fingerprint: Option<Fingerprint>) {
        if let Some(fingerprint) = fingerprint {
            self.mandatory.push_back(Mandatory { seq: self.next(), fingerprint });
        }
        self.slots.push_back(waiter.map_or(Waiter::Nobody, |id| Waiter::Confirm(id.index)));
    }

    /// How many publishes wait for their outcome.
    pub(super) fn unconfirmed(&self) -> usize {
        self.slots.iter().filter(|slot| **slot != Waiter::Resolved).count()
    }

    /// Resolves a tag, or all up to it, and names the waiters in order. `false`: the broker confirmed what was never
    /// published.
    #[inline]
    pub(super) fn resolve(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(ConfirmId)) -> bool {
        if tag >= self.next() || (tag == 0 && !multiple) {
            return false;
        }
        if multiple || tag == self.base {
            // Tag 0 with multiple: all that is outstanding (0-9-1 §1.8.3.13).
            let last = if tag == 0 { self.next() - 1 } else { tag };
            while self.base <= last
                && let Some(waiter) = self.slots.pop_front()
            {
                self.base += 1;
                if let Waiter::Confirm(index) = waiter {
                    each(ConfirmId { index });
                }
            }
        } else if let Some(at) = tag.checked_sub(self.base).and_then(|at| usize::try_from(at).ok())
            && let Some(slot) = self.slots.get_mut(at)
            && let Waiter::Confirm(index) = std::mem::replace(slot, Waiter::Resolved)
        {
            each(ConfirmId { index });
        }
        while self.slots.front() == Some(&Waiter::Resolved) {
            self.slots.pop_front();
            self.base += 1;
        }
        while self.mandatory.front().is_some_and(|publish| publish.seq < self.base) {
            self.mandatory.pop_front();
        }
        while self.deadlines.front().is_some_and(|(seq, _)| *seq < self.base) {
            self.deadlines.pop_front();
        }
        true
    }

    /// Finds the publish that this is the return of: `Some(waiter)`, or `None` if there is no mandatory publish that
    /// it could be. What looks most alike wins; no return is left without a publish while there is one to the same
    /// exchange and routing key.
    pub(super) fn returned(&mut self, fingerprint: Fingerprint) -> Option<Option<ConfirmId>> {
        type Alike = fn(&Fingerprint, &Fingerprint) -> bool;
        let tiers: [Alike; 3] =
            [|a, b| a == b, |a, b| a.names == b.names && a.body == b.body, |a, b| a.names == b.names];
        let base = self.base;
        let from = self.mandatory.partition_point(|publish| publish.seq <= self.last_returned);
        let open = |slots: &VecDeque<Waiter>, seq: u64| {
            usize::try_from(seq - base)
                .ok()
                .and_then(|at| slots.get(at).copied())
                .filter(|slot| *slot != Waiter::Resolved)
        };
        let found = tiers.iter().find_map(|alike| {
            self.mandatory
                .range(from..)
                .find(|publish| alike(&publish.fingerprint, &fingerprint) && open(&self.slots, publish.seq).is_some())
        });
        let publish = found?;
        self.last_returned = publish.seq;
        match open(&self.slots, publish.seq) {
            Some(Waiter::Confirm(index)) => Some(Some(ConfirmId { index })),
            _ => Some(None),
        }
    }

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

    /// The waiters whose time is over. Their publishes stay in the window: the broker may still answer.
    pub(super) fn expire(&mut self, now: Instant, mut each: impl FnMut(ConfirmId)) {
        while let Some((last, deadline)) = self.deadlines.front().copied()
            && deadline <= now
        {
            self.deadlines.pop_front();
            for (seq, slot) in (self.base..).zip(self.slots.iter_mut()) {
                if seq > last {
                    break;
                }
                if let Waiter::Confirm(index) = *slot {
                    *slot = Waiter::Nobody;
                    each(ConfirmId { index });
                }
            }
        }
    }

    /// All that wait, in order; nothing is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ConfirmId> {
        self.mandatory.clear();
        self.deadlines.clear();
        self.base += self.slots.len() as u64;
        std::mem::take(&mut self.slots).into_iter().filter_map(|waiter| match waiter {
            Waiter::Confirm(index) => Some(ConfirmId { index }),
            Waiter::Nobody | Waiter::Resolved => None,
        })
    }
}

impl Fingerprint {
    /// Of a message as it goes out or comes back. `flags` and `fields` are the properties in wire form; they are only
    /// decoded if there are headers among them.
    ///
    /// Canonical: RabbitMQ 4 sends headers back sorted and without duplicates, and every version strips `BCC`.
    #[inline]
    pub(super) fn new<'a>(
        hasher: &FixedState,
        exchange: &[u8],
        routing_key: &[u8],
        body: impl Iterator<Item = &'a [u8]>,
        (flags, fields): (u16, &[u8]),
        decoded: impl FnOnce() -> PropertiesRef<'a>,
    ) -> Self {
        let mut names = hasher.build_hasher();
        names.write(exchange);
        names.write(routing_key);
        names.write_usize(exchange.len());
        let properties = if flags & HEADERS == 0 {
            let mut properties = hasher.build_hasher();
            properties.write(fields);
            properties.write_u16(flags);
            properties.finish()
        } else {
            hash_properties(hasher, &decoded())
        };
        Self { names: names.finish(), body: hash_body(hasher, body), properties }
    }
}

/// The same for any division into chunks.
#[inline]
fn hash_body<'a>(hasher: &FixedState, mut body: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hash = hasher.build_hasher();
    let first = body.next().unwrap_or_default();
    match body.next() {
        None if first.len() < BLOCK => {
            hash.write(first);
            hash.write_usize(first.len());
            hash.finish()
        }
        second => hash_chunks(hash, [first].into_iter().chain(second).chain(body)),
    }
}

/// The flag of the property `headers` (0-9-1 §4.2.6.1, in the order of class basic).
const HEADERS: u16 = 1 << 13;

/// Chunks are hashed in blocks of this many bytes.
const BLOCK: usize = 64;

fn hash_chunks<'a>(mut hash: impl Hasher, chunks: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut carry, mut carried) = ([0u8; BLOCK], 0usize);
    let mut total = 0;
    for mut chunk in chunks {
        total += chunk.len();
        if carried > 0 {
            let (head, rest) = chunk.split_at(chunk.len().min(BLOCK - carried));
            carry[carried..carried + head.len()].copy_from_slice(head);
            carried += head.len();
            chunk = rest;
            if carried < BLOCK {
                continue;
            }
            hash.write(&carry);
        }
        let mut blocks = chunk.chunks_exact(BLOCK);
        blocks.by_ref().for_each(|block| hash.write(block));
        let rest = blocks.remainder();
        carry[..rest.len()].copy_from_slice(rest);
        carried = rest.len();
    }
    hash.write(&carry[..carried]);
    hash.write_usize(total);
    hash.finish()
}

/// All but the headers as it stands on the wire; the headers are added up, so that their order does not count, and none
/// at all are like no headers.
#[cold]
fn hash_properties(hasher: &FixedState, decoded: &PropertiesRef<'_>) -> u64 {
    let mut hash = hasher.build_hasher();
    let rest = PropertiesRef { headers: None, ..*decoded }.to_owned();
    let (flags, fields) = rest.wire();
    hash.write(fields);
    hash.write_u16(flags);
    let headers = decoded.headers.map_or(0, |headers| hash_table(hasher, headers));
    if headers != 0 {
        hash.write_u64(headers);
    }
    hash.finish()
}

fn hash_table(hasher: &FixedState, table: TableRef<'_>) -> u64 {
    table.iter().filter(|(key, _)| key.as_bytes() != b"BCC").fold(0, |sum: u64, (key, value)| {
        let mut hash = hasher.build_hasher();
        key.hash(&mut hash);
        hash_value(hasher, value, &mut hash);
        sum.wrapping_add(hash.finish())
    })
}

/// Numbers of any width are alike.
fn hash_value(hasher: &FixedState, value: ValueRef<'_>, hash: &mut impl Hasher) {
    match value {
        ValueRef::Table(table) => hash_table(hasher, table).hash(hash),
        ValueRef::Array(array) => array.iter().for_each(|value| hash_value(hasher, value, hash)),
        ValueRef::F32(value) => value.to_bits().hash(hash),
        ValueRef::F64(value) => value.to_bits().hash(hash),
        ValueRef::Bool(value) => value.hash(hash),
        ValueRef::Decimal { scale, value } => (scale, value).hash(hash),
        value => (value.as_i64(), value.as_bytes()).hash(hash),
    }
}

/// The outcomes that somebody waits for, of all channels.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    slots: Slab<Waiting>,
    /// How many wait for an outcome that is not there.
    waiting: usize,
}

#[derive(Debug)]
struct Waiting {
    outcome: Option<Outcome>,
    /// The message came back; the ack that follows makes it the outcome.
    returned: Option<Box<Returned>>,
    watched: bool,
    abandoned: bool,
}

impl Waiters {
    #[inline]
    pub(super) fn insert(&mut self) -> ConfirmId {
        self.waiting += 1;
        let waiting = Waiting { outcome: None, returned: None, watched: false, abandoned: false };
        // A slab of 2^32 slots does not fit into memory.
        ConfirmId { index: u32::try_from(self.slots.insert(waiting)).unwrap_or(u32::MAX) }
    }

    /// Stores the outcome; `true` wants an event. A returned message takes precedence over the ack that follows it.
    #[inline]
    pub(super) fn resolve(&mut self, id: ConfirmId, outcome: impl FnOnce() -> Outcome) -> bool {
        let Some(slot) = self.slots.get_mut(id.index()) else { return false };
        if slot.abandoned {
            self.slots.remove(id.index());
            return false;
        }
        self.waiting -= usize::from(slot.outcome.is_none());
        slot.outcome = Some(slot.returned.take().map_or_else(outcome, Outcome::Returned));
        slot.watched
    }

    /// Whether somebody waits for an outcome that is not there.
    pub(super) fn any_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// The publish came back. `Some` if nobody waits for it any more.
    pub(super) fn returned(&mut self, id: ConfirmId, message: Box<Returned>) -> Option<Box<Returned>> {
        match self.slots.get_mut(id.index()) {
            Some(slot) if !slot.abandoned => {
                slot.returned = Some(message);
                None
            }
            _ => Some(message),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, id: ConfirmId) -> Option<Outcome> {
        let slot = self.slots.get_mut(id.index())?;
        slot.watched = true;
        let outcome = slot.outcome.take()?;
        self.slots.remove(id.index());
        Some(outcome)
    }

    /// Gives it up. A returned message that nobody has seen is handed back.
    pub(super) fn abandon(&mut self, id: ConfirmId) -> Option<Box<Returned>> {
        let slot = self.slots.get_mut(id.index())?;
        let returned = slot.returned.take();
        match slot.outcome.take() {
            Some(outcome) => {
                self.slots.remove(id.index());
                match outcome {
                    Outcome::Returned(message) => Some(message),
                    _ => returned,
                }
            }
            None => {
                self.waiting -= usize::from(!slot.abandoned);
                slot.abandoned = true;
                returned
            }
        }
    }
}
