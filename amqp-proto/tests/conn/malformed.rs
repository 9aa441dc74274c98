//! What no broker may send: the right reply code goes out, the typed error comes out of every call that waits.

use amqp_proto::conn::ChannelId;
use amqp_proto::error::{Error, ErrorKind, ProtocolError};
use amqp_proto::method::{Method, Properties, ReplyCode, basic, channel, connection, put_any, queue};
use amqp_proto::wire::{DecodeErrorKind, FrameError, FrameKind};

use crate::peer::{Peer, TUNE, consume, deliver, message, protocol, quiet, seconds, short, unknown};

/// An open connection with a channel in confirm mode that has a consumer `c`.
fn open() -> (Peer, ChannelId) {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    peer.consumer(channel, &consume("c"));
    (peer, channel)
}

/// Sends this, and gives the error that must come out of everything that waits.
#[track_caller]
fn refused(code: ReplyCode, send: impl FnOnce(&mut Peer)) -> Error {
    let (mut peer, channel) = open();
    let calls = [peer.declare(channel, "q"), peer.connection.watch_closed()];
    let confirm = peer.publish_confirmed(channel, "q", false);
    peer.sent();
    send(&mut peer);
    peer.expect_close(code);
    let [error, watched] = calls.map(|call| peer.error(call));
    let outcome = peer.outcome(confirm);
    assert_eq!(protocol(&error), protocol(&watched));
    assert_eq!(protocol(&error), protocol(unknown(&outcome)));
    assert_eq!(error.origin(), amqp_proto::error::Origin::Broker);
    assert!(!error.is_retryable());
    peer.advance(seconds(3600));
    peer.expect_nothing();
    error
}

#[track_caller]
fn unexpected(error: &Error) -> (&str, u16) {
    match protocol(error) {
        ProtocolError::Unexpected { what, channel } => (what, *channel),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn frame_error(error: &Error) -> &FrameError {
    match protocol(error) {
        ProtocolError::Frame(error) => error,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn decode_error(error: &Error) -> DecodeErrorKind {
    match protocol(error) {
        ProtocolError::Decode(error) => error.kind,
        other => panic!("{other:?}"),
    }
}

/// A content header of this class and body size.
fn header(class: u16, size: u64) -> Vec<u8> {
    [&class.to_be_bytes()[..], &[0, 0], &size.to_be_bytes(), &[0, 0]].concat()
}

// ---- frames ----------------------------------------------------------------------------------------------------

#[test]
fn a_frame_of_an_unknown_type_is_a_frame_error() {
    for kind in [0, 4, 5, 7, 9, 65, 255] {
        let error = refused(ReplyCode::FRAME_ERROR, |peer| peer.send_bytes(&[kind, 0, 0, 0, 0, 0, 0, 0xCE]));
        assert_eq!(*frame_error(&error), FrameError::UnknownType(kind));
    }
}

#[test]
fn the_heartbeat_of_another_frame_format_is_a_frame_error() {
    let error = refused(ReplyCode::FRAME_ERROR, |peer| peer.send_bytes(b"\x08000000"));
    assert!(matches!(frame_error(&error), FrameError::TooLarge { size: 808_464_440, limit: 131_072 }), "{error}");
}

#[test]
fn f3_a_frame_over_the_limit_is_refused_before_it_is_buffered() {
    let error = refused(ReplyCode::FRAME_ERROR, |peer| peer.send_bytes(&[3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]));
    assert!(matches!(frame_error(&error), FrameError::TooLarge { .. }), "{error}");
    // One byte over the limit, and the largest that is allowed.
    let error = refused(ReplyCode::FRAME_ERROR, |peer| peer.send_bytes(&[3, 0, 1, 0, 1, 0xFF, 0xF9]));
    assert_eq!(*frame_error(&error), FrameError::TooLarge { size: 131_073, limit: 131_072 });
    let (mut peer, _) = open();
    peer.deliver(1, "c", 1, &[0; 131_064]);
    assert!(peer.connection.is_open());
}

#[test]
fn a_wrong_or_missing_end_octet_is_a_frame_error() {
    for octet in [0, 0xCD, 0xCF] {
        let error = refused(ReplyCode::FRAME_ERROR, |peer| peer.send_bytes(&[8, 0, 0, 0, 0, 0, 0, octet]));
        assert_eq!(*frame_error(&error), FrameError::BadEnd { octet });
    }
}

#[test]
fn frames_before_the_broken_one_count() {
    let (mut peer, channel) = open();
    let request = peer.declare(channel, "q");
    peer.sent();
    let mut bytes = Vec::new();
    put_any(&mut bytes, 1, &queue::DeclareOk { queue: short("q"), ..queue::DeclareOk::default() }.into()).unwrap();
    bytes.extend([5, 0, 0, 0, 0, 0, 0, 0xCE]);
    peer.send_bytes(&bytes);
    assert_eq!(peer.declared(request), "q");
    peer.expect_close(ReplyCode::FRAME_ERROR);
}

#[test]
fn a_heartbeat_on_another_channel_or_with_a_payload_is_unexpected() {
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send_frame(FrameKind::Heartbeat, 1, b""));
    assert_eq!(unexpected(&error), ("heartbeat", 1));
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send_frame(FrameKind::Heartbeat, 0, b"x"));
    assert_eq!(unexpected(&error), ("heartbeat", 0));
}

// ---- methods ---------------------------------------------------------------------------------------------------

#[test]
fn an_unknown_class_or_method_is_a_syntax_error() {
    let error = refused(ReplyCode::SYNTAX_ERROR, |peer| peer.send_frame(FrameKind::Method, 1, &[0, 99, 0, 1]));
    assert_eq!(decode_error(&error), DecodeErrorKind::UnknownClass(99));
    let error = refused(ReplyCode::SYNTAX_ERROR, |peer| peer.send_frame(FrameKind::Method, 1, &[0, 60, 0, 99]));
    assert_eq!(decode_error(&error), DecodeErrorKind::UnknownMethod(60, 99));
}

#[test]
fn a_method_that_is_cut_off_or_too_long_is_a_syntax_error() {
    let mut whole = Vec::new();
    Method::from(deliver("c", 1)).encode(&mut whole).unwrap();
    for end in 0..whole.len() {
        let error = refused(ReplyCode::SYNTAX_ERROR, |peer| peer.send_frame(FrameKind::Method, 1, &whole[..end]));
        assert_eq!(decode_error(&error), DecodeErrorKind::Truncated, "{end}");
    }
    whole.push(0);
    let error = refused(ReplyCode::SYNTAX_ERROR, |peer| peer.send_frame(FrameKind::Method, 1, &whole));
    assert_eq!(decode_error(&error), DecodeErrorKind::TrailingBytes(1));
    assert!(error.to_string().contains("basic.deliver"), "{error}");
}

#[test]
fn a_method_of_another_class_on_channel_0_is_an_invalid_command() {
    let methods: [Method<'_>; 4] = [
        queue::DeclareOk::default().into(),
        channel::CloseOk {}.into(),
        basic::Ack { delivery_tag: 1, multiple: false }.into(),
        deliver("c", 1).into(),
    ];
    for method in methods {
        let code = if method.name() == "basic.deliver" { ReplyCode::CHANNEL_ERROR } else { ReplyCode::COMMAND_INVALID };
        let error = refused(code, |peer| peer.send(0, method));
        assert!(unexpected(&error).0.starts_with(method.name()) && unexpected(&error).1 == 0, "{error}");
    }
}

#[test]
fn a_connection_method_on_another_channel_is_an_invalid_command() {
    let methods: [Method<'_>; 3] =
        [connection::CloseOk {}.into(), connection::Close::default().into(), connection::Unblocked {}.into()];
    for method in methods {
        let error = refused(ReplyCode::COMMAND_INVALID, |peer| peer.send(1, method));
        assert_eq!(unexpected(&error), (method.name(), 1));
    }
}

#[test]
fn methods_of_the_handshake_are_unexpected_later() {
    let methods: [Method<'_>; 6] = [
        connection::Start::default().into(),
        connection::Secure::default().into(),
        TUNE.into(),
        connection::OpenOk {}.into(),
        connection::CloseOk {}.into(),
        connection::UpdateSecretOk {}.into(),
    ];
    for method in methods {
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send(0, method));
        assert_eq!(unexpected(&error), (method.name(), 0));
    }
}

#[test]
fn methods_that_only_a_client_sends_are_unexpected() {
    let methods: [Method<'_>; 6] = [
        channel::Open {}.into(),
        queue::Declare::default().into(),
        basic::Publish::default().into(),
        basic::Consume::default().into(),
        basic::Reject::default().into(),
        basic::Recover::default().into(),
    ];
    for method in methods {
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send(1, method));
        assert_eq!(unexpected(&error), (method.name(), 1));
    }
}

// ---- channels --------------------------------------------------------------------------------------------------

#[test]
fn p40_a_frame_for_a_channel_that_is_not_open_is_a_channel_error() {
    let frames: [fn(&mut Peer, u16); 5] = [
        |peer, number| peer.send(number, queue::DeclareOk::default()),
        |peer, number| peer.send(number, deliver("c", 1)),
        |peer, number| peer.send(number, channel::CloseOk {}),
        |peer, number| peer.send_frame(FrameKind::Header, number, &header(60, 1)),
        |peer, number| peer.send_frame(FrameKind::Body, number, b"x"),
    ];
    for frame in frames {
        for number in [2, u16::MAX] {
            let error = refused(ReplyCode::CHANNEL_ERROR, |peer| frame(peer, number));
            let (what, channel) = unexpected(&error);
            assert!(what.contains("not open") && channel == number, "{error}");
        }
    }
}

#[test]
fn a_frame_for_a_channel_that_was_closed_is_a_channel_error() {
    let error = refused(ReplyCode::CHANNEL_ERROR, |peer| {
        let other = peer.channel();
        let closing = peer.connection.close_channel(other).unwrap();
        peer.sent();
        peer.send(2, channel::CloseOk {});
        assert!(peer.reply(closing).is_ok());
        peer.deliver(2, "c", 1, b"x");
    });
    assert_eq!(unexpected(&error).1, 2);
}

#[test]
fn content_on_channel_0_is_a_channel_error() {
    for kind in [FrameKind::Header, FrameKind::Body] {
        let error = refused(ReplyCode::CHANNEL_ERROR, |peer| peer.send_frame(kind, 0, &header(60, 1)));
        assert_eq!(unexpected(&error).1, 0);
    }
}

// ---- content ---------------------------------------------------------------------------------------------------

#[test]
fn content_frames_without_a_method_are_unexpected() {
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send_frame(FrameKind::Header, 1, &header(60, 1)));
    assert_eq!(unexpected(&error), ("content header without a method", 1));
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send_frame(FrameKind::Body, 1, b"x"));
    assert_eq!(unexpected(&error), ("content body without a method", 1));
}

#[test]
fn content_frames_out_of_order_are_unexpected() {
    type Frames = [(FrameKind, Vec<u8>)];
    let body = |text: &[u8]| (FrameKind::Body, text.to_vec());
    let cases: [(&Frames, &str); 7] = [
        (&[body(b"x")], "before its header"),
        (&[body(b"")], "before its header"),
        (&[(FrameKind::Header, header(50, 1))], "class 50"),
        (&[(FrameKind::Header, header(60, 1)), (FrameKind::Header, header(60, 1))], "second content header"),
        (&[(FrameKind::Header, header(60, 1)), body(b"xy")], "longer than announced"),
        (&[(FrameKind::Header, header(60, 3)), body(b"xy"), body(b"xy")], "longer than announced"),
        // Complete: what follows belongs to nothing.
        (&[(FrameKind::Header, header(60, 0)), body(b"x")], "without a method"),
    ];
    for (frames, expected) in cases {
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| {
            peer.send(1, deliver("c", 1));
            frames.iter().for_each(|(kind, payload)| peer.send_frame(*kind, 1, payload));
        });
        assert!(unexpected(&error).0.contains(expected), "{error}");
    }
}

#[test]
fn a_header_that_is_cut_off_is_a_syntax_error() {
    for length in 0..12 {
        let error = refused(ReplyCode::SYNTAX_ERROR, |peer| {
            peer.send(1, deliver("c", 1));
            peer.send_frame(FrameKind::Header, 1, &header(60, 1)[..length]);
        });
        assert_eq!(decode_error(&error), DecodeErrorKind::Truncated);
    }
}

#[test]
fn a_method_in_the_middle_of_a_message_is_unexpected() {
    let methods: [Method<'_>; 4] = [
        deliver("c", 2).into(),
        queue::DeclareOk::default().into(),
        basic::Ack { delivery_tag: 1, multiple: false }.into(),
        basic::Cancel { consumer_tag: short("c"), nowait: true }.into(),
    ];
    for method in methods {
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| {
            peer.send(1, deliver("c", 1));
            peer.send_frame(FrameKind::Header, 1, &header(60, 10));
            peer.send(1, method);
        });
        assert!(unexpected(&error).0.contains("in the middle of a message"), "{error}");
    }
}

#[test]
fn a_delivery_for_an_unknown_consumer_is_unexpected() {
    let unknown = amqp_proto::wire::ShortStr::from_bytes(b"\xFF").unwrap();
    for tag in [short("nobody"), short(""), unknown] {
        let method = basic::Deliver { consumer_tag: tag, ..deliver("", 1) };
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.send(1, method));
        assert!(unexpected(&error).0.contains("unknown consumer"), "{error}");
    }
}

#[test]
fn a_delivery_tag_that_does_not_ascend_is_unexpected() {
    for (first, second) in [(1, 1), (5, 4), (0, 1)] {
        let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| {
            peer.deliver(1, "c", first, b"x");
            peer.deliver(1, "c", second, b"x");
        });
        assert!(unexpected(&error).0.contains("delivery tag"), "{error}");
    }
    // Gaps are allowed: a tag may have gone to something that this side did not see.
    let (mut peer, _) = open();
    [2, 5, 1000, u64::MAX].into_iter().for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    assert!(peer.connection.is_open());
}

#[test]
fn a_message_for_a_get_that_nobody_made_is_unexpected() {
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| peer.get_ok(1, 1, b"x"));
    assert_eq!(unexpected(&error), ("basic.get-ok", 1));
}

#[test]
fn p39_f3_nothing_is_allocated_on_the_word_of_a_body_size() {
    for size in [1 << 40, i64::MAX as u64, u64::MAX] {
        let mut peer = Peer::open_with(quiet().max_body_size(u64::MAX), TUNE);
        let channel = peer.channel();
        peer.consumer(channel, &consume("c"));
        // A machine without so much memory would abort.
        peer.send(1, deliver("c", 1));
        peer.send_frame(FrameKind::Header, 1, &header(60, size));
        peer.send_frame(FrameKind::Body, 1, b"x");
        assert!(peer.connection.is_open());
    }
}

#[test]
fn a_flood_of_empty_body_frames_costs_nothing() {
    let (mut peer, _) = open();
    peer.send(1, deliver("c", 1));
    peer.send_frame(FrameKind::Header, 1, &header(60, 1));
    let before = format!("{:?}", peer.connection).len();
    (0..10_000).for_each(|_| peer.send_frame(FrameKind::Body, 1, b""));
    assert!(format!("{:?}", peer.connection).len() <= before);
    peer.send_frame(FrameKind::Body, 1, b"x");
    assert!(peer.connection.is_open());
}

#[test]
fn a_delivery_in_the_same_read_as_garbage_still_arrives() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &crate::peer::consume_no_ack("c"));
    let mut bytes = message(1, deliver("c", 1), &Properties::new(), b"good", 100);
    bytes.extend(b"garbage!");
    peer.send_bytes(&bytes);
    peer.expect_close(ReplyCode::FRAME_ERROR);
    assert_eq!(peer.next(consumer).body(), "good");
    assert!(matches!(peer.next_error(consumer).kind(), ErrorKind::Protocol(_)));
    peer.expect_ended(consumer);
}

#[test]
fn the_reply_text_of_a_close_is_cut_to_what_fits() {
    let error = refused(ReplyCode::UNEXPECTED_FRAME, |peer| {
        let tag = "x".repeat(255);
        peer.send(1, deliver(&tag, 1));
    });
    assert!(error.to_string().len() > 255);
}
