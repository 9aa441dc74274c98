//! What a dead-lettered message tells of its deaths: `x-death` and its kin.

use std::borrow::Cow;

use amqp_proto::method::{Properties, PropertiesRef};
use amqp_proto::wire::{FieldTable, FieldValue};

use super::message::{Message, with_headers};
use super::name::Name;
use crate::Emulate;

/// Why a message died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// That a message died in a queue for a reason, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    queue: Name,
    reason: Reason,
    exchange: Name,
    routing_keys: Vec<Name>,
    count: u64,
    /// Seconds since 1970, of the first time.
    time: u64,
    original_expiration: Option<u64>,
}

/// The deaths of a message with one more. The last one is first.
pub(crate) fn record(message: &Message, queue: &Name, reason: Reason, unix_seconds: u64) -> Vec<Death> {
    let mut deaths = message.deaths().to_vec();
    let known = deaths.iter().position(|death| death.queue == *queue && death.reason == reason);
    let death = match known {
        Some(at) => {
            let death = deaths.remove(at);
            Death { count: death.count + 1, ..death }
        }
        None => Death {
            queue: queue.clone(),
            reason,
            exchange: message.exchange().clone(),
            routing_keys: message.shown_keys().map(Name::from).collect(),
            count: 1,
            time: unix_seconds,
            original_expiration: message.expiration(),
        },
    };
    deaths.insert(0, death);
    deaths
}

/// Whether a message that comes to `queue` again has come there by itself, without anybody's rejecting it.
pub(crate) fn is_cycle(deaths: &[Death], queue: &Name) -> bool {
    match deaths.iter().position(|death| death.queue == *queue) {
        None => false,
        Some(at) => deaths.iter().take(at + 1).all(|death| death.reason != Reason::Rejected),
    }
}

/// The properties of a message that has died.
pub(crate) fn properties(
    version: Emulate,
    properties: &PropertiesRef<'_>,
    deaths: &[Death],
    rerouted: bool,
) -> Properties {
    let mut headers: Vec<(Cow<'static, str>, FieldValue)> = Vec::new();
    let tables = deaths.iter().map(|death| FieldValue::Table(table(version, death))).collect();
    headers.push(("x-death".into(), FieldValue::Array(tables)));
    let text = |name: &Name| FieldValue::LongString(name.as_bytes().to_vec());
    let mut tell = |which: &str, death: &Death| {
        headers.push((format!("x-{which}-death-exchange").into(), text(&death.exchange)));
        headers.push((format!("x-{which}-death-queue").into(), text(&death.queue)));
        headers.push((format!("x-{which}-death-reason").into(), death.reason.name().into()));
    };
    // The first death never leaves the list: it only moves to the front when it happens again.
    let is_first = properties.headers.is_none_or(|headers| !headers.contains_key("x-first-death-reason"));
    if is_first && let Some(first) = deaths.last() {
        tell("first", first);
    }
    if version.tells_last_death()
        && let Some(last) = deaths.first()
    {
        tell("last", last);
    }
    let mut properties = PropertiesRef { expiration: None, ..*properties };
    let without_cc;
    if rerouted
        && !version.tells_last_death()
        && let Some(headers) = properties.headers
    {
        without_cc = super::message::table_of(headers.iter().filter(|(key, _)| key != "CC"));
        properties.headers = Some(without_cc.as_ref());
    }
    with_headers(&properties, headers)
}

fn table(version: Emulate, death: &Death) -> FieldTable {
    let text = |name: &Name| FieldValue::LongString(name.as_bytes().to_vec());
    let mut table = FieldTable::new();
    let mut put = |key: &str, value: FieldValue| {
        // Short keys and flat values fit.
        let _ = table.insert(key, value);
    };
    let expiration = death.original_expiration.map(|millis| FieldValue::from(millis.to_string()));
    if version.tells_last_death()
        && let Some(expiration) = expiration.clone()
    {
        put("original-expiration", expiration);
    }
    put("count", FieldValue::I64(death.count.cast_signed()));
    put("reason", death.reason.name().into());
    put("queue", text(&death.queue));
    put("time", FieldValue::Timestamp(death.time));
    put("exchange", text(&death.exchange));
    put("routing-keys", FieldValue::Array(death.routing_keys.iter().map(text).collect()));
    if !version.tells_last_death()
        && let Some(expiration) = expiration
    {
        put("original-expiration", expiration);
    }
    table
}
