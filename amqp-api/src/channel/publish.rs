//! Messages out, on a channel.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use amqp_proto::conn::{ChannelId, ConfirmId};
use amqp_proto::error::{Error, ErrorKind};

use super::Channel;
use crate::call::{Call, Keep, done};
use crate::confirm::Confirm;
use crate::message::{Message, Target};
use crate::shared::{Shared, Touch};

impl Channel {
    /// Publishes a message: when it returns, the message stands in the write buffer and leaves with what else stands
    /// there. Nothing is known then of what the broker does with it: see [`send`](Self::send), or a
    /// [`Publisher`](crate::Publisher). The empty exchange routes to the queue that the routing key names.
    ///
    /// It is neither mandatory nor persistent unless the [`Message`] says so. If the write buffer is full
    /// ([`Limits::publish_buffer`](crate::Limits), by default 1 MiB), because the broker does not read or has blocked
    /// publishing, it waits for room, by default for up to 30 s.
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
        let message = message.into().ready()?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        loop {
            match self.queue(&to, &message, true) {
                None => give_way().await,
                Some(Err(error)) if is_full(&error) => wait_room(self.shared(), self.id()).await?,
                Some(result) => return result,
            }
        }
    }

    /// Publishes a message now, or says that there is no room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if there is no room; otherwise those of [`publish`](Self::publish), but no time-out.
    pub fn try_publish<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Error> {
        let message = message.into().ready()?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        self.queue(&to, &message, false).unwrap_or_else(|| Err(Error::new(ErrorKind::Full)))
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
        let message = message.into().ready()?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        loop {
            match self.queue_confirmed(&to, &message) {
                None => give_way().await,
                Some(Ok(id)) => return Ok(Confirm::new(Arc::clone(self.shared()), self.id(), id)),
                Some(Err(error)) if is_full(&error) => wait_room(self.shared(), self.id()).await?,
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// `None`: nothing was queued, because it is the turn of others.
    #[inline]
    fn queue(&self, to: &Target<'_>, message: &Message<'_>, may_give_way: bool) -> Option<Result<(), Error>> {
        let publish = message.publish(to, false);
        let id = self.id();
        self.shared().visit(Touch::Output, |state| {
            let gives_way = may_give_way && state.gives_way();
            (!gives_way).then(|| state.conn.publish(id, &publish))
        })
    }

    /// `None`: nothing was queued, because it is the turn of others.
    #[inline]
    fn queue_confirmed(&self, to: &Target<'_>, message: &Message<'_>) -> Option<Result<ConfirmId, Error>> {
        let publish = message.publish(to, false);
        let id = self.id();
        self.shared()
            .visit(Touch::Output, |state| (!state.gives_way()).then(|| state.conn.publish_confirmed(id, &publish)))
    }
}

#[inline]
pub(crate) fn is_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Full)
}

/// Lets other tasks have a turn.
#[cold]
pub(crate) async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until a publish may go again.
#[cold]
pub(crate) fn wait_room(shared: &Arc<Shared>, id: ChannelId) -> Call<()> {
    Call::start(Keep::Memory(Arc::clone(shared)), done, |conn| Ok(Some(conn.wait_room(id, None))))
}
