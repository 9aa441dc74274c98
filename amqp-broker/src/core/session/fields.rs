//! Why a method does not decode, as RabbitMQ sees it: it cuts all fields first, then looks at its short strings, and at what is in
//! its tables last.

use amqp_proto::method::{FieldInfo, info_of};
use amqp_proto::wire::WireType;

/// How the fields of a method are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// They fill the payload.
    Whole,
    /// They do not.
    Cut,
    /// They do, but one of its short strings is no UTF-8.
    NotUtf8,
}

/// Looks at the fields of the method that this payload carries.
pub(super) fn fields(payload: &[u8]) -> Fields {
    let Some((&[c0, c1, m0, m1], mut rest)) = payload.split_first_chunk() else { return Fields::Cut };
    let Some(info) = info_of(u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])) else { return Fields::Cut };
    let mut bits = 0;
    let mut is_utf8 = true;
    for field in info.fields {
        let Some(length) = length(field, rest, &mut bits) else { return Fields::Cut };
        let Some((bytes, after)) = rest.split_at_checked(length) else { return Fields::Cut };
        is_utf8 &=
            field.wire_type != WireType::ShortStr || std::str::from_utf8(bytes.get(1..).unwrap_or_default()).is_ok();
        rest = after;
    }
    match (rest.is_empty(), is_utf8) {
        (false, _) => Fields::Cut,
        (true, false) => Fields::NotUtf8,
        (true, true) => Fields::Whole,
    }
}

/// How many of these bytes are the field; `None` if they end before its length is told. `bits` counts those of its octet that
/// came before, as the first of eight takes the octet.
fn length(field: &FieldInfo, rest: &[u8], bits: &mut usize) -> Option<usize> {
    if field.wire_type == WireType::Bit {
        *bits += 1;
        return Some(usize::from(*bits % 8 == 1));
    }
    *bits = 0;
    match field.wire_type {
        WireType::Octet => Some(1),
        WireType::Short => Some(2),
        WireType::Long => Some(4),
        WireType::LongLong | WireType::Timestamp => Some(8),
        WireType::ShortStr => Some(1 + usize::from(*rest.first()?)),
        _ => Some(4 + usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `queue.declare` of this name, with an empty table of arguments.
    fn declare(name: &[u8]) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        [&[0, 50, 0, 10, 0, 0, length], name, &[1, 0, 0, 0, 0]].concat()
    }

    #[test]
    fn fields_fill_the_payload_or_do_not() {
        let whole = declare(b"name");
        assert_eq!(fields(&whole), Fields::Whole);
        for end in 0..whole.len() {
            assert_eq!(fields(&whole[..end]), Fields::Cut, "{end}");
        }
        assert_eq!(fields(&[&whole[..], b"x"].concat()), Fields::Cut);
        assert_eq!(fields(&declare(b"\xff\xfe")), Fields::NotUtf8);
    }
}
