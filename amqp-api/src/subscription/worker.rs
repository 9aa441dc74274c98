//! A task that takes deliveries and runs the handler.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::IntoSettlement;
use super::crew::{Crew, Next, Seat};
use crate::delivery::Delivery;

/// Spawns the first worker; it sees to it that there are enough of them.
pub(super) fn start<H, F>(crew: &Arc<Crew>, handler: Arc<H>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output: IntoSettlement> + Send + 'static,
{
    spawn(Seat::new(crew), handler);
}

fn spawn<H, F>(seat: Seat, handler: Arc<H>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output: IntoSettlement> + Send + 'static,
{
    let runtime = Arc::clone(seat.crew().runtime());
    runtime.spawn(Box::pin(work(seat, handler)));
}

async fn work<H, F>(mut seat: Seat, handler: Arc<H>)
where
    H: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output: IntoSettlement> + Send + 'static,
{
    loop {
        match poll_fn(|cx| seat.poll_next(cx)).await {
            Next::Work(delivery, more) => {
                if let Some(more) = more {
                    spawn(more, Arc::clone(&handler));
                }
                handle(&mut seat, *delivery, &*handler).await;
            }
            Next::End(cancelling) => {
                if let Some(cancelling) = cancelling {
                    // Where it fails there is nothing left to be cancelled.
                    let _ = cancelling.await;
                }
                return;
            }
        }
    }
}

async fn handle<H, F>(seat: &mut Seat, delivery: Delivery, handler: &H)
where
    H: Fn(Delivery) -> F,
    F: Future<Output: IntoSettlement>,
{
    let redelivered = delivery.redelivered();
    // The handler is called in here, so that its panics too are caught.
    let mut handling = pin!(async { handler(delivery).await.into_settlement() });
    let outcome = poll_fn(|cx| {
        if !seat.may_work(cx) {
            return Poll::Ready(None);
        }
        // What it leaves behind by a panic is dropped, and not looked at.
        match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(settlement)) => Poll::Ready(Some(Some(settlement))),
            Err(_) => Poll::Ready(Some(None)),
        }
    })
    .await;
    if let Some(outcome) = outcome {
        seat.done(outcome, redelivered);
    }
}
