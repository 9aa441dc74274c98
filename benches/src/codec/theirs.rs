//! amq-protocol's way. Its frames are parsed from a slice and own what they carry.

use std::hint::black_box;

use amq_protocol::frame::parsing::{parse_frame_type, parse_raw_frame};
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use super::messages;

/// Parses all frames of a stream.
pub fn parse_all(mut stream: &[u8], mut handle: impl FnMut(AMQPFrame)) {
    while !stream.is_empty() {
        let Ok((rest, frame)) = parse_frame(stream) else { panic!("the stream was to be valid") };
        handle(frame);
        stream = rest;
    }
}

/// What happens to the messages that come with one read. The buffer is used again for the next.
pub fn read_once(buf: &mut Vec<u8>, message: &[u8], times: u64, handle: impl FnMut(AMQPFrame)) {
    buf.clear();
    for _ in 0..times {
        buf.extend_from_slice(black_box(message));
    }
    parse_all(buf, handle);
}

/// Frames of any kind, not decoded.
pub fn parse_frames(mut stream: &[u8]) {
    while !stream.is_empty() {
        let frame = parse_frame_type(stream).and_then(|(rest, kind)| parse_raw_frame(kind)(rest));
        let Ok((rest, frame)) = frame else { panic!("the stream was to be valid") };
        black_box((frame.frame_type, frame.channel_id, frame.payload));
        stream = rest;
    }
}

fn receive(stream: &[u8], times: u64, mut handle: impl FnMut(AMQPFrame)) {
    for _ in 0..times {
        parse_all(black_box(stream), &mut handle);
    }
}

/// Deliveries of 16 B, every field read.
pub fn decode_delivery(times: u64) {
    receive(&messages::delivery(&messages::body(messages::SMALL)), times, handle_delivery);
}

/// A frame of a delivery, every field read.
pub fn handle_delivery(frame: AMQPFrame) {
    match frame {
        AMQPFrame::Method(channel, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => {
            black_box(channel);
            black_box((&deliver.consumer_tag, &deliver.exchange, &deliver.routing_key));
            black_box((deliver.delivery_tag, deliver.redelivered));
        }
        AMQPFrame::Header(channel, header) => {
            black_box((channel, header.class_id, header.body_size));
            let properties = &header.properties;
            let read = |name: &Option<ShortString>| {
                name.iter().for_each(|name| {
                    black_box(name.as_str());
                });
            };
            read(properties.content_type());
            read(properties.content_encoding());
            read(properties.correlation_id());
            read(properties.reply_to());
            read(properties.expiration());
            read(properties.message_id());
            read(properties.kind());
            read(properties.user_id());
            read(properties.app_id());
            read(properties.cluster_id());
            black_box((properties.delivery_mode(), properties.priority(), properties.timestamp()));
            if let Some(headers) = properties.headers() {
                read_table(headers);
            }
        }
        AMQPFrame::Body(channel, body) => drop(black_box((channel, body))),
        other => panic!("{other:?} was not sent"),
    }
}

fn read_table(table: &FieldTable) {
    for (key, value) in table {
        black_box(key.as_str());
        read_value(value);
    }
}

fn read_value(value: &AMQPValue) {
    match value {
        AMQPValue::FieldTable(table) => read_table(table),
        AMQPValue::FieldArray(array) => array.as_slice().iter().for_each(read_value),
        other => drop(black_box(other)),
    }
}

/// The three frames of a publish.
#[must_use]
pub fn publish(properties: BasicProperties, body: &[u8]) -> [AMQPFrame; 3] {
    let publish = basic::Publish {
        exchange: messages::EXCHANGE.into(),
        routing_key: messages::ROUTING_KEY.into(),
        mandatory: true,
        immediate: false,
    };
    let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
    [
        AMQPFrame::Method(messages::CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))),
        AMQPFrame::Header(messages::CHANNEL, header),
        AMQPFrame::Body(messages::CHANNEL, body.to_vec()),
    ]
}

/// Properties with three headers.
#[must_use]
pub fn properties() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("attempt".into(), AMQPValue::LongInt(black_box(1)));
    headers.insert("replayed".into(), AMQPValue::Boolean(black_box(false)));
    headers.insert("trace-id".into(), AMQPValue::LongString(black_box("4bf92f3577b34da6").into()));
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
        .with_delivery_mode(black_box(2))
}

/// Appends frames.
#[must_use]
pub fn generate(mut out: Vec<u8>, frames: &[AMQPFrame]) -> Vec<u8> {
    for frame in frames {
        let context = gen_frame(frame)(WriteContext::from(out)).unwrap();
        out = context.into_inner().0;
    }
    out
}

/// Publishes of 16 B, the frames being there.
pub fn encode_publish(times: u64) {
    let frames = publish(properties(), &messages::body(messages::SMALL));
    let mut out = Vec::with_capacity(1 << 16);
    for _ in 0..times {
        out = generate(out, black_box(&frames));
        if out.len() > 60_000 {
            black_box(&out);
            out.clear();
        }
    }
}

/// Publishes of 16 B, the frames and properties made for each.
pub fn encode_publish_anew(times: u64) {
    let body = messages::body(messages::SMALL);
    let mut out = Vec::with_capacity(1 << 16);
    for _ in 0..times {
        out = generate(out, &publish(properties(), black_box(&body)));
        if out.len() > 60_000 {
            black_box(&out);
            out.clear();
        }
    }
}

/// A table of 20 entries, parsed and read.
pub fn decode_table(times: u64) {
    let bytes = messages::table_of_20();
    for _ in 0..times {
        read_table_of(black_box(&bytes));
    }
}

/// A table with its length, parsed and read.
pub fn read_table_of(bytes: &[u8]) {
    let Ok((_, table)) = parse_field_table(bytes) else { panic!("the table was to be valid") };
    read_table(&table);
}

/// Acknowledgements.
pub fn decode_ack(times: u64) {
    receive(&messages::ack(), times, handle_ack);
}

/// An acknowledgement, every field read.
pub fn handle_ack(frame: AMQPFrame) {
    let AMQPFrame::Method(channel, AMQPClass::Basic(basic::AMQPMethod::Ack(ack))) = frame else {
        panic!("another frame was not sent");
    };
    black_box((channel, ack.delivery_tag, ack.multiple));
}

/// Heartbeats.
pub fn decode_heartbeat(times: u64) {
    receive(&messages::heartbeat(), times, |frame| drop(black_box(frame)));
}
