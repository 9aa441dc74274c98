//! The peer's end of TLS, and certificates for it.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use amqp_api::TlsOptions;
use amqp_api::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use amqp_api::rustls::server::WebPkiClientVerifier;
use amqp_api::rustls::{RootCertStore, ServerConfig, ServerConnection};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority that signs what a test needs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::called("an authority")
    }

    pub(crate) fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this name.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.signed(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(crate) fn signed(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap().der().clone(), key }
    }

    /// Options that trust it and nobody else.
    pub(crate) fn trusted(&self) -> TlsOptions {
        TlsOptions::default().ca_bytes(self.0.der().to_vec())
    }

    /// A server that shows a certificate for this name.
    pub(crate) fn server(&self, name: &str) -> TlsServer {
        let identity = self.identity(name);
        let config = ServerConfig::builder().with_no_client_auth();
        TlsServer::new(config.with_single_cert(vec![identity.certificate], key(&identity.key)).unwrap())
    }

    /// A server that wants a certificate of the client's, by this authority.
    pub(crate) fn server_that_asks(&self, name: &str) -> TlsServer {
        let identity = self.identity(name);
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        TlsServer::new(config.with_single_cert(vec![identity.certificate], key(&identity.key)).unwrap())
    }
}

fn key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

/// rustls as a server. An error ends it, and nothing is decrypted any more.
pub(crate) struct TlsServer {
    session: ServerConnection,
    /// The client has said that nothing follows.
    pub(crate) was_closed: bool,
    /// What was wrong with the client, in rustls' words.
    pub(crate) failure: Option<String>,
}

impl TlsServer {
    fn new(config: ServerConfig) -> Self {
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        Self { session, was_closed: false, failure: None }
    }

    /// The plaintext of these bytes, as far as they go.
    pub(crate) fn decrypt(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::new();
        while !bytes.is_empty() && self.failure.is_none() {
            self.session.read_tls(&mut bytes).unwrap();
            if let Err(error) = self.session.process_new_packets() {
                self.failure = Some(error.to_string());
            }
            match self.session.reader().read_to_end(&mut plaintext) {
                Ok(_) => {
                    self.was_closed = true;
                    assert!(bytes.is_empty(), "nothing follows the end");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        plaintext
    }

    /// These bytes, encrypted when there are keys, and what else is to be said.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.session.set_buffer_limit(None);
        self.session.writer().write_all(plaintext).unwrap();
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Says that nothing follows.
    pub(crate) fn close(&mut self) {
        self.session.send_close_notify();
    }

    /// Changes the keys, and asks the client to do so as well.
    pub(crate) fn renew_keys(&mut self) {
        self.session.refresh_traffic_keys().unwrap();
    }
}
