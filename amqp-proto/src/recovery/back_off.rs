//! How long to wait before the next attempt.

use std::time::Duration;

use fastrand::Rng;

/// Delays that grow: each is drawn from a step that doubles from the first up to a bound.
///
/// The delay is drawn evenly from a tenth of the step to the whole of it, so clients that were cut off together come back
/// apart. The same seed gives the same delays.
///
/// ```
/// use std::time::Duration;
///
/// use amqp_proto::recovery::BackOff;
///
/// let mut delays = BackOff::new(Duration::from_secs(1), Duration::from_secs(5), 7);
/// for most in [1, 2, 4, 5, 5] {
///     let delay = delays.next_delay();
///     assert!(delay >= Duration::from_millis(most * 100) && delay <= Duration::from_secs(most));
/// }
/// delays.reset();
/// assert!(delays.next_delay() <= Duration::from_secs(1));
/// ```
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    most: Duration,
    step: Duration,
    rng: Rng,
}

impl BackOff {
    /// Steps from `first` up to `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self { first, most, step: first.min(most), rng: Rng::with_seed(seed) }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.most);
        let least = step / 10;
        // A step of more than 580 years is drawn from its first 580.
        let range = u64::try_from((step - least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.rng.u64(0..=range))
    }

    /// It worked: the next delay is drawn from the first step again.
    pub fn reset(&mut self) {
        self.step = self.first.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f43_five_hundred_seeds_spread_over_the_whole_step() {
        let step = Duration::from_secs(1);
        let mut tenths = [0; 10];
        for seed in 0..500 {
            let delay = BackOff::new(step, step, seed).next_delay();
            tenths[(delay.as_millis() / 100).min(9) as usize] += 1;
        }
        assert_eq!(tenths[0], 0, "nobody comes back at once");
        assert!(tenths[1..].iter().all(|count| (20..=100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn f43_the_same_seed_gives_the_same_delays_and_another_gives_others() {
        let delays = |seed| {
            let mut back_off = BackOff::new(Duration::from_millis(250), Duration::from_secs(60), seed);
            (0..20).map(|_| back_off.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(delays(3), delays(3));
        assert_ne!(delays(3), delays(4));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut longest = BackOff::new(Duration::MAX, Duration::MAX, 1);
        assert!(longest.next_delay() > Duration::ZERO);
        longest.next_delay();
        let mut none = BackOff::new(Duration::ZERO, Duration::ZERO, 1);
        assert_eq!(none.next_delay(), Duration::ZERO);
        let mut capped = BackOff::new(Duration::from_secs(9), Duration::from_secs(1), 1);
        assert!(capped.next_delay() <= Duration::from_secs(1));
    }
}
