//! Direct reply-to: answers that go to a channel without a queue.

use super::name::Name;

/// What a consumer asks for, and what a request has in its `reply_to`.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The start of the name that the broker puts in its place.
const PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";

/// A channel's consumer of direct replies.
#[derive(Debug, Clone)]
pub(super) struct ReplyConsumer {
    pub(super) tag: Name,
    /// The name that requests carry.
    pub(super) queue: Name,
}

/// Whether this is the name of a channel's own reply queue, or was made like one.
pub(super) fn is_reply_queue(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}
