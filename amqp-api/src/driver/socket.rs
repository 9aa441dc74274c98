//! The socket's options, once for all adapters: a system call each, and nothing here waits.

use core::net::SocketAddr;
use std::io;

use amqp_proto::config::TcpOptions;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// A TCP socket with these options, not connected yet, which does not block. The sizes of the buffers have to be set
/// before it connects: the window is agreed upon then.
///
/// # Errors
///
/// Those of the system.
pub fn tcp_socket(address: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
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
    socket.set_tcp_nodelay(options.nodelay)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn socket(options: TcpOptions) -> Socket {
        tcp_socket(([127, 0, 0, 1], 1).into(), &options).unwrap()
    }

    #[test]
    fn a1_p31_small_writes_leave_at_once_unless_the_configuration_says_otherwise() {
        assert!(socket(TcpOptions::default()).tcp_nodelay().unwrap());
        let mut options = TcpOptions::default();
        options.nodelay = false;
        assert!(!socket(options).tcp_nodelay().unwrap());
    }

    #[test]
    fn f15_the_options_of_the_socket_are_set_where_they_are_given() {
        assert!(!socket(TcpOptions::default()).keepalive().unwrap());
        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(77));
        options.send_buffer_size = Some(20_000);
        options.receive_buffer_size = Some(30_000);
        let socket = socket(options);
        assert!(socket.keepalive().unwrap());
        // Linux doubles them, for its own needs.
        assert!([20_000, 40_000].contains(&socket.send_buffer_size().unwrap()));
        assert!([30_000, 60_000].contains(&socket.recv_buffer_size().unwrap()));
    }
}
