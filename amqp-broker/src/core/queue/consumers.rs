//! The consumers of a queue: who is next, who waits, who is alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use amqp_proto::wire::FieldTable;

use super::stream::Cursor;
use crate::core::SessionId;
use crate::core::name::Name;

/// Numbers consumers in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConsumerId(pub(crate) u64);

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) session: SessionId,
    pub(crate) channel: u16,
    pub(crate) tag: Name,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    /// 0 is unlimited.
    pub(crate) prefetch: u32,
    pub(crate) priority: i64,
    pub(crate) arguments: FieldTable,
    /// Messages that it has not settled.
    pub(crate) unacked: u32,
    /// Messages that its queue has taken back, and that it has not settled either. It is given nothing meanwhile.
    timed_out: u32,
    /// Where it is in a stream.
    pub(crate) cursor: Option<Cursor>,
    /// Not in the ring: it cannot take a message.
    blocked: bool,
}

impl Consumer {
    pub(crate) fn new(session: SessionId, channel: u16, tag: Name) -> Self {
        Self {
            session,
            channel,
            tag,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            arguments: FieldTable::new(),
            unacked: 0,
            timed_out: 0,
            cursor: None,
            blocked: false,
        }
    }

    /// Whether its own prefetch lets it take one more.
    pub(crate) fn has_room(&self) -> bool {
        self.timed_out == 0 && (self.no_ack || self.prefetch == 0 || self.unacked < self.prefetch)
    }
}

/// The consumers of a queue.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: BTreeMap<ConsumerId, Consumer>,
    /// Those that may take a message, by priority and then in turns.
    ring: BTreeMap<Reverse<i64>, VecDeque<ConsumerId>>,
    /// Whether only one at a time is given messages.
    single: bool,
    /// The one.
    active: Option<ConsumerId>,
}

impl Consumers {
    pub(crate) fn new(single: bool) -> Self {
        Self { single, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many are given messages, or would be.
    pub(crate) fn served_len(&self) -> usize {
        if self.single { usize::from(self.active.is_some()) } else { self.len() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn is_single_active(&self) -> bool {
        self.single
    }

    pub(crate) fn has_exclusive(&self) -> bool {
        self.all.values().any(|consumer| consumer.exclusive)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.all.iter().map(|(id, consumer)| (*id, consumer))
    }

    pub(crate) fn is_active(&self, id: ConsumerId) -> bool {
        !self.single || self.active == Some(id)
    }

    pub(crate) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.all.get_mut(&id)
    }

    pub(crate) fn add(&mut self, id: ConsumerId, consumer: Consumer) {
        self.ring.entry(Reverse(consumer.priority)).or_default().push_back(id);
        self.all.insert(id, consumer);
        self.choose_active();
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.all.remove(&id)?;
        self.leave_ring(id, consumer.priority);
        if self.active == Some(id) {
            self.active = None;
            self.choose_active();
        }
        Some(consumer)
    }

    /// Its queue has taken back a message of it. `false` if there is no such consumer.
    pub(crate) fn timed_out(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.all.get_mut(&id) else { return false };
        consumer.unacked = consumer.unacked.saturating_sub(1);
        consumer.timed_out += 1;
        if self.active == Some(id) {
            self.active = None;
            self.choose_active();
        }
        true
    }

    /// It has settled a message, one that was taken back or not. `false` if there is no such consumer.
    pub(crate) fn settled(&mut self, id: ConsumerId, is_void: bool) -> bool {
        let Some(consumer) = self.all.get_mut(&id) else { return false };
        let count = if is_void { &mut consumer.timed_out } else { &mut consumer.unacked };
        *count = count.saturating_sub(1);
        self.choose_active();
        true
    }

    /// The next single active consumer is that of the highest priority, and of these the one that waits longest.
    fn choose_active(&mut self) {
        if self.single && self.active.is_none() {
            let ready = self.all.iter().filter(|(_, consumer)| consumer.timed_out == 0);
            self.active = ready.min_by_key(|(id, consumer)| (Reverse(consumer.priority), **id)).map(|(id, _)| *id);
        }
    }

    fn leave_ring(&mut self, id: ConsumerId, priority: i64) {
        if let Some(turn) = self.ring.get_mut(&Reverse(priority)) {
            turn.retain(|other| *other != id);
            if turn.is_empty() {
                self.ring.remove(&Reverse(priority));
            }
        }
    }

    /// Whose turn it is. It stays so until [`served`](Self::served) or [`block`](Self::block).
    pub(crate) fn next(&self) -> Option<ConsumerId> {
        match self.single {
            true => self.active.filter(|id| self.all.get(id).is_some_and(|consumer| !consumer.blocked)),
            false => self.ring.values().find_map(VecDeque::front).copied(),
        }
    }

    /// It has got a message: the others of its priority come first now.
    pub(crate) fn served(&mut self, id: ConsumerId) {
        let Some(consumer) = self.all.get(&id) else { return };
        if let Some(turn) = self.ring.get_mut(&Reverse(consumer.priority))
            && turn.len() > 1
            && turn.front() == Some(&id)
        {
            turn.rotate_left(1);
        }
    }

    /// It cannot take a message for now.
    pub(crate) fn block(&mut self, id: ConsumerId) {
        let Some(consumer) = self.all.get_mut(&id) else { return };
        if !std::mem::replace(&mut consumer.blocked, true) {
            let priority = consumer.priority;
            self.leave_ring(id, priority);
        }
    }

    /// Perhaps it can again. `true` if it had been blocked.
    pub(crate) fn unblock(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.all.get_mut(&id) else { return false };
        let was_blocked = std::mem::replace(&mut consumer.blocked, false);
        if was_blocked {
            self.ring.entry(Reverse(consumer.priority)).or_default().push_back(id);
        }
        was_blocked
    }
}
