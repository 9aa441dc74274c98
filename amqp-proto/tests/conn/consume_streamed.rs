//! Deliveries that are handed out before their bodies are complete: read, given up, and cut off at every step; what is
//! held is bounded.

use amqp_proto::conn::{BodyId, Consume, ConsumerId, Delivery, Event, Next, NextChunk};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Method, Properties, ReplyCode, basic, channel, connection, put_content_header, put_method};
use amqp_proto::wire::{FrameKind, put_frame};

use crate::peer::{Peer, TUNE, consume, deliver, message, protocol, quiet, seconds, short};

/// A body in which every byte tells its place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn streamed(tag: &str) -> Consume<'_> {
    Consume { streamed: true, ..consume(tag) }
}

/// Method and header of a delivery.
fn head(consumer: &str, tag: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_method(&mut bytes, 1, &deliver(consumer, tag)).unwrap();
    put_content_header(&mut bytes, 1, 60, size as u64, &Properties::new()).unwrap();
    bytes
}

fn body_frames(channel: u16, body: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.chunks(chunk).for_each(|part| put_frame(&mut bytes, FrameKind::Body, channel, part).unwrap());
    bytes
}

/// The next delivery and its body, which must be a streamed one of this size.
#[track_caller]
fn next_streamed(peer: &mut Peer, consumer: ConsumerId, size: usize) -> (Delivery, BodyId) {
    let delivery = peer.next(consumer);
    let body = delivery.streamed_body().expect("it is streamed");
    assert_eq!(body.size(), size as u64);
    assert!(delivery.body().is_empty());
    (delivery, body.id())
}

/// Reads what is there, with turns of the driver in between, and what comes then.
fn read(peer: &mut Peer, body: BodyId) -> (Vec<u8>, NextChunk) {
    let mut all = Vec::new();
    loop {
        match peer.connection.next_chunk(body) {
            NextChunk::Chunk(chunk) => {
                assert!(!chunk.is_empty());
                all.extend_from_slice(&chunk);
                peer.turn();
            }
            other => return (all, other),
        }
    }
}

#[track_caller]
fn failed(peer: &mut Peer, body: BodyId) -> Error {
    match read(peer, body) {
        (_, NextChunk::Failed(error)) => error,
        (read, other) => panic!("{other:?} after {} bytes", read.len()),
    }
}

fn a_streamed_consumer(peer: &mut Peer) -> (amqp_proto::conn::ChannelId, ConsumerId) {
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &streamed("c"));
    (channel, consumer)
}

#[test]
fn f6_a_delivery_is_handed_out_when_its_header_has_come_and_its_body_as_it_comes() {
    let mut peer = Peer::open();
    let (_, consumer) = a_streamed_consumer(&mut peer);
    peer.expect_pending(consumer);
    peer.send_bytes(&head("c", 1, 5000));
    assert!(peer.events.iter().any(|event| matches!(event, Event::ConsumerReady(id) if *id == consumer)));
    let (delivery, body_id) = next_streamed(&mut peer, consumer, 5000);
    assert_eq!((delivery.consumer_tag(), delivery.routing_key()), ("c", "q"));
    assert!(matches!(peer.connection.next_chunk(body_id), NextChunk::Pending));
    peer.events.clear();
    let whole = body(5000);
    peer.send_bytes(&body_frames(1, &whole[..3000], 1500));
    assert!(matches!(peer.events[..], [Event::BodyReady(id)] if id == body_id));
    let (first, more) = read(&mut peer, body_id);
    assert!(first == whole[..3000] && matches!(more, NextChunk::Pending));
    // It may be settled at any time: reading and settling have nothing to do with each other.
    peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false });
    // Small frames are gathered, and what there is of them is given to who asks.
    peer.send_bytes(&body_frames(1, &whole[3000..4000], 10));
    let (second, more) = read(&mut peer, body_id);
    assert!(second == whole[3000..4000] && matches!(more, NextChunk::Pending));
    peer.send_bytes(&body_frames(1, &whole[4000..], 1000));
    let (third, end) = read(&mut peer, body_id);
    assert!(third == whole[4000..] && matches!(end, NextChunk::End));
    assert!(matches!(peer.connection.next_chunk(body_id), NextChunk::End));
    peer.connection.release_body(body_id);
    assert_eq!(peer.connection.buffered_bytes(), 0);
}

#[test]
fn f6_a_streamed_body_is_whole_wherever_the_stream_is_cut() {
    for chunk in [100, 1024, 1500, 4000] {
        let whole = body(4000);
        let mut bytes = message(1, deliver("c", 1), &Properties::new(), &whole, chunk);
        bytes.extend(message(1, deliver("c", 2), &Properties::new(), b"small", chunk));
        let cuts = (1..bytes.len()).step_by(if chunk == 1500 { 1 } else { 37 });
        for cut in cuts {
            let mut peer = Peer::open();
            let (_, consumer) = a_streamed_consumer(&mut peer);
            peer.send_bytes(&bytes[..cut]);
            let mut read_so_far = Vec::new();
            let mut current = match peer.connection.next_delivery(consumer) {
                Next::Delivery(delivery) => delivery.streamed_body(),
                _ => None,
            };
            if let Some(body) = current {
                read_so_far = read(&mut peer, body.id()).0;
            }
            peer.send_bytes(&bytes[cut..]);
            if current.is_none() {
                current = peer.next(consumer).streamed_body();
            }
            let id = current.expect("the large one is streamed").id();
            let (rest, end) = read(&mut peer, id);
            read_so_far.extend(rest);
            assert!(read_so_far == whole && matches!(end, NextChunk::End), "chunks of {chunk}, cut at {cut}");
            assert_eq!(peer.next(consumer).body(), "small");
            peer.expect_nothing();
        }
    }
}

#[test]
fn f6_a_small_body_comes_with_its_delivery() {
    for (size, is_streamed) in [(0, false), (1, false), (1024, false), (1025, true)] {
        for limit in [100, 1 << 20] {
            let mut peer = Peer::open_with(quiet().max_body_size(limit), TUNE);
            let (_, consumer) = a_streamed_consumer(&mut peer);
            peer.deliver(1, "c", 1, &body(size));
            if size as u64 > limit && !is_streamed {
                assert!(matches!(peer.next_error(consumer).kind(), ErrorKind::BadDelivery { .. }));
                continue;
            }
            let delivery = peer.next(consumer);
            assert_eq!(delivery.streamed_body().is_some(), is_streamed, "{size}");
            assert!(is_streamed || delivery.body() == body(size)[..]);
        }
    }
}

#[test]
fn f6_a_streamed_body_may_be_over_the_limit_for_bodies() {
    let mut peer = Peer::open_with(quiet().max_body_size(2000), TUNE);
    let (channel, consumer) = a_streamed_consumer(&mut peer);
    let other = peer.consumer(channel, &consume("other"));
    let whole = body(1_000_000);
    peer.deliver(1, "c", 1, &whole);
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    assert!(read(&mut peer, id).0 == whole);
    peer.deliver(1, "other", 2, &whole);
    assert!(matches!(peer.next_error(other).kind(), ErrorKind::BadDelivery { .. }));
}

#[test]
fn f6_what_is_not_read_is_bounded_and_pauses_reading_while_heartbeats_go_on() {
    const LIMIT: usize = 200_000;
    let tune = connection::Tune { heartbeat: 10, ..TUNE };
    let config = quiet().heartbeat(amqp_proto::config::Heartbeat::seconds(10)).receive_buffer(LIMIT);
    let mut peer = Peer::open_with(config, tune);
    let (channel, consumer) = a_streamed_consumer(&mut peer);
    let whole = body(3_000_000);
    peer.deliver(1, "c", 1, &whole);
    let request = peer.declare(channel, "behind");
    peer.sent();
    peer.declare_ok(1, "behind");
    assert!(!peer.connection.wants_read());
    assert!(peer.connection.buffered_bytes() < LIMIT + 2 * 131_072);
    // Nobody is given up meanwhile, and this side is not silent.
    for _ in 0..10 {
        peer.advance(seconds(7));
        assert!(peer.connection.is_open());
        assert!(peer.names().contains(&"0 heartbeat".to_owned()));
    }
    let error = peer.error(request);
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "it waits behind the body: {error}");
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    let mut all = Vec::new();
    loop {
        let was_paused = !peer.connection.wants_read();
        let NextChunk::Chunk(chunk) = peer.connection.next_chunk(id) else { break };
        all.extend_from_slice(&chunk);
        assert!(peer.connection.buffered_bytes() < LIMIT + 2 * 131_072);
        if was_paused && peer.connection.wants_read() {
            assert!(peer.connection.wants_arming(), "the driver hears of it");
        }
        peer.turn();
    }
    assert!(all == whole);
    assert_eq!(peer.connection.buffered_bytes(), 0);
    // The peer's silence counts from now.
    peer.advance(seconds(15));
    assert!(peer.connection.is_open());
    peer.advance(seconds(10));
    assert!(!peer.connection.is_open());
}

#[test]
fn f6_a_body_that_is_given_up_midway_is_skipped_and_the_delivery_goes_back() {
    let whole = body(20_000);
    for parts in 0..=20 {
        let mut peer = Peer::open();
        let (_, consumer) = a_streamed_consumer(&mut peer);
        let bytes = message(1, deliver("c", 1), &Properties::new(), &whole, 1000);
        let at = head("c", 1, whole.len()).len() + parts * 1008;
        peer.send_bytes(&bytes[..at]);
        let (delivery, id) = next_streamed(&mut peer, consumer, whole.len());
        let _ = peer.connection.next_chunk(id);
        peer.connection.nack(delivery.delivery_tag(), false, true).unwrap();
        peer.connection.release_body(id);
        peer.expect(1, basic::Nack { delivery_tag: 1, multiple: false, requeue: true });
        assert_eq!(peer.connection.buffered_bytes(), 0);
        peer.send_bytes(&bytes[at..]);
        assert_eq!(peer.connection.buffered_bytes(), 0);
        // It comes again, whole.
        peer.deliver(1, "c", 2, &whole);
        let (_, id) = next_streamed(&mut peer, consumer, whole.len());
        assert!(read(&mut peer, id).0 == whole);
        peer.expect_nothing();
    }
}

#[test]
fn f6_a_consumer_that_is_dropped_puts_back_what_was_not_handed_out() {
    let whole = body(20_000);
    let bytes = message(1, deliver("c", 2), &Properties::new(), &whole, 1000);
    for cut in [0, 30, 100, 5000, bytes.len()] {
        let mut peer = Peer::open();
        let (_, consumer) = a_streamed_consumer(&mut peer);
        peer.deliver(1, "c", 1, &whole);
        peer.send_bytes(&bytes[..cut]);
        let (_, held) = next_streamed(&mut peer, consumer, whole.len());
        peer.connection.release_consumer(consumer);
        peer.send_bytes(&bytes[cut..]);
        let sent = peer.sent();
        let nacks = sent.iter().filter(|sent| sent.name() == "1 basic.nack").collect::<Vec<_>>();
        assert_eq!(nacks.len(), 1, "cut at {cut}");
        assert_eq!(nacks[0].method(), basic::Nack { delivery_tag: 2, multiple: false, requeue: true }.into());
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        // What was handed out is read to its end.
        let (all, end) = read(&mut peer, held);
        assert!(all == whole && matches!(end, NextChunk::End));
        peer.connection.release_body(held);
        assert_eq!(peer.connection.buffered_bytes(), 0);
    }
}

#[test]
fn f6_the_answer_to_a_cancel_is_read_whatever_is_on_its_way() {
    let mut peer = Peer::open_with(quiet().receive_buffer(50_000), TUNE);
    let (channel, consumer) = a_streamed_consumer(&mut peer);
    let whole = body(1_000_000);
    let bytes = message(1, deliver("c", 1), &Properties::new(), &whole, 10_000);
    peer.send_bytes(&bytes);
    assert!(!peer.connection.wants_read());
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    let names = peer.names();
    assert_eq!(names, ["1 basic.nack", "1 basic.cancel"]);
    // One more was on its way.
    peer.deliver(1, "c", 2, &whole);
    peer.expect(1, basic::Nack { delivery_tag: 2, multiple: false, requeue: true });
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    assert!(peer.reply(cancel).is_ok());
    peer.expect_ended(consumer);
    assert_eq!(peer.connection.buffered_bytes(), 0);
    assert!(peer.connection.channel_error(channel).is_none());
}

#[test]
fn f6_a_cancel_leaves_what_is_complete_or_being_read() {
    let mut peer = Peer::open_with(quiet().receive_buffer(50_000), TUNE);
    let (_, consumer) = a_streamed_consumer(&mut peer);
    let whole = body(30_000);
    peer.deliver(1, "c", 1, &whole);
    peer.deliver(1, "c", 2, b"small");
    let large = body(1_000_000);
    peer.deliver(1, "c", 3, &large);
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    assert!(peer.reply(cancel).is_ok());
    assert_eq!(peer.names(), ["1 basic.nack", "1 basic.cancel"]);
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    assert!(read(&mut peer, id).0 == whole);
    assert_eq!(peer.next(consumer).body(), "small");
    peer.expect_ended(consumer);
    // One that somebody reads goes on; the answer comes behind it.
    let mut peer = Peer::open_with(quiet().receive_buffer(50_000), TUNE);
    let (_, consumer) = a_streamed_consumer(&mut peer);
    peer.deliver(1, "c", 1, &large);
    let (delivery, id) = next_streamed(&mut peer, consumer, large.len());
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    peer.expect_waiting(cancel);
    assert!(read(&mut peer, id).0 == large);
    assert!(peer.reply(cancel).is_ok());
    peer.connection.ack(delivery.delivery_tag(), false).unwrap();
}

#[test]
fn f6_a_body_that_is_cut_off_ends_with_the_cause_and_is_never_short() {
    type End = fn(&mut Peer, amqp_proto::conn::ChannelId);
    let ends: [(End, &str); 5] = [
        (|peer, _| peer.close_channel(1, 404, "NOT_FOUND"), "ChannelClosed"),
        (|peer, channel| drop(peer.connection.close_channel(channel)), "ChannelNotOpen"),
        (|peer, channel| peer.connection.release_channel(channel), "ChannelNotOpen"),
        (|peer, _| peer.close(320, "CONNECTION_FORCED"), "ConnectionClosed"),
        (|peer, _| peer.eof(), "ConnectionLost"),
    ];
    let whole = body(20_000);
    for (end, kind) in ends {
        for frames in [0, 1, 5, 19] {
            let cut = head("c", 1, 20_000).len() + frames * 1008;
            for watched in [false, true] {
                let mut peer = Peer::open();
                let (channel, consumer) = a_streamed_consumer(&mut peer);
                let bytes = message(1, deliver("c", 1), &Properties::new(), &whole, 1000);
                peer.send_bytes(&bytes[..cut]);
                let (delivery, id) = next_streamed(&mut peer, consumer, whole.len());
                if watched {
                    assert!(matches!(read(&mut peer, id).1, NextChunk::Pending));
                }
                peer.events.clear();
                end(&mut peer, channel);
                peer.turn();
                let told = peer.events.iter().filter(|event| matches!(event, Event::BodyReady(body) if *body == id));
                assert_eq!(told.count(), usize::from(watched));
                let error = failed(&mut peer, id);
                assert!(format!("{:?}", error.kind()).starts_with(kind), "{error:?}");
                assert!(peer.connection.ack(delivery.delivery_tag(), false).is_err());
                peer.connection.release_body(id);
                assert_eq!(peer.connection.buffered_bytes(), 0);
            }
        }
    }
}

#[test]
fn f6_what_has_come_whole_is_read_after_the_end() {
    let mut peer = Peer::open();
    let (_, consumer) = a_streamed_consumer(&mut peer);
    let whole = body(20_000);
    peer.deliver(1, "c", 1, &whole);
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    peer.eof();
    let (all, end) = read(&mut peer, id);
    assert!(all == whole && matches!(end, NextChunk::End));
}

#[test]
fn f6_closing_is_not_held_up_by_what_nobody_reads() {
    for whole_connection in [false, true] {
        let mut peer = Peer::open_with(quiet().receive_buffer(50_000), TUNE);
        let (channel, consumer) = a_streamed_consumer(&mut peer);
        let whole = body(1_000_000);
        peer.deliver(1, "c", 1, &whole);
        let (_, id) = next_streamed(&mut peer, consumer, whole.len());
        assert!(!peer.connection.wants_read());
        let closing = if whole_connection {
            peer.connection.close(ReplyCode::REPLY_SUCCESS, "")
        } else {
            peer.connection.close_channel(channel).unwrap()
        };
        peer.turn();
        if whole_connection {
            peer.send(0, connection::CloseOk {});
        } else {
            peer.send(1, channel::CloseOk {});
        }
        assert!(peer.reply(closing).is_ok());
        assert!(peer.connection.buffered_bytes() < 50_000);
        failed(&mut peer, id);
        peer.connection.release_body(id);
    }
}

#[test]
fn f6_recover_voids_what_was_not_handed_out_and_a_body_at_hand_is_read_on() {
    let mut peer = Peer::open();
    let (channel, consumer) = a_streamed_consumer(&mut peer);
    let whole = body(20_000);
    peer.deliver(1, "c", 1, &whole);
    let (first, read_on) = next_streamed(&mut peer, consumer, whole.len());
    peer.deliver(1, "c", 2, &whole);
    peer.connection.request(channel, basic::Recover { requeue: true }, None).unwrap();
    peer.expect_pending(consumer);
    // This one was on its way, and comes again.
    peer.deliver(1, "c", 3, &whole);
    peer.expect_pending(consumer);
    peer.send(1, basic::RecoverOk {});
    peer.deliver(1, "c", 4, &whole);
    let (_, again) = next_streamed(&mut peer, consumer, whole.len());
    assert!(read(&mut peer, again).0 == whole);
    assert!(read(&mut peer, read_on).0 == whole);
    assert!(peer.connection.ack(first.delivery_tag(), false).is_ok());
    assert_eq!(peer.connection.stats().stale_settlements, 1);
    [read_on, again].into_iter().for_each(|id| peer.connection.release_body(id));
    assert_eq!(peer.connection.buffered_bytes(), 0);
}

#[test]
fn c7_bodies_on_two_channels_come_in_side_by_side() {
    let mut peer = Peer::open();
    let (_, one) = a_streamed_consumer(&mut peer);
    let channel = peer.channel();
    let two = peer.consumer(channel, &streamed("c"));
    let bodies = [body(20_000), body(20_000).into_iter().rev().collect()];
    let mut parts = [1, 2].map(|channel: u16| {
        message(channel, deliver("c", 1), &Properties::new(), &bodies[usize::from(channel) - 1], 1000)
    });
    // Method and header of each, then a body frame of each in turn.
    let start = head("c", 1, 20_000).len();
    for part in &mut parts {
        let rest = part.split_off(start);
        peer.send_bytes(part);
        *part = rest;
    }
    for at in (0..parts[0].len()).step_by(1008) {
        parts.iter().for_each(|part| peer.send_bytes(&part[at..at + 1008]));
    }
    for (consumer, body) in [(one, &bodies[0]), (two, &bodies[1])] {
        let (_, id) = next_streamed(&mut peer, consumer, 20_000);
        assert!(read(&mut peer, id).0 == *body);
    }
}

#[test]
fn f6_a_malformed_streamed_body_ends_the_connection_and_the_body() {
    type Piece = fn(&mut Peer);
    let pieces: [Piece; 4] = [
        |peer| peer.send_bytes(&body_frames(1, &body(20_001), 30_000)),
        |peer| peer.send_bytes(&head("c", 2, 5)),
        |peer| peer.send_bytes(&head("c", 2, 5)[42..]),
        |peer| peer.declare_ok(1, "q"),
    ];
    for piece in pieces {
        let mut peer = Peer::open();
        let (_, consumer) = a_streamed_consumer(&mut peer);
        peer.send_bytes(&head("c", 1, 20_000));
        let (_, id) = next_streamed(&mut peer, consumer, 20_000);
        piece(&mut peer);
        assert!(peer.connection.is_finished());
        protocol(&failed(&mut peer, id));
    }
}

#[test]
fn f6_a_streamed_delivery_that_cannot_be_read_is_an_error_of_its_own() {
    let mut peer = Peer::open();
    let (_, consumer) = a_streamed_consumer(&mut peer);
    let name = amqp_proto::wire::ShortStr::from_bytes(b"\xFF\xFE").unwrap();
    let bad = basic::Deliver { routing_key: name, ..deliver("c", 1) };
    let whole = body(20_000);
    peer.send_message(1, Method::from(bad), &Properties::new(), &whole);
    assert!(matches!(peer.next_error(consumer).kind(), ErrorKind::BadDelivery { .. }));
    assert_eq!(peer.connection.buffered_bytes(), 0);
    peer.deliver(1, "c", 2, &whole);
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    assert!(read(&mut peer, id).0 == whole);
}

#[test]
fn f6_without_acks_a_body_that_is_given_up_is_gone_and_nothing_is_sent() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &Consume { no_ack: true, ..streamed("c") });
    let whole = body(20_000);
    peer.deliver(1, "c", 1, &whole);
    let (delivery, id) = next_streamed(&mut peer, consumer, whole.len());
    assert!(!delivery.needs_settling());
    peer.connection.release_body(id);
    peer.deliver(1, "c", 2, &whole);
    let (_, id) = next_streamed(&mut peer, consumer, whole.len());
    assert!(read(&mut peer, id).0 == whole);
    peer.connection.release_body(id);
    peer.expect_nothing();
    // Overheads of deliveries are counted with their consumer.
    assert_eq!(peer.connection.buffered_bytes(), 0);
}
