//! Heartbeats: when one is due, and when the peer's silence has lasted too long.

use std::time::{Duration, Instant};

/// The heartbeats of an open connection (0-9-1 §4.2.7).
///
/// One is sent when nothing else was for half the interval; the peer is given up when nothing came for two intervals.
/// Both count from what really was written and read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heartbeats {
    interval: Duration,
    last_sent: Instant,
    last_received: Instant,
    /// Reading is paused by us: the peer cannot be blamed for silence then.
    paused: bool,
}

impl Heartbeats {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, last_sent: now, last_received: now, paused: false }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(super) fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Reading pauses or goes on; the receive deadline is suspended meanwhile.
    pub(super) fn pause(&mut self, paused: bool, now: Instant) {
        if self.paused && !paused {
            self.last_received = now;
        }
        self.paused = paused;
    }

    pub(super) fn send_at(&self) -> Instant {
        self.last_sent + self.interval / 2
    }

    pub(super) fn give_up_at(&self) -> Option<Instant> {
        (!self.paused).then(|| self.last_received + self.interval * 2)
    }

    pub(super) fn next(&self) -> Instant {
        self.give_up_at().map_or(self.send_at(), |give_up| give_up.min(self.send_at()))
    }
}
