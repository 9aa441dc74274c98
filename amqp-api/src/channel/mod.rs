//! A channel: the handle on which nearly everything is done.
//!
//! | file | job |
//! |---|---|
//! | `topology` | exchanges, queues and bindings |
//! | `publish` | messages out, on this channel |
//! | `room` | the wait for room to publish |
//! | `receive` | messages in: consume, get, qos, settlement by tag, recover |
//! | `returns` | the stream of messages that came back |
//! | `scope` | a channel for the time of a function |

mod publish;
mod receive;
mod returns;
mod room;
mod scope;
mod topology;

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{self, ChannelId, Reply, RequestId};
use amqp_proto::error::Error;
use amqp_proto::method::{Method, channel, confirm, tx};

pub use self::receive::Tag;
pub use self::returns::Returns;
pub(crate) use self::room::{in_turn, is_channel_gone};
pub use self::topology::QueueDeclared;
use crate::call::{Call, Keep, done, mismatch};
use crate::confirm::{Told, finish_confirmed};
use crate::connection::OpenChannel;
use crate::link::Link;
use crate::shared::{Shared, Touch};

/// A channel of a connection: a conversation with the broker, whose replies and errors are its own.
///
/// Clones are handles to the same channel; it is closed when the last one, and the last consumer and call on it, are
/// dropped. Many tasks may use it at once. It keeps the connection open.
///
/// Its methods queue their request at once and return a [`Call`] to be awaited, so several may be under way:
///
/// ```no_run
/// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
/// # use amqp_api::Exchange;
///
/// let exchange = channel.exchange_declare(Exchange::topic("events"));
/// let queue = channel.queue_declare("orders");
/// let binding = channel.queue_bind("orders", "events", "order.*");
/// exchange.await?;
/// queue.await?;
/// binding.await?;
/// # Ok(())
/// # }
/// ```
///
/// The broker answers most errors by closing the channel: whatever waits on it ends with that error, everything later
/// does so too, and [`error`](Self::error) keeps it. Other channels go on.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
    told: Told,
}

struct Inner {
    shared: Arc<Shared>,
    id: ChannelId,
    /// Dropped after the channel was released.
    link: Link,
}

impl Channel {
    /// A new channel of this connection.
    pub(crate) fn open(link: &Link, opens: OpenChannel) -> Call<Self> {
        fn finish(_: Reply, keep: Keep) -> Result<Channel, Error> {
            match keep {
                Keep::Channel(channel) => Ok(channel),
                _ => mismatch(),
            }
        }
        match link.visit(Touch::All, |state| opens(&mut state.conn)) {
            Ok((id, request)) => {
                let inner = Inner { shared: Arc::clone(link.shared()), id, link: link.clone() };
                Call::waiting(request, Keep::Channel(Self { inner: Arc::new(inner), told: Told::default() }), finish)
            }
            Err(error) => Call::failed(error, Keep::Connection(link.clone()), finish),
        }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    #[inline]
    pub(crate) fn id(&self) -> ChannelId {
        self.inner.id
    }

    /// Queues a method that is answered by something that `finish` understands.
    fn call<'m, T>(
        &self,
        finish: fn(Reply, Keep) -> Result<T, Error>,
        method: Result<impl Into<Method<'m>>, Error>,
    ) -> Call<T> {
        let id = self.id();
        Call::start(Keep::Channel(self.clone()), finish, |conn| conn.request(id, method?, None))
    }

    /// Queues a request that is answered by something that `finish` understands.
    pub(crate) fn start<T>(
        &self,
        finish: fn(Reply, Keep) -> Result<T, Error>,
        request: impl FnOnce(&mut conn::Connection, ChannelId) -> Result<RequestId, Error>,
    ) -> Call<T> {
        let id = self.id();
        Call::start(Keep::Channel(self.clone()), finish, |conn| request(conn, id).map(Some))
    }

    /// Closes the channel, for all its handles. What was queued before goes out first; deliveries that are not settled
    /// go back. Publishes whose confirms have not come are unknown then: see
    /// [`wait_for_confirms`](Self::wait_for_confirms). (A channel whose last handle is dropped waits for them.)
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; [`ErrorKind::ChannelNotOpen`](crate::ErrorKind::ChannelNotOpen) if it was closed before.
    pub fn close(&self) -> Call<()> {
        self.start(done, conn::Connection::close_channel)
    }

    /// Why it is closed, if it is.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        let id = self.id();
        self.shared().visit(Touch::Nothing, |state| state.conn.channel_error(id))
    }

    /// Whether it takes new work.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let id = self.id();
        self.shared().visit(Touch::Nothing, |state| state.conn.is_open() && state.conn.channel_error(id).is_none())
    }

    /// Puts the channel into confirm mode: from now on [`send`](Self::send) works. It cannot be left.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; the broker refuses it on a channel in transaction mode.
    pub fn confirm_select(&self) -> Call<()> {
        self.call(done, Ok(confirm::Select { nowait: false }))
    }

    /// Puts the channel into confirm mode without asking for the broker's answer: [`send`](Self::send) works at once. If the
    /// broker refuses it, it closes the channel.
    ///
    /// # Errors
    ///
    /// If the channel or the connection is closed.
    pub fn confirm_select_nowait(&self) -> Result<(), Error> {
        let id = self.id();
        self.shared()
            .visit(Touch::All, |state| state.conn.request(id, confirm::Select { nowait: true }, None))
            .map(|_| ())
    }

    /// Waits until everything that was published on this channel, in confirm mode, has its outcome. What is published
    /// meanwhile is not waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed) if something was not acked: how many publishes were
    /// nacked, returned, or are unknown, and why. It counts all of which this handle has not told yet, also those whose
    /// [`Confirm`](crate::Confirm) was awaited, dropped or never asked for, and those of other handles to the channel. A
    /// clone goes on where the handle stood that it was made from.
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the channel is not in confirm mode. Each publish has its
    /// deadline, so this ends.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped: what failed is told by the next.
    pub async fn wait_for_confirms(&self) -> Result<(), Error> {
        let failed = self.start(finish_confirmed, conn::Connection::wait_confirms).await?;
        self.told.tell(failed)
    }

    /// Puts the channel into transaction mode: what is published and settled waits for
    /// [`tx_commit`](Self::tx_commit). It cannot be left.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; the broker refuses it on a channel in confirm mode.
    pub fn tx_select(&self) -> Call<()> {
        self.call(done, Ok(tx::Select {}))
    }

    /// Does what was published and settled since the last commit, and begins the next transaction.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if something was published to a missing exchange, 406 outside transaction mode.
    pub fn tx_commit(&self) -> Call<()> {
        self.call(done, Ok(tx::Commit {}))
    }

    /// Forgets what was published and settled since the last commit. Deliveries are not sent again by that: see
    /// [`recover`](Self::recover).
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 406 outside transaction mode.
    pub fn tx_rollback(&self) -> Call<()> {
        self.call(done, Ok(tx::Rollback {}))
    }

    /// Stops or restarts the flow of deliveries on this channel, and says which it is now. RabbitMQ refuses to stop it,
    /// with 540: use prefetch.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`].
    pub fn flow(&self, active: bool) -> Call<bool> {
        #[expect(clippy::needless_pass_by_value, reason = "what finishes a call takes all of its reply")]
        fn finish(reply: Reply, _: Keep) -> Result<bool, Error> {
            match reply {
                Reply::Flow(active) => Ok(active),
                _ => mismatch(),
            }
        }
        self.call(finish, Ok(channel::Flow { active }))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let id = self.id;
        self.link.visit(Touch::All, |state| state.conn.release_channel(id));
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("index", &self.id().index()).finish_non_exhaustive()
    }
}
