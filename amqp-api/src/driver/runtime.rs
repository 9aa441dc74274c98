//! What the driver needs of a runtime.

use core::net::SocketAddr;
use std::any::Any;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amqp_proto::config::{Address, TcpOptions};

use super::Io;

/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Time, tasks and sockets.
pub trait Runtime: Send + Sync + 'static {
    /// The time, by the clock that [`sleep_until`](Self::sleep_until) goes by.
    fn now(&self) -> Instant;

    /// A future that is done at this time, or somewhat later.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()>;

    /// Runs a future to its end, beside all others: the first is the connection's driver, and what comes later are the
    /// application's: handlers of deliveries, providers of credentials. If the runtime is shut down it is to be dropped.
    fn spawn(&self, task: BoxFuture<()>);

    /// The socket addresses of a host, in the order in which they are to be tried. It needs no deadline of its own.
    ///
    /// # Errors
    ///
    /// Those of the system's resolver.
    fn resolve(&self, address: &Address) -> BoxFuture<io::Result<Vec<SocketAddr>>>;

    /// Connects a socket. It needs no deadline of its own.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn connect(&self, address: SocketAddr, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>>;

    /// The runtime of one more connection, where each has a runtime of its own; `None` if this one serves any number of
    /// them. Addresses of that connection may take `connect_timeout` each.
    fn another(&self, connect_timeout: Duration) -> Option<Arc<dyn Runtime>> {
        let _ = connect_timeout;
        None
    }

    /// What is dropped with the last handle of a connection that was made, after the connection's close was queued. Dropping
    /// it may wait for the close.
    fn lifeline(&self) -> Option<Box<dyn Any + Send + Sync>> {
        None
    }

    /// A number that differs from run to run. A simulation gives the same again.
    fn seed(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}
