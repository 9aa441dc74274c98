//! How deliveries are handled.

use std::time::Duration;

use crate::subscription::Settlement;

/// How the deliveries of a subscription are handled: one at a time unless it says otherwise.
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_api::{Handling, OnError};
///
/// let handling = Handling::default().concurrency(10).on_error(OnError::RequeueOnce).stop_timeout(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Handling {
    pub(crate) concurrency: usize,
    on_error: OnError,
    on_panic: OnError,
    pub(crate) stop_timeout: Duration,
}

/// What becomes of a delivery whose handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// It is dead-lettered, if its queue has a dead-letter exchange, or dropped.
    Reject,
    /// It is put back, and comes again at once: with a handler that always fails, for ever and as fast as it can, unless
    /// the queue has a delivery limit.
    Requeue,
    /// It is put back if it has not been delivered before, and rejected otherwise.
    RequeueOnce,
}

impl OnError {
    fn settlement(self, redelivered: bool) -> Settlement {
        match self {
            Self::Requeue => Settlement::Requeue,
            Self::RequeueOnce if !redelivered => Settlement::Requeue,
            Self::Reject | Self::RequeueOnce => Settlement::Reject,
        }
    }
}

impl Default for Handling {
    fn default() -> Self {
        Self {
            concurrency: 1,
            on_error: OnError::Reject,
            on_panic: OnError::Reject,
            stop_timeout: Duration::from_secs(30),
        }
    }
}

impl Handling {
    /// How many deliveries are handled at a time, at least 1. With 1, the default, they are handled in their order. More
    /// than the prefetch are never there: see [`Consume::prefetch`](crate::Consume::prefetch).
    pub fn concurrency(mut self, deliveries: usize) -> Self {
        self.concurrency = deliveries.max(1);
        self
    }

    /// What becomes of a delivery whose handler returned an error. Default: [`OnError::Reject`].
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// What becomes of a delivery whose handler panicked. Default: [`OnError::Reject`].
    pub fn on_panic(mut self, on_panic: OnError) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// How long [`Subscription::stop`](crate::Subscription::stop) waits for the handlers. Default: 30 s.
    pub fn stop_timeout(mut self, time: Duration) -> Self {
        self.stop_timeout = time;
        self
    }

    /// What a handler's word means. `None`: it panicked.
    pub(crate) fn settlement(&self, settlement: Option<Settlement>, redelivered: bool) -> Settlement {
        match settlement {
            None => self.on_panic.settlement(redelivered),
            Some(Settlement::Failed) => self.on_error.settlement(redelivered),
            Some(settlement) => settlement,
        }
    }
}
