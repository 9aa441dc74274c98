//! Messages that go out: their bytes, the room for them, and large ones between small ones.

use amqp_proto::conn::{ChannelId, Publish, PublishBody, Reply};
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Properties, ReplyCode, basic, channel, connection};
use amqp_proto::table;
use amqp_proto::wire::{EncodeError, FrameKind};
use bytes::Bytes;

use crate::peer::{Peer, TUNE, publish, quiet, seconds, short, timed_out};

/// A body in which every byte tells its place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn shared<'a>(routing_key: &'a str, properties: &'a Properties, body: Vec<u8>) -> Publish<'a> {
    Publish { body: PublishBody::Shared(Bytes::from(body)), ..publish(routing_key, properties, b"") }
}

#[track_caller]
fn full(peer: &mut Peer, channel: ChannelId) {
    assert!(!peer.connection.can_publish(channel));
    let error = peer.connection.publish(channel, &publish("q", &Properties::new(), b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full) && error.is_retryable(), "{error}");
}

#[test]
fn a8_a_publish_is_these_bytes() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let mut properties = Properties::new();
    properties.set_delivery_mode(2);
    let message = Publish { exchange: short("ex"), mandatory: true, ..publish("rk", &properties, b"hello") };
    peer.connection.publish(channel, &message).unwrap();
    let sent = peer.sent();
    assert_eq!(sent[0].payload, b"\0\x3C\0\x28\0\0\x02ex\x02rk\x01");
    assert_eq!(sent[1].payload, b"\0\x3C\0\0\0\0\0\0\0\0\0\x05\x10\0\x02");
    assert_eq!(sent[2].payload, b"hello");
    assert_eq!(
        sent.iter().map(|sent| sent.kind).collect::<Vec<_>>(),
        [FrameKind::Method, FrameKind::Header, FrameKind::Body]
    );
    peer.connection.publish(channel, &Publish { immediate: true, ..message }).unwrap();
    assert_eq!(peer.sent()[0].payload, b"\0\x3C\0\x28\0\0\x02ex\x02rk\x03");
    // An empty body has no frame.
    peer.connection.publish(channel, &publish("rk", &properties, b"")).unwrap();
    assert_eq!(peer.names(), ["1 basic.publish", "1 header"]);
}

#[test]
fn a17_p42_body_chunks_of_frame_max_instead_of_frame_max_minus_8() {
    for frame_max in [4096u32, 8192, 131_072, 0] {
        let chunk = if frame_max == 0 { 131_064 } else { frame_max as usize - 8 };
        let mut peer = Peer::open_with(quiet().frame_max(frame_max), connection::Tune { frame_max, ..TUNE });
        let channel = peer.channel();
        let none = Properties::new();
        for size in [1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 1, 262_144, 262_145, 1_000_000] {
            let body = body(size);
            let borrowed = publish("q", &none, &body);
            for message in [borrowed, shared("q", &none, body.clone())] {
                peer.connection.publish(channel, &message).unwrap();
                let sent = peer.sent();
                let parts: Vec<&[u8]> = sent[2..].iter().map(|sent| &sent.payload[..]).collect();
                assert!(parts.concat() == body, "{frame_max}: {size}");
                assert_eq!(parts.len(), size.div_ceil(chunk), "{frame_max}: {size}");
                assert!(parts[..parts.len() - 1].iter().all(|part| part.len() == chunk));
            }
        }
    }
}

#[test]
fn p41_a_header_over_the_frame_limit_is_an_error_and_not_a_byte_leaves() {
    let mut peer = Peer::open_with(quiet(), connection::Tune { frame_max: 4096, ..TUNE });
    let channel = peer.confirm_channel();
    let filled = |size: usize| {
        let text = "x".repeat(size);
        let mut properties = Properties::new();
        properties.set_headers(table! { "x" => text.as_str() }).unwrap();
        properties
    };
    // Frame 8, class, weight and size 12, flags 2, table 4 + 2 + 1 + 4
    let (fits, over) = (filled(4096 - 33), filled(4096 - 32));
    let before = peer.connection.outbound_len();
    let error = peer.connection.publish_confirmed(channel, &publish("q", &over, b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(EncodeError::TooLong { size: 4097, limit: 4096 })), "{error}");
    assert_eq!(error.operation(), Some("basic.publish"));
    assert_eq!((peer.connection.outbound_len(), peer.connection.unconfirmed(channel)), (before, 0));
    peer.expect_nothing();
    let confirm = peer.connection.publish_confirmed(channel, &publish("q", &fits, b"x")).unwrap();
    assert_eq!(peer.sent()[1].payload.len(), 4088);
    peer.ack(1, 1, false);
    assert!(peer.connection.take_outcome(confirm).is_some());
}

#[test]
fn f30_what_waits_to_be_written_is_bounded() {
    let mut peer = Peer::open_with(quiet().publish_buffer(10_000), TUNE);
    let channel = peer.channel();
    peer.stalled = true;
    let none = Properties::new();
    let text = body(1000);
    let mut count = 0;
    while peer.connection.can_publish(channel) {
        peer.connection.publish(channel, &publish("q", &none, &text)).unwrap();
        peer.turn();
        count += 1;
        assert!(count < 20);
    }
    full(&mut peer, channel);
    assert!((10_000..11_100).contains(&peer.connection.outbound_len()));
    // What is being written counts as well.
    peer.write(1);
    full(&mut peer, channel);
    peer.write(5000);
    assert!(peer.connection.can_publish(channel));
    peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap();
}

#[test]
fn f12_p27_blocked_connections_publish_forever_with_no_way_to_know() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.events.clear();
    peer.send(0, connection::Blocked { reason: short("low on memory") });
    assert_eq!(peer.connection.blocked(), Some("low on memory"));
    assert!(matches!(&peer.events[..], [amqp_proto::conn::Event::Blocked(reason)] if reason == "low on memory"));
    full(&mut peer, channel);
    assert!(peer.connection.wants_read(), "reading goes on");
    let (late, waiting) =
        (peer.connection.wait_room(channel, 1, Some(seconds(5))), peer.connection.wait_room(channel, 1, None));
    peer.advance(seconds(5));
    let error = peer.error(late);
    assert_eq!(timed_out(&error), ("Room".to_owned(), true));
    assert!(error.to_string().contains("blocked"));
    peer.events.clear();
    peer.expect_waiting(waiting);
    peer.send(0, connection::Unblocked {});
    assert!(matches!(peer.reply(waiting), Ok(Reply::Done)));
    assert!(peer.events.iter().any(|event| matches!(event, amqp_proto::conn::Event::Unblocked)));
    assert_eq!(peer.connection.blocked(), None);
    peer.connection.publish(channel, &publish("q", &Properties::new(), b"x")).unwrap();
}

#[test]
fn c7_a_small_message_overtakes_a_large_one_of_another_channel() {
    for frame_max in [131_072, 0, u32::MAX] {
        let mut peer = Peer::open_with(quiet().frame_max(0), connection::Tune { frame_max, ..TUNE });
        let (one, two) = (peer.channel(), peer.channel());
        let none = Properties::new();
        let large = body(8_000_000);
        peer.connection.publish(one, &shared("q", &none, large.clone())).unwrap();
        peer.write(usize::MAX);
        peer.connection.publish(two, &publish("q", &none, b"small")).unwrap();
        peer.write(usize::MAX);
        let started = peer.frames_written();
        let small = started.iter().position(|sent| sent.name() == "2 body").expect("the small one has left");
        assert!(small < started.len() && started.len() < 20, "{frame_max}: {}", started.len());
        full(&mut peer, one);
        let rest = peer.sent();
        assert!(rest.iter().all(|sent| sent.channel == 1 && sent.kind == FrameKind::Body));
        assert!(peer.connection.can_publish(one));
        drop((large, rest));
    }
}

#[test]
fn c7_two_large_messages_leave_side_by_side_and_are_not_garbled() {
    let mut peer = Peer::open();
    let (one, two) = (peer.channel(), peer.channel());
    let none = Properties::new();
    let bodies = [body(1_000_000), body(900_000).into_iter().rev().collect()];
    peer.connection.publish(one, &shared("q", &none, bodies[0].clone())).unwrap();
    peer.connection.publish(two, &publish("q", &none, &bodies[1])).unwrap();
    let sent = peer.sent();
    for (number, body) in (1..).zip(&bodies) {
        let parts = sent.iter().filter(|sent| sent.kind == FrameKind::Body && sent.channel == number);
        assert!(parts.flat_map(|sent| sent.payload.clone()).collect::<Vec<u8>>() == *body);
    }
    let order: Vec<u16> = sent.iter().filter(|sent| sent.kind == FrameKind::Body).map(|sent| sent.channel).collect();
    assert!(order.starts_with(&[1, 2, 1, 2, 1, 2]), "{order:?}");
}

#[test]
fn what_a_channel_sends_behind_its_large_message_stays_behind_it() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let none = Properties::new();
    let get = basic::Get { queue: short("q"), no_ack: false };
    let request = peer.connection.request(channel, get, None).unwrap().unwrap();
    peer.turn();
    peer.get_ok(1, 1, b"x");
    let Ok(Reply::Got(Some(delivery))) = peer.reply(request) else { panic!() };
    peer.sent();
    peer.connection.publish(channel, &shared("q", &none, body(1_000_000))).unwrap();
    peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    peer.declare(channel, "q");
    peer.connection.close_channel(channel).unwrap();
    let mut names = peer.names();
    names.dedup();
    assert_eq!(names, ["1 basic.publish", "1 header", "1 body", "1 basic.ack", "1 queue.declare", "1 channel.close"]);
}

#[test]
fn f14_close_waits_for_the_rest_of_large_messages() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let none = Properties::new();
    let large = body(1_000_000);
    peer.connection.publish(channel, &shared("q", &none, large.clone())).unwrap();
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "bye");
    assert!(peer.connection.publish(channel, &publish("q", &none, b"x")).is_err());
    let sent = peer.sent();
    let parts = sent.iter().filter(|sent| sent.kind == FrameKind::Body);
    assert!(parts.flat_map(|sent| sent.payload.clone()).collect::<Vec<u8>>() == large);
    assert_eq!(sent.last().unwrap().name(), "0 connection.close");
    peer.send(0, connection::CloseOk {});
    assert!(matches!(peer.reply(close), Ok(Reply::Done)));
}

#[test]
fn a_channel_that_the_broker_closes_in_the_middle_of_a_message_is_answered_behind_it() {
    for closing in [false, true] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        let none = Properties::new();
        peer.stalled = true;
        peer.connection.publish(channel, &shared("q", &none, body(1_000_000))).unwrap();
        let close = closing.then(|| peer.connection.close_channel(channel).unwrap());
        peer.write(usize::MAX);
        peer.close_channel(1, 404, "NOT_FOUND - no exchange");
        peer.stalled = false;
        let names = peer.names();
        assert_eq!(names.iter().filter(|name| *name == "1 channel.close-ok").count(), 1);
        assert!(!names.contains(&"1 channel.close".to_owned()));
        // RabbitMQ closes the connection with 505 if the answer cuts the message off.
        assert_eq!(names.last().unwrap(), "1 channel.close-ok");
        if let Some(close) = close {
            assert_eq!(peer.error(close).reply_code(), Some(ReplyCode(404)));
        }
        assert!(peer.connection.publish(channel, &publish("q", &none, b"x")).is_err());
        // Its close never left, so nothing will answer it: the number is free.
        assert_eq!(peer.connection.channel_count(), 0);
        assert!(!peer.connection.has_outbound());
        let other = peer.channel();
        peer.connection.publish(other, &publish("q", &none, b"x")).unwrap();
        assert_eq!(peer.names().len(), 3);
    }
}

#[test]
fn channel_flow_stops_publishing_and_nothing_else() {
    let mut peer = Peer::open();
    let (stopped, other) = (peer.channel(), peer.channel());
    peer.send(1, channel::Flow { active: false });
    peer.expect(1, channel::FlowOk { active: false });
    full(&mut peer, stopped);
    assert!(peer.connection.can_publish(other));
    let request = peer.declare(stopped, "q");
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
    peer.sent();
    let room = peer.connection.wait_room(stopped, 1, None);
    peer.expect_waiting(room);
    peer.send(1, channel::Flow { active: true });
    peer.expect(1, channel::FlowOk { active: true });
    assert!(matches!(peer.reply(room), Ok(Reply::Done)));
    peer.connection.publish(stopped, &publish("q", &Properties::new(), b"x")).unwrap();
}

#[test]
fn f30_memory_stays_bounded_when_the_peer_never_reads() {
    let mut peer = Peer::open();
    let channels = [(); 4].map(|()| peer.channel());
    peer.stalled = true;
    let none = Properties::new();
    let text = body(10_000);
    for _ in 0..1000 {
        for channel in channels {
            if peer.connection.can_publish(channel) {
                peer.connection.publish(channel, &publish("q", &none, &text)).unwrap();
            }
        }
        peer.advance(seconds(1));
    }
    let limit = peer.connection.config().limits.publish_buffer;
    assert!(peer.connection.outbound_len() <= limit + 2 * text.len(), "{}", peer.connection.outbound_len());
}
