//! Direct reply-to: answers that go to a channel without a queue.

use super::name::Name;

/// What a consumer asks for, and what a request has in its `reply_to`.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The start of the name that the broker puts in its place.
const PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";

/// How the names begin that this broker makes.
pub(super) const OUR_PREFIX: &str = "amq.rabbitmq.reply-to.g2dkABByYWJiaXRAbG9jYWxob3N0";

/// A channel's consumer of direct replies.
#[derive(Debug, Clone)]
pub(super) struct ReplyConsumer {
    pub(super) tag: Name,
    /// The name that requests carry.
    pub(super) queue: Name,
}

/// Whether this broker can have made this name, lately or long ago.
pub(super) fn is_well_formed(name: &[u8]) -> bool {
    const RANDOM: usize = 23;
    name.starts_with(OUR_PREFIX.as_bytes()) && name.len() == OUR_PREFIX.len() + RANDOM
}

/// Whether this is the name of a channel's own reply queue, or was made like one.
pub(super) fn is_reply_queue(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}
