//! Channels with their settings and consumers.

use amqp_proto::conn::{Consume, Event, Next, NextChunk, Outcome};
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Method, Properties, ReplyCode, basic, connection};
use amqp_proto::wire::FrameKind;

use super::{assert_lost, config, lose, open};
use crate::peer::{Peer, TUNE, consume, consume_no_ack, deliver, message, seconds, unknown};

#[test]
fn c3_a_consumer_gets_everything_across_a_loss() {
    let mut peer = open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &Consume { prefetch: Some(1), ..consume("c") });
    for round in 0..3 {
        // The first transport but one has delivered one before.
        peer.deliver(1, "c", if round == 0 { 1 } else { 2 }, b"first");
        let delivery = peer.next(consumer);
        peer.expect_pending(consumer);
        lose(&mut peer);
        // It comes again.
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
        assert_eq!(peer.connection.stats().stale_settlements, round + 1);
        peer.reconnect();
        let sent = peer.sent();
        let methods: Vec<_> = sent.iter().map(crate::peer::Sent::name).collect();
        assert_eq!(methods, ["1 channel.open", "1 basic.qos", "1 basic.consume"]);
        let Method::Basic(basic::Method::Qos(qos)) = sent[1].method() else { panic!() };
        assert_eq!(qos.prefetch_count, 1);
        let Method::Basic(basic::Method::Consume(again)) = sent[2].method() else { panic!() };
        assert_eq!((again.consumer_tag.as_bytes(), again.queue.as_bytes()), (&b"c"[..], &b"q"[..]));
        sent.iter().for_each(|sent| peer.grant(sent));
        assert!(peer.connection.is_connected());
        peer.deliver(1, "c", 1, b"again");
        assert!(peer.events.iter().any(|event| matches!(event, Event::ConsumerReady(_))));
        let again = peer.next(consumer);
        assert_eq!(again.body(), "again");
        peer.connection.ack(again.delivery_tag(), false).unwrap();
        peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false });
        peer.events.clear();
    }
}

#[test]
fn f6_a_streamed_body_that_is_cut_off_by_a_loss_fails_and_comes_again_whole() {
    let mut peer = open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &Consume { streamed: true, ..consume("c") });
    let whole = vec![7; 20_000];
    let bytes = message(1, deliver("c", 1), &Properties::new(), &whole, 1000);
    for cut in [1, 5000, 19_000] {
        peer.send_bytes(&bytes[..bytes.len() - cut]);
        let delivery = peer.next(consumer);
        let body = delivery.streamed_body().unwrap().id();
        lose(&mut peer);
        match peer.connection.next_chunk(body) {
            NextChunk::Failed(error) => assert_lost(&error),
            other => panic!("{other:?}"),
        }
        peer.connection.nack(delivery.delivery_tag(), false, true).unwrap();
        peer.connection.release_body(body);
        peer.expect_pending(consumer);
        peer.reconnect();
        peer.grant_all();
    }
    peer.send_bytes(&bytes);
    let body = peer.next(consumer).streamed_body().unwrap().id();
    let mut read = Vec::new();
    while let NextChunk::Chunk(chunk) = peer.connection.next_chunk(body) {
        read.extend_from_slice(&chunk);
    }
    assert!(read == whole);
    peer.connection.release_body(body);
    assert_eq!(peer.connection.buffered_bytes(), 0);
}

#[test]
fn p22_stale_acks_after_a_reconnect_ack_nothing() {
    let mut peer = open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    for tag in 1..=5 {
        peer.deliver(1, "c", tag, b"x");
    }
    let stale: Vec<_> = (0..5).map(|_| peer.next(consumer).delivery_tag()).collect();
    lose(&mut peer);
    peer.reconnect();
    peer.grant_all();
    peer.deliver(1, "c", 1, b"somebody else's");
    let connection = &mut peer.connection;
    connection.ack(stale[0], false).unwrap();
    connection.ack(stale[1], true).unwrap();
    connection.nack(stale[2], false, true).unwrap();
    connection.nack(stale[3], true, true).unwrap();
    connection.reject(stale[4], true).unwrap();
    assert_eq!(connection.stats().stale_settlements, 5);
    assert_eq!(connection.unsettled(channel), 1);
    peer.expect_nothing();
}

#[test]
fn f43_unread_deliveries_are_void_unless_they_need_no_ack() {
    let mut peer = open();
    let channel = peer.channel();
    let acked = peer.consumer(channel, &consume("acked"));
    let plain = peer.consumer(channel, &consume_no_ack("plain"));
    peer.deliver(1, "acked", 1, b"1");
    peer.deliver(1, "plain", 2, b"2");
    lose(&mut peer);
    peer.expect_pending(acked);
    assert_eq!(peer.next(plain).body(), "2");
    peer.expect_pending(plain);
    peer.reconnect();
    peer.grant_all();
    peer.deliver(1, "acked", 1, b"1 again");
    peer.deliver(1, "plain", 2, b"3");
    assert_eq!(peer.next(acked).body(), "1 again");
    assert_eq!(peer.next(plain).body(), "3");
}

#[test]
fn p24_settings_are_kept() {
    let mut peer = open();
    let channel = peer.confirm_channel();
    let qos = |count, global| basic::Qos { prefetch_size: 0, prefetch_count: count, global };
    for qos in [qos(7, false), qos(50, true)] {
        let request = peer.connection.request(channel, qos, None).unwrap().unwrap();
        peer.grant_all();
        peer.reply(request).unwrap();
    }
    peer.consumer(channel, &Consume { prefetch: Some(3), ..consume("three") });
    peer.consumer(channel, &consume("seven"));
    lose(&mut peer);
    peer.reconnect();
    let mut told = Vec::new();
    for sent in peer.sent() {
        match sent.method() {
            Method::Basic(basic::Method::Qos(qos)) => told.push(format!("{} {}", qos.prefetch_count, qos.global)),
            Method::Basic(basic::Method::Consume(it)) => told.push(it.consumer_tag.to_string()),
            method => told.push(method.name().to_owned()),
        }
        peer.grant(&sent);
    }
    let expected = ["channel.open", "confirm.select", "3 false", "50 true", "three", "7 false", "50 true", "seven"];
    assert_eq!(told, expected);
    let confirm = peer.publish_confirmed(channel, "q", false);
    assert_eq!(peer.connection.unconfirmed(channel), 1);
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(confirm), Outcome::Acked));
}

#[test]
fn f24_confirms_end_as_unknown_and_numbers_begin_anew() {
    let mut peer = open();
    let channel = peer.confirm_channel();
    let acked = peer.publish_confirmed(channel, "q", false);
    let lost = [peer.publish_confirmed(channel, "q", false), peer.publish_confirmed(channel, "q", true)];
    peer.sent();
    peer.ack(1, 1, false);
    lose(&mut peer);
    assert!(matches!(peer.outcome(acked), Outcome::Acked));
    for confirm in lost {
        let outcome = peer.outcome(confirm);
        assert_lost(unknown(&outcome));
    }
    peer.reconnect();
    peer.grant_all();
    let first = peer.publish_confirmed(channel, "q", false);
    peer.sent();
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(first), Outcome::Acked));
    peer.advance(seconds(200));
}

#[test]
fn p25_a_channel_is_not_usable_before_its_consumers_are_back() {
    let mut peer = open();
    let channel = peer.channel();
    peer.consumer(channel, &consume("a"));
    peer.consumer(channel, &consume("b"));
    lose(&mut peer);
    peer.reconnect();
    let call = peer.declare(channel, "q");
    let sent = peer.sent();
    for sent in &sent[..sent.len() - 1] {
        peer.grant(sent);
        peer.expect_nothing();
        assert!(!peer.connection.can_publish(channel) && !peer.connection.is_connected());
    }
    peer.grant(&sent[sent.len() - 1]);
    assert!(peer.connection.is_connected() && peer.connection.can_publish(channel));
    assert_eq!(peer.names(), ["1 queue.declare"]);
    peer.declare_ok(1, "q");
    peer.declared(call);
}

#[test]
fn f43_deliveries_of_a_consumer_that_is_back_can_be_settled_before_the_others_are() {
    let mut peer = open();
    let channel = peer.channel();
    let a = peer.consumer(channel, &consume("a"));
    peer.consumer(channel, &consume("b"));
    lose(&mut peer);
    peer.reconnect();
    let sent = peer.sent();
    sent[..3].iter().for_each(|sent| peer.grant(sent));
    peer.deliver(1, "a", 1, b"x");
    peer.deliver(1, "a", 2, b"y");
    let (one, two) = (peer.next(a), peer.next(a));
    peer.connection.ack(one.delivery_tag(), false).unwrap();
    peer.connection.nack(two.delivery_tag(), false, true).unwrap();
    assert_eq!(peer.names(), ["1 basic.ack", "1 basic.nack"]);
    sent[3..].iter().for_each(|sent| peer.grant(sent));
    peer.expect_nothing();
}

#[test]
fn f43_a_consumer_cancelled_or_dropped_while_the_connection_is_down_is_gone() {
    let mut peer = open();
    let channel = peer.channel();
    let cancelled = peer.consumer(channel, &consume("cancelled"));
    let dropped = peer.consumer(channel, &consume("dropped"));
    let on_its_way = peer.consumer(channel, &consume("on its way"));
    let kept = peer.consumer(channel, &consume("kept"));
    let way = peer.connection.cancel(on_its_way, None).unwrap();
    peer.sent();
    lose(&mut peer);
    peer.reply(way).unwrap();
    peer.expect_ended(on_its_way);
    let request = peer.connection.cancel(cancelled, None).unwrap();
    peer.reply(request).unwrap();
    peer.expect_ended(cancelled);
    peer.connection.release_consumer(dropped);
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 basic.qos", "1 basic.consume"]);
    peer.deliver(1, "kept", 1, b"x");
    peer.next(kept);
}

#[test]
fn f43_a_consumer_that_was_being_started_fails_and_one_asked_for_meanwhile_starts() {
    let mut peer = open();
    let channel = peer.channel();
    let early = peer.connection.consume(channel, &consume("early"), None).unwrap();
    peer.sent();
    lose(&mut peer);
    assert_lost(&peer.error(early));
    let late = peer.connection.consume(channel, &consume("early"), None).unwrap();
    let double = peer.connection.consume(channel, &consume("early"), None).unwrap_err();
    assert!(matches!(double.kind(), ErrorKind::DuplicateConsumerTag(_)));
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 basic.qos", "1 basic.consume"]);
    peer.reply(late).unwrap();
    assert_eq!(peer.connection.consumer_count(), 1);
}

#[test]
fn f43_a_refused_consumer_is_tried_again_and_nothing_else_waits_for_it() {
    let mut peer = open();
    let busy = peer.channel();
    let idle = peer.channel();
    let consumer = peer.consumer(busy, &Consume { exclusive: true, ..consume("c") });
    lose(&mut peer);
    peer.reconnect();
    for sent in peer.sent() {
        match sent.method() {
            Method::Basic(basic::Method::Consume(_)) => peer.close_channel(1, 403, "ACCESS_REFUSED - in exclusive use"),
            _ => peer.grant(&sent),
        }
    }
    assert_eq!(peer.names(), ["1 channel.close-ok"]);
    assert!(peer.connection.is_connected());
    let call = peer.declare(idle, "q");
    assert_eq!(peer.names(), ["2 queue.declare"]);
    peer.declare_ok(2, "q");
    peer.declared(call);
    peer.expect_pending(consumer);
    let held = peer.declare(busy, "later");
    // The old consumer has gone meanwhile.
    peer.advance(seconds(1));
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 basic.qos", "1 basic.consume", "1 queue.declare"]);
    peer.declared(held);
    peer.deliver(1, "c", 1, b"x");
    peer.next(consumer);
}

#[test]
fn f37_a_consumer_that_is_refused_again_and_again_ends_and_its_channel_goes_on_with_the_others() {
    let mut peer = open();
    let channel = peer.channel();
    let good = peer.consumer(channel, &consume("good"));
    let bad = peer.consumer(channel, &consume("bad"));
    let fine = peer.consumer(channel, &consume("fine"));
    lose(&mut peer);
    peer.reconnect();
    let mut refused = 0;
    for _ in 0..400 {
        for sent in peer.sent() {
            match sent.method() {
                Method::Basic(basic::Method::Consume(it)) if it.consumer_tag.as_bytes() == b"bad" => {
                    refused += 1;
                    peer.close_channel(1, 404, "NOT_FOUND - no queue");
                    break;
                }
                Method::Channel(amqp_proto::method::channel::Method::CloseOk(_)) => {}
                _ => peer.grant(&sent),
            }
        }
        peer.advance(seconds(1));
    }
    assert_eq!(refused, 10);
    let error = peer.next_error(bad);
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    peer.expect_ended(bad);
    let call = peer.declare(channel, "q");
    peer.grant_all();
    peer.declared(call);
    for (consumer, tag) in [(good, "good"), (fine, "fine")] {
        let number = if tag == "good" { 1 } else { 2 };
        peer.deliver(1, tag, number, b"x");
        peer.next(consumer);
    }
}

#[test]
fn f24_a_channel_that_is_refused_for_good_ends_with_the_reason() {
    let mut peer = open();
    let channel = peer.confirm_channel();
    lose(&mut peer);
    let held = peer.declare(channel, "q");
    peer.reconnect();
    let sent = peer.sent();
    peer.grant(&sent[0]);
    peer.close_channel(1, 540, "NOT_IMPLEMENTED");
    assert_eq!(peer.names(), ["1 channel.close-ok"]);
    assert_eq!(peer.error(held).reply_code(), Some(ReplyCode::NOT_IMPLEMENTED));
    assert_eq!(peer.connection.channel_error(channel).unwrap().reply_code(), Some(ReplyCode::NOT_IMPLEMENTED));
    assert!(peer.connection.is_connected());
}

#[test]
fn f43_channels_above_a_lower_limit_end() {
    let mut peer = open();
    let channels = [peer.channel(), peer.channel()];
    lose(&mut peer);
    peer.reconnect_with(connection::Tune { channel_max: 1, ..TUNE });
    assert_eq!(peer.grant_all(), ["1 channel.open"]);
    assert!(peer.connection.channel_error(channels[0]).is_none());
    let error = peer.connection.channel_error(channels[1]).unwrap();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 1 }), "{error}");
}

#[test]
fn f43_a_loss_while_channels_are_opened_again_begins_from_the_start() {
    let mut peer = open();
    let channel = peer.channel();
    let a = peer.consumer(channel, &consume("a"));
    let b = peer.consumer(channel, &consume("b"));
    lose(&mut peer);
    peer.reconnect();
    let sent = peer.sent();
    sent[..3].iter().for_each(|sent| peer.grant(sent));
    peer.deliver(1, "a", 1, b"x");
    let delivery = peer.next(a);
    peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    lose(&mut peer);
    peer.reconnect();
    let again = peer.grant_all();
    assert_eq!(again, ["1 channel.open", "1 basic.qos", "1 basic.consume", "1 basic.consume"]);
    peer.deliver(1, "b", 1, b"y");
    peer.next(b);
    assert!(matches!(peer.connection.next_delivery(a), Next::Pending));
}

#[test]
fn f43_heartbeats_that_stop_are_a_loss() {
    let config = amqp_proto::config::Config::default().recovery(amqp_proto::config::Recovery::default());
    let mut peer = Peer::open_with(config, connection::Tune { heartbeat: 10, ..TUNE });
    peer.channel();
    while !peer.connection.is_disconnected() {
        peer.advance(seconds(1));
    }
    assert!(!peer.connection.is_finished());
}

#[test]
fn nothing_follows_the_close_of_a_faulty_peer_when_a_channel_waits_for_the_number_of_one_that_is_closing() {
    let mut peer = Peer::open_with(config().channel_max(1), TUNE);
    let first = peer.channel();
    let closed = peer.connection.close_channel(first).unwrap();
    let (_, opened) = peer.connection.open_channel().unwrap();
    assert_eq!(peer.names(), ["1 channel.close"]);
    peer.send_frame(FrameKind::Heartbeat, 1, b"");
    assert!(peer.connection.is_disconnected() && !peer.connection.is_finished());
    assert_eq!(peer.names(), ["0 connection.close"]);
    // One is as closed as was asked for, the other is opened when the connection is back.
    peer.reply(closed).unwrap();
    peer.expect_waiting(opened);
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open"]);
    peer.reply(opened).unwrap();
}
