//! Waiting for a thing to be so, with a deadline, instead of sleeping and hoping.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// Asks `condition` again and again until it answers `Some`, and returns that.
///
/// # Errors
/// After `within`, a failure that names `what` was waited for.
pub fn until<T>(within: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {within:?} in vain for {what}")));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// [`until`] for a plain yes or no.
///
/// # Errors
/// As [`until`].
pub fn until_true(within: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    until(within, what, || condition().then_some(()))
}
