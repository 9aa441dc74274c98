//! A message whose body is read while it comes in.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{self, DeliveryTag};
use amqp_proto::error::{Error, ProtocolError};
use amqp_proto::method::PropertiesRef;
use bytes::Bytes;

use super::BodyStream;
use crate::acker::Acker;
use crate::message::Message;
use crate::shared::Shared;

/// A message whose body is read while it comes in, from a [`StreamedConsumer`](crate::StreamedConsumer).
///
/// The body comes by [`chunk`](Self::chunk), or, taken by itself with [`into_parts`](Self::into_parts), as a stream. If
/// the channel or the connection ends before all of it has come, the cause comes as an error: a body that ends without one
/// is whole.
///
/// It is settled as a [`Delivery`](crate::Delivery) is, and best after the last chunk: it goes back to its queue if it is
/// dropped unsettled, and the rest of its body is thrown away as it comes. Settling it before that is allowed.
///
/// It does not keep the connection open.
pub struct StreamedDelivery {
    received: conn::Delivery,
    acker: Acker,
    body: BodyStream,
}

impl StreamedDelivery {
    pub(super) fn new(received: conn::Delivery, shared: &Arc<Shared>) -> Self {
        let acker = Acker::new(received.delivery_tag(), received.needs_settling(), shared);
        let body = BodyStream::new(&received, shared);
        Self { received, acker, body }
    }

    /// The next bytes of its body, at least one, when they have come; `None` at its end. It has no deadline: the
    /// connection's heartbeats tell whether the broker lives.
    ///
    /// # Errors
    ///
    /// Why the rest will not come: the channel or the connection has ended. The broker has put the delivery back then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        self.body.chunk().await
    }

    /// Reads the next bytes of its body into `buffer`, as many as there are and fit, and says how many; 0 at its end.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk), and every time from then on.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.body.read(buffer).await
    }

    /// The size of its body in bytes, as its header announced it.
    #[must_use]
    pub fn body_size(&self) -> u64 {
        self.body.size()
    }

    /// How many bytes of its body were not read.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.body.unread()
    }

    /// Its body, and what settles it: each may go its own way.
    pub fn into_parts(self) -> (BodyStream, Acker) {
        (self.body, self.acker)
    }

    /// Answers it, as [`Delivery::reply`](crate::Delivery::reply) does: publishes a message to the queue that it names in its
    /// property `reply_to`, with its `correlation_id`, if it has one. Nothing waits, its own body neither.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reply<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.acker.reply(&self.properties()?, message.into())
    }

    /// The broker may forget it: it has been dealt with. What was not read of its body is thrown away.
    ///
    /// # Errors
    ///
    /// If its channel or connection is closed: the broker has put it back then.
    pub fn ack(self) -> Result<(), Error> {
        self.acker.ack()
    }

    /// Acks this and all earlier deliveries of its channel that are not settled, those of other consumers included; what
    /// these still bring can be read. What was not read of its own body is thrown away.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_multiple(self) -> Result<(), Error> {
        self.acker.ack_multiple()
    }

    /// Refuses it. `requeue` puts it back, near its old place; otherwise it is dead-lettered or dropped. What was not read
    /// of its body is thrown away.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(self, requeue: bool) -> Result<(), Error> {
        self.acker.nack(requeue)
    }

    /// Refuses this and all earlier deliveries of its channel that are not settled, those of other consumers included. What
    /// was not read of its own body is thrown away.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack_multiple(self, requeue: bool) -> Result<(), Error> {
        self.acker.nack_multiple(requeue)
    }

    /// Refuses it by `basic.reject`, which every AMQP 0-9-1 broker has; the same as [`nack`](Self::nack) otherwise.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn reject(self, requeue: bool) -> Result<(), Error> {
        self.acker.reject(requeue)
    }

    /// Its tag: a number on its channel.
    #[must_use]
    pub fn delivery_tag(&self) -> DeliveryTag {
        self.received.delivery_tag()
    }

    /// The tag of the consumer it came to.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        self.received.consumer_tag()
    }

    /// The exchange it was published to; empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.received.exchange()
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.received.routing_key()
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.received.redelivered()
    }

    /// Its properties, decoded now.
    ///
    /// # Errors
    ///
    /// If they are malformed. The delivery can still be settled.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, Error> {
        self.received.properties().map_err(|error| ProtocolError::from(error).into())
    }
}

impl fmt::Debug for StreamedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedDelivery")
            .field("delivery_tag", &self.delivery_tag().value())
            .field("consumer_tag", &self.consumer_tag())
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("redelivered", &self.redelivered())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
