//! From a socket to a connected one.
//!
//! `Async::connect` makes its socket itself, without options. So this is the same by hand.

use std::io;
use std::net::{SocketAddr, TcpStream};

use async_io::Async;
use socket2::Socket;

/// Connects a socket that does not block.
pub(crate) async fn connect(socket: Socket, address: SocketAddr) -> io::Result<Async<TcpStream>> {
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => return Err(error),
        _ => {}
    }
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
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

    use amqp_api::TcpOptions;
    use amqp_api::driver::tcp_socket;
    use socket2::SockRef;

    use super::*;

    fn connected(address: SocketAddr, options: &TcpOptions) -> io::Result<Async<TcpStream>> {
        async_io::block_on(connect(tcp_socket(address, options)?, address))
    }

    #[test]
    fn f15_p31_a_connected_socket_has_the_options_that_were_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(77));
        options.receive_buffer_size = Some(30_000);
        let stream = connected(listener.local_addr().unwrap(), &options).unwrap();
        let socket = SockRef::from(stream.get_ref());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        // Linux doubles it, for its own needs.
        assert!([30_000, 60_000].contains(&socket.recv_buffer_size().unwrap()));
    }

    #[test]
    fn a_port_that_nobody_listens_on_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = connected(address, &TcpOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
