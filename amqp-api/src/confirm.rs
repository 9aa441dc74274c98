//! The broker's word on a publish.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use amqp_proto::conn::{ChannelId, ConfirmId, Outcome, Reply, Unconfirmed};
use amqp_proto::error::{Error, ErrorKind};

use crate::call::{Keep, mismatch};
use crate::shared::{Shared, Touch};

/// A publish that has been queued and whose outcome is still to come.
///
/// Awaiting it tells whether the broker has the message, as a `Result`; [`outcome`](Self::outcome) gives the
/// [`Outcome`] itself:
///
/// | `.outcome().await` | `.await` | meaning |
/// |---|---|---|
/// | [`Outcome::Acked`] | `Ok(())` | the broker has taken responsibility |
/// | [`Outcome::Nacked`] | [`ErrorKind::Nacked`] | the broker has refused responsibility |
/// | [`Outcome::Returned`] | [`ErrorKind::NoRoute`], with the message | it was mandatory and no queue took it |
/// | [`Outcome::Unknown`] | [`ErrorKind::Unknown`], with the cause | the channel or the connection went, or the deadline passed, first |
///
/// The deadline is [`Timeouts::confirm`](crate::Timeouts), by default 60 s.
///
/// It may be read late, in any order, or not at all; that costs nothing and holds nothing up. It does not keep the
/// connection open.
///
/// # Cancel safety
///
/// Dropping a `Confirm` discards the outcome; the publish is not undone.
#[must_use = "whether the broker took the message is only known from the outcome"]
pub struct Confirm {
    shared: Arc<Shared>,
    channel: ChannelId,
    /// `None` when the outcome was taken.
    id: Option<ConfirmId>,
}

impl Confirm {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, channel: ChannelId, id: ConfirmId) -> Self {
        Self { shared, channel, id: Some(id) }
    }

    /// Waits for the outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the outcome.
    pub async fn outcome(mut self) -> Outcome {
        poll_fn(|cx| self.poll_outcome(cx)).await
    }

    /// Waits until the broker has taken responsibility: the same as awaiting the confirm itself.
    ///
    /// # Errors
    ///
    /// Any other outcome: see [`Confirm`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the outcome.
    pub async fn wait(self) -> Result<(), Error> {
        self.await
    }

    #[inline]
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(id) = self.id else {
            return Poll::Ready(Outcome::Unknown(Error::invalid("a confirm was polled again after its end")));
        };
        match self.shared.visit(Touch::Nothing, |state| state.poll_outcome(id, cx.waker())) {
            Some(outcome) => {
                self.id = None;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

/// What a handle has been told of failed publishes, by [`Publisher::wait_for_confirms`](crate::Publisher) and its like:
/// how many were nacked, returned, unknown. A clone knows what the handle knew that it was made from.
#[derive(Debug, Default)]
pub(crate) struct Told([AtomicU64; 3]);

impl Told {
    /// Takes note of all that has failed so far: what is new is an error.
    pub(crate) fn tell(&self, failed: Unconfirmed) -> Result<(), Error> {
        let Self([nacked, returned, unknown]) = self;
        let mut earlier = Unconfirmed::default();
        earlier.nacked = nacked.fetch_max(failed.nacked, Ordering::Relaxed).min(failed.nacked);
        earlier.returned = returned.fetch_max(failed.returned, Ordering::Relaxed).min(failed.returned);
        earlier.unknown = unknown.fetch_max(failed.unknown, Ordering::Relaxed).min(failed.unknown);
        let new = failed.since(&earlier);
        if new.count() == 0 { Ok(()) } else { Err(Error::new(ErrorKind::Unconfirmed(Box::new(new)))) }
    }
}

impl Clone for Told {
    fn clone(&self) -> Self {
        Self(self.0.each_ref().map(|count| AtomicU64::new(count.load(Ordering::Relaxed))))
    }
}

/// Finishes a call that waits for all confirms.
pub(crate) fn finish_confirmed(reply: Reply, _: Keep) -> Result<Unconfirmed, Error> {
    match reply {
        Reply::Confirmed(failed) => Ok(*failed),
        _ => mismatch(),
    }
}

/// An outcome as one that has to be good.
#[inline]
fn into_result(outcome: Outcome) -> Result<(), Error> {
    match outcome {
        Outcome::Acked => Ok(()),
        Outcome::Nacked => Err(Error::new(ErrorKind::Nacked)),
        Outcome::Returned(message) => Err(Error::new(ErrorKind::NoRoute(message))),
        Outcome::Unknown(cause) => Err(Error::new(ErrorKind::Unknown(cause))),
    }
}

impl Future for Confirm {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(cx).map(into_result)
    }
}

impl Drop for Confirm {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let channel = self.channel;
            self.shared.visit(Touch::Output, |state| {
                state.conn.abandon_confirm(id, channel);
                let waker = state.confirms.take(id.index());
                state.discard(waker);
            });
        }
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").field("waiting", &self.id.is_some()).finish_non_exhaustive()
    }
}
