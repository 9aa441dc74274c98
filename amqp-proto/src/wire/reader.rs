//! Bytes to fields.
//!
//! Reading is done twice at most. [`Reader`] is the fast pass: it stops at the first wrong byte without saying why.
//! [`FieldChecker`] is the cold one behind it, which goes over the fields again by their wire types and names the
//! failure.

use nom::Parser;

use super::error::EncodeError;
use super::parse::{
    Failure, emit_errors, long, long_string, longlong, octet, octets, short, short_string, table, value,
};
use super::strings::{LongStr, ShortStr};
use super::table::TableRef;
use super::writer::{Writer, put_long_string, put_short_string, put_table};

/// The type of a method's field or of a property on the wire. (0-9-1 §4.2.1)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireType {
    /// One bit; up to 8 consecutive ones share an octet.
    Bit,
    /// 8 bits.
    Octet,
    /// 16 bits.
    Short,
    /// 32 bits.
    Long,
    /// 64 bits.
    LongLong,
    /// A length octet and that many bytes.
    ShortStr,
    /// A length of 32 bits and that many bytes.
    LongStr,
    /// Seconds since 1970-01-01 UTC, 64 bits.
    Timestamp,
    /// A length of 32 bits and that many bytes of entries.
    Table,
}

impl WireType {
    /// The specification's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::Octet => "octet",
            Self::Short => "short",
            Self::Long => "long",
            Self::LongLong => "longlong",
            Self::ShortStr => "shortstr",
            Self::LongStr => "longstr",
            Self::Timestamp => "timestamp",
            Self::Table => "table",
        }
    }
}

/// Reads fields in order. `None` means that there is no valid field.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The octet of bits that is being read.
    bits: u8,
    /// How many of its bits were read; 0 if the next bit starts a new octet.
    taken: u8,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(fields: &'a [u8]) -> Self {
        Self { rest: fields, bits: 0, taken: 0 }
    }

    /// The next field.
    #[inline(always)]
    pub(crate) fn read<F: Field<'a>>(&mut self) -> Option<F> {
        F::read(self)
    }

    /// What has not been read.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline(always)]
    fn parse<P>(&mut self, parser: P) -> Option<P::Output>
    where
        P: Parser<&'a [u8], Error = Failure<'a>>,
    {
        let (rest, output) = value(self.rest, parser)?;
        self.rest = rest;
        self.taken = 0;
        Some(output)
    }

    #[inline(always)]
    fn bit(&mut self) -> Option<bool> {
        if self.taken == 0 || self.taken == 8 {
            self.bits = self.parse(octet())?;
        }
        let bit = self.bits >> self.taken & 1 != 0;
        self.taken += 1;
        Some(bit)
    }
}

/// A Rust type that stands for a field.
pub(crate) trait Field<'a>: Copy + Default {
    const WIRE_TYPE: WireType;

    fn read(reader: &mut Reader<'a>) -> Option<Self>;

    /// # Errors
    /// If it is longer than its length field can say.
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;
}

impl Field<'_> for bool {
    const WIRE_TYPE: WireType = WireType::Bit;

    #[inline(always)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.bit()
    }

    #[inline(always)]
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bit(self);
        Ok(())
    }
}

macro_rules! number_field {
    ($($type:ty, $wire_type:ident, $parser:ident;)*) => {$(
        impl Field<'_> for $type {
            const WIRE_TYPE: WireType = WireType::$wire_type;

            #[inline(always)]
            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                reader.parse($parser())
            }

            #[inline(always)]
            fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                writer.out().extend_from_slice(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

number_field! {
    u8, Octet, octet;
    u16, Short, short;
    u32, Long, long;
    u64, LongLong, longlong;
}

impl<'a> Field<'a> for ShortStr<'a> {
    const WIRE_TYPE: WireType = WireType::ShortStr;

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.parse(short_string())
    }

    #[inline(always)]
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        put_short_string(writer.out(), self);
        Ok(())
    }
}

impl<'a> Field<'a> for LongStr<'a> {
    const WIRE_TYPE: WireType = WireType::LongStr;

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.parse(long_string())
    }

    #[inline(always)]
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        put_long_string(writer.out(), self)
    }
}

impl<'a> Field<'a> for TableRef<'a> {
    const WIRE_TYPE: WireType = WireType::Table;

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.parse(table())
    }

    #[inline(always)]
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        put_table(writer.out(), self)
    }
}

/// Goes over fields by their wire types and says what is wrong.
pub(crate) struct FieldChecker<'a> {
    rest: &'a [u8],
    /// Bits taken of the last octet; 0 if the next bit starts a new octet.
    taken: u8,
}

impl<'a> FieldChecker<'a> {
    #[cold]
    pub(crate) fn new(fields: &'a [u8]) -> Self {
        Self { rest: fields, taken: 0 }
    }

    /// What has not been gone over.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes over one field.
    pub(crate) fn check(&mut self, wire_type: WireType) -> Result<(), Failure<'a>> {
        let rest = self.rest;
        let taken = std::mem::take(&mut self.taken);
        self.rest = match wire_type {
            WireType::Bit => {
                self.taken = taken % 8 + 1;
                if self.taken == 1 { emit_errors(rest, octet())? } else { rest }
            }
            WireType::Octet => emit_errors(rest, octet())?,
            WireType::Short => emit_errors(rest, short())?,
            WireType::Long => emit_errors(rest, long())?,
            WireType::LongLong | WireType::Timestamp => emit_errors(rest, octets(8))?,
            WireType::ShortStr => emit_errors(rest, short_string())?,
            WireType::LongStr => emit_errors(rest, long_string())?,
            WireType::Table => emit_errors(rest, table())?,
        };
        Ok(())
    }
}
