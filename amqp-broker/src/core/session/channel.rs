//! What a channel holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::core::Micros;
use crate::core::late::Late;
use crate::core::message::{Incoming, Message};
use crate::core::name::Name;
use crate::core::queue::{ConsumerId, Entry, QueueId};
use crate::core::reply::ReplyConsumer;
use crate::core::route::Routes;
use crate::core::settle::Settle;

/// A channel of a session.
#[derive(Debug, Default)]
pub(in crate::core) struct Channel {
    /// Whether it was opened: RabbitMQ makes a channel of any first frame, and then wants `channel.open`.
    pub(in crate::core) open: bool,
    /// Our `channel.close` is sent: waits for `close-ok`.
    pub(in crate::core) closing: bool,
    pub(in crate::core) assembly: Assembly,
    /// The queue that an empty name stands for.
    pub(in crate::core) last_queue: Option<Name>,
    /// Of consumers to come; 0 is unlimited.
    pub(in crate::core) prefetch: u16,
    /// Of all consumers together; 0 is unlimited.
    pub(in crate::core) global_prefetch: u16,
    /// Unsettled deliveries to consumers.
    pub(in crate::core) unacked_by_consumers: usize,
    pub(in crate::core) last_delivery_tag: u64,
    /// By delivery tag.
    pub(in crate::core) unacked: VecDeque<Unacked>,
    /// When it is looked at for acks that are overdue.
    pub(in crate::core) acks_due: Option<Micros>,
    pub(in crate::core) consumers: BTreeMap<Name, (QueueId, ConsumerId)>,
    pub(in crate::core) reply_consumer: Option<ReplyConsumer>,
    /// The number of the last publish, once confirms were asked for.
    pub(in crate::core) confirms: Option<u64>,
    /// Sequence numbers to be confirmed.
    pub(in crate::core) acks: Vec<u64>,
    pub(in crate::core) nacks: Vec<u64>,
    /// Those that a fault holds back.
    pub(in crate::core) held: BTreeSet<u64>,
    pub(in crate::core) transaction: Option<Transaction>,
    /// What is to be written when the call ends.
    pub(in crate::core) late: VecDeque<Late>,
    /// Whether it is in the broker's list of those.
    pub(in crate::core) dirty: bool,
}

/// A delivery that was not settled.
#[derive(Debug)]
pub(in crate::core) struct Unacked {
    pub(in crate::core) delivery_tag: u64,
    pub(in crate::core) queue: QueueId,
    /// `None` if it was got.
    pub(in crate::core) consumer: Option<ConsumerId>,
    /// `None` for what a stream delivered: it stays there.
    pub(in crate::core) entry: Option<Entry>,
    pub(in crate::core) since: Micros,
}

/// What waits for a commit.
#[derive(Debug, Default)]
pub(in crate::core) struct Transaction {
    pub(in crate::core) publishes: Vec<(Arc<Message>, Routes, bool)>,
    pub(in crate::core) settled: Vec<(Settle, Vec<Unacked>)>,
}

/// What of a publish has come.
#[derive(Debug, Default)]
pub(in crate::core) enum Assembly {
    /// Nothing: a method is next.
    #[default]
    Method,
    /// The method: a content header is next.
    Header(Publish),
    /// The header: its body is next.
    Body(Publish, Box<Incoming>),
}

/// The method.
#[derive(Debug)]
pub(in crate::core) struct Publish {
    pub(in crate::core) exchange: Name,
    pub(in crate::core) routing_key: Name,
    pub(in crate::core) mandatory: bool,
    pub(in crate::core) immediate: bool,
}

impl Channel {
    /// Whether no consumer may be given more, by the prefetch of all of them together.
    pub(in crate::core) fn is_at_global_prefetch(&self) -> bool {
        self.global_prefetch > 0 && self.unacked_by_consumers >= usize::from(self.global_prefetch)
    }
}
