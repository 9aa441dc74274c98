//! Our way.
//!
//! Bytes come as from a socket: a buffer is filled with many messages, cut into a block, and the frames of the block
//! are decoded. The copy into the buffer stands for the read, and is counted with the rest. It is made message by
//! message, because valgrind counts long copies byte by byte.

use std::hint::black_box;

use amqp_proto::method::{ContentHeader, Method, Properties, basic, put_content_header, put_method};
use amqp_proto::wire::{ArrayRef, Block, Deframer, Frame, FrameKind, ShortStr, TableRef, ValueRef, put_frame};
use bytes::{Bytes, BytesMut};

use super::messages;

/// How many messages come with one read.
const PER_READ: u64 = 64;

/// Feeds `times` messages to a deframer and handles each block.
fn receive(message: &[u8], times: u64, mut handle: impl FnMut(&Block)) {
    let mut deframer = Deframer::new(131_072);
    for _ in 0..times / PER_READ {
        read_once(&mut deframer, message, PER_READ, &mut handle);
    }
}

/// What happens to the messages that come with one read.
pub fn read_once(deframer: &mut Deframer, message: &[u8], times: u64, mut handle: impl FnMut(&Block)) {
    let mut buf = BytesMut::with_capacity(message.len() * usize::try_from(times).unwrap());
    for _ in 0..times {
        buf.extend_from_slice(black_box(message));
    }
    while let Some(block) = deframer.next_block(&mut buf).unwrap() {
        handle(&block);
    }
}

/// Deliveries of 16 B, every field read.
pub fn decode_delivery(times: u64) {
    receive(&messages::delivery(&messages::body(messages::SMALL)), times, handle_delivery_block);
}

/// Deliveries of 16 B, every field read, every name as text.
pub fn decode_delivery_utf8(times: u64) {
    receive(&messages::delivery(&messages::body(messages::SMALL)), times, handle_delivery_block_utf8);
}

/// Deliveries, every field read.
pub fn handle_delivery_block(block: &Block) {
    handle_deliveries(block, |name| {
        black_box(name.as_bytes());
    });
}

/// Deliveries, every field read, every name as text.
pub fn handle_delivery_block_utf8(block: &Block) {
    handle_deliveries(block, |name| {
        black_box(name.to_str().unwrap());
    });
}

#[inline(always)]
fn handle_deliveries(block: &Block, read_name: impl Fn(ShortStr<'_>)) {
    for frame in block.frames() {
        match frame.kind {
            FrameKind::Method => read_deliver(frame, &read_name),
            FrameKind::Header => read_header(frame, &read_name),
            FrameKind::Body => drop(black_box(own_body(block, frame))),
            FrameKind::Heartbeat => panic!("a heartbeat was not sent"),
        }
        black_box(frame.channel);
    }
}

#[inline(always)]
fn read_deliver(frame: Frame<'_>, read_name: &impl Fn(ShortStr<'_>)) {
    let Method::Basic(basic::Method::Deliver(deliver)) = Method::decode(frame.payload).unwrap() else {
        panic!("another method was not sent");
    };
    read_name(deliver.consumer_tag);
    read_name(deliver.exchange);
    read_name(deliver.routing_key);
    black_box((deliver.delivery_tag, deliver.redelivered));
}

#[inline(always)]
fn read_header(frame: Frame<'_>, read_name: &impl Fn(ShortStr<'_>)) {
    let header = ContentHeader::decode(frame.payload).unwrap();
    black_box((header.class_id, header.body_size));
    let properties = header.properties.decode().unwrap();
    let read = |name: Option<ShortStr<'_>>| name.into_iter().for_each(read_name);
    read(properties.content_type);
    read(properties.content_encoding);
    read(properties.correlation_id);
    read(properties.reply_to);
    read(properties.expiration);
    read(properties.message_id);
    read(properties.kind);
    read(properties.user_id);
    read(properties.app_id);
    read(properties.cluster_id);
    black_box((properties.delivery_mode, properties.priority, properties.timestamp));
    if let Some(headers) = properties.headers {
        read_table(headers);
    }
}

/// A body of one's own.
#[expect(dead_code, reason = "it is only made")]
enum Body {
    Copied(Vec<u8>),
    Shared(Bytes),
}

/// A body of 1 KiB or less is copied, a larger one shared.
#[inline(always)]
fn own_body(block: &Block, frame: Frame<'_>) -> Body {
    if frame.payload.len() <= 1024 {
        Body::Copied(frame.payload.to_vec())
    } else {
        Body::Shared(block.slice_ref(frame.payload))
    }
}

/// Every key and every value, nested ones too. Keys are UTF-8: that was checked.
pub fn read_table(table: TableRef<'_>) {
    for (key, value) in table {
        black_box(key.as_bytes());
        read_value(value);
    }
}

fn read_array(array: ArrayRef<'_>) {
    for value in array {
        read_value(value);
    }
}

fn read_value(value: ValueRef<'_>) {
    match value {
        ValueRef::Table(table) => read_table(table),
        ValueRef::Array(array) => read_array(array),
        other => drop(black_box(other)),
    }
}

/// A delivery that owns what it has, its properties not decoded.
struct Retained {
    deliver: Bytes,
    delivery_tag: u64,
    header: Bytes,
    body: Body,
}

/// Deliveries of 16 B, made owned, with the properties retained undecoded.
pub fn decode_delivery_retained(times: u64) {
    let message = messages::delivery(&messages::body(messages::SMALL));
    receive(&message, times, handle_retained);
}

/// Deliveries made owned, with the properties retained undecoded.
pub fn handle_retained(block: &Block) {
    let mut frames = block.frames();
    while let (Some(method), Some(header), Some(body)) = (frames.next(), frames.next(), frames.next()) {
        let Ok(Method::Basic(basic::Method::Deliver(deliver))) = Method::decode(method.payload) else {
            panic!("another method was not sent");
        };
        let content = ContentHeader::decode(header.payload).unwrap();
        assert_eq!(content.body_size, body.payload.len() as u64);
        let delivery = Retained {
            deliver: block.slice_ref(method.payload),
            delivery_tag: deliver.delivery_tag,
            header: block.slice_ref(content.properties.as_bytes()),
            body: own_body(block, body),
        };
        let delivery = black_box(delivery);
        black_box((delivery.deliver.len(), delivery.delivery_tag, delivery.header.len(), &delivery.body));
    }
}

/// Publishes of 16 B with properties that are there.
pub fn encode_publish(times: u64) {
    let (properties, body) = (messages::properties(), messages::body(messages::SMALL));
    let mut out = Vec::with_capacity(1 << 16);
    for _ in 0..times {
        put_publish(&mut out, black_box(&properties), black_box(&body));
        if out.len() > 60_000 {
            black_box(&out);
            out.clear();
        }
    }
}

/// The three frames of a publish.
#[inline(always)]
pub fn put_publish(out: &mut Vec<u8>, properties: &Properties, body: &[u8]) {
    let publish = basic::Publish {
        exchange: ShortStr::new(black_box(messages::EXCHANGE)).unwrap(),
        routing_key: ShortStr::new(black_box(messages::ROUTING_KEY)).unwrap(),
        mandatory: true,
        immediate: false,
    };
    put_method(out, messages::CHANNEL, &publish).unwrap();
    put_content_header(out, messages::CHANNEL, basic::CLASS_ID, body.len() as u64, properties).unwrap();
    put_frame(out, FrameKind::Body, messages::CHANNEL, body).unwrap();
}

/// Publishes of 16 B, the properties and headers set for each.
pub fn encode_publish_anew(times: u64) {
    let body = messages::body(messages::SMALL);
    let mut out = Vec::with_capacity(1 << 16);
    for _ in 0..times {
        let mut properties = Properties::new();
        properties.set_content_type(black_box("application/json")).unwrap();
        properties.insert_header(black_box("attempt"), black_box(1)).unwrap();
        properties.insert_header(black_box("replayed"), black_box(false)).unwrap();
        properties.insert_header(black_box("trace-id"), black_box("4bf92f3577b34da6")).unwrap();
        properties.set_delivery_mode(black_box(2));
        put_publish(&mut out, &properties, black_box(&body));
        if out.len() > 60_000 {
            black_box(&out);
            out.clear();
        }
    }
}

/// A table of 20 entries, validated and read.
pub fn decode_table(times: u64) {
    let bytes = messages::table_of_20();
    for _ in 0..times {
        read_table(TableRef::from_wire(&black_box(&bytes)[4..]).unwrap());
    }
}

/// A table of 20 entries, validated, made owned and read.
pub fn decode_table_owned(times: u64) {
    let bytes = messages::table_of_20();
    for _ in 0..times {
        let table = TableRef::from_wire(&black_box(&bytes)[4..]).unwrap().to_owned();
        read_table(black_box(&table).as_ref());
    }
}

/// Acknowledgements.
pub fn decode_ack(times: u64) {
    let message = messages::ack();
    receive(&message, times, handle_acks);
}

/// Acknowledgements, every field read.
pub fn handle_acks(block: &Block) {
    for frame in block.frames() {
        let Method::Basic(basic::Method::Ack(ack)) = Method::decode(frame.payload).unwrap() else {
            panic!("another method was not sent");
        };
        black_box((frame.channel, ack.delivery_tag, ack.multiple));
    }
}

/// Heartbeats.
pub fn decode_heartbeat(times: u64) {
    let message = messages::heartbeat();
    receive(&message, times, handle_frames);
}

/// Frames of any kind, not decoded.
pub fn handle_frames(block: &Block) {
    for frame in block.frames() {
        black_box((frame.kind, frame.channel, frame.payload));
    }
}
