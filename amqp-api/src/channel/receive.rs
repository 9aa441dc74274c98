//! Messages in: consumers, single messages, and settlement by tag.

use amqp_proto::conn::{DeliveryTag, Reply};
use amqp_proto::error::Error;
use amqp_proto::method::basic;
use amqp_proto::wire::ShortStr;

use super::{Channel, Returns};
use crate::call::{Call, Keep, done, mismatch};
use crate::consumer::Consumer;
use crate::delivery::Delivery;
use crate::options::{Cancel, Consume, Get, Qos};
use crate::shared::Touch;

impl Channel {
    /// Starts a consumer on a queue: a stream of deliveries.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// let mut consumer = channel.consume("orders").await?;
    /// while let Some(delivery) = consumer.next().await {
    ///     let delivery = delivery?;
    ///     println!("{:?}", delivery.body());
    ///     delivery.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if the queue is missing, 403 if it has an exclusive consumer. A tag that is in use on
    /// this channel is refused on this side, and so is a stream without acks or prefetch, where its arguments show that it
    /// is one; otherwise RabbitMQ refuses it, with 540, which closes the connection, or 406.
    pub fn consume(&self, consume: impl Into<Consume>) -> Call<Consumer> {
        fn finish(reply: Reply, keep: Keep) -> Result<Consumer, Error> {
            match (reply, keep) {
                (Reply::Consuming(id), Keep::Channel(channel)) => Ok(Consumer::new(channel, id)),
                _ => mismatch(),
            }
        }
        let consume = consume.into();
        let fields = consume.fields(false);
        self.start(finish, |conn, id| conn.consume(id, &fields?, None))
    }

    /// Cancels a consumer of this channel by its tag: [`Consumer::cancel`] does it by its handle. An unknown tag is no
    /// error, at RabbitMQ.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`].
    pub fn cancel(&self, cancel: impl Into<Cancel>) -> Call<()> {
        let Cancel { tag, nowait } = cancel.into();
        let tag = ShortStr::named("consumer tag", &tag).map_err(|error| Error::from(error).during("basic.cancel"));
        let id = self.id();
        Call::start(Keep::Channel(self.clone()), done, |conn| match nowait {
            true => conn.cancel_tag_nowait(id, tag?).map(|()| None),
            false => conn.cancel_tag(id, tag?, None).map(Some),
        })
    }

    /// Gets one message from a queue; `None` if it is empty. A consumer is much faster.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if the queue is missing.
    ///
    /// # Cancel safety
    ///
    /// If the call is dropped, its message is put back; with [`no_ack`](Get::no_ack) it is lost.
    pub fn get(&self, get: impl Into<Get>) -> Call<Option<Delivery>> {
        fn finish(reply: Reply, keep: Keep) -> Result<Option<Delivery>, Error> {
            match (reply, keep) {
                (Reply::Got(content), Keep::Channel(channel)) => {
                    Ok(content.map(|content| Delivery::new(*content, channel.shared())))
                }
                _ => mismatch(),
            }
        }
        let Get { queue, no_ack } = get.into();
        let queue = ShortStr::named("queue", &queue).map_err(|error| Error::from(error).during("basic.get"));
        self.call(finish, queue.map(|queue| basic::Get { queue, no_ack }))
    }

    /// Sets how many unsettled deliveries the consumers that are still to come get, or, with [`Qos::global`], how many
    /// there may be on the channel. [`Consume::prefetch`] sets it for one consumer.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; RabbitMQ refuses a prefetch size with 540, which closes the connection.
    pub fn qos(&self, qos: impl Into<Qos>) -> Call<()> {
        let Qos { prefetch_size, prefetch_count, global } = qos.into();
        self.call(done, Ok(basic::Qos { prefetch_size, prefetch_count, global }))
    }

    /// Acks by tag, and with `multiple` all deliveries up to it. [`Delivery::ack`] is the usual way.
    ///
    /// A [`DeliveryTag`] is checked here: one that is settled already is an error, and one that has become void does
    /// nothing. A number is sent as it is, 0 with `multiple` for all deliveries; an unknown one closes the channel with
    /// 406.
    ///
    /// # Errors
    ///
    /// If the channel or the connection is closed, or the delivery is settled already.
    pub fn ack(&self, delivery_tag: impl Into<Tag>, multiple: bool) -> Result<(), Error> {
        let (id, tag) = (self.id(), delivery_tag.into());
        self.shared().visit(Touch::Output, |state| match tag {
            Tag::Delivery(tag) => state.conn.ack(tag, multiple),
            Tag::Number(tag) => state.conn.raw_ack(id, tag, multiple),
        })
    }

    /// Refuses by tag, and with `multiple` all deliveries up to it: see [`ack`](Self::ack).
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(&self, delivery_tag: impl Into<Tag>, multiple: bool, requeue: bool) -> Result<(), Error> {
        let (id, tag) = (self.id(), delivery_tag.into());
        self.shared().visit(Touch::Output, |state| match tag {
            Tag::Delivery(tag) => state.conn.nack(tag, multiple, requeue),
            Tag::Number(tag) => state.conn.raw_nack(id, tag, multiple, requeue),
        })
    }

    /// Rejects by tag: see [`ack`](Self::ack).
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn reject(&self, delivery_tag: impl Into<Tag>, requeue: bool) -> Result<(), Error> {
        let (id, tag) = (self.id(), delivery_tag.into());
        self.shared().visit(Touch::Output, |state| match tag {
            Tag::Delivery(tag) => state.conn.reject(tag, requeue),
            Tag::Number(tag) => state.conn.raw_reject(id, tag, requeue),
        })
    }

    /// Asks for all unsettled deliveries again: they are requeued, and their tags are void. Without `requeue` they
    /// would come to the same consumers; RabbitMQ refuses that with 540.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`].
    pub fn recover(&self, requeue: bool) -> Call<()> {
        self.call(done, Ok(basic::Recover { requeue }))
    }

    /// The same as [`recover`](Self::recover), without a reply. The protocol has deprecated it: what was on its way when
    /// it was sent has a tag that is void, and acking that closes the channel with 406.
    ///
    /// # Errors
    ///
    /// If the channel or the connection is closed.
    pub fn recover_async(&self, requeue: bool) -> Result<(), Error> {
        let id = self.id();
        self.shared()
            .visit(Touch::All, |state| state.conn.request(id, basic::RecoverAsync { requeue }, None))
            .map(|_| ())
    }

    /// The messages that were published as mandatory, taken by no queue and sent back, unless a
    /// [`Confirm`](crate::Confirm) that somebody holds gets them. While nobody reads them the
    /// latest are kept, up to [`Limits::receive_buffer`](crate::Limits) bytes on a channel; what goes is counted in
    /// [`Stats::returns_dropped`](crate::Stats).
    pub fn returns(&self) -> Returns {
        Returns::new(self.clone())
    }
}

/// What to settle: a delivery by the tag that it came with, or whatever has a number on the wire.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Tag {
    /// Checked before anything is sent.
    Delivery(DeliveryTag),
    /// Sent as it is.
    Number(u64),
}

impl From<DeliveryTag> for Tag {
    fn from(tag: DeliveryTag) -> Self {
        Self::Delivery(tag)
    }
}

impl From<u64> for Tag {
    fn from(tag: u64) -> Self {
        Self::Number(tag)
    }
}
