//! tokio's clock, tasks and sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use amqp_api::driver::{BoxFuture, Io, Runtime, tcp_socket};
use amqp_api::{Address, Error, TcpOptions};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
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
            let io: Box<dyn Io> = Box::new(Stream::new(connected(socket?.into(), address).await?));
            Ok(io)
        })
    }
}

async fn connected(socket: std::net::TcpStream, address: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket).connect(address).await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn f15_p31_a_connected_socket_has_the_options_that_were_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(77));
        options.receive_buffer_size = Some(30_000);
        let socket = tcp_socket(address, &options).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(connected(socket.into(), address)).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        // Linux doubles it, for its own needs.
        assert!([30_000, 60_000].contains(&socket.recv_buffer_size().unwrap()));
    }
}
