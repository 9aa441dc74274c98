//! Deliveries that go to a handler.
//!
//! | file | job |
//! |---|---|
//! | this | the handle |
//! | `crew` | what the workers share: the consumer, who is at work, how it ends |
//! | `worker` | a task that takes deliveries and runs the handler |
//! | `settlement` | what becomes of a delivery |

mod crew;
mod settlement;
mod worker;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use amqp_proto::error::{Error, TimeoutReason};

use self::crew::Crew;
pub use self::settlement::{IntoSettlement, Settlement};
use crate::channel::Channel;
use crate::delivery::Delivery;
use crate::options::{Consume, Handling};

/// A consumer whose deliveries go to a handler, from [`Channel::consume_with`].
///
/// It ends by [`stop`](Self::stop), and when the broker cancels it, or its channel or connection ends:
/// [`finished`](Self::finished) says why. Dropping it stops it too: it takes no more deliveries, and the handlers that are
/// running finish, with nobody to wait for them.
///
/// It keeps its channel, and by that the connection, open; so do handlers that are running.
#[must_use = "a subscription that is dropped is stopped"]
pub struct Subscription {
    crew: Arc<Crew>,
}

/// What became of the deliveries of a [`Subscription`] so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handled {
    /// How many are being handled now.
    pub in_progress: usize,
    /// How many were acked.
    pub acked: u64,
    /// How many were put back.
    pub requeued: u64,
    /// How many were rejected, those that could not be read included.
    pub rejected: u64,
    /// How many of their handlers panicked.
    pub panicked: u64,
}

impl Channel {
    /// Starts a consumer on a queue, whose deliveries go to a handler: an asynchronous function that is spawned on the
    /// connection's runtime, so that handlers run in parallel, and beside everything else.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::{Consume, Delivery, Handling};
    ///
    /// let consume = Consume::new("orders").prefetch(20);
    /// let subscription = channel
    ///     .consume_with(consume, Handling::default().concurrency(10), async |delivery: Delivery| {
    ///         println!("{:?}", delivery.body());
    ///     })
    ///     .await?;
    /// // Until something says that it is enough.
    /// subscription.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The delivery is settled by what the handler returns, see [`IntoSettlement`]: it is acked for `()` and `Ok`, and for
    /// an `Err` [`Handling::on_error`] decides. The handler may settle it itself, before it returns; what it returns is
    /// without effect then. A delivery that it only drops is not settled by that.
    ///
    /// A handler that panics does not disturb the others: the panic is counted ([`Subscription::handled`]), and the delivery
    /// goes the way of [`Handling::on_panic`]. A delivery that cannot be read is rejected.
    ///
    /// # Errors
    ///
    /// As [`consume`](Self::consume).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it leaves no consumer behind.
    pub async fn consume_with<H, F>(
        &self,
        consume: impl Into<Consume>,
        handling: Handling,
        handler: H,
    ) -> Result<Subscription, Error>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: IntoSettlement> + Send + 'static,
    {
        let consumer = self.consume(consume).await?;
        let crew = Crew::new(consumer, handling);
        worker::start(&crew, Arc::new(handler));
        Ok(Subscription { crew })
    }
}

impl Subscription {
    /// Ends it in order: no more deliveries are handled, what was received and not handled goes back to the queue, and the
    /// handlers that are running finish. For that they have [`Handling::stop_timeout`], by default 30 s; then they are
    /// dropped where they wait, or, on threads, left to themselves, and what they had goes back to the queue.
    ///
    /// It may be called again, and after the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if there were handlers that did not finish in time.
    ///
    /// # Cancel safety
    ///
    /// The end has been asked for when this returns; if the future is dropped, nobody bounds the time of the handlers.
    pub fn stop(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let crew = Arc::clone(&self.crew);
        let cancelling = crew.stop();
        async move {
            let runtime = crew.runtime();
            let limit = runtime.now().checked_add(crew.handling.stop_timeout);
            let mut limit = limit.map(|limit| runtime.sleep_until(limit));
            let mut done = pin!(async {
                if let Some(cancelling) = cancelling {
                    // Where it fails there is nothing left to be cancelled.
                    let _ = cancelling.await;
                }
                poll_fn(|cx| crew.poll_done(cx)).await;
            });
            let in_time = poll_fn(|cx| {
                if done.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                match &mut limit {
                    Some(limit) => limit.as_mut().poll(cx).map(|()| false),
                    None => Poll::Pending,
                }
            })
            .await;
            if in_time || !crew.give_up() {
                return Ok(());
            }
            Err(Error::timeout(TimeoutReason::Handlers, false))
        }
    }

    /// Waits until it has ended and no handler is running any more: `Ok` if this side has stopped it, or has closed its
    /// channel.
    ///
    /// # Errors
    ///
    /// Why it ended: [`ErrorKind::ConsumerCancelled`](crate::ErrorKind::ConsumerCancelled) if the broker has cancelled it,
    /// because its queue was deleted for example; or what ended its channel or connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn finished(&self) -> Result<(), Error> {
        poll_fn(|cx| self.crew.poll_done(cx)).await;
        self.crew.cause().map_or(Ok(()), Err)
    }

    /// What became of its deliveries so far.
    #[must_use]
    pub fn handled(&self) -> Handled {
        self.crew.handled()
    }

    /// Its consumer's tag, unique on its channel.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.crew.tag
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        drop(self.crew.stop());
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("tag", &self.tag()).finish_non_exhaustive()
    }
}
