//! What happens to a connection as a whole, told to whoever listens.
//!
//! Each listener has a queue of its own, with a bound: the driver never waits for one. Every listener gets every event from
//! when it began to listen; what it did not take in time is counted, the oldest first.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amqp_proto::error::Error;
use futures_core::Stream;
use slab::Slab;

use crate::elapsed::{Elapsed, within};
use crate::shared::{Shared, Touch};
use crate::wakers::Wakes;

/// How many events a listener may leave untaken.
const QUEUED: usize = 256;

/// Something that happened to a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The broker does not take publishes any more: it is in alarm.
    Blocked {
        /// In the broker's words.
        reason: String,
    },
    /// The broker takes publishes again.
    Unblocked,
    /// The broker has a new secret, from the [provider of credentials](crate::ConnectOptions::credentials_provider).
    SecretRenewed,
    /// The secret could not be renewed: its provider failed, or the broker did not take it. It is tried again.
    SecretRenewalFailed {
        /// Why.
        error: Error,
    },
    /// The connection was lost and comes back: see [recovery](crate::Connection#recovery).
    Disconnected {
        /// Why.
        cause: Error,
    },
    /// An attempt to connect begins.
    Reconnecting {
        /// Which it is, from 1, since the connection was last there for a while.
        attempt: u32,
    },
    /// An attempt to connect has failed, or the connection was lost again before it was all back. There will be another one.
    ReconnectFailed {
        /// Why.
        error: Error,
    },
    /// The connection is back, and all that belongs to it.
    Recovered,
    /// The broker has chosen another name for a queue that it was to name. Bindings and consumers know it already.
    QueueRenamed {
        /// Its name before the loss.
        old: String,
        /// Its name now.
        new: String,
    },
    /// Something could not be restored, and is left out.
    NotRestored {
        /// What: its kind and its name, such as `queue orders`.
        what: String,
        /// Why.
        error: Error,
    },
    /// The broker has ended a consumer, which consumes again.
    Resubscribed {
        /// The consumer's tag.
        consumer_tag: String,
        /// Why it was ended.
        cause: Error,
    },
    /// The connection was lost before these publishes without confirms were written.
    PublishesLost {
        /// How many. Some of those that were being written may have left.
        count: u64,
    },
    /// The connection has ended. This is the last event, and there is one of it.
    Closed {
        /// Why, if this side did not close it.
        cause: Option<Error>,
    },
    /// So many events, those before the next, were not taken in time and are lost to this listener.
    Missed(u64),
}

/// The events of a connection: a stream, from [`Connection::events`](crate::Connection::events). It ends after
/// [`ConnectionEvent::Closed`].
///
/// Up to 256 events wait to be taken; then the oldest go, and [`ConnectionEvent::Missed`] counts them. It does not keep the
/// connection open.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events {
    shared: Arc<Shared>,
    key: usize,
}

/// All who listen to a connection.
#[derive(Default)]
pub(crate) struct Listeners(Slab<Listener>);

#[derive(Default)]
struct Listener {
    queue: VecDeque<ConnectionEvent>,
    missed: u64,
    /// The last event was put into the queue.
    ended: bool,
    waker: Option<Waker>,
}

impl Listeners {
    /// Tells everybody.
    pub(crate) fn tell(&mut self, event: &ConnectionEvent, wakes: &mut Wakes) {
        for (_, listener) in &mut self.0 {
            listener.push(event.clone());
            wakes.ready(listener.waker.take());
        }
    }
}

impl Listener {
    fn push(&mut self, event: ConnectionEvent) {
        if self.queue.len() == QUEUED {
            self.queue.pop_front();
            self.missed += 1;
        }
        self.ended |= matches!(event, ConnectionEvent::Closed { .. });
        self.queue.push_back(event);
    }

    /// The next event; `None` if there is none now.
    fn take(&mut self) -> Option<ConnectionEvent> {
        match std::mem::take(&mut self.missed) {
            0 => self.queue.pop_front(),
            missed => Some(ConnectionEvent::Missed(missed)),
        }
    }
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let key = shared.visit(Touch::Nothing, |state| {
            let mut listener = Listener::default();
            if let Some(result) = state.conn.result() {
                listener.push(ConnectionEvent::Closed { cause: result.err() });
            }
            state.listeners.0.insert(listener)
        });
        Self { shared, key }
    }

    /// The next event, when there is one; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next event, as [`next`](Self::next), if it comes in time.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if there was none in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped, nor by a time-out.
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<ConnectionEvent>, Elapsed> {
        let shared = Arc::clone(&self.shared);
        within(&shared, timeout, |cx| self.poll(cx)).await
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<ConnectionEvent> {
        let key = self.key;
        self.shared.visit(Touch::Nothing, |state| state.listeners.0.get_mut(key)?.take())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        let key = self.key;
        self.shared.visit(Touch::Nothing, |state| {
            let Some(listener) = state.listeners.0.get_mut(key) else { return Poll::Ready(None) };
            let event = listener.take();
            if event.is_some() || listener.ended {
                return Poll::Ready(event);
            }
            let old = listener.waker.replace(cx.waker().clone());
            state.discard(old);
            Poll::Pending
        })
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.poll(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let key = self.key;
        let listener = self.shared.visit(Touch::Nothing, |state| state.listeners.0.try_remove(key));
        // Its waker is dropped here, without the lock.
        drop(listener);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
