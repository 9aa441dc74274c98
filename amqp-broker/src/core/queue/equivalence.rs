//! Whether a second declaration is of the same queue, or exchange.

use amqp_proto::wire::{FieldTable, TableRef, ValueRef};

use super::Kind;
use super::stream::parse_age;
use crate::Emulate;
use crate::core::erlang::{Term, type_name};
use crate::core::refusal::{Outcome, Refusal, Resource};

/// The arguments that count when a queue of this type is declared again, in RabbitMQ's order.
fn compared(version: Emulate, kind: Kind) -> &'static [&'static str] {
    const CLASSIC: &[&str] = &[
        "x-expires",
        "x-message-ttl",
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-overflow",
        "x-queue-mode",
        "x-queue-version",
        "x-single-active-consumer",
        "x-queue-type",
        "x-queue-master-locator",
        // Not in 3.10.
        "x-queue-leader-locator",
    ];
    const QUORUM: &[&str] = &[
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-dead-letter-strategy",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-overflow",
        "x-single-active-consumer",
        "x-queue-type",
        "x-quorum-initial-group-size",
        "x-delivery-limit",
        "x-message-ttl",
        "x-queue-leader-locator",
        // Since 4.3.
        "x-consumer-timeout",
    ];
    const STREAM: &[&str] = &[
        "x-max-length-bytes",
        "x-queue-type",
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-initial-cluster-size",
        "x-queue-leader-locator",
    ];
    // 4.3 compares one more, in the midst of the others.
    const STREAM_4_3: &[&str] = &[
        "x-max-length-bytes",
        "x-queue-type",
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-stream-filter-size-bytes",
        "x-initial-cluster-size",
        "x-queue-leader-locator",
    ];
    match (kind, version) {
        (Kind::Classic, Emulate::V3_10) => CLASSIC.split_last().map_or(CLASSIC, |(_, rest)| rest),
        (Kind::Classic, _) => CLASSIC,
        (Kind::Quorum, Emulate::V4_3) => QUORUM,
        (Kind::Quorum, _) => QUORUM.split_last().map_or(QUORUM, |(_, rest)| rest),
        (Kind::Stream, Emulate::V4_3) => STREAM_4_3,
        (Kind::Stream, _) => STREAM,
    }
}

/// Compares the arguments of a queue with those of another declaration of it.
///
/// # Errors
/// If one that counts differs.
pub(crate) fn assert_equivalent(
    version: Emulate,
    kind: Kind,
    current: &FieldTable,
    received: TableRef<'_>,
    queue: &Resource<'_>,
) -> Outcome {
    for key in compared(version, kind) {
        let (current, received) = (current.get(key), received.get(key));
        if *key == "x-max-age" && version >= Emulate::V4_3 {
            // An hour is sixty minutes, but only 4.3 knows, and tells.
            let ages = [current, received].map(|age| parse_age(age?.as_bytes()?).map(|millis| millis.to_string()));
            let age = |age| Some(ValueRef::LongString(str::as_bytes(age)));
            let [current_age, received_age] = ages.each_ref().map(|millis| millis.as_deref().and_then(age));
            assert_same_argument(key, current_age.or(current), received_age.or(received), queue)?;
        } else {
            assert_same_argument(key, current, received, queue)?;
        }
    }
    Ok(())
}

/// Compares one argument of a thing with that of another declaration of it.
///
/// # Errors
/// If they differ.
pub(crate) fn assert_same_argument(
    key: &str,
    current: Option<ValueRef<'_>>,
    received: Option<ValueRef<'_>>,
    resource: &Resource<'_>,
) -> Outcome {
    let is_classic = |value: Option<ValueRef<'_>>| value.is_none_or(|value| value.as_str() == Some("classic"));
    let is_same = match (current, received) {
        (None, None) => true,
        (Some(current), Some(received)) => same_value(current, received),
        _ => key == "x-queue-type" && is_classic(current) && is_classic(received),
    };
    if is_same {
        return Ok(());
    }
    let plain = current.is_some() && received.is_some();
    let tell = |value: Option<ValueRef<'_>>| match value {
        None => "none".to_owned(),
        Some(value) if plain => format!("'{}'", Term(value)),
        Some(value) => format!("the value '{}' of type '{}'", Term(value), type_name(&value)),
    };
    Err(inequivalent(key, resource, &tell(received), &tell(current)))
}

fn same_value(one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// That a property of a thing is another in a second declaration.
pub(crate) fn inequivalent(key: &str, resource: &Resource<'_>, received: &str, current: &str) -> Refusal {
    let text = format_args!("inequivalent arg '{key}' for {resource}: received {received} but current is {current}");
    Refusal::precondition(text)
}
