//! Content headers and properties.

#![expect(clippy::unwrap_used, reason = "this is a test")]

mod common;

use amqp_proto::method::{ContentHeader, Properties, PropertiesRef, RawProperties, put_content_header};
use amqp_proto::wire::{DecodeErrorKind, EncodeError, FieldTable, ShortStr, TableRef};
use amqp_proto::{method::basic, table};
use common::payload::raw_properties;
use common::{field_value, frame_bytes, nested, raw_entry, short_text};
use proptest::prelude::*;

fn kind_of(raw: &[u8]) -> DecodeErrorKind {
    RawProperties::new(raw).decode().unwrap_err().kind
}

fn header_payload(body_size: u64, raw: &[u8]) -> Vec<u8> {
    [b"\0\x3C\0\0", &body_size.to_be_bytes()[..], raw].concat()
}

/// One setter with what it sets.
#[derive(Debug, Clone)]
enum Set {
    Text(usize, String),
    DeliveryMode(u8),
    Priority(u8),
    Timestamp(u64),
    Header(String, amqp_proto::wire::FieldValue),
}

type StringSetter =
    (fn(&mut Properties, &str) -> Result<(), EncodeError>, for<'a> fn(&PropertiesRef<'a>) -> Option<ShortStr<'a>>);

const STRINGS: [StringSetter; 10] = [
    (|properties, text| properties.set_content_type(text), |view| view.content_type),
    (|properties, text| properties.set_content_encoding(text), |view| view.content_encoding),
    (|properties, text| properties.set_correlation_id(text), |view| view.correlation_id),
    (|properties, text| properties.set_reply_to(text), |view| view.reply_to),
    (|properties, text| properties.set_expiration(text), |view| view.expiration),
    (|properties, text| properties.set_message_id(text), |view| view.message_id),
    (|properties, text| properties.set_kind(text), |view| view.kind),
    (|properties, text| properties.set_user_id(text), |view| view.user_id),
    (|properties, text| properties.set_app_id(text), |view| view.app_id),
    (|properties, text| properties.set_cluster_id(text), |view| view.cluster_id),
];

fn set() -> impl Strategy<Value = Set> {
    prop_oneof![
        6 => (0..STRINGS.len(), short_text()).prop_map(|(property, text)| Set::Text(property, text)),
        1 => any::<u8>().prop_map(Set::DeliveryMode),
        1 => any::<u8>().prop_map(Set::Priority),
        1 => any::<u64>().prop_map(Set::Timestamp),
        3 => ("[ab]", field_value()).prop_map(|(key, value)| Set::Header(key, value)),
    ]
}

proptest! {
    #[test]
    fn properties_are_decoded_and_written_alike(raw in raw_properties(), body_size in any::<u64>()) {
        let payload = header_payload(body_size, &raw);
        let header = ContentHeader::decode(&payload).unwrap();
        prop_assert_eq!((header.class_id, header.body_size, header.properties.as_bytes()), (60, body_size, &raw[..]));
        let view = header.properties.decode().unwrap();
        let own = view.to_owned();
        prop_assert_eq!(own.view(), view);
        prop_assert_eq!(own.wire_size(), raw.len());
        let mut out = Vec::new();
        put_content_header(&mut out, 5, basic::CLASS_ID, body_size, &own).unwrap();
        prop_assert_eq!(out, frame_bytes(2, 5, &payload));
    }

    #[test]
    fn every_cut_off_content_header_is_an_error_inside_what_is_there(raw in raw_properties()) {
        let payload = header_payload(5, &raw);
        for cut in 0..payload.len() {
            let header = ContentHeader::decode(&payload[..cut]);
            let error = header.and_then(|header| header.properties.decode()).unwrap_err();
            prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
            prop_assert!(error.offset <= cut);
            prop_assert_eq!(error.name, "content header");
        }
    }

    #[test]
    fn padding_behind_the_properties_is_an_error(raw in raw_properties(), padding in 1..9usize) {
        let longer = [&raw[..], &vec![0; padding]].concat();
        let error = RawProperties::new(&longer).decode().unwrap_err();
        prop_assert_eq!((error.kind, error.offset), (DecodeErrorKind::TrailingBytes(padding), 12 + raw.len()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(view) = RawProperties::new(&bytes).decode() {
            let own = view.to_owned();
            prop_assert_eq!(own.view(), view);
            let _ = format!("{view:?}");
        }
    }

    #[test]
    fn setters_in_any_order_set_what_the_view_then_shows(sets in prop::collection::vec(set(), 0..20)) {
        let mut properties = Properties::new();
        let mut texts = [const { None }; STRINGS.len()];
        let (mut delivery_mode, mut priority, mut timestamp) = (None, None, None);
        let mut headers: Option<FieldTable> = None;
        for set in sets {
            match set {
                Set::Text(property, text) => {
                    STRINGS[property].0(&mut properties, &text).unwrap();
                    texts[property] = Some(text);
                }
                Set::DeliveryMode(mode) => {
                    properties.set_delivery_mode(mode);
                    delivery_mode = Some(mode);
                }
                Set::Priority(level) => {
                    properties.set_priority(level);
                    priority = Some(level);
                }
                Set::Timestamp(seconds) => {
                    properties.set_timestamp(seconds);
                    timestamp = Some(seconds);
                }
                Set::Header(key, value) => {
                    properties.insert_header(&key, value.clone()).unwrap();
                    headers.get_or_insert_default().insert(key, value).unwrap();
                }
            }
        }
        let view = properties.view();
        for ((_, get), text) in STRINGS.iter().zip(&texts) {
            prop_assert_eq!(get(&view).map(|text| text.to_str().unwrap()), text.as_deref());
        }
        prop_assert_eq!((view.delivery_mode, view.priority, view.timestamp), (delivery_mode, priority, timestamp));
        prop_assert_eq!(view.headers.map(|table| table.to_owned()), headers);
    }
}

#[test]
fn no_properties_are_two_bytes() {
    assert_eq!(Properties::new().wire_size(), 2);
    assert!(Properties::new().is_empty());
    assert_eq!(RawProperties::new(&[0, 0]).decode(), Ok(PropertiesRef::default()));
}

#[test]
fn the_words_of_an_error_name_the_property_and_the_place() {
    let payload = header_payload(5, b"\x80\0\x09text");
    let error = ContentHeader::decode(&payload).unwrap().properties.decode().unwrap_err();
    assert_eq!(error.to_string(), "content header.content_type at byte 15: the payload ends inside the field");
}

#[test]
fn a_body_size_with_its_high_bit_set_is_a_number_as_any_other() {
    let payload = header_payload(u64::MAX, &[0, 0]);
    assert_eq!(ContentHeader::decode(&payload).unwrap().body_size, u64::MAX);
}

#[test]
fn a_header_of_another_class_is_decoded_for_the_caller_to_refuse() {
    let payload = b"\0\x0A\0\0\0\0\0\0\0\0\0\x05\0\0";
    assert_eq!(ContentHeader::decode(payload).unwrap().class_id, 10);
}

#[test]
fn further_words_of_flags_are_skipped_if_they_are_zero() {
    let view = RawProperties::new(b"\x10\x01\0\x01\0\0\x02").decode().unwrap();
    assert_eq!(view.delivery_mode, Some(2));
    assert_eq!(view.to_owned().wire_size(), 3);
}

#[test]
fn properties_that_0_9_1_does_not_have_are_an_error() {
    assert_eq!(kind_of(b"\x10\x02\x02"), DecodeErrorKind::UnknownPropertyFlags(2));
    assert_eq!(kind_of(b"\x10\x01\x80\0\x02"), DecodeErrorKind::UnknownPropertyFlags(0x8000));
    assert_eq!(kind_of(b"\x10\x01\0\x01"), DecodeErrorKind::Truncated);
    assert_eq!(kind_of(b"\x10"), DecodeErrorKind::Truncated);
    assert_eq!(kind_of(b""), DecodeErrorKind::Truncated);
}

#[test]
fn headers_that_are_too_deep_are_refused() {
    for depth in [33, 500, 100_000] {
        let entries = nested(b'F', depth);
        let size = u32::try_from(entries.len()).unwrap().to_be_bytes();
        assert_eq!(kind_of(&[b"\x20\0", &size[..], &entries].concat()), DecodeErrorKind::TooDeep);
    }
}

#[test]
fn the_property_named_type_is_kind() {
    assert_eq!(RawProperties::new(b"\0\x20\x01t").decode().unwrap().kind.unwrap(), "t");
}

#[test]
fn a_few_short_properties_fit_into_what_is_not_allocated() {
    let mut properties = Properties::new();
    properties.set_delivery_mode(2);
    properties.set_content_type("application/json").unwrap();
    assert!(properties.wire_size() <= 2 + 32);
}

#[test]
fn a_text_of_256_bytes_is_an_error_and_leaves_the_properties_as_they_were() {
    let mut properties = Properties::new();
    properties.set_message_id("id").unwrap();
    let before = properties.clone();
    let error = properties.set_message_id("x".repeat(256)).unwrap_err();
    assert_eq!(error, EncodeError::ShortStringTooLong { field: "message id", len: 256 });
    let error = properties.insert_header("k".repeat(256), 1).unwrap_err();
    assert_eq!(error, EncodeError::ShortStringTooLong { field: "header's key", len: 256 });
    assert_eq!(properties, before);
}

#[test]
fn headers_that_cannot_be_encoded_are_refused() {
    let array = |inner| amqp_proto::wire::FieldValue::Array(vec![inner]);
    let spoiled = table! { "k" => (0..40).fold(amqp_proto::wire::FieldValue::Void, |inner, _| array(inner)) };
    let mut properties = Properties::new();
    assert_eq!(properties.set_headers(&spoiled), Err(EncodeError::TooDeep));
    assert_eq!(properties.set_headers(spoiled), Err(EncodeError::TooDeep));
    assert!(properties.is_empty());
}

#[test]
fn a_returned_message_is_known_again_though_the_broker_has_written_its_properties_anew() {
    let mut sent = Properties::new();
    sent.set_message_id("1").unwrap();
    sent.set_headers(table! { "z" => 1i64, "a" => "x", "BCC" => "hidden" }).unwrap();
    // Sorted, without BCC, with a duplicate gone and a capital L.
    let headers = [raw_entry(b"a", b'S', b"\0\0\0\x01x"), raw_entry(b"z", b'L', &1i64.to_be_bytes())].concat();
    let returned = PropertiesRef { headers: Some(TableRef::from_wire(&headers).unwrap()), ..sent.view() };
    assert!(returned.same_content(&sent.view(), &["BCC"]));
    assert!(!returned.same_content(&sent.view(), &[]));
    assert!(!returned.same_content(&PropertiesRef { message_id: None, ..sent.view() }, &["BCC"]));
    let other = PropertiesRef { headers: None, ..sent.view() };
    assert!(!returned.same_content(&other, &["BCC"]));
}

#[test]
fn headers_of_which_nothing_is_left_are_no_headers() {
    let mut sent = Properties::new();
    sent.set_headers(table! { "BCC" => "hidden" }).unwrap();
    assert!(sent.view().same_content(&PropertiesRef::default(), &["BCC"]));
}

#[test]
fn properties_are_printed_by_what_is_there() {
    let mut properties = Properties::new();
    properties.set_delivery_mode(2);
    properties.insert_header("k", 1).unwrap();
    assert_eq!(format!("{properties:?}"), r#"Properties { headers: {"k": 1i32}, delivery_mode: 2 }"#);
}
