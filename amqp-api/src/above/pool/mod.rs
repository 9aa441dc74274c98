//! A pool of connections, each for one user at a time.
//!
//! | file | job |
//! |---|---|
//! | this | the handles: the pool, and a connection that is checked out |
//! | `places` | how many may be out, and who is next |

mod places;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amqp_proto::error::{Error, ErrorKind, TimeoutReason};

use self::places::{Closed, Place, Places};
use crate::connect::ConnectOptions;
use crate::connection::Connection;
use crate::driver::{self, Runtime};
use crate::elapsed::limited;

/// How long a checkout takes at most, unless the pool says otherwise.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(30);

/// A pool of connections to one broker: each is given to one user at a time and comes back when that drops it.
///
/// Connections are made when they are needed and kept then. Whoever waits for a connection is served in the order of asking.
///
/// A connection that is lost while it is out comes back [by itself](Connection#recovery), with what its user has declared
/// and opened, unless its configuration says [`no_recovery`](crate::Config::no_recovery). What one user has declared is not
/// declared again under the next. One that is not connected when a checkout would get it, because it has ended or is still
/// on its way back, is replaced by a new one: nobody gets a connection that is not connected, and the pool never shrinks. If
/// no new one can be made the checkout fails at once and says why; with
/// [`Recovery::retry_first_connect`](crate::Recovery::retry_first_connect) it tries again until its time is over.
///
/// Clones are handles to the same pool. When the last one is dropped, the connections in it are closed; those that are out
/// are closed when they come back.
///
/// ```no_run
/// # async fn example(pool: amqp_api::Pool) -> Result<(), amqp_api::Error> {
/// let connection = pool.get().await?;
/// let publisher = connection.publisher().await?;
/// publisher.publish("events", "order.created", "hello").await?;
/// drop(connection); // it is free for others
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
    checkout_timeout: Duration,
}

struct Inner {
    runtime: Arc<dyn Runtime>,
    options: ConnectOptions,
    size: usize,
    places: Arc<Places>,
    /// What is free and connected. The one that was used last is used next.
    idle: Mutex<Vec<Connection>>,
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that lay in the pool and is connected.
    fn reuse(&self) -> Option<Connection> {
        loop {
            // What is broken is dropped without the lock. One that is on its way back is as good as broken: a new one is
            // there sooner, or says why not.
            let connection = self.idle().pop()?;
            if connection.is_connected() {
                return Some(connection);
            }
        }
    }
}

impl Pool {
    /// A pool of at most `size` connections, which are made with these options: for those who write an adapter.
    ///
    /// # Errors
    ///
    /// If the options cannot be used, or the size is 0.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, options: ConnectOptions, size: usize) -> Result<Self, Error> {
        options.config().validate().map_err(|error| Error::invalid(error.to_string()))?;
        if size == 0 {
            return Err(Error::invalid("a pool has to have a size of at least 1"));
        }
        let inner = Inner { runtime, options, size, places: Places::new(size), idle: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), checkout_timeout: CHECKOUT_TIMEOUT })
    }

    /// A handle to the same pool, whose checkouts take at most this time: waiting for a connection to become free, and, if
    /// none is open, making one. Default: 30 s.
    #[must_use]
    pub fn checkout_timeout(mut self, time: Duration) -> Self {
        self.checkout_timeout = time;
        self
    }

    /// Checks a connection out; it comes back when it is dropped. If all are out it waits for its turn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if that takes longer than the [time-out](Self::checkout_timeout); why no connection could be
    /// made, as with `connect`; [`ErrorKind::PoolClosed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has given its turn to the next, and lost nothing.
    pub async fn get(&self) -> Result<Pooled, Error> {
        self.get_timeout(self.checkout_timeout).await
    }

    /// The same with a time-out of its own.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    pub async fn get_timeout(&self, time: Duration) -> Result<Pooled, Error> {
        self.within(time, async { self.check_out(self.inner.places.take().await.map_err(closed)?).await }).await
    }

    /// Checks a connection out if one is free: it does not wait for its turn. If none is open it makes one, within the
    /// [time-out](Self::checkout_timeout).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PoolExhausted`] if all are out; otherwise as [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    pub async fn try_get(&self) -> Result<Pooled, Error> {
        let place = self.inner.places.try_take().map_err(closed)?;
        let place = place.ok_or_else(|| Error::new(ErrorKind::PoolExhausted { size: self.inner.size }))?;
        self.within(self.checkout_timeout, self.check_out(place)).await
    }

    async fn within(
        &self,
        time: Duration,
        checkout: impl Future<Output = Result<Pooled, Error>>,
    ) -> Result<Pooled, Error> {
        let checkout = limited(&*self.inner.runtime, time, checkout).await;
        checkout.unwrap_or_else(|_| Err(Error::timeout(TimeoutReason::Checkout, false)))
    }

    async fn check_out(&self, place: Place) -> Result<Pooled, Error> {
        let connection = match self.inner.reuse() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Pooled { connection, pool: Arc::clone(&self.inner), _place: place })
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let options = self.inner.options.clone();
        let another = self.inner.runtime.another(options.config().timeouts.connect);
        driver::connect(another.unwrap_or_else(|| Arc::clone(&self.inner.runtime)), options).await
    }

    /// How many connections there may be.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// How many can be checked out now, be they connected already or not.
    #[must_use]
    pub fn available(&self) -> usize {
        self.inner.places.free()
    }

    /// How many wait for a connection to become free.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.places.waiting()
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }

    #[cfg(feature = "json")]
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.places.is_closed()
    }

    /// Closes the pool, for all its handles: those who wait for a connection get an error, and the connections that are in
    /// the pool are closed. Those that are out stay as they are until they come back.
    ///
    /// # Errors
    ///
    /// If a connection could not be closed in order: the first such error. All are closed nevertheless.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the rest as well, and nobody waits for it.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.places.close();
        let idle = std::mem::take(&mut *self.inner.idle());
        // All are asked at once.
        let closing: Vec<_> = idle.iter().filter(|connection| connection.is_open()).map(Connection::close).collect();
        let mut result = Ok(());
        for closing in closing {
            result = result.and(closing.await);
        }
        result
    }
}

fn closed(_: Closed) -> Error {
    Error::new(ErrorKind::PoolClosed)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size()).field("available", &self.available()).finish_non_exhaustive()
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
    pool: Arc<Inner>,
    /// Free when the connection is back.
    _place: Place,
}

impl Deref for Pooled {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.connection.is_open() {
            self.connection.forget_topology();
            let mut idle = self.pool.idle();
            // Under this lock: who closes the pool empties it afterwards.
            if !self.pool.places.is_closed() {
                idle.push(self.connection.clone());
            }
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("connection", &**self).finish_non_exhaustive()
    }
}
