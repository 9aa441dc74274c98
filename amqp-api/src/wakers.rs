//! Who waits for what: a waker per request, confirm, consumer and stream of returned messages, and the list of those to
//! be woken when the lock is free again.
//!
//! A waker is foreign code. Waking one, or dropping the last reference to one, may run a task's destructor, and that may
//! come back here for the lock; so both happen after the lock is released, by [`Wakes`].

use std::task::Waker;

/// Wakers by a dense index. A slot is taken when its event comes, and set again by whoever still waits.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Vec<Option<Waker>>);

impl Wakers {
    /// Remembers who waits at `index`. What was there before is handed back, to be dropped without the lock.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, waker: &Waker) -> Option<Waker> {
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        let slot = self.0.get_mut(index)?;
        match slot {
            Some(known) if known.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        }
    }

    /// Takes who waits at `index`.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> Option<Waker> {
        self.0.get_mut(index)?.take()
    }
}

/// Wakers of streams by a dense index. Several streams may wait at one; each has a key, so that it stands there once.
#[derive(Debug, Default)]
pub(crate) struct StreamWakers {
    by_index: Vec<Vec<(u64, Waker)>>,
    last_key: u64,
}

impl StreamWakers {
    /// A key for a new stream.
    pub(crate) fn new_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// Remembers that the stream `key` waits at `index`; see [`Wakers::set`].
    pub(crate) fn set(&mut self, index: usize, key: u64, waker: &Waker) -> Option<Waker> {
        if index >= self.by_index.len() {
            self.by_index.resize_with(index + 1, Vec::new);
        }
        let waiting = self.by_index.get_mut(index)?;
        match waiting.iter_mut().find(|(other, _)| *other == key) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                waiting.push((key, waker.clone()));
                None
            }
        }
    }

    /// Takes all who wait at `index`.
    pub(crate) fn take_all(&mut self, index: usize) -> impl Iterator<Item = Waker> {
        let waiting = self.by_index.get_mut(index).map(std::mem::take).unwrap_or_default();
        waiting.into_iter().map(|(_, waker)| waker)
    }

    /// Forgets the stream `key`.
    pub(crate) fn remove(&mut self, index: usize, key: u64) -> Option<Waker> {
        let waiting = self.by_index.get_mut(index)?;
        let position = waiting.iter().position(|(other, _)| *other == key)?;
        Some(waiting.swap_remove(position).1)
    }
}

/// What is to be done with wakers once the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    ready: Vec<Waker>,
    discarded: Vec<Waker>,
    pub(crate) driver: Option<Waker>,
}

impl Wakes {
    #[inline]
    pub(crate) fn ready(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.ready.push(waker);
        }
    }

    pub(crate) fn discard(&mut self, wakers: &mut Vec<Waker>) {
        self.discarded.append(wakers);
    }

    /// Wakes everybody. To be called without the lock.
    #[inline]
    pub(crate) fn run(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
        if !self.ready.is_empty() {
            self.ready.drain(..).for_each(Waker::wake);
        }
        if !self.discarded.is_empty() {
            self.discarded.clear();
        }
    }
}
