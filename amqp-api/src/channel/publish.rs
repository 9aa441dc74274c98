//! Messages out, on a channel.

use std::sync::Arc;

use amqp_proto::error::Error;

use super::{Channel, in_turn};
use crate::confirm::Confirm;
use crate::content::Content;
use crate::message::{Message, Target};
use crate::shared::{State, Touch};

impl Channel {
    /// Publishes a message: when it returns, the message stands in the write buffer and leaves with what else stands
    /// there. Nothing is known then of what the broker does with it: see [`send`](Self::send), or a
    /// [`Publisher`](crate::Publisher). The empty exchange routes to the queue that the routing key names.
    ///
    /// It is neither mandatory nor persistent unless the [`Message`] says so. If the write buffer is full
    /// ([`Limits::publish_buffer`](crate::Limits), by default 1 MiB), because the broker does not read or has blocked
    /// publishing, it waits for room, by default for up to 30 s; whoever waits longer gets it first.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Message;
    ///
    /// channel.publish("events", "order.created", "hello").await?;
    /// channel.publish("", "orders", Message::new(vec![0; 4096]).persistent()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What is wrong with names and properties; a closed channel or connection, with its cause; a time-out. A missing
    /// exchange closes the channel later.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has published nothing.
    pub async fn publish<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Error> {
        let mut message = message.into();
        message.make_ready()?;
        self.publish_to(&Target::new(exchange.as_ref(), routing_key.as_ref())?, &message).await
    }

    /// Answers what was received: publishes a message to the queue that it names in its property `reply_to`, with its
    /// `correlation_id`, if it has one. It waits for room as [`publish`](Self::publish) does;
    /// [`Delivery::reply`](crate::Delivery::reply) does not.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it names no queue for
    /// replies.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has published nothing.
    pub async fn reply<'m>(&self, request: &Content, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let request = request.properties()?;
        let message = message.into().replying_to(&request)?.ready()?;
        self.publish_to(&Target::of_replies(&request)?, &message).await
    }

    async fn publish_to(&self, to: &Target<'_>, message: &Message<'_>) -> Result<(), Error> {
        let id = self.id();
        let queue = |state: &mut State| (id, state.conn.publish(id, &message.publish(to, false)));
        in_turn(self.shared(), message.body_len(), queue).await
    }

    /// Publishes a message now, or says that there is no room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`](crate::ErrorKind::Full) if there is no room, or others wait for it; otherwise those of [`publish`](Self::publish), but no time-out.
    pub fn try_publish<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Error> {
        let mut message = message.into();
        message.make_ready()?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        let (id, publish) = (self.id(), message.publish(&to, false));
        self.shared().visit(Touch::Output, |state| state.conn.publish(id, &publish))
    }

    /// Publishes a message on a channel in confirm mode: when it returns, the message stands in the write buffer, and
    /// the [`Confirm`] will say what becomes of it.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// channel.confirm_select().await?;
    /// let one = channel.send("", "orders", "one").await?;
    /// let two = channel.send("", "orders", "two").await?;
    /// one.await?;
    /// two.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and if the channel is not in confirm mode.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has published nothing.
    pub async fn send<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<Confirm, Error> {
        let mut message = message.into();
        message.make_ready()?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        let id = self.id();
        let queue = |state: &mut State| (id, state.conn.publish_confirmed(id, &message.publish(&to, false)));
        let confirm = in_turn(self.shared(), message.body_len(), queue).await?;
        Ok(Confirm::new(Arc::clone(self.shared()), id, confirm))
    }
}
