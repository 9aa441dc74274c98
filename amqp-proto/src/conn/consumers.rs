//! Consumers and the deliveries that wait in them.
//!
//! ```text
//!              consume-ok            cancel                  cancel-ok
//!   Starting ─────────────► Active ───────────► Cancelling ─────────────► Ended
//!      │                       │ basic.cancel by the broker, end of the channel  ▲
//!      └───────────────────────┴──────────────────────────────────────────────────┘
//! ```
//!
//! A queue is kept here as data; whoever reads it is told by an event. With manual acks the prefetch bounds it. Without
//! acks, or with prefetch 0, bytes are counted and the connection stops reading at its limit. A consumer whose owner
//! has gone requeues what it had buffered and what still comes.
//!
//! What comes for a consumer that has ended is no fault of the broker's: cancel-ok may overtake deliveries, and RabbitMQ
//! 4.3 may deliver after it has cancelled a consumer that acked too late. Its tag is remembered for a while ([`Ended`]).
//!
//! A consumer may be subscribed anew, with another prefetch (`prefetch.rs`): its tag changes, and its queue stays.

use std::collections::VecDeque;

use super::content::Delivery;
use super::ids::{ChannelId, ConsumerId, RequestId};
use crate::error::{Error, ErrorKind};
use crate::wire::{EncodeError, FieldTable, ValueRef};

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) generation: u32,
    pub(super) channel: ChannelId,
    /// What it is called at the broker now.
    pub(super) tag: Box<str>,
    pub(super) subscription: Box<Subscription>,
    pub(super) no_ack: bool,
    /// Deliveries are handed out when their headers have come (`streamed`).
    pub(super) streamed: bool,
    /// How many unsettled deliveries the broker sends, 0 for any number.
    pub(super) prefetch: u16,
    /// Nothing but this client's memory bounds what the broker sends.
    pub(super) unbounded: bool,
    pub(super) state: ConsumerState,
    /// Consume-ok came, and its id was handed out.
    pub(super) started: bool,
    /// The owner has gone.
    pub(super) released: bool,
    /// Somebody waits for the next delivery.
    pub(super) watched: bool,
    pub(super) queue: VecDeque<Item>,
    /// Bytes in `queue`, where it is unbounded.
    bytes: usize,
    /// They count among those that pause reading: until it is being cancelled. Its end must be read, and what is on
    /// its way till then is not lost.
    counted: bool,
    /// Whether its queue is a stream, and where it stands in it.
    pub(super) stream: Stream,
    /// The answer to its present subscription is to come. It must not be cancelled before: RabbitMQ 3.10 to 4.0 crash the
    /// channel, and with it the connection, if they meet a cancel between a consume and its answer.
    pub(super) awaits_ok: bool,
    /// Who wants it cancelled as soon as that can be.
    pub(super) cancels: Vec<Option<RequestId>>,
    /// A change of its prefetch that has not been asked for yet.
    pub(super) resuming: Option<Resuming>,
}

/// What it takes to consume again.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The queue, as it was named.
    pub(super) queue: Box<[u8]>,
    /// The tag that it began with.
    pub(super) name: Box<str>,
    pub(super) no_local: bool,
    pub(super) exclusive: bool,
    pub(super) arguments: FieldTable,
}

/// A change of prefetch that is to come.
#[derive(Debug)]
pub(super) struct Resuming {
    pub(super) prefetch: u16,
    /// Who waits for it.
    pub(super) request: RequestId,
}

/// Whether a queue is a stream: its arguments may say so, or its first delivery does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Unknown,
    No,
    /// With the offset of the last delivery.
    Yes(Option<u64>),
}

/// The argument and the header by which a stream is read from an offset.
pub(super) const STREAM_OFFSET: &str = "x-stream-offset";

#[derive(Debug)]
pub(super) enum Item {
    Delivery(Delivery),
    Bad(Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsumerState {
    Starting,
    Active,
    /// Its connection was lost, or the broker has ended it, and it will consume again.
    Suspended,
    Cancelling,
    Ended,
}

/// Whom a delivery is for, and what becomes of it if the consumer is gone when it is complete: without acks it is
/// dropped, otherwise requeued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipient {
    pub(super) id: ConsumerId,
    pub(super) no_ack: bool,
}

/// The tags of consumers of a channel that have ended, the latest last.
#[derive(Debug, Default)]
pub(super) struct Ended(VecDeque<(Box<str>, Recipient)>);

/// How many ended consumers a channel remembers.
const REMEMBERED: usize = 256;

impl Ended {
    pub(super) fn remember(&mut self, tag: Box<str>, recipient: Recipient) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((tag, recipient));
    }

    /// The latest consumer of this tag that has ended.
    pub(super) fn find(&self, tag: &[u8]) -> Option<Recipient> {
        self.0.iter().rev().find(|(ended, _)| ended.as_bytes() == tag).map(|(_, recipient)| *recipient)
    }
}

/// What a message costs beyond its bytes, roughly.
pub(super) const OVERHEAD: usize = 160;

impl Consumer {
    pub(super) fn new(
        generation: u32,
        channel: ChannelId,
        subscription: Box<Subscription>,
        no_ack: bool,
        prefetch: u16,
    ) -> Self {
        let stream = match (no_ack, subscription.arguments.contains_key(STREAM_OFFSET)) {
            // A stream has to be consumed with acks.
            (true, _) => Stream::No,
            (false, true) => Stream::Yes(None),
            (false, false) => Stream::Unknown,
        };
        Self {
            generation,
            channel,
            tag: subscription.name.clone(),
            subscription,
            no_ack,
            streamed: false,
            prefetch,
            unbounded: no_ack || prefetch == 0,
            state: ConsumerState::Starting,
            started: false,
            released: false,
            watched: false,
            queue: VecDeque::new(),
            bytes: 0,
            counted: true,
            stream,
            awaits_ok: true,
            cancels: Vec::new(),
            resuming: None,
        }
    }

    /// Forgets the deliveries that have to be settled: they are void, and come again. At a stream they do where it begins
    /// again, which is before the first of them. Returns how many counted bytes went.
    pub(super) fn rewind(&mut self) -> usize {
        if self.no_ack {
            return 0;
        }
        let first = self.queue.iter().find_map(|item| match item {
            Item::Delivery(delivery) => stream_offset(delivery),
            Item::Bad(_) => None,
        });
        if let (Stream::Yes(_), Some(first)) = (self.stream, first) {
            self.stream = Stream::Yes(first.checked_sub(1));
        }
        self.forget_deliveries()
    }

    /// The arguments with which it consumes again: at a stream from behind the last delivery.
    pub(super) fn arguments_to_go_on(&self) -> Result<FieldTable, EncodeError> {
        let mut arguments = self.subscription.arguments.clone();
        if let Stream::Yes(Some(last)) = self.stream {
            arguments.remove(STREAM_OFFSET);
            arguments.insert(STREAM_OFFSET, i64::try_from(last).unwrap_or(i64::MAX).saturating_add(1))?;
        }
        Ok(arguments)
    }

    /// Takes note of where it stands, if its queue is a stream.
    #[cold]
    pub(super) fn note_offset(&mut self, delivery: &Delivery) {
        match stream_offset(delivery) {
            Some(offset) => self.stream = Stream::Yes(Some(offset)),
            None if self.stream == Stream::Unknown => self.stream = Stream::No,
            None => {}
        }
    }

    /// Its prefetch holds from now on; returns by how many counted bytes its queue grew and shrank by that.
    pub(super) fn apply_prefetch(&mut self) -> (usize, usize) {
        self.unbounded = self.no_ack || self.prefetch == 0;
        let bytes = if self.unbounded { self.queue.iter().map(Item::cost).sum() } else { 0 };
        let before = std::mem::replace(&mut self.bytes, bytes);
        (self.if_counted(bytes), self.if_counted(before))
    }

    /// Puts a delivery, or the word on one that cannot be read, into the queue; returns by how many counted bytes it
    /// grew.
    #[inline]
    pub(super) fn push(&mut self, item: Item) -> usize {
        let grown = if self.unbounded { item.cost() } else { 0 };
        self.bytes += grown;
        self.queue.push_back(item);
        self.if_counted(grown)
    }

    /// How many counted bytes will go with the next item, which is to be taken then. (They are made out while it still
    /// stands in the queue: it is not moved once more.)
    #[inline]
    pub(super) fn uncount_next(&mut self) -> usize {
        let shrunk = if self.unbounded { self.queue.front().map_or(0, Item::cost) } else { 0 };
        self.bytes -= shrunk;
        self.if_counted(shrunk)
    }

    /// Takes all that is there; with how many counted bytes went.
    pub(super) fn take_all(&mut self) -> (VecDeque<Item>, usize) {
        let bytes = std::mem::take(&mut self.bytes);
        (std::mem::take(&mut self.queue), self.if_counted(bytes))
    }

    /// Forgets the deliveries, which the broker has requeued, and keeps the word on why it ends; returns how many
    /// counted bytes went.
    pub(super) fn forget_deliveries(&mut self) -> usize {
        self.queue.retain(Item::is_last_word);
        let left = if self.unbounded { self.queue.iter().map(Item::cost).sum() } else { 0 };
        let freed = std::mem::replace(&mut self.bytes, left) - left;
        self.if_counted(freed)
    }

    /// What is in the queue pauses reading no more; returns how many counted bytes that were.
    pub(super) fn stop_counting(&mut self) -> usize {
        let freed = self.if_counted(self.bytes);
        self.counted = false;
        freed
    }

    /// Whether somebody will read what comes now. Not where reading does not pause any more, and there is twice as much
    /// as would have paused it, or it may be very large and can be put back.
    #[inline]
    pub(super) fn takes_more(&self, closing: bool, limit: usize) -> bool {
        let flooded =
            (closing || !self.counted) && (self.bytes >= limit.saturating_mul(2) || (self.streamed && !self.no_ack));
        !self.released && self.state != ConsumerState::Ended && !flooded
    }

    /// Whether it is this consumer, and its deliveries are handed out when their headers have come.
    pub(super) fn streams_to(&self, id: ConsumerId) -> bool {
        self.streamed && self.generation == id.generation
    }

    #[inline]
    fn if_counted(&self, bytes: usize) -> usize {
        if self.counted { bytes } else { 0 }
    }
}

fn stream_offset(delivery: &Delivery) -> Option<u64> {
    let headers = delivery.properties().ok()?.headers?;
    headers.get(STREAM_OFFSET).and_then(offset)
}

fn offset(value: ValueRef<'_>) -> Option<u64> {
    match value {
        ValueRef::I64(offset) => u64::try_from(offset).ok(),
        _ => None,
    }
}

impl Item {
    #[inline]
    fn cost(&self) -> usize {
        match self {
            Self::Delivery(delivery) => OVERHEAD + delivery.weight(),
            Self::Bad(_) => OVERHEAD,
        }
    }

    /// Whether it says why the consumer ends.
    fn is_last_word(&self) -> bool {
        match self {
            Self::Delivery(_) => false,
            Self::Bad(error) => !matches!(error.kind(), ErrorKind::BadDelivery { .. }),
        }
    }
}
