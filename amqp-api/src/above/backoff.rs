//! Pauses between attempts.

use std::time::Duration;

use crate::driver::Runtime;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// How many attempts in a row have failed.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// What an attempt has made went well for so long: if that was longer than any pause, what comes is a new matter.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time > LONGEST {
            *self = Self::default();
        }
    }

    /// How long the next pause is, at most: each is twice as long as the one before, up to the longest.
    fn limit(&mut self) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        limit
    }

    /// Waits for somewhere between half the time and all of it, so that many who failed together do not try again together.
    pub(super) async fn pause(&mut self, runtime: &dyn Runtime) {
        let limit = self.limit();
        // Of a random number the lower 10 bits.
        let part = u32::try_from(runtime.seed() & 1023).unwrap_or_default();
        let time = limit / 2 + limit * part / 2048;
        if let Some(then) = runtime.now().checked_add(time) {
            runtime.sleep_until(then).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let limits: Vec<_> = (0..9).map(|_| backoff.limit().as_millis()).collect();
        assert_eq!(limits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        for _ in 0..100 {
            assert_eq!(backoff.limit(), LONGEST);
        }
    }
}
