//! A port that is listened on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::transport::{Security, Transport};

#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    security: Security,
}

impl Listener {
    /// Listens on a port of 127.0.0.1; 0 is a free one.
    pub(super) fn bind(port: u16, security: Security) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
        Ok(Self { socket, security })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn is_secure(&self) -> bool {
        self.security.is_secure()
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The next client that waits; `None` if none does. An error is one client's, or passes: the listener stays.
    pub(super) fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        self.socket.accept().ok()
    }

    pub(super) fn transport(&self, stream: TcpStream) -> io::Result<Transport> {
        Transport::new(stream, &self.security)
    }
}
