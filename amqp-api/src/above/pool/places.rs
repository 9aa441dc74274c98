//! The places of a pool: who has one, and who waits for one, first come, first served.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A fixed number of places.
pub(crate) struct Places(Mutex<State>);

struct State {
    free: usize,
    /// Those who wait, by their number, so in the order in which they came.
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
    closed: bool,
}

enum Waiter {
    Waits(Option<Waker>),
    /// It has been given a place and is to fetch it.
    Called,
}

/// There are no more places to be had, ever.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Places {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let state = State { free: places, waiting: BTreeMap::new(), next: 0, closed: false };
        Arc::new(Self(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are free: nobody waits while there are any.
    pub(crate) fn free(&self) -> usize {
        self.lock().free
    }

    /// How many wait for one.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.values().filter(|waiter| matches!(waiter, Waiter::Waits(_))).count()
    }

    /// A place, if one is free now.
    pub(crate) fn try_take(self: &Arc<Self>) -> Result<Option<Place>, Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        let free = state.free > 0;
        state.free -= usize::from(free);
        drop(state);
        Ok(free.then(|| Place(Arc::clone(self))))
    }

    /// A place, when it is this one's turn.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Place, Closed> {
        if let Some(place) = self.try_take()? {
            return Ok(place);
        }
        let mut turn = Turn { places: self, number: None };
        poll_fn(|cx| turn.poll(cx)).await
    }

    /// Gives a place that has become free to the first who waits.
    fn release(&self) {
        let called = {
            let mut state = self.lock();
            let first = state.waiting.values_mut().find_map(|waiter| match waiter {
                Waiter::Waits(waker) => {
                    let waker = waker.take();
                    *waiter = Waiter::Called;
                    Some(waker)
                }
                Waiter::Called => None,
            });
            state.free += usize::from(first.is_none());
            first.flatten()
        };
        if let Some(waker) = called {
            waker.wake();
        }
    }

    /// Ends the waiting.
    pub(crate) fn close(&self) {
        let wakers: Vec<_> = {
            let mut state = self.lock();
            state.closed = true;
            let wakers = state.waiting.values_mut().filter_map(|waiter| match waiter {
                Waiter::Waits(waker) => waker.take(),
                Waiter::Called => None,
            });
            wakers.collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

/// One who waits. Dropped, it gives way, and passes on the place that it was called to.
struct Turn<'p> {
    places: &'p Arc<Places>,
    number: Option<u64>,
}

impl Turn<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Place, Closed>> {
        let mut state = self.places.lock();
        let state = &mut *state;
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        let number = match self.number {
            Some(number) => number,
            None if state.free > 0 => {
                state.free -= 1;
                return Poll::Ready(Ok(Place(Arc::clone(self.places))));
            }
            None => {
                state.next += 1;
                *self.number.insert(state.next)
            }
        };
        if let Some(Waiter::Called) = state.waiting.get(&number) {
            state.waiting.remove(&number);
            self.number = None;
            return Poll::Ready(Ok(Place(Arc::clone(self.places))));
        }
        state.waiting.insert(number, Waiter::Waits(Some(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let waiter = self.places.lock().waiting.remove(&number);
        if let Some(Waiter::Called) = waiter {
            self.places.release();
        }
    }
}

/// A place that is taken. Dropped, it is free again.
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    #[test]
    fn n2_places_are_taken_and_come_back() {
        let places = Places::new(2);
        let one = places.try_take().unwrap().unwrap();
        let two = places.try_take().unwrap().unwrap();
        assert_eq!(places.free(), 0);
        assert!(places.try_take().unwrap().is_none());
        drop((one, two));
        assert_eq!(places.free(), 2);
    }

    #[test]
    fn n3_those_who_wait_are_served_in_order_and_nobody_overtakes() {
        let places = Places::new(1);
        let place = places.try_take().unwrap().unwrap();
        let (counts, mut first, mut second) =
            ([(); 2].map(|()| Arc::default()), pin!(places.take()), pin!(places.take()));
        assert!(poll(first.as_mut(), &counts[0]).is_pending());
        assert!(poll(second.as_mut(), &counts[1]).is_pending());
        drop(place);
        assert_eq!([&counts[0], &counts[1]].map(|count| count.0.load(Ordering::SeqCst)), [1, 0]);
        // It is promised already.
        assert!(places.try_take().unwrap().is_none());
        assert!(poll(second.as_mut(), &counts[1]).is_pending());
        let Poll::Ready(Ok(place)) = poll(first.as_mut(), &counts[0]) else { panic!("it is its turn") };
        drop(place);
        assert_eq!(counts[1].0.load(Ordering::SeqCst), 1);
        assert!(poll(second.as_mut(), &counts[1]).is_ready());
        assert_eq!(places.free(), 1);
    }

    #[test]
    fn n3_one_who_is_called_and_gone_passes_the_place_on() {
        let places = Places::new(1);
        let place = places.try_take().unwrap().unwrap();
        let count = Arc::default();
        let mut first = Box::pin(places.take());
        let mut second = pin!(places.take());
        assert!(poll(first.as_mut(), &count).is_pending());
        assert!(poll(second.as_mut(), &count).is_pending());
        drop(place);
        drop(first);
        assert!(poll(second.as_mut(), &count).is_ready());
        assert_eq!(places.free(), 1);
    }

    #[test]
    fn closed_places_end_the_waiting() {
        let places = Places::new(1);
        let _place = places.try_take();
        let count = Arc::default();
        let mut waiting = pin!(places.take());
        assert!(poll(waiting.as_mut(), &count).is_pending());
        places.close();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(matches!(poll(waiting.as_mut(), &count), Poll::Ready(Err(Closed))));
        assert!(matches!(places.try_take(), Err(Closed)));
    }
}
