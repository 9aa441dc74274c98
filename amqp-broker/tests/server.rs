//! The broker on its port, with a client that knows nothing of it.

use std::thread;
use std::time::Duration;

use amqp_blocking::{Config, ErrorKind, Message};
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
    let (uri, config) = (broker.uri(), Config::from_uri(&broker.uri()).unwrap().no_recovery());
    let connection = amqp_blocking::connect(config).unwrap();
    let channel = connection.channel().unwrap();
    assert!(broker.shutdown(LONG), "the client answers");
    let error = channel.queue_declare("q").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionClosed(close) if close.code.0 == 320), "{error}");
    amqp_blocking::connect(uri).unwrap_err();
}

#[test]
fn f54_a_test_sees_what_is_unacked_and_by_whom() {
    let broker = Broker::start().unwrap();
    let config = Config::from_uri(&broker.uri()).unwrap().connection_name("worker");
    let connection = amqp_blocking::connect(config).unwrap();
    let channel = connection.channel().unwrap();
    channel.queue_declare("q").unwrap();
    let publisher = connection.publisher().unwrap();
    publisher.publish("", "q", "one").unwrap();
    publisher.publish("", "q", "two").unwrap();
    let got = channel.get("q").unwrap().unwrap();
    let mut consumer = channel.consume("q").unwrap();
    let delivery = consumer.next().unwrap().unwrap();
    let unacked = broker.unacked("q").unwrap();
    let seen: Vec<_> = unacked.iter().map(|it| (&it.connection[..], it.delivery_tag, &it.message.body[..])).collect();
    assert_eq!(seen, [("worker", 1, &b"one"[..]), ("worker", 2, b"two")]);
    assert_eq!((&unacked[0].consumer, unacked[1].consumer.as_deref()), (&None, Some(consumer.tag())));
    assert_eq!(broker.queue("q").unwrap().unacked, 2);
    got.ack().unwrap();
    delivery.ack().unwrap();
    assert!(broker.wait_until(LONG, |broker| broker.queue("q").unwrap().messages() == 0));
    assert!(broker.unacked("q").unwrap().is_empty());
    broker.unacked("other").unwrap_err();
    connection.close().unwrap();
}

#[test]
fn f54_what_was_published_is_seen_though_no_queue_has_taken_it() {
    let broker = Broker::start().unwrap();
    let connection = amqp_blocking::connect(broker.uri()).unwrap();
    let publisher = connection.publisher().unwrap();
    let message = || Message::new("x").mandatory(false).header("b", 1).header("a", 2);
    publisher.publish("amq.topic", "before", message()).unwrap();
    broker.record_publishes();
    publisher.publish("amq.topic", "a.b", message()).unwrap();
    let [only] = &broker.published()[..] else { panic!("{:?}", broker.published()) };
    assert_eq!((&only.message.exchange[..], &only.message.routing_key[..]), ("amq.topic", "a.b"));
    assert_eq!((only.queues, only.mandatory, &only.message.body[..]), (0, false, &b"x"[..]));
    assert!(only.message.persistent, "a publisher's default");
    connection.close().unwrap();
}
