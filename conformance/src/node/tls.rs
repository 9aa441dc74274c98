//! Listeners for AMQP over TLS, added to a node that runs: a case has one with just the certificates that it needs, and
//! the node is shared all the same.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Node, START_ATTEMPTS, port};
use crate::Result;
use crate::certificates::{Authority, Identity};

/// What a listener does about the certificates of clients.
#[derive(Clone, Copy, Debug)]
pub enum ClientCertificates<'a> {
    /// They are not asked for.
    Ignored,
    /// They are asked for, and have to be signed by this authority where there is one.
    Optional(&'a Authority),
    /// They are asked for, and have to be there.
    Required(&'a Authority),
}

impl Node {
    /// Listens for AMQP over TLS on another port of 127.0.0.1, until the node is stopped.
    ///
    /// # Errors
    /// If the node is not running, or does not like what it is given.
    pub fn listen_tls(&self, identity: &Identity, clients: ClientCertificates<'_>) -> Result<SocketAddr> {
        let (verify, required, authorities) = match clients {
            ClientCertificates::Ignored => ("verify_none", false, String::new()),
            ClientCertificates::Optional(authority) => ("verify_peer", false, bytes(&authority.certificate())),
            ClientCertificates::Required(authority) => ("verify_peer", true, bytes(&authority.certificate())),
        };
        let options = format!(
            "[{{cert, {}}}, {{key, {{'PrivateKeyInfo', {}}}}}, {{cacerts, [{authorities}]}}, \
             {{verify, {verify}}}, {{fail_if_no_peer_cert, {required}}}]",
            bytes(&identity.certificate),
            bytes(&identity.key),
        );
        let mut attempts = 1;
        loop {
            let port = port::free(Ipv4Addr::LOCALHOST)?;
            let listen = format!(
                "{{ok, _}} = application:ensure_all_started(ssl), \
                 rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, {options}, 2), ok"
            );
            match self.expect_ok(&listen) {
                // Somebody took the port between the choice and its use.
                Err(failure) if failure.to_string().contains("eaddrinuse") && attempts < START_ATTEMPTS => {
                    attempts += 1;
                }
                result => return result.map(|()| (Ipv4Addr::LOCALHOST, port).into()),
            }
        }
    }
}

/// An Erlang binary.
fn bytes(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    format!("<<{}>>", bytes.join(","))
}
