//! The names by which handles know what belongs to them: dense indices, never wire numbers.

/// A channel of a connection. It stays valid, and stays this channel, until
/// [`release_channel`](super::Connection::release_channel); the number on the wire may be reused before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ChannelId {
    /// A small number, unique among the living channels: an index for a table of one's own.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A request that is waiting for its reply. Its owner ends it by
/// [`take_reply`](super::Connection::take_reply) or [`abandon_request`](super::Connection::abandon_request).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl RequestId {
    /// A small number, unique among the living requests.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A confirmed publish whose outcome somebody waits for. It has no generation, as it is made for every publish: once it
/// is ended it must not be used again. Its owner ends it by
/// [`take_outcome`](super::Connection::take_outcome) or [`abandon_confirm`](super::Connection::abandon_confirm).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfirmId {
    pub(super) index: u32,
}

impl ConfirmId {
    /// A small number, unique among the living confirms.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A batch of publishes with one outcome for all. Once it is ended it must not be used again. Its owner ends it by
/// [`take_batch`](super::Connection::take_batch) or [`abandon_batch`](super::Connection::abandon_batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    pub(super) index: u32,
}

impl BatchId {
    /// A small number, unique among the living batches.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A consumer. Its owner ends it by [`release_consumer`](super::Connection::release_consumer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConsumerId {
    /// A small number, unique among the living consumers.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// The body of a delivery that is read while it comes in. Its owner ends it by
/// [`release_body`](super::Connection::release_body).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl BodyId {
    /// A small number, unique among the living bodies.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// The tag of one delivery: the broker's number together with the channel, and the epoch of the channel, in which it
/// is valid. A tag of an earlier epoch is never sent: it would settle another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag {
    pub(super) value: u64,
    pub(super) channel: ChannelId,
    pub(super) epoch: u32,
}

impl DeliveryTag {
    /// The number on the wire, from 1 up in each channel.
    #[must_use]
    pub fn value(self) -> u64 {
        self.value
    }

    /// The channel that the delivery came on.
    #[must_use]
    pub fn channel(self) -> ChannelId {
        self.channel
    }
}
