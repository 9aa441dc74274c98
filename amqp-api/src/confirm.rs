//! The broker's word on a publish.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::conn::{ChannelId, ConfirmId, Outcome};
use amqp_proto::error::{Error, ErrorKind};

use crate::shared::{Shared, Touch};

/// A publish that has been queued and whose outcome is still to come.
///
/// [`outcome`](Self::outcome) makes a `Result` of it, for those who want to know whether the broker has the message;
/// awaiting the `Confirm` itself gives the [`Outcome`]:
///
/// | [`Outcome`] | [`outcome`](Self::outcome) | meaning |
/// |---|---|---|
/// | `Acked` | `Ok(())` | the broker has taken responsibility |
/// | `Nacked` | [`ErrorKind::Nacked`] | the broker has refused responsibility |
/// | `Returned` | [`ErrorKind::NoRoute`], with the message | it was mandatory and no queue took it |
/// | `Unknown` | [`ErrorKind::Unknown`], with the cause | the channel or the connection went, or the deadline passed, first |
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

    /// Waits until the broker has taken responsibility for the message, or has not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Nacked`], [`ErrorKind::NoRoute`] and [`ErrorKind::Unknown`], as in the table [above](Self). The
    /// deadline is [`Timeouts::confirm`](crate::Timeouts), by default 60 s.
    pub async fn outcome(self) -> Result<(), Error> {
        into_result(self.await)
    }
}

/// An outcome as one that has to be good.
#[inline]
pub(crate) fn into_result(outcome: Outcome) -> Result<(), Error> {
    match outcome {
        Outcome::Acked => Ok(()),
        Outcome::Nacked => Err(Error::new(ErrorKind::Nacked)),
        Outcome::Returned(message) => Err(Error::new(ErrorKind::NoRoute(message))),
        Outcome::Unknown(cause) => Err(Error::new(ErrorKind::Unknown(cause))),
        _ => Err(Error::new(ErrorKind::Internal("an outcome of another kind"))),
    }
}

impl Future for Confirm {
    type Output = Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(id) = self.id else { return Poll::Pending };
        match self.shared.visit(Touch::Nothing, |state| state.poll_outcome(id, cx.waker())) {
            Some(outcome) => {
                self.id = None;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Confirm {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let channel = self.channel;
            self.shared.visit(Touch::Nothing, |state| {
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
