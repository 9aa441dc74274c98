//! The side that calls.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use amqp_proto::error::{Error, TimeoutReason};

use super::session::{DIRECT, Session};
use crate::connection::Connection;
use crate::content::Content;
use crate::elapsed::limited;
use crate::message::Message;

/// How long a call takes at most, unless the client says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time to live that RabbitMQ takes.
const LONGEST_TTL: Duration = Duration::from_millis(u32::MAX as u64);

/// Calls somebody over the broker, from [`Connection::rpc_client`]: publishes requests, and awaits their replies.
///
/// Replies come over [direct reply-to](https://www.rabbitmq.com/docs/direct-reply-to), without a queue of their own. Any number
/// of calls may be under way at a time. Clones share one channel; when the broker closes it, the calls under way end with
/// that error, and the next one opens another. It keeps the connection open.
///
/// The replies to what was asked for before a connection was lost cannot come any more: those calls end with the cause of
/// the loss, and not by their deadline. Calls that are made before the connection is [back](Connection#recovery) wait for it.
///
/// ```no_run
/// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
/// let client = connection.rpc_client().await?;
/// let reply = client.call("", "sums", "1 + 1").await?;
/// assert_eq!(reply.body(), "2");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RpcClient {
    inner: Arc<Inner>,
    timeout: Duration,
}

struct Inner {
    connection: Connection,
    session: Mutex<Option<Arc<Session>>>,
    calls: AtomicU64,
    discarded: Arc<AtomicU64>,
}

impl Inner {
    fn present(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present channel, or a new one.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.present().as_ref().filter(|session| session.is_open()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.connection, &self.discarded).await?);
        // Another call may have done the same meanwhile: its replies come to its own.
        let old = self.present().replace(Arc::clone(&session));
        drop(old);
        Ok(session)
    }
}

impl Connection {
    /// Opens a client for remote calls, on a channel of its own.
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn rpc_client(&self) -> Result<RpcClient, Error> {
        let inner = Inner {
            connection: self.clone(),
            session: Mutex::default(),
            calls: AtomicU64::default(),
            discarded: Arc::default(),
        };
        inner.session().await?;
        Ok(RpcClient { inner: Arc::new(inner), timeout: TIMEOUT })
    }
}

impl RpcClient {
    /// A handle to the same client, whose calls take at most this time. Default: 30 s.
    #[must_use]
    pub fn call_timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Calls: publishes a request, and awaits its reply. The reply is told from others by the request's correlation id, which
    /// is set here.
    ///
    /// The request has to find a queue: if it does not, that is known at once. It expires there when the time is over, unless
    /// it has an expiration already, so that nobody works for a caller who has gone. A reply that comes later is
    /// [discarded](Self::discarded).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the reply does not come in [time](Self::call_timeout); [`ErrorKind::NoRoute`](crate::ErrorKind::NoRoute) if no queue took
    /// the request, [`ErrorKind::Nacked`](crate::ErrorKind::Nacked) if one refused it; [`ErrorKind::Unknown`](crate::ErrorKind::Unknown) with the cause, or the cause itself, if the
    /// channel or the connection ended before the reply; what is wrong with names and properties.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have published the request or not. Its reply is discarded.
    pub async fn call<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
    ) -> Result<Content, Error> {
        let runtime = Arc::clone(self.inner.connection.runtime());
        let call = self.exchange(exchange.as_ref(), routing_key.as_ref(), message.into());
        let replied = limited(&*runtime, self.timeout, call).await;
        let blocked = || self.inner.connection.blocked().is_some();
        replied.unwrap_or_else(|_| Err(Error::timeout(TimeoutReason::Reply, blocked())))
    }

    async fn exchange(&self, exchange: &str, routing_key: &str, message: Message<'_>) -> Result<Content, Error> {
        let session = self.inner.session().await?;
        let id = self.inner.calls.fetch_add(1, Ordering::Relaxed);
        let expected = session.expect(id);
        let message = message.reply_to(DIRECT).correlation_id(id.to_string()).mandatory(true);
        let message = if self.timeout <= LONGEST_TTL { message.default_ttl(self.timeout) } else { message };
        let mut confirm = pin!(session.channel.send(exchange, routing_key, message).await?.wait());
        let mut lost = pin!(session.lost());
        let mut ended = pin!(session.ended());
        let mut is_confirmed = false;
        poll_fn(|cx| {
            if let Poll::Ready(reply) = expected.poll(cx) {
                return Poll::Ready(Ok(reply));
            }
            if !is_confirmed && let Poll::Ready(confirmed) = confirm.as_mut().poll(cx) {
                is_confirmed = true;
                if let Err(error) = confirmed {
                    return Poll::Ready(Err(error));
                }
            }
            if let Poll::Ready(cause) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(cause));
            }
            ended.as_mut().poll(cx).map(Err)
        })
        .await
    }

    /// How many replies have come that nobody waited for: too late, or twice.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.inner.discarded.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
