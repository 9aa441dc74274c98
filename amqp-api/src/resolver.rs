//! How the addresses of a host are found, where the system's way is not the one.

use core::net::SocketAddr;
use std::future::Future;
use std::io;

use amqp_proto::config::Address;

use crate::driver::BoxFuture;

/// Finds the addresses of a host: by a service registry, a cache, a table of one's own.
///
/// Closures do it too: `|address: Address| async move { Ok(vec![..]) }`. See
/// [`ConnectOptions::resolver`](crate::ConnectOptions::resolver).
pub trait Resolve: Send + Sync + 'static {
    /// The socket addresses at which this host is to be tried, in this order. The port may be another one than was
    /// configured. The name that TLS verifies stays that of the host.
    ///
    /// # Errors
    ///
    /// If there are none to be had; the next configured host is tried then.
    fn resolve(&self, address: Address) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

impl<F, R> Resolve for F
where
    F: Fn(Address) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve(&self, address: Address) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        Box::pin(self(address))
    }
}
