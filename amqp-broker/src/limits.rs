//! The limits that a broker offers and enforces.

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
    pub(crate) max_message_size_is_configured: bool,
}

impl Limits {
    /// RabbitMQ's defaults: 2047 channels, frames of 131,072 bytes, a heartbeat of 60 seconds, and messages of 16 MiB (3.10:
    /// 128 MiB).
    #[must_use]
    pub fn of(version: Emulate) -> Self {
        Self {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            max_message_size: version.max_message_size(),
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

    pub(crate) fn heartbeat_seconds(self) -> u16 {
        self.heartbeat
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Emulate::default())
    }
}
