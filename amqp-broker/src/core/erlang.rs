//! Values as Erlang prints them: RabbitMQ's reply texts are full of them.

use std::fmt::{self, Write as _};

use amqp_proto::wire::{TableRef, ValueRef};

/// Bytes as `~p` prints a binary: `<<"text">>` or `<<0,1>>`.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("<<>>");
        }
        if self.0.iter().all(|&byte| is_printable(byte)) {
            f.write_str("<<\"")?;
            put_escaped(f, self.0)?;
            return f.write_str("\">>");
        }
        f.write_str("<<")?;
        for (at, byte) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char(',')?;
            }
            write!(f, "{byte}")?;
        }
        f.write_str(">>")
    }
}

/// Text as `~p` prints a list of characters: `"text"`.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        put_escaped(f, self.0.as_bytes())?;
        f.write_char('"')
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')
}

fn put_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for char in String::from_utf8_lossy(bytes).chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

/// RabbitMQ's name for the type of a field value.
pub(crate) fn type_name(value: &ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Bool(_) => "bool",
        ValueRef::I8(_) => "byte",
        ValueRef::U8(_) => "unsignedbyte",
        ValueRef::I16(_) => "short",
        ValueRef::U16(_) => "unsignedshort",
        ValueRef::I32(_) => "signedint",
        ValueRef::U32(_) => "unsignedint",
        ValueRef::I64(_) => "long",
        ValueRef::F32(_) => "float",
        ValueRef::F64(_) => "double",
        ValueRef::Decimal { .. } => "decimal",
        ValueRef::LongString(_) => "longstr",
        ValueRef::Array(_) => "array",
        ValueRef::Timestamp(_) => "timestamp",
        ValueRef::Table(_) => "table",
        ValueRef::Bytes(_) => "binary",
        ValueRef::Void => "void",
    }
}

/// A field value as RabbitMQ prints it: strings as they are, or as binaries within other values.
pub(crate) struct Term<'a>(pub(crate) ValueRef<'a>);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueRef::LongString(bytes) | ValueRef::Bytes(bytes) => String::from_utf8_lossy(bytes).fmt(f),
            value => Nested(value).fmt(f),
        }
    }
}

/// A field value as Erlang prints it.
pub(crate) struct Nested<'a>(pub(crate) ValueRef<'a>);

impl fmt::Display for Nested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueRef::Bool(value) => write!(f, "{value}"),
            ValueRef::LongString(bytes) | ValueRef::Bytes(bytes) => Binary(bytes).fmt(f),
            ValueRef::Timestamp(seconds) => write!(f, "{seconds}"),
            ValueRef::F32(value) => write!(f, "{value:?}"),
            ValueRef::F64(value) => write!(f, "{value:?}"),
            ValueRef::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            ValueRef::Void => f.write_str("undefined"),
            ValueRef::Array(values) => {
                f.write_char('[')?;
                for (at, value) in values.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{{{},{}}}", type_name(&value), Nested(value))?;
                }
                f.write_char(']')
            }
            ValueRef::Table(table) => {
                f.write_char('[')?;
                for (at, (key, value)) in table.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    let key = Binary(key.as_bytes());
                    write!(f, "{comma}{{{key},{},{}}}", type_name(&value), Nested(value))?;
                }
                f.write_char(']')
            }
            integer => write!(f, "{}", integer.as_i64().unwrap_or_default()),
        }
    }
}

/// Whether there is a number that Erlang has no float for: it fails over infinities and what is no number.
pub(crate) fn has_odd_numbers(table: TableRef<'_>) -> bool {
    table.iter().any(|(_, value)| is_odd(value))
}

/// The nesting is bounded: the table was checked.
fn is_odd(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::F32(number) => !number.is_finite(),
        ValueRef::F64(number) => !number.is_finite(),
        ValueRef::Array(values) => values.iter().any(is_odd),
        ValueRef::Table(table) => has_odd_numbers(table),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp_proto::table;

    #[test]
    fn values_are_printed_as_erlang_does() {
        assert_eq!(Binary(b"abcd").to_string(), "<<\"abcd\">>");
        assert_eq!(Binary(b"\0<").to_string(), "<<0,60>>");
        assert_eq!(Binary(b"").to_string(), "<<>>");
        assert_eq!(Quoted("unsupported 'a'").to_string(), "\"unsupported 'a'\"");
        let table = table! { "k" => "v", "n" => 5, "b" => true };
        assert_eq!(
            Nested(ValueRef::Table(table.as_ref())).to_string(),
            "[{<<\"k\">>,longstr,<<\"v\">>},{<<\"n\">>,signedint,5},{<<\"b\">>,bool,true}]"
        );
    }
}
