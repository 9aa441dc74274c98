//! Field tables: built, written, read, compared; and bytes that are none.

#![expect(clippy::unwrap_used, reason = "this is a test")]

mod common;

use amqp_proto::method::Properties;
use amqp_proto::table;
use amqp_proto::wire::{
    DecodeErrorKind, EncodeError, FieldTable, FieldValue, MAX_TABLE_DEPTH, ShortStr, TableRef, ValueRef,
};
use common::{entries, field_table, field_value, naive_entries, nested, raw_entry, table_of, unique_entries};
use proptest::prelude::*;

fn kind_of(entries: &[u8]) -> DecodeErrorKind {
    TableRef::from_wire(entries).unwrap_err().kind
}

proptest! {
    #[test]
    fn a_table_is_written_as_a_naive_encoder_writes_it(entries in unique_entries()) {
        let table = table_of(entries.clone());
        prop_assert_eq!(table.as_ref().as_wire(), &naive_entries(&entries)[..]);
    }

    #[test]
    fn a_written_table_is_read_with_the_same_entries_in_order(entries in unique_entries()) {
        let table = table_of(entries.clone());
        let read = TableRef::from_wire(table.as_ref().as_wire()).unwrap();
        let own = |(key, value): (ShortStr<'_>, ValueRef<'_>)| (key.to_str().unwrap().to_owned(), value.to_owned());
        let got: Vec<_> = read.iter().map(own).collect();
        prop_assert_eq!(&got, &entries);
        prop_assert_eq!(read.len(), entries.len());
        prop_assert_eq!(read.to_owned(), table);
    }

    #[test]
    fn every_cut_off_table_is_an_error_or_ends_between_entries(entries in unique_entries()) {
        let wire = naive_entries(&entries);
        let ends: Vec<usize> = (0..=entries.len()).map(|count| naive_entries(&entries[..count]).len()).collect();
        for cut in 0..wire.len() {
            match TableRef::from_wire(&wire[..cut]) {
                Ok(table) => prop_assert_eq!(Some(table.len()), ends.iter().position(|&end| end == cut)),
                Err(error) => {
                    prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
                    prop_assert!(error.offset <= cut);
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_valid_is_read_to_its_end(
        bytes in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        if let Ok(table) = TableRef::from_wire(&bytes) {
            let own = table.to_owned();
            prop_assert_eq!(own.as_ref().as_wire().len(), bytes.len());
            prop_assert_eq!(own.as_ref(), table);
        }
    }

    #[test]
    fn a_table_with_a_changed_byte_never_panics(
        table in field_table(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut wire = table.as_ref().as_wire().to_vec();
        prop_assume!(!wire.is_empty());
        let at = at.index(wire.len());
        wire[at] = byte;
        if let Ok(table) = TableRef::from_wire(&wire) {
            let again = table.to_owned();
            prop_assert_eq!(again.as_ref(), table);
            let _ = format!("{table:?}");
        }
    }

    #[test]
    fn inserting_again_replaces_in_place(entries in entries(), key in common::short_text(), value in field_value()) {
        let mut table = table_of(entries);
        let keys = |table: &FieldTable| table.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        let mut expected = keys(&table);
        if !expected.contains(&key) {
            expected.push(key.clone());
        }
        table.insert(&key, value.clone()).unwrap();
        prop_assert_eq!(keys(&table), expected);
        prop_assert_eq!(table.get(&key).unwrap().to_owned(), value);
        prop_assert!(table.remove(&key));
        prop_assert!(!table.contains_key(&key));
        prop_assert!(!table.remove(&key));
    }

    #[test]
    fn equality_does_not_look_at_the_order(mut entries in unique_entries()) {
        let table = table_of(entries.clone());
        entries.reverse();
        prop_assert_eq!(&table_of(entries.clone()), &table);
        if entries.pop().is_some() {
            prop_assert_ne!(table_of(entries), table);
        }
    }
}

#[test]
fn tables_nested_as_deep_as_allowed_are_read_and_one_level_more_is_refused() {
    for tag in [b'F', b'A'] {
        let wire = nested(tag, 32);
        assert_eq!(TableRef::from_wire(&wire).unwrap().to_owned().as_ref().as_wire(), wire);
        assert_eq!(kind_of(&nested(tag, 33)), DecodeErrorKind::TooDeep);
    }
}

#[test]
fn p38_f3_nesting_of_500_and_of_100_000_is_refused_and_does_not_overflow_the_stack() {
    for tag in [b'F', b'A'] {
        assert_eq!(kind_of(&nested(tag, 500)), DecodeErrorKind::TooDeep);
        assert_eq!(kind_of(&nested(tag, 100_000)), DecodeErrorKind::TooDeep);
    }
}

#[test]
fn lengths_of_two_and_four_gibibytes_in_every_type_with_a_length_are_truncated() {
    for tag in *b"SxAF" {
        for len in [u32::MAX, 1 << 31, (1 << 31) - 1] {
            let wire = raw_entry(b"k", tag, &[&len.to_be_bytes()[..], b"content"].concat());
            let error = TableRef::from_wire(&wire).unwrap_err();
            assert_eq!((error.kind, error.offset), (DecodeErrorKind::Truncated, 7), "{}", char::from(tag));
        }
    }
}

#[test]
fn a_declared_length_that_is_longer_than_the_content_is_truncated() {
    for (tag, content) in [(b'S', &b"abc"[..]), (b'x', b"abc"), (b'A', b"t\x01V"), (b'F', b"\x01kV")] {
        let wire = raw_entry(b"k", tag, &[&4u32.to_be_bytes()[..], content].concat());
        assert_eq!(kind_of(&wire), DecodeErrorKind::Truncated, "{}", char::from(tag));
    }
}

#[test]
fn a_declared_length_that_is_shorter_than_the_content_is_an_error() {
    // What is cut off of the value is read as the next key, and so on.
    for (tag, content) in [(b'S', &b"abc"[..]), (b'x', b"abc"), (b'A', b"V\x01V"), (b'F', b"\x01kV")] {
        let wire = raw_entry(b"k", tag, &[&2u32.to_be_bytes()[..], content].concat());
        assert!(TableRef::from_wire(&wire).is_err(), "{}", char::from(tag));
    }
}

#[test]
fn a_value_may_not_reach_out_of_the_array_or_table_around_it() {
    let in_array = raw_entry(b"k", b'A', b"\0\0\0\x03I\0\0\0\0");
    assert_eq!(kind_of(&in_array), DecodeErrorKind::Truncated);
    let in_table = raw_entry(b"k", b'F', b"\0\0\0\x05\x01kI\0\0\0\0");
    assert_eq!(kind_of(&in_table), DecodeErrorKind::Truncated);
}

#[test]
fn p40_an_unknown_tag_is_named() {
    let error = TableRef::from_wire(&raw_entry(b"key", b'?', b"")).unwrap_err();
    assert_eq!((error.kind, error.offset), (DecodeErrorKind::UnknownTag(b'?'), 4));
    assert_eq!(error.to_string(), "table at byte 4: unknown field value type 0x3f");
}

#[test]
fn there_are_eighteen_tags() {
    let zeros = [0; 8];
    let known: String = (0..=255u8)
        .filter(|&tag| kind_of_or(&raw_entry(b"k", tag, &zeros)) != Some(DecodeErrorKind::UnknownTag(tag)))
        .map(char::from)
        .collect();
    assert_eq!(known, "ABDFILSTVbdfilstux");
}

fn kind_of_or(entries: &[u8]) -> Option<DecodeErrorKind> {
    TableRef::from_wire(entries).err().map(|error| error.kind)
}

#[test]
fn a_key_that_is_no_utf_8_is_refused() {
    let wire = [raw_entry(b"good", b'V', b""), raw_entry(b"b\xFFd", b'V', b"")].concat();
    let error = TableRef::from_wire(&wire).unwrap_err();
    assert_eq!((error.kind, error.offset), (DecodeErrorKind::KeyNotUtf8, 6));
}

#[test]
fn of_duplicate_keys_the_first_counts() {
    let wire = [raw_entry(b"k", b'b', &[1]), raw_entry(b"other", b'V', b""), raw_entry(b"k", b'b', &[2])].concat();
    let table = TableRef::from_wire(&wire).unwrap();
    assert_eq!(table.get("k"), Some(ValueRef::I8(1)));
    assert_eq!(table.len(), 3);
    assert_eq!(table.to_owned(), table! { "other" => FieldValue::Void, "k" => 1i8 });
    assert_ne!(table.to_owned(), table! { "other" => FieldValue::Void, "k" => 2i8 });
}

#[test]
fn a_capital_l_is_a_64_bit_integer_and_becomes_a_small_one_when_owned() {
    let value = (-2i64).to_be_bytes();
    let inner = raw_entry(b"in", b'L', &value);
    let size = u32::try_from(inner.len()).unwrap().to_be_bytes();
    let array = [&9u32.to_be_bytes()[..], b"L", &value].concat();
    let wire =
        [raw_entry(b"t", b'F', &[&size[..], &inner].concat()), raw_entry(b"a", b'A', &array), inner.clone()].concat();
    let table = TableRef::from_wire(&wire).unwrap();
    assert_eq!(table.get("in").unwrap().as_i64(), Some(-2));
    let own = table.to_owned();
    assert_eq!(own.as_ref(), table);
    assert_eq!(own.as_ref().as_wire(), wire.iter().map(|&b| if b == b'L' { b'l' } else { b }).collect::<Vec<_>>());
    let nested = table.get("t").unwrap().as_table().unwrap().to_owned();
    assert_eq!(nested.as_ref().as_wire(), raw_entry(b"in", b'l', &value));
}

#[test]
fn a_true_that_is_not_one_is_true_and_becomes_one_when_owned() {
    let wire = raw_entry(b"k", b't', &[0xFF]);
    let table = TableRef::from_wire(&wire).unwrap();
    assert_eq!(table.get("k"), Some(ValueRef::Bool(true)));
    assert_eq!(table.to_owned().as_ref().as_wire(), raw_entry(b"k", b't', &[1]));
}

#[test]
fn a_small_s_is_an_integer_and_no_short_string() {
    let wire = raw_entry(b"k", b's', &[0xFF, 0xFE]);
    assert_eq!(TableRef::from_wire(&wire).unwrap().get("k"), Some(ValueRef::I16(-2)));
}

#[test]
fn a_long_string_may_be_no_utf_8() {
    let wire = raw_entry(b"k", b'S', b"\0\0\0\x02\xFF\xFE");
    let value = TableRef::from_wire(&wire).unwrap().get("k").unwrap();
    assert_eq!((value.as_bytes(), value.as_str()), (Some(&b"\xFF\xFE"[..]), None));
}

#[test]
fn a_received_not_a_number_equals_itself() {
    let wire = raw_entry(b"k", b'd', &f64::NAN.to_be_bytes());
    assert_eq!(TableRef::from_wire(&wire).unwrap(), TableRef::from_wire(&wire).unwrap());
    assert_ne!(table! { "k" => 0.0f64 }, table! { "k" => -0.0f64 });
}

#[test]
fn p41_a_number_that_is_not_finite_costs_the_connection() {
    let not_finite = |key: &str| EncodeError::NotFinite { key: key.to_owned() };
    let mut table = table! { "k" => 1.5 };
    let inner = |value: FieldValue| FieldValue::Array(vec![FieldValue::Void, value]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(table.insert("k", value), Err(not_finite("k")));
        #[expect(clippy::cast_possible_truncation, reason = "none of these numbers has a value")]
        let short = value as f32;
        assert_eq!(table.insert("load", short), Err(not_finite("load")));
        assert_eq!(table.insert("loads", inner(value.into())), Err(not_finite("loads")));
        let spoiled = table! { "fine" => 1, "load" => value };
        assert_eq!(table.insert("nested", spoiled.clone()), Err(not_finite("load")));
        assert_eq!(Properties::new().set_headers(spoiled), Err(not_finite("load")));
        assert_eq!(Properties::new().insert_header("load", value), Err(not_finite("load")));
        let error = Properties::new().set_headers(table! { "loads" => inner(value.into()) }).unwrap_err();
        assert_eq!(error, not_finite("loads"));
        assert!(error.to_string().contains("\"loads\""), "{error}");
    }
    assert_eq!(table, table! { "k" => 1.5 });
}

#[test]
fn a_key_of_256_bytes_is_refused_and_leaves_the_table_as_it_was() {
    let mut table = table! { "k" => 1 };
    let error = table.insert("k".repeat(256), 2).unwrap_err();
    assert_eq!(error, EncodeError::ShortStringTooLong { field: "key of a field table", len: 256 });
    assert_eq!(table, table! { "k" => 1 });
    assert!(table.insert("k".repeat(255), 2).is_ok());
}

/// A value with this many containers, made by `wrap` around the one inside.
fn deep(levels: u8, wrap: impl Fn(FieldValue) -> Result<FieldValue, EncodeError>) -> Result<FieldValue, EncodeError> {
    (0..levels).try_fold(FieldValue::Void, |inner, _| wrap(inner))
}

#[test]
fn building_a_table_that_is_too_deep_is_refused_and_leaves_it_as_it_was() {
    let in_table = |inner| FieldTable::new().with("in", inner).map(FieldValue::Table);
    let in_array = |inner| Ok(FieldValue::Array(vec![inner]));
    // The table that gets the value is one level itself.
    for value in [deep(MAX_TABLE_DEPTH - 1, in_table), deep(MAX_TABLE_DEPTH - 1, in_array)] {
        let mut table = FieldTable::new();
        table.insert("k", value.unwrap()).unwrap();
        assert!(TableRef::from_wire(table.as_ref().as_wire()).is_ok());
    }
    for value in [deep(MAX_TABLE_DEPTH, in_table), deep(MAX_TABLE_DEPTH, in_array), deep(200, in_array)] {
        let mut table = table! { "before" => true };
        assert_eq!(table.insert("k", value.unwrap()), Err(EncodeError::TooDeep));
        assert_eq!(table, table! { "before" => true });
    }
    assert_eq!(deep(MAX_TABLE_DEPTH + 1, in_table), Err(EncodeError::TooDeep));
}

#[test]
fn the_macro_makes_a_table_that_is_too_deep_and_its_encoding_fails() {
    let array = |inner| Ok(FieldValue::Array(vec![inner]));
    let spoiled = table! { "k" => deep(MAX_TABLE_DEPTH, array).unwrap(), "after" => 1 };
    assert_eq!(spoiled.get("after"), Some(ValueRef::I32(1)));
    let mut outer = FieldTable::new();
    assert_eq!(outer.insert("in", spoiled.clone()), Err(EncodeError::TooDeep));
    let declare = amqp_proto::method::queue::Declare { arguments: spoiled.as_ref(), ..Default::default() };
    let mut out = b"before".to_vec();
    assert_eq!(amqp_proto::method::put_method(&mut out, 1, &declare), Err(EncodeError::TooDeep));
    assert_eq!(out, b"before");
}

#[test]
fn a_value_says_what_it_is() {
    let table = table! {
        "text" => "value", "bytes" => b"\xFF", "small" => 5u8, "large" => -5i64, "float" => 1.5f32, "double" => 2.5,
        "yes" => true, "when" => FieldValue::Timestamp(7), "list" => vec![FieldValue::I32(1), FieldValue::Void],
        "in" => table! { "k" => "v" }, "string" => String::from("s"),
        "dec" => FieldValue::Decimal { scale: 2, value: 314 },
    };
    let get = |key| table.get(key).unwrap();
    assert_eq!(get("text").as_str(), Some("value"));
    assert_eq!(get("string").as_str(), Some("s"));
    assert_eq!(get("text").as_bytes(), Some(&b"value"[..]));
    assert_eq!(get("bytes").as_bytes(), Some(&b"\xFF"[..]));
    assert_eq!((get("small").as_i64(), get("small").as_u64()), (Some(5), Some(5)));
    assert_eq!((get("large").as_i64(), get("large").as_u64()), (Some(-5), None));
    assert_eq!((get("float").as_f64(), get("double").as_f64()), (Some(1.5), Some(2.5)));
    assert_eq!(get("yes").as_bool(), Some(true));
    assert_eq!(get("when").as_timestamp(), Some(7));
    assert_eq!(get("list").as_array().unwrap().iter().collect::<Vec<_>>(), [ValueRef::I32(1), ValueRef::Void]);
    assert_eq!(get("list").as_array().unwrap().len(), 2);
    assert_eq!(get("in").as_table().unwrap().get("k").unwrap().as_str(), Some("v"));
    assert_eq!(get("text").as_i64(), None);
    assert_eq!(get("yes").as_str(), None);
    assert_eq!(
        format!("{table:?}"),
        concat!(
            r#"{"text": "value", "bytes": b"\xff", "small": 5u8, "large": -5i64, "float": 1.5f32, "double": 2.5f64, "#,
            r#""yes": true, "when": Timestamp(7), "list": [1i32, Void], "in": {"k": "v"}, "string": "s", "#,
            r#""dec": Decimal(314e-2)}"#
        )
    );
}

#[test]
fn entries_can_be_left_out_of_a_comparison() {
    let sent = table! { "a" => 1, "BCC" => "x" };
    let returned = table! { "a" => 1 };
    assert!(sent.as_ref().eq_ignoring(&returned.as_ref(), &["BCC"]));
    assert!(!sent.as_ref().eq_ignoring(&returned.as_ref(), &["CC"]));
}
