//! Methods: all of them, generated from the committed table; and payloads that are none.

#![expect(clippy::unwrap_used, reason = "this is a test")]

mod common;

use amqp_proto::method::{Method, ReplyCode, access, basic, connection, exchange, ids, put_any, put_method, queue};
use amqp_proto::table;
use amqp_proto::wire::{DecodeErrorKind, EncodeError, LongStr, ShortStr, TableRef};
use common::payload::any_method;
use common::{frame_bytes, nested};
use proptest::prelude::*;

fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text).unwrap()
}

fn kind_of(payload: &[u8]) -> DecodeErrorKind {
    Method::decode(payload).unwrap_err().kind
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_method_is_decoded_and_written_alike((row, payload) in any_method()) {
        let method = Method::decode(&payload).unwrap();
        prop_assert_eq!(method.name(), row.name);
        prop_assert_eq!(ids(&payload), Some((row.class_id, row.method_id)));
        let mut again = b"before".to_vec();
        method.encode(&mut again).unwrap();
        prop_assert_eq!(&again, &[b"before", &payload[..]].concat());
        let mut frame = Vec::new();
        put_any(&mut frame, 9, &method).unwrap();
        prop_assert_eq!(frame, frame_bytes(1, 9, &payload));
        prop_assert_eq!(Method::decode(&payload), Ok(method));
    }

    #[test]
    fn every_cut_off_method_is_an_error_inside_what_is_there((row, payload) in any_method()) {
        for cut in 0..payload.len() {
            let error = Method::decode(&payload[..cut]).unwrap_err();
            prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
            prop_assert!(error.offset <= cut);
            if cut >= 4 {
                prop_assert_eq!(error.name, row.name);
                prop_assert!(row.fields.iter().any(|field| field.name == error.field));
            }
        }
    }

    #[test]
    fn bytes_behind_the_last_field_are_an_error((row, payload) in any_method(), more in 1..10usize) {
        let longer = [&payload[..], &vec![0; more]].concat();
        let error = Method::decode(&longer).unwrap_err();
        prop_assert_eq!((error.name, error.kind), (row.name, DecodeErrorKind::TrailingBytes(more)));
        prop_assert_eq!(error.offset, payload.len());
    }

    #[test]
    fn arbitrary_payloads_of_known_methods_never_panic(
        row in prop::sample::select(common::method_table::rows()),
        fields in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let payload = [&row.class_id.to_be_bytes()[..], &row.method_id.to_be_bytes(), &fields].concat();
        if let Ok(method) = Method::decode(&payload) {
            let mut again = Vec::new();
            method.encode(&mut again).unwrap();
            // Reserved fields are not kept, so it need not be as long.
            prop_assert_eq!(Method::decode(&again), Ok(method));
            let _ = format!("{method:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = Method::decode(&bytes).map_err(|error| error.to_string());
    }
}

#[test]
fn an_unknown_class_is_named() {
    for class_id in [0u16, 11, 65, 100, 0xFFFF] {
        let payload = [&class_id.to_be_bytes()[..], &[0, 10]].concat();
        assert_eq!(kind_of(&payload), DecodeErrorKind::UnknownClass(class_id));
    }
    let error = Method::decode(&[0, 65, 0, 10, 1, 2, 3]).unwrap_err();
    assert_eq!(error.to_string(), "method at byte 0: unknown class 65");
}

#[test]
fn an_unknown_method_of_every_class_is_named() {
    for class_id in [10u16, 20, 30, 40, 50, 60, 85, 90] {
        let payload = [&class_id.to_be_bytes()[..], &[0, 99]].concat();
        assert_eq!(kind_of(&payload), DecodeErrorKind::UnknownMethod(class_id, 99));
    }
    let error = Method::decode(&[0, 60, 0, 99]).unwrap_err();
    assert_eq!(error.to_string(), "method at byte 2: unknown method 99 of class 60");
}

#[test]
fn an_error_names_the_field_and_the_place() {
    // The routing key says 9 bytes and has 3.
    let payload = b"\0\x3C\0\x3C\x03tag\0\0\0\0\0\0\0\x01\0\0\x09key";
    let error = Method::decode(payload).unwrap_err();
    assert_eq!((error.class_id, error.method_id, error.field), (60, 60, "routing_key"));
    assert_eq!(error.to_string(), "basic.deliver.routing_key at byte 19: the payload ends inside the field");
}

#[test]
fn an_error_in_a_nested_table_names_the_place_in_the_payload() {
    let entries = b"\x01kF\0\0\0\x04\x01nq?";
    let mut payload = b"\0\x32\0\x0A\0\0\x01q\0\0\0\0".to_vec();
    payload.push(u8::try_from(entries.len()).unwrap());
    payload.extend(entries);
    let error = Method::decode(&payload).unwrap_err();
    assert_eq!((error.name, error.field, error.offset), ("queue.declare", "arguments", 13 + 9));
    assert_eq!(error.kind, DecodeErrorKind::UnknownTag(b'q'));
}

#[test]
fn tables_that_are_too_deep_are_refused_in_methods_too() {
    for depth in [33, 500, 100_000] {
        let entries = nested(b'F', depth);
        let size = u32::try_from(entries.len()).unwrap().to_be_bytes();
        let payload = [b"\0\x32\0\x0A\0\0\x01q\0", &size[..], &entries].concat();
        assert_eq!(kind_of(&payload), DecodeErrorKind::TooDeep);
    }
}

#[test]
fn bits_are_packed_from_the_lowest_up() {
    let declare = exchange::Declare {
        exchange: short("e"),
        kind: short("topic"),
        durable: true,
        nowait: true,
        ..Default::default()
    };
    let mut out = Vec::new();
    put_method(&mut out, 1, &declare).unwrap();
    assert_eq!(out, frame_bytes(1, 1, b"\0\x28\0\x0A\0\0\x01e\x05topic\x12\0\0\0\0"));
    let request = access::Request { realm: short("/data"), read: true, ..Default::default() };
    let mut out = Vec::new();
    put_method(&mut out, 1, &request).unwrap();
    assert_eq!(out, frame_bytes(1, 1, b"\0\x1E\0\x0A\x05/data\x10"));
}

#[test]
fn bits_that_mean_nothing_are_ignored() {
    let payload = b"\0\x3C\0\x50\0\0\0\0\0\0\0\x07\xFF";
    assert_eq!(Method::decode(payload), Ok(basic::Ack { delivery_tag: 7, multiple: true }.into()));
}

#[test]
fn reserved_fields_are_ignored_when_read_and_empty_when_written() {
    let open_ok = Method::decode(b"\0\x0A\0\x29\x03abc").unwrap();
    assert_eq!(open_ok, Method::from(connection::OpenOk));
    let mut out = Vec::new();
    open_ok.encode(&mut out).unwrap();
    assert_eq!(out, b"\0\x0A\0\x29\0");
}

#[test]
fn a_name_of_256_bytes_is_an_error_and_one_of_255_is_none() {
    let name = "n".repeat(256);
    assert_eq!(ShortStr::new(&name), Err(EncodeError::ShortStringTooLong { field: "short text", len: 256 }));
    assert!(ShortStr::new(&name[1..]).is_ok());
}

#[test]
fn a_start_as_a_broker_sends_it_is_read() {
    let properties = table! { "product" => "RabbitMQ", "capabilities" => table! { "basic.nack" => true } };
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties.as_ref(),
        mechanisms: LongStr(b"PLAIN AMQPLAIN"),
        locales: LongStr(b"en_US"),
    };
    let mut payload = Vec::new();
    Method::from(start).encode(&mut payload).unwrap();
    let Ok(Method::Connection(connection::Method::Start(read))) = Method::decode(&payload) else { unreachable!() };
    assert_eq!(read, start);
    let capabilities = read.server_properties.get("capabilities").unwrap().as_table().unwrap();
    assert_eq!(capabilities.get("basic.nack").unwrap().as_bool(), Some(true));
}

#[test]
fn a_method_is_printed_with_its_fields() {
    let declare = queue::DeclareOk { queue: short("q"), message_count: 1, consumer_count: 2 };
    assert_eq!(format!("{declare:?}"), r#"DeclareOk { queue: "q", message_count: 1, consumer_count: 2 }"#);
}

#[test]
fn arguments_that_are_raw_are_written_as_they_came() {
    let raw = b"\x01kL\0\0\0\0\0\0\0\x05";
    let arguments = TableRef::from_wire(raw).unwrap();
    let mut payload = Vec::new();
    Method::from(queue::Declare { arguments, ..Default::default() }).encode(&mut payload).unwrap();
    assert!(payload.ends_with(raw));
}

#[test]
fn reply_codes_are_read_as_such() {
    let payload = b"\0\x14\0\x28\x01\x94\x09NOT_FOUND\0\x32\0\x0A";
    let Ok(Method::Channel(amqp_proto::method::channel::Method::Close(close))) = Method::decode(payload) else {
        unreachable!()
    };
    assert_eq!(close.reply_code, ReplyCode::NOT_FOUND);
    assert_eq!((close.class_id, close.method_id), (50, 10));
}
