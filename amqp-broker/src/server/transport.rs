//! The bytes of a connection: in clear, or over TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
#[cfg(feature = "tls")]
use std::sync::Arc;

use mio::net::TcpStream;
#[cfg(feature = "tls")]
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How the clients of a listener are spoken to.
#[derive(Clone, Default)]
pub(super) enum Security {
    #[default]
    Clear,
    #[cfg(feature = "tls")]
    Tls(Arc<ServerConfig>),
}

impl Security {
    pub(super) fn is_secure(&self) -> bool {
        !matches!(self, Self::Clear)
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure() { "Tls" } else { "Clear" })
    }
}

/// A socket that does not block, and what is spoken on it.
pub(super) enum Transport {
    Clear(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Transport {
    pub(super) fn new(stream: TcpStream, security: &Security) -> io::Result<Self> {
        match security {
            Security::Clear => Ok(Self::Clear(stream)),
            #[cfg(feature = "tls")]
            Security::Tls(config) => {
                let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Ok(Self::Tls(Box::new(StreamOwned::new(tls, stream))))
            }
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        !matches!(self, Self::Clear(_))
    }

    /// The certificate that the client has shown, in DER, once something was read.
    #[cfg(feature = "tls")]
    pub(super) fn client_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(tls) => tls.conn.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Clear(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    /// Writes what TLS has kept back; `WouldBlock` while there is more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(tls) if !tls.conn.wants_write() => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Says that nothing more will be written. What cannot be said is left: the client sees the end of the connection.
    pub(super) fn finish(&mut self) {
        #[cfg(feature = "tls")]
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(room),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(room),
        }
    }

    /// Writes a part of `bytes`, and says how much. What TLS keeps back is for [`flush`](Self::flush).
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure() { "Tls" } else { "Clear" })
    }
}
