//! The bytes that are worked on.

use amqp_proto::method::{Properties, basic, put_content_header, put_method};
use amqp_proto::table;
use amqp_proto::wire::{FieldTable, FieldValue, FrameKind, ShortStr, put_frame, put_heartbeat};

/// The channel of all messages.
pub const CHANNEL: u16 = 1;

/// Where messages are published to.
pub const EXCHANGE: &str = "events";

/// And with what routing key.
pub const ROUTING_KEY: &str = "order.created";

/// The consumer of the deliveries, as RabbitMQ names them.
pub const CONSUMER_TAG: &str = "amq.ctag-5Rh0pPXr4tcMVtYxWOFNuA";

/// The size of the body where nothing else is said, in bytes.
pub const SMALL: usize = 16;

/// A body.
#[must_use]
pub fn body(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}

/// The three headers of a message, in the order in which amq-protocol writes them.
#[must_use]
pub fn headers() -> FieldTable {
    table! { "attempt" => 1, "replayed" => false, "trace-id" => "4bf92f3577b34da6" }
}

/// Properties with three headers.
#[must_use]
pub fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.set_content_type("application/json").unwrap();
    properties.set_headers(headers()).unwrap();
    properties.set_delivery_mode(2);
    properties
}

/// A delivery: a method, a header and a body frame.
#[must_use]
pub fn delivery(body: &[u8]) -> Vec<u8> {
    let deliver = basic::Deliver {
        consumer_tag: ShortStr::new(CONSUMER_TAG).unwrap(),
        delivery_tag: 1000,
        redelivered: false,
        exchange: ShortStr::new(EXCHANGE).unwrap(),
        routing_key: ShortStr::new(ROUTING_KEY).unwrap(),
    };
    let mut out = Vec::new();
    put_method(&mut out, CHANNEL, &deliver).unwrap();
    put_content_header(&mut out, CHANNEL, basic::CLASS_ID, body.len() as u64, &properties()).unwrap();
    put_frame(&mut out, FrameKind::Body, CHANNEL, body).unwrap();
    out
}

/// An acknowledgement.
#[must_use]
pub fn ack() -> Vec<u8> {
    let mut out = Vec::new();
    put_method(&mut out, CHANNEL, &basic::Ack { delivery_tag: 1000, multiple: false }).unwrap();
    out
}

/// A heartbeat.
#[must_use]
pub fn heartbeat() -> Vec<u8> {
    let mut out = Vec::new();
    put_heartbeat(&mut out);
    out
}

/// A table of 20 entries of various types, with its length.
#[must_use]
pub fn table_of_20() -> Vec<u8> {
    let table = table! {
        "x-queue-type" => "quorum",
        "x-delivery-limit" => 5,
        "x-max-length" => 100_000i64,
        "x-overflow" => "reject-publish",
        "durable" => true,
        "ratio" => 0.75f64,
        "small" => 7u8,
        "temperature" => -3i8,
        "port" => 5672u16,
        "offset" => -20i16,
        "count" => 4_000_000_000u32,
        "created" => FieldValue::Timestamp(1_700_000_000),
        "price" => FieldValue::Decimal { scale: 2, value: 1999 },
        "nothing" => FieldValue::Void,
        "checksum" => b"\x01\x02\x03\x04\x05\x06\x07\x08",
        "single" => 1.5f32,
        "tags" => vec![FieldValue::from("red"), FieldValue::from("green"), FieldValue::from(3)],
        "origin" => table! { "host" => "node-1", "region" => "eu-west-1" },
        "trace-id" => "4bf92f3577b34da6a3ce929d0e0e4736",
        "x-death" => vec![FieldValue::from(table! { "count" => 1i64, "queue" => "orders" })],
    };
    let entries = table.as_ref().as_wire();
    [&u32::try_from(entries.len()).unwrap().to_be_bytes()[..], entries].concat()
}
