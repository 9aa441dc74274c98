//! The broker over TLS.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use amqp_blocking::{Config, ErrorKind, TlsOptions};
use amqp_broker::Broker;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

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
