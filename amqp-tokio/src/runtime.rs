//! tokio's clock, tasks and sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use amqp_api::driver::{BoxFuture, Io, Runtime, tcp_socket};
use amqp_api::{Address, Error, TcpOptions};
use tokio::net::{TcpSocket, lookup_host};
use tokio::runtime::Handle;

use crate::io::Stream;

/// The runtime that a connection was made in.
pub(crate) struct Tokio(Handle);

impl Tokio {
    pub(crate) fn current() -> Result<Self, Error> {
        Handle::try_current().map(Self).map_err(|_| Error::invalid("a connection has to be made in a tokio runtime"))
    }
}

impl Runtime for Tokio {
    fn now(&self) -> Instant {
        // tokio's clock is the system's, unless a test has paused it.
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()> {
        let _runtime = self.0.enter();
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.0.spawn(task);
    }

    fn resolve(&self, address: &Address) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let Address { host, port } = address.clone();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let socket = tcp_socket(address, options);
        Box::pin(async move {
            let stream = TcpSocket::from_std_stream(socket?.into()).connect(address).await?;
            let io: Box<dyn Io> = Box::new(Stream::new(stream));
            Ok(io)
        })
    }
}
