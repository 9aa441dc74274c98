//! Waiting, but no longer than a given time. The time is the driver's: nothing here looks at a clock.

use std::error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::call::{Call, Keep, done};
use crate::driver::Runtime;
use crate::shared::Shared;

/// Nothing came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing came in time")
    }
}

impl error::Error for Elapsed {}

/// Done when this much time has passed, or the connection has ended: nothing can come then that is worth waiting for.
pub(crate) fn timer(shared: &Arc<Shared>, time: Duration) -> Call<()> {
    Call::start(Keep::Memory(Arc::clone(shared)), done, |conn| Ok(Some(conn.wait_time(time))))
}

/// What `poll` gives, if it does so in time. The time begins when there is nothing at first.
pub(crate) async fn within<T>(
    shared: &Arc<Shared>,
    time: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Elapsed> {
    let mut limit = None;
    poll_fn(|cx| {
        if let Poll::Ready(value) = poll(cx) {
            return Poll::Ready(Ok(value));
        }
        let limit = limit.get_or_insert_with(|| timer(shared, time));
        Pin::new(limit).poll(cx).map(|_| Err(Elapsed))
    })
    .await
}

/// The output of a future, if it comes within this time by the runtime's clock: for what waits for more than one connection.
pub(crate) async fn limited<F: Future>(runtime: &dyn Runtime, time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let deadline = runtime.now().checked_add(time);
    let mut sleep = deadline.map(|deadline| runtime.sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        match &mut sleep {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
            None => Poll::Pending,
        }
    })
    .await
}
