//! A message that was received: its settlement, its answer, and its way on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use amqp_proto::conn::{self, DeliveryTag};
use amqp_proto::error::Error;

use crate::acker::Acker;
use crate::content::Content;
use crate::message::{Message, Target};
use crate::shared::Shared;

/// A message from a consumer or from [`Channel::get`](crate::Channel::get): its [`Content`], to which it dereferences, and
/// what can be done with it.
///
/// It is settled by [`ack`](Self::ack), [`nack`](Self::nack) or [`reject`](Self::reject), each of which consumes it: it
/// cannot be settled twice. They only queue the settlement: they neither block nor wait, and acks in a row leave as
/// one. A delivery that is dropped unsettled goes back to its queue. One that was received without acks needs no
/// settlement; settling or dropping it does nothing.
///
/// It can be answered by [`reply`](Self::reply) and published again by [`republish`](Self::republish), on its own
/// channel and before what settles it.
///
/// It does not keep the connection open.
///
/// ```no_run
/// # async fn example(mut consumer: amqp_api::Consumer) -> Result<(), amqp_api::Error> {
/// while let Some(delivery) = consumer.next().await {
///     let delivery = delivery?;
///     if delivery.redelivered() {
///         delivery.republish("parked", "")?;
///     } else {
///         delivery.reply("pong")?;
///     }
///     delivery.ack()?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Settling it again does not compile:
///
/// ```compile_fail,E0382
/// # fn example(delivery: amqp_api::Delivery) -> Result<(), amqp_api::Error> {
/// delivery.ack()?;
/// delivery.nack(true)
/// # }
/// ```
pub struct Delivery {
    content: Content,
    acker: Acker,
}

impl Delivery {
    #[inline]
    pub(crate) fn new(received: conn::Delivery, shared: &Arc<Shared>) -> Self {
        let content = Content::new(received, shared.max_body);
        let (tag, open) = (content.delivery_tag(), content.needs_settling());
        Self { content, acker: Acker::new(tag, open, shared) }
    }

    /// One that was built, and not received.
    pub(crate) fn with_acker(content: Content, acker: Acker) -> Self {
        Self { content, acker }
    }

    /// The broker may forget it: it has been dealt with.
    ///
    /// # Errors
    ///
    /// If its channel or connection is closed: the broker has put it back then.
    #[inline]
    pub fn ack(self) -> Result<(), Error> {
        self.acker.ack()
    }

    /// Acks this and all earlier deliveries of its channel that are not settled, those of other consumers included.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_multiple(self) -> Result<(), Error> {
        self.acker.ack_multiple()
    }

    /// Refuses it. `requeue` puts it back, near its old place; otherwise it is dead-lettered or dropped.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(self, requeue: bool) -> Result<(), Error> {
        self.acker.nack(requeue)
    }

    /// Refuses this and all earlier deliveries of its channel that are not settled, those of other consumers included.
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

    /// Keeps its settlement back: the delivery can still be settled by whoever has it, but dropping it does nothing.
    pub(crate) fn lend(mut self) -> (Self, Acker) {
        let acker = self.acker.lend();
        (self, acker)
    }

    /// Hands over its settlement: its tag, if it is to be settled. Dropping it does nothing from now on.
    pub(crate) fn disarm(&mut self) -> Option<DeliveryTag> {
        self.acker.disarm()
    }

    /// Answers it: publishes a message to the queue that it names in its property `reply_to`, with its
    /// `correlation_id`, if it has one. What is published on [direct reply-to](https://www.rabbitmq.com/docs/direct-reply-to)
    /// is answered in the same way.
    ///
    /// The reply is queued on the delivery's own channel, before anything that settles the delivery afterwards. Nothing
    /// waits, so a handler can call it; nobody confirms it. [`Channel::reply`](crate::Channel::reply) waits for room,
    /// [`Publisher::reply`](crate::Publisher::reply) for the broker's word.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the delivery names no queue for replies;
    /// [`ErrorKind::Full`](crate::ErrorKind::Full) if there is no room; what is wrong with the message; a closed channel
    /// or connection, with its cause.
    pub fn reply<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.acker.reply(&self.content.properties()?, message.into())
    }

    /// Publishes it again, with its body and all its properties, its `user_id` included: RabbitMQ refuses that of
    /// another user. To change something, publish a [`Message`] made from it:
    ///
    /// ```no_run
    /// # async fn example(publisher: amqp_api::Publisher, delivery: amqp_api::Delivery) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Message;
    /// let again = Message::from(&delivery).header("attempt", 2);
    /// publisher.publish("retry", delivery.routing_key(), again).await?;
    /// delivery.ack()
    /// # }
    /// ```
    ///
    /// It is queued, on the delivery's own channel, as a [`reply`](Self::reply) is.
    ///
    /// # Errors
    ///
    /// What is wrong with names and properties; [`ErrorKind::Full`](crate::ErrorKind::Full) if there is no room; a closed
    /// channel or connection, with its cause.
    pub fn republish(&self, exchange: impl AsRef<str>, routing_key: impl AsRef<str>) -> Result<(), Error> {
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        let message = Message::from(&self.content).ready()?;
        self.acker.publish(&message.publish(&to, false))
    }

    /// Takes it apart: what it brought, and what settles it.
    #[must_use = "the delivery goes back to its queue when the acker is dropped"]
    pub fn into_parts(self) -> (Content, Acker) {
        (self.content, self.acker)
    }
}

impl Deref for Delivery {
    type Target = Content;

    #[inline]
    fn deref(&self) -> &Content {
        &self.content
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content.fmt(f)
    }
}
