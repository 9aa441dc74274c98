//! The values of field tables and arrays: 17 types, owned and borrowed.
//!
//! Their tags are the brokers' and not the specification's, which disagree (the specification says short string for
//! `s`). `L` is read as a 64-bit integer too, and never written.

use std::fmt;

use nom::Parser;

use super::array::ArrayRef;
use super::parse::{long, long_bytes, longlong, octet, octets, short, value};
use super::table::{FieldTable, Form, TableRef};

/// A value to be put into a [`FieldTable`].
///
/// Two values are equal if they have the same type and the same bytes on the wire; so a NaN equals itself. Tables are
/// equal regardless of the order of their entries.
///
/// ```
/// use amqp_proto::wire::FieldValue;
///
/// assert_eq!(FieldValue::from(5), FieldValue::I32(5));
/// assert_eq!(FieldValue::from("lazy"), FieldValue::LongString(b"lazy".to_vec()));
/// ```
#[derive(Clone)]
pub enum FieldValue {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: text, by convention UTF-8.
    LongString(Vec<u8>),
    /// `A`
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// `F`
    Table(FieldTable),
    /// `x`: bytes that are not text.
    Bytes(Vec<u8>),
    /// `V`: no value.
    Void,
}

/// A value in a decoded table, borrowed.
///
/// Equality is as of [`FieldValue`].
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l` or `L`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: text, by convention UTF-8.
    LongString(&'a [u8]),
    /// `A`
    Array(ArrayRef<'a>),
    /// `T`: seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// `F`
    Table(TableRef<'a>),
    /// `x`: bytes that are not text.
    Bytes(&'a [u8]),
    /// `V`: no value.
    Void,
}

impl<'a> ValueRef<'a> {
    /// The text, if it is a long string and UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a long string or of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::LongString(bytes) | Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if it is an integer of any size.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(value) => Some(value.into()),
            Self::U8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if it is an integer of any size and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|value| value.try_into().ok())
    }

    /// The number, if it is a floating-point one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is true, if it is a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Seconds since 1970-01-01 UTC, if it is a timestamp.
    #[must_use]
    pub fn as_timestamp(&self) -> Option<u64> {
        match *self {
            Self::Timestamp(seconds) => Some(seconds),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<TableRef<'a>> {
        match *self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<ArrayRef<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// A copy that does not borrow.
    #[must_use]
    pub fn to_owned(&self) -> FieldValue {
        match *self {
            Self::Bool(value) => FieldValue::Bool(value),
            Self::I8(value) => FieldValue::I8(value),
            Self::U8(value) => FieldValue::U8(value),
            Self::I16(value) => FieldValue::I16(value),
            Self::U16(value) => FieldValue::U16(value),
            Self::I32(value) => FieldValue::I32(value),
            Self::U32(value) => FieldValue::U32(value),
            Self::I64(value) => FieldValue::I64(value),
            Self::F32(value) => FieldValue::F32(value),
            Self::F64(value) => FieldValue::F64(value),
            Self::Decimal { scale, value } => FieldValue::Decimal { scale, value },
            Self::LongString(bytes) => FieldValue::LongString(bytes.to_vec()),
            Self::Array(array) => FieldValue::Array(array.iter().map(|value| value.to_owned()).collect()),
            Self::Timestamp(seconds) => FieldValue::Timestamp(seconds),
            Self::Table(table) => FieldValue::Table(table.to_owned()),
            Self::Bytes(bytes) => FieldValue::Bytes(bytes.to_vec()),
            Self::Void => FieldValue::Void,
        }
    }
}

/// The value at the start of `input`, and what follows it. `input` has been checked: `None` is its end.
#[inline(always)]
pub(super) fn read_value(input: &[u8], form: Form) -> Option<(&[u8], ValueRef<'_>)> {
    let (rest, tag) = value(input, octet())?;
    match tag {
        b't' => value(rest, octet().map(|octet| ValueRef::Bool(octet != 0))),
        b'b' => value(rest, octet().map(|octet| ValueRef::I8(octet.cast_signed()))),
        b'B' => value(rest, octet().map(ValueRef::U8)),
        b's' => value(rest, short().map(|short| ValueRef::I16(short.cast_signed()))),
        b'u' => value(rest, short().map(ValueRef::U16)),
        b'I' => value(rest, long().map(|long| ValueRef::I32(long.cast_signed()))),
        b'i' => value(rest, long().map(ValueRef::U32)),
        b'l' | b'L' => value(rest, longlong().map(|longlong| ValueRef::I64(longlong.cast_signed()))),
        b'f' => value(rest, long().map(|bits| ValueRef::F32(f32::from_bits(bits)))),
        b'd' => value(rest, longlong().map(|bits| ValueRef::F64(f64::from_bits(bits)))),
        b'D' => value(rest, (octet(), long()).map(|(scale, value)| ValueRef::Decimal { scale, value })),
        b'S' => value(rest, long_bytes().map(ValueRef::LongString)),
        b'A' => value(rest, long_bytes().map(|values| ValueRef::Array(ArrayRef::checked(values, form)))),
        b'T' => value(rest, longlong().map(ValueRef::Timestamp)),
        b'F' => value(rest, long_bytes().map(|entries| ValueRef::Table(TableRef::checked(entries, form)))),
        b'x' => value(rest, long_bytes().map(ValueRef::Bytes)),
        b'V' => value(rest, octets(0).map(|_| ValueRef::Void)),
        _ => None,
    }
}

/// Equality and printing, the same for owned and borrowed values.
macro_rules! compare_and_print {
    ($type:ty) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    (Self::Bool(a), Self::Bool(b)) => a == b,
                    (Self::I8(a), Self::I8(b)) => a == b,
                    (Self::U8(a), Self::U8(b)) => a == b,
                    (Self::I16(a), Self::I16(b)) => a == b,
                    (Self::U16(a), Self::U16(b)) => a == b,
                    (Self::I32(a), Self::I32(b)) => a == b,
                    (Self::U32(a), Self::U32(b)) => a == b,
                    (Self::I64(a), Self::I64(b)) => a == b,
                    (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
                    (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
                    (Self::Decimal { scale: a, value: v }, Self::Decimal { scale: b, value: w }) => a == b && v == w,
                    (Self::LongString(a), Self::LongString(b)) => a == b,
                    (Self::Array(a), Self::Array(b)) => a == b,
                    (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
                    (Self::Table(a), Self::Table(b)) => a == b,
                    (Self::Bytes(a), Self::Bytes(b)) => a == b,
                    (Self::Void, Self::Void) => true,
                    _ => false,
                }
            }
        }

        impl Eq for $type {}

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Bool(value) => write!(f, "{value}"),
                    Self::I8(value) => write!(f, "{value}i8"),
                    Self::U8(value) => write!(f, "{value}u8"),
                    Self::I16(value) => write!(f, "{value}i16"),
                    Self::U16(value) => write!(f, "{value}u16"),
                    Self::I32(value) => write!(f, "{value}i32"),
                    Self::U32(value) => write!(f, "{value}u32"),
                    Self::I64(value) => write!(f, "{value}i64"),
                    Self::F32(value) => write!(f, "{value:?}f32"),
                    Self::F64(value) => write!(f, "{value:?}f64"),
                    Self::Decimal { scale, value } => write!(f, "Decimal({value}e-{scale})"),
                    Self::LongString(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
                    Self::Array(values) => fmt::Debug::fmt(values, f),
                    Self::Timestamp(seconds) => write!(f, "Timestamp({seconds})"),
                    Self::Table(table) => fmt::Debug::fmt(table, f),
                    Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
                    Self::Void => f.write_str("Void"),
                }
            }
        }
    };
}

compare_and_print!(FieldValue);
compare_and_print!(ValueRef<'_>);

/// `From` of what a value holds.
macro_rules! from {
    ($($variant:ident: $type:ty,)*) => {$(
        impl From<$type> for FieldValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    Bool: bool,
    I8: i8,
    U8: u8,
    I16: i16,
    U16: u16,
    I32: i32,
    U32: u32,
    I64: i64,
    F32: f32,
    F64: f64,
    LongString: &str,
    LongString: String,
    Bytes: &[u8],
    Bytes: Vec<u8>,
    Table: FieldTable,
    Array: Vec<FieldValue>,
}

impl<const N: usize> From<&[u8; N]> for FieldValue {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&String> for FieldValue {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<TableRef<'_>> for FieldValue {
    fn from(table: TableRef<'_>) -> Self {
        Self::Table(table.to_owned())
    }
}

impl From<ValueRef<'_>> for FieldValue {
    fn from(value: ValueRef<'_>) -> Self {
        value.to_owned()
    }
}
