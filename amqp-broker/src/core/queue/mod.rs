//! A queue: what waits in it (`ready`, or the log of a `stream`), who takes from it (`consumers`), what has
//! died in it and is not taken elsewhere yet (`dead_letters`), and the rules that its arguments made (`arguments`).
//!
//! A queue knows nothing of sessions: the broker moves what leaves it.

mod arguments;
mod consumers;
mod dead_letters;
mod equivalence;
mod lingering;
mod policy;
mod ready;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use amqp_proto::wire::{FieldTable, TableRef};

pub(crate) use arguments::{check, check_stream, completed, queue_type};
pub(crate) use consumers::{Consumer, ConsumerId, Consumers};
pub(crate) use dead_letters::{DeadLetters, Letter};
pub(crate) use equivalence::{assert_equivalent, assert_same_argument, inequivalent};
pub(crate) use lingering::Lingering;
pub(crate) use policy::{Overflow, Policy};
pub(crate) use ready::{Entry, Measure, Order, Ready};
pub(crate) use stream::{Log, parse_offset};

use super::death::Reason;
use super::message::Message;
use super::name::Name;
use super::refusal::{Resource, queue_resource};
use super::{Micros, SessionId};
use crate::Emulate;

/// Numbers queues in the order in which they came. One that was deleted and declared again has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueId(pub(crate) u64);

/// The types of queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Classic,
    Quorum,
    Stream,
}

impl Kind {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"classic" => Some(Self::Classic),
            b"quorum" => Some(Self::Quorum),
            b"stream" => Some(Self::Stream),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// What RabbitMQ calls it in reply texts.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Name,
    pub(crate) vhost: Name,
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<SessionId>,
    pub(crate) arguments: FieldTable,
    pub(crate) policy: Policy,
    pub(crate) ready: Ready,
    pub(crate) log: Log,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) consumers: Consumers,
    pub(crate) lingering: Lingering,
    pub(crate) unacked: usize,
    pub(crate) had_consumers: bool,
    /// The exchanges that have bindings to it, and how many.
    pub(crate) bound: BTreeMap<Name, usize>,
    /// Since when nobody has used it.
    pub(crate) idle_since: Micros,
    next_sequence: u64,
}

/// What becomes of a message that comes to a queue.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is in.
    Taken,
    /// The queue is full: the publisher is told.
    Rejected,
}

/// A message that leaves a queue for its dead-letter exchange, or for nowhere.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) queue: QueueId,
    pub(crate) message: Arc<Message>,
    pub(crate) reason: Reason,
}

/// Why a message comes back to its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// It was nacked or recovered.
    Nacked,
    Rejected,
    /// Whoever had it has gone.
    Abandoned,
    /// It was not settled in time.
    Overdue,
}

impl Queue {
    pub(crate) fn new(version: Emulate, name: Name, vhost: Name, kind: Kind, arguments: FieldTable) -> Self {
        let policy = Policy::new(version, kind, arguments.as_ref());
        let order = match (kind, version) {
            (Kind::Classic | Kind::Stream, _) => Order::Sequence(policy.max_priority),
            (Kind::Quorum, Emulate::V3_10) => Order::ReturnsFirst,
            (Kind::Quorum, Emulate::V4_0) => Order::TwoToOne,
            (Kind::Quorum, Emulate::V4_3) => Order::ByPriority,
        };
        let counts_properties = kind == Kind::Quorum && version >= Emulate::V4_3;
        let measure = if counts_properties { Measure::WholeMessages } else { Measure::Bodies };
        Self {
            name,
            vhost,
            kind,
            durable: false,
            auto_delete: false,
            owner: None,
            arguments,
            ready: Ready::new(order, measure),
            log: Log::new(policy.retention),
            dead_letters: DeadLetters::new(measure),
            consumers: Consumers::new(policy.single_active_consumer),
            lingering: Lingering::default(),
            policy,
            unacked: 0,
            had_consumers: false,
            bound: BTreeMap::new(),
            idle_since: 0,
            next_sequence: 0,
        }
    }

    pub(crate) fn resource(&self) -> Resource<'_> {
        queue_resource(&self.name, &self.vhost)
    }

    /// How many messages a declaration says there are.
    pub(crate) fn message_count(&self) -> u32 {
        let count = match self.kind {
            // RabbitMQ says 0 for streams on this way.
            Kind::Stream => 0,
            _ => self.ready.len(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many consumers a declaration says there are.
    pub(crate) fn consumer_count(&self) -> u32 {
        let count = match self.kind {
            Kind::Stream => 0,
            Kind::Classic => self.consumers.len(),
            Kind::Quorum => self.consumers.served_len() + self.lingering.len(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether it has what counts as a consumer.
    pub(crate) fn is_used(&self) -> bool {
        !self.consumers.is_empty() || self.lingering.len() > 0
    }

    /// Takes a message in, or does not. What has to go for it is pushed to `dead`.
    pub(crate) fn arrive(&mut self, id: QueueId, message: Arc<Message>, now: Micros, dead: &mut Vec<Dead>) -> Arrival {
        let limited = self.policy.max_length.is_some() || self.policy.max_length_bytes.is_some();
        if limited && self.policy.overflow != Overflow::DropHead && self.is_over(1, self.ready.bytes_of(&message)) {
            if self.policy.overflow == Overflow::RejectPublishDlx {
                dead.push(Dead { queue: id, message, reason: Reason::MaxLength });
            }
            return Arrival::Rejected;
        }
        let ttl = match (self.policy.message_ttl, message.expiration()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let expires = ttl.map(|millis| now.saturating_add(millis.saturating_mul(1000)));
        self.ready.push(Entry::new(message, self.next_sequence, expires));
        self.next_sequence += 1;
        Arrival::Taken
    }

    /// Drops what is over the limits, once consumers have had their chance.
    pub(crate) fn drop_overflow(&mut self, id: QueueId, dead: &mut Vec<Dead>) {
        if self.policy.overflow != Overflow::DropHead
            || self.policy.max_length.is_none() && self.policy.max_length_bytes.is_none()
        {
            return;
        }
        while self.is_over(0, 0) {
            let Some(entry) = self.ready.pop_to_drop() else { break };
            dead.push(Dead { queue: id, message: entry.message, reason: Reason::MaxLength });
        }
    }

    /// Whether it is, or would be with so much more.
    fn is_over(&self, messages: usize, bytes: usize) -> bool {
        let over = |limit: Option<u64>, size: usize| limit.is_some_and(|limit| size as u64 > limit);
        over(self.policy.max_length, self.ready.len() + self.dead_letters.len() + messages)
            || over(self.policy.max_length_bytes, self.ready.bytes() + self.dead_letters.bytes() + bytes)
    }

    /// Takes out what has expired.
    pub(crate) fn expire(&mut self, id: QueueId, now: Micros, dead: &mut Vec<Dead>) {
        while let Some(entry) = self.ready.pop_expired(now) {
            dead.push(Dead { queue: id, message: entry.message, reason: Reason::Expired });
        }
    }

    /// When something will have to be done here.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        let unused = self.policy.expires.filter(|_| !self.is_used());
        let end = unused.map(|millis| self.idle_since.saturating_add(millis.saturating_mul(1000)));
        [self.ready.next_expiry(), self.dead_letters.retry_at(), end].into_iter().flatten().min()
    }

    /// Takes a message back that was handed out.
    pub(crate) fn put_back(&mut self, id: QueueId, mut entry: Entry, why: PutBack, dead: &mut Vec<Dead>) {
        self.unacked = self.unacked.saturating_sub(1);
        entry.redelivered = true;
        entry.acquired_count = entry.acquired_count.saturating_add(1);
        let is_failure = match why {
            PutBack::Nacked => self.policy.counts_nacks,
            PutBack::Rejected | PutBack::Abandoned => true,
            PutBack::Overdue => false,
        };
        if is_failure {
            entry.delivery_count = entry.delivery_count.saturating_add(1);
        }
        if self.policy.delivery_limit.is_some_and(|limit| u32::from(entry.delivery_count) > limit) {
            dead.push(Dead { queue: id, message: entry.message, reason: Reason::DeliveryLimit });
        } else if self.policy.requeues_last && matches!(why, PutBack::Nacked | PutBack::Rejected) {
            entry.sequence = self.next_sequence;
            self.next_sequence += 1;
            self.ready.put_last(entry);
        } else {
            self.ready.put_back(entry);
        }
    }

    pub(crate) fn arguments(&self) -> TableRef<'_> {
        self.arguments.as_ref()
    }
}
