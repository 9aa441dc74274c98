//! A case that panics fails with what it said and where, and prints nothing in between the others' lines.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// What was said last by a panic on this thread, where one is caught here.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `action`, and turns its panic into an error with the message, the place, and a backtrace if
/// `RUST_BACKTRACE` asks for one. Panics on other threads are reported as ever.
pub(super) fn catch<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let backtrace = Backtrace::capture();
            let mut message = info.to_string();
            if backtrace.status() == BacktraceStatus::Captured {
                message = format!("{message}\n{backtrace}");
            }
            let is_caught = CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(|last| *last = message)).is_some();
            if !is_caught {
                others(info);
            }
        }));
    });

    CAUGHT.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(action));
    let message = CAUGHT.take().unwrap_or_default();
    result.map_err(|_| message)
}
