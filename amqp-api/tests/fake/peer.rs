//! A scripted broker: it answers what a broker answers, keeps nothing, and remembers what it was sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amqp_api::FieldTable;
use amqp_api::proto::method::{
    ContentHeader, Method, MethodCodec, Properties, ReplyCode, basic, channel, confirm, connection, exchange,
    put_content_header, put_method, queue, tx,
};
use amqp_api::proto::wire::{Deframer, Frame, FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;

pub(crate) struct Peer {
    /// What it wants to say.
    pub(crate) out: Vec<u8>,
    /// Methods that it does not answer, `queue.declare` for example.
    pub(crate) mute: Vec<&'static str>,
    /// It holds confirms back.
    pub(crate) hold_confirms: bool,
    /// It says nothing but by [`release`](Self::release), one answer at a time.
    pub(crate) late: bool,
    /// What it would have said, by the method that it answers.
    pub(crate) held: VecDeque<(&'static str, Vec<u8>)>,
    /// It asks for this heartbeat interval, in seconds.
    pub(crate) heartbeat: u16,
    /// It has closed the stream.
    pub(crate) hung_up: bool,
    /// Every method that came: channel and name.
    pub(crate) seen: Vec<(u16, &'static str)>,
    /// Every settlement that came.
    pub(crate) settled: Vec<Settled>,
    /// Every message that came: channel, routing key, delivery mode, body.
    pub(crate) published: Vec<(u16, String, Option<u8>, Vec<u8>)>,
    /// Heartbeats that came.
    pub(crate) heartbeats: usize,
    /// What was logged in with, then each new secret.
    pub(crate) secrets: Vec<String>,
    /// Consumers that live.
    pub(crate) consumers: Vec<(u16, String)>,
    /// Deliveries that each new consumer gets at once.
    pub(crate) greeting: usize,
    /// Messages that it has given out.
    pub(crate) given: usize,
    /// Those of them that are neither settled nor gone back with their channel: its number, and the delivery tag.
    pub(crate) unsettled: BTreeSet<(u16, u64)>,
    pub(crate) buffer: BytesMut,
    pub(crate) deframer: Option<Deframer>,
    pub(crate) channels: BTreeMap<u16, ChannelState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool, requeue: bool },
    Reject { tag: u64, requeue: bool },
}

#[derive(Default)]
pub(crate) struct ChannelState {
    /// The last publish, in confirm mode.
    sequence: Option<u64>,
    confirmed: u64,
    delivery_tag: u64,
    /// It was closed from here: all is ignored until close-ok.
    closing: bool,
    incoming: Option<Incoming>,
}

struct Incoming {
    exchange: String,
    routing_key: String,
    mandatory: bool,
    size: usize,
    properties: Properties,
    body: Vec<u8>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            mute: Vec::new(),
            hold_confirms: false,
            late: false,
            held: VecDeque::new(),
            heartbeat: 60,
            hung_up: false,
            seen: Vec::new(),
            settled: Vec::new(),
            published: Vec::new(),
            heartbeats: 0,
            secrets: Vec::new(),
            consumers: Vec::new(),
            greeting: 0,
            given: 0,
            unsettled: BTreeSet::new(),
            buffer: BytesMut::new(),
            deframer: None,
            channels: BTreeMap::new(),
        }
    }
}

impl Peer {
    pub(crate) fn mute(mut self, methods: &[&'static str]) -> Self {
        self.mute = methods.to_vec();
        self
    }

    pub(crate) fn has_seen(&self, name: &str) -> bool {
        self.seen.iter().any(|(_, seen)| *seen == name)
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.seen.iter().filter(|(_, seen)| *seen == name).count()
    }

    /// Every tag that was acked, one by one.
    pub(crate) fn acked(&self) -> Vec<u64> {
        let mut acked = Vec::new();
        for settled in &self.settled {
            match *settled {
                Settled::Ack { tag, multiple: false } => acked.push(tag),
                Settled::Ack { tag, multiple: true } => {
                    let from = acked.iter().max().map_or(1, |last| last + 1);
                    acked.extend(from..=tag);
                }
                _ => {}
            }
        }
        acked.sort_unstable();
        acked
    }

    /// Bytes came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.deframer.is_none() {
            if self.buffer.len() < 8 {
                return;
            }
            assert_eq!(&self.buffer.split_to(8)[..], b"AMQP\0\0\x09\x01");
            self.deframer = Some(Deframer::new(131_072));
            let server_properties = FieldTable::new().with("product", "scripted").unwrap();
            self.say(
                0,
                &connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: server_properties.as_ref(),
                    mechanisms: LongStr(b"PLAIN AMQPLAIN"),
                    locales: LongStr(b"en_US"),
                },
            );
        }
        while let Some(block) = self.deframer.as_mut().unwrap().next_block(&mut self.buffer).unwrap() {
            block.frames().for_each(|frame| {
                let before = self.out.len();
                let answers = self.frame(&frame);
                self.hold(answers, before);
            });
        }
        let before = self.out.len();
        self.confirm_all();
        self.hold("basic.ack", before);
    }

    fn hold(&mut self, answers: &'static str, from: usize) {
        if self.late && self.out.len() > from {
            self.held.push_back((answers, self.out.split_off(from)));
        }
    }

    /// Gives the oldest answer that was held back, and says to which method.
    pub(crate) fn release(&mut self) -> Option<&'static str> {
        let (answers, bytes) = self.held.pop_front()?;
        self.out.extend_from_slice(&bytes);
        Some(answers)
    }

    /// Says a method, unless what it answers is muted.
    pub(crate) fn say<'a, M: MethodCodec<'a>>(&mut self, channel: u16, method: &M) {
        put_method(&mut self.out, channel, method).unwrap();
    }

    /// A frame came; says what it was.
    fn frame(&mut self, frame: &Frame<'_>) -> &'static str {
        match frame.kind {
            FrameKind::Heartbeat => self.heartbeats += 1,
            FrameKind::Method => {
                let method = Method::decode(frame.payload).unwrap();
                self.method(frame.channel, &method);
                return method.name();
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).unwrap();
                let state = self.channels.get_mut(&frame.channel).unwrap();
                if let Some(incoming) = &mut state.incoming {
                    incoming.size = usize::try_from(header.body_size).unwrap();
                    incoming.properties = header.properties.decode().unwrap().to_owned();
                }
                self.message_if_complete(frame.channel);
            }
            FrameKind::Body => {
                let state = self.channels.get_mut(&frame.channel).unwrap();
                if let Some(incoming) = &mut state.incoming {
                    incoming.body.extend_from_slice(frame.payload);
                }
                self.message_if_complete(frame.channel);
            }
        }
        "content"
    }

    fn method(&mut self, number: u16, method: &Method<'_>) {
        let name = method.name();
        self.seen.push((number, name));
        if let Some(state) = self.channels.get_mut(&number)
            && state.closing
        {
            if name == "channel.close-ok" {
                self.channels.remove(&number);
            }
            return;
        }
        let muted = self.mute.contains(&name);
        match *method {
            Method::Basic(basic::Method::Publish(publish)) => {
                self.channels.get_mut(&number).unwrap().incoming = Some(Incoming {
                    exchange: publish.exchange.to_string_lossy().into_owned(),
                    routing_key: publish.routing_key.to_string_lossy().into_owned(),
                    mandatory: publish.mandatory,
                    size: usize::MAX,
                    properties: Properties::new(),
                    body: Vec::new(),
                });
            }
            Method::Basic(basic::Method::Ack(it)) => {
                self.settle(number, it.delivery_tag, it.multiple);
                self.settled.push(Settled::Ack { tag: it.delivery_tag, multiple: it.multiple });
            }
            Method::Basic(basic::Method::Nack(it)) => {
                self.settle(number, it.delivery_tag, it.multiple);
                self.settled.push(Settled::Nack { tag: it.delivery_tag, multiple: it.multiple, requeue: it.requeue });
            }
            Method::Basic(basic::Method::Reject(it)) => {
                self.settle(number, it.delivery_tag, false);
                self.settled.push(Settled::Reject { tag: it.delivery_tag, requeue: it.requeue });
            }
            _ if muted => {}
            Method::Connection(connection::Method::StartOk(it)) => {
                self.secrets.push(String::from_utf8_lossy(it.response.0).into_owned());
                self.say(0, &connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: self.heartbeat });
            }
            Method::Connection(connection::Method::UpdateSecret(it)) => {
                self.secrets.push(String::from_utf8_lossy(it.new_secret.0).into_owned());
                self.say(0, &connection::UpdateSecretOk {});
            }
            Method::Connection(connection::Method::Open(_)) => self.say(0, &connection::OpenOk {}),
            Method::Connection(connection::Method::Close(_)) => {
                self.say(0, &connection::CloseOk {});
                self.hung_up = true;
            }
            Method::Connection(connection::Method::CloseOk(_)) => self.hung_up = true,
            Method::Channel(channel::Method::Open(_)) => {
                self.channels.insert(number, ChannelState::default());
                self.say(number, &channel::OpenOk {});
            }
            Method::Channel(channel::Method::Close(_)) => {
                self.channels.remove(&number);
                self.consumers.retain(|(channel, _)| *channel != number);
                self.unsettled.retain(|(channel, _)| *channel != number);
                self.say(number, &channel::CloseOk {});
            }
            Method::Queue(queue::Method::Declare(declare)) if !declare.nowait => {
                let message_count = messages(declare.queue);
                self.say(number, &queue::DeclareOk { queue: declare.queue, message_count, consumer_count: 0 });
            }
            Method::Queue(queue::Method::Bind(bind)) if !bind.nowait => self.say(number, &queue::BindOk {}),
            Method::Queue(queue::Method::Unbind(_)) => self.say(number, &queue::UnbindOk {}),
            Method::Queue(queue::Method::Purge(purge)) if !purge.nowait => {
                self.say(number, &queue::PurgeOk { message_count: messages(purge.queue) });
            }
            Method::Queue(queue::Method::Delete(delete)) if !delete.nowait => {
                self.say(number, &queue::DeleteOk { message_count: messages(delete.queue) });
            }
            Method::Exchange(exchange::Method::Declare(declare)) if !declare.nowait => {
                self.say(number, &exchange::DeclareOk {});
            }
            Method::Exchange(exchange::Method::Delete(delete)) if !delete.nowait => {
                self.say(number, &exchange::DeleteOk {});
            }
            Method::Exchange(exchange::Method::Bind(bind)) if !bind.nowait => self.say(number, &exchange::BindOk {}),
            Method::Exchange(exchange::Method::Unbind(unbind)) if !unbind.nowait => {
                self.say(number, &exchange::UnbindOk {});
            }
            Method::Channel(channel::Method::Flow(flow)) => {
                self.say(number, &channel::FlowOk { active: flow.active });
            }
            Method::Confirm(confirm::Method::Select(_)) => {
                self.channels.get_mut(&number).unwrap().sequence = Some(0);
                self.say(number, &confirm::SelectOk {});
            }
            Method::Tx(tx::Method::Select(_)) => self.say(number, &tx::SelectOk {}),
            Method::Tx(tx::Method::Commit(_)) => self.say(number, &tx::CommitOk {}),
            Method::Tx(tx::Method::Rollback(_)) => self.say(number, &tx::RollbackOk {}),
            Method::Basic(basic::Method::Recover(_)) => self.say(number, &basic::RecoverOk {}),
            Method::Basic(basic::Method::Qos(_)) => self.say(number, &basic::QosOk {}),
            Method::Basic(basic::Method::Consume(consume)) => {
                let tag = consume.consumer_tag.to_string_lossy().into_owned();
                self.say(number, &basic::ConsumeOk { consumer_tag: consume.consumer_tag });
                self.consumers.push((number, tag));
                (0..self.greeting).for_each(|at| self.deliver(format!("greeting {at}").as_bytes()));
            }
            Method::Basic(basic::Method::Cancel(cancel)) => {
                let tag = cancel.consumer_tag.to_string_lossy().into_owned();
                self.consumers.retain(|(_, other)| *other != tag);
                self.say(number, &basic::CancelOk { consumer_tag: cancel.consumer_tag });
            }
            Method::Basic(basic::Method::Get(_)) => self.answer_get(number),
            _ => {}
        }
    }

    /// Answers a `basic.get` with a message.
    pub(crate) fn answer_get(&mut self, number: u16) {
        let tag = self.next_tag(number);
        self.say(
            number,
            &basic::GetOk {
                delivery_tag: tag,
                redelivered: false,
                exchange: ShortStr::EMPTY,
                routing_key: ShortStr::new("got").unwrap(),
                message_count: 7,
            },
        );
        self.content(number, b"got");
    }

    /// Delivers to the latest consumer.
    pub(crate) fn deliver(&mut self, body: &[u8]) {
        let (_, tag) = self.consumers.last().cloned().unwrap();
        self.deliver_to(&tag, body);
    }

    /// Delivers to the consumer with this tag.
    pub(crate) fn deliver_to(&mut self, tag: &str, body: &[u8]) {
        let (number, tag) = self.consumers.iter().find(|(_, other)| other == tag).cloned().unwrap();
        let delivery_tag = self.next_tag(number);
        self.say(
            number,
            &basic::Deliver {
                consumer_tag: ShortStr::new(&tag).unwrap(),
                delivery_tag,
                redelivered: false,
                exchange: ShortStr::new("from").unwrap(),
                routing_key: ShortStr::new("key").unwrap(),
            },
        );
        self.content(number, body);
    }

    fn next_tag(&mut self, number: u16) -> u64 {
        self.given += 1;
        let state = self.channels.get_mut(&number).unwrap();
        state.delivery_tag += 1;
        self.unsettled.insert((number, state.delivery_tag));
        state.delivery_tag
    }

    fn settle(&mut self, number: u16, tag: u64, multiple: bool) {
        let is_meant = |other: u64| other == tag || (multiple && other < tag);
        self.unsettled.retain(|(channel, other)| *channel != number || !is_meant(*other));
    }

    fn content(&mut self, number: u16, body: &[u8]) {
        let mut properties = Properties::new();
        properties.set_reply_to("replies").unwrap();
        put_content_header(&mut self.out, number, 60, body.len() as u64, &properties).unwrap();
        for part in body.chunks(131_064) {
            put_frame(&mut self.out, FrameKind::Body, number, part).unwrap();
        }
    }

    fn message_if_complete(&mut self, number: u16) {
        let state = self.channels.get_mut(&number).unwrap();
        let Some(incoming) = state.incoming.take_if(|incoming| incoming.body.len() >= incoming.size) else { return };
        if incoming.exchange == "missing" {
            self.confirm(number);
            self.channels.get_mut(&number).unwrap().closing = true;
            self.say(
                number,
                &channel::Close {
                    reply_code: ReplyCode(404),
                    reply_text: ShortStr::new("NOT_FOUND - no exchange 'missing'").unwrap(),
                    class_id: 60,
                    method_id: 40,
                },
            );
            return;
        }
        if let Some(sequence) = &mut state.sequence {
            *sequence += 1;
        }
        if incoming.mandatory && incoming.exchange == "nowhere" {
            self.say(
                number,
                &basic::Return {
                    reply_code: ReplyCode(312),
                    reply_text: ShortStr::new("NO_ROUTE").unwrap(),
                    exchange: ShortStr::new("nowhere").unwrap(),
                    routing_key: ShortStr::new(&incoming.routing_key).unwrap(),
                },
            );
            put_content_header(&mut self.out, number, 60, incoming.body.len() as u64, &incoming.properties).unwrap();
            put_frame(&mut self.out, FrameKind::Body, number, &incoming.body).unwrap();
        }
        self.answer_call(number, &incoming);
        let mode = incoming.properties.view().delivery_mode;
        self.published.push((number, incoming.routing_key, mode, incoming.body));
    }

    /// Sends a request over direct reply-to back as its own reply, to the consumer of its channel. The queue `unserved` has
    /// nobody who would.
    fn answer_call(&mut self, number: u16, request: &Incoming) {
        let asked = request.properties.view();
        let is_served = request.routing_key != "unserved";
        let is_call =
            is_served && asked.reply_to.is_some_and(|queue| queue.to_string_lossy() == "amq.rabbitmq.reply-to");
        let Some((_, tag)) = self.consumers.iter().find(|(channel, _)| *channel == number && is_call).cloned() else {
            return;
        };
        let state = self.channels.get_mut(&number).unwrap();
        state.delivery_tag += 1;
        let delivery_tag = state.delivery_tag;
        self.say(
            number,
            &basic::Deliver {
                consumer_tag: ShortStr::new(&tag).unwrap(),
                delivery_tag,
                redelivered: false,
                exchange: ShortStr::EMPTY,
                routing_key: ShortStr::EMPTY,
            },
        );
        let mut properties = Properties::new();
        properties.set_correlation_id(asked.correlation_id.unwrap().to_string_lossy()).unwrap();
        put_content_header(&mut self.out, number, 60, request.body.len() as u64, &properties).unwrap();
        put_frame(&mut self.out, FrameKind::Body, number, &request.body).unwrap();
    }

    fn confirm_all(&mut self) {
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.confirm(number));
    }

    fn confirm(&mut self, number: u16) {
        let state = self.channels.get_mut(&number).unwrap();
        let Some(sequence) = state.sequence else { return };
        if !self.hold_confirms && sequence > state.confirmed && !state.closing {
            let multiple = sequence > state.confirmed + 1;
            state.confirmed = sequence;
            self.say(number, &basic::Ack { delivery_tag: sequence, multiple });
        }
    }
}

/// How many messages it says are in a queue: the number in the queue's name, so that each queue has a reply of its own.
fn messages(queue: ShortStr<'_>) -> u32 {
    queue.to_string_lossy().trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}
