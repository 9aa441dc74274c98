//! How many private nodes may run at a time: they are heavy, and the cases that want them would all start at once.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;

/// Private nodes at a time. A single lease of more than these waits until it is alone.
const NODES: usize = 3;

/// After this a lease is given all the same: its holder may be a case that hangs, and that must not stop the others.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Leases {
    taken: Mutex<usize>,
    returned: Condvar,
}

impl Leases {
    /// Waits until there is room for `nodes` more, and starts them.
    pub(super) fn lend<T>(self: &Arc<Self>, nodes: usize, start: impl FnOnce() -> Result<T>) -> Result<Lease<T>> {
        let is_full = |taken: &mut usize| *taken > 0 && *taken + nodes > NODES;
        let waited = self.returned.wait_timeout_while(self.taken(), PATIENCE, is_full);
        *waited.unwrap_or_else(PoisonError::into_inner).0 += nodes;
        let room = Room { leases: Arc::clone(self), nodes };
        Ok(Lease { leased: start()?, _room: room })
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node or a cluster that belongs to one case, and ends with this.
#[derive(Debug)]
pub struct Lease<T> {
    leased: T,
    // After the node, so that the next one starts when this one has gone.
    _room: Room,
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.leased
    }
}

#[derive(Debug)]
struct Room {
    leases: Arc<Leases>,
    nodes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.leases.taken() -= self.nodes;
        self.leases.returned.notify_all();
    }
}
