//! How a thread waits for a future: it parks, until a waker unparks it or a deadline has come.
//!
//! A [`Sleep`] leaves its deadline with the thread that polls it, and whoever polls there (a call that waits, or the
//! driver) waits no longer than that. So no thread keeps the time for others.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

thread_local! {
    /// The earliest deadline of those that were met in the present poll.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
    static PARKER: Arc<Parker> = Parker::new();
}

/// What wakes one thread. The flag tells its wake from whatever else unparks that thread.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), woken: AtomicBool::new(false) })
    }

    /// The present thread's; a new one if its own is gone, because a destructor at the end of the thread waits.
    fn current() -> Arc<Self> {
        PARKER.try_with(Arc::clone).unwrap_or_else(|_| Self::new())
    }

    /// Waits for a wake, or until the deadline has come.
    fn park(&self, deadline: Option<Instant>) {
        while !self.woken.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return,
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Waits for a future.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parker = Parker::current();
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        let (polled, sleeps) = poll(future.as_mut(), &mut context);
        if let Poll::Ready(output) = polled {
            return output;
        }
        parker.park(sleeps);
    }
}

/// Polls a future, and says by when it is to be polled again if nobody wakes it before.
pub(crate) fn poll<F: Future + ?Sized>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> (Poll<F::Output>, Option<Instant>) {
    DEADLINE.set(None);
    let polled = future.poll(context);
    (polled, DEADLINE.take())
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Done when its deadline has come.
pub(crate) struct Sleep(pub(crate) Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 {
            return Poll::Ready(());
        }
        DEADLINE.set(earlier(DEADLINE.get(), Some(self.0)));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_waits_is_woken_by_another() {
        let (send, receive) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || receive.recv().unwrap().wake());
        let mut polls = 0;
        block_on(poll_fn(|cx| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            send.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }));
        waking.join().unwrap();
    }

    #[test]
    fn an_unpark_by_others_is_no_wake() {
        thread::current().unpark();
        let mut polls = 0;
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut sleep = Sleep(deadline);
        block_on(poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut sleep).poll(cx)
        }));
        assert!(Instant::now() >= deadline);
        assert_eq!(polls, 2);
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_and_not_before() {
        let deadline = Instant::now() + Duration::from_millis(20);
        block_on(Sleep(deadline));
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn the_earlier_of_two_deadlines_counts() {
        let now = Instant::now();
        let long = now + Duration::from_secs(3600);
        let mut sleeps =
            [Box::pin(Sleep(long)), Box::pin(Sleep(now + Duration::from_millis(10))), Box::pin(Sleep(long))];
        block_on(poll_fn(|cx| {
            let polled = sleeps.each_mut().map(|sleep| sleep.as_mut().poll(cx).is_ready());
            if polled.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}
