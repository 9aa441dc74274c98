//! Fields to bytes.

use smallvec::{Array, SmallVec};

use super::MAX_TABLE_DEPTH;
use super::check::check_table_at;
use super::error::EncodeError;
use super::strings::{LongStr, ShortStr};
use super::table::TableRef;
use super::value::FieldValue;

/// Appends fields in order; consecutive bits share an octet. (0-9-1 §4.2.5.2)
///
/// The last octet of bits is appended by [`finish`](Self::finish).
pub(crate) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    bits: u8,
    /// How many bits wait in `bits`.
    pending: u8,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, bits: 0, pending: 0 }
    }

    #[inline]
    pub(super) fn bit(&mut self, bit: bool) {
        if self.pending == 8 {
            self.flush_bits();
        }
        self.bits |= u8::from(bit) << self.pending;
        self.pending += 1;
    }

    /// Where to append what is not a bit.
    #[inline]
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.flush_bits();
        self.out
    }

    #[inline]
    pub(crate) fn finish(mut self) {
        self.flush_bits();
    }

    #[inline]
    fn flush_bits(&mut self) {
        if self.pending > 0 {
            self.out.push(self.bits);
            (self.bits, self.pending) = (0, 0);
        }
    }
}

/// What bytes are appended to.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
    /// A few bytes.
    fn put_few<const N: usize>(&mut self, bytes: [u8; N]);
    fn as_mut_slice(&mut self) -> &mut [u8];
    fn len(&self) -> usize;
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_few<const N: usize>(&mut self, bytes: [u8; N]) {
        self.extend_from_slice(&bytes);
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }
}

impl<A: Array<Item = u8>> Sink for SmallVec<A> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_few<const N: usize>(&mut self, bytes: [u8; N]) {
        // Its extend_from_slice has room for insertion in the middle in mind, and costs more.
        for octet in bytes {
            self.push(octet);
        }
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }
}

#[inline]
pub(super) fn put_short_string(out: &mut impl Sink, string: ShortStr<'_>) {
    out.put_few([string.len_octet()]);
    out.put(string.as_bytes());
}

#[inline]
pub(super) fn put_long_string(out: &mut impl Sink, string: LongStr<'_>) -> Result<(), EncodeError> {
    let size = u32::try_from(string.0.len()).map_err(|_| EncodeError::over_u32(string.0.len()))?;
    out.put_few(size.to_be_bytes());
    out.put(string.0);
    Ok(())
}

/// Appends a table with its length.
#[inline]
pub(crate) fn put_table(out: &mut impl Sink, table: TableRef<'_>) -> Result<(), EncodeError> {
    let size = table.encodable_size()?;
    out.put_few(size.to_be_bytes());
    out.put(table.as_wire());
    Ok(())
}

/// Appends an entry of an outermost table.
pub(crate) fn put_entry(out: &mut impl Sink, key: ShortStr<'_>, value: &FieldValue) -> Result<(), EncodeError> {
    put_short_string(out, key);
    put_value(out, value, 1).map_err(|error| match error {
        // In an array: a table inside has named its own.
        EncodeError::NotFinite { key: inner } if inner.is_empty() => {
            EncodeError::NotFinite { key: key.to_string_lossy().into_owned() }
        }
        error => error,
    })
}

/// Appends a value with its tag. It stands in a table or array `depth` deep.
fn put_value(out: &mut impl Sink, value: &FieldValue, depth: u8) -> Result<(), EncodeError> {
    match value {
        FieldValue::Bool(value) => out.put_few([b't', u8::from(*value)]),
        FieldValue::I8(value) => out.put_few([b'b', value.cast_unsigned()]),
        FieldValue::U8(value) => out.put_few([b'B', *value]),
        FieldValue::I16(value) => tagged(out, b's', value.to_be_bytes()),
        FieldValue::U16(value) => tagged(out, b'u', value.to_be_bytes()),
        FieldValue::I32(value) => tagged(out, b'I', value.to_be_bytes()),
        FieldValue::U32(value) => tagged(out, b'i', value.to_be_bytes()),
        FieldValue::I64(value) => tagged(out, b'l', value.to_be_bytes()),
        FieldValue::F32(value) if value.is_finite() => tagged(out, b'f', value.to_be_bytes()),
        FieldValue::F64(value) if value.is_finite() => tagged(out, b'd', value.to_be_bytes()),
        FieldValue::F32(_) | FieldValue::F64(_) => return Err(EncodeError::NotFinite { key: String::new() }),
        FieldValue::Decimal { scale, value } => {
            out.put_few([b'D', *scale]);
            out.put_few(value.to_be_bytes());
        }
        FieldValue::LongString(bytes) => {
            out.put_few(*b"S");
            put_long_string(out, LongStr(bytes))?;
        }
        FieldValue::Timestamp(seconds) => tagged(out, b'T', seconds.to_be_bytes()),
        FieldValue::Bytes(bytes) => {
            out.put_few(*b"x");
            put_long_string(out, LongStr(bytes))?;
        }
        FieldValue::Void => out.put_few(*b"V"),
        FieldValue::Array(values) => put_array(out, values, depth)?,
        FieldValue::Table(table) => {
            let table = table.as_ref();
            // It is valid, but it may be too deep here.
            if depth >= MAX_TABLE_DEPTH || check_table_at::<nom::Check>(table.as_wire(), depth + 1).is_err() {
                return Err(EncodeError::TooDeep);
            }
            out.put_few(*b"F");
            put_table(out, table)?;
        }
    }
    Ok(())
}

#[inline]
fn tagged<const N: usize>(out: &mut impl Sink, tag: u8, bytes: [u8; N]) {
    out.put_few([tag]);
    out.put_few(bytes);
}

fn put_array(out: &mut impl Sink, values: &[FieldValue], depth: u8) -> Result<(), EncodeError> {
    if depth >= MAX_TABLE_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    out.put_few(*b"A\0\0\0\0");
    let start = out.len();
    for value in values {
        put_value(out, value, depth + 1)?;
    }
    let len = out.len() - start;
    let size = u32::try_from(len).map_err(|_| EncodeError::over_u32(len))?;
    if let Some(field) = out.as_mut_slice().get_mut(start - 4..start) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    Ok(())
}
