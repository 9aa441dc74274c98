//! Parsers of the primitives, for nom, over complete input.
//!
//! Numbers, [`Take`] and [`LengthData`] are what `be_u32`, `take` and `length_data` of nom are. But those go through
//! nom's methods on slices, which are not inlined across crates, and each call costs more than the parsing.
//!
//! They are run without making errors ([`value`]), because that is fastest; where one fails, a cold path runs it again
//! and keeps the error ([`emit_errors`]), which says where and why.

use std::marker::PhantomData;

use nom::error::{ErrorKind, ParseError};
use nom::{Check, Complete, Emit, Mode, OutputM, OutputMode, PResult, Parser, ToUsize};

use super::check::{Checked, check_table};
use super::error::DecodeErrorKind;
use super::strings::{LongStr, ShortStr};
use super::table::TableRef;

/// Where a parser failed, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    /// The rest of the input there.
    pub(crate) at: &'a [u8],
    pub(crate) kind: DecodeErrorKind,
}

impl Failure<'_> {
    /// How many bytes of `whole`, in which it is, stand before it.
    pub(crate) fn offset_in(&self, whole: &[u8]) -> usize {
        self.at.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
    }
}

impl<'a> ParseError<&'a [u8]> for Failure<'a> {
    fn from_error_kind(at: &'a [u8], _: ErrorKind) -> Self {
        // Only parsers of lengths and numbers are used, and they fail for one reason.
        Self { at, kind: DecodeErrorKind::Truncated }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// The error of a parser that makes errors in mode `E`.
pub(super) type Failed<'a, E> = nom::Err<Failure<'a>, <E as Mode>::Output<Failure<'a>>>;

/// Fails in mode `E`.
#[inline]
pub(super) fn fail<'a, E: Mode>(at: &'a [u8], kind: DecodeErrorKind) -> Failed<'a, E> {
    nom::Err::Error(E::bind(|| Failure { at, kind }))
}

/// Runs a parser for its value, without making an error.
#[inline(always)]
pub(super) fn value<'a, P>(input: &'a [u8], mut parser: P) -> Option<(&'a [u8], P::Output)>
where
    P: Parser<&'a [u8], Error = Failure<'a>>,
{
    parser.process::<OutputM<Emit, Check, Complete>>(input).ok()
}

/// Runs a parser for its error, without making a value. Gives the rest of the input if there is none.
#[cold]
pub(crate) fn emit_errors<'a, P>(input: &'a [u8], mut parser: P) -> Result<&'a [u8], Failure<'a>>
where
    P: Parser<&'a [u8], Error = Failure<'a>>,
{
    match parser.process::<OutputM<Check, Emit, Complete>>(input) {
        Ok((rest, ())) => Ok(rest),
        Err(nom::Err::Error(failure) | nom::Err::Failure(failure)) => Err(failure),
        Err(nom::Err::Incomplete(_)) => Err(Failure { at: input, kind: DecodeErrorKind::Truncated }),
    }
}

/// Octets, as many as its number says.
struct Take(usize);

impl<'a> Parser<&'a [u8]> for Take {
    type Output = &'a [u8];
    type Error = Failure<'a>;

    #[inline(always)]
    fn process<OM: OutputMode>(&mut self, input: &'a [u8]) -> PResult<OM, &'a [u8], &'a [u8], Failure<'a>> {
        match input.split_at_checked(self.0) {
            Some((taken, rest)) => Ok((rest, OM::Output::bind(|| taken))),
            None => Err(fail::<OM::Error>(input, DecodeErrorKind::Truncated)),
        }
    }
}

/// A length, and as many octets.
struct LengthData<P>(P);

impl<'a, P> Parser<&'a [u8]> for LengthData<P>
where
    P: Parser<&'a [u8], Output: ToUsize, Error = Failure<'a>>,
{
    type Output = &'a [u8];
    type Error = Failure<'a>;

    #[inline(always)]
    fn process<OM: OutputMode>(&mut self, input: &'a [u8]) -> PResult<OM, &'a [u8], &'a [u8], Failure<'a>> {
        let (rest, len) = self.0.process::<OutputM<Emit, OM::Error, OM::Incomplete>>(input)?;
        Take(len.to_usize()).process::<OM>(rest)
    }
}

/// A number, its most significant octet first.
struct Number<N>(PhantomData<N>);

/// The parser of a number, by the specification's name of its type.
macro_rules! number {
    ($($name:ident: $type:ty;)*) => {$(
        impl<'a> Parser<&'a [u8]> for Number<$type> {
            type Output = $type;
            type Error = Failure<'a>;

            #[inline(always)]
            fn process<OM: OutputMode>(&mut self, input: &'a [u8]) -> PResult<OM, &'a [u8], $type, Failure<'a>> {
                match input.split_first_chunk() {
                    Some((octets, rest)) => Ok((rest, OM::Output::bind(|| <$type>::from_be_bytes(*octets)))),
                    None => Err(fail::<OM::Error>(input, DecodeErrorKind::Truncated)),
                }
            }
        }

        #[inline(always)]
        pub(super) fn $name<'a>() -> impl Parser<&'a [u8], Output = $type, Error = Failure<'a>> {
            Number::<$type>(PhantomData)
        }
    )*};
}

number! {
    octet: u8;
    short: u16;
    long: u32;
    longlong: u64;
}

#[inline(always)]
pub(super) fn octets<'a>(count: usize) -> impl Parser<&'a [u8], Output = &'a [u8], Error = Failure<'a>> {
    Take(count)
}

/// 0-9-1 §4.2.5.3
#[inline(always)]
pub(super) fn short_string<'a>() -> impl Parser<&'a [u8], Output = ShortStr<'a>, Error = Failure<'a>> {
    LengthData(octet()).map(ShortStr::from_wire)
}

/// 0-9-1 §4.2.5.3
#[inline(always)]
pub(super) fn long_bytes<'a>() -> impl Parser<&'a [u8], Output = &'a [u8], Error = Failure<'a>> {
    LengthData(long())
}

#[inline(always)]
pub(super) fn long_string<'a>() -> impl Parser<&'a [u8], Output = LongStr<'a>, Error = Failure<'a>> {
    long_bytes().map(LongStr)
}

/// A field table with its length, validated. (0-9-1 §4.2.5.5)
#[inline(always)]
pub(super) fn table<'a>() -> impl Parser<&'a [u8], Output = TableRef<'a>, Error = Failure<'a>> {
    long_bytes().and_then(TableContent)
}

/// The entries of a table: all of the input.
pub(super) struct TableContent;

impl<'a> Parser<&'a [u8]> for TableContent {
    type Output = TableRef<'a>;
    type Error = Failure<'a>;

    #[inline]
    fn process<OM: OutputMode>(&mut self, content: &'a [u8]) -> PResult<OM, &'a [u8], TableRef<'a>, Failure<'a>> {
        let Checked { form } = check_table::<OM::Error>(content)?;
        Ok((&[], OM::Output::bind(|| TableRef::checked(content, form))))
    }
}
