//! What the connection says to those above it.

use std::fmt;
use std::time::Duration;

use super::content::{Delivery, Returned};
use super::ids::{BatchId, BodyId, ChannelId, ConfirmId, ConsumerId, RequestId};
use crate::error::Error;

/// Something happened that somebody may be waiting for. Taken by [`poll_event`](super::Connection::poll_event).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done.
    Connected,
    /// This request has its reply. Sent only if `take_reply` was tried before. (A request for room may have lost it again
    /// when `take_reply` is tried, and is told again.)
    Resolved(RequestId),
    /// This publish has its outcome. Sent only if `take_outcome` was tried before.
    Confirmed(ConfirmId),
    /// All messages of this batch have their outcome. Sent only if `take_batch` was tried before.
    BatchConfirmed(BatchId),
    /// This consumer has a delivery, or has ended. Sent only if `next_delivery` answered `Pending` before.
    ConsumerReady(ConsumerId),
    /// This body has more, or has ended. Sent only if `next_chunk` answered `Pending` before.
    BodyReady(BodyId),
    /// A returned message waits on this channel, or the channel has ended. Sent only if `next_return` was tried before.
    Returned(ChannelId),
    /// The channel has ended; `channel_error` says why.
    ChannelClosed(ChannelId),
    /// The broker stopped reading publishes, for this reason.
    Blocked(String),
    /// The broker reads again.
    Unblocked,
    /// The connection was lost, for this reason, and comes back.
    Disconnected(Error),
    /// An attempt to connect begins.
    Reconnecting {
        /// Which it is, since the connection was last open for a while.
        attempt: u32,
    },
    /// An attempt to connect has failed. There will be another one.
    AttemptFailed(Error),
    /// The connection is back, and what belongs to it.
    Recovered,
    /// The broker has chosen another name for a queue whose name is the broker's choice.
    QueueRenamed {
        /// Its name before the loss.
        old: String,
        /// Its name now.
        new: String,
    },
    /// Something that was declared could not be declared again.
    NotRestored {
        /// What: its kind and its name.
        what: String,
        /// Why.
        error: Error,
    },
    /// A consumer was ended by the broker, and consumes again.
    Resubscribed {
        /// The consumer's tag.
        consumer_tag: String,
        /// Why it was ended.
        cause: Error,
    },
    /// Publishes without confirms were lost with the connection before they were written.
    PublishesLost {
        /// How many. Some of those that were being written may have left.
        count: u64,
    },
    /// The connection has ended.
    Closed,
}

/// A reply to a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Done, and there is nothing more to say.
    Done,
    /// `queue.declare-ok`.
    QueueDeclared {
        /// The queue's name, chosen by the broker if none was given.
        queue: String,
        /// Messages ready for delivery.
        message_count: u32,
        /// Active consumers.
        consumer_count: u32,
    },
    /// `queue.purge-ok` and `queue.delete-ok`: how many messages went.
    MessageCount(u32),
    /// `channel.flow-ok`: whether content flows now.
    Flow(bool),
    /// `basic.get-ok` with its message, or `basic.get-empty`.
    Got(Option<Box<Delivery>>),
    /// `basic.consume-ok`.
    Consuming(ConsumerId),
    /// All publishes so far have their outcome; what failed of all that the channel has published.
    Confirmed(Box<Unconfirmed>),
}

/// What became of a confirmed publish: one of these four, and never a guess.
#[derive(Debug, Clone)]
#[must_use = "only an acked message is the broker's"]
pub enum Outcome {
    /// The broker has taken responsibility for the message. A message that was not mandatory is also acked when no
    /// queue took it.
    Acked,
    /// The broker has refused responsibility for the message.
    Nacked,
    /// The message was mandatory and no queue took it: here it is.
    Returned(Box<Returned>),
    /// The channel or the connection went, or the deadline passed, before the broker answered: it may or may not have
    /// the message. The error is the cause.
    Unknown(Error),
}

/// Publishes that were not acked, counted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// The broker refused responsibility for so many.
    pub nacked: u64,
    /// So many were mandatory, and no queue took them.
    pub returned: u64,
    /// Of so many it is not known: the channel or the connection went, or their deadline passed, first.
    pub unknown: u64,
    /// The latest of those that were returned.
    pub last_returned: Option<Box<Returned>>,
    /// Why it is not known of the latest of those.
    pub last_cause: Option<Error>,
}

impl Unconfirmed {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.nacked + self.returned + self.unknown
    }

    /// What is here and was not there `earlier`, when the same publishes were counted.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        let (returned, unknown) = (self.returned - earlier.returned, self.unknown - earlier.unknown);
        Self {
            nacked: self.nacked - earlier.nacked,
            returned,
            unknown,
            last_returned: self.last_returned.filter(|_| returned > 0),
            last_cause: self.last_cause.filter(|_| unknown > 0),
        }
    }

    /// The bare numbers.
    #[must_use]
    pub fn counts(&self) -> Self {
        Self { last_returned: None, last_cause: None, ..*self }
    }
}

impl fmt::Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nacked, returned, unknown, .. } = self;
        write!(
            f,
            "{} publishes were not confirmed: {nacked} nacked, {returned} returned, {unknown} unknown",
            self.count()
        )?;
        if let Some(message) = &self.last_returned {
            write!(f, "; returned last: to {:?} with key {:?}", message.exchange(), message.routing_key())?;
        }
        match &self.last_cause {
            Some(cause) => write!(f, "; unknown because: {cause}"),
            None => Ok(()),
        }
    }
}

/// What became of a batch: all that is not among the failures was acked.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use = "only what was acked is the broker's"]
pub struct BatchOutcome {
    /// How many messages were published.
    pub messages: usize,
    /// Those that were not acked, in their order.
    pub failures: Vec<BatchFailure>,
}

impl BatchOutcome {
    /// Whether the broker has taken responsibility for all messages.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for BatchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.first() {
            None => write!(f, "all {} messages of the batch were acked", self.messages),
            Some(first) => {
                let (failed, BatchFailure { index, error }) = (self.failures.len(), first);
                write!(f, "{failed} of {} messages of the batch failed; first message {index}: {error}", self.messages)
            }
        }
    }
}

/// A message of a batch that was not acked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchFailure {
    /// Which one, from 0.
    pub index: usize,
    /// What became of it: [`ErrorKind::Nacked`](crate::error::ErrorKind::Nacked),
    /// [`ErrorKind::NoRoute`](crate::error::ErrorKind::NoRoute) with the message,
    /// [`ErrorKind::Unknown`](crate::error::ErrorKind::Unknown) with the cause; anything else is why it was not published.
    pub error: Error,
}

impl BatchFailure {
    /// A message that was not published.
    #[must_use]
    pub fn new(index: usize, error: Error) -> Self {
        Self { index, error }
    }
}

/// What a consumer has next.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// A message.
    Delivery(Delivery),
    /// A message that cannot be read, or the reason for which the consumer ends. More may follow.
    Bad(Error),
    /// Nothing yet; `Event::ConsumerReady` will come.
    Pending,
    /// There will be nothing more.
    Ended,
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// The highest channel number, at least 1.
    pub channel_max: u16,
    /// The largest frame in bytes, its 8 bytes of envelope included; 0 if neither side has a limit.
    pub frame_max: u32,
    /// The heartbeat interval, if there are heartbeats.
    pub heartbeat: Option<Duration>,
}
