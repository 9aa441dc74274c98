//! The routing of headers exchanges: by what a binding's arguments ask of a message's headers.

use amqp_proto::wire::{FieldTable, FieldValue, TableRef, ValueRef};

use super::{Destination, remove_one};
use crate::core::erlang::{Binary, Nested, type_name};
use crate::core::refusal::{Outcome, Refusal};

/// Destinations with what is asked, one for each binding.
#[derive(Debug, Default)]
pub(super) struct Matches(Vec<(Match, Destination)>);

impl Matches {
    pub(super) fn insert(&mut self, arguments: &FieldTable, destination: Destination) {
        self.0.push((Match::new(arguments), destination));
    }

    pub(super) fn remove(&mut self, arguments: &FieldTable, destination: &Destination) {
        let wanted = Match::new(arguments);
        remove_one(&mut self.0, |(rule, other)| other == destination && *rule == wanted);
    }

    pub(super) fn find(&self, headers: TableRef<'_>) -> impl Iterator<Item = &Destination> {
        self.0.iter().filter(move |(rule, _)| rule.matches(headers)).map(|(_, destination)| destination)
    }
}

/// What a binding's arguments ask.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    any: bool,
    /// What is asked for; `None` where the header only has to be there.
    wanted: Vec<(String, Option<FieldValue>)>,
}

impl Match {
    fn new(arguments: &FieldTable) -> Self {
        let how = arguments.get("x-match").and_then(|how| how.as_str()).unwrap_or("all");
        let with_x = how.ends_with("-with-x");
        let counts = |key: &str| key != "x-match" && (with_x || !key.starts_with("x-"));
        let wanted = arguments.iter().filter_map(|(key, value)| {
            let key = key.to_str().ok().filter(|key| counts(key))?;
            Some((key.to_owned(), (value != ValueRef::Void).then(|| value.to_owned())))
        });
        Self { any: how.starts_with("any"), wanted: wanted.collect() }
    }

    fn matches(&self, headers: TableRef<'_>) -> bool {
        let is_so = |(key, wanted): &(String, Option<FieldValue>)| match (headers.get(key), wanted) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(wanted)) => is_same(&value.to_owned(), wanted),
        };
        if self.any { self.wanted.iter().any(is_so) } else { self.wanted.iter().all(is_so) }
    }
}

/// Whether two values are the same to RabbitMQ, which does not look at their types.
fn is_same(one: &FieldValue, other: &FieldValue) -> bool {
    if let (Some(one), Some(other)) = (integer(one), integer(other)) {
        return one == other;
    }
    match (one, other) {
        (
            FieldValue::LongString(one) | FieldValue::Bytes(one),
            FieldValue::LongString(other) | FieldValue::Bytes(other),
        ) => one == other,
        (FieldValue::F32(one), FieldValue::F64(other)) | (FieldValue::F64(other), FieldValue::F32(one)) => {
            f64::from(*one).to_bits() == other.to_bits()
        }
        _ => one == other,
    }
}

fn integer(value: &FieldValue) -> Option<i128> {
    Some(match value {
        FieldValue::I8(value) => (*value).into(),
        FieldValue::U8(value) => (*value).into(),
        FieldValue::I16(value) => (*value).into(),
        FieldValue::U16(value) => (*value).into(),
        FieldValue::I32(value) => (*value).into(),
        FieldValue::U32(value) => (*value).into(),
        FieldValue::I64(value) => (*value).into(),
        FieldValue::Timestamp(value) => (*value).into(),
        _ => return None,
    })
}

/// Checks the arguments of a binding from a headers exchange.
///
/// # Errors
/// If `x-match` is none of the four.
pub(crate) fn check_arguments(arguments: TableRef<'_>) -> Outcome {
    match arguments.get("x-match") {
        None | Some(ValueRef::LongString(b"all" | b"any" | b"all-with-x" | b"any-with-x")) => Ok(()),
        Some(ValueRef::LongString(other)) => Err(Refusal::precondition(format_args!(
            "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
            Binary(other)
        ))),
        Some(other) => Err(Refusal::precondition(format_args!(
            "Invalid x-match field type {} (value {}); expected longstr",
            type_name(&other),
            Nested(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amqp_proto::table;

    #[test]
    fn all_any_and_their_kin_with_x() {
        let headers = table! { "a" => 1, "b" => "two", "x-c" => 3 };
        let matches = |arguments: FieldTable| Match::new(&arguments).matches(headers.as_ref());
        assert!(matches(table! { "a" => 1 }));
        assert!(matches(table! { "a" => 1i64, "b" => "two" }), "types do not count");
        assert!(!matches(table! { "a" => 1, "b" => "three" }));
        assert!(matches(table! { "x-match" => "any", "a" => 9, "b" => "two" }));
        assert!(matches(table! { "a" => FieldValue::Void }), "it only has to be there");
        assert!(matches(table! { "a" => 1, "x-c" => 9 }), "x- does not count");
        assert!(!matches(table! { "x-match" => "all-with-x", "a" => 1, "x-c" => 9 }));
        assert!(matches(table! { "x-match" => "any-with-x", "x-c" => 3 }));
        assert!(matches(table! {}), "all of nothing");
        assert!(!matches(table! { "x-match" => "any" }), "any of nothing");
    }
}
