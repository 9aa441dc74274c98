//! Who waits for the outcome of one publish, and outcomes that nobody has read yet.

use slab::Slab;

use super::content::Returned;
use super::event::Outcome;
use super::ids::ConfirmId;

/// The outcomes that somebody waits for, of all channels.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    slots: Slab<Waiting>,
    /// How many wait for an outcome that is not there.
    waiting: usize,
}

#[derive(Debug)]
struct Waiting {
    outcome: Option<Outcome>,
    /// The message came back; the ack that follows makes it the outcome.
    returned: Option<Box<Returned>>,
    watched: bool,
    abandoned: bool,
}

impl Waiters {
    #[inline]
    pub(super) fn insert(&mut self) -> ConfirmId {
        self.waiting += 1;
        let waiting = Waiting { outcome: None, returned: None, watched: false, abandoned: false };
        // A slab of 2^32 slots does not fit into memory.
        ConfirmId { index: u32::try_from(self.slots.insert(waiting)).unwrap_or(u32::MAX) }
    }

    /// Stores the outcome; `true` wants an event. A returned message takes precedence over the ack that follows it.
    #[inline]
    pub(super) fn resolve(&mut self, id: ConfirmId, outcome: impl FnOnce() -> Outcome) -> bool {
        let Some(slot) = self.slots.get_mut(id.index()) else { return false };
        if slot.abandoned {
            self.slots.remove(id.index());
            return false;
        }
        self.waiting -= usize::from(slot.outcome.is_none());
        slot.outcome = Some(slot.returned.take().map_or_else(outcome, Outcome::Returned));
        slot.watched
    }

    /// Whether somebody waits for an outcome that is not there.
    pub(super) fn any_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// The publish came back. `Some` if nobody waits for it any more.
    pub(super) fn returned(&mut self, id: ConfirmId, message: Box<Returned>) -> Option<Box<Returned>> {
        match self.slots.get_mut(id.index()) {
            Some(slot) if !slot.abandoned => {
                slot.returned = Some(message);
                None
            }
            _ => Some(message),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, id: ConfirmId) -> Option<Outcome> {
        let slot = self.slots.get_mut(id.index())?;
        slot.watched = true;
        let outcome = slot.outcome.take()?;
        self.slots.remove(id.index());
        Some(outcome)
    }

    /// Gives it up. A returned message that nobody has seen is handed back.
    pub(super) fn abandon(&mut self, id: ConfirmId) -> Option<Box<Returned>> {
        let slot = self.slots.get_mut(id.index())?;
        let returned = slot.returned.take();
        match slot.outcome.take() {
            Some(outcome) => {
                self.slots.remove(id.index());
                match outcome {
                    Outcome::Returned(message) => Some(message),
                    _ => returned,
                }
            }
            None => {
                self.waiting -= usize::from(!slot.abandoned);
                slot.abandoned = true;
                returned
            }
        }
    }
}
