//! One sleep, set again as seldom as can be.

use std::task::Context;
use std::time::Instant;

use super::{BoxFuture, Runtime};

/// Waits for a deadline that moves all the time, mostly away.
///
/// A sleep that ends early does no harm: the clock decides whether the deadline has come. So the old one stays unless
/// the deadline has moved to before it, and a busy connection sets a timer a few times a minute, not for every call.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<(Instant, BoxFuture<()>)>,
}

impl Timer {
    /// Whether the deadline has come; if not, the task is woken when it has.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, runtime: &dyn Runtime, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return false };
        loop {
            let sleep = match &mut self.sleep {
                Some((ends, sleep)) if *ends <= deadline => sleep,
                _ => &mut self.sleep.insert((deadline, runtime.sleep_until(deadline))).1,
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.sleep = None;
            if runtime.now() >= deadline {
                return true;
            }
        }
    }
}
