//! The broker on its port, with a client that knows nothing of it.

use std::thread;
use std::time::Duration;

use amqp_blocking::{Config, ErrorKind};
use amqp_broker::Broker;

const LONG: Duration = Duration::from_secs(30);

#[test]
fn f54_a_test_waits_for_what_happens_in_the_broker() {
    let broker = Broker::start().unwrap();
    assert!(!broker.wait_until(Duration::ZERO, |broker| broker.queue("q").is_some()));
    let uri = broker.uri();
    let client = thread::spawn(move || {
        let connection = amqp_blocking::connect(uri).unwrap();
        connection.channel().unwrap().queue_declare("q").unwrap();
        connection.close().unwrap();
    });
    assert!(broker.wait_until(LONG, |broker| broker.queue("q").is_some()));
    assert!(broker.wait_until(LONG, |broker| broker.connections().is_empty()));
    client.join().unwrap();
}

#[test]
fn f54_a_shutdown_is_told_to_the_clients_and_nobody_new_is_let_in() {
    let broker = Broker::start().unwrap();
    let (uri, config) = (broker.uri(), Config::from_uri(&broker.uri()).unwrap());
    let connection = amqp_blocking::connect(config).unwrap();
    let channel = connection.channel().unwrap();
    assert!(broker.shutdown(LONG), "the client answers");
    let error = channel.queue_declare("q").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionClosed(close) if close.code.0 == 320), "{error}");
    amqp_blocking::connect(uri).unwrap_err();
}
