//! Consumers: deliveries as they come in, acks as they go out, and how a consumer ends.

use amqp_proto::config::Heartbeat;
use amqp_proto::conn::{ChannelId, Consume, Event, Next, Reply};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Method, Properties, ReplyCode, basic, connection, tx};
use amqp_proto::table;
use amqp_proto::wire::{FrameKind, ShortStr};

use crate::peer::{Peer, TUNE, consume, consume_no_ack, deliver, message, publish, quiet, seconds, short};

fn ack(delivery_tag: u64, multiple: bool) -> (u16, Method<'static>) {
    (1, basic::Ack { delivery_tag, multiple }.into())
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> (u16, Method<'static>) {
    (1, basic::Nack { delivery_tag, multiple, requeue }.into())
}

fn qos(prefetch_count: u16) -> basic::Qos {
    basic::Qos { prefetch_count, ..basic::Qos::default() }
}

/// An open connection with a channel, a consumer `c` on it, and this many deliveries read.
fn delivered(count: u64) -> (Peer, ChannelId, Vec<amqp_proto::conn::Delivery>) {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    (1..=count).for_each(|tag| peer.deliver(1, "c", tag, &tag.to_be_bytes()));
    let deliveries = (0..count).map(|_| peer.next(consumer)).collect();
    peer.sent();
    (peer, channel, deliveries)
}

#[track_caller]
fn bad_delivery(error: &Error) -> (amqp_proto::conn::DeliveryTag, String) {
    match error.kind() {
        ErrorKind::BadDelivery { delivery_tag, reason } => (*delivery_tag, reason.clone()),
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn a20_a_delivery_carries_all_its_fields() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    assert_eq!(peer.connection.consumer_tag(consumer), "c");
    let mut properties = Properties::new();
    properties.set_content_type("text/plain").unwrap();
    properties.set_headers(table! { "n" => table! { "deep" => 1 } }).unwrap();
    let method = basic::Deliver {
        consumer_tag: short("c"),
        delivery_tag: 9,
        redelivered: true,
        exchange: short("events"),
        routing_key: short("order.created"),
    };
    peer.send_message(1, method, &properties, b"body");
    let delivery = peer.next(consumer);
    assert_eq!((delivery.consumer_tag(), delivery.exchange()), ("c", "events"));
    assert_eq!((delivery.routing_key(), delivery.message_count()), ("order.created", None));
    assert_eq!((delivery.delivery_tag().value(), delivery.delivery_tag().channel()), (9, channel));
    assert!(delivery.redelivered() && delivery.needs_settling());
    assert_eq!(delivery.properties().unwrap(), properties.view());
    assert_eq!(delivery.body(), "body");
    assert_eq!(peer.connection.unsettled(channel), 1);
}

#[test]
fn a_delivery_is_the_same_wherever_the_stream_is_split() {
    let mut properties = Properties::new();
    properties.set_message_id("m-1").unwrap();
    // Inline; on the limit of it; just above; several frames; and pieces that are smaller than any broker's.
    let sizes = [(0, 4088), (5, 4088), (1024, 4088), (1025, 4088), (1100, 1000), (2500, 1500), (3000, 700)];
    for (size, chunk) in sizes {
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let bytes = message(1, deliver("c", 1), &properties, &body, chunk);
        let splits: Vec<usize> = if bytes.len() < 400 {
            (0..bytes.len()).collect()
        } else {
            (0..130).chain((130..bytes.len()).step_by(97)).chain(bytes.len() - 40..bytes.len()).collect()
        };
        let mut peer = Peer::open();
        let channel = peer.channel();
        let consumer = peer.consumer(channel, &consume("c"));
        let mut tag = 0;
        let mut whole = |peer: &mut Peer, split: Option<usize>| {
            tag += 1;
            let bytes = message(1, deliver("c", tag), &properties, &body, chunk);
            match split {
                Some(at) => {
                    peer.send_bytes(&bytes[..at]);
                    peer.expect_pending(consumer);
                    peer.send_bytes(&bytes[at..]);
                }
                None => peer.send_in_pieces(&bytes, 1),
            }
            let delivery = peer.next(consumer);
            assert_eq!(delivery.delivery_tag().value(), tag);
            assert_eq!((delivery.consumer_tag(), delivery.routing_key()), ("c", "q"));
            assert_eq!(delivery.properties().unwrap().message_id, Some(short("m-1")));
            assert!(delivery.body() == body[..], "{size} bytes in chunks of {chunk}, split at {split:?}");
            assert_eq!(delivery.to_bytes(), body);
        };
        splits.into_iter().for_each(|at| whole(&mut peer, Some(at)));
        whole(&mut peer, None);
    }
}

#[test]
fn deliveries_of_several_channels_interleave() {
    let mut peer = Peer::open();
    let (one, two) = (peer.channel(), peer.channel());
    let (first, second) = (peer.consumer(one, &consume("c")), peer.consumer(two, &consume("c")));
    let bodies = [vec![1u8; 3000], vec![2; 3000]];
    let frames = |channel: u16, body: &[u8]| {
        let bytes = message(channel, deliver("c", 1), &Properties::new(), body, 100);
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = u32::from_be_bytes(rest[3..7].try_into().unwrap()) as usize + 8;
            frames.push(rest[..size].to_vec());
            rest = &rest[size..];
        }
        frames
    };
    for (a, b) in frames(1, &bodies[0]).iter().zip(frames(2, &bodies[1])) {
        peer.send_bytes(a);
        peer.send_bytes(&b);
    }
    assert!(peer.next(first).body() == bodies[0][..]);
    assert!(peer.next(second).body() == bodies[1][..]);
}

#[test]
fn f3_a_body_over_the_limit_is_skipped_and_the_next_is_fine() {
    let mut peer = Peer::open_with(quiet().max_body_size(2000), TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.send_bytes(&message(1, deliver("c", 1), &Properties::new(), &[7; 2001], 100));
    peer.deliver(1, "c", 2, &[8; 2000]);
    let error = peer.next_error(consumer);
    let (tag, reason) = bad_delivery(&error);
    assert!(reason.contains("2001"), "{reason}");
    assert_eq!(peer.next(consumer).body().len(), 2000);
    peer.connection.reject(tag, false).unwrap();
    peer.expect(1, basic::Reject { delivery_tag: 1, requeue: false });
}

#[test]
fn a_negative_body_size_is_skipped_like_any_other_that_is_too_large() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.send(1, deliver("c", 1));
    let mut header = vec![0, 60, 0, 0];
    header.extend((-1i64).to_be_bytes());
    header.extend([0, 0]);
    peer.send_frame(FrameKind::Header, 1, &header);
    for _ in 0..100 {
        peer.send_frame(FrameKind::Body, 1, &[0; 100_000]);
    }
    peer.expect_pending(consumer);
    assert!(peer.connection.is_open());
}

#[test]
fn names_that_are_no_utf8_are_an_error_of_that_delivery() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    let bad = ShortStr::from_bytes(b"\xFF\xFE").unwrap();
    let methods = [
        basic::Deliver { exchange: bad, ..deliver("c", 1) },
        basic::Deliver { routing_key: bad, ..deliver("c", 2) },
        deliver("c", 3),
    ];
    methods.into_iter().for_each(|method| peer.send_message(1, method, &Properties::new(), b"x"));
    for (tag, name) in [(1, "exchange"), (2, "routing key")] {
        let error = peer.next_error(consumer);
        let (bad, reason) = bad_delivery(&error);
        assert!(bad.value() == tag && reason.contains(name), "{error}");
        peer.connection.ack(bad, false).unwrap();
    }
    assert_eq!(peer.next(consumer).body(), "x");
    peer.expect_all([ack(2, true)]);
}

#[test]
fn properties_that_do_not_decode_are_an_error_only_when_asked_for() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.send(1, deliver("c", 1));
    // The flag of a content type, and no content type.
    peer.send_frame(FrameKind::Header, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0]);
    peer.send_frame(FrameKind::Body, 1, b"x");
    let delivery = peer.next(consumer);
    assert!(delivery.properties().is_err());
    assert_eq!(delivery.body(), "x");
    peer.connection.nack(delivery.delivery_tag(), false, false).unwrap();
    peer.expect_all([nack(1, false, false)]);
}

#[test]
fn f36_acks_of_a_turn_leave_as_one() {
    let (mut peer, channel, deliveries) = delivered(5);
    for delivery in &deliveries[..4] {
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    }
    assert!(peer.connection.wants_turn());
    peer.expect_all([ack(4, true)]);
    peer.connection.ack(deliveries[4].delivery_tag(), false).unwrap();
    peer.expect_all([ack(5, false)]);
    assert_eq!(peer.connection.unsettled(channel), 0);
}

#[test]
fn f36_acks_never_cover_what_was_not_read() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let (slow, quick) = (peer.consumer(channel, &consume("slow")), peer.consumer(channel, &consume("quick")));
    peer.deliver(1, "slow", 1, b"unread");
    (2..=4).for_each(|tag| peer.deliver(1, "quick", tag, b"x"));
    for _ in 2..=4 {
        let delivery = peer.next(quick);
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    }
    peer.expect_all([ack(2, false), ack(3, false), ack(4, false)]);
    assert_eq!(peer.next(slow).body(), "unread");
}

#[test]
fn f36_acks_do_not_move_across_anything_else_of_their_channel() {
    type Then = fn(&mut Peer, ChannelId, &[amqp_proto::conn::Delivery]);
    let others: [(Then, &[&str]); 8] = [
        (
            |peer, channel, _| {
                peer.connection.publish(channel, &publish("q", &Properties::new(), b"")).unwrap();
            },
            &["1 basic.publish", "1 header"],
        ),
        (
            |peer, _, deliveries| peer.connection.nack(deliveries[2].delivery_tag(), false, true).unwrap(),
            &["1 basic.nack"],
        ),
        (
            |peer, _, deliveries| peer.connection.reject(deliveries[2].delivery_tag(), true).unwrap(),
            &["1 basic.reject"],
        ),
        (
            |peer, channel, _| {
                peer.declare(channel, "q");
            },
            &["1 queue.declare"],
        ),
        (
            |peer, channel, _| {
                peer.connection.cancel_tag(channel, short("c"), None).unwrap();
            },
            &["1 basic.cancel"],
        ),
        (
            |peer, channel, _| {
                peer.connection.close_channel(channel).unwrap();
            },
            &["1 channel.close"],
        ),
        (
            |peer, _, _| {
                peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
            },
            &["0 connection.close"],
        ),
        (
            |peer, channel, _| {
                peer.connection.consume(channel, &consume("d"), None).unwrap();
            },
            &["1 basic.consume"],
        ),
    ];
    for (then, expected) in others {
        let (mut peer, channel, deliveries) = delivered(3);
        for delivery in &deliveries[..2] {
            peer.connection.ack(delivery.delivery_tag(), false).unwrap();
        }
        then(&mut peer, channel, &deliveries);
        let sent = peer.sent();
        assert_eq!(sent[0].method(), ack(2, true).1);
        let names: Vec<String> = sent[1..].iter().map(crate::peer::Sent::name).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn publish_then_ack_keeps_its_order() {
    let (mut peer, channel, deliveries) = delivered(2);
    let none = Properties::new();
    for delivery in &deliveries {
        peer.connection.publish(channel, &publish("out", &none, b"")).unwrap();
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    }
    let expected =
        ["1 basic.publish", "1 header", "1 basic.ack", "1 basic.publish", "1 header", "1 basic.ack"].map(str::to_owned);
    assert_eq!(peer.names(), expected);
}

#[test]
fn f32_acks_of_a_transaction_leave_one_by_one() {
    let (mut peer, channel, deliveries) = delivered(2);
    peer.connection.request(channel, tx::Select {}, None).unwrap();
    peer.sent();
    for delivery in &deliveries {
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    }
    peer.expect_all([ack(1, false), ack(2, false)]);
}

#[test]
fn a6_multiple_settles_all_at_or_below() {
    let (mut peer, channel, deliveries) = delivered(6);
    peer.connection.ack(deliveries[0].delivery_tag(), false).unwrap();
    peer.connection.ack(deliveries[2].delivery_tag(), true).unwrap();
    assert_eq!(peer.connection.unsettled(channel), 3);
    peer.connection.nack(deliveries[4].delivery_tag(), true, false).unwrap();
    peer.connection.reject(deliveries[5].delivery_tag(), true).unwrap();
    peer.expect_all([
        ack(1, false),
        ack(3, true),
        nack(5, true, false),
        (1, basic::Reject { delivery_tag: 6, requeue: true }.into()),
    ]);
    assert_eq!(peer.connection.unsettled(channel), 0);
}

#[test]
fn c11_settling_twice_is_an_error_here() {
    let (mut peer, channel, deliveries) = delivered(2);
    let tag = deliveries[0].delivery_tag();
    peer.connection.ack(tag, false).unwrap();
    for error in [
        peer.connection.ack(tag, false).unwrap_err(),
        peer.connection.ack(tag, true).unwrap_err(),
        peer.connection.nack(tag, false, true).unwrap_err(),
        peer.connection.reject(tag, true).unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::Invalid(text) if text.contains("settled already")), "{error}");
    }
    peer.expect_all([ack(1, false)]);
    // Through the raw tag it goes out, and the broker says what it thinks of it.
    peer.connection.raw_ack(channel, 1, false).unwrap();
    peer.expect_all([ack(1, false)]);
    peer.close_channel(1, 406, "PRECONDITION_FAILED - unknown delivery tag 1");
    let error = peer.connection.ack(deliveries[1].delivery_tag(), false).unwrap_err();
    assert_eq!((error.reply_code(), error.operation()), (Some(ReplyCode(406)), Some("basic.ack")));
}

#[test]
fn raw_settlements_are_counted_where_their_tags_are_known() {
    let (mut peer, channel, _deliveries) = delivered(6);
    peer.connection.raw_reject(channel, 1, false).unwrap();
    peer.connection.raw_nack(channel, 3, true, true).unwrap();
    assert_eq!(peer.connection.unsettled(channel), 3);
    peer.connection.raw_ack(channel, 0, true).unwrap();
    assert_eq!(peer.connection.unsettled(channel), 0);
    peer.expect_all([(1, basic::Reject { delivery_tag: 1, requeue: false }.into()), nack(3, true, true), ack(0, true)]);
}

#[test]
fn p22_stale_acks_settle_other_messages() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    (1..=3).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    let (old, acked) = (peer.next(consumer), peer.next(consumer));
    peer.connection.ack(acked.delivery_tag(), false).unwrap();
    let request = peer.connection.request(channel, basic::Recover { requeue: true }, None).unwrap().unwrap();
    peer.expect_all([ack(2, false), (1, basic::Recover { requeue: true }.into())]);
    // Unread ones come again as well; so does what was on its way.
    peer.expect_pending(consumer);
    peer.deliver(1, "c", 4, b"on its way");
    peer.expect_pending(consumer);
    peer.send(1, basic::RecoverOk {});
    assert!(matches!(peer.reply(request), Ok(Reply::Done)));
    peer.connection.ack(old.delivery_tag(), false).unwrap();
    peer.connection.nack(old.delivery_tag(), true, true).unwrap();
    peer.expect_nothing();
    assert_eq!(peer.connection.stats().stale_settlements, 2);
    peer.deliver(1, "c", 5, b"again");
    let again = peer.next(consumer);
    peer.connection.ack(again.delivery_tag(), false).unwrap();
    peer.expect_all([ack(5, false)]);
}

#[test]
fn a11_recover_takes_nothing_from_those_who_need_no_acks() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let free = peer.consumer(channel, &consume_no_ack("free"));
    peer.deliver(1, "free", 1, b"before");
    peer.connection.request(channel, basic::Recover { requeue: true }, None).unwrap();
    peer.deliver(1, "free", 2, b"on its way");
    peer.send(1, basic::RecoverOk {});
    assert_eq!(peer.next(free).body(), "before");
    assert_eq!(peer.next(free).body(), "on its way");
}

#[test]
fn a11_what_was_got_before_recover_took_effect_is_void() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let get = basic::Get { queue: short("q"), no_ack: false };
    let before = peer.connection.request(channel, get, None).unwrap().unwrap();
    peer.connection.request(channel, basic::Recover { requeue: true }, None).unwrap();
    let after = peer.connection.request(channel, get, None).unwrap().unwrap();
    peer.sent();
    peer.get_ok(1, 1, b"void");
    peer.send(1, basic::RecoverOk {});
    peer.get_ok(1, 2, b"good");
    let Ok(Reply::Got(Some(void))) = peer.reply(before) else { panic!() };
    peer.connection.ack(void.delivery_tag(), false).unwrap();
    peer.expect_nothing();
    assert_eq!(peer.connection.stats().stale_settlements, 1);
    let Ok(Reply::Got(Some(good))) = peer.reply(after) else { panic!() };
    peer.connection.ack(good.delivery_tag(), false).unwrap();
    peer.expect_all([ack(2, false)]);
}

#[test]
fn a11_of_two_recovers_only_the_last_ends_the_doubt() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    for _ in 0..2 {
        peer.connection.request(channel, basic::Recover { requeue: true }, None).unwrap();
    }
    peer.send(1, basic::RecoverOk {});
    peer.deliver(1, "c", 1, b"void again");
    peer.send(1, basic::RecoverOk {});
    peer.expect_pending(consumer);
    peer.deliver(1, "c", 2, b"good");
    assert_eq!(peer.next(consumer).body(), "good");
}

#[test]
fn a11_recover_with_an_unreadable_delivery_in_the_queue() {
    let mut peer = Peer::open_with(quiet().max_body_size(1), TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.deliver(1, "c", 1, b"too long");
    peer.connection.request(channel, basic::RecoverAsync { requeue: true }, None).unwrap();
    // It comes again: the old tag is void.
    peer.expect_pending(consumer);
    peer.deliver(1, "c", 2, b"too long");
    bad_delivery(&peer.next_error(consumer));
    peer.expect_pending(consumer);
}

#[test]
fn f35_qos_and_consume_leave_in_one_step_and_qos_only_where_it_is_news() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let mut consume_with = |tag: &'static str, prefetch, no_ack| {
        let request = peer.connection.consume(channel, &Consume { prefetch, no_ack, ..consume(tag) }, None).unwrap();
        let sent = peer.sent();
        peer.send(1, basic::ConsumeOk { consumer_tag: short(tag) });
        assert!(peer.reply(request).is_ok());
        sent.iter()
            .filter_map(|sent| match sent.method() {
                Method::Basic(basic::Method::Qos(qos)) => Some(qos.prefetch_count),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    // The default is not zero.
    assert_eq!(consume_with("a", None, false), [100]);
    assert_eq!(consume_with("b", None, false), []);
    assert_eq!(consume_with("c", Some(5), false), [5]);
    assert_eq!(consume_with("d", Some(5), false), []);
    assert_eq!(consume_with("e", None, false), [100]);
    assert_eq!(consume_with("f", Some(0), true), [], "without acks there is nothing to bound");
    assert_eq!(consume_with("g", Some(0), false), [0]);
}

#[test]
fn a3_a_prefetch_of_the_whole_channel_outlasts_that_of_a_consumer() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let whole = |prefetch_count| basic::Qos { prefetch_count, global: true, ..basic::Qos::default() };
    peer.connection.request(channel, whole(6), None).unwrap();
    peer.expect(1, whole(6));
    let mut told = |tag: &'static str, prefetch| {
        peer.connection.consume(channel, &Consume { prefetch, ..consume(tag) }, None).unwrap();
        let sent = peer.sent();
        let told = sent.iter().filter_map(|sent| match sent.method() {
            Method::Basic(basic::Method::Qos(qos)) => Some((qos.prefetch_count, qos.global)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told("a", None), [], "it is enough");
    // RabbitMQ lifts it with every qos that is not global.
    assert_eq!(told("b", Some(3)), [(3, false), (6, true)]);
    assert_eq!(told("c", Some(3)), []);
    assert_eq!(told("d", None), [(6, false), (6, true)]);
    // 0 is no bound: the default is there again.
    peer.connection.request(channel, whole(0), None).unwrap();
    peer.expect(1, whole(0));
    let request = peer.connection.consume(channel, &consume("e"), None).unwrap();
    peer.connection.abandon_request(request);
    let qos: Vec<_> = peer.sent().iter().map(|sent| format!("{:?}", sent.method())).collect();
    assert!(qos[0].contains("prefetch_count: 100, global: false"), "{qos:?}");
}

#[test]
fn a3_what_the_application_said_by_qos_holds_for_its_consumers() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.connection.request(channel, qos(7), None).unwrap().unwrap();
    peer.expect(1, qos(7));
    peer.send(1, basic::QosOk {});
    assert!(peer.reply(request).is_ok());
    peer.connection.consume(channel, &consume("a"), None).unwrap();
    assert_eq!(peer.names(), ["1 basic.consume"]);
    peer.connection.consume(channel, &Consume { prefetch: Some(3), ..consume("b") }, None).unwrap();
    assert_eq!(peer.names(), ["1 basic.qos", "1 basic.consume"]);
    peer.connection.consume(channel, &consume("c"), None).unwrap();
    let sent = peer.sent();
    assert_eq!(sent[0].method(), qos(7).into());
}

#[test]
fn a15_a_consumer_that_does_not_read_does_not_hold_up_an_rpc() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    (1..=100).for_each(|tag| peer.deliver(1, "c", tag, &[0; 100_000]));
    assert!(peer.connection.wants_read(), "the prefetch bounds it already");
    let request = peer.declare(channel, "q");
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
    assert_eq!(peer.connection.buffered_deliveries(consumer), 100);
}

#[test]
fn an_event_comes_only_for_a_consumer_that_was_found_empty() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    let ready = |events: &mut Vec<Event>| {
        let count = events.iter().filter(|event| matches!(event, Event::ConsumerReady(id) if *id == consumer)).count();
        events.clear();
        count
    };
    peer.deliver(1, "c", 1, b"x");
    assert_eq!(ready(&mut peer.events), 0);
    peer.next(consumer);
    peer.expect_pending(consumer);
    (2..=3).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    assert_eq!(ready(&mut peer.events), 1);
    peer.next(consumer);
    peer.next(consumer);
    peer.expect_pending(consumer);
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    assert_eq!(ready(&mut peer.events), 1);
}

#[test]
fn c16_a12_p33_cancel_from_the_server_ends_the_stream_without_a_reason() {
    for nowait in [true, false] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        let consumer = peer.consumer(channel, &consume("c"));
        peer.deliver(1, "c", 1, b"before");
        peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait });
        // RabbitMQ 4.3 would deliver again when what was overdue is settled.
        let ours = (1, basic::Cancel { consumer_tag: short("c"), nowait: true }.into());
        if nowait {
            peer.expect_all([ours]);
        } else {
            peer.expect_all([(1, basic::CancelOk { consumer_tag: short("c") }.into()), ours]);
        }
        let delivery = peer.next(consumer);
        let error = peer.next_error(consumer);
        assert!(matches!(error.kind(), ErrorKind::ConsumerCancelled { consumer_tag } if consumer_tag == "c"));
        peer.expect_ended(consumer);
        peer.connection.ack(delivery.delivery_tag(), false).unwrap();
        peer.expect_all([ack(1, false)]);
        // Cancelling it once more is fine, and nothing for the broker.
        let cancel = peer.connection.cancel(consumer, None).unwrap();
        assert!(matches!(peer.reply(cancel), Ok(Reply::Done)));
        peer.expect_nothing();
        peer.consumer(channel, &consume("c"));
    }
}

#[test]
fn c16_a_consumer_that_is_cancelled_before_it_was_confirmed_is_not_cancelled_in_turn() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.connection.consume(channel, &consume("c"), None).unwrap();
    peer.sent();
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    // RabbitMQ before 4.3 crashes when a cancel comes between a consume and its answer.
    peer.expect_nothing();
}

#[test]
fn c16_the_reason_of_a_cancelled_consumer_survives_its_channel() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: true });
    peer.close_channel(1, 404, "gone as well");
    assert!(matches!(peer.next_error(consumer).kind(), ErrorKind::ConsumerCancelled { .. }));
    peer.expect_ended(consumer);
}

#[test]
fn a4_after_cancel_what_was_delivered_stays_readable() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.deliver(1, "c", 1, b"before");
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.expect(1, basic::Cancel { consumer_tag: short("c"), nowait: false });
    peer.deliver(1, "c", 2, b"on its way");
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    assert!(matches!(peer.reply(cancel), Ok(Reply::Done)));
    assert_eq!(peer.next(consumer).body(), "before");
    assert_eq!(peer.next(consumer).body(), "on its way");
    peer.expect_ended(consumer);
    peer.connection.release_consumer(consumer);
    peer.expect_nothing();
    assert!(peer.connection.cancel(consumer, None).is_err());
}

/// What has to be settled is requeued, what needs no ack is dropped; the connection goes on.
fn late_deliveries_are_put_back(end: impl Fn(&mut Peer, amqp_proto::conn::ConsumerId, &str)) {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let (manual, free) = (peer.consumer(channel, &consume("manual")), peer.consumer(channel, &consume_no_ack("free")));
    peer.deliver(1, "manual", 1, b"in time");
    // The last one has ended when it is half here.
    peer.send(1, deliver("manual", 2));
    let header = [&[0, 60, 0, 0][..], &2000u64.to_be_bytes(), &[0, 0]].concat();
    peer.send_frame(FrameKind::Header, 1, &header);
    peer.send_frame(FrameKind::Body, 1, &[b'x'; 2000]);
    let before = [peer.next(manual), peer.next(manual)];
    end(&mut peer, manual, "manual");
    end(&mut peer, free, "free");
    peer.sent();
    for (released, tag) in [(false, 3), (true, 6)] {
        peer.deliver(1, "manual", tag, b"late");
        peer.expect_all([nack(tag, false, true)]);
        peer.send_message(1, deliver("manual", tag + 1), &Properties::new(), &[b'x'; 2000]);
        peer.expect_all([nack(tag + 1, false, true)]);
        peer.deliver(1, "free", tag + 2, b"late");
        peer.expect_nothing();
        if !released {
            peer.connection.release_consumer(manual);
            peer.connection.release_consumer(free);
            peer.sent();
        }
    }
    assert_eq!(peer.connection.stats().deliveries_discarded, 2);
    assert_eq!(peer.connection.unsettled(channel), 2);
    peer.connection.ack(before[1].delivery_tag(), true).unwrap();
    peer.expect_all([ack(2, true)]);
    assert!(peer.connection.is_open());
    // The tag is free again, and what comes then is for the new one.
    let again = peer.consumer(channel, &consume("manual"));
    peer.deliver(1, "manual", 100, b"for the new one");
    assert_eq!(peer.next(again).body(), "for the new one");
}

#[test]
fn p33_a_delivery_after_a_cancel_by_the_broker_cuts_the_connection() {
    late_deliveries_are_put_back(|peer, _, tag| {
        peer.send(1, basic::Cancel { consumer_tag: short(tag), nowait: true });
    });
}

#[test]
fn p33_a_delivery_that_cancel_ok_has_overtaken_cuts_the_connection() {
    late_deliveries_are_put_back(|peer, consumer, tag| {
        let cancel = peer.connection.cancel(consumer, None).unwrap();
        peer.sent();
        peer.send(1, basic::CancelOk { consumer_tag: short(tag) });
        assert!(matches!(peer.reply(cancel), Ok(Reply::Done)));
    });
}

#[test]
fn p35_a_consumer_that_was_cancelled_before_it_started_is_kept_for_ever() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consume = peer.connection.consume(channel, &consume("c"), None).unwrap();
    let cancel = peer.connection.cancel_tag(channel, short("c"), None).unwrap();
    assert_eq!(peer.connection.consumer_count(), 1);
    peer.close_channel(1, 404, "NOT_FOUND - no queue");
    assert_eq!(peer.error(consume).reply_code(), Some(ReplyCode(404)));
    assert_eq!(peer.error(cancel).reply_code(), Some(ReplyCode(404)));
    assert_eq!(peer.connection.consumer_count(), 0);
}

#[test]
fn a16_p37_the_broker_closes_the_channel_and_nobody_says_so() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumers = [peer.consumer(channel, &consume("manual")), peer.consumer(channel, &consume_no_ack("free"))];
    peer.deliver(1, "manual", 1, b"void");
    peer.deliver(1, "free", 2, b"good");
    let empty = peer.consumer(channel, &consume("empty"));
    peer.expect_pending(empty);
    peer.events.clear();
    peer.close_channel(1, 406, "PRECONDITION_FAILED - delivery acknowledgement timed out");
    assert!(peer.events.iter().any(|event| matches!(event, Event::ConsumerReady(id) if *id == empty)));
    // What was not settled is back in its queue; what needed no ack would be lost.
    assert_eq!(peer.next(consumers[1]).body(), "good");
    for consumer in [consumers[0], consumers[1], empty] {
        let error = peer.next_error(consumer);
        assert_eq!(error.reply_code(), Some(ReplyCode(406)));
        assert!(error.to_string().contains("timed out"));
        peer.expect_ended(consumer);
        peer.connection.release_consumer(consumer);
    }
    assert_eq!(peer.names().pop().unwrap(), "1 channel.close-ok");
}

#[test]
fn a_close_of_ones_own_ends_the_stream_without_an_error() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.deliver(1, "c", 1, b"void");
    let close = peer.connection.close_channel(channel).unwrap();
    peer.send(1, amqp_proto::method::channel::CloseOk {});
    assert!(peer.reply(close).is_ok());
    peer.expect_ended(consumer);
}

#[test]
fn p35_a_dropped_consumer_keeps_what_it_had_buffered() {
    let mut peer = Peer::open_with(quiet().max_body_size(10), TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.deliver(1, "c", 1, b"read");
    peer.deliver(1, "c", 2, b"unread");
    peer.deliver(1, "c", 3, b"more than ten bytes");
    let read = peer.next(consumer);
    peer.connection.release_consumer(consumer);
    let cancel = basic::Cancel { consumer_tag: short("c"), nowait: false };
    peer.expect_all([(1, cancel.into()), nack(2, false, true), nack(3, false, true)]);
    peer.deliver(1, "c", 4, b"on its way");
    peer.expect_all([nack(4, false, true)]);
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    // What was read is still its reader's.
    peer.connection.ack(read.delivery_tag(), false).unwrap();
    peer.expect_all([ack(1, false)]);
    assert_eq!(peer.connection.unsettled(channel), 0);
    peer.expect_ended(consumer);
}

/// A connection that holds at most 10 kB of deliveries that nothing else bounds, with heartbeats, and a consumer of it
/// that does not read: it is over the limit.
fn paused(consume: &Consume<'_>) -> (Peer, ChannelId, amqp_proto::conn::ConsumerId) {
    let config = quiet().receive_buffer(10_000).heartbeat(Heartbeat::seconds(10));
    let mut peer = Peer::open_with(config, connection::Tune { heartbeat: 10, ..TUNE });
    let channel = peer.channel();
    let consumer = peer.consumer(channel, consume);
    (1..=3).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
    peer.sent();
    assert!(!peer.connection.wants_read());
    (peer, channel, consumer)
}

#[test]
fn f35_what_counts_is_all_that_a_delivery_holds_not_its_body_alone() {
    let mut peer = Peer::open_with(quiet().receive_buffer(10_000), TUNE);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume_no_ack("c"));
    let mut properties = Properties::new();
    properties.insert_header("padding", "x".repeat(6000)).unwrap();
    peer.send_message(1, deliver("c", 1), &properties, b"small");
    assert!(peer.connection.wants_read());
    peer.send_message(1, deliver("c", 2), &properties, b"small");
    assert!(!peer.connection.wants_read());
    peer.next(consumer);
    assert!(peer.connection.wants_read());
}

#[test]
fn f35_p35_unbounded_queues_grow_until_the_process_dies() {
    for consume in [consume_no_ack("c"), Consume { prefetch: Some(0), ..consume("c") }] {
        let (mut peer, channel, consumer) = paused(&consume);
        (4..=9).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
        assert_eq!(peer.connection.buffered_deliveries(consumer), 3, "the rest waits in the socket");
        // An hour later: our heartbeats went out, and the silence is not the peer's fault.
        peer.advance(seconds(3600));
        assert!(peer.connection.is_open());
        let beats = peer.names();
        assert!(beats.len() >= 700 && beats.iter().all(|name| name == "0 heartbeat"), "{}", beats.len());
        // Reading goes on below the limit.
        for _ in 0..9 {
            peer.next(consumer);
            peer.turn();
        }
        peer.expect_pending(consumer);
        assert!(peer.connection.wants_read());
        // And from now on silence counts again, from now on.
        peer.sent();
        peer.advance(seconds(20) - std::time::Duration::from_millis(1));
        assert!(peer.connection.is_open());
        peer.advance(std::time::Duration::from_millis(1));
        assert!(peer.connection.is_finished());
        assert!(peer.connection.channel_error(channel).is_some());
    }
}

#[test]
fn f35_dropping_the_consumer_resumes_reading_and_discards() {
    for consume in [consume_no_ack("c"), Consume { prefetch: Some(0), ..consume("c") }] {
        let (mut peer, channel, consumer) = paused(&consume);
        (4..=9).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
        peer.connection.release_consumer(consumer);
        assert!(peer.connection.wants_read() && peer.connection.wants_turn());
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        let nacks = peer.names().iter().filter(|name| *name == "1 basic.nack").count();
        assert_eq!(nacks, if consume.no_ack { 0 } else { 9 });
        assert_eq!(peer.connection.unsettled(channel), 0);
    }
}

#[test]
fn f35_cancelling_the_consumer_resumes_reading_so_that_its_answer_arrives() {
    for consume in [consume_no_ack("c"), Consume { prefetch: Some(0), ..consume("c") }] {
        let (mut peer, _, consumer) = paused(&consume);
        (4..=5).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
        let cancel = peer.connection.cancel(consumer, None).unwrap();
        peer.turn();
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        assert!(matches!(peer.reply(cancel), Ok(Reply::Done)));
        // Nothing is lost: it was on its way.
        (1..=5).for_each(|_| assert_eq!(peer.next(consumer).body().len(), 4000));
        peer.expect_ended(consumer);
        assert!(peer.connection.wants_read());
    }
}

#[test]
fn f35_closing_the_channel_resumes_reading_so_that_its_answer_arrives() {
    for release in [false, true] {
        let (mut peer, channel, consumer) = paused(&consume_no_ack("c"));
        (4..=5).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
        if release {
            peer.connection.release_channel(channel);
        } else {
            peer.connection.close_channel(channel).unwrap();
        }
        peer.turn();
        peer.send(1, amqp_proto::method::channel::CloseOk {});
        assert_eq!(peer.connection.channel_count(), 0);
        assert!(peer.connection.wants_read());
        (1..=5).for_each(|_| assert_eq!(peer.next(consumer).body().len(), 4000));
        peer.expect_ended(consumer);
    }
}

#[test]
fn f35_a_broker_that_goes_on_after_cancel_cannot_fill_the_memory() {
    for consume in [consume_no_ack("c"), Consume { prefetch: Some(0), ..consume("c") }] {
        let (mut peer, _, consumer) = paused(&consume);
        peer.connection.cancel(consumer, None).unwrap();
        (4..=1000).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
        assert!(peer.connection.buffered_deliveries(consumer) < 20);
    }
}

#[test]
fn f35_closing_the_connection_reads_on_and_stays_bounded() {
    let (mut peer, _, consumer) = paused(&consume_no_ack("c"));
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    peer.turn();
    (4..=1000).for_each(|tag| peer.deliver(1, "c", tag, &[0; 4000]));
    assert!(peer.connection.buffered_deliveries(consumer) < 20);
    peer.send(0, connection::CloseOk {});
    assert!(peer.reply(close).is_ok());
}

#[test]
fn a7_two_consumers_on_a_channel_get_their_own() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let [a, b] = ["a", "b"].map(|tag| peer.consumer(channel, &consume(tag)));
    for tag in 1..=10 {
        peer.deliver(1, if tag % 3 == 0 { "b" } else { "a" }, tag, &tag.to_be_bytes());
    }
    for tag in 1..=10u64 {
        let delivery = peer.next(if tag % 3 == 0 { b } else { a });
        assert_eq!(delivery.body(), &tag.to_be_bytes());
    }
    assert!(matches!(peer.connection.next_delivery(a), Next::Pending));
}
