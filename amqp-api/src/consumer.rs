//! A stream of deliveries.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use amqp_proto::conn::{self, ConsumerId, NextBatch};
use amqp_proto::error::Error;
use futures_core::Stream;

use crate::batch::Batch;
use crate::call::Call;
use crate::channel::Channel;
use crate::delivery::Delivery;
use crate::elapsed::{Elapsed, timer, within};
use crate::intake::Intake;

/// A consumer: a stream of [`Delivery`], from [`Channel::consume`].
///
/// It gives an error and goes on when one delivery cannot be read
/// ([`ErrorKind::BadDelivery`](crate::ErrorKind::BadDelivery): its tag is to be rejected by
/// [`Channel::reject`]), and gives an error as its last item when the broker has cancelled it, or the channel or the
/// connection has failed. It ends without an error when this side has cancelled it or closed the channel.
///
/// It keeps its channel, and by that the connection, open. Dropping it cancels it, and what it had received and not given
/// out goes back to the queue.
#[must_use = "a consumer that is dropped is cancelled"]
pub struct Consumer {
    intake: Intake,
}

impl Consumer {
    pub(crate) fn new(channel: Channel, id: ConsumerId) -> Self {
        Self { intake: Intake::new(channel, id) }
    }

    /// Its tag, unique on its channel. [`set_prefetch`](Self::set_prefetch) changes it.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.intake.tag()
    }

    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        self.intake.channel()
    }

    /// The next delivery, when there is one; `None` when there will be none. It has no deadline.
    ///
    /// # Errors
    ///
    /// See [`Consumer`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next delivery, if there is one now; `None` too when there will be none.
    ///
    /// # Errors
    ///
    /// See [`Consumer`].
    pub fn try_next(&mut self) -> Option<Result<Delivery, Error>> {
        self.intake.try_next(made)
    }

    /// The next delivery, as [`next`](Self::next), if it comes in time.
    ///
    /// ```no_run
    /// # async fn example(mut consumer: amqp_api::Consumer) -> Result<(), amqp_api::Error> {
    /// use std::time::Duration;
    ///
    /// # use amqp_api::Elapsed;
    ///
    /// loop {
    ///     match consumer.recv_timeout(Duration::from_secs(1)).await {
    ///         Ok(Some(delivery)) => delivery?.ack()?,
    ///         Ok(None) => break, // it was cancelled
    ///         Err(Elapsed) => println!("nothing to do"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if there was none in time; within the result, see [`Consumer`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped, nor by a time-out.
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Result<Delivery, Error>>, Elapsed> {
        let channel = self.channel().clone();
        within(channel.shared(), timeout, |cx| self.poll(cx)).await
    }

    /// The next deliveries together: at most `max`, and those that have come when `timeout` has passed since there was the
    /// first. For that one it waits without a deadline; `None` when there will be none.
    ///
    /// ```no_run
    /// # async fn example(mut consumer: amqp_api::Consumer) -> Result<(), amqp_api::Error> {
    /// use std::time::Duration;
    ///
    /// while let Some(batch) = consumer.next_batch(100, Duration::from_millis(50)).await {
    ///     let batch = batch?;
    ///     for delivery in &batch {
    ///         println!("{:?}", delivery.body());
    ///     }
    ///     batch.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It does not wait for more than can come: the prefetch bounds a batch too, so choose it for as many batches as are to
    /// be under way. Without acks a batch is complete when [`Limits::receive_buffer`](crate::Limits) is full.
    ///
    /// # Errors
    ///
    /// See [`Consumer`]. What came before the error is given out before it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped: deliveries stay in the consumer until the batch is complete.
    pub async fn next_batch(&mut self, max: usize, timeout: Duration) -> Option<Result<Batch, Error>> {
        let mut limit: Option<Call<()>> = None;
        let mut over = timeout.is_zero();
        poll_fn(|cx| {
            if self.intake.gives_way(cx) {
                return Poll::Pending;
            }
            loop {
                match self.intake.poll_batch(cx, max, over) {
                    NextBatch::Deliveries(deliveries) => {
                        return Poll::Ready(Some(Ok(Batch::new(deliveries, self.channel().shared()))));
                    }
                    NextBatch::Bad(error) => return Poll::Ready(Some(Err(error))),
                    NextBatch::Pending { some } => {
                        self.intake.rested();
                        if !some {
                            return Poll::Pending;
                        }
                        let limit = limit.get_or_insert_with(|| timer(self.channel().shared(), timeout));
                        if Pin::new(limit).poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        over = true;
                    }
                    _ => return Poll::Ready(None),
                }
            }
        })
        .await
    }

    /// Changes how many deliveries the broker sends ahead of their acks, 0 for any number. Nothing is lost or comes twice:
    /// what is unsettled, and what was received and not read, stays, and the order too.
    ///
    /// The protocol cannot change the prefetch of a running consumer (by [`Qos::global`](crate::Qos::global) that of a
    /// channel, which RabbitMQ has deprecated). So it consumes anew with the same options. Therefore:
    ///
    /// - Its [`tag`](Self::tag) changes. Deliveries name the tag by which they came; [`Channel::cancel`] knows its first one
    ///   too.
    /// - What is unsettled already does not count against the new prefetch.
    /// - What is under way from a quorum queue meanwhile may come later, and marked as redelivered.
    /// - Another consumer may get the place of the active one at a queue with a single active consumer.
    /// - An exclusive consumer is cancelled first, and its queue goes if it is auto-deleted.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`], and those of [`Channel::consume`]; if it was started without acks, or without its queue's
    /// name, or has been cancelled.
    ///
    /// # Cancel safety
    ///
    /// The change has been asked for when this returns; dropping the call does not stop it.
    pub fn set_prefetch(&mut self, prefetch: u16) -> Call<()> {
        self.intake.set_prefetch(prefetch)
    }

    /// Cancels it: the broker delivers nothing more, and the stream ends after what has been received.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]. One that has ended already is cancelled.
    pub fn cancel(&self) -> Call<()> {
        self.intake.cancel()
    }

    /// Cancels it and wants no answer: the stream ends at once, after what has been received. What is still on its way is
    /// put back, or, without acks, lost.
    ///
    /// # Errors
    ///
    /// If the channel or the connection is closed.
    pub fn cancel_nowait(&self) -> Result<(), Error> {
        self.intake.cancel_nowait()
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, Error>>> {
        self.intake.poll(cx, made)
    }
}

#[inline]
fn made(received: conn::Delivery, channel: &Channel) -> Delivery {
    Delivery::new(received, channel.shared())
}

impl Stream for Consumer {
    type Item = Result<Delivery, Error>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("tag", &self.tag()).field("channel", self.channel()).finish_non_exhaustive()
    }
}
