//! What stands above the channel, as far as it is more than a forwarder.

use std::fmt::{self, Display};
#[cfg(feature = "json")]
use std::future::ready;
use std::ops::Deref;
use std::sync::Arc;

use amqp_api::{Consume, Content, Delivery, Error, Handling, IntoSettlement, Message, Retry};
#[cfg(feature = "json")]
use amqp_api::{Task, Work};

#[cfg(feature = "json")]
use crate::handles::TaskQueue;
use crate::handles::{Connection, Listener, Pool, PoolsSetup, Subscription, Wrap};
use crate::park::block_on;

impl Pool {
    /// Listens to a queue with a connection of this pool: each delivery goes to a handler, which is given the connection as
    /// well. It runs on threads of its own, as many as [`Handling::concurrency`] says.
    ///
    /// The connection is the listener's until it ends; the handler may publish, declare and reply with it.
    ///
    /// ```no_run
    /// # fn example(pool: amqp_blocking::Pool) -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::{Connection, Delivery, Handling};
    ///
    /// let handler = |_: Connection, delivery: Delivery| println!("{:?}", delivery.body());
    /// let listener = pool.listen("orders", Handling::default().concurrency(10), handler)?;
    /// // Until something says that it is enough.
    /// listener.stop()
    /// # }
    /// ```
    ///
    /// The delivery is settled by what the handler returns, as by [`Channel::consume_with`](crate::Channel::consume_with).
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and of [`Channel::consume`](crate::Channel::consume): 404 if the queue is missing. Once it
    /// listens, nothing ends it but stopping it.
    pub fn listen<H, R>(&self, consume: impl Into<Consume>, handling: Handling, handler: H) -> Result<Listener, Error>
    where
        H: Fn(Connection, Delivery) -> R + Send + Sync + 'static,
        R: IntoSettlement,
    {
        let handler = Arc::new(handler);
        Wrap::wrap(block_on(self.inner.listen(consume, handling, move |connection, delivery| {
            let handler = Arc::clone(&handler);
            async move { handler(Connection::wrap(connection), delivery) }
        })))
    }
}

impl Connection {
    /// Consumes from a queue with a handler, as [`Channel::consume_with`](crate::Channel::consume_with) does, on a channel of
    /// its own; what the handler fails with comes again after a delay, and in the end goes to a parking queue.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// use std::sync::Arc;
    ///
    /// use amqp_blocking::{Content, Handling, Retry};
    ///
    /// let handler = |order: Arc<Content>| if order.body() == "ok" { Ok(()) } else { Err("not this one") };
    /// let subscription = connection.consume_with_retry(Retry::new("orders"), Handling::default(), handler)?;
    /// // Until something says that it is enough.
    /// subscription.stop()
    /// # }
    /// ```
    ///
    /// For `Ok` the delivery is acked. For an `Err`, and when the handler panics, it is published to the queue of its next
    /// delay, and acked when the broker has taken responsibility for that: it is never lost on this side, and may come twice.
    /// (While it is dead-lettered back, a broker that fails may lose it.) It comes with its body and its properties, but for
    /// `expiration`, `user_id` and the header `CC`, which would take effect again; it has these headers in addition:
    ///
    /// | header | |
    /// |---|---|
    /// | `x-retry-failed` | how often it has failed |
    /// | `x-retry-reason` | what it failed with the last time: the first 1000 bytes |
    /// | `x-retry-exchange`, `x-retry-routing-key` | where it was published to at first |
    ///
    /// The queues for delays and for parking are declared here; the one that is consumed from has to exist. What is tried
    /// again goes behind all that is in the queue.
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel) and [`Channel::consume`](crate::Channel::consume); 406 if one of the queues exists and is
    /// different.
    pub fn consume_with_retry<H, E>(&self, retry: Retry, handling: Handling, handler: H) -> Result<Subscription, Error>
    where
        H: Fn(Arc<Content>) -> Result<(), E> + Send + Sync + 'static,
        E: Display + Send,
    {
        let handler = Arc::new(handler);
        Wrap::wrap(block_on(self.inner.consume_with_retry(retry, handling, move |content| {
            let handler = Arc::clone(&handler);
            async move { handler(content) }
        })))
    }

    /// Serves remote calls: each request in a queue goes to a handler, and what that returns is the reply. It is a
    /// [`Subscription`] on a channel of its own, with all of [`Handling`].
    ///
    /// The reply goes to the queue that the request names in its property `reply_to`, with its correlation id, so any client
    /// can call. The request is acked when the reply has been queued, behind it. For an `Err` there is no reply, and
    /// [`Handling::on_error`] decides what becomes of the request: tell the caller of errors by a reply.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::{Delivery, Error, Handling};
    ///
    /// let server = connection.rpc_server("shouts", Handling::default().concurrency(10), |request: Delivery| {
    ///     let text = request.decoded_body()?.to_ascii_uppercase();
    ///     Ok::<_, Error>(text)
    /// })?;
    /// // Until something says that it is enough.
    /// server.stop()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel) and [`Channel::consume`](crate::Channel::consume).
    pub fn rpc_server<H, M, E>(
        &self,
        consume: impl Into<Consume>,
        handling: Handling,
        handler: H,
    ) -> Result<Subscription, Error>
    where
        H: Fn(Delivery) -> Result<M, E> + Send + Sync + 'static,
        M: Into<Message<'static>> + Send,
        E: Send,
    {
        let handler = Arc::new(handler);
        Wrap::wrap(block_on(self.inner.rpc_server(consume, handling, move |request| {
            let handler = Arc::clone(&handler);
            async move { handler(request) }
        })))
    }
}

#[cfg(feature = "json")]
impl TaskQueue {
    /// Works on a queue: takes out a task, has it handled, settles it by what the handler returned, and takes out the next;
    /// tells how many it has handled when it ends. For more at a time, start several, on threads.
    ///
    /// What a handler returns is an [`IntoSettlement`]: the task is done for `()` and `Ok`; for an `Err` [`Work::on_error`]
    /// decides, and the worker goes on, as it does when the handler panics. The handler may settle the task itself. A task
    /// that is put back is handled again, and counts again.
    ///
    /// It ends when [`Work`] says so, or the task queue is [closed](Self::close). A connection that is lost is replaced: after
    /// a pause that grows from 0.1 s to 10 s, for as long as it takes. The task that was being handled is in the queue again
    /// then.
    pub fn work<H, R>(&self, queue: impl AsRef<str>, work: Work, mut handler: H) -> Result<u64, Error>
    where
        H: FnMut(Task) -> R,
        R: IntoSettlement,
    {
        block_on(self.inner.work(queue, work, |task| ready(handler(task))))
    }
}

impl PoolsSetup {
    /// Does this at the start, with a connection of the pool of this name. Hooks are run one after the other, in the order in
    /// which they were given; the first error is the last word.
    pub fn on_start<H>(self, pool: impl AsRef<str>, hook: H) -> Self
    where
        H: FnOnce(Connection) -> Result<(), Error> + Send + 'static,
    {
        let hook = |connection| async move { hook(Connection::wrap(connection)) };
        Self::wrap(self.inner.on_start(pool, hook))
    }
}

/// A connection that is checked out of a [`Pool`], to which it comes back when it is dropped. It dereferences to the
/// [`Connection`].
///
/// A clone of that connection, its channels and consumers, are not called back with it: drop them before it, or others may
/// find them in use.
#[must_use = "it goes back to its pool when it is dropped"]
pub struct Pooled {
    connection: Connection,
    _inner: amqp_api::Pooled,
}

impl Wrap<amqp_api::Pooled> for Pooled {
    fn wrap(inner: amqp_api::Pooled) -> Self {
        Self { connection: Connection::wrap((*inner).clone()), _inner: inner }
    }
}

impl Deref for Pooled {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("connection", &self.connection).finish_non_exhaustive()
    }
}
