//! tokio's clock, tasks and sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use amqp_api::driver::{BoxFuture, Io, Runtime};
use amqp_api::{Address, Error, TcpOptions};
use tokio::net::{TcpSocket, TcpStream};
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

    fn connect(&self, address: &Address, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let (address, options) = (address.clone(), *options);
        Box::pin(async move {
            let stream = connect_tcp(&address, &options).await?;
            let io: Box<dyn Io> = Box::new(Stream::new(stream));
            Ok(io)
        })
    }
}

/// Tries the addresses of a host one after the other. Whatever is wrong with one, an address family that the system
/// does not have for example, the next has its turn.
async fn connect_tcp(address: &Address, options: &TcpOptions) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for socket_address in tokio::net::lookup_host((address.host.as_str(), address.port)).await? {
        match connect_socket(socket_address, options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_socket(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = options.send_buffer_size {
        socket.set_send_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    if let Some(bytes) = options.receive_buffer_size {
        socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    if let Some(idle) = options.keepalive {
        socket2::SockRef::from(&socket).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(options.nodelay)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a1_small_writes_leave_at_once_unless_the_configuration_says_otherwise() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
        let mut options = TcpOptions::default();
        assert!(connect_tcp(&address, &options).await.unwrap().nodelay().unwrap());
        options.nodelay = false;
        assert!(!connect_tcp(&address, &options).await.unwrap().nodelay().unwrap());
    }
}
