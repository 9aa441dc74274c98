//! The broker's side of a connection: scripted, in virtual time, frame by frame.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use amqp_proto::config::{Config, Heartbeat};
use amqp_proto::conn::{
    ChannelId, ConfirmId, Connection, Consume, ConsumerId, Delivery, Event, Next, Outbound, Outcome, Publish,
    PublishBody, Reply, RequestId,
};
use amqp_proto::error::{Error, ErrorKind, ProtocolError};
use amqp_proto::method::{
    Method, Properties, ReplyCode, basic, channel, confirm, connection, exchange, put_any, put_content_header, queue,
    tx,
};
use amqp_proto::wire::{Deframer, FrameKind, LongStr, PROTOCOL_HEADER, ShortStr, TableRef, put_frame};
use bytes::BytesMut;

use crate::watch::Watch;

/// A frame that the client sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    pub(crate) fn method(&self) -> Method<'_> {
        Method::decode(&self.payload).expect("the client's methods decode")
    }

    /// Channel and method name, such as `1 basic.ack`, or `1 header`, `1 body`, `0 heartbeat`.
    pub(crate) fn name(&self) -> String {
        let what = match self.kind {
            FrameKind::Method => self.method().name(),
            FrameKind::Header => "header",
            FrameKind::Body => "body",
            FrameKind::Heartbeat => "heartbeat",
        };
        format!("{} {what}", self.channel)
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FrameKind::Method => write!(f, "{} {:?}", self.channel, self.method()),
            _ => write!(f, "{} of {} bytes", self.name(), self.payload.len()),
        }
    }
}

/// The connection under test, its driver, and the broker's end of the socket between.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) now: Instant,
    start: Instant,
    /// Events that a test has not looked at.
    pub(crate) events: Vec<Event>,
    /// The broker does not read: nothing that the client has to say is written.
    pub(crate) stalled: bool,
    /// From the broker to the client: in the socket, then read but not cut.
    socket: BytesMut,
    read: BytesMut,
    deframer: Deframer,
    /// From the client to the broker.
    outbound: Outbound,
    written: BytesMut,
    server: Deframer,
    frames: VecDeque<Sent>,
    watch: Watch,
}

/// A short string; names in tests fit.
pub(crate) fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text).unwrap()
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The configuration of most tests: no heartbeats and no recovery, so that only what a test is about happens.
pub(crate) fn quiet() -> Config {
    Config::default().heartbeat(Heartbeat::Disabled).no_recovery()
}

pub(crate) const TUNE: connection::Tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };

impl Peer {
    /// A connection whose protocol header has been read.
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 1)
    }

    fn seeded(config: Config, seed: u64) -> Self {
        let now = Instant::now();
        let mut peer = Self {
            connection: Connection::new(config, now, seed),
            now,
            start: now,
            events: Vec::new(),
            stalled: false,
            socket: BytesMut::new(),
            read: BytesMut::new(),
            deframer: Deframer::new(0),
            outbound: Outbound::new(),
            written: BytesMut::new(),
            // Before tuning, RabbitMQ takes this much since 4.1.
            server: Deframer::new(8192),
            frames: VecDeque::new(),
            watch: Watch::default(),
        };
        peer.deframer.set_frame_max(peer.connection.frame_max());
        peer.connection.arm(now);
        peer.connection.take_outbound(&mut peer.outbound);
        assert_eq!(peer.outbound.to_vec(), PROTOCOL_HEADER);
        peer.connection.handle_wrote(now, PROTOCOL_HEADER.len());
        peer.outbound.advance(PROTOCOL_HEADER.len());
        peer
    }

    /// An open connection without heartbeats.
    pub(crate) fn open() -> Self {
        Self::open_with(quiet(), TUNE)
    }

    /// An open connection, tuned so.
    pub(crate) fn open_with(config: Config, tune: connection::Tune) -> Self {
        Self::open_seeded(config, tune, 1)
    }

    /// The same with another seed.
    pub(crate) fn open_seeded(config: Config, tune: connection::Tune, seed: u64) -> Self {
        let mut peer = Self::seeded(config, seed);
        peer.handshake(tune);
        let opened = peer.connection.opened();
        assert!(matches!(peer.reply(opened), Ok(Reply::Done)));
        peer.events.clear();
        peer
    }

    /// The whole handshake, with this tuning.
    pub(crate) fn handshake(&mut self, tune: connection::Tune) {
        self.start();
        assert_eq!(self.names(), ["0 connection.start-ok"]);
        self.send(0, tune);
        assert_eq!(self.names(), ["0 connection.tune-ok", "0 connection.open"]);
        self.send(0, connection::OpenOk {});
        assert!(self.connection.is_open());
    }

    /// `connection.start`.
    pub(crate) fn start(&mut self) {
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: TableRef::EMPTY,
            mechanisms: LongStr(b"AMQPLAIN PLAIN"),
            locales: LongStr(b"en_US"),
        };
        self.send(0, start);
    }

    // ---- the next transport ------------------------------------------------------------------------------------

    /// Lets the back-off pass; returns how long it took.
    pub(crate) fn wait_for_attempt(&mut self) -> Duration {
        let before = self.now;
        self.turn();
        while !self.connection.wants_transport() {
            assert!(!self.connection.is_finished(), "it does not come back");
            let (at, _) = self.connection.poll_timeout().expect("there is a next attempt");
            self.now = self.now.max(at);
            self.connection.handle_timeout(self.now);
            self.turn();
        }
        self.now - before
    }

    /// Waits for the next attempt, and gives it another transport, whose protocol header has been read.
    pub(crate) fn redial(&mut self) {
        self.wait_for_attempt();
        self.connection.restart(self.now);
        self.socket.clear();
        self.read.clear();
        self.outbound = Outbound::new();
        self.written.clear();
        self.frames.clear();
        self.server = Deframer::new(4096);
        self.watch = Watch::default();
        self.deframer = Deframer::new(0);
        self.deframer.set_frame_max(self.connection.frame_max());
        self.connection.arm(self.now);
        self.connection.take_outbound(&mut self.outbound);
        assert_eq!(self.outbound.to_vec(), PROTOCOL_HEADER);
        self.connection.handle_wrote(self.now, PROTOCOL_HEADER.len());
        self.outbound.advance(PROTOCOL_HEADER.len());
    }

    /// The next attempt, as far as open-ok.
    pub(crate) fn reconnect(&mut self) {
        self.reconnect_with(TUNE);
    }

    /// The same with another tuning.
    pub(crate) fn reconnect_with(&mut self, tune: connection::Tune) {
        self.redial();
        self.start();
        assert_eq!(self.names(), ["0 connection.start-ok"]);
        self.send(0, tune);
        assert_eq!(self.names(), ["0 connection.tune-ok", "0 connection.open"]);
        self.send(0, connection::OpenOk {});
    }

    // ---- the driver --------------------------------------------------------------------------------------------

    /// A turn of the driver, and as many more as there is something to do.
    pub(crate) fn turn(&mut self) {
        while !self.socket.is_empty() && self.connection.wants_read() {
            let chunk = self.socket.len().min(64 * 1024);
            self.read.extend_from_slice(&self.socket.split_to(chunk));
            self.connection.handle_received(self.now);
            self.cut();
        }
        self.connection.arm(self.now);
        if !self.stalled {
            while self.write(usize::MAX) > 0 {}
        }
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    fn cut(&mut self) {
        loop {
            match self.deframer.next_block(&mut self.read) {
                Ok(Some(block)) => self.connection.handle_block(self.now, &block),
                Ok(None) => break,
                Err(error) => {
                    self.connection.handle_frame_error(self.now, error);
                    self.read.clear();
                    break;
                }
            }
            self.deframer.set_frame_max(self.connection.frame_max());
        }
    }

    /// Writes up to this many bytes of what the client has to say; takes the next only when all is written. Returns how
    /// many bytes left.
    pub(crate) fn write(&mut self, most: usize) -> usize {
        if self.outbound.is_empty() {
            self.connection.take_outbound(&mut self.outbound);
        }
        let bytes = self.outbound.to_vec();
        let count = bytes.len().min(most);
        if count > 0 {
            self.written.extend_from_slice(&bytes[..count]);
            self.outbound.advance(count);
            self.connection.handle_wrote(self.now, count);
            self.receive();
        }
        count
    }

    /// The broker reads what was written.
    fn receive(&mut self) {
        while let Some(block) = self.server.next_block(&mut self.written).expect("the client sends whole frames") {
            for frame in block.frames() {
                let sent = Sent { kind: frame.kind, channel: frame.channel, payload: frame.payload.to_vec() };
                self.watch.frame(&frame);
                self.frames.push_back(sent);
            }
        }
        if let Some(tuning) = self.connection.tuning() {
            self.server.set_frame_max(tuning.frame_max);
        }
    }

    /// Lets time pass, and every deadline in it fire in order.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut fired = 0;
        self.turn();
        while let Some((at, reason)) = self.connection.poll_timeout().filter(|(at, _)| *at <= end) {
            if self.connection.is_finished() || self.connection.wants_transport() {
                break;
            }
            fired = if at > self.now { 0 } else { fired + 1 };
            assert!(fired < 100, "the deadline {reason:?} fires again and again");
            self.now = self.now.max(at);
            self.connection.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// Time since the connection began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    // ---- the broker speaks -------------------------------------------------------------------------------------

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.extend_from_slice(bytes);
        self.turn();
    }

    /// Sends bytes in pieces of this size, each read by itself.
    pub(crate) fn send_in_pieces(&mut self, bytes: &[u8], size: usize) {
        bytes.chunks(size).for_each(|piece| self.send_bytes(piece));
    }

    /// Sends a method.
    pub(crate) fn send<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        let mut bytes = Vec::new();
        put_any(&mut bytes, channel, &method.into()).unwrap();
        self.send_bytes(&bytes);
    }

    /// Sends a frame of any kind.
    pub(crate) fn send_frame(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, kind, channel, payload).unwrap();
        self.send_bytes(&bytes);
    }

    /// Sends a method with content.
    pub(crate) fn send_message<'a>(
        &mut self,
        channel: u16,
        method: impl Into<Method<'a>>,
        properties: &Properties,
        body: &[u8],
    ) {
        let frame_max = self.connection.frame_max() as usize;
        self.send_bytes(&message(channel, method, properties, body, frame_max - 8));
    }

    /// Delivers a message.
    pub(crate) fn deliver(&mut self, channel: u16, consumer: &str, tag: u64, body: &[u8]) {
        self.send_message(channel, deliver(consumer, tag), &Properties::new(), body);
    }

    /// Gives a message to `basic.get`.
    pub(crate) fn get_ok(&mut self, channel: u16, tag: u64, body: &[u8]) {
        let got = basic::GetOk { delivery_tag: tag, routing_key: short("q"), ..basic::GetOk::default() };
        self.send_message(channel, got, &Properties::new(), body);
    }

    /// Confirms publishes.
    pub(crate) fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.send(channel, basic::Ack { delivery_tag, multiple });
    }

    /// Refuses publishes.
    pub(crate) fn nack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.send(channel, basic::Nack { delivery_tag, multiple, requeue: false });
    }

    /// Closes a channel with this code, because of a publish.
    pub(crate) fn close_channel(&mut self, channel: u16, code: u16, text: &str) {
        let close =
            channel::Close { reply_code: ReplyCode(code), reply_text: short(text), class_id: 60, method_id: 40 };
        self.send(channel, close);
    }

    /// Closes the connection with this code.
    pub(crate) fn close(&mut self, code: u16, text: &str) {
        let close =
            connection::Close { reply_code: ReplyCode(code), reply_text: short(text), class_id: 0, method_id: 0 };
        self.send(0, close);
    }

    /// Ends the stream.
    pub(crate) fn eof(&mut self) {
        self.connection.handle_eof(self.now);
        self.turn();
    }

    // ---- what the client has sent ------------------------------------------------------------------------------

    /// Everything that the client has sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        self.turn();
        std::mem::take(&mut self.frames).into()
    }

    /// The same, by name.
    pub(crate) fn names(&mut self) -> Vec<String> {
        self.sent().iter().map(Sent::name).collect()
    }

    /// What was written so far and not looked at, without a turn.
    pub(crate) fn frames_written(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.frames).into()
    }

    /// The client has sent exactly this method.
    #[track_caller]
    pub(crate) fn expect<'a>(&mut self, channel: u16, method: impl Into<Method<'a>>) {
        self.expect_all([(channel, method.into())]);
    }

    /// The client has sent exactly these methods.
    #[track_caller]
    pub(crate) fn expect_all<'a>(&mut self, methods: impl IntoIterator<Item = (u16, Method<'a>)>) {
        let sent = self.sent();
        let found: Vec<(u16, Method<'_>)> = sent.iter().map(|sent| (sent.channel, sent.method())).collect();
        assert_eq!(found, methods.into_iter().collect::<Vec<_>>());
    }

    /// The client has sent nothing.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        assert_eq!(self.names(), [""; 0]);
    }

    /// The client has closed the connection with this code, and nothing else.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: ReplyCode) {
        let sent = self.sent();
        let [close] = &sent[..] else { panic!("not one frame: {sent:?}") };
        let Method::Connection(connection::Method::Close(close)) = close.method() else { panic!("{close:?}") };
        assert_eq!(close.reply_code, code, "{}", close.reply_text);
        assert!(!close.reply_text.is_empty());
        assert!(self.connection.is_finished());
    }

    // ---- the application ---------------------------------------------------------------------------------------

    /// The reply to a request, which must be there.
    #[track_caller]
    pub(crate) fn reply(&mut self, request: RequestId) -> Result<Reply, Error> {
        self.turn();
        self.connection.take_reply(request).expect("the reply is there")
    }

    /// The error of a request.
    #[track_caller]
    pub(crate) fn error(&mut self, request: RequestId) -> Error {
        self.reply(request).expect_err("the request fails")
    }

    /// There is no reply yet.
    #[track_caller]
    pub(crate) fn expect_waiting(&mut self, request: RequestId) {
        self.turn();
        let reply = self.connection.take_reply(request);
        assert!(reply.is_none(), "{reply:?}");
    }

    /// An open channel. The first is number 1 on the wire.
    pub(crate) fn channel(&mut self) -> ChannelId {
        let (id, request) = self.connection.open_channel().unwrap();
        let sent = self.sent();
        let [open] = &sent[..] else { panic!("not one frame: {sent:?}") };
        assert_eq!(open.method(), channel::Open {}.into());
        self.send(open.channel, channel::OpenOk {});
        assert!(matches!(self.reply(request), Ok(Reply::Done)));
        id
    }

    /// An open channel in confirm mode.
    pub(crate) fn confirm_channel(&mut self) -> ChannelId {
        let id = self.channel();
        let request = self.connection.request(id, confirm::Select { nowait: false }, None).unwrap().unwrap();
        let sent = self.sent();
        assert_eq!(sent[0].method(), confirm::Select { nowait: false }.into());
        self.send(sent[0].channel, confirm::SelectOk {});
        assert!(matches!(self.reply(request), Ok(Reply::Done)));
        id
    }

    /// An open channel in transaction mode.
    pub(crate) fn tx_channel(&mut self) -> ChannelId {
        let id = self.channel();
        let request = self.connection.request(id, tx::Select {}, None).unwrap().unwrap();
        let sent = self.sent();
        assert_eq!(sent[0].method(), tx::Select {}.into());
        self.send(sent[0].channel, tx::SelectOk {});
        assert!(matches!(self.reply(request), Ok(Reply::Done)));
        id
    }

    /// A consumer of this tag, which the broker has confirmed.
    pub(crate) fn consumer(&mut self, channel: ChannelId, consume: &Consume<'_>) -> ConsumerId {
        let request = self.connection.consume(channel, consume, None).unwrap();
        let sent = self.sent();
        for sent in &sent {
            match sent.method() {
                Method::Basic(basic::Method::Qos(_)) => self.send(sent.channel, basic::QosOk {}),
                Method::Basic(basic::Method::Consume(consume)) => {
                    self.send(sent.channel, basic::ConsumeOk { consumer_tag: consume.consumer_tag });
                }
                method => panic!("{method:?}"),
            }
        }
        match self.reply(request) {
            Ok(Reply::Consuming(consumer)) => consumer,
            reply => panic!("{reply:?}"),
        }
    }

    /// A `queue.declare` that waits for its answer.
    pub(crate) fn declare(&mut self, channel: ChannelId, name: &str) -> RequestId {
        let declare = queue::Declare { queue: short(name), ..queue::Declare::default() };
        self.connection.request(channel, declare, None).unwrap().unwrap()
    }

    /// The answer to a `queue.declare`.
    pub(crate) fn declare_ok(&mut self, channel: u16, name: &str) {
        self.send(channel, queue::DeclareOk { queue: short(name), message_count: 0, consumer_count: 0 });
    }

    /// The name that a `queue.declare` was answered with.
    #[track_caller]
    pub(crate) fn declared(&mut self, request: RequestId) -> String {
        match self.reply(request) {
            Ok(Reply::QueueDeclared { queue, .. }) => queue,
            reply => panic!("{reply:?}"),
        }
    }

    /// Answers what was sent on this channel to open it again, and what belongs to it; returns what that was, by name.
    #[track_caller]
    pub(crate) fn grant_all(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return names;
            }
            for sent in &sent {
                names.push(sent.name());
                self.grant(sent);
            }
        }
    }

    /// Answers a method that is part of restoring.
    #[track_caller]
    pub(crate) fn grant(&mut self, sent: &Sent) {
        let number = sent.channel;
        match sent.method() {
            Method::Channel(channel::Method::Open(_)) => self.send(number, channel::OpenOk {}),
            Method::Channel(channel::Method::Close(_)) => self.send(number, channel::CloseOk {}),
            Method::Exchange(exchange::Method::Declare(_)) => self.send(number, exchange::DeclareOk {}),
            Method::Exchange(exchange::Method::Bind(_)) => self.send(number, exchange::BindOk {}),
            Method::Queue(queue::Method::Declare(it)) => {
                let name = it.queue.to_string_lossy().into_owned();
                self.declare_ok(number, if name.is_empty() { "amq.gen-new" } else { &name });
            }
            Method::Queue(queue::Method::Bind(_)) => self.send(number, queue::BindOk {}),
            Method::Confirm(_) => self.send(number, confirm::SelectOk {}),
            Method::Tx(tx::Method::Select(_)) => self.send(number, tx::SelectOk {}),
            Method::Basic(basic::Method::Qos(_)) => self.send(number, basic::QosOk {}),
            Method::Basic(basic::Method::Consume(it)) => {
                self.send(number, basic::ConsumeOk { consumer_tag: it.consumer_tag });
            }
            method => panic!("{method:?}"),
        }
    }

    /// Publishes a small message without properties to the default exchange, confirmed.
    pub(crate) fn publish_confirmed(&mut self, channel: ChannelId, routing_key: &str, mandatory: bool) -> ConfirmId {
        let properties = Properties::new();
        let publish = Publish { mandatory, ..publish(routing_key, &properties, b"x") };
        self.connection.publish_confirmed(channel, &publish).unwrap()
    }

    /// The outcome of a publish, which must be there.
    #[track_caller]
    pub(crate) fn outcome(&mut self, confirm: ConfirmId) -> Outcome {
        self.turn();
        self.connection.take_outcome(confirm).expect("the outcome is there")
    }

    /// The next delivery, which must be there.
    #[track_caller]
    pub(crate) fn next(&mut self, consumer: ConsumerId) -> Delivery {
        match self.connection.next_delivery(consumer) {
            Next::Delivery(delivery) => delivery,
            next => panic!("{next:?}"),
        }
    }

    /// The next word of a consumer is an error.
    #[track_caller]
    pub(crate) fn next_error(&mut self, consumer: ConsumerId) -> Error {
        match self.connection.next_delivery(consumer) {
            Next::Bad(error) => error,
            next => panic!("{next:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_ended(&mut self, consumer: ConsumerId) {
        let next = self.connection.next_delivery(consumer);
        assert!(matches!(next, Next::Ended), "{next:?}");
    }

    #[track_caller]
    pub(crate) fn expect_pending(&mut self, consumer: ConsumerId) {
        let next = self.connection.next_delivery(consumer);
        assert!(matches!(next, Next::Pending), "{next:?}");
    }
}

/// `basic.deliver` of an unnamed message.
pub(crate) fn deliver(consumer: &str, tag: u64) -> basic::Deliver<'_> {
    let consumer_tag = short(consumer);
    basic::Deliver { consumer_tag, delivery_tag: tag, routing_key: short("q"), ..basic::Deliver::default() }
}

/// `basic.return`.
pub(crate) fn returned<'a>(exchange: &'a str, routing_key: &'a str) -> basic::Return<'a> {
    basic::Return {
        reply_code: ReplyCode::NO_ROUTE,
        reply_text: short("NO_ROUTE"),
        exchange: short(exchange),
        routing_key: short(routing_key),
    }
}

/// The frames of a method with content, the body in chunks of this size.
pub(crate) fn message<'a>(
    channel: u16,
    method: impl Into<Method<'a>>,
    properties: &Properties,
    body: &[u8],
    chunk: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_any(&mut bytes, channel, &method.into()).unwrap();
    put_content_header(&mut bytes, channel, 60, body.len() as u64, properties).unwrap();
    for part in body.chunks(chunk) {
        put_frame(&mut bytes, FrameKind::Body, channel, part).unwrap();
    }
    bytes
}

/// A message to the default exchange.
pub(crate) fn publish<'a>(routing_key: &'a str, properties: &'a Properties, body: &'a [u8]) -> Publish<'a> {
    Publish {
        exchange: ShortStr::EMPTY,
        routing_key: short(routing_key),
        mandatory: false,
        immediate: false,
        properties,
        body: PublishBody::Borrowed(body),
    }
}

/// A consumer of this tag.
pub(crate) fn consume(tag: &str) -> Consume<'_> {
    Consume { queue: short("q"), consumer_tag: short(tag), ..Consume::default() }
}

/// A consumer of this tag without acks.
pub(crate) fn consume_no_ack(tag: &str) -> Consume<'_> {
    Consume { no_ack: true, ..consume(tag) }
}

/// The cause of an unknown outcome.
#[track_caller]
pub(crate) fn unknown(outcome: &Outcome) -> &Error {
    match outcome {
        Outcome::Unknown(cause) => cause,
        outcome => panic!("{outcome:?}"),
    }
}

/// The peer broke the protocol, in this way.
#[track_caller]
pub(crate) fn protocol(error: &Error) -> &ProtocolError {
    match error.kind() {
        ErrorKind::Protocol(error) => error,
        kind => panic!("{kind:?}"),
    }
}

/// A deadline passed; which, and whether the broker had blocked the connection.
#[track_caller]
pub(crate) fn timed_out(error: &Error) -> (String, bool) {
    match error.kind() {
        ErrorKind::Timeout { reason, blocked } => (format!("{reason:?}"), *blocked),
        kind => panic!("{kind:?}"),
    }
}
