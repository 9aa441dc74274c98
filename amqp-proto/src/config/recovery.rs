//! How a connection comes back after it was lost.

use std::time::Duration;

/// How a connection comes back after it was lost: see [`Config::recovery`](super::Config#structfield.recovery). It does by
/// default; [`Config::no_recovery`](super::Config::no_recovery) is the way out.
///
/// The delays before the attempts are drawn at random from a step that doubles from the first to the longest, so that many
/// clients that lost the same broker do not come back all at once. The steps begin anew when a connection has lasted for as
/// long as the longest of them.
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_proto::config::{Config, Recovery};
///
/// let recovery = Recovery::default().max_delay(Duration::from_secs(5)).max_attempts(100);
/// let config = Config::new("broker").recovery(recovery);
/// assert_eq!(config.recovery.unwrap().first_delay, Duration::from_millis(500));
///
/// assert_eq!(Config::new("broker").recovery, Some(Recovery::default()));
/// assert_eq!(Config::new("broker").no_recovery().recovery, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The step from which the delay before the first attempt is drawn. Default: 500 ms.
    pub first_delay: Duration,
    /// The longest step. Default: 30 s.
    pub max_delay: Duration,
    /// How many attempts in a row may fail before the connection has ended; `None`, the default, is no bound.
    pub max_attempts: Option<u32>,
    /// Whether the first connection is tried again and again as well. Default: false, so that a wrong address shows at
    /// once.
    pub retry_first_connect: bool,
    /// Whether the exchanges, queues and bindings that were declared over the connection are declared again. Default: true.
    pub topology: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            max_attempts: None,
            retry_first_connect: false,
            topology: true,
        }
    }
}

impl Recovery {
    /// Sets [`first_delay`](Self#structfield.first_delay).
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets [`max_delay`](Self#structfield.max_delay).
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets [`max_attempts`](Self#structfield.max_attempts).
    #[must_use]
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into();
        self
    }

    /// Sets [`retry_first_connect`](Self#structfield.retry_first_connect).
    #[must_use]
    pub fn retry_first_connect(mut self, retry: bool) -> Self {
        self.retry_first_connect = retry;
        self
    }

    /// Sets [`topology`](Self#structfield.topology).
    #[must_use]
    pub fn topology(mut self, topology: bool) -> Self {
        self.topology = topology;
        self
    }
}
