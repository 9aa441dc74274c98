//! What the driver needs of a runtime.

use core::net::SocketAddr;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::Pin;
use std::time::Instant;

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

    /// A number that differs from run to run. A simulation gives the same again.
    fn seed(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}
