//! The table of all types that `scripts/golden` sends, in our types.

use amqp_proto::wire::{FieldTable, FieldValue, TableRef};

/// Its entries.
fn all_types() -> Vec<(&'static str, FieldValue)> {
    let table = |entries: Vec<(&str, FieldValue)>| {
        let mut table = FieldTable::new();
        for (key, value) in entries {
            table.insert(key, value).unwrap();
        }
        FieldValue::Table(table)
    };
    let text = |text: &str| FieldValue::LongString(text.as_bytes().to_vec());
    let nested = table(vec![("deepest", text("here"))]);
    let nested = table(vec![("deeper", nested)]);
    let array = vec![
        text("one"),
        FieldValue::I32(2),
        FieldValue::Bool(true),
        FieldValue::Void,
        table(vec![("three", FieldValue::I32(3))]),
        FieldValue::Array(vec![FieldValue::I32(4), FieldValue::Array(vec![FieldValue::I32(5)])]),
    ];
    vec![
        ("S", text("long string")),
        ("S-empty", text("")),
        ("S-utf8", text("žluťoučký kůň")),
        ("x", FieldValue::Bytes(b"\x00\xff bytes".to_vec())),
        ("t", FieldValue::Bool(true)),
        ("t-false", FieldValue::Bool(false)),
        ("I", FieldValue::I32(i32::MIN)),
        ("l", FieldValue::I64(i64::MIN)),
        ("D", FieldValue::Decimal { scale: 2, value: 314 }),
        ("T", FieldValue::Timestamp(1_709_209_800)),
        ("F", table(vec![("nested", nested), ("empty", table(vec![]))])),
        ("A", FieldValue::Array(array)),
        ("A-empty", FieldValue::Array(vec![])),
        ("V", FieldValue::Void),
        ("b", FieldValue::I8(i8::MIN)),
        ("B", FieldValue::U8(u8::MAX)),
        ("s", FieldValue::I16(i16::MIN)),
        ("u", FieldValue::U16(u16::MAX)),
        ("i", FieldValue::U32(u32::MAX)),
        ("L", FieldValue::I64(i64::MAX)),
        ("f", FieldValue::F32(1.5)),
        ("d", FieldValue::F64(-0.1)),
        ("D-large", FieldValue::Decimal { scale: 255, value: u32::MAX }),
        ("T-large", FieldValue::Timestamp(u64::MAX)),
        ("S-not-utf8", FieldValue::LongString(vec![0xFF, 0xFE])),
        ("A-by-hand", FieldValue::Array(vec![FieldValue::U16(7), FieldValue::F64(2.5), FieldValue::F32(0.25)])),
    ]
}

/// Whether a table has them all.
pub(crate) fn assert_all_types(table: TableRef<'_>, scene: &str) {
    for (key, value) in all_types() {
        let received = table.get(key).unwrap_or_else(|| panic!("{scene}: no {key}"));
        assert_eq!(received.to_owned(), value, "{scene}: {key}");
    }
}
