//! A listener: a consumer with a handler, on a connection of a pool, that goes on until it is stopped.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amqp_proto::error::Error;

use super::backoff::Backoff;
use super::pool::{Pool, Pooled};
use crate::connection::Connection;
use crate::delivery::Delivery;
use crate::options::{Consume, Handling};
use crate::subscription::{Handled, IntoSettlement, Subscription};

/// A queue that is listened to with a connection of a [`Pool`], from [`Pool::listen`].
///
/// It goes on until it is stopped. With a connection that is lost and [comes back](Connection#recovery) it comes back as well.
/// When its consumer, its channel or its connection ends for good, it starts again with whatever is missing, after a pause that
/// grows from 0.1 s to 10 s; [`last_error`](Self::last_error) says why it had to.
///
/// Dropping it stops it too: it takes no more deliveries, and the handlers that are running finish, with nobody to wait for
/// them.
#[must_use = "a listener that is dropped is stopped"]
pub struct Listener {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
}

/// What listens, and over which connection.
#[derive(Clone)]
struct Current {
    subscription: Arc<Subscription>,
    connection: Connection,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// What listens now.
    current: Option<Current>,
    /// What was handled by those that have ended.
    handled: Handled,
    last_error: Option<Error>,
    /// Whether the handlers finished in time.
    result: Option<Result<(), Error>>,
    /// Those who wait for something here to change, the listener's own task among them.
    waiting: Vec<Waker>,
}

impl Pool {
    /// Listens to a queue with a connection of this pool: each delivery goes to a handler, an asynchronous function that is
    /// given the connection as well. It is spawned on the runtime, so that handlers run in parallel, as many as
    /// [`Handling::concurrency`] says.
    ///
    /// The connection is the listener's until it ends; the handler may publish, declare and reply with it.
    ///
    /// ```no_run
    /// # async fn example(pool: amqp_api::Pool) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::{Connection, Delivery, Handling};
    /// let handler = async |_: Connection, delivery: Delivery| println!("{:?}", delivery.body());
    /// let listener = pool.listen("orders", Handling::default().concurrency(10), handler).await?;
    /// // Until something says that it is enough.
    /// listener.stop().await
    /// # }
    /// ```
    ///
    /// The delivery is settled by what the handler returns, as by [`Channel::consume_with`](crate::Channel::consume_with).
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and of [`Channel::consume`](crate::Channel::consume): 404 if the queue is missing. Once it
    /// listens, nothing ends it but stopping it.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it leaves no consumer behind.
    pub async fn listen<H, F>(
        &self,
        consume: impl Into<Consume>,
        handling: Handling,
        handler: H,
    ) -> Result<Listener, Error>
    where
        H: Fn(Connection, Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: IntoSettlement> + Send + 'static,
    {
        let listening = Listening { pool: self.clone(), consume: consume.into(), handling, handler: Arc::new(handler) };
        let first = listening.start().await?;
        let inner = Arc::new(Inner { state: Mutex::default() });
        inner.lock().current = Some(first.current());
        let end = EndOnDrop(Arc::clone(&inner));
        self.runtime().spawn(Box::pin(async move {
            let result = end.0.run(listening, first).await;
            // The connection is back in its pool.
            end.0.lock().result = Some(result);
        }));
        Ok(Listener { inner })
    }
}

/// What is listened to, and how.
struct Listening<H> {
    pool: Pool,
    consume: Consume,
    handling: Handling,
    handler: Arc<H>,
}

/// A subscription, and the connection that it is on.
struct Started {
    subscription: Arc<Subscription>,
    /// Back in the pool when the subscription is gone.
    connection: Pooled,
}

impl Started {
    fn current(&self) -> Current {
        Current { subscription: Arc::clone(&self.subscription), connection: self.connection.clone() }
    }
}

impl<H, F> Listening<H>
where
    H: Fn(Connection, Delivery) -> F + Send + Sync + 'static,
    F: Future<Output: IntoSettlement> + Send + 'static,
{
    async fn start(&self) -> Result<Started, Error> {
        let connection = self.pool.get().await?;
        let channel = connection.channel().await?;
        let (handler, its) = (Arc::clone(&self.handler), connection.clone());
        let handler = move |delivery| handler(its.clone(), delivery);
        let subscription = channel.consume_with(self.consume.clone(), self.handling, handler).await?;
        Ok(Started { subscription: Arc::new(subscription), connection })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes whoever may have waited for that.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers) = {
            let mut state = self.lock();
            (change(&mut state), std::mem::take(&mut state.waiting))
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn poll<T>(&self, cx: &Context<'_>, find: impl FnOnce(&State) -> Option<T>) -> Poll<T> {
        let mut state = self.lock();
        if let Some(found) = find(&state) {
            return Poll::Ready(found);
        }
        if !state.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The future's output, or `None` if it is to stop before.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.poll(cx, |state| state.stopping.then_some(())).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Listens until it is told to stop: then whether the handlers finished in time.
    async fn run<H, F>(&self, listening: Listening<H>, first: Started) -> Result<(), Error>
    where
        H: Fn(Connection, Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: IntoSettlement> + Send + 'static,
    {
        let runtime = listening.pool.runtime();
        let mut backoff = Backoff::default();
        let mut started = first;
        loop {
            let began = runtime.now();
            let ended = self.unless_stopped(started.subscription.finished()).await;
            let stopped = if ended.is_none() { Some(started.subscription.stop().await) } else { None };
            self.over(&started.subscription, ended.and_then(Result::err));
            if let Some(result) = stopped {
                return result;
            }
            drop(started);
            backoff.lasted(runtime.now().saturating_duration_since(began));
            match self.unless_stopped(self.start_again(&listening, &mut backoff)).await {
                Some(again) => started = again,
                None => return Ok(()),
            }
        }
    }

    /// A subscription has ended.
    fn over(&self, subscription: &Subscription, error: Option<Error>) {
        let mut state = self.lock();
        let ended = state.current.take();
        state.handled = sum(state.handled, subscription.handled());
        state.last_error = error.or(state.last_error.take());
        drop(state);
        drop(ended);
    }

    /// Starts again, for as long as it takes.
    async fn start_again<H, F>(&self, listening: &Listening<H>, backoff: &mut Backoff) -> Started
    where
        H: Fn(Connection, Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: IntoSettlement> + Send + 'static,
    {
        loop {
            backoff.pause(&**listening.pool.runtime()).await;
            match listening.start().await {
                Ok(started) => {
                    self.lock().current = Some(started.current());
                    return started;
                }
                Err(error) => self.lock().last_error = Some(error),
            }
        }
    }
}

/// The task is gone, also if the runtime was shut down below it.
struct EndOnDrop(Arc<Inner>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let current = self.0.change(|state| {
            state.stopping = true;
            state.result.get_or_insert(Ok(()));
            state.current.take()
        });
        drop(current);
    }
}

fn sum(one: Handled, other: Handled) -> Handled {
    Handled {
        in_progress: one.in_progress + other.in_progress,
        acked: one.acked + other.acked,
        requeued: one.requeued + other.requeued,
        rejected: one.rejected + other.rejected,
        panicked: one.panicked + other.panicked,
    }
}

impl Listener {
    /// Stops it in order, and waits for that: no more deliveries are handled, what was received and not handled goes back to
    /// the queue, and the handlers that are running finish. For that they have [`Handling::stop_timeout`], by default 30 s;
    /// then they are dropped where they wait, or, on threads, left to themselves, and what they had goes back to the queue. The
    /// connection goes back to its pool.
    ///
    /// It may be called again, and after the end. In a handler it would wait for itself: see
    /// [`request_stop`](Self::request_stop).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if there were handlers that did not finish in time.
    ///
    /// # Cancel safety
    ///
    /// It is stopped when this has been polled, and in the same way; dropping it does not change that.
    pub async fn stop(&self) -> Result<(), Error> {
        self.request_stop();
        poll_fn(|cx| self.inner.poll(cx, |state| state.result.clone())).await
    }

    /// Stops it, and does not wait for that. Called in a handler that is the only one at work, with a prefetch of 1, its
    /// delivery is the last.
    pub fn request_stop(&self) {
        let current = self.inner.change(|state| {
            state.stopping = true;
            state.current.clone()
        });
        // From now on no handler begins.
        if let Some(current) = current {
            drop(current.subscription.stop());
        }
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn finished(&self) -> Result<(), Error> {
        poll_fn(|cx| self.inner.poll(cx, |state| state.result.clone())).await
    }

    /// What became of its deliveries so far.
    #[must_use]
    pub fn handled(&self) -> Handled {
        let state = self.inner.lock();
        state.current.as_ref().map_or(state.handled, |current| sum(state.handled, current.subscription.handled()))
    }

    /// Whether it has a consumer at the broker now: if not, its connection is on its way back, it is about to start again, or
    /// it has stopped.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.inner.lock().current.as_ref().is_some_and(|current| current.connection.is_connected())
    }

    /// Why it had to start again, or could not, the last time.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.inner.lock().last_error.clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.request_stop();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("is_listening", &self.is_listening())
            .field("handled", &self.handled())
            .finish_non_exhaustive()
    }
}
