//! Messages whose bodies the application writes in parts: their frames, the room for them, and what becomes of those that
//! are given up.

use amqp_proto::conn::{ChannelId, Connection, Reply, StreamedPublish};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{ContentHeader, Method, Properties, ReplyCode, channel, connection, tx};
use amqp_proto::wire::{FrameKind, ShortStr};
use bytes::{Buf, Bytes};

use crate::peer::{Peer, Sent, TUNE, publish, quiet, returned, seconds, short, timed_out};

/// A body in which every byte tells its place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn begin(connection: &mut Connection, channel: ChannelId, body_size: u64) -> Result<(), Error> {
    let publish = StreamedPublish {
        exchange: ShortStr::EMPTY,
        routing_key: short("q"),
        mandatory: true,
        immediate: false,
        properties: &Properties::new(),
        body_size,
    };
    connection.publish_streamed(channel, &publish)
}

/// Writes all of it, with turns of the driver in between.
fn write_all(peer: &mut Peer, channel: ChannelId, mut part: &[u8]) {
    while part.has_remaining() {
        peer.connection.write_body(channel, &mut part).unwrap();
        peer.turn();
    }
}

fn bodies(sent: &[Sent]) -> Vec<u8> {
    sent.iter().filter(|sent| sent.kind == FrameKind::Body).flat_map(|sent| sent.payload.clone()).collect()
}

fn names(sent: &[Sent]) -> Vec<String> {
    let mut names: Vec<String> = sent.iter().map(Sent::name).collect();
    names.dedup();
    names
}

#[test]
fn f6_a_body_written_in_parts_of_any_size_is_one_message() {
    for frame_max in [4096, 131_072, 0] {
        let whole = body(300_000);
        for part in [1, 7, 4095, 4096, 4097, 100_000, 300_000] {
            let mut peer = Peer::open_with(quiet().frame_max(frame_max), connection::Tune { frame_max, ..TUNE });
            let channel = peer.tx_channel();
            begin(&mut peer.connection, channel, 300_000).unwrap();
            let mut sent = Vec::new();
            for piece in whole.chunks(part) {
                let mut shared = Bytes::copy_from_slice(piece);
                while shared.has_remaining() {
                    peer.connection.write_body(channel, &mut shared).unwrap();
                    sent.append(&mut peer.sent());
                }
            }
            assert_eq!(peer.connection.missing_body(channel), 0);
            let commit = peer.connection.request(channel, tx::Commit {}, None).unwrap().unwrap();
            sent.append(&mut peer.sent());
            assert_eq!(names(&sent), ["1 basic.publish", "1 header", "1 body", "1 tx.commit"]);
            assert_eq!(ContentHeader::decode(&sent[1].payload).unwrap().body_size, 300_000);
            assert!(bodies(&sent) == whole, "{frame_max}: parts of {part}");
            // Small parts are not a frame each, and no frame is larger than agreed on.
            let frames = sent.len() - 3;
            assert!(frames <= 2 + 600_000 / 4000, "{frame_max}: {frames} of {part}");
            peer.send(1, tx::CommitOk {});
            assert!(matches!(peer.reply(commit), Ok(Reply::Done)));
        }
    }
}

#[test]
fn f6_a_large_part_is_not_copied() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    let part = Bytes::from(body(100_000));
    begin(&mut peer.connection, channel, 100_000).unwrap();
    peer.connection.write_body(channel, &mut part.clone()).unwrap();
    let mut outbound = amqp_proto::conn::Outbound::new();
    peer.connection.take_outbound(&mut outbound);
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    let filled = outbound.io_slices(&mut slices);
    assert!(slices[..filled].iter().any(|slice| slice.as_ptr() == part.as_ptr()));
}

#[test]
fn f6_what_waits_of_a_streamed_body_is_bounded_and_its_writer_waits_with_a_deadline() {
    let mut peer = Peer::open_with(quiet().publish_buffer(100_000).room_timeout(seconds(7)), TUNE);
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 40 << 20).unwrap();
    peer.stalled = true;
    let part = Bytes::from(body(1 << 20));
    let mut rest = part.clone();
    let error = loop {
        if let Err(error) = peer.connection.write_body(channel, &mut rest) {
            break error;
        }
        peer.turn();
        assert!(peer.connection.outbound_len() < 100_000 + (256 << 10));
    };
    assert!(matches!(error.kind(), ErrorKind::Full) && error.is_retryable());
    assert!(!peer.connection.can_publish(channel));
    // What was taken is told by what is left.
    let left = rest.remaining() as u64;
    assert_eq!(peer.connection.missing_body(channel), (39 << 20) + left);
    let waiting = peer.connection.wait_room(channel, 1000, None);
    peer.advance(seconds(7));
    assert_eq!(timed_out(&peer.error(waiting)), ("Room".to_owned(), false));
    // It goes on where it was.
    let waiting = peer.connection.wait_room(channel, 1000, None);
    peer.expect_waiting(waiting);
    peer.stalled = false;
    assert!(matches!(peer.reply(waiting), Ok(Reply::Done)));
    write_all(&mut peer, channel, &rest);
    (1..40).for_each(|_| write_all(&mut peer, channel, &part));
    let sent = peer.sent();
    assert!(bodies(&sent).chunks(1 << 20).all(|chunk| chunk == part));
}

#[test]
fn f6_a_blocked_connection_takes_no_more_of_a_body() {
    let mut peer = Peer::open_with(quiet().room_timeout(seconds(7)), TUNE);
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 10).unwrap();
    peer.send(0, connection::Blocked { reason: short("memory") });
    let error = peer.connection.write_body(channel, &mut &b"x"[..]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full));
    let waiting = peer.connection.wait_room(channel, 1000, None);
    peer.advance(seconds(7));
    assert_eq!(timed_out(&peer.error(waiting)), ("Room".to_owned(), true));
    peer.send(0, connection::Unblocked {});
    write_all(&mut peer, channel, b"0123456789");
    assert_eq!(bodies(&peer.sent()), b"0123456789");
    assert!(begin(&mut peer.connection, channel, 0).is_ok());
}

#[test]
fn c7_small_messages_of_other_channels_go_between_the_parts() {
    let mut peer = Peer::open();
    let (channel, other) = (peer.tx_channel(), peer.channel());
    begin(&mut peer.connection, channel, 1000).unwrap();
    write_all(&mut peer, channel, &body(500));
    let none = Properties::new();
    peer.connection.publish(other, &publish("q", &none, b"small")).unwrap();
    // What was gathered may wait for more; everybody else does not.
    assert_eq!(peer.names(), ["1 basic.publish", "1 header", "2 basic.publish", "2 header", "2 body"]);
    let request = peer.declare(other, "q");
    peer.declare_ok(2, "q");
    assert_eq!(peer.declared(request), "q");
    peer.sent();
    write_all(&mut peer, channel, &body(500));
    assert_eq!(peer.sent()[0].payload.len(), 1000);
}

#[test]
fn f6_more_or_less_than_was_announced_is_an_error_and_publishes_nothing() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 10).unwrap();
    let error = peer.connection.write_body(channel, &mut &b"0123456789x"[..]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BodySize { missing: 10, given: 11 }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(peer.connection.missing_body(channel), 10);
    write_all(&mut peer, channel, b"0123456");
    assert_eq!(peer.connection.missing_body(channel), 3);
    // No other message while one is under way, and no waiting for what cannot come.
    let none = Properties::new();
    let error = peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    assert!(matches!(begin(&mut peer.connection, channel, 1).unwrap_err().kind(), ErrorKind::Invalid(_)));
    write_all(&mut peer, channel, b"789");
    let error = peer.connection.write_body(channel, &mut &b"x"[..]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    assert_eq!(bodies(&peer.sent()), b"0123456789");
}

#[test]
fn f6_a_streamed_body_needs_a_transaction() {
    let mut peer = Peer::open();
    for channel in [peer.channel(), peer.confirm_channel()] {
        let error = begin(&mut peer.connection, channel, 1).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
        assert_eq!(error.operation(), Some("basic.publish"));
        peer.expect_nothing();
    }
}

#[test]
fn f6_an_abandoned_body_leaves_in_full_and_is_not_committed() {
    for written in [0, 1, 5000, 16 * 1024, 70_000, 999_999] {
        for release in [true, false] {
            let mut peer = Peer::open();
            let (channel, other) = (peer.tx_channel(), peer.channel());
            begin(&mut peer.connection, channel, 1_000_000).unwrap();
            write_all(&mut peer, channel, &body(written));
            if release {
                peer.connection.release_channel(channel);
            } else {
                peer.connection.close_channel(channel).unwrap();
            }
            let sent = peer.sent();
            assert_eq!(names(&sent), ["1 basic.publish", "1 header", "1 body", "1 channel.close"], "{written}");
            let body_sent = bodies(&sent);
            assert_eq!(body_sent.len(), 1_000_000);
            assert!(body_sent[written..].iter().all(|byte| *byte == 0));
            peer.send(1, channel::CloseOk {});
            assert_eq!(peer.connection.channel_count(), 1);
            let request = peer.declare(other, "q");
            peer.declare_ok(2, "q");
            assert_eq!(peer.declared(request), "q");
        }
    }
}

#[test]
fn f6_the_zeros_of_an_abandoned_body_cost_no_memory_and_let_others_through() {
    let mut peer = Peer::open();
    let (channel, other) = (peer.tx_channel(), peer.channel());
    begin(&mut peer.connection, channel, 512 << 20).unwrap();
    peer.stalled = true;
    peer.connection.release_channel(channel);
    let none = Properties::new();
    for turn in 0..1000 {
        assert!(peer.connection.outbound_len() < 300 << 10);
        peer.write(usize::MAX);
        if turn == 10 {
            peer.connection.publish(other, &publish("q", &none, b"small")).unwrap();
        }
    }
    assert!(peer.frames_written().iter().any(|sent| sent.name() == "2 body"));
    // Whoever closes the connection does not wait for them.
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "bye");
    peer.stalled = false;
    let sent = peer.sent();
    assert!(sent.len() < 100, "{}", sent.len());
    assert_eq!(sent.last().unwrap().name(), "0 connection.close");
    peer.send(0, connection::CloseOk {});
    assert!(matches!(peer.reply(close), Ok(Reply::Done)));
}

#[test]
fn f6_close_does_not_wait_for_a_body_that_nobody_finishes() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 1_000_000).unwrap();
    write_all(&mut peer, channel, &body(100_000));
    peer.sent();
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "bye");
    let error = peer.connection.write_body(channel, &mut &b"x"[..]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen), "{error}");
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.connection.release_channel(channel);
    peer.expect_nothing();
    peer.send(0, connection::CloseOk {});
    assert!(matches!(peer.reply(close), Ok(Reply::Done)));
}

#[test]
fn f6_a_channel_that_the_broker_closes_in_the_middle_of_a_body_ends_at_once_and_is_answered_behind_it() {
    for released in [false, true] {
        let mut peer = Peer::open();
        let channel = peer.tx_channel();
        begin(&mut peer.connection, channel, 1_000_000).unwrap();
        write_all(&mut peer, channel, &body(300_000));
        let waiting = peer.connection.wait_room(channel, 1000, None);
        assert!(matches!(peer.reply(waiting), Ok(Reply::Done)));
        peer.stalled = true;
        peer.close_channel(1, 406, "PRECONDITION_FAILED");
        let error = peer.connection.write_body(channel, &mut &b"x"[..]).unwrap_err();
        assert_eq!(error.reply_code(), Some(ReplyCode(406)));
        if released {
            peer.connection.release_channel(channel);
        }
        // The number is not free before the answer has left.
        assert_eq!(peer.connection.channel_count(), 1);
        peer.stalled = false;
        let sent = peer.sent();
        assert_eq!(names(&sent), ["1 basic.publish", "1 header", "1 body", "1 channel.close-ok"]);
        assert_eq!(bodies(&sent).len(), 1_000_000);
        assert_eq!(peer.connection.channel_count(), 0);
        peer.tx_channel();
    }
}

#[test]
fn f6_nothing_may_come_on_a_channel_that_the_broker_has_closed() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 1_000_000).unwrap();
    peer.sent();
    peer.stalled = true;
    peer.close_channel(1, 406, "PRECONDITION_FAILED");
    peer.close_channel(1, 406, "PRECONDITION_FAILED");
    assert!(peer.connection.is_finished());
    peer.stalled = false;
    let sent = peer.sent();
    let Method::Connection(connection::Method::Close(close)) = sent.last().unwrap().method() else { panic!() };
    assert_eq!(close.reply_code, ReplyCode::CHANNEL_ERROR);
    peer.connection.release_channel(channel);
}

#[test]
fn f6_the_end_of_the_connection_ends_the_body() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 1_000_000).unwrap();
    write_all(&mut peer, channel, &body(300_000));
    let waiting = peer.connection.wait_room(channel, 1000, None);
    peer.eof();
    assert!(matches!(peer.error(waiting).kind(), ErrorKind::ConnectionLost { .. }));
    let error = peer.connection.write_body(channel, &mut &b"x"[..]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert_eq!(peer.connection.missing_body(channel), 0);
    peer.connection.release_channel(channel);
}

#[test]
fn f6_what_comes_back_comes_without_its_body() {
    let mut peer = Peer::open();
    let channel = peer.tx_channel();
    begin(&mut peer.connection, channel, 1_000_000).unwrap();
    let whole = body(1_000_000);
    write_all(&mut peer, channel, &whole);
    peer.send_message(1, returned("", "q"), &Properties::new(), &whole);
    let message = peer.connection.next_return(channel).unwrap().expect("a message that came back");
    assert_eq!((message.reply_code(), message.routing_key()), (ReplyCode::NO_ROUTE, "q"));
    assert!(message.body().is_empty());
}
