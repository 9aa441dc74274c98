//! What outlives a transport: whether a lost connection comes back, and when.
//!
//! ```text
//!            lose                back-off is over          restart
//!   Open ──────────► Lost ──────────────────────► Dialing ─────────► AwaitStart … AwaitOpenOk
//!    ▲ ▲              ▲  ▲     dialling failed      │                          │
//!    │ │              │  └──────────────────────────┘   lost                   │ open-ok
//!    │ │              ├───────────────────────────◄───────────────────┬────────┤
//!    │ │              │                                               │        ▼
//!    │ └── restored ──┼───────────────────────────────────────── Restoring ◄ Hooks
//!    └──── the first time, without hooks ──────────────────────────────────────┘
//! ```
//!
//! | file | job |
//! |---|---|
//! | `recovering` | the decisions: what is final, how long to wait |
//! | `lose` | what the loss means to everybody who waits, and to every channel and consumer |
//! | `held` | what a channel is asked for meanwhile |
//! | `record` | the record of what was declared |
//! | `restart` | the next transport, the handshake on it, and the hooks |
//! | `restoring` | declaring again what was declared |
//! | `reopen` | channels with their settings and consumers |
//! | `retained` | messages that are sent again |
//! | `resubscribe` | consumers that the broker has ended |

use std::time::{Duration, Instant};

use super::resubscribe::Repairs;
use super::{ChannelId, Connection};
use crate::config::Recovery;
use crate::error::{Error, ErrorKind, Origin};
use crate::method::reply_code::ReplyCode;
use crate::recovery::{BackOff, Restore, Topology};

/// The state of a connection that may come back.
#[derive(Debug)]
pub(super) struct Recovering {
    /// It ends for good with the next loss.
    pub(super) stopped: bool,
    /// Why it was lost, until it is restored.
    pub(super) cause: Option<Error>,
    /// How many attempts there were since it was last open for a while.
    pub(super) attempts: u32,
    /// How many times in a row the credentials were refused.
    refusals: u32,
    back_off: BackOff,
    /// The connection has lasted: the next loss is a new one.
    pub(super) calm: Timer,
    /// Between the tries of what was refused for now.
    delays: BackOff,
    /// What was refused for now has its next try.
    pub(super) later: Timer,
    pub(super) topology: Topology,
    /// The restoring of the topology, as far as it has come.
    pub(super) restore: Option<Restore>,
    /// The channel on which that is done.
    pub(super) channel: Option<ChannelId>,
    /// Consumers that the broker has ended.
    pub(super) repairs: Repairs,
}

/// A deadline whose time begins with the driver's next turn.
#[derive(Debug, Default)]
pub(super) struct Timer {
    wanted: Option<Duration>,
    at: Option<Instant>,
}

impl Timer {
    pub(super) fn set(&mut self, delay: Duration) {
        *self = Self { wanted: Some(delay), at: None };
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_set(&self) -> bool {
        self.wanted.is_some() || self.at.is_some()
    }

    pub(super) fn arm(&mut self, now: Instant) {
        if let Some(delay) = self.wanted.take() {
            self.at = now.checked_add(delay);
        }
    }

    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether its time has come; it is not set any more then.
    pub(super) fn fires(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }
}

impl Recovering {
    pub(super) fn new(config: &Recovery, seed: u64) -> Self {
        Self {
            stopped: false,
            cause: None,
            attempts: 0,
            refusals: 0,
            back_off: BackOff::new(config.first_delay, config.max_delay, seed),
            calm: Timer::default(),
            delays: BackOff::new(config.first_delay, config.max_delay, seed.rotate_left(32)),
            later: Timer::default(),
            topology: Topology::default(),
            restore: None,
            channel: None,
            repairs: Repairs::default(),
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.calm.clear();
        self.later.clear();
        self.delays.reset();
        self.back_off.next_delay()
    }

    /// Something was refused that may be granted later: there will be another try.
    pub(super) fn try_later(&mut self) {
        if !self.later.is_set() {
            self.later.set(self.delays.next_delay());
        }
    }

    /// It is all there again.
    pub(super) fn restored(&mut self, lasts: Duration) {
        self.cause = None;
        self.refusals = 0;
        self.calm.set(lasts);
    }

    /// It has lasted.
    pub(super) fn is_calm(&mut self) {
        self.attempts = 0;
        self.back_off.reset();
    }

    /// Whether it is worth another attempt. `in_handshake`: the broker has not let it in.
    fn is_worthwhile(&mut self, config: &Recovery, cause: &Error, in_handshake: bool) -> bool {
        if config.max_attempts.is_some_and(|most| self.attempts >= most) {
            return false;
        }
        match cause.kind() {
            ErrorKind::AuthenticationFailed(_) => {
                self.refusals += 1;
                self.refusals < 2
            }
            ErrorKind::ConnectionClosed(reason) if in_handshake && reason.code == ReplyCode::NOT_ALLOWED => {
                // A missing virtual host is not going to appear, but limits and restarts of virtual hosts pass.
                reason.text.contains("limit") || reason.text.contains("is down")
            }
            _ => true,
        }
    }
}

impl Connection {
    /// Whether the connection comes back after this.
    pub(super) fn recovers(&mut self, cause: &Error) -> bool {
        let in_handshake = self.phase.is_handshake();
        let is_ours = self.is_closing() || !self.was_open;
        let (Some(config), Some(recovering)) = (&self.config.recovery, &mut self.recovering) else { return false };
        !is_ours && !recovering.stopped && recovering.is_worthwhile(config, cause, in_handshake)
    }

    /// Whether dialling that failed in this way is worth another attempt.
    pub(super) fn is_final_dial_error(error: &Error) -> bool {
        let passes = error.origin() == Origin::Network || error.is_retryable();
        // Where credentials come from may be down as well.
        !passes && !matches!(error.kind(), ErrorKind::Credentials(_))
    }

    /// Forgets what was declared: it is somebody else's from now on, and will not be declared again.
    pub fn forget_topology(&mut self) {
        if let Some(recovering) = &mut self.recovering {
            recovering.topology = Topology::default();
        }
    }

    /// With the next loss it has ended.
    pub(super) fn stop_recovering(&mut self) {
        if let Some(recovering) = &mut self.recovering {
            recovering.stopped = true;
        }
    }

    /// Whether it is on its way back, so that work that is asked for waits.
    #[cold]
    pub(super) fn is_coming_back(&self) -> bool {
        !self.is_closing()
            && !self.is_finished()
            && self.was_open
            && self.recovering.as_ref().is_some_and(|recovering| recovering.cause.is_some())
    }

    /// Whether something that was refused will be tried again.
    pub(super) fn tries_later(&self) -> bool {
        self.recovering.as_ref().is_some_and(|recovering| recovering.later.is_set())
    }

    /// Why it was lost, if it is not back yet.
    pub(super) fn lost_by_cause(&self) -> Option<&Error> {
        self.recovering.as_ref()?.cause.as_ref()
    }

    /// The deadlines of recovery.
    pub(super) fn recovery_deadline(&self) -> Option<Instant> {
        let recovering = self.recovering.as_ref()?;
        [recovering.calm.at(), recovering.later.at()].into_iter().flatten().min()
    }

    pub(super) fn arm_recovery(&mut self, now: Instant) {
        if let Some(recovering) = &mut self.recovering {
            recovering.calm.arm(now);
            recovering.later.arm(now);
        }
    }

    pub(super) fn expire_recovery(&mut self, now: Instant) {
        let Some(recovering) = &mut self.recovering else { return };
        if recovering.calm.fires(now) {
            recovering.is_calm();
        }
        if recovering.later.fires(now) {
            self.try_refused_again();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CloseReason;

    fn closed(code: ReplyCode, text: &str) -> Error {
        Error::new(ErrorKind::ConnectionClosed(CloseReason::new(code, text, 10, 40)))
    }

    #[test]
    fn f43_a_missing_virtual_host_is_final_and_a_limit_is_not() {
        let config = Recovery::default();
        let mut recovering = Recovering::new(&config, 1);
        let missing = closed(ReplyCode::NOT_ALLOWED, "NOT_ALLOWED - vhost lost not found");
        assert!(!recovering.is_worthwhile(&config, &missing, true));
        assert!(recovering.is_worthwhile(&config, &missing, false), "that was not in the handshake");
        for text in ["NOT_ALLOWED - access to vhost '/' refused: connection limit (3) is reached", "vhost '/' is down"]
        {
            assert!(recovering.is_worthwhile(&config, &closed(ReplyCode::NOT_ALLOWED, text), true), "{text}");
        }
    }

    #[test]
    fn f43_attempts_may_be_bounded() {
        let config = Recovery::default().max_attempts(3);
        let mut recovering = Recovering::new(&config, 1);
        let cause = closed(ReplyCode::CONNECTION_FORCED, "CONNECTION_FORCED");
        recovering.attempts = 2;
        assert!(recovering.is_worthwhile(&config, &cause, false));
        recovering.attempts = 3;
        assert!(!recovering.is_worthwhile(&config, &cause, false));
        recovering.is_calm();
        assert!(recovering.is_worthwhile(&config, &cause, false));
    }
}
