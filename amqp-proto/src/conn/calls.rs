//! Requests that wait for replies, and the deadlines of all that waits.
//!
//! A slot belongs to whoever asked: it lives until the reply is taken or the request is abandoned. The channel keeps
//! its own list of outstanding replies; where the slot is gone when the reply comes, the entry in that list is a
//! tombstone, and the reply is compensated instead of being given to the next caller.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use slab::Slab;

use super::event::Reply;
use super::ids::{ChannelId, RequestId};
use crate::error::Error;

#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Slab<Slot>,
    next_generation: u32,
    /// Asked for since the last turn of the driver: their time has not begun.
    unarmed: Vec<RequestId>,
    deadlines: BinaryHeap<Reverse<(Instant, RequestId)>>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// The method that was sent, for people.
    method: &'static str,
    timeout: Option<Duration>,
    /// It waits for room to publish on this channel, not for a reply.
    room: Option<ChannelId>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting {
        /// Somebody asked before the reply was there and wants an event.
        watched: bool,
    },
    Done(Result<Reply, Error>),
}

impl Calls {
    /// A new request, whose time begins at the next [`arm`](Self::arm).
    pub(super) fn insert(&mut self, method: &'static str, timeout: Option<Duration>) -> RequestId {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let index = self.slots.insert(Slot {
            generation,
            method,
            timeout,
            room: None,
            state: State::Waiting { watched: false },
        });
        // A slab of 2^32 slots does not fit into memory.
        let id = RequestId { index: u32::try_from(index).unwrap_or(u32::MAX), generation };
        if timeout.is_some() {
            self.unarmed.push(id);
        }
        id
    }

    /// A request for room to publish on this channel.
    pub(super) fn insert_for_room(&mut self, method: &'static str, timeout: Duration, channel: ChannelId) -> RequestId {
        let id = self.insert(method, Some(timeout));
        if let Some(slot) = self.slot(id) {
            slot.room = Some(channel);
        }
        id
    }

    /// The channel on which this request waits for room, if it does.
    #[inline]
    pub(super) fn room_of(&self, id: RequestId) -> Option<ChannelId> {
        self.slots.get(id.index()).filter(|slot| slot.generation == id.generation)?.room
    }

    /// Whether it waits and wants an event, which it gets now.
    pub(super) fn take_watched(&mut self, id: RequestId) -> bool {
        match self.slot(id).map(|slot| &mut slot.state) {
            Some(State::Waiting { watched }) => std::mem::take(watched),
            _ => false,
        }
    }

    fn slot(&mut self, id: RequestId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)
    }

    /// Whether a reply is still wanted.
    pub(super) fn is_waiting(&self, id: RequestId) -> bool {
        self.slots
            .get(id.index())
            .is_some_and(|slot| slot.generation == id.generation && matches!(slot.state, State::Waiting { .. }))
    }

    /// Gives the reply. `Err` hands it back if nobody waits for it any more; `Ok(true)` wants an event.
    pub(super) fn resolve(
        &mut self,
        id: RequestId,
        result: Result<Reply, Error>,
    ) -> Result<bool, Result<Reply, Error>> {
        match self.slot(id) {
            Some(slot) => match slot.state {
                State::Waiting { watched } => {
                    let method = slot.method;
                    slot.state = State::Done(result.map_err(|error| error.during(method)));
                    Ok(watched)
                }
                State::Done(_) => Err(result),
            },
            None => Err(result),
        }
    }

    /// The reply, if it is there; if not, an event will come.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Result<Reply, Error>> {
        let Some(slot) = self.slot(id) else {
            return Some(Err(Error::new(crate::error::ErrorKind::Internal("a reply was taken twice"))));
        };
        if let State::Waiting { watched } = &mut slot.state {
            *watched = true;
            return None;
        }
        match self.slots.remove(id.index()).state {
            State::Done(result) => Some(result),
            State::Waiting { .. } => None,
        }
    }

    /// Gives the request up; a reply that was there and not taken is handed back.
    pub(super) fn abandon(&mut self, id: RequestId) -> Option<Result<Reply, Error>> {
        self.slot(id)?;
        match self.slots.remove(id.index()).state {
            State::Done(result) => Some(result),
            State::Waiting { .. } => None,
        }
    }

    pub(super) fn method(&self, id: RequestId) -> &'static str {
        self.slots.get(id.index()).map_or("", |slot| slot.method)
    }

    pub(super) fn timeout_of(&self, id: RequestId) -> Option<Duration> {
        self.slots.get(id.index()).and_then(|slot| slot.timeout)
    }

    /// Starts the time of what was asked for since the last turn.
    pub(super) fn arm(&mut self, now: Instant) {
        while let Some(id) = self.unarmed.pop() {
            // A deadline beyond the end of time is none.
            if self.is_waiting(id)
                && let Some(deadline) = self.timeout_of(id).and_then(|timeout| now.checked_add(timeout))
            {
                self.deadlines.push(Reverse((deadline, id)));
            }
        }
        // Deadlines of answered requests stay in the heap until they are most of it.
        if self.deadlines.len() > 64 + 2 * self.slots.len() {
            let mut deadlines = std::mem::take(&mut self.deadlines).into_vec();
            deadlines.retain(|Reverse((_, id))| self.is_waiting(*id));
            self.deadlines = deadlines.into();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<(Instant, RequestId)> {
        self.deadlines.peek().map(|Reverse(deadline)| *deadline)
    }

    /// A waiting request whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<RequestId> {
        while let Some((deadline, id)) = self.next_deadline() {
            let waiting = self.is_waiting(id);
            if waiting && deadline > now {
                return None;
            }
            self.deadlines.pop();
            if waiting {
                return Some(id);
            }
        }
        None
    }

    /// Every request that still waits, in the order of its slot.
    pub(super) fn waiting(&self) -> Vec<RequestId> {
        self.slots
            .iter()
            .filter(|(_, slot)| matches!(slot.state, State::Waiting { .. }))
            .map(|(index, slot)| RequestId {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: slot.generation,
            })
            .collect()
    }
}
