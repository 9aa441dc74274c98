//! Publishing with confirms.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{ChannelId, ConfirmId, Connection, Reply, RequestId};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::confirm;

use crate::batch_confirm::BatchConfirm;
use crate::call::{Call, Keep, mismatch};
use crate::channel::{in_turn, is_channel_gone};
use crate::confirm::{Confirm, Told, finish_confirmed};
use crate::connection::OpenChannel;
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
    told: Told,
}

struct Inner {
    link: Link,
    /// Where the state keeps the present channel: it is looked up under the lock that a publish takes anyway.
    slot: usize,
}

impl Publisher {
    pub(crate) fn open(link: &Link, opens: OpenChannel) -> Call<Self> {
        fn finish(_: Reply, keep: Keep) -> Result<Publisher, Error> {
            match keep {
                Keep::Publisher(publisher) => Ok(publisher),
                _ => mismatch(),
            }
        }
        let opened = link.visit(Touch::All, |state| {
            let (channel, selected) = open_confirming(&mut state.conn, opens)?;
            Ok((state.publishers.insert(channel), selected))
        });
        match opened {
            Ok((slot, selected)) => {
                let inner = Arc::new(Inner { link: link.clone(), slot });
                Call::waiting(
                    selected,
                    Keep::Publisher(Self { inner, mandatory: true, persistent: true, told: Told::default() }),
                    finish,
                )
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

    /// Lets at most `max` publishes, and at least one, be without their outcome at a time, for all handles to this channel.
    /// Default: no limit.
    ///
    /// While so many are, there is no room for the next: [`send`](Self::send) waits for a place, in the order of calls and
    /// with the deadline of room; [`try_send`](Self::try_send) says [`ErrorKind::Full`]. Whether anybody holds their
    /// [`Confirm`]s does not matter.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// let publisher = connection.publisher().await?.window(100);
    /// for number in 0..1_000_000 {
    ///     drop(publisher.send("", "numbers", format!("{number}")).await?);
    /// }
    /// publisher.wait_for_confirms().await
    /// # }
    /// ```
    #[must_use]
    pub fn window(self, max: usize) -> Self {
        let slot = self.inner.slot;
        self.link().visit(Touch::All, |state| state.conn.set_window(state.publishers[slot], max));
        self
    }

    /// Keeps what is published, until the broker has answered, and sends it again, in its order, when the connection was lost
    /// and is [back](crate::Connection#recovery): a [`Confirm`] then waits for the answer to what was sent again, for as long
    /// as [`Config::confirm_timeout`](crate::Config::confirm_timeout) says, counted from when it was published. A publish
    /// that has its outcome is not sent again; so each has one outcome, once. For all handles to this channel.
    ///
    /// The broker may have a message that it did not answer for, so that it comes twice: let messages be told apart, by their
    /// `message_id` for example. Nothing is sent again when the broker closes the channel, because of a missing exchange for
    /// example, nor when the connection ends for good: that is [`ErrorKind::Unknown`].
    ///
    /// At most `max_bytes` are kept, and one message more: beyond that there is no room for the next, as with
    /// [`window`](Self::window).
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// use amqp_api::Message;
    ///
    /// let publisher = connection.publisher().await?.at_least_once(16 * 1024 * 1024);
    /// publisher.publish("events", "order.created", Message::new("one").message_id("4711")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn at_least_once(self, max_bytes: usize) -> Self {
        let slot = self.inner.slot;
        self.link().visit(Touch::All, |state| state.conn.retain_publishes(state.publishers[slot], max_bytes));
        self
    }

    /// Waits until everything that was published before, by this handle or another to the same channel, has its outcome.
    /// What is published meanwhile is not waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unconfirmed`] if something was not acked: how many publishes were nacked, returned, or are unknown, and
    /// why. It counts all of which this handle has not told yet, also those whose [`Confirm`] was awaited or dropped,
    /// those of other handles, and those that were published meanwhile and have failed already. A clone goes on where the
    /// handle stood that it was made from.
    ///
    /// [`ErrorKind::ConnectionNotOpen`] and the like never: what a connection took with it when it ended is unknown. Each
    /// publish has its deadline, so this ends.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped: what failed is told by the next.
    pub async fn wait_for_confirms(&self) -> Result<(), Error> {
        let slot = self.inner.slot;
        let keep = Keep::Publisher(self.clone());
        let call = match self.link().visit(Touch::All, |state| state.conn.wait_confirms(state.publishers[slot])) {
            Ok(request) => Call::waiting(request, keep, finish_confirmed),
            Err(error) => Call::failed(error, keep, finish_confirmed),
        };
        self.told.tell(call.await?)
    }

    /// Publishes a batch and waits until the broker has taken responsibility for all of its messages.
    ///
    /// ```no_run
    /// # async fn example(publisher: amqp_api::Publisher) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::ErrorKind;
    /// let orders = ["one", "two", "three"];
    /// let published = publisher.publish_batch(orders.map(|order| ("events", "order.created", order))).await;
    /// if let Err(error) = &published
    ///     && let ErrorKind::Batch(outcome) = error.kind()
    /// {
    ///     for failure in &outcome.failures {
    ///         eprintln!("{}: {}", orders[failure.index], failure.error);
    ///     }
    /// }
    /// # published
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`send_batch`](Self::send_batch); [`ErrorKind::Batch`] with the messages that were not acked.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have published any number of the messages, the first ones first.
    pub async fn publish_batch<'m>(
        &self,
        messages: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>, impl Into<Message<'m>>)>,
    ) -> Result<(), Error> {
        self.send_batch(messages).await?.await
    }

    /// Publishes a batch: messages, each with its exchange and its routing key. When it returns they stand in the write
    /// buffer, and the [`BatchConfirm`] will say what becomes of them. This costs less than as many single publishes.
    ///
    /// They are queued all at once, with nothing of the same channel between them, if there is room for all. If not, it
    /// waits for room as [`send`](Self::send) does, and queues the next as often as there is some: in their order, but
    /// others may publish between the parts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InBatch`] if a message cannot be sent, because of a name that is too long, for example: then none was
    /// queued. Those of [`send`](Self::send), if none was queued. Once the first was, what keeps the others from being
    /// queued is told by the [`BatchConfirm`], as their failure.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has published any number of the messages, the first ones first; none if there was
    /// room for all.
    pub async fn send_batch<'m>(
        &self,
        messages: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>, impl Into<Message<'m>>)>,
    ) -> Result<BatchConfirm, Error> {
        let mut batch = Vec::new();
        for (index, (exchange, routing_key, message)) in messages.into_iter().enumerate() {
            let mut message = message.into();
            Target::new(exchange.as_ref(), routing_key.as_ref())
                .and_then(|_| self.prepare(&mut message))
                .map_err(|error| Error::new(ErrorKind::InBatch { index, error }))?;
            batch.push((exchange, routing_key, message));
        }
        let shared = self.link().shared();
        let mut confirm = BatchConfirm::new(Arc::clone(shared), batch.len());
        let mut next = 0;
        while let Some((_, _, first)) = batch.get(next) {
            let part = |state: &mut State| self.queue_part(state, &batch, next, &mut confirm);
            match in_turn(shared, first.body_len(), part).await {
                Ok(queued) => next += queued,
                Err(error) if next == 0 => return Err(error),
                Err(error) => {
                    confirm.unsent(next, error);
                    break;
                }
            }
        }
        Ok(confirm)
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
        let mut message = message.into();
        self.prepare(&mut message)?;
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
        let request = request.properties()?;
        let mut message = message.into().replying_to(&request)?;
        self.prepare(&mut message)?;
        self.send_to(&Target::of_replies(&request)?, &message).await?.await
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
        let mut message = message.into();
        self.prepare(&mut message)?;
        let to = Target::new(exchange.as_ref(), routing_key.as_ref())?;
        let (_, queued) = self.link().visit(Touch::Output, |state| self.queue(state, &to, &message));
        let (channel, confirm) = queued?;
        Ok(Confirm::new(Arc::clone(self.link().shared()), channel, confirm))
    }

    #[inline]
    fn prepare(&self, message: &mut Message<'_>) -> Result<(), Error> {
        message.make_ready()?;
        if self.persistent {
            message.default_delivery_mode(2);
        }
        Ok(())
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
        let (channel, result) = self.on_channel(state, |conn, channel| conn.publish_confirmed(channel, &publish));
        (channel, result.map(|confirm| (channel, confirm)))
    }

    /// Queues the message `from` of a batch and those behind it, as many as there is room for, and says how many that
    /// were. An error is that of the first.
    fn queue_part(
        &self,
        state: &mut State,
        batch: &[(impl AsRef<str>, impl AsRef<str>, Message<'_>)],
        from: usize,
        confirm: &mut BatchConfirm,
    ) -> (ChannelId, Result<usize, Error>) {
        let publish = |index: usize| {
            let (exchange, routing_key, message) = batch.get(index)?;
            let to = Target::new(exchange.as_ref(), routing_key.as_ref()).ok()?;
            Some((to, message))
        };
        let mut channel = state.publishers[self.inner.slot];
        if from == 0 {
            let mut all = (0..batch.len()).filter_map(|index| publish(index).map(|publish| (index, publish)));
            let wrong = all.find_map(|(index, (to, message))| {
                let error = state.conn.check_publish(&message.publish(&to, self.mandatory)).err()?;
                Some(Error::new(ErrorKind::InBatch { index, error }))
            });
            if let Some(error) = wrong {
                return (channel, Err(error));
            }
        }
        let id = confirm.id(|| state.conn.begin_batch());
        let mut queued = 0;
        while let Some((to, message)) = publish(from + queued) {
            let publish = message.publish(&to, self.mandatory);
            let index = from + queued;
            let result;
            (channel, result) =
                self.on_channel(state, |conn, channel| conn.publish_in_batch(channel, &publish, id, index));
            match result {
                Ok(()) => queued += 1,
                Err(error) if queued == 0 => return (channel, Err(error)),
                Err(_) => break,
            }
        }
        state.has_published(queued.saturating_sub(1));
        (channel, Ok(queued))
    }

    /// Publishes on the present channel, or on a new one if that is gone; also says which it was.
    #[inline]
    fn on_channel<T>(
        &self,
        state: &mut State,
        publish: impl Fn(&mut Connection, ChannelId) -> Result<T, Error>,
    ) -> (ChannelId, Result<T, Error>) {
        let channel = &mut state.publishers[self.inner.slot]; // There until the last handle is dropped.
        let result = match publish(&mut state.conn, *channel) {
            Err(error) if is_channel_gone(&error) && state.conn.is_open() => {
                replace(&mut state.conn, channel).and_then(|()| publish(&mut state.conn, *channel))
            }
            result => result,
        };
        (*channel, result)
    }
}

/// A new channel in confirm mode. It can be published on at once: everything goes out in this order. If the broker
/// refuses the channel, confirm.select fails with it.
fn open_confirming(conn: &mut Connection, opens: OpenChannel) -> Result<(ChannelId, RequestId), Error> {
    let (channel, opened) = opens(conn)?;
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
    let (new, selected) = open_confirming(conn, Connection::open_channel)?;
    conn.abandon_request(selected);
    conn.inherit_confirms(new, *channel);
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
