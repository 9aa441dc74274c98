//! So many calls per period.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Lets at most so many calls begin in any stretch of time of this length.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    max_calls: usize,
    period: Duration,
    /// When the latest calls began, the oldest first.
    begun: VecDeque<Instant>,
}

impl Rate {
    pub(super) fn new(max_calls: u32, period: Duration) -> Self {
        let max_calls = usize::try_from(max_calls).unwrap_or(usize::MAX).max(1);
        Self { max_calls, period, begun: VecDeque::new() }
    }

    /// When the next call may begin, if not now.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        let oldest = *self.begun.iter().rev().nth(self.max_calls - 1)?;
        oldest.checked_add(self.period).filter(|then| *then > now)
    }

    /// A call begins.
    pub(super) fn begin(&mut self, now: Instant) {
        while self.begun.len() >= self.max_calls {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_no_stretch_of_a_period_has_more_calls_than_that() {
        type Clock = Instant;
        let (start, period) = (Clock::now(), Duration::from_secs(10));
        for max_calls in [1_u32, 2, 7] {
            let mut rate = Rate::new(max_calls, period);
            let (mut now, mut begun) = (start, Vec::new());
            for number in 0..100 {
                if let Some(then) = rate.wait(now) {
                    now = then;
                }
                assert_eq!(rate.wait(now), None);
                rate.begin(now);
                begun.push(now);
                // Calls take their time, too.
                now += Duration::from_millis(number * 37 % 4000);
            }
            for (index, first) in begun.iter().enumerate() {
                let within = begun[index..].iter().take_while(|then| **then < *first + period).count();
                assert!(within <= max_calls as usize, "{within} of {max_calls}");
            }
            // And no less than it could be.
            assert!(
                begun.last().map(|last| *last - start)
                    <= Some(period * (100 / max_calls + 1) + Duration::from_secs(250))
            );
        }
    }

    #[test]
    fn r11_no_call_waits_while_there_are_some_left() {
        type Clock = Instant;
        let now = Clock::now();
        let mut rate = Rate::new(3, Duration::from_secs(60));
        for _ in 0..3 {
            assert_eq!(rate.wait(now), None);
            rate.begin(now);
        }
        assert_eq!(rate.wait(now), Some(now + Duration::from_secs(60)));
        assert_eq!(rate.wait(now + Duration::from_secs(60)), None);
    }
}
