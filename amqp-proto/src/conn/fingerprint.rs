//! What a message looks like: enough to recognise it when it is returned.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;

use crate::method::PropertiesRef;
use crate::wire::{TableRef, ValueRef};

/// Exchange and routing key, body, and properties, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) names: u64,
    pub(super) body: u64,
    properties: u64,
}

impl Fingerprint {
    /// Of a message as it goes out or comes back. `flags` and `fields` are the properties in wire form; they are only
    /// decoded if there are headers among them.
    ///
    /// Canonical: RabbitMQ 4 sends headers back sorted and without duplicates, and every version strips `BCC`.
    #[inline]
    pub(super) fn new<'a>(
        hasher: &FixedState,
        exchange: &[u8],
        routing_key: &[u8],
        body: impl Iterator<Item = &'a [u8]>,
        (flags, fields): (u16, &[u8]),
        decoded: impl FnOnce() -> PropertiesRef<'a>,
    ) -> Self {
        let mut names = hasher.build_hasher();
        names.write(exchange);
        names.write(routing_key);
        names.write_usize(exchange.len());
        let properties = if flags & HEADERS == 0 {
            let mut properties = hasher.build_hasher();
            properties.write(fields);
            properties.write_u16(flags);
            properties.finish()
        } else {
            hash_properties(hasher, &decoded())
        };
        Self { names: names.finish(), body: hash_body(hasher, body), properties }
    }
}

/// The same for any division into chunks.
#[inline]
fn hash_body<'a>(hasher: &FixedState, mut body: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hash = hasher.build_hasher();
    let first = body.next().unwrap_or_default();
    match body.next() {
        None if first.len() < BLOCK => {
            hash.write(first);
            hash.write_usize(first.len());
            hash.finish()
        }
        second => hash_chunks(hash, [first].into_iter().chain(second).chain(body)),
    }
}

/// The flag of the property `headers` (0-9-1 §4.2.6.1, in the order of class basic).
const HEADERS: u16 = 1 << 13;

/// Chunks are hashed in blocks of this many bytes.
const BLOCK: usize = 64;

fn hash_chunks<'a>(mut hash: impl Hasher, chunks: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut carry, mut carried) = ([0u8; BLOCK], 0usize);
    let mut total = 0;
    for mut chunk in chunks {
        total += chunk.len();
        if carried > 0 {
            let (head, rest) = chunk.split_at(chunk.len().min(BLOCK - carried));
            carry[carried..carried + head.len()].copy_from_slice(head);
            carried += head.len();
            chunk = rest;
            if carried < BLOCK {
                continue;
            }
            hash.write(&carry);
        }
        let mut blocks = chunk.chunks_exact(BLOCK);
        blocks.by_ref().for_each(|block| hash.write(block));
        let rest = blocks.remainder();
        carry[..rest.len()].copy_from_slice(rest);
        carried = rest.len();
    }
    hash.write(&carry[..carried]);
    hash.write_usize(total);
    hash.finish()
}

/// All but the headers as it stands on the wire; the headers are added up, so that their order does not count, and none
/// at all are like no headers.
#[cold]
fn hash_properties(hasher: &FixedState, decoded: &PropertiesRef<'_>) -> u64 {
    let mut hash = hasher.build_hasher();
    let rest = PropertiesRef { headers: None, ..*decoded }.to_owned();
    let (flags, fields) = rest.wire();
    hash.write(fields);
    hash.write_u16(flags);
    let headers = decoded.headers.map_or(0, |headers| hash_table(hasher, headers));
    if headers != 0 {
        hash.write_u64(headers);
    }
    hash.finish()
}

fn hash_table(hasher: &FixedState, table: TableRef<'_>) -> u64 {
    table.iter().filter(|(key, _)| key.as_bytes() != b"BCC").fold(0, |sum: u64, (key, value)| {
        let mut hash = hasher.build_hasher();
        key.hash(&mut hash);
        hash_value(hasher, value, &mut hash);
        sum.wrapping_add(hash.finish())
    })
}

/// Numbers of any width are alike.
fn hash_value(hasher: &FixedState, value: ValueRef<'_>, hash: &mut impl Hasher) {
    match value {
        ValueRef::Table(table) => hash_table(hasher, table).hash(hash),
        ValueRef::Array(array) => array.iter().for_each(|value| hash_value(hasher, value, hash)),
        ValueRef::F32(value) => value.to_bits().hash(hash),
        ValueRef::F64(value) => value.to_bits().hash(hash),
        ValueRef::Bool(value) => value.hash(hash),
        ValueRef::Decimal { scale, value } => (scale, value).hash(hash),
        value => (value.as_i64(), value.as_bytes()).hash(hash),
    }
}
