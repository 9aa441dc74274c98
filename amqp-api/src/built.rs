//! Deliveries for unit tests: built, not received, with a record of what becomes of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amqp_proto::config::Limits;
use amqp_proto::conn::{self, DeliveryParts, Publish, PublishBody};
use amqp_proto::error::Error;
use amqp_proto::method::Properties;
use amqp_proto::wire::ShortStr;
use bytes::Bytes;

use crate::acker::Acker;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::message::{Message, Target};

impl Delivery {
    /// Builds a delivery that no broker has sent, for a unit test of what handles deliveries.
    ///
    /// What becomes of it is written down: how it was settled, and what was published by it. No connection is there, and
    /// none is needed.
    ///
    /// ```
    /// use amqp_api::{Delivery, Error, Message, Settled};
    ///
    /// // The code under test.
    /// fn handle(delivery: Delivery) -> Result<(), Error> {
    ///     match delivery.redelivered() {
    ///         true => delivery.reject(false),
    ///         false => delivery.reply("done").and_then(|()| delivery.ack()),
    ///     }
    /// }
    ///
    /// let order = Message::new("7 apples").reply_to("answers").correlation_id("17");
    /// let (delivery, record) = Delivery::builder().routing_key("order.created").message(order).build()?;
    /// handle(delivery)?;
    /// assert_eq!(record.settled(), Some(Settled::Ack { multiple: false }));
    /// assert_eq!(record.published()[0].routing_key, "answers");
    ///
    /// let (delivery, record) = Delivery::builder().message("7 apples").redelivered(true).build()?;
    /// handle(delivery)?;
    /// assert_eq!(record.settled(), Some(Settled::Reject { requeue: false }));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn builder() -> DeliveryBuilder<'static> {
        DeliveryBuilder {
            message: Message::new(&[][..]),
            exchange: String::new(),
            routing_key: String::new(),
            consumer_tag: String::new(),
            delivery_tag: 1,
            redelivered: false,
            no_ack: false,
            message_count: None,
        }
    }
}

/// A [`Delivery`] to be: see [`Delivery::builder`]. Without anything said it is an empty message from the default exchange,
/// with the delivery tag 1, to be acked.
#[derive(Debug, Clone)]
#[must_use]
pub struct DeliveryBuilder<'a> {
    message: Message<'a>,
    exchange: String,
    routing_key: String,
    consumer_tag: String,
    delivery_tag: u64,
    redelivered: bool,
    no_ack: bool,
    message_count: Option<u32>,
}

impl DeliveryBuilder<'_> {
    /// Its body and properties, as somebody publishes them.
    pub fn message<'m>(self, message: impl Into<Message<'m>>) -> DeliveryBuilder<'m> {
        DeliveryBuilder {
            message: message.into(),
            exchange: self.exchange,
            routing_key: self.routing_key,
            consumer_tag: self.consumer_tag,
            delivery_tag: self.delivery_tag,
            redelivered: self.redelivered,
            no_ack: self.no_ack,
            message_count: self.message_count,
        }
    }

    /// The exchange it was published to. Default: the default exchange.
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self
    }

    /// The routing key it was published with. Default: empty.
    pub fn routing_key(mut self, routing_key: impl Into<String>) -> Self {
        self.routing_key = routing_key.into();
        self
    }

    /// The tag of the consumer it comes to. Default: empty, as of a message that was got.
    pub fn consumer_tag(mut self, tag: impl Into<String>) -> Self {
        self.consumer_tag = tag.into();
        self
    }

    /// Its number on its channel. Default: 1.
    pub fn delivery_tag(mut self, number: u64) -> Self {
        self.delivery_tag = number;
        self
    }

    /// Whether it may have been delivered before. Default: no.
    pub fn redelivered(mut self, redelivered: bool) -> Self {
        self.redelivered = redelivered;
        self
    }

    /// It needs no ack, as from a consumer without acks. Default: it needs one.
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    /// As a message that was got: so many are left in the queue.
    pub fn message_count(mut self, count: u32) -> Self {
        self.message_count = Some(count);
        self
    }

    /// The delivery, and the record of what becomes of it.
    ///
    /// # Errors
    ///
    /// What could not have been published: a name or a property of more than 255 bytes, for example.
    pub fn build(self) -> Result<(Delivery, DeliveryRecord), Error> {
        let message = self.message.ready()?;
        let publish = message.publish(&Target::new(&self.exchange, &self.routing_key)?, false);
        let received = conn::Delivery::from_parts(&DeliveryParts {
            delivery_tag: self.delivery_tag,
            needs_settling: !self.no_ack,
            redelivered: self.redelivered,
            message_count: self.message_count,
            consumer_tag: ShortStr::named("consumer tag", &self.consumer_tag)?,
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            properties: publish.properties,
            body: bytes_of(&publish.body),
        });
        let record = DeliveryRecord::default();
        let content = Content::new(received, Limits::default().max_body);
        let acker = Acker::of_record(content.delivery_tag(), !self.no_ack, record.clone());
        Ok((Delivery::with_acker(content, acker), record))
    }
}

fn bytes_of(body: &PublishBody<'_>) -> Bytes {
    match body {
        PublishBody::Borrowed(body) => Bytes::copy_from_slice(body),
        PublishBody::Shared(body) => body.clone(),
    }
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settled {
    /// By [`ack`](Delivery::ack), or by [`ack_multiple`](Delivery::ack_multiple).
    Ack {
        /// With all earlier ones.
        multiple: bool,
    },
    /// By [`nack`](Delivery::nack), or by [`nack_multiple`](Delivery::nack_multiple).
    Nack {
        /// With all earlier ones.
        multiple: bool,
        /// It goes back to its queue; otherwise it is dead-lettered or dropped.
        requeue: bool,
    },
    /// By [`reject`](Delivery::reject).
    Reject {
        /// It goes back to its queue; otherwise it is dead-lettered or dropped.
        requeue: bool,
    },
    /// It was dropped, and so goes back to its queue.
    Dropped,
}

/// What has become of a [built](Delivery::builder) delivery. All clones are one record.
#[derive(Debug, Clone, Default)]
pub struct DeliveryRecord(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    settled: Option<Settled>,
    published: Vec<PublishRecord>,
}

/// What was published by a built delivery: by [`Delivery::reply`] or [`Delivery::republish`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PublishRecord {
    /// The exchange; empty for the default one, to which replies go.
    pub exchange: String,
    /// The routing key: of a reply, the queue that it goes to.
    pub routing_key: String,
    /// The properties.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

impl DeliveryRecord {
    /// How it was settled; `None` if it has not been yet, or needs no ack.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        self.lock().settled
    }

    /// What was published by it, in order.
    #[must_use]
    pub fn published(&self) -> Vec<PublishRecord> {
        self.lock().published.clone()
    }

    pub(crate) fn note_settled(&self, how: Settled) {
        self.lock().settled = Some(how);
    }

    pub(crate) fn note_publish(&self, publish: &Publish<'_>) {
        let published = PublishRecord {
            exchange: publish.exchange.to_string_lossy().into_owned(),
            routing_key: publish.routing_key.to_string_lossy().into_owned(),
            properties: publish.properties.clone(),
            body: bytes_of(&publish.body),
        };
        self.lock().published.push(published);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> (Delivery, DeliveryRecord) {
        Delivery::builder().message("hello").build().unwrap()
    }

    #[test]
    fn f57_every_way_to_settle_a_built_delivery_is_recorded() {
        let by = |settle: fn(Delivery) -> Result<(), Error>| {
            let (delivery, record) = built();
            assert_eq!(record.settled(), None);
            settle(delivery).unwrap();
            record.settled().unwrap()
        };
        assert_eq!(by(Delivery::ack), Settled::Ack { multiple: false });
        assert_eq!(by(Delivery::ack_multiple), Settled::Ack { multiple: true });
        assert_eq!(by(|it| it.nack(true)), Settled::Nack { multiple: false, requeue: true });
        assert_eq!(by(|it| it.nack_multiple(false)), Settled::Nack { multiple: true, requeue: false });
        assert_eq!(by(|it| it.reject(true)), Settled::Reject { requeue: true });
        assert_eq!(by(|it| it.into_parts().1.ack()), Settled::Ack { multiple: false });
        let dropped = by(|it| {
            drop(it);
            Ok(())
        });
        assert_eq!(dropped, Settled::Dropped);
    }

    #[test]
    fn f57_a_built_delivery_that_needs_no_ack_has_no_settlement() {
        let (delivery, record) = Delivery::builder().no_ack().build().unwrap();
        delivery.ack().unwrap();
        assert_eq!(record.settled(), None);
    }

    #[test]
    fn f57_a_built_delivery_shows_what_it_was_built_of_and_goes_on() {
        let message = Message::new(vec![7; 5000]).header("trace", 17).message_id("m");
        let builder = Delivery::builder().message(message).exchange("events").routing_key("a.b").consumer_tag("tag");
        let (delivery, record) = builder.delivery_tag(9).message_count(3).build().unwrap();
        assert_eq!((delivery.exchange(), delivery.routing_key(), delivery.consumer_tag()), ("events", "a.b", "tag"));
        assert_eq!((delivery.delivery_tag().value(), delivery.message_count()), (9, Some(3)));
        assert_eq!(delivery.body().len(), 5000);
        delivery.republish("parked", "c").unwrap();
        let published = record.published();
        let [only] = &published[..] else { panic!("{published:?}") };
        assert_eq!((&only.exchange[..], &only.routing_key[..], only.body.len()), ("parked", "c", 5000));
        assert_eq!(only.properties.view().message_id.unwrap(), "m");
        assert!(delivery.reply("to nobody").is_err());
        assert_eq!(record.published().len(), 1);
    }

    #[test]
    fn f57_what_could_not_be_published_cannot_be_built() {
        let long = "x".repeat(256);
        Delivery::builder().routing_key(&long).build().unwrap_err();
        Delivery::builder().consumer_tag(&long).build().unwrap_err();
        Delivery::builder().message(Message::new("").message_id(&long)).build().unwrap_err();
    }
}
