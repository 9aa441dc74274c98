//! Consumers whose prefetch changes while they run, consumers without a word from the broker, and batches.

use amqp_proto::conn::{ChannelId, Connection, Consume, ConsumerId, DeliveryTag, NextBatch, Reply};
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Method, Properties, basic, tx};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use crate::peer::{Peer, consume, consume_no_ack, deliver, quiet, seconds, short};

fn qos(prefetch_count: u16) -> (u16, Method<'static>) {
    (1, basic::Qos { prefetch_count, ..basic::Qos::default() }.into())
}

fn consumed<'a>(tag: &'a str, arguments: &'a FieldTable, exclusive: bool) -> (u16, Method<'a>) {
    let consume = basic::Consume {
        queue: short("q"),
        consumer_tag: short(tag),
        exclusive,
        arguments: arguments.as_ref(),
        ..basic::Consume::default()
    };
    (1, consume.into())
}

fn cancelled(tag: &str) -> (u16, Method<'_>) {
    (1, basic::Cancel { consumer_tag: short(tag), nowait: false }.into())
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> (u16, Method<'static>) {
    (1, basic::Nack { delivery_tag, multiple, requeue }.into())
}

fn running(consume: &Consume<'_>) -> (Peer, ChannelId, ConsumerId) {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, consume);
    peer.sent();
    (peer, channel, consumer)
}

fn tag_of(connection: &Connection, consumer: ConsumerId) -> String {
    connection.consumer_tag(consumer).to_owned()
}

#[test]
fn c12_the_new_subscription_comes_before_the_old_one_goes_and_both_fill_one_queue() {
    let (mut peer, _, consumer) = running(&Consume { prefetch: Some(1), ..consume("c") });
    let none = FieldTable::new();
    peer.deliver(1, "c", 1, b"1");
    let first = peer.next(consumer);
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    let tag = tag_of(&peer.connection, consumer);
    assert_ne!(tag, "c");
    peer.expect_all([qos(2), consumed(&tag, &none, false), cancelled("c")]);
    // In whatever order answers and deliveries come.
    peer.deliver(1, &tag, 2, b"2");
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    peer.expect_waiting(request);
    peer.deliver(1, &tag, 3, b"3");
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(matches!(peer.reply(request), Ok(Reply::Done)));
    for value in [2, 3] {
        let delivery = peer.next(consumer);
        assert_eq!(delivery.delivery_tag().value(), value);
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    }
    // What came by the old one can still be settled.
    peer.connection.ack(first.delivery_tag(), false).unwrap();
    peer.expect_all([(1, basic::Ack { delivery_tag: 3, multiple: true }.into())]);
    // The end is that of the new one, also by the name that it began with.
    let request = peer.connection.cancel_tag(first.delivery_tag().channel(), short("c"), None).unwrap();
    peer.expect_all([cancelled(&tag)]);
    peer.send(1, basic::CancelOk { consumer_tag: short(&tag) });
    assert!(peer.reply(request).is_ok());
    peer.expect_ended(consumer);
}

#[test]
fn c12_deliveries_of_the_old_subscription_that_come_late_are_not_lost() {
    let (mut peer, _, consumer) = running(&consume("c"));
    let request = peer.connection.set_prefetch(consumer, 7, None).unwrap();
    let tag = tag_of(&peer.connection, consumer);
    peer.sent();
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(peer.reply(request).is_ok());
    for value in 1..=4 {
        peer.deliver(1, if value % 2 == 0 { "c" } else { &tag }, value, b"x");
    }
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    let tags: Vec<_> = (0..4).map(|_| peer.next(consumer).delivery_tag().value()).collect();
    assert_eq!(tags, [1, 2, 3, 4]);
    peer.expect_pending(consumer);
}

#[test]
fn c12_several_changes_at_once_end_with_the_last() {
    let (mut peer, channel, consumer) = running(&consume("c"));
    let one = peer.connection.set_prefetch(consumer, 1, None).unwrap();
    let first = tag_of(&peer.connection, consumer);
    let superseded = peer.connection.set_prefetch(consumer, 9, None).unwrap();
    let two = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    assert!(peer.reply(superseded).is_ok());
    let none = FieldTable::new();
    peer.expect_all([qos(1), consumed(&first, &none, false), cancelled("c")]);
    peer.send(1, basic::QosOk {});
    peer.expect_nothing();
    peer.expect_waiting(one);
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&first) });
    assert!(peer.reply(one).is_ok());
    let second = tag_of(&peer.connection, consumer);
    peer.expect_all([qos(2), consumed(&second, &none, false), cancelled(&first)]);
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&second) });
    assert!(peer.reply(two).is_ok());
    for tag in ["c", &first] {
        peer.send(1, basic::CancelOk { consumer_tag: short(tag) });
    }
    // The same again is nothing to be asked for.
    let same = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    assert!(peer.reply(same).is_ok());
    peer.expect_nothing();
    // The names in between are free again, the one that the application chose is not.
    assert!(peer.connection.consume(channel, &consume(&first), None).is_ok());
    assert!(peer.connection.consume(channel, &consume("c"), None).is_err());
}

#[test]
fn c12_an_exclusive_consumer_is_cancelled_before_it_consumes_again() {
    let (mut peer, _, consumer) = running(&Consume { exclusive: true, ..consume("c") });
    let none = FieldTable::new();
    let early = peer.connection.set_prefetch(consumer, 1, None).unwrap();
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    assert!(peer.reply(early).is_ok(), "the later one holds");
    peer.expect_all([cancelled("c")]);
    peer.deliver(1, "c", 1, b"late");
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    let tag = tag_of(&peer.connection, consumer);
    assert_ne!(tag, "c");
    peer.expect_all([qos(2), consumed(&tag, &none, true)]);
    peer.send(1, basic::QosOk {});
    peer.expect_waiting(request);
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(peer.reply(request).is_ok());
    peer.deliver(1, &tag, 2, b"on");
    assert_eq!([1, 2].map(|_| peer.next(consumer).delivery_tag().value()), [1, 2]);
}

#[test]
fn c12_a_stream_goes_on_behind_its_last_delivery() {
    let offset = |offset: i64| {
        let mut properties = Properties::new();
        properties.set_headers(table! { "x-stream-offset" => offset }).unwrap();
        properties
    };
    // It says that it is a stream by its arguments, or by its deliveries.
    for arguments in [table! { "x-stream-offset" => "first", "x-priority" => 1 }, table! { "x-priority" => 1 }] {
        let (mut peer, _, consumer) = running(&Consume { arguments: arguments.as_ref(), ..consume("c") });
        for at in [40, 41] {
            peer.send_message(1, deliver("c", u64::try_from(at).unwrap() - 39), &offset(at), b"x");
        }
        let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
        peer.expect_all([cancelled("c")]);
        // Still under way, and after this the old one is over.
        peer.send_message(1, deliver("c", 3), &offset(42), b"x");
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        let on = table! { "x-priority" => 1, "x-stream-offset" => 43_i64 };
        let tag = tag_of(&peer.connection, consumer);
        peer.expect_all([qos(2), consumed(&tag, &on, false)]);
        peer.send(1, basic::QosOk {});
        peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
        assert!(peer.reply(request).is_ok());
        assert_eq!([1, 2, 3].map(|_| peer.next(consumer).delivery_tag().value()), [1, 2, 3]);
    }
}

#[test]
fn c12_what_ends_a_consumer_ends_the_change_of_its_prefetch() {
    // The broker cancels it.
    let (mut peer, _, consumer) = running(&Consume { exclusive: true, ..consume("c") });
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    assert!(matches!(peer.error(request).kind(), ErrorKind::ConsumerCancelled { .. }));
    peer.sent();
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    peer.expect_nothing();

    // The application does.
    let (mut peer, _, consumer) = running(&Consume { exclusive: true, ..consume("c") });
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.expect_all([cancelled("c"), cancelled("c")]);
    for _ in 0..2 {
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    }
    assert!(peer.reply(cancel).is_ok());
    peer.error(request);
    peer.expect_ended(consumer);

    // Nobody holds it any more.
    let (mut peer, channel, consumer) = running(&consume("c"));
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    peer.connection.abandon_request(request);
    let tag = tag_of(&peer.connection, consumer);
    peer.connection.release_consumer(consumer);
    peer.sent();
    peer.deliver(1, "c", 1, b"x");
    peer.deliver(1, &tag, 2, b"x");
    peer.expect_all([nack(1, false, true), nack(2, false, true)]);
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    peer.expect_all([cancelled(&tag)]);
    for tag in ["c", &tag] {
        peer.send(1, basic::CancelOk { consumer_tag: short(tag) });
    }
    peer.expect_nothing();
    assert!(peer.connection.consume(channel, &consume("c"), None).is_ok());

    // The channel goes.
    let (mut peer, _, consumer) = running(&consume("c"));
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    peer.close_channel(1, 404, "NOT_FOUND");
    assert!(matches!(peer.error(request).kind(), ErrorKind::ChannelClosed(_)));
    assert!(matches!(peer.next_error(consumer).kind(), ErrorKind::ChannelClosed(_)));
}

#[test]
fn c12_a_cancel_by_the_broker_of_the_old_subscription_does_not_end_the_new_one() {
    let (mut peer, _, consumer) = running(&consume("c"));
    let request = peer.connection.set_prefetch(consumer, 2, None).unwrap();
    let tag = tag_of(&peer.connection, consumer);
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(peer.reply(request).is_ok());
    peer.deliver(1, &tag, 1, b"x");
    peer.next(consumer);
    peer.send(1, basic::Cancel { consumer_tag: short(&tag), nowait: true });
    assert!(
        matches!(peer.next_error(consumer).kind(), ErrorKind::ConsumerCancelled { consumer_tag } if *consumer_tag == tag)
    );
}

#[test]
fn c12_a_prefetch_of_0_counts_bytes_from_then_on_and_another_does_not() {
    let mut config = quiet();
    config.limits.receive_buffer = 1000;
    let mut peer = Peer::open_with(config, crate::peer::TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.deliver(1, "c", 1, &[0; 900]);
    let unbounded = peer.connection.set_prefetch(consumer, 0, None).unwrap();
    assert!(peer.connection.wants_read(), "the answers must be read");
    let tag = tag_of(&peer.connection, consumer);
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(peer.reply(unbounded).is_ok());
    assert!(!peer.connection.wants_read(), "what was there before counts as well");
    peer.next(consumer);
    assert!(peer.connection.wants_read());
    peer.deliver(1, &tag, 2, &[0; 900]);
    assert!(!peer.connection.wants_read());
    // Its answer will be read when the application has read.
    let bounded = peer.connection.set_prefetch(consumer, 5, None).unwrap();
    peer.next(consumer);
    let tag = tag_of(&peer.connection, consumer);
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short(&tag) });
    assert!(peer.reply(bounded).is_ok());
    (3..6).for_each(|delivery| peer.deliver(1, &tag, delivery, &[0; 900]));
    assert!(peer.connection.wants_read());
}

#[test]
fn c12_where_there_is_no_prefetch_to_be_changed_it_is_an_error() {
    let (mut peer, _, consumer) = running(&consume_no_ack("c"));
    assert!(peer.connection.set_prefetch(consumer, 1, None).is_err());
    let (mut peer, _, consumer) = running(&Consume { queue: short(""), ..consume("c") });
    assert!(peer.connection.set_prefetch(consumer, 1, None).is_err());
    peer.connection.cancel(consumer, None).unwrap();
    let (mut peer, _, consumer) = running(&consume("c"));
    peer.connection.cancel(consumer, None).unwrap();
    assert!(peer.connection.set_prefetch(consumer, 1, None).is_err());
}

#[test]
fn f40_a_stream_without_acks_or_prefetch_is_refused_before_the_broker_closes_anything() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let arguments = table! { "x-stream-offset" => "first" };
    let stream = Consume { arguments: arguments.as_ref(), ..consume("c") };
    for refused in [Consume { no_ack: true, ..stream }, Consume { prefetch: Some(0), ..stream }] {
        let error = peer.connection.consume(channel, &refused, None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    }
    peer.expect_nothing();
    let consumer = peer.consumer(channel, &stream);
    assert!(peer.connection.set_prefetch(consumer, 0, None).is_err());
}

#[test]
fn f22_a_consumer_that_asks_for_no_answer_is_there_at_once() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.connection.consume(channel, &Consume { nowait: true, ..consume("") }, None).unwrap();
    let Ok(Reply::Consuming(consumer)) = peer.reply(request) else { panic!("it is not there") };
    let tag = tag_of(&peer.connection, consumer);
    assert!(!tag.is_empty());
    peer.sent();
    peer.deliver(1, &tag, 1, b"x");
    peer.next(consumer);
    let request = peer.connection.cancel(consumer, None).unwrap();
    peer.send(1, basic::CancelOk { consumer_tag: short(&tag) });
    assert!(peer.reply(request).is_ok());
    peer.expect_ended(consumer);

    // Given up before anybody took it.
    let request = peer.connection.consume(channel, &Consume { nowait: true, ..consume("c") }, None).unwrap();
    peer.sent();
    peer.connection.abandon_request(request);
    peer.expect_all([cancelled("c")]);
}

#[test]
fn f22_a_consumer_that_is_cancelled_without_an_answer_ends_at_once() {
    let (mut peer, channel, consumer) = running(&consume("c"));
    peer.deliver(1, "c", 1, b"x");
    peer.connection.cancel_nowait(consumer).unwrap();
    peer.expect_all([(1, basic::Cancel { consumer_tag: short("c"), nowait: true }.into())]);
    assert_eq!(peer.next(consumer).delivery_tag().value(), 1);
    peer.expect_ended(consumer);
    // Still on its way.
    peer.deliver(1, "c", 2, b"x");
    peer.expect_all([nack(2, false, true)]);
    peer.connection.cancel_nowait(consumer).unwrap();
    peer.expect_nothing();
    // By its tag, or by one that nobody has; and not before the consume is answered.
    peer.connection.cancel_tag_nowait(channel, short("nobody")).unwrap();
    peer.expect_all([(1, basic::Cancel { consumer_tag: short("nobody"), nowait: true }.into())]);
    let request = peer.connection.consume(channel, &consume("d"), None).unwrap();
    peer.sent();
    peer.connection.cancel_tag_nowait(channel, short("d")).unwrap();
    peer.expect_nothing();
    peer.send(1, basic::ConsumeOk { consumer_tag: short("d") });
    peer.expect_all([cancelled("d")]);
    peer.send(1, basic::CancelOk { consumer_tag: short("d") });
    let Ok(Reply::Consuming(consumer)) = peer.reply(request) else { panic!("it is not there") };
    peer.expect_ended(consumer);
}

#[test]
fn a_consumer_is_not_cancelled_before_its_consume_is_answered() {
    // RabbitMQ 3.10 to 4.0 answer that with 541, for the whole connection.
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.connection.consume(channel, &consume("c"), None).unwrap();
    let cancels = [0, 1].map(|_| peer.connection.cancel_tag(channel, short("c"), None).unwrap());
    assert_eq!(peer.names(), ["1 basic.qos", "1 basic.consume"]);
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") });
    let Ok(Reply::Consuming(consumer)) = peer.reply(request) else { panic!("it is not there") };
    peer.expect_all([cancelled("c"), cancelled("c")]);
    for cancel in cancels {
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        assert!(peer.reply(cancel).is_ok());
    }
    peer.expect_ended(consumer);

    // Nobody is left waiting if the channel goes first.
    let request = peer.connection.consume(channel, &consume("d"), None).unwrap();
    let cancel = peer.connection.cancel_tag(channel, short("d"), None).unwrap();
    peer.close_channel(1, 404, "NOT_FOUND");
    for request in [request, cancel] {
        assert!(matches!(peer.error(request).kind(), ErrorKind::ChannelClosed(_)));
    }
}

fn values(batch: NextBatch) -> Vec<u64> {
    match batch {
        NextBatch::Deliveries(deliveries) => deliveries.iter().map(|it| it.delivery_tag().value()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn f42_a_batch_takes_nothing_before_it_is_enough() {
    let (mut peer, _, consumer) = running(&Consume { prefetch: Some(3), ..consume("c") });
    assert!(matches!(peer.connection.next_batch(consumer, 2, false), NextBatch::Pending { some: false }));
    assert!(matches!(peer.connection.next_batch(consumer, 2, true), NextBatch::Pending { some: false }));
    peer.deliver(1, "c", 1, b"x");
    assert!(matches!(peer.connection.next_batch(consumer, 2, false), NextBatch::Pending { some: true }));
    assert_eq!(peer.connection.buffered_deliveries(consumer), 1);
    assert_eq!(values(peer.connection.next_batch(consumer, 2, true)), [1]);
    (2..=4).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    // More than the prefetch cannot come.
    assert_eq!(values(peer.connection.next_batch(consumer, 100, false)), [2, 3, 4]);
    (5..=7).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    assert_eq!(values(peer.connection.next_batch(consumer, 2, false)), [5, 6]);
    // What ends the consumer ends the batch before it.
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    assert_eq!(values(peer.connection.next_batch(consumer, 2, false)), [7]);
    assert!(matches!(peer.connection.next_batch(consumer, 2, false), NextBatch::Bad(_)));
    assert!(matches!(peer.connection.next_batch(consumer, 2, false), NextBatch::Ended));
}

#[test]
fn f42_a_batch_is_enough_when_reading_pauses() {
    let mut config = quiet();
    config.limits.receive_buffer = 1000;
    let mut peer = Peer::open_with(config, crate::peer::TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume_no_ack("c"));
    peer.deliver(1, "c", 1, &[0; 500]);
    assert!(matches!(peer.connection.next_batch(consumer, 1000, false), NextBatch::Pending { some: true }));
    peer.deliver(1, "c", 2, &[0; 500]);
    assert!(!peer.connection.wants_read());
    assert_eq!(values(peer.connection.next_batch(consumer, 1000, false)), [1, 2]);
    assert!(peer.connection.wants_read());
}

fn outstanding(peer: &mut Peer, consumer: ConsumerId, count: u64) -> Vec<DeliveryTag> {
    (1..=count).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    (0..count).map(|_| peer.next(consumer).delivery_tag()).collect()
}

#[test]
fn f42_a_batch_is_settled_by_one_frame_where_nothing_lower_is_left() {
    let (mut peer, channel, consumer) = running(&consume("c"));
    let tags = outstanding(&mut peer, consumer, 9);
    peer.connection.nack_all(&tags[..3], true).unwrap();
    peer.expect_all([nack(3, true, true)]);
    // The fourth is somebody else's.
    peer.connection.nack_all(&tags[4..6], false).unwrap();
    peer.expect_all([nack(5, false, false), nack(6, false, false)]);
    peer.connection.ack_all(tags[6..8].iter().copied()).unwrap();
    peer.expect_all([
        (1, basic::Ack { delivery_tag: 7, multiple: false }.into()),
        (1, basic::Ack { delivery_tag: 8, multiple: false }.into()),
    ]);
    // Settled already, and then the rest.
    let error = peer.connection.nack_all(&[tags[2], tags[3]], true).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)));
    peer.expect_all([nack(4, false, true)]);
    peer.connection.ack_all([tags[8]]).unwrap();
    peer.expect_all([(1, basic::Ack { delivery_tag: 9, multiple: false }.into())]);
    assert_eq!(peer.connection.unsettled(channel), 0);
}

#[test]
fn f42_in_a_transaction_a_batch_is_settled_one_by_one() {
    let (mut peer, channel, consumer) = running(&consume("c"));
    let request = peer.connection.request(channel, tx::Select {}, None).unwrap().unwrap();
    peer.send(1, tx::SelectOk {});
    assert!(peer.reply(request).is_ok());
    peer.sent();
    let tags = outstanding(&mut peer, consumer, 2);
    peer.connection.nack_all(&tags, true).unwrap();
    peer.expect_all([nack(1, false, true), nack(2, false, true)]);
}

#[test]
fn f33_a_wait_ends_with_its_time_or_with_the_connection() {
    let mut peer = Peer::open();
    let request = peer.connection.wait_time(seconds(3));
    peer.turn();
    peer.advance(seconds(2));
    peer.expect_waiting(request);
    peer.advance(seconds(1));
    assert!(matches!(peer.error(request).kind(), ErrorKind::Timeout { .. }));
    let request = peer.connection.wait_time(seconds(3));
    peer.eof();
    peer.error(request);
    let request = peer.connection.wait_time(seconds(3));
    assert!(peer.reply(request).is_ok(), "nobody keeps the time any more");
}
