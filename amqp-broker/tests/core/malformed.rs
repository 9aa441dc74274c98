//! What is no AMQP: RabbitMQ's code and text, and nobody else is disturbed.

use amqp_broker::Emulate;
use amqp_proto::wire::FieldTable;

use super::peer::{World, passive};

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

fn header(class: u16, size: u64, properties: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend([0, 0]);
    payload.extend(size.to_be_bytes());
    payload.extend(properties);
    frame(2, 1, &payload)
}

/// What the broker says to these bytes; `None` if it hangs up without a word.
fn answer(version: Emulate, bytes: &[u8]) -> Option<String> {
    let mut world = World::new(version);
    let (client, witness) = (world.client(), world.client());
    world.declare(witness, "q", &FieldTable::new());
    world.bytes(client, bytes);
    let heard = world.hear(client).join("\n");
    assert_eq!(world.ask(witness, passive("q")), ["1 queue.declare-ok q 0 0"], "others are undisturbed");
    (!world.core.is_over(client.0)).then_some(heard)
}

#[test]
fn wrong_frames_are_refused_in_rabbitmqs_words() {
    let publish = frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'k', 0]);
    let then = |more: &[u8]| [&publish[..], more].concat();
    let expected = "expected content header for class 60, got";
    for (bytes, text) in [
        (
            b"\x08000000".to_vec(),
            "501 FRAME_ERROR - type 8, all octets = <<>>: {frame_too_large,808464432,131064} (0.0)".to_owned(),
        ),
        (
            b"\x01\0\0\0\0\0\x04abcd\0".to_vec(),
            "501 FRAME_ERROR - type 1, all octets = <<\"abcd\">>: {invalid_frame_end_marker,0} (0.0)".to_owned(),
        ),
        (frame(5, 0, b"abcd"), "501 FRAME_ERROR - type 5, all octets = <<\"abcd\">>: unknown_frame (0.0)".to_owned()),
        (frame(1, 1, b"\0"), "501 FRAME_ERROR - type 1, all octets = <<0>>: unknown_frame (0.0)".to_owned()),
        (
            frame(2, 1, b"\0\x3c\0\0"),
            "501 FRAME_ERROR - type 2, all octets = <<0,60,0,0>>: unknown_frame (0.0)".to_owned(),
        ),
        (frame(8, 0, b"xx"), "501 FRAME_ERROR - type 8, all octets = <<\"xx\">>: unknown_frame (0.0)".to_owned()),
        (frame(8, 1, b""), "505 UNEXPECTED_FRAME - type 8, all octets = <<>> (0.0)".to_owned()),
        (frame(3, 0, b"abc"), "505 UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">> (0.0)".to_owned()),
        (
            frame(3, 1, b"abc"),
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0.0)".to_owned(),
        ),
        (
            frame(3, 9, b"abc"),
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0.0)".to_owned(),
        ),
        (then(&publish), format!("505 UNEXPECTED_FRAME - {expected} non content header frame instead (60.40)")),
        (then(&header(50, 3, &[0, 0])), format!("505 UNEXPECTED_FRAME - {expected} one for class 50 instead (60.40)")),
        (
            then(&[header(60, 3, &[0, 0]), frame(3, 1, b"abcd")].concat()),
            "501 FRAME_ERROR - content body frame exceeds remaining content size (60.40)".to_owned(),
        ),
        (
            then(&[header(60, 3, &[0, 0]), publish.clone()].concat()),
            "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead (60.40)".to_owned(),
        ),
        (
            then(&header(60, 1 << 63, &[0, 0])),
            "501 FRAME_ERROR - content body size 9223372036854775808 exceeds maximum allowed size 536870912 (60.40)"
                .to_owned(),
        ),
        (then(&header(60, 0, &[0, 0, b'x', b'x'])), "541 INTERNAL_ERROR (0.0)".to_owned()),
        (frame(1, 1, &[0, 60, 0, 10, 0]), "501 FRAME_ERROR - cannot decode <<0>> (60.10)".to_owned()),
        (
            frame(1, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0, b'z', b'z']),
            "501 FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,1,0,122,122>> (60.80)".to_owned(),
        ),
        (
            frame(1, 0, &[0, 20, 0, 10, 0]),
            "504 CHANNEL_ERROR - unexpected method in connection state running (20.10)".to_owned(),
        ),
    ] {
        assert_eq!(answer(Emulate::V4_3, &bytes), Some(format!("0 connection.close {text}")));
    }
    for hangup in [frame(1, 1, &[0, 99, 0, 1]), frame(1, 1, &[0, 60, 0, 199]), frame(1, 0, &[0, 99, 0, 1])] {
        assert_eq!(answer(Emulate::V4_3, &hangup), None);
    }
}

#[test]
fn odd_but_legal_frames_work() {
    let publish = frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'k', 0]);
    let empty = [publish, header(60, 3, &[0, 0]), frame(3, 1, b""), frame(3, 1, b"abc")].concat();
    assert_eq!(answer(Emulate::V4_3, &empty), Some(String::new()));
    assert_eq!(answer(Emulate::V4_3, &frame(8, 0, b"")), Some(String::new()));
}
