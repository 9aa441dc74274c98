//! What the handles and the thread of a broker share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::listener::Listener;
use crate::core::Core;

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    #[cfg(feature = "tls")]
    login_from: crate::CertificateName,
    /// Listeners that the thread has not taken yet.
    listeners: Mutex<Vec<Listener>>,
    /// Nobody new is let in.
    closing: AtomicBool,
    /// The thread is to end.
    stopping: AtomicBool,
    /// Counts what may have changed something.
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(core: Core) -> Self {
        Self {
            core: Mutex::new(core),
            #[cfg(feature = "tls")]
            login_from: crate::CertificateName::default(),
            listeners: Mutex::default(),
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            changes: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The broker itself. Nothing panics while it is locked; a rule's predicate may, and that is not the broker's fault.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Takes another name in a certificate for that of its user.
    #[cfg(feature = "tls")]
    pub(super) fn with_login_from(mut self, name: crate::CertificateName) -> Self {
        self.login_from = name;
        self
    }

    /// Which name in a certificate is that of its user.
    #[cfg(feature = "tls")]
    pub(super) fn login_from(&self) -> crate::CertificateName {
        self.login_from
    }

    pub(super) fn add_listener(&self, listener: Listener) {
        lock(&self.listeners).push(listener);
    }

    pub(super) fn take_listeners(&self) -> Vec<Listener> {
        std::mem::take(&mut lock(&self.listeners))
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Something may be different now: those who wait look again.
    pub(super) fn note_change(&self) {
        *lock(&self.changes) += 1;
        self.changed.notify_all();
    }

    /// Waits until `condition` holds, and says whether it does. It is looked at without a lock.
    pub(super) fn wait_until(&self, timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let end = Instant::now().checked_add(timeout);
        loop {
            let seen = *lock(&self.changes);
            if condition() {
                return true;
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let waited = self.changed.wait_timeout_while(lock(&self.changes), left, |changes| *changes == seen);
            if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                return condition();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
