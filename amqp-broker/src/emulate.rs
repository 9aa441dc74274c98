//! Which RabbitMQ the broker behaves like, and what differs between them.

/// A version of RabbitMQ to behave like. [`V4_3`](Self::V4_3) is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Emulate {
    /// RabbitMQ 3.10, as Debian 12 has it.
    V3_10,
    /// RabbitMQ 4.0, as Debian 13 has it.
    V4_0,
    /// RabbitMQ 4.3.
    #[default]
    V4_3,
}

impl Emulate {
    /// What the server property `version` says, such as `4.3.6`.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V3_10 => "3.10.8",
            Self::V4_0 => "4.0.5",
            Self::V4_3 => "4.3.6",
        }
    }

    /// The protocol header that it answers to one that is not AMQP 0-9.
    pub(crate) const fn answer_to_strangers(self) -> [u8; 8] {
        match self {
            Self::V3_10 => *b"AMQP\x00\x00\x09\x01",
            _ => *b"AMQP\x03\x01\x00\x00",
        }
    }

    /// The largest message it takes by default, in bytes.
    pub(crate) const fn max_message_size(self) -> usize {
        match self {
            Self::V3_10 => 128 << 20,
            _ => 16 << 20,
        }
    }

    /// The least frame limit that a client may ask for.
    pub(crate) const fn frame_min(self) -> u32 {
        match self {
            Self::V4_3 => 8192,
            _ => 4096,
        }
    }

    /// Whether properties are decoded and encoded again: headers sorted, those of a key that was there dropped.
    pub(crate) fn sorts_headers(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether every queue has the argument `x-queue-type`, given or not.
    pub(crate) fn adds_queue_type(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether a prefetch for the whole channel is taken for that of each consumer.
    pub(crate) fn ignores_global_prefetch(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether `x-queue-mode` still means something.
    pub(crate) fn knows_queue_mode(self) -> bool {
        self < Self::V4_3
    }

    /// Whether an unknown type of exchange closes the channel only.
    pub(crate) fn unknown_exchange_type_is_soft(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether a body that does not fit its header is a frame error, not an unexpected frame.
    pub(crate) fn checks_body_size(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether `basic.nack` with requeue leaves the delivery count of quorum queues alone, and `x-acquired-count` is
    /// told.
    pub(crate) fn tells_acquired_count(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether there are the headers `x-last-death-*`.
    pub(crate) fn tells_last_death(self) -> bool {
        self >= Self::V4_0
    }

    /// The delivery limit of quorum queues that have none of their own.
    pub(crate) fn default_delivery_limit(self) -> Option<u32> {
        (self >= Self::V4_0).then_some(20)
    }

    /// Whether direct replies go to something like a queue, which takes them even when their reader has gone.
    pub(crate) fn routes_direct_replies(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether streams know filters: older versions let the arguments pass, and deliver everything.
    pub(crate) fn filters_streams(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether a stream takes the dead letters of queues that do not insist on it.
    pub(crate) fn dead_letters_reach_streams(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether quorum queues, and no others, look after acks that do not come.
    pub(crate) fn queues_time_acks(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether a queue may say how long an ack may take.
    pub(crate) fn knows_consumer_timeout(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether purging a quorum queue drops and counts its dead letters, too.
    pub(crate) fn purges_dead_letters(self) -> bool {
        self >= Self::V4_3
    }

    /// Whether `basic.nack` and `basic.reject` work on streams.
    pub(crate) fn streams_take_nacks(self) -> bool {
        self >= Self::V4_0
    }

    /// Whether the `user_id` of a message is looked at before its `expiration`.
    pub(crate) fn asks_for_the_user_first(self) -> bool {
        self < Self::V4_0
    }
}
