//! What a queue does with messages, and with itself: what its arguments mean.

use amqp_proto::wire::{TableRef, ValueRef};

use super::Kind;
use super::stream::{Retention, parse_age};
use crate::Emulate;
use crate::core::name::Name;

/// What a queue does with messages, by its arguments.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Milliseconds.
    pub(crate) message_ttl: Option<u64>,
    /// Milliseconds.
    pub(crate) expires: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter_exchange: Option<Name>,
    pub(crate) dead_letter_routing_key: Option<Name>,
    /// What has died stays until it is taken elsewhere.
    pub(crate) at_least_once: bool,
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
    pub(crate) delivery_limit: Option<u32>,
    /// Whether a nack counts towards it, as a reject does.
    pub(crate) counts_nacks: bool,
    /// Whether what is put back by its consumer goes behind all others.
    pub(crate) requeues_last: bool,
    /// Milliseconds.
    pub(crate) consumer_timeout: Option<u64>,
    /// What a stream keeps.
    pub(crate) retention: Retention,
}

/// What happens when a queue is full.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

impl Policy {
    pub(crate) fn new(version: Emulate, kind: Kind, arguments: TableRef<'_>) -> Self {
        let number = |key: &str| arguments.get(key).and_then(|value| value.as_u64());
        let name = |key: &str| arguments.get(key).and_then(|value| value.as_bytes()).map(Name::from);
        let overflow = match arguments.get("x-overflow").and_then(|value| value.as_str()) {
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") if kind == Kind::Classic => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        };
        let delivery_limit = match kind {
            Kind::Quorum => match arguments.get("x-delivery-limit").and_then(|value| value.as_i64()) {
                // A negative one is over at once on 3.10, and is none at all since.
                Some(..0) if version == Emulate::V3_10 => Some(0),
                Some(limit) => u32::try_from(limit).ok(),
                None => version.default_delivery_limit(),
            },
            _ => None,
        };
        let retention = Retention {
            max_bytes: number("x-max-length-bytes"),
            max_age: arguments.get("x-max-age").and_then(|value| value.as_bytes()).and_then(parse_age),
            segment_bytes: number("x-stream-max-segment-size-bytes").unwrap_or(Retention::SEGMENT_BYTES),
        };
        Self {
            message_ttl: number("x-message-ttl"),
            expires: number("x-expires"),
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow,
            dead_letter_exchange: name("x-dead-letter-exchange"),
            dead_letter_routing_key: name("x-dead-letter-routing-key"),
            // With another overflow RabbitMQ falls back to `at-most-once`.
            at_least_once: kind == Kind::Quorum
                && arguments.get("x-dead-letter-strategy").and_then(|value| value.as_str()) == Some("at-least-once")
                && overflow == Overflow::RejectPublish,
            max_priority: number("x-max-priority").and_then(|number| u8::try_from(number).ok()).unwrap_or_default(),
            single_active_consumer: arguments.get("x-single-active-consumer") == Some(ValueRef::Bool(true)),
            delivery_limit,
            counts_nacks: !version.tells_acquired_count(),
            requeues_last: kind == Kind::Quorum && delivery_limit.is_none() && version < Emulate::V4_3,
            consumer_timeout: number("x-consumer-timeout").filter(|_| version.knows_consumer_timeout()),
            retention,
        }
    }
}
