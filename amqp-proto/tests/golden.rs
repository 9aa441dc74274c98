//! The codec against bytes that it did not make: traces recorded between RabbitMQ and another client (`golden/*.trace`,
//! recorded by `scripts/golden`), both directions of each.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

#[path = "golden/all_types.rs"]
mod all_types;
mod common;
#[path = "golden/corpus.rs"]
mod corpus;
#[path = "golden/trace.rs"]
mod trace;

use std::collections::BTreeMap;

use all_types::assert_all_types;
use amqp_proto::method::connection::Method as ConnectionMethod;
use amqp_proto::method::{
    ContentHeader, Method, ReplyCode, Sender, basic, channel, connection, methods, put_any, put_content_header,
};
use amqp_proto::sasl::{Credentials, Mechanism};
use amqp_proto::wire::{DecodeErrorKind, FrameError, TableRef, ValueRef};
use common::{deframe, frame_bytes};
use trace::{FRAME_MAX, Side, methods_of, properties_of, streams, trace, traces};

/// Where a client's frame was wrong on purpose: what we say to it.
fn wrong_frame(name: &str) -> Option<FrameError> {
    match name {
        "client in malformed-frame-end" => Some(FrameError::BadEnd { octet: 0xCD }),
        "client in malformed-frame-type" => Some(FrameError::UnknownType(5)),
        "client in handshake-wrong-version" => Some(FrameError::ProtocolHeader([0, 1, 0, 0])),
        "client in handshake-older-version" => Some(FrameError::ProtocolHeader([1, 1, 8, 0])),
        "server in handshake-wrong-version" => Some(FrameError::ProtocolHeader([0, 0, 9, 1])),
        _ => None,
    }
}

/// Where a client's method was wrong on purpose: the field and what we say to it.
fn wrong_method(name: &str) -> Option<(&'static str, DecodeErrorKind)> {
    match name {
        "client in malformed-arguments" => Some(("queue", DecodeErrorKind::Truncated)),
        "client in malformed-table" => Some(("arguments", DecodeErrorKind::UnknownTag(b'z'))),
        "client in malformed-method" => Some(("", DecodeErrorKind::UnknownMethod(50, 99))),
        _ => None,
    }
}

#[test]
fn f1_every_stream_falls_into_frames_and_goes_back_to_the_same_bytes() {
    let mut count = BTreeMap::<u8, usize>::new();
    for stream in streams() {
        let (frames, error) = stream.frames();
        assert_eq!(error, wrong_frame(&stream.name), "{}", stream.name);
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(kind, channel, payload)| frame_bytes(*kind, *channel, payload)).collect();
        match error {
            None => assert_eq!(bytes, stream.bytes, "{}", stream.name),
            Some(_) => assert!(stream.bytes.starts_with(&bytes), "{}", stream.name),
        }
        for (kind, ..) in frames {
            *count.entry(kind).or_default() += 1;
        }
    }
    let least = BTreeMap::from([(1, 950), (2, 140), (3, 110), (8, 12)]);
    for (kind, least) in least {
        assert!(count[&kind] >= least, "only {} frames of type {kind}", count[&kind]);
    }
}

#[test]
fn f1_every_method_is_decoded_and_encoded_to_the_same_bytes_and_each_is_seen() {
    let mut seen = BTreeMap::<(&str, Side), usize>::new();
    for stream in streams() {
        let mut refused = None;
        for (_, channel, payload) in stream.frames().0.iter().filter(|(kind, ..)| *kind == 1) {
            match Method::decode(payload) {
                Ok(method) => {
                    let mut encoded = Vec::new();
                    put_any(&mut encoded, *channel, &method).unwrap();
                    let mut original = frame_bytes(1, *channel, payload);
                    // pika sets the reserved bit that was `insist` in 0-8. What is reserved is not kept.
                    if let (Method::Connection(ConnectionMethod::Open(_)), [.., insist, _end]) =
                        (method, &mut original[..])
                    {
                        *insist = 0;
                    }
                    assert_eq!(encoded, original, "{}: {method:?}", stream.name);
                    let expected = if stream.side == Side::Client { Sender::Client } else { Sender::Server };
                    let sender = method.info().sender;
                    assert!(sender == expected || sender == Sender::Both, "{}: {method:?}", stream.name);
                    *seen.entry((method.name(), stream.side)).or_default() += 1;
                }
                Err(error) => refused = Some((error.field, error.kind)),
            }
        }
        assert_eq!(refused, wrong_method(&stream.name), "{}", stream.name);
    }
    // Nothing makes today's RabbitMQ send these, and it knows none of the client's.
    let unseen = [("channel.flow", Side::Server), ("channel.flow-ok", Side::Client), ("basic.cancel-ok", Side::Client)];
    for info in methods() {
        let sides = match info.sender {
            Sender::Client => &[Side::Client][..],
            Sender::Server => &[Side::Server],
            Sender::Both => &[Side::Client, Side::Server],
        };
        for side in sides {
            let seen = seen.contains_key(&(info.name, *side));
            assert!(seen || unseen.contains(&(info.name, *side)), "no {} of the {side}", info.name);
        }
    }
    // Those whose number does not depend on the broker's timing, as far as scenes may come to be added.
    for (name, side, least) in [
        ("connection.start", Side::Server, 49),
        ("queue.declare", Side::Client, 41),
        ("queue.declare-ok", Side::Server, 34),
        ("basic.publish", Side::Client, 87),
        ("basic.deliver", Side::Server, 49),
        ("basic.return", Side::Server, 3),
        ("channel.close", Side::Server, 10),
        ("connection.close", Side::Server, 13),
    ] {
        assert!(seen[&(name, side)] >= least, "only {} {name}", seen[&(name, side)]);
    }
}

#[test]
fn f1_every_content_header_is_decoded_and_encoded_to_the_same_bytes() {
    let (mut count, mut rewritten) = (0, 0);
    for stream in streams() {
        for (_, channel, payload) in stream.frames().0.iter().filter(|(kind, ..)| *kind == 2) {
            let header = ContentHeader::decode(payload).unwrap();
            let properties = header.properties.decode().unwrap();
            let mut encoded = Vec::new();
            let owned = properties.to_owned();
            put_content_header(&mut encoded, *channel, header.class_id, header.body_size, &owned).unwrap();
            let original = frame_bytes(2, *channel, payload);
            assert_eq!(encoded.len(), original.len(), "{}: {properties:?}", stream.name);
            // We write `l` where an `L` was received.
            let differing = encoded.iter().zip(&original).filter(|(ours, theirs)| ours != theirs);
            for (ours, theirs) in differing {
                assert_eq!((*ours, *theirs), (b'l', b'L'), "{}: {properties:?}", stream.name);
                rewritten += 1;
            }
            assert_eq!(owned.view(), properties, "{}", stream.name);
            count += 1;
        }
    }
    assert!(count >= 140, "only {count} content headers");
    assert!(rewritten >= 5, "only {rewritten} times L");
}

#[test]
fn f4_every_stream_split_at_every_byte_and_into_single_bytes_gives_the_same_frames() {
    let mut count = 0;
    for stream in streams() {
        let whole = stream.frames();
        assert_eq!(deframe(FRAME_MAX, stream.bytes.chunks(1)), whole, "{} byte by byte", stream.name);
        let recorded = stream.chunks.iter().map(Vec::as_slice);
        assert_eq!(deframe(FRAME_MAX, recorded), whole, "{} as it was recorded", stream.name);
        for at in 0..=stream.bytes.len() {
            let (head, tail) = stream.bytes.split_at(at);
            assert!(deframe(FRAME_MAX, [head, tail]) == whole, "{} split at {at}", stream.name);
            count += 1;
        }
    }
    assert!(count > 100_000, "only {count} splits");
}

#[test]
fn f1_every_body_is_as_long_as_its_header_says() {
    let mut of_several_frames = BTreeMap::<Side, usize>::new();
    for stream in streams() {
        // A header without a method and a body is what this scene is about.
        if stream.name == "client in connection-error-unexpected-frame" {
            continue;
        }
        let frames = stream.frames().0;
        let mut frames = frames.iter();
        while let Some((kind, channel, payload)) = frames.next() {
            assert_ne!(*kind, 3, "{}: a body that was not announced", stream.name);
            if *kind != 2 {
                continue;
            }
            let mut left = ContentHeader::decode(payload).unwrap().body_size;
            let mut pieces = 0;
            while left > 0 {
                let (kind, on, body) = frames.next().unwrap();
                assert_eq!((*kind, on), (3, channel), "{}: content is interleaved", stream.name);
                left = left.checked_sub(u64::try_from(body.len()).unwrap()).unwrap();
                pieces += 1;
            }
            *of_several_frames.entry(stream.side).or_default() += usize::from(pieces > 1);
        }
    }
    assert_eq!(of_several_frames, BTreeMap::from([(Side::Client, 2), (Side::Server, 2)]));
}

#[test]
fn f2_values_of_all_18_tags_are_what_the_other_side_meant() {
    let frames = trace("table-of-all-types").frames(Side::Client);
    let tables: Vec<_> = methods_of(&frames).filter_map(arguments).filter(|table| !table.is_empty()).collect();
    assert_eq!(tables.len(), 2);
    for table in tables {
        assert_all_types(table, "table-of-all-types");
    }
}

fn arguments(method: Method<'_>) -> Option<TableRef<'_>> {
    corpus::tables(&method).into_iter().map(|(_, table)| table).find(|table| !table.contains_key("product"))
}

#[test]
fn c10_all_14_properties_come_back_from_the_broker_as_they_were_sent() {
    let trace = trace("all-properties");
    let (sent, received) = (trace.frames(Side::Client), trace.frames(Side::Server));
    let sent: Vec<_> = properties_of(&sent).collect();
    let received: Vec<_> = properties_of(&received).collect();
    assert_eq!((sent.len(), received.len()), (1, 2));
    for properties in sent.iter().chain(&received) {
        let text = |text: Option<amqp_proto::wire::ShortStr<'_>>| text.unwrap().to_str().unwrap().to_owned();
        assert_eq!(text(properties.content_type), "application/octet-stream");
        assert_eq!(text(properties.content_encoding), "gzip");
        assert_all_types(properties.headers.unwrap(), "all-properties");
        assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(9)));
        assert_eq!(text(properties.correlation_id), "correlation 1");
        assert_eq!(text(properties.reply_to), "golden.replies");
        assert_eq!(text(properties.expiration), "60000");
        assert_eq!(text(properties.message_id), "message 1");
        assert_eq!(properties.timestamp, Some(1_709_209_800));
        assert_eq!(text(properties.kind), "golden.type");
        assert_eq!(text(properties.user_id), "guest");
        assert_eq!(text(properties.app_id), "golden");
        assert_eq!(text(properties.cluster_id), "cluster 1");
        assert!(properties.same_content(&sent[0], &[]));
    }
}

#[test]
fn c9_headers_that_rabbitmq_encodes_anew_are_the_same_with_x_death_added() {
    let trace = trace("dead-letters");
    let (sent, received) = (trace.frames(Side::Client), trace.frames(Side::Server));
    let sent: Vec<_> = properties_of(&sent).collect();
    let received: Vec<_> = properties_of(&received).collect();
    assert_eq!((sent.len(), received.len()), (3, 6));
    for (index, properties) in received.iter().enumerate() {
        let headers = properties.headers.unwrap();
        if index < 2 {
            assert_all_types(headers, "dead-letters");
        }
        let added = ["x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
        let original = sent[index / 2].headers.unwrap_or_default();
        assert!(headers.eq_ignoring(&original, &added), "{headers:?}");
        // The newest death comes first.
        let deaths: Vec<_> = headers.get("x-death").unwrap().as_array().unwrap().iter().collect();
        let reasons = if index % 2 == 0 { &["expired"][..] } else { &["rejected", "expired"] };
        assert_eq!(deaths.len(), reasons.len());
        for (death, reason) in deaths.iter().zip(reasons) {
            let death = death.as_table().unwrap();
            assert_eq!(death.get("reason").unwrap().as_str(), Some(*reason));
            assert_eq!(death.get("count").unwrap().as_i64(), Some(1));
            assert!(death.get("time").unwrap().as_timestamp().unwrap() > 1_700_000_000);
            assert_eq!(death.get("routing-keys").unwrap().as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn f39_what_queues_of_other_types_add_to_headers_is_read() {
    let header = |scene: &str, key: &str| {
        let frames = trace(scene).frames(Side::Server);
        let headers = properties_of(&frames).map(|properties| properties.headers.unwrap_or_default());
        headers.map(|table| table.get(key).and_then(|value: ValueRef<'_>| value.as_i64())).collect::<Vec<_>>()
    };
    assert_eq!(header("stream", "x-stream-offset"), [Some(0), Some(1), Some(2)]);
    assert_eq!(header("quorum-redelivery", "x-delivery-count"), [None, Some(1)]);
    assert_eq!(header("quorum-redelivery", "kept"), [Some(7), Some(7)]);
    let frames = trace("carbon-copies").frames(Side::Server);
    let has_bcc = |table: TableRef<'_>| (table.contains_key("CC"), table.contains_key("BCC"));
    let copies: Vec<_> = properties_of(&frames).map(|properties| has_bcc(properties.headers.unwrap())).collect();
    assert_eq!(copies, [(true, false); 3]);
}

#[test]
fn f19_the_codes_of_closes_are_those_that_the_scenes_provoke() {
    let channels = trace("channel-errors").frames(Side::Server);
    let codes: Vec<u16> = methods_of(&channels)
        .filter_map(|method| match method {
            Method::Channel(channel::Method::Close(close)) => Some(close.reply_code.0),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [404, 404, 406, 406, 403, 405, 403, 406, 404]);

    for (scene, code) in [
        ("handshake-refused", ReplyCode::ACCESS_REFUSED),
        ("handshake-no-such-virtual-host", ReplyCode::NOT_ALLOWED),
        ("connection-error-not-allowed", ReplyCode::NOT_ALLOWED),
        ("connection-error-not-implemented", ReplyCode::NOT_IMPLEMENTED),
        ("connection-error-flow", ReplyCode::NOT_IMPLEMENTED),
        ("connection-error-unopened-channel", ReplyCode::CHANNEL_ERROR),
        ("connection-error-opened-twice", ReplyCode::CHANNEL_ERROR),
        ("connection-error-unexpected-frame", ReplyCode::UNEXPECTED_FRAME),
        ("connection-error-cancel-ok", ReplyCode::COMMAND_INVALID),
        ("connection-forced", ReplyCode::CONNECTION_FORCED),
        ("malformed-frame-end", ReplyCode::FRAME_ERROR),
        ("malformed-frame-type", ReplyCode::FRAME_ERROR),
        ("malformed-arguments", ReplyCode::FRAME_ERROR),
    ] {
        let frames = trace(scene).frames(Side::Server);
        let Some(Method::Connection(ConnectionMethod::Close(close))) = methods_of(&frames).last() else {
            panic!("{scene} does not end with a close");
        };
        assert_eq!(close.reply_code, code, "{scene}");
        let text = close.reply_text.to_str().unwrap();
        assert!(text.starts_with(code.name().unwrap()), "{scene}: {text}");
    }
}

#[test]
fn f16_the_handshakes_of_another_client_are_those_that_we_would_have_made() {
    for (scene, mechanism) in [("handshake", Mechanism::Plain), ("handshake-amqplain", Mechanism::AmqPlain)] {
        let trace = trace(scene);
        let (client, server) = (trace.frames(Side::Client), trace.frames(Side::Server));
        let Some(Method::Connection(ConnectionMethod::Start(start))) = methods_of(&server).next() else {
            panic!("{scene} does not begin with start");
        };
        assert_eq!((start.version_major, start.version_minor), (0, 9));
        assert_eq!(Mechanism::choose(std::slice::from_ref(&mechanism), start.mechanisms.0), Some(&mechanism));
        assert_eq!(Mechanism::choose(&[Mechanism::External], start.mechanisms.0), None);
        assert_eq!(start.server_properties.get("product").unwrap().as_str(), Some("RabbitMQ"));
        let Some(Method::Connection(ConnectionMethod::StartOk(start_ok))) = methods_of(&client).next() else {
            panic!("{scene} does not begin with start-ok");
        };
        assert_eq!(start_ok.mechanism.as_bytes(), mechanism.name().as_bytes());
        let response = mechanism.start(&Credentials::default()).initial_response().unwrap();
        assert_eq!(start_ok.response.0, response);
    }
}

#[test]
fn f12_blocked_and_unblocked_are_read() {
    let frames = trace("blocked-and-unblocked").frames(Side::Server);
    let mut told = Vec::new();
    for method in methods_of(&frames) {
        match method {
            Method::Connection(ConnectionMethod::Blocked(connection::Blocked { reason })) => {
                told.push(reason.to_string());
            }
            Method::Connection(ConnectionMethod::Unblocked(_)) => told.push(String::new()),
            _ => {}
        }
    }
    assert_eq!(told, ["low on memory", ""]);
}

#[test]
fn f26_acks_of_several_and_nacks_are_among_the_confirms() {
    let confirms = |scene: &str, pick: fn(&Method<'_>) -> Option<bool>| {
        let frames = trace(scene).frames(Side::Server);
        methods_of(&frames).filter_map(|method| pick(&method)).collect::<Vec<bool>>()
    };
    let acks = confirms("confirms", |method| match method {
        Method::Basic(basic::Method::Ack(ack)) => Some(ack.multiple),
        _ => None,
    });
    assert!(acks.contains(&true) && acks.contains(&false), "{acks:?}");
    let nacks = confirms("confirms-nacked", |method| match method {
        Method::Basic(basic::Method::Nack(nack)) => Some(nack.multiple),
        _ => None,
    });
    assert!(nacks.len() >= 2, "{nacks:?}");
}

#[test]
fn the_replies_to_pipelined_calls_overtake_each_other_in_rabbitmq() {
    let frames = trace("pipelined").frames(Side::Server);
    let names: Vec<&str> = methods_of(&frames).map(|method| method.name()).collect();
    let replies = names.iter().copied().filter(|name| matches!(*name, "queue.declare-ok" | "basic.consume-ok"));
    // The first is the reply to the call before.
    let replies: Vec<&str> = replies.skip(1).collect();
    assert_eq!(replies, ["queue.declare-ok", "queue.declare-ok", "basic.consume-ok"]);
}

#[test]
fn the_seed_corpora_for_fuzzing_are_those_of_the_traces() {
    corpus::check_or_write(&traces());
}
