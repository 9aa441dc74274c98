//! What the codec's tests share: strategies for frames and tables, and a naive encoder of tables to compare with.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "this is for tests only")]

pub(crate) mod method_table;
pub(crate) mod payload;

use amqp_proto::wire::{Block, Deframer, FieldTable, FieldValue, FrameError};
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame by its parts.
pub(crate) type Parts = (u8, u16, Vec<u8>);

/// The bytes of a frame, written without the library.
pub(crate) fn frame_bytes(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xCE]].concat()
}

/// Feeds a deframer with chunks, and gives the frames up to the first error.
pub(crate) fn deframe<'a>(limit: u32, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Parts>, Option<FrameError>) {
    let mut deframer = Deframer::new(limit);
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match deframer.next_block(&mut buf) {
                Ok(Some(block)) => frames.extend(parts(&block)),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, deframer.check_end(&buf).err())
}

/// The frames of a block by their parts.
pub(crate) fn parts(block: &Block) -> Vec<Parts> {
    block.frames().map(|frame| (frame.kind as u8, frame.channel, frame.payload.to_vec())).collect()
}

/// Frames of all kinds.
pub(crate) fn frames() -> impl Strategy<Value = Vec<Parts>> {
    let kind = prop::sample::select(vec![1, 2, 3, 8]);
    vec((kind, any::<u16>(), vec(any::<u8>(), 0..40)), 0..8)
}

/// Text of up to 255 bytes.
pub(crate) fn short_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z-]{0,12}", 1 => "\\PC{0,60}", 1 => "[a-z]{255}"]
}

/// Field values of all types, nested.
pub(crate) fn field_value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f32>().prop_map(FieldValue::F32),
        any::<f64>().prop_map(FieldValue::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        vec(any::<u8>(), 0..20).prop_map(FieldValue::LongString),
        any::<u64>().prop_map(FieldValue::Timestamp),
        vec(any::<u8>(), 0..20).prop_map(FieldValue::Bytes),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(FieldValue::Array),
            vec((short_text(), inner), 0..5).prop_map(|entries| FieldValue::Table(table_of(entries))),
        ]
    })
}

/// Entries with keys that may repeat.
pub(crate) fn entries() -> impl Strategy<Value = Vec<(String, FieldValue)>> {
    vec((short_text(), field_value()), 0..8)
}

/// Entries with different keys.
pub(crate) fn unique_entries() -> impl Strategy<Value = Vec<(String, FieldValue)>> {
    entries().prop_map(|mut entries| {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|(key, _)| seen.insert(key.clone()));
        entries
    })
}

/// Field tables.
pub(crate) fn field_table() -> impl Strategy<Value = FieldTable> {
    entries().prop_map(table_of)
}

/// A table with these entries.
pub(crate) fn table_of(entries: Vec<(String, FieldValue)>) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.insert(key, value).unwrap();
    }
    table
}

/// A value as it goes over the wire, written without the library, from the table of types in the brokers' documents.
pub(crate) fn naive_value(value: &FieldValue) -> Vec<u8> {
    fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[tag][..], bytes].concat()
    }
    fn sized(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let size = u32::try_from(bytes.len()).unwrap();
        [&[tag][..], &size.to_be_bytes(), bytes].concat()
    }
    match value {
        FieldValue::Bool(value) => tagged(b't', &[u8::from(*value)]),
        FieldValue::I8(value) => tagged(b'b', &value.to_be_bytes()),
        FieldValue::U8(value) => tagged(b'B', &value.to_be_bytes()),
        FieldValue::I16(value) => tagged(b's', &value.to_be_bytes()),
        FieldValue::U16(value) => tagged(b'u', &value.to_be_bytes()),
        FieldValue::I32(value) => tagged(b'I', &value.to_be_bytes()),
        FieldValue::U32(value) => tagged(b'i', &value.to_be_bytes()),
        FieldValue::I64(value) => tagged(b'l', &value.to_be_bytes()),
        FieldValue::F32(value) => tagged(b'f', &value.to_be_bytes()),
        FieldValue::F64(value) => tagged(b'd', &value.to_be_bytes()),
        FieldValue::Decimal { scale, value } => tagged(b'D', &[&[*scale][..], &value.to_be_bytes()].concat()),
        FieldValue::LongString(bytes) => sized(b'S', bytes),
        FieldValue::Array(values) => sized(b'A', &values.iter().flat_map(naive_value).collect::<Vec<_>>()),
        FieldValue::Timestamp(seconds) => tagged(b'T', &seconds.to_be_bytes()),
        FieldValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.to_str().unwrap().to_owned(), value.to_owned()));
            sized(b'F', &naive_entries(&entries.collect::<Vec<_>>()))
        }
        FieldValue::Bytes(bytes) => sized(b'x', bytes),
        FieldValue::Void => tagged(b'V', &[]),
    }
}

/// A table's entries as they go over the wire, written without the library.
pub(crate) fn naive_entries(entries: &[(String, FieldValue)]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(key, value)| {
            let len = u8::try_from(key.len()).unwrap();
            [&[len][..], key.as_bytes(), &naive_value(value)].concat()
        })
        .collect()
}

/// One entry as it goes over the wire: a key, a tag, and the bytes behind it.
pub(crate) fn raw_entry(key: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(key.len()).unwrap();
    [&[len][..], key, &[tag], value].concat()
}

/// Containers, `F` or `A`, nested this deep with an outermost table; the entries of that table.
pub(crate) fn nested(tag: u8, depth: usize) -> Vec<u8> {
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    // In a table a value has a key before it, which is empty here; in an array it has not.
    let per_level = if tag == b'F' { 6 } else { 5 };
    let mut entries = if tag == b'F' { vec![] } else { vec![0] };
    for inside in (0..depth - 1).rev() {
        if tag == b'F' {
            entries.push(0);
        }
        entries.push(tag);
        entries.extend(size(inside * per_level));
    }
    entries
}
