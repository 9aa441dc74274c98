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

use std::collections::VecDeque;

use super::content::Delivery;
use super::ids::ChannelId;
use crate::error::Error;

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) generation: u32,
    pub(super) channel: ChannelId,
    pub(super) tag: Box<str>,
    pub(super) no_ack: bool,
    /// Nothing but this client's memory bounds what the broker sends.
    pub(super) unbounded: bool,
    pub(super) state: ConsumerState,
    /// The owner has gone.
    pub(super) released: bool,
    /// Somebody waits for the next delivery.
    pub(super) watched: bool,
    pub(super) queue: VecDeque<Item>,
    /// Bytes in `queue`, counted where it is unbounded.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) enum Item {
    Delivery(Delivery),
    Bad(Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsumerState {
    Starting,
    Active,
    Cancelling,
    Ended,
}

/// What a delivery costs beyond its bytes, roughly.
const OVERHEAD: usize = 160;

impl Consumer {
    pub(super) fn new(generation: u32, channel: ChannelId, tag: &str, no_ack: bool, prefetch: u16) -> Self {
        Self {
            generation,
            channel,
            tag: tag.into(),
            no_ack,
            unbounded: no_ack || prefetch == 0,
            state: ConsumerState::Starting,
            released: false,
            watched: false,
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Puts a delivery, or the word on one that cannot be read, into the queue; returns by how many counted bytes it
    /// grew.
    #[inline]
    pub(super) fn push(&mut self, item: Item) -> usize {
        let grown = if self.unbounded { item.cost() } else { 0 };
        self.bytes += grown;
        self.queue.push_back(item);
        grown
    }

    /// Counts no longer; returns how many bytes were counted.
    pub(super) fn stop_counting(&mut self) -> usize {
        self.unbounded = false;
        std::mem::take(&mut self.bytes)
    }

    /// Takes the next; with how many counted bytes went.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Item, usize)> {
        let item = self.queue.pop_front()?;
        let shrunk = if self.unbounded { item.cost() } else { 0 };
        self.bytes -= shrunk;
        Some((item, shrunk))
    }
}

impl Item {
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Delivery(delivery) => OVERHEAD + delivery.body().len(),
            Self::Bad(_) => OVERHEAD,
        }
    }
}
