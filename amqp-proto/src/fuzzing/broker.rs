//! The broker of the fuzzed connection: it answers, delivers, confirms and closes, or says anything at all.

use super::input::Input;
use crate::method::{
    Method, Properties, ReplyCode, basic, channel, confirm, connection, exchange, methods, put_any, put_content_header,
    queue, tx,
};
use crate::wire::{Frame, FrameKind, LongStr, ShortStr, put_frame, put_heartbeat};

/// What the broker knows of the client.
#[derive(Debug)]
pub(super) struct Broker {
    /// It keeps to the protocol: then the client must find no fault with it.
    pub(super) orderly: bool,
    /// What it has not answered: channel, method, consumer tag.
    unanswered: Vec<(u16, &'static str, String)>,
    channels: Vec<Channel>,
    /// Those that it delivers to.
    consumers: Vec<(u16, String)>,
    last_tag: u64,
}

/// A channel that is open, or that the broker has closed without having an answer.
#[derive(Debug)]
struct Channel {
    number: u16,
    closed: bool,
    transactional: bool,
    /// Publishes to be confirmed, once in confirm mode.
    published: Option<u64>,
}

impl Broker {
    pub(super) fn new(orderly: bool) -> Self {
        Self { orderly, unanswered: Vec::new(), channels: Vec::new(), consumers: Vec::new(), last_tag: 0 }
    }

    /// The client has sent a frame.
    pub(super) fn heard(&mut self, frame: &Frame<'_>) {
        if frame.kind != FrameKind::Method {
            return;
        }
        let number = frame.channel;
        let method = Method::decode(frame.payload).expect("the client's methods decode");
        let name = method.name();
        if name == "channel.open" {
            self.channels.push(Channel { number, closed: false, transactional: false, published: None });
        }
        if let Some(channel) = self.channels.iter_mut().find(|channel| channel.number == number) {
            match name {
                "channel.close-ok" => self.channels.retain(|channel| channel.number != number),
                // What a closed channel is asked for is thrown away.
                _ if channel.closed && name != "channel.close" => return,
                "channel.close" => self.forget(number),
                // The first of these counts.
                "tx.select" => channel.transactional = channel.published.is_none(),
                "confirm.select" if !channel.transactional => channel.published = channel.published.or(Some(0)),
                "basic.publish" => channel.published = channel.published.map(|count| count + 1),
                _ => {}
            }
        }
        if name == "connection.close" {
            self.unanswered.clear();
            self.consumers.clear();
        }
        let tag = match method {
            Method::Basic(basic::Method::Consume(consume)) => consume.consumer_tag.to_string(),
            Method::Basic(basic::Method::Cancel(cancel)) => cancel.consumer_tag.to_string(),
            _ => String::new(),
        };
        let nowait = match method {
            Method::Queue(queue::Method::Declare(declare)) => declare.nowait,
            Method::Basic(basic::Method::Cancel(cancel)) if cancel.nowait => {
                self.consumers.retain(|consumer| *consumer != (number, tag.clone()));
                true
            }
            _ => false,
        };
        if !method.info().replies.is_empty() && !nowait {
            self.unanswered.push((number, name, tag));
        }
    }

    /// A channel is closed: nothing is left to be said on it.
    fn forget(&mut self, number: u16) {
        self.unanswered.retain(|(on, ..)| *on != number);
        self.consumers.retain(|(on, _)| *on != number);
    }

    /// Says something.
    pub(super) fn speak(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        let open: Vec<u16> = self.channels.iter().filter(|channel| !channel.closed).map(|it| it.number).collect();
        let number = match (input.byte(), input.one_of(&open)) {
            (0, _) if !self.orderly => 0,
            (1, _) if !self.orderly => u16::from(input.byte()),
            (_, Some(number)) => number,
            (_, None) => return self.answer(input, out),
        };
        match input.below(16) {
            // What no broker says, or at the wrong time.
            what @ 0..=3 if !self.orderly => Self::anything(input, what, number, out),
            0..=6 => self.answer(input, out),
            7 | 8 => self.deliver(input, out),
            9 | 10 => self.confirm(input, number, out),
            11 => {
                let returned = basic::Return {
                    reply_code: ReplyCode::NO_ROUTE,
                    routing_key: ShortStr::new("q").unwrap(),
                    ..basic::Return::default()
                };
                self.message(input, number, returned.into(), out);
            }
            12 => match input.below(4) {
                0 => put(out, number, channel::Flow { active: input.flag() }),
                1 if input.byte() < 64 => put(out, 0, connection::Blocked::default()),
                2 => put(out, 0, connection::Unblocked {}),
                _ => put_heartbeat(out),
            },
            13 if !self.consumers.is_empty() && input.byte() < 64 => {
                let at = input.below(self.consumers.len());
                // RabbitMQ 4.3 may deliver to it again, until it is cancelled by the client as well.
                let (number, tag) =
                    if input.flag() { self.consumers[at].clone() } else { self.consumers.swap_remove(at) };
                put(out, number, basic::Cancel { consumer_tag: ShortStr::new(&tag).unwrap(), nowait: input.flag() });
            }
            14 if input.byte() < 16 => {
                put(out, number, channel::Close { reply_code: ReplyCode(404), ..channel::Close::default() });
                self.forget(number);
                if let Some(channel) = self.channels.iter_mut().find(|channel| channel.number == number) {
                    channel.closed = true;
                }
            }
            15 if input.byte() == 0 => {
                put(out, 0, connection::Close { reply_code: ReplyCode(320), ..connection::Close::default() });
            }
            _ => {}
        }
    }

    fn anything(input: &mut Input<'_>, what: usize, number: u16, out: &mut Vec<u8>) {
        match what {
            0 => out.extend_from_slice(input.bytes(32)),
            1 => {
                let kinds = [FrameKind::Method, FrameKind::Header, FrameKind::Body, FrameKind::Heartbeat];
                let kind = input.one_of(&kinds).unwrap_or(FrameKind::Body);
                put_frame(out, kind, number, input.bytes(64)).unwrap();
            }
            2 => Self::any_method(input, number, out),
            _ => Self::piece(input, number, out),
        }
    }

    /// The handshake as it should be.
    pub(super) fn handshake(frame_max: u32, out: &mut Vec<u8>) {
        let start =
            connection::Start { version_minor: 9, mechanisms: LongStr(b"PLAIN"), ..connection::Start::default() };
        put(out, 0, start);
        put(out, 0, connection::Tune { channel_max: 4, frame_max, heartbeat: 10 });
        put(out, 0, connection::OpenOk {});
    }

    /// Answers the oldest, or one that the answers of consumers are overtaken by.
    fn answer(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        let overtaken = |name: &str| matches!(name, "basic.consume" | "basic.cancel");
        let at = match input.byte() {
            0..128 => 0,
            255 if !self.orderly => input.below(self.unanswered.len()),
            _ => self.unanswered.iter().position(|(_, name, _)| !overtaken(name)).unwrap_or_default(),
        };
        if at >= self.unanswered.len() {
            return;
        }
        let (number, name, tag) = self.unanswered.remove(at);
        match name {
            "basic.consume" => self.consumers.push((number, tag.clone())),
            "basic.cancel" => self.consumers.retain(|consumer| *consumer != (number, tag.clone())),
            // Where both have closed it, the client's answer is still to come.
            "channel.close" => self.channels.retain(|channel| channel.number != number || channel.closed),
            _ => {}
        }
        let tag = ShortStr::new(&tag).unwrap();
        let reply: Method<'_> = match name {
            "basic.get" if input.flag() => {
                self.last_tag += 1;
                let got = basic::GetOk { delivery_tag: self.last_tag, ..basic::GetOk::default() };
                return self.message(input, number, got.into(), out);
            }
            "basic.get" => basic::GetEmpty {}.into(),
            "basic.consume" => basic::ConsumeOk { consumer_tag: tag }.into(),
            "basic.cancel" => basic::CancelOk { consumer_tag: tag }.into(),
            "basic.qos" => basic::QosOk {}.into(),
            "basic.recover" => basic::RecoverOk {}.into(),
            "channel.open" => channel::OpenOk {}.into(),
            "channel.close" => channel::CloseOk {}.into(),
            "channel.flow" => channel::FlowOk { active: true }.into(),
            "confirm.select" => confirm::SelectOk {}.into(),
            "tx.select" => tx::SelectOk {}.into(),
            "tx.commit" => tx::CommitOk {}.into(),
            "exchange.declare" => exchange::DeclareOk {}.into(),
            "queue.declare" => queue::DeclareOk::default().into(),
            "queue.purge" => queue::PurgeOk::default().into(),
            "connection.close" => connection::CloseOk {}.into(),
            _ => return,
        };
        put(out, number, reply);
    }

    fn deliver(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        if self.consumers.is_empty() {
            return;
        }
        let (number, tag) = self.consumers[input.below(self.consumers.len())].clone();
        self.last_tag = match input.byte() {
            255 if !self.orderly => input.number(),
            _ => self.last_tag + 1,
        };
        let deliver = basic::Deliver {
            consumer_tag: ShortStr::new(&tag).unwrap(),
            delivery_tag: self.last_tag,
            exchange: ShortStr::from_bytes(input.bytes(4)).unwrap(),
            ..basic::Deliver::default()
        };
        self.message(input, number, deliver.into(), out);
    }

    fn confirm(&mut self, input: &mut Input<'_>, number: u16, out: &mut Vec<u8>) {
        let published = self.channels.iter().find(|channel| channel.number == number).and_then(|it| it.published);
        let (mut delivery_tag, multiple) = (input.number(), input.flag());
        if self.orderly {
            let Some(published) = published.filter(|published| *published > 0) else { return };
            delivery_tag = 1 + delivery_tag % published;
        }
        match input.flag() {
            true => put(out, number, basic::Ack { delivery_tag, multiple }),
            false => put(out, number, basic::Nack { delivery_tag, multiple, requeue: false }),
        }
    }

    /// A method with content, mostly whole.
    fn message(&self, input: &mut Input<'_>, number: u16, method: Method<'_>, out: &mut Vec<u8>) {
        put(out, number, method);
        let size = [0, 1, 16, 1024, 1025, 3000, 9000][input.below(7)];
        let body = vec![input.byte(); size];
        put_content_header(out, number, 60, size as u64, &Properties::new()).unwrap();
        let chunk = [4088, 1024, 1000, 500][input.below(4)];
        for part in body.chunks(chunk) {
            if input.byte() == 255 && !self.orderly {
                return;
            }
            put_frame(out, FrameKind::Body, number, part).unwrap();
        }
    }

    /// A method that there is, with any fields.
    fn any_method(input: &mut Input<'_>, number: u16, out: &mut Vec<u8>) {
        let all: Vec<_> = methods().collect();
        let Some(info) = input.one_of(&all) else { return };
        let mut payload = [info.class_id.to_be_bytes(), info.method_id.to_be_bytes()].concat();
        payload.extend_from_slice(input.bytes(40));
        put_frame(out, FrameKind::Method, number, &payload).unwrap();
    }

    /// Part of a message, out of place perhaps.
    fn piece(input: &mut Input<'_>, number: u16, out: &mut Vec<u8>) {
        match input.below(3) {
            0 => put(out, number, basic::GetOk { delivery_tag: input.number(), ..basic::GetOk::default() }),
            1 => put_content_header(out, number, 60, input.number(), &Properties::new()).unwrap(),
            _ => put_frame(out, FrameKind::Body, number, input.bytes(16)).unwrap(),
        }
    }
}

fn put<'a>(out: &mut Vec<u8>, number: u16, method: impl Into<Method<'a>>) {
    put_any(out, number, &method.into()).unwrap();
}
