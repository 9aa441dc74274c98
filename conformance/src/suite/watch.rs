//! The stop-watch of a case: it stands still while the case waits for a node.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Watch {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Time that counted before it last started to run.
    counted: Duration,
    /// Since when it runs; `None` while it stands still.
    running_since: Option<Instant>,
    pauses: usize,
}

impl Watch {
    /// A watch that runs.
    pub(super) fn start() -> Self {
        Self { state: Mutex::new(State { counted: Duration::ZERO, running_since: Some(Instant::now()), pauses: 0 }) }
    }

    /// Stops it until the guard is dropped.
    pub(super) fn pause(&self) -> Pause<'_> {
        let mut state = self.state();
        if let Some(since) = state.running_since.take() {
            state.counted += since.elapsed();
        }
        state.pauses += 1;
        Pause(self)
    }

    /// The time that it ran.
    pub(super) fn elapsed(&self) -> Duration {
        let state = self.state();
        state.counted + state.running_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Pause<'a>(&'a Watch);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.pauses -= 1;
        if state.pauses == 0 {
            state.running_since = Some(Instant::now());
        }
    }
}
