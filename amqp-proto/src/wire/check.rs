//! The one pass that validates a table, so that whatever reads it later need not.
//!
//! Lengths, types, keys and the depth of nesting are checked; nothing is allocated. Recursion ends at
//! [`MAX_TABLE_DEPTH`].

use nom::{Check, Complete, Emit, Mode, OutputM, Parser};

use super::MAX_TABLE_DEPTH;
use super::error::DecodeErrorKind;
use super::parse::{Failed, fail, long_bytes, octet, octets, short_string};
use super::table::Form;

/// What the pass has found.
pub(super) struct Checked {
    pub(super) form: Form,
}

/// Checks the entries of an outermost table.
#[inline]
pub(super) fn check_table<E: Mode>(content: &[u8]) -> Result<Checked, Failed<'_, E>> {
    check_table_at::<E>(content, 1)
}

/// Checks the entries of a table that stands `depth` deep, the outermost at 1.
pub(super) fn check_table_at<E: Mode>(content: &[u8], depth: u8) -> Result<Checked, Failed<'_, E>> {
    let mut form = Form::Canonical;
    check_entries::<E>(content, depth, &mut form)?;
    Ok(Checked { form })
}

/// Checks the entries of a table that stands `depth` deep.
fn check_entries<'a, E: Mode>(content: &'a [u8], depth: u8, form: &mut Form) -> Result<(), Failed<'a, E>> {
    let mut rest = content;
    while !rest.is_empty() {
        let (after, key) = short_string().process::<OutputM<Emit, E, Complete>>(rest)?;
        if !is_utf8(key.as_bytes()) {
            return Err(fail::<E>(rest, DecodeErrorKind::KeyNotUtf8));
        }
        rest = check_value::<E>(after, depth, form)?;
    }
    Ok(())
}

/// `str::from_utf8`, but faster for ASCII of 4 bytes and more, which keys are.
#[inline]
fn is_utf8(key: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // The last word may overlap the one before it.
    let bits = if let Some(last) = key.last_chunk::<8>() {
        let (words, _) = key.as_chunks::<8>();
        words.iter().fold(u64::from_ne_bytes(*last), |bits, word| bits | u64::from_ne_bytes(*word))
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        u64::from(u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last))
    } else {
        HIGH_BITS
    };
    bits & HIGH_BITS == 0 || std::str::from_utf8(key).is_ok()
}

/// Checks the values of an array that stands `depth` deep.
fn check_values<'a, E: Mode>(content: &'a [u8], depth: u8, form: &mut Form) -> Result<(), Failed<'a, E>> {
    let mut rest = content;
    while !rest.is_empty() {
        rest = check_value::<E>(rest, depth, form)?;
    }
    Ok(())
}

/// Checks one value in a container that stands `depth` deep, and gives what follows it.
#[inline(always)]
fn check_value<'a, E: Mode>(input: &'a [u8], depth: u8, form: &mut Form) -> Result<&'a [u8], Failed<'a, E>> {
    let (rest, tag) = octet().process::<OutputM<Emit, E, Complete>>(input)?;
    let size = match tag {
        b'S' | b'x' => {
            let (rest, ()) = long_bytes().process::<OutputM<Check, E, Complete>>(rest)?;
            return Ok(rest);
        }
        b'F' | b'A' => {
            let (rest, content) = long_bytes().process::<OutputM<Emit, E, Complete>>(rest)?;
            check_nested::<E>(tag, input, content, depth, form)?;
            return Ok(rest);
        }
        b't' => {
            if rest.first().is_some_and(|&truth| truth > 1) {
                *form = Form::AsReceived;
            }
            1
        }
        b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'd' | b'T' => 8,
        b'L' => {
            *form = Form::AsReceived;
            8
        }
        b'V' => 0,
        _ => return Err(fail::<E>(input, DecodeErrorKind::UnknownTag(tag))),
    };
    let (rest, ()) = octets(size).process::<OutputM<Check, E, Complete>>(rest)?;
    Ok(rest)
}

/// Checks the content of a table or an array that stands in a container `depth` deep.
fn check_nested<'a, E: Mode>(
    tag: u8,
    at: &'a [u8],
    content: &'a [u8],
    depth: u8,
    form: &mut Form,
) -> Result<(), Failed<'a, E>> {
    if depth >= MAX_TABLE_DEPTH {
        return Err(fail::<E>(at, DecodeErrorKind::TooDeep));
    }
    if tag == b'F' { check_entries::<E>(content, depth + 1, form) } else { check_values::<E>(content, depth + 1, form) }
}

/// Rewrites the entries of a valid table in place to what we would have written: `L` becomes `l`, a true that is not
/// 1 becomes 1. Lengths do not change.
#[cold]
pub(super) fn make_canonical(content: &mut [u8]) {
    canonical_entries(content);
}

fn canonical_entries(content: &mut [u8]) {
    let mut rest = content;
    while let Some((&mut len, after)) = rest.split_first_mut() {
        let Some((_key, after)) = after.split_at_mut_checked(len.into()) else { return };
        let Some(after) = canonical_value(after) else { return };
        rest = after;
    }
}

fn canonical_values(content: &mut [u8]) {
    let mut rest = content;
    while let Some(after) = canonical_value(rest) {
        rest = after;
    }
}

/// Gives what follows the value; `None` at the end.
fn canonical_value(input: &mut [u8]) -> Option<&mut [u8]> {
    let (tag, rest) = input.split_first_mut()?;
    let size = match *tag {
        b't' => {
            let truth = rest.first_mut()?;
            *truth = u8::from(*truth != 0);
            1
        }
        b'L' => {
            *tag = b'l';
            8
        }
        b'S' | b'x' | b'F' | b'A' => {
            let (len, rest) = rest.split_first_chunk_mut::<4>()?;
            let (content, rest) = rest.split_at_mut_checked(u32::from_be_bytes(*len) as usize)?;
            match *tag {
                b'F' => canonical_entries(content),
                b'A' => canonical_values(content),
                _ => {}
            }
            return Some(rest);
        }
        b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'd' | b'T' => 8,
        _ => 0,
    };
    Some(rest.split_at_mut_checked(size)?.1)
}
