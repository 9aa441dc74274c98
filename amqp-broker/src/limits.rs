//! The limits that a broker offers and enforces.

use std::time::Duration;

use crate::Emulate;

/// What the broker offers in `connection.tune`, and the largest message it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most channels of a connection; 0 is no limit.
    pub channel_max: u16,
    /// The largest frame in bytes; 0 is no limit.
    pub frame_max: u32,
    /// The heartbeat in seconds; 0 is none.
    pub heartbeat: u16,
    /// The largest message, in bytes of its body.
    pub max_message_size: usize,
    /// How long a delivery may be unsettled before its channel is closed, or, since 4.3 and for quorum queues only, its consumer
    /// is cancelled.
    pub consumer_timeout: Duration,
    pub(crate) max_message_size_is_configured: bool,
}

impl Limits {
    /// RabbitMQ's defaults: 2047 channels, frames of 131,072 bytes, a heartbeat of 60 seconds, messages of 16 MiB (3.10:
    /// 128 MiB), and half an hour for an ack.
    #[must_use]
    pub fn of(version: Emulate) -> Self {
        Self {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            max_message_size: version.max_message_size(),
            consumer_timeout: Duration::from_secs(30 * 60),
            max_message_size_is_configured: false,
        }
    }

    /// With another limit on messages.
    #[must_use]
    pub fn with_max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self.max_message_size_is_configured = true;
        self
    }

    /// With another time for acks.
    #[must_use]
    pub fn with_consumer_timeout(mut self, timeout: Duration) -> Self {
        self.consumer_timeout = timeout;
        self
    }

    pub(crate) fn heartbeat_seconds(self) -> u16 {
        self.heartbeat
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Emulate::default())
    }
}
