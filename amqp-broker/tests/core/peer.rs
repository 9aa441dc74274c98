//! A world with a broker and its clients, and how to talk to it in a few words.

use std::time::{Duration, Instant};

use amqp_broker::{Core, Emulate, Limits, SessionId};
use amqp_proto::method::{
    ContentHeader, Method, Properties, basic, channel, confirm, connection, exchange, put_any, put_content_header,
    queue,
};
use amqp_proto::table;
use amqp_proto::wire::{Deframer, FieldTable, FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;

/// A broker in virtual time.
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Instant,
}

/// A client's end of a session.
#[derive(Clone, Copy)]
pub(crate) struct Client(pub(crate) SessionId);

impl World {
    pub(crate) fn new(version: Emulate) -> Self {
        Self::with_limits(version, Limits::of(version))
    }

    pub(crate) fn with_limits(version: Emulate, limits: Limits) -> Self {
        let now = Instant::now();
        Self { core: Core::new(version, limits, now, Duration::from_secs(1_000_000), 7), now }
    }

    /// A client that has sent nothing yet.
    pub(crate) fn stranger(&mut self) -> Client {
        Client(self.core.connect(self.now, 40_000))
    }

    /// A client with channel 1 open.
    pub(crate) fn client(&mut self) -> Client {
        let client = self.stranger();
        self.bytes(client, b"AMQP\0\0\x09\x01");
        let capabilities = table! {
            "authentication_failure_close" => true,
            "connection.blocked" => true,
            "consumer_cancel_notify" => true,
        };
        let properties = table! { "capabilities" => capabilities, "connection_name" => "tester" };
        let start = connection::StartOk {
            client_properties: properties.as_ref(),
            mechanism: short("PLAIN"),
            response: LongStr(b"\0guest\0guest"),
            locale: short("en_US"),
        };
        self.send(client, 0, start);
        self.send(client, 0, connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
        self.send(client, 0, connection::Open { virtual_host: short("/") });
        self.send(client, 1, channel::Open {});
        let heard = self.hear(client);
        assert_eq!(heard.last().map(String::as_str), Some("1 channel.open-ok"), "{heard:?}");
        client
    }

    pub(crate) fn bytes(&mut self, client: Client, bytes: &[u8]) {
        self.core.handle_input(self.now, client.0, &mut BytesMut::from(bytes));
    }

    pub(crate) fn send<'a>(&mut self, client: Client, channel: u16, method: impl Into<Method<'a>>) {
        let mut out = Vec::new();
        put_any(&mut out, channel, &method.into()).unwrap();
        self.bytes(client, &out);
    }

    /// Sends methods at once, on channel 1.
    pub(crate) fn pipeline(&mut self, client: Client, methods: &[Method<'_>]) {
        let mut out = Vec::new();
        for method in methods {
            put_any(&mut out, 1, method).unwrap();
        }
        self.bytes(client, &out);
    }

    /// Sends a method on channel 1, and gives what came of it.
    pub(crate) fn ask<'a>(&mut self, client: Client, method: impl Into<Method<'a>>) -> Vec<String> {
        self.send(client, 1, method);
        self.hear(client)
    }

    pub(crate) fn publish(&mut self, client: Client, exchange: &str, key: &str, body: &str) {
        self.bytes(client, &message(exchange, key, body, &Properties::new(), false));
    }

    pub(crate) fn declare(&mut self, client: Client, name: &str, arguments: &FieldTable) {
        let heard = self.ask(client, declare(name, arguments));
        assert!(heard[0].starts_with("1 queue.declare-ok"), "{heard:?}");
    }

    pub(crate) fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// What the broker has said since the last time, a line for each method, and for each message its properties and body.
    pub(crate) fn hear(&mut self, client: Client) -> Vec<String> {
        let mut out = Vec::new();
        self.core.take_outbound(self.now, client.0, &mut out);
        let mut lines = Vec::new();
        if let Some(header) = out.strip_prefix(b"AMQP") {
            return vec![format!("AMQP {header:?}")];
        }
        let mut input = BytesMut::from(&out[..]);
        let mut deframer = Deframer::new(0);
        while let Some(block) = deframer.next_block(&mut input).unwrap() {
            for frame in block.frames() {
                lines.push(match frame.kind {
                    FrameKind::Method => {
                        format!("{} {}", frame.channel, text_of(&Method::decode(frame.payload).unwrap()))
                    }
                    FrameKind::Header => {
                        let header = ContentHeader::decode(frame.payload).unwrap();
                        let properties = format!("{:?}", header.properties.decode().unwrap());
                        let properties = properties.trim_start_matches("Properties").trim();
                        format!("  header {} {properties}", header.body_size).trim_end().to_owned()
                    }
                    FrameKind::Body => format!("  body {}", String::from_utf8_lossy(frame.payload)),
                    FrameKind::Heartbeat => "heartbeat".to_owned(),
                });
            }
        }
        assert!(input.is_empty());
        lines
    }

    /// What the broker has said, without content headers.
    pub(crate) fn hear_briefly(&mut self, client: Client) -> Vec<String> {
        self.hear(client).into_iter().filter(|line| !line.starts_with("  header")).collect()
    }
}

/// The frames of a publish on channel 1.
pub(crate) fn message(exchange: &str, key: &str, body: &str, properties: &Properties, mandatory: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let publish =
        basic::Publish { exchange: short(exchange), routing_key: short(key), mandatory, ..basic::Publish::default() };
    put_any(&mut out, 1, &publish_method(publish)).unwrap();
    put_content_header(&mut out, 1, 60, body.len() as u64, properties).unwrap();
    if !body.is_empty() {
        put_frame(&mut out, FrameKind::Body, 1, body.as_bytes()).unwrap();
    }
    out
}

fn publish_method(publish: basic::Publish<'_>) -> Method<'_> {
    basic::Method::Publish(publish).into()
}

pub(crate) fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text).unwrap()
}

pub(crate) fn declare<'a>(name: &'a str, arguments: &'a FieldTable) -> Method<'a> {
    let durable = arguments.contains_key("x-queue-type");
    let declare =
        queue::Declare { queue: short(name), durable, arguments: arguments.as_ref(), ..queue::Declare::default() };
    queue::Method::Declare(declare).into()
}

pub(crate) fn passive(name: &str) -> Method<'_> {
    queue::Method::Declare(queue::Declare { queue: short(name), passive: true, ..queue::Declare::default() }).into()
}

pub(crate) fn purge(name: &str) -> Method<'_> {
    queue::Method::Purge(queue::Purge { queue: short(name), nowait: false }).into()
}

pub(crate) fn exchange<'a>(name: &'a str, kind: &'a str) -> Method<'a> {
    let declare = exchange::Declare { exchange: short(name), kind: short(kind), ..exchange::Declare::default() };
    exchange::Method::Declare(declare).into()
}

pub(crate) fn bind<'a>(queue: &'a str, exchange: &'a str, key: &'a str, arguments: &'a FieldTable) -> Method<'a> {
    queue::Method::Bind(queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        nowait: false,
        arguments: arguments.as_ref(),
    })
    .into()
}

pub(crate) fn consume<'a>(queue: &'a str, tag: &'a str) -> Method<'a> {
    let consume = basic::Consume { queue: short(queue), consumer_tag: short(tag), ..basic::Consume::default() };
    basic::Method::Consume(consume).into()
}

pub(crate) fn cancel(tag: &str) -> Method<'_> {
    basic::Method::Cancel(basic::Cancel { consumer_tag: short(tag), nowait: false }).into()
}

pub(crate) fn get(queue: &str) -> Method<'_> {
    basic::Method::Get(basic::Get { queue: short(queue), no_ack: false }).into()
}

pub(crate) fn take(queue: &str) -> Method<'_> {
    basic::Method::Get(basic::Get { queue: short(queue), no_ack: true }).into()
}

pub(crate) fn ack(delivery_tag: u64) -> Method<'static> {
    basic::Method::Ack(basic::Ack { delivery_tag, multiple: false }).into()
}

pub(crate) fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Method<'static> {
    basic::Method::Nack(basic::Nack { delivery_tag, multiple, requeue }).into()
}

pub(crate) fn reject(delivery_tag: u64, requeue: bool) -> Method<'static> {
    basic::Method::Reject(basic::Reject { delivery_tag, requeue }).into()
}

pub(crate) fn qos(prefetch_count: u16, global: bool) -> Method<'static> {
    basic::Method::Qos(basic::Qos { prefetch_size: 0, prefetch_count, global }).into()
}

pub(crate) fn confirms() -> Method<'static> {
    confirm::Method::Select(confirm::Select { nowait: false }).into()
}

/// A method in a few words.
fn text_of(method: &Method<'_>) -> String {
    let name = method.name();
    match method {
        Method::Queue(queue::Method::DeclareOk(it)) => {
            format!("{name} {} {} {}", it.queue, it.message_count, it.consumer_count)
        }
        Method::Queue(queue::Method::DeleteOk(it)) => format!("{name} {}", it.message_count),
        Method::Queue(queue::Method::PurgeOk(it)) => format!("{name} {}", it.message_count),
        Method::Basic(basic::Method::ConsumeOk(it)) => format!("{name} {}", it.consumer_tag),
        Method::Basic(basic::Method::CancelOk(it)) => format!("{name} {}", it.consumer_tag),
        Method::Basic(basic::Method::Cancel(it)) => format!("{name} {}", it.consumer_tag),
        Method::Basic(basic::Method::Ack(it)) => format!("{name} {}{}", it.delivery_tag, multiple(it.multiple)),
        Method::Basic(basic::Method::Nack(it)) => format!("{name} {}{}", it.delivery_tag, multiple(it.multiple)),
        Method::Basic(basic::Method::Return(it)) => {
            format!("{name} {} {} {:?}", it.reply_code.0, it.reply_text, it.routing_key)
        }
        Method::Basic(basic::Method::Deliver(it)) => {
            format!("{name} {} {}{} {}", it.consumer_tag, it.delivery_tag, again(it.redelivered), it.routing_key)
        }
        Method::Basic(basic::Method::GetOk(it)) => {
            format!("{name} {}{} {} left {}", it.delivery_tag, again(it.redelivered), it.routing_key, it.message_count)
        }
        Method::Channel(channel::Method::Close(it)) => format!("{name} {} {}", it.reply_code.0, it.reply_text),
        Method::Connection(connection::Method::Close(it)) => {
            format!("{name} {} {} ({}.{})", it.reply_code.0, it.reply_text, it.class_id, it.method_id)
        }
        Method::Connection(connection::Method::Blocked(it)) => format!("{name} {}", it.reason),
        _ => name.to_owned(),
    }
}

fn multiple(multiple: bool) -> &'static str {
    if multiple { " multiple" } else { "" }
}

fn again(redelivered: bool) -> &'static str {
    if redelivered { " again" } else { "" }
}
