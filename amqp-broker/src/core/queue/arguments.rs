//! The arguments of queues: which there are, and what is wrong with them.

use amqp_proto::wire::{FieldTable, FieldValue, TableRef, ValueRef};

use super::Kind;
use super::stream::parse_age;
use crate::Emulate;
use crate::core::erlang::{Quoted, type_name};
use crate::core::message::MAX_EXPIRY;
use crate::core::refusal::{Outcome, Refusal, Resource};

/// How an argument is checked.
#[derive(Clone, Copy)]
enum Check {
    Expires,
    Ttl,
    DeadLetterKey,
    Text,
    OneOf(&'static [&'static str], &'static str),
    NotNegative,
    Positive,
    Priority,
    Flag,
    QueueMode,
    QueueVersion,
    MaxAge,
    /// Any value goes.
    Nothing,
}

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const STREAM: u8 = 4;

/// The arguments in the order in which RabbitMQ checks them, and the types of queues that know them.
const ARGUMENTS: &[(&str, Check, u8)] = &[
    ("x-expires", Check::Expires, CLASSIC | QUORUM),
    ("x-message-ttl", Check::Ttl, CLASSIC | QUORUM),
    ("x-dead-letter-exchange", Check::Text, CLASSIC | QUORUM),
    ("x-dead-letter-routing-key", Check::DeadLetterKey, CLASSIC | QUORUM),
    ("x-dead-letter-strategy", Check::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy"), QUORUM),
    ("x-max-length", Check::NotNegative, CLASSIC | QUORUM),
    ("x-max-length-bytes", Check::NotNegative, CLASSIC | QUORUM | STREAM),
    ("x-max-in-memory-length", Check::NotNegative, QUORUM),
    ("x-max-in-memory-bytes", Check::NotNegative, QUORUM),
    ("x-max-priority", Check::Priority, CLASSIC),
    (
        "x-overflow",
        Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow"),
        CLASSIC | QUORUM,
    ),
    ("x-queue-mode", Check::QueueMode, CLASSIC),
    ("x-queue-version", Check::QueueVersion, CLASSIC),
    ("x-single-active-consumer", Check::Flag, CLASSIC | QUORUM),
    ("x-quorum-initial-group-size", Check::Positive, QUORUM),
    ("x-max-age", Check::MaxAge, STREAM),
    ("x-stream-max-segment-size-bytes", Check::NotNegative, STREAM),
    ("x-stream-filter-size-bytes", Check::NotNegative, STREAM),
    ("x-initial-cluster-size", Check::Positive, STREAM),
    (
        "x-queue-leader-locator",
        Check::OneOf(&["client-local", "balanced", "random", "least-leaders"], "invalid_queue_locator_arg"),
        CLASSIC | QUORUM | STREAM,
    ),
    ("x-delivery-limit", Check::Nothing, QUORUM),
    ("x-queue-master-locator", Check::Nothing, CLASSIC),
];

fn mask(kind: Kind) -> u8 {
    match kind {
        Kind::Classic => CLASSIC,
        Kind::Quorum => QUORUM,
        Kind::Stream => STREAM,
    }
}

/// Whether queues of this type know the argument.
fn knows(version: Emulate, kind: Kind, argument: &str, kinds: u8) -> bool {
    match argument {
        "x-queue-leader-locator" if version == Emulate::V3_10 => kind != Kind::Classic,
        "x-delivery-limit" if version >= Emulate::V4_3 && kind == Kind::Quorum => true,
        _ => kinds & mask(kind) != 0,
    }
}

/// The type of queue that is asked for.
///
/// # Errors
/// If there is no such type.
pub(crate) fn queue_type(arguments: TableRef<'_>, queue: &Resource<'_>) -> Outcome<Kind> {
    match arguments.get("x-queue-type") {
        None => Ok(Kind::Classic),
        Some(ValueRef::LongString(text)) => Kind::of(text).ok_or_else(|| {
            let text = format!("unsupported queue type '{}'", String::from_utf8_lossy(text));
            invalid("x-queue-type", queue, Quoted(&text))
        }),
        Some(other) => Err(invalid("x-queue-type", queue, format_args!("{{unacceptable_type,{}}}", type_name(&other)))),
    }
}

fn invalid(argument: &str, queue: &Resource<'_>, reason: impl std::fmt::Display) -> Refusal {
    Refusal::precondition(format_args!("invalid arg '{argument}' for {queue}: {reason}"))
}

/// Checks the arguments of a new queue.
///
/// # Errors
/// In RabbitMQ's words, the first that is wrong.
pub(crate) fn check(version: Emulate, kind: Kind, arguments: TableRef<'_>, queue: &Resource<'_>) -> Outcome {
    for &(name, check, kinds) in ARGUMENTS {
        if let Some(value) = arguments.get(name)
            && knows(version, kind, name, kinds)
            && let Err(reason) = check_value(version, check, value, arguments)
        {
            return match reason {
                Reason::Text(reason) => Err(invalid(name, queue, reason)),
                Reason::Crash => Err(Refusal::crash()),
            };
        }
    }
    for (key, _) in arguments {
        let known = ARGUMENTS.iter().find(|(name, _, _)| key == *name);
        if let Some(&(name, _, kinds)) = known
            && !knows(version, kind, name, kinds)
        {
            let kind = kind.module();
            return Err(Refusal::precondition(format_args!("invalid arg '{name}' for {queue} of queue type {kind}")));
        }
    }
    check_timeout(version, kind, arguments, queue)
}

/// `x-consumer-timeout`, which older versions let pass everywhere.
fn check_timeout(version: Emulate, kind: Kind, arguments: TableRef<'_>, queue: &Resource<'_>) -> Outcome {
    let Some(value) = arguments.get("x-consumer-timeout").filter(|_| version >= Emulate::V4_3) else { return Ok(()) };
    if kind != Kind::Quorum {
        let kind = kind.module();
        let text = format_args!("invalid arg 'x-consumer-timeout' for {queue} of queue type {kind}");
        return Err(Refusal::precondition(text));
    }
    not_negative(value).map(|_| ()).map_err(|reason| invalid("x-consumer-timeout", queue, reason))
}

/// Checks what RabbitMQ looks at last in the arguments of a new stream.
///
/// # Errors
/// If something is out of its limits.
pub(crate) fn check_stream(version: Emulate, kind: Kind, arguments: TableRef<'_>) -> Outcome {
    if kind != Kind::Stream {
        return Ok(());
    }
    let number = |key: &str| arguments.get(key).and_then(|value| value.as_i64());
    if number("x-stream-max-segment-size-bytes").is_some_and(|size| size > 3_000_000_000) {
        return Err(Refusal::precondition("Exceeded max value for x-stream-max-segment-size-bytes"));
    }
    let is_odd = number("x-stream-filter-size-bytes").is_some_and(|size| !(16..=255).contains(&size));
    match version {
        Emulate::V4_0 if is_odd => Err(Refusal::precondition("Invalid value for  x-stream-filter-size-bytes")),
        Emulate::V4_3 if is_odd => Err(Refusal::precondition("Invalid value for x-stream-filter-size-bytes")),
        _ => Ok(()),
    }
}

enum Reason {
    Text(String),
    /// RabbitMQ fails over it.
    Crash,
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn check_value(version: Emulate, check: Check, value: ValueRef<'_>, all: TableRef<'_>) -> Result<(), Reason> {
    let unacceptable = || Err(Reason::Text(format!("{{unacceptable_type,{}}}", type_name(&value))));
    match check {
        Check::Nothing => Ok(()),
        Check::NotNegative => Ok(not_negative(value).map(|_| ())?),
        Check::Positive => Ok(positive(value).map(|_| ())?),
        Check::Ttl => Ok(expiry(integer(value)?)?),
        Check::Expires => match integer(value)? {
            0 => Err(Reason::Text("{value_zero,0}".to_owned())),
            number => Ok(expiry(number)?),
        },
        Check::Priority => match not_negative(value)? {
            0..=255 => Ok(()),
            number => Err(Reason::Text(format!("{{max_value_exceeded,{number}}}"))),
        },
        Check::Text if value.as_str().is_some() => Ok(()),
        Check::DeadLetterKey => match value {
            ValueRef::LongString(_) if all.contains_key("x-dead-letter-exchange") => Ok(()),
            ValueRef::LongString(_) => Err(Reason::Text("routing_key_but_no_dlx_defined".to_owned())),
            _ => unacceptable(),
        },
        Check::Flag if value.as_bool().is_some() => Ok(()),
        Check::Text | Check::Flag => unacceptable(),
        Check::OneOf(words, otherwise) => match value {
            ValueRef::LongString(text) if words.iter().any(|word| word.as_bytes() == text) => Ok(()),
            ValueRef::LongString(_) => Err(Reason::Text(otherwise.to_owned())),
            _ => unacceptable(),
        },
        Check::QueueMode if !version.knows_queue_mode() => Ok(()),
        Check::QueueMode => match value {
            ValueRef::LongString(b"lazy" | b"default") => Ok(()),
            ValueRef::LongString(text) => {
                let text = format!("unsupported queue mode '{}'", String::from_utf8_lossy(text));
                Err(Reason::Text(Quoted(&text).to_string()))
            }
            _ => unacceptable(),
        },
        Check::QueueVersion => match not_negative(value)? {
            2 => Ok(()),
            1 if version < Emulate::V4_3 => Ok(()),
            number => Err(Reason::Text(Quoted(&format!("unsupported queue version '{number}'")).to_string())),
        },
        Check::MaxAge => match value {
            ValueRef::LongString(text) if parse_age(text).is_some() => Ok(()),
            ValueRef::LongString(_) if version < Emulate::V4_3 => Err(Reason::Crash),
            ValueRef::LongString(_) => Err(Reason::Text("invalid_max_age".to_owned())),
            _ => unacceptable(),
        },
    }
}

fn integer(value: ValueRef<'_>) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| Quoted(&format!("expected integer, got {}", type_name(&value))).to_string())
}

fn not_negative(value: ValueRef<'_>) -> Result<i64, String> {
    match integer(value)? {
        number @ ..0 => Err(format!("{{value_negative,{number}}}")),
        number => Ok(number),
    }
}

fn positive(value: ValueRef<'_>) -> Result<i64, String> {
    match not_negative(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        number => Ok(number),
    }
}

fn expiry(number: i64) -> Result<(), String> {
    match number {
        ..0 => Err(format!("{{value_negative,{number}}}")),
        0..=MAX_EXPIRY => Ok(()),
        _ => Err(format!("{{value_too_large,{number}}}")),
    }
}

/// The arguments as the broker keeps them: since 4.0 always with the type.
pub(crate) fn completed(version: Emulate, arguments: TableRef<'_>) -> FieldTable {
    let mut table = arguments.to_owned();
    if version.adds_queue_type() && !table.contains_key("x-queue-type") {
        // A short entry fits.
        let _ = table.insert("x-queue-type", FieldValue::from("classic"));
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        table = crate::core::message::table_of(entries);
    }
    table
}
