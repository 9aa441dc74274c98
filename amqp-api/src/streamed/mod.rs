//! Deliveries whose bodies are read while they come in.
//!
//! The consumer stands here. It gives out a [`StreamedDelivery`] (`delivery`) when its header has come: an envelope, the
//! [`Acker`](crate::Acker) that settles it, and its [`BodyStream`] (`body`), which takes what has come of the body out of
//! the core, chunk by chunk.

mod body;
mod delivery;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use amqp_proto::conn::{self, ConsumerId, Reply};
use amqp_proto::error::Error;
use futures_core::Stream;

pub use self::body::BodyStream;
pub use self::delivery::StreamedDelivery;
use crate::call::{Call, Keep, mismatch};
use crate::channel::Channel;
use crate::elapsed::{Elapsed, within};
use crate::intake::Intake;
use crate::options::Consume;

impl Channel {
    /// Starts a consumer whose deliveries are handed out as soon as their headers have come, and whose bodies are read
    /// while they come in: for messages that are too large to be held in memory.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::io::Write;
    /// # use amqp_api::Consume;
    ///
    /// let mut films = channel.consume_streamed(Consume::new("films").prefetch(2)).await?;
    /// while let Some(film) = films.next().await {
    ///     let mut film = film?;
    ///     let mut file = std::fs::File::create(film.routing_key())?;
    ///     while let Some(chunk) = film.chunk().await {
    ///         file.write_all(&chunk?)?;
    ///     }
    ///     film.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`consume`](Self::consume).
    pub fn consume_streamed(&self, consume: impl Into<Consume>) -> Call<StreamedConsumer> {
        fn finish(reply: Reply, keep: Keep) -> Result<StreamedConsumer, Error> {
            match (reply, keep) {
                (Reply::Consuming(id), Keep::Channel(channel)) => Ok(StreamedConsumer::new(channel, id)),
                _ => mismatch(),
            }
        }
        let consume = consume.into();
        let fields = consume.fields(true);
        self.start(finish, |conn, id| conn.consume(id, &fields?, None))
    }
}

/// A consumer of large messages: a stream of [`StreamedDelivery`], from [`Channel::consume_streamed`].
///
/// What has come of bodies and was not read is bounded by [`Limits::receive_buffer`](crate::Limits), by default 4 MiB:
/// beyond that, reading from the socket pauses. Heartbeats go on, but everything else that comes on the connection waits
/// as well, replies to calls included; so use a connection of its own, and read or drop each delivery before waiting for
/// anything else. [`Limits::max_body`](crate::Limits) does not hold for these bodies. The broker sends the bodies of a
/// channel one after the other: the next delivery comes when the body of the one before it has come, and may be read
/// while that one is still being dealt with.
///
/// It gives errors and ends as [`Consumer`](crate::Consumer) does. It keeps its channel, and by that the connection,
/// open. Dropping it cancels it, and what it had received and not given out goes back to the queue.
#[must_use = "a consumer that is dropped is cancelled"]
pub struct StreamedConsumer {
    intake: Intake,
}

impl StreamedConsumer {
    fn new(channel: Channel, id: ConsumerId) -> Self {
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

    /// The next delivery, when its header has come; `None` when there will be none. It has no deadline.
    ///
    /// # Errors
    ///
    /// Those of a [`Consumer`](crate::Consumer).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Result<StreamedDelivery, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next delivery, if its header has come; `None` too when there will be none.
    ///
    /// # Errors
    ///
    /// Those of a [`Consumer`](crate::Consumer).
    pub fn try_next(&mut self) -> Option<Result<StreamedDelivery, Error>> {
        self.intake.try_next(made)
    }

    /// The next delivery, as [`next`](Self::next), if its header comes in time.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if there was none in time; within the result, those of a [`Consumer`](crate::Consumer).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped, nor by a time-out.
    pub async fn recv_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Result<StreamedDelivery, Error>>, Elapsed> {
        let channel = self.channel().clone();
        within(channel.shared(), timeout, |cx| self.poll(cx)).await
    }

    /// Cancels it: the broker delivers nothing more. What has come in full is still given out; a delivery that is coming
    /// in goes back to the queue, unless it was given out. The answer comes behind a body that is being read, so read that
    /// or drop it before waiting for this.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]. One that has ended already is cancelled.
    pub fn cancel(&self) -> Call<()> {
        self.intake.cancel()
    }

    /// Cancels it and wants no answer: the stream ends at once, after what has been received, and bodies that have been given
    /// out are read on. What is still on its way is put back, or, without acks, lost.
    ///
    /// # Errors
    ///
    /// If the channel or the connection is closed.
    pub fn cancel_nowait(&self) -> Result<(), Error> {
        self.intake.cancel_nowait()
    }

    /// Changes how many deliveries the broker sends ahead of their acks, as
    /// [`Consumer::set_prefetch`](crate::Consumer::set_prefetch) does. The answer comes behind the bodies that have been sent
    /// before, so read on and do not wait for it first.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The change has been asked for when this returns; dropping the call does not stop it.
    pub fn set_prefetch(&mut self, prefetch: u16) -> Call<()> {
        self.intake.set_prefetch(prefetch)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<StreamedDelivery, Error>>> {
        self.intake.poll(cx, made)
    }
}

fn made(received: conn::Delivery, channel: &Channel) -> StreamedDelivery {
    StreamedDelivery::new(received, channel.shared())
}

impl Stream for StreamedConsumer {
    type Item = Result<StreamedDelivery, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl fmt::Debug for StreamedConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedConsumer")
            .field("tag", &self.tag())
            .field("channel", self.channel())
            .finish_non_exhaustive()
    }
}
