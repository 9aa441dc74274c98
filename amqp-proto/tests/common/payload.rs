//! Payloads of methods and content headers, generated from the committed table and written without the library.

use proptest::collection::vec;
use proptest::prelude::*;

use super::method_table::{Field, Row, properties, rows};
use super::{entries, naive_entries};

/// A value of a field, as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    Bit(bool),
    Bytes(Vec<u8>),
}

/// A value of a field of this type.
fn wire_value(field: &Field) -> BoxedStrategy<Wire> {
    match field.wire_type {
        "bit" if field.reserved => Just(Wire::Bit(false)).boxed(),
        _ if field.reserved => Just(Wire::Bytes(vec![0; zero_len(field.wire_type)])).boxed(),
        "bit" => any::<bool>().prop_map(Wire::Bit).boxed(),
        "octet" => vec(any::<u8>(), 1).prop_map(Wire::Bytes).boxed(),
        "short" => vec(any::<u8>(), 2).prop_map(Wire::Bytes).boxed(),
        "long" => vec(any::<u8>(), 4).prop_map(Wire::Bytes).boxed(),
        "longlong" | "timestamp" => vec(any::<u8>(), 8).prop_map(Wire::Bytes).boxed(),
        "shortstr" => prop_oneof![9 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 255)]
            .prop_map(|bytes| Wire::Bytes([&[u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()))
            .boxed(),
        "longstr" => vec(any::<u8>(), 0..300).prop_map(|bytes| Wire::Bytes(sized(&bytes))).boxed(),
        "table" => entries().prop_map(|entries| Wire::Bytes(sized(&naive_entries(&entries)))).boxed(),
        other => unreachable!("{other}"),
    }
}

/// Bytes of a reserved field.
fn zero_len(wire_type: &str) -> usize {
    match wire_type {
        "octet" | "shortstr" => 1,
        "short" => 2,
        "longlong" => 8,
        _ => 4,
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Fields one after the other, consecutive bits in octets from the lowest bit up.
pub(crate) fn pack(fields: &[Wire]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bits = 0;
    for field in fields {
        match field {
            Wire::Bit(bit) => {
                if bits == 0 {
                    out.push(0);
                }
                *out.last_mut().unwrap() |= u8::from(*bit) << bits;
                bits = (bits + 1) % 8;
            }
            Wire::Bytes(bytes) => {
                out.extend(bytes);
                bits = 0;
            }
        }
    }
    out
}

/// The payload of a method frame.
pub(crate) fn method_payload(row: &Row) -> BoxedStrategy<Vec<u8>> {
    let ids = [row.class_id.to_be_bytes(), row.method_id.to_be_bytes()].concat();
    let fields: Vec<_> = row.fields.iter().map(wire_value).collect();
    fields.prop_map(move |fields| [&ids[..], &pack(&fields)].concat()).boxed()
}

/// The payload of a method frame of any method, and the method's row.
pub(crate) fn any_method() -> impl Strategy<Value = (Row, Vec<u8>)> {
    prop::sample::select(rows()).prop_flat_map(|row| (Just(row.clone()), method_payload(&row)))
}

/// Property flags and properties: what follows the fixed part of a content header.
pub(crate) fn raw_properties() -> impl Strategy<Value = Vec<u8>> {
    let each: Vec<_> = properties()
        .into_iter()
        .map(|(field, bit)| prop::option::of(wire_value(&field)).prop_map(move |value| (bit, value)))
        .collect();
    each.prop_map(|each| {
        let flags = each.iter().filter(|(_, value)| value.is_some()).fold(0u16, |flags, (bit, _)| flags | 1 << bit);
        let values: Vec<_> = each.into_iter().filter_map(|(_, value)| value).collect();
        [&flags.to_be_bytes()[..], &pack(&values)].concat()
    })
}
