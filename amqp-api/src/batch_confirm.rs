//! Many messages with one confirm.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::conn::{BatchFailure, BatchId, BatchOutcome};
use amqp_proto::error::{Error, ErrorKind};

use crate::shared::{Shared, Touch};

/// The confirm of a batch, from [`Publisher::send_batch`](crate::Publisher::send_batch): one for all of its messages.
///
/// Awaiting it tells whether the broker has all of them; [`outcome`](Self::outcome) names those that it has not. It has
/// the deadline of a [`Confirm`](crate::Confirm), and like that it may be read late, or not at all.
///
/// # Cancel safety
///
/// Dropping a `BatchConfirm` discards the outcome; nothing that was published is undone.
#[must_use = "whether the broker took the messages is only known from the outcome"]
pub struct BatchConfirm {
    shared: Arc<Shared>,
    /// `None` as long as nothing was queued, and when the outcome was taken.
    id: Option<BatchId>,
    messages: usize,
    /// From which message on none was queued, and why.
    unsent: Option<(usize, Error)>,
}

impl BatchConfirm {
    /// Of a batch of so many messages, none of which was queued yet.
    pub(crate) fn new(shared: Arc<Shared>, messages: usize) -> Self {
        Self { shared, id: None, messages, unsent: None }
    }

    /// The batch in the core, which `begin` makes when it is first needed.
    pub(crate) fn id(&mut self, begin: impl FnOnce() -> BatchId) -> BatchId {
        *self.id.get_or_insert_with(begin)
    }

    /// The message `from` and all behind it were not queued.
    pub(crate) fn unsent(&mut self, from: usize, error: Error) {
        self.unsent = Some((from, error));
    }

    /// Waits until the outcome of all messages is known.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the outcome.
    pub async fn outcome(mut self) -> BatchOutcome {
        poll_fn(|cx| self.poll_outcome(cx)).await
    }

    /// Waits until the broker has taken responsibility for all messages: the same as awaiting the confirm itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Batch`], with the messages of which that is not so, and why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the outcome.
    pub async fn wait(self) -> Result<(), Error> {
        self.await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<BatchOutcome> {
        let mut outcome = match self.id {
            None => BatchOutcome::default(),
            Some(id) => match self.shared.visit(Touch::Nothing, |state| state.poll_batch(id, cx.waker())) {
                Some(outcome) => outcome,
                None => return Poll::Pending,
            },
        };
        self.id = None;
        outcome.messages = self.messages;
        if let Some((from, error)) = self.unsent.take() {
            outcome.failures.extend((from..self.messages).map(|index| BatchFailure::new(index, error.clone())));
        }
        Poll::Ready(outcome)
    }
}

impl Future for BatchConfirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(cx).map(|outcome| {
            if outcome.is_acked() { Ok(()) } else { Err(Error::new(ErrorKind::Batch(Box::new(outcome)))) }
        })
    }
}

impl Drop for BatchConfirm {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.visit(Touch::Output, |state| {
                state.conn.abandon_batch(id);
                let waker = state.batches.take(id.index());
                state.discard(waker);
            });
        }
    }
}

impl fmt::Debug for BatchConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchConfirm").field("messages", &self.messages).finish_non_exhaustive()
    }
}
