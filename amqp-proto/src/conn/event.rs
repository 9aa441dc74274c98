//! What the connection says to those above it.

use std::time::Duration;

use super::content::{Delivery, Returned};
use super::ids::{ChannelId, ConfirmId, ConsumerId, RequestId};
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
    /// This consumer has a delivery, or has ended. Sent only if `next_delivery` answered `Pending` before.
    ConsumerReady(ConsumerId),
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
