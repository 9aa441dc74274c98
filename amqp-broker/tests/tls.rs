//! The broker over TLS.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use amqp_blocking::{Config, Connection, ErrorKind, Mechanism as Sasl, TlsOptions};
use amqp_broker::{Broker, CertificateName, Mechanism};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What a broker shows, and its certificate, which is its own authority.
fn identity() -> (Arc<ServerConfig>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder().with_no_client_auth();
    (Arc::new(config.with_single_cert(vec![certificate.clone()], key).unwrap()), certificate.to_vec())
}

#[test]
fn f54_a_broker_speaks_tls_and_its_uri_says_so() {
    let (server, certificate) = identity();
    let broker = Broker::builder().tls(server).start().unwrap();
    assert!(broker.uri().starts_with("amqps://guest:guest@localhost:"), "{}", broker.uri());
    let mut config = Config::from_uri(&broker.uri()).unwrap();
    config = config.tls(TlsOptions::default().ca_bytes(certificate));
    let connection = amqp_blocking::connect(config).unwrap();
    let publisher = connection.publisher().unwrap();
    let channel = connection.channel().unwrap();
    channel.queue_declare("q").unwrap();
    // More than TLS keeps in its buffers, both ways.
    let body = vec![7; 3 << 20];
    publisher.publish("", "q", &body[..]).unwrap();
    let delivery = channel.get("q").unwrap().unwrap();
    assert!(delivery.body() == body[..]);
    delivery.ack().unwrap();
    assert!(broker.connections()[0].tls);
    connection.close().unwrap();
}

#[test]
fn f54_a_broker_speaks_tls_on_a_port_of_its_own() {
    let (server, _) = identity();
    let broker = Broker::start().unwrap();
    let secure = broker.listen_tls(server).unwrap();
    // Nobody trusts that certificate, and the broker gets over it.
    let uri = format!("amqps://guest:guest@{secure}");
    let trusting_others = TlsOptions::default().ca_bytes(identity().1);
    let error = amqp_blocking::connect(Config::from_uri(&uri).unwrap().tls(trusting_others)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
    let connection = amqp_blocking::connect(broker.uri()).unwrap();
    assert!(!broker.connections()[0].tls);
    connection.close().unwrap();
}

/// An authority that vouches for clients and for the broker.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A certificate for a subject of these parts, and its key.
    fn identity(&self, subject: &[(DnType, &str)]) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        subject.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().to_vec(), key.serialize_der())
    }

    /// What a broker shows, and that it takes certificates of clients, but does not insist on them.
    fn server(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().into()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build().unwrap();
        let (certificate, key) = self.identity(&[(DnType::CommonName, "localhost")]);
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        config.with_single_cert(vec![certificate.into()], PrivateKeyDer::try_from(key).unwrap()).unwrap()
    }

    /// Logs in by EXTERNAL, with a certificate or without.
    fn external(&self, broker: &Broker, subject: Option<&[(DnType, &str)]>) -> Result<Connection, ErrorKind> {
        let mut tls = TlsOptions::default().ca_bytes(self.certificate());
        if let Some((certificate, key)) = subject.map(|subject| self.identity(subject)) {
            tls = tls.client_certificate_bytes(certificate, key);
        }
        let config = Config::from_uri(&broker.uri()).unwrap().tls(tls).mechanism(Sasl::External);
        amqp_blocking::connect(config).map_err(|error| error.kind().clone())
    }
}

#[test]
fn f16_external_logs_in_whom_the_common_name_of_a_certificate_names() {
    let authority = Authority::new();
    let broker = Broker::builder().tls(authority.server()).login_from(CertificateName::CommonName);
    let broker = broker.mechanisms(&[Mechanism::Plain, Mechanism::External]).start().unwrap();
    broker.add_user("alice", "a password that is not used");
    broker.allow_everything("alice", "/").unwrap();
    let subject = |name| [(DnType::OrganizationName, "Example"), (DnType::CommonName, name)];
    let connection = authority.external(&broker, Some(&subject("alice"))).unwrap();
    assert_eq!(broker.connections()[0].user, "alice");
    connection.close().unwrap();
    // Nobody knows that name, or there is none.
    let unnamed = [(DnType::OrganizationName, "alice")];
    for refused in [Some(&subject("bob")[..]), Some(&unnamed[..]), None] {
        let error = authority.external(&broker, refused).unwrap_err();
        assert!(matches!(error, ErrorKind::AuthenticationFailed(_)), "{refused:?}: {error:?}");
    }
}

#[test]
fn f16_external_takes_the_whole_subject_as_rabbitmq_writes_it() {
    let authority = Authority::new();
    let builder = Broker::builder().tls(authority.server()).mechanisms(&[Mechanism::External]);
    let broker = builder.start().unwrap();
    // As all three versions of RabbitMQ have it.
    let user = "CN=\\#Zo\\C3\\AB \\\"Q\\\"\\+\\\\\\ ,OU=a\\,b,O=Example,ST=Z\\7E";
    broker.add_user(user, "a password that is not used");
    broker.allow_everything(user, "/").unwrap();
    let connection = authority.external(&broker, Some(&subject())).unwrap();
    assert_eq!(broker.connections()[0].user, user);
    connection.close().unwrap();
}

fn subject() -> [(DnType, &'static str); 4] {
    [
        (DnType::StateOrProvinceName, "Z~"),
        (DnType::OrganizationName, "Example"),
        (DnType::OrganizationalUnitName, "a,b"),
        (DnType::CommonName, "#Zoë \"Q\"+\\ "),
    ]
}

#[test]
fn f16_external_is_not_offered_in_clear() {
    let broker = Broker::builder().mechanisms(&[Mechanism::Plain, Mechanism::External]).start().unwrap();
    let config = Config::from_uri(&broker.uri()).unwrap().mechanism(Sasl::External);
    let error = amqp_blocking::connect(config).unwrap_err();
    assert!(error.to_string().contains("PLAIN"), "{error}");
    assert!(!matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "it was not asked for: {error}");
}
