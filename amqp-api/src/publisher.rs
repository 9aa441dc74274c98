//! Publishing with confirms.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{ChannelId, ConfirmId, Connection, Reply, RequestId};
use amqp_proto::error::Error;
use amqp_proto::method::confirm;

use crate::call::{Call, Keep, mismatch};
use crate::channel::{in_turn, is_channel_gone};
use crate::confirm::Confirm;
use crate::content::Content;
use crate::link::Link;
use crate::message::{Message, Target};
use crate::shared::{State, Touch};

/// A publisher: a channel of its own in confirm mode, from [`Connection::publisher`](crate::Connection::publisher).
///
/// What it publishes is mandatory and persistent, unless the [`Message`] or [`mandatory`](Self::mandatory) and
/// [`persistent`](Self::persistent) say otherwise. When the broker closes its channel, because of a publish to a missing
/// exchange for example, the publishes under way end as [`ErrorKind::Unknown`], and the next one opens a new channel.
///
/// Clones publish on the same channel; it is closed when the last one is dropped. Many tasks may use it at once. It
/// keeps the connection open.
///
/// ```no_run
/// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
/// let publisher = connection.publisher().await?;
/// publisher.publish("events", "order.created", "one").await?;
///
/// // Many at once: queue them all, then wait for each.
/// let mut confirms = Vec::new();
/// for body in ["two", "three"] {
///     confirms.push(publisher.send("events", "order.created", body).await?);
/// }
/// for confirm in confirms {
///     confirm.await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
    mandatory: bool,
    persistent: bool,
}

struct Inner {
    link: Link,
    /// Where the state keeps the present channel: it is looked up under the lock that a publish takes anyway.
    slot: usize,
}

impl Publisher {
    pub(crate) fn open(link: &Link) -> Call<Self> {
        fn finish(_: Reply, keep: Keep) -> Result<Publisher, Error> {
            match keep {
                Keep::Publisher(publisher) => Ok(publisher),
                _ => mismatch(),
            }
        }
        let opened = link.visit(Touch::All, |state| {
            let (channel, selected) = open_confirming(&mut state.conn)?;
            Ok((state.publishers.insert(channel), selected))
        });
        match opened {
            Ok((slot, selected)) => {
                let inner = Arc::new(Inner { link: link.clone(), slot });
                Call::waiting(selected, Keep::Publisher(Self { inner, mandatory: true, persistent: true }), finish)
            }
            Err(error) => Call::failed(error, Keep::Connection(link.clone()), finish),
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    /// A handle to the same channel, whose messages are mandatory or not if they do not say so themselves. Default: yes.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = mandatory;
        self
    }

    /// A handle to the same channel, whose messages are persistent if they have no delivery mode, or left without one.
    /// Default: yes.
    #[must_use]
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Publishes a message and waits until the broker has taken responsibility for it.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send) and of [`Confirm::outcome`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have published the message or not.
    pub async fn publish<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<(), Error> {
        self.send(exchange, routing_key, message).await?.await
    }

    /// Publishes a message: when it returns, the message stands in the write buffer, and the [`Confirm`] will say what
    /// becomes of it. It waits for room as [`Channel::publish`](crate::Channel::publish) does.
    ///
    /// # Errors
    ///
    /// What is wrong with names and properties; a closed connection, with its cause; a time-out;
    /// [`ErrorKind::ChannelsExhausted`] if a new channel had to be opened and cannot be.
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
        let message = self.prepare(message.into())?;
        self.send_to(&Target::new(exchange.as_ref(), routing_key.as_ref())?, &message).await
    }

    /// Answers what was received, and waits until the broker has taken responsibility for the answer: publishes a
    /// message to the queue that it names in its property `reply_to`, with its `correlation_id`, if it has one.
    /// [`Delivery::reply`](crate::Delivery::reply) waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`ErrorKind::Invalid`] if it names no queue for replies. An answer to a queue
    /// that is gone is [`ErrorKind::NoRoute`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have published the answer or not.
    pub async fn reply<'m>(&self, request: &Content, message: impl Into<Message<'m>>) -> Result<(), Error> {
        let message = self.prepare(message.into().replying_to(request)?)?;
        self.send_to(&Target::of_replies(request)?, &message).await?.await
    }

    async fn send_to(&self, to: &Target<'_>, message: &Message<'_>) -> Result<Confirm, Error> {
        let queue = |state: &mut State| self.queue(state, to, message);
        let (channel, confirm) = in_turn(self.link().shared(), message.body_len(), queue).await?;
        Ok(Confirm::new(Arc::clone(self.link().shared()), channel, confirm))
    }

    /// Publishes a message now, or says that there is no room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if there is no room, or others wait for it; otherwise those of [`send`](Self::send), but no time-out.
    pub fn try_send<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<Confirm, Error> {
        let message = self.prepare(message.into())?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        let (_, queued) = self.link().visit(Touch::Output, |state| self.queue(state, &to, &message));
        let (channel, confirm) = queued?;
        Ok(Confirm::new(Arc::clone(self.link().shared()), channel, confirm))
    }

    #[inline]
    fn prepare<'m>(&self, message: Message<'m>) -> Result<Message<'m>, Error> {
        let mut message = message.ready()?;
        if self.persistent {
            message.default_delivery_mode(2);
        }
        Ok(message)
    }

    /// Queues a message on the present channel, or on a new one if that is gone; also says which it was.
    #[inline]
    fn queue(
        &self,
        state: &mut State,
        to: &Target<'_>,
        message: &Message<'_>,
    ) -> (ChannelId, Result<(ChannelId, ConfirmId), Error>) {
        let publish = message.publish(to, self.mandatory);
        let channel = &mut state.publishers[self.inner.slot]; // There until the last handle is dropped.
        let result = match state.conn.publish_confirmed(*channel, &publish) {
            Err(error) if is_channel_gone(&error) && state.conn.is_open() => {
                replace(&mut state.conn, channel).and_then(|()| state.conn.publish_confirmed(*channel, &publish))
            }
            result => result,
        };
        (*channel, result.map(|confirm| (*channel, confirm)))
    }
}

/// A new channel in confirm mode. It can be published on at once: everything goes out in this order. If the broker
/// refuses the channel, confirm.select fails with it.
fn open_confirming(conn: &mut Connection) -> Result<(ChannelId, RequestId), Error> {
    let (channel, opened) = conn.open_channel()?;
    conn.abandon_request(opened);
    match conn.request(channel, confirm::Select { nowait: false }, None) {
        Ok(Some(selected)) => Ok((channel, selected)),
        Ok(None) => {
            conn.release_channel(channel);
            mismatch()
        }
        Err(error) => {
            conn.release_channel(channel);
            Err(error)
        }
    }
}

/// Puts a new channel in the place of one that is gone.
#[cold]
fn replace(conn: &mut Connection, channel: &mut ChannelId) -> Result<(), Error> {
    let (new, selected) = open_confirming(conn)?;
    conn.abandon_request(selected);
    conn.release_channel(std::mem::replace(channel, new));
    Ok(())
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.visit(Touch::All, |state| {
            if let Some(channel) = state.publishers.try_remove(self.slot) {
                state.conn.release_channel(channel);
            }
        });
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("mandatory", &self.mandatory)
            .field("persistent", &self.persistent)
            .finish_non_exhaustive()
    }
}
