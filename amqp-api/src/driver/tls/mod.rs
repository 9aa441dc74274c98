//! TLS: a layer between the session and the socket, and as sans-IO as rustls is, so that all runtimes have the same.
//!
//! | file | job |
//! |---|---|
//! | `stream` | an [`Io`] over an [`Io`] |
//! | `client` | from options to a configuration of rustls |
//! | `pem` | certificates and keys from files and bytes |
//! | `unverified` | what accepts every certificate, if that was asked for and allowed |
//! | `failure` | rustls' errors in our words |

mod client;
mod failure;
mod pem;
mod stream;
mod unverified;

use std::sync::Arc;

use amqp_proto::config::Address;
use amqp_proto::error::{Error, ErrorKind, TlsFailure};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;

pub(crate) use self::client::Base;
use self::stream::Stream;
use super::Io;
use crate::connect::ConnectOptions;

/// How TLS is spoken, read from the options once per round of connecting; or that it is not.
pub(super) struct Tls<'a> {
    config: Option<Arc<ClientConfig>>,
    /// In place of the host's own.
    server_name: Option<&'a str>,
}

impl<'a> Tls<'a> {
    /// # Errors
    ///
    /// If the options cannot be used.
    pub(super) fn new(options: &'a ConnectOptions) -> Result<Self, Error> {
        let config = client::config(options)?;
        Ok(Self { config, server_name: options.config.tls.as_ref().and_then(|tls| tls.server_name.as_deref()) })
    }

    /// The stream of TLS over this one, if TLS is to be spoken. The handshake takes place when it is read and written.
    ///
    /// # Errors
    ///
    /// If no certificate can be for such a host.
    pub(super) fn over(&self, io: Box<dyn Io>, host: &Address) -> Result<Box<dyn Io>, Error> {
        let Some(config) = &self.config else { return Ok(io) };
        let name = server_name(self.server_name.unwrap_or(&host.host))?;
        let session = UnbufferedClientConnection::new(Arc::clone(config), name)
            .map_err(|error| failed(TlsFailure::Options, error.to_string()))?;
        Ok(Box::new(Stream::new(io, session)))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    // The zone of a link-local address is for this machine alone.
    let without_zone = if name.contains(':') { name.split('%').next().unwrap_or(name) } else { name };
    ServerName::try_from(without_zone.to_owned())
        .map_err(|_| failed(TlsFailure::Options, format!("no certificate can be for {name:?}, which is no DNS name")))
}

fn failed(reason: TlsFailure, text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Tls { reason, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f18_names_and_addresses_can_be_verified_and_nothing_else() {
        for name in ["localhost", "broker.example.org", "192.0.2.1", "::1", "fe80::1%eth0"] {
            assert!(server_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "bro ker", "-", "a..b", "::1::"] {
            let error = server_name(name).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Tls { reason: TlsFailure::Options, .. }), "{name}: {error}");
        }
    }
}
