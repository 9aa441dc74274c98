//! From a host to a connected socket.
//!
//! `Async::connect` makes its socket itself, and the sizes of the buffers must be set before it connects: the window is
//! agreed upon then. So this is the same by hand.

use std::io;
use std::net::{SocketAddr, TcpStream};

use amqp_api::{Address, TcpOptions};
use async_io::Async;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Tries the addresses of a host one after the other.
pub(crate) async fn connect(address: &Address, options: &TcpOptions) -> io::Result<Async<TcpStream>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for socket_address in async_net::resolve((address.host.as_str(), address.port)).await? {
        let socket = socket(socket_address, options)?;
        match connect_socket(socket, socket_address).await {
            Ok(stream) => {
                stream.get_ref().set_nodelay(options.nodelay)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket with the options that go before connecting.
fn socket(address: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = options.send_buffer_size {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_size {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(idle) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    Ok(socket)
}

async fn connect_socket(socket: Socket, address: SocketAddr) -> io::Result<Async<TcpStream>> {
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => return Err(error),
        _ => {}
    }
    let stream = Async::new(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        None => Ok(stream),
        Some(error) => Err(error),
    }
}

/// Whether a socket that does not block says that it has begun to connect.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    fn listener() -> (TcpListener, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
        (listener, address)
    }

    fn connected(address: &Address, options: &TcpOptions) -> io::Result<Async<TcpStream>> {
        async_io::block_on(connect(address, options))
    }

    #[test]
    fn a1_small_writes_leave_at_once_unless_the_configuration_says_otherwise() {
        let (_listener, address) = listener();
        let mut options = TcpOptions::default();
        assert!(connected(&address, &options).unwrap().get_ref().nodelay().unwrap());
        options.nodelay = false;
        assert!(!connected(&address, &options).unwrap().get_ref().nodelay().unwrap());
    }

    #[test]
    fn the_options_of_the_socket_are_set_where_they_are_given() {
        let (_listener, address) = listener();
        let stream = connected(&address, &TcpOptions::default()).unwrap();
        assert!(!SockRef::from(stream.get_ref()).keepalive().unwrap());

        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(77));
        options.send_buffer_size = Some(20_000);
        options.receive_buffer_size = Some(30_000);
        let stream = connected(&address, &options).unwrap();
        let socket = SockRef::from(stream.get_ref());
        assert!(socket.keepalive().unwrap());
        // Linux doubles them, for its own needs.
        assert!([20_000, 40_000].contains(&socket.send_buffer_size().unwrap()));
        assert!([30_000, 60_000].contains(&socket.recv_buffer_size().unwrap()));
    }

    #[test]
    fn a_port_that_nobody_listens_on_is_refused() {
        let (listener, address) = listener();
        drop(listener);
        let error = connected(&address, &TcpOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
