//! Frames to the handler that they are for.

use std::time::Instant;

use super::channel::ChannelState;
use super::consumers::Recipient;
use super::content::{Assembly, Envelope, HEADER_FIXED, Head, INLINE_BODY, Incoming, Misplaced, Payload, Progress};
use super::{Connection, handshake::Phase};
use crate::error::{Error, ErrorKind, ProtocolError};
use crate::method::reply_code::ReplyCode;
use crate::method::{ContentHeader, Method, MethodCodec, RawProperties, basic, channel, ids};
use crate::wire::{Block, DecodeError, EncodeError, FRAME_OVERHEAD, Frame, FrameError, FrameKind, Frames};

/// How a TLS record begins that carries an alert (RFC 8446 §5.1). No frame begins so.
const TLS_ALERT: u8 = 21;

/// The peer broke the protocol: the connection is closed with this code.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: ReplyCode,
    pub(super) error: Error,
}

impl Fault {
    pub(super) fn new(code: ReplyCode, error: ProtocolError) -> Self {
        Self { code, error: error.into() }
    }

    /// A method or frame that is not allowed here.
    #[cold]
    pub(super) fn unexpected(what: impl Into<String>, channel: u16) -> Self {
        Self::new(ReplyCode::UNEXPECTED_FRAME, ProtocolError::Unexpected { what: what.into(), channel })
    }
}

impl From<DecodeError> for Fault {
    #[cold]
    fn from(error: DecodeError) -> Self {
        Self::new(ReplyCode::SYNTAX_ERROR, error.into())
    }
}

impl From<EncodeError> for Fault {
    #[cold]
    fn from(error: EncodeError) -> Self {
        Self { code: ReplyCode::INTERNAL_ERROR, error: error.into() }
    }
}

/// What a delivery's envelope will need beyond the method's arguments if the header is not there yet.
const UNKNOWN_AHEAD: usize = 256;

impl Connection {
    /// Takes the next frames from the peer.
    pub fn handle_block(&mut self, now: Instant, block: &Block) {
        self.handle_received(now);
        let mut frames = block.frames();
        while let Some(frame) = frames.next() {
            if self.is_disconnected() {
                return;
            }
            if let Err(fault) = self.handle_frame(now, &frame, &mut frames, block) {
                self.fail(&fault);
            }
        }
        self.send_close_if_drained();
    }

    /// The stream does not fall into frames any more.
    pub fn handle_frame_error(&mut self, _now: Instant, error: FrameError) {
        let error = match error {
            FrameError::ProtocolHeader([a, b, c, d]) if matches!(self.phase, Phase::AwaitStart) => {
                // The peer answers a wrong header with the right one, and closes: there is nobody to tell.
                let version = format!("protocol header AMQP {a} {b} {c} {d}");
                return self.end(Err(Error::from(ProtocolError::Version(version))));
            }
            // A server of TLS tells by an alert that it was not spoken to in TLS.
            FrameError::UnknownType(TLS_ALERT) if matches!(self.phase, Phase::AwaitStart) => {
                return self.end(Err(Error::from(ProtocolError::WantsTls)));
            }
            error => ProtocolError::from(error),
        };
        if matches!(self.phase, Phase::Closing) {
            // It is read no further, so close-ok cannot come any more.
            return self.gone_while_closing(error.into());
        }
        self.fail(&Fault::new(ReplyCode::FRAME_ERROR, error));
    }

    /// The peer has closed its side of the socket.
    pub fn handle_eof(&mut self, _now: Instant) {
        let text = match self.when_in_handshake() {
            Some(when) => format!("the peer closed the socket {when}"),
            None => "the peer closed the socket unexpectedly".to_owned(),
        };
        self.lost(std::io::ErrorKind::UnexpectedEof, &text);
    }

    /// The socket failed, or a layer above it: an [`Error`] inside of `error` is that of the connection.
    pub fn handle_io_error(&mut self, _now: Instant, error: &std::io::Error) {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return self.lost_by(error.clone());
        }
        let text = match self.when_in_handshake() {
            Some(when) => format!("{error} {when}"),
            None => error.to_string(),
        };
        self.lost(error.kind(), &text);
    }

    /// When in the handshake this is, and what it may mean if the peer hangs up then: brokers often do not say.
    fn when_in_handshake(&self) -> Option<String> {
        match &self.phase {
            Phase::AwaitTune { .. } => Some("during authentication: the credentials may be wrong".to_owned()),
            // RabbitMQ since 4.1 resets the connection where frame_max is below 8192.
            Phase::AwaitOpenOk => Some(format!(
                "in state {}: the broker may refuse the tuning, such as a frame_max of {}",
                self.phase.name(),
                self.frame_max
            )),
            phase if phase.is_handshake() => Some(format!("in state {}", phase.name())),
            _ => None,
        }
    }

    /// Whoever drove the connection has stopped before its end: its runtime was shut down, for example. Nothing happens
    /// if it has ended.
    pub fn handle_driver_gone(&mut self) {
        self.stop_recovering();
        self.lost(std::io::ErrorKind::ConnectionAborted, "the task that drove it was dropped");
    }

    fn lost(&mut self, kind: std::io::ErrorKind, text: &str) {
        let text = format!("connection lost: {text}");
        self.lost_by(Error::new(ErrorKind::ConnectionLost { kind, text }));
    }

    fn lost_by(&mut self, error: Error) {
        match self.phase {
            Phase::Closing => self.gone_while_closing(error),
            _ => self.end(Err(error)),
        }
        self.out = super::Outbound::new();
    }

    /// The peer has gone without close-ok. If all was written, it is as closed as we wanted it.
    fn gone_while_closing(&mut self, error: Error) {
        let written = self.out.is_empty() && self.in_flight == 0;
        self.end(if written { Ok(()) } else { Err(error) });
    }

    #[inline]
    fn handle_frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        ahead: &mut Frames<'_>,
        block: &Block,
    ) -> Result<(), Fault> {
        if self.frame_max != 0 && frame.payload.len() + FRAME_OVERHEAD > self.frame_max as usize {
            let size = u32::try_from(frame.payload.len() + FRAME_OVERHEAD).unwrap_or(u32::MAX);
            let error = FrameError::TooLarge { size: size.into(), limit: self.frame_max };
            return Err(Fault::new(ReplyCode::FRAME_ERROR, error.into()));
        }
        match frame.kind {
            FrameKind::Method => self.handle_method(now, frame, ahead, block),
            FrameKind::Header => self.handle_header(frame),
            FrameKind::Body => self.handle_body(frame, block),
            FrameKind::Heartbeat if frame.channel == 0 && frame.payload.is_empty() => Ok(()),
            FrameKind::Heartbeat => Err(Fault::unexpected("heartbeat", frame.channel)),
        }
    }

    #[inline]
    fn handle_method(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        ahead: &mut Frames<'_>,
        block: &Block,
    ) -> Result<(), Fault> {
        const DELIVER: (u16, u16) = (basic::Deliver::CLASS_ID, basic::Deliver::METHOD_ID);
        if ids(frame.payload) == Some(DELIVER) && !self.phase.is_handshake() {
            let args = frame.payload.get(4..).unwrap_or_default();
            return self.handle_deliver(frame.channel, args, ahead, block);
        }
        let method = Method::decode(frame.payload)?;
        match (frame.channel, &method) {
            (0, Method::Connection(method)) => self.handle_connection_method(now, method),
            (0, _) | (_, Method::Connection(_)) => Err(Fault::new(
                ReplyCode::COMMAND_INVALID,
                ProtocolError::Unexpected { what: method.name().to_owned(), channel: frame.channel },
            )),
            _ if self.phase.is_handshake() => Err(Fault::unexpected(method.name(), frame.channel)),
            _ => self.handle_channel_method(frame, &method, ahead),
        }
    }

    fn handle_channel_method(
        &mut self,
        frame: &Frame<'_>,
        method: &Method<'_>,
        ahead: &Frames<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.by_number(frame.channel) else {
            let straggler = matches!(method, Method::Channel(channel::Method::CloseOk(_)));
            if straggler && let Some(successor) = self.channels.straggler(frame.channel) {
                self.begin(successor);
                return Ok(());
            }
            return Err(unopened(method.name(), frame.channel));
        };
        if matches!(channel.state, ChannelState::Closed(_)) {
            // The broker has closed it; only the answer is still to leave.
            return Err(unopened(method.name(), frame.channel));
        }
        if channel.assembly.is_some() && !matches!(method, Method::Channel(_)) {
            return Err(Fault::unexpected(format!("{} in the middle of a message", method.name()), frame.channel));
        }
        let id = channel.id;
        let args = frame.payload.get(4..).unwrap_or_default();
        match method {
            Method::Basic(basic::Method::Ack(ack)) => self.confirmed(id, ack.delivery_tag, ack.multiple, true),
            Method::Basic(basic::Method::Nack(nack)) => self.confirmed(id, nack.delivery_tag, nack.multiple, false),
            Method::Basic(basic::Method::GetOk(got)) => {
                channel.assembly = Some(Assembly::got(got, args, room_ahead(ahead, frame.channel)));
                Ok(())
            }
            Method::Basic(basic::Method::Return(returned)) => {
                channel.assembly = Some(Assembly::returned(returned, args, room_ahead(ahead, frame.channel)));
                Ok(())
            }
            _ => self.handle_reply(id, method),
        }
    }

    /// The fast path: `basic.deliver`. A small message whose header and body follow at once is taken whole.
    #[inline]
    fn handle_deliver(&mut self, number: u16, args: &[u8], ahead: &mut Frames<'_>, block: &Block) -> Result<(), Fault> {
        let deliver = basic::Deliver::decode_fields(args)?;
        let Some(channel) = self.channels.by_number(number) else { return Err(unopened("basic.deliver", number)) };
        if channel.assembly.is_some() {
            return Err(Fault::unexpected("basic.deliver in the middle of a message", number));
        }
        let known = channel.last_consumer.and_then(|id| {
            let consumer = self.consumers.get(id.index())?;
            let recipient = Recipient { id, no_ack: consumer.no_ack };
            (consumer.tag.as_bytes() == deliver.consumer_tag.as_bytes()).then_some(recipient)
        });
        let recipient = match known {
            Some(recipient) => recipient,
            None => {
                let tag = deliver.consumer_tag.to_str().unwrap_or_default();
                let living = channel.consumers.get(tag).copied().and_then(|id| {
                    let no_ack = self.consumers.get(id.index())?.no_ack;
                    channel.last_consumer = Some(id);
                    Some(Recipient { id, no_ack })
                });
                let Some(recipient) = living.or_else(|| channel.ended.find(deliver.consumer_tag.as_bytes())) else {
                    let what = format!("basic.deliver for the unknown consumer {}", deliver.consumer_tag);
                    return Err(Fault::unexpected(what, number));
                };
                recipient
            }
        };
        let id = channel.id;
        // Each frame has one octet behind its payload.
        let start = block.position(ahead).saturating_sub(args.len() + 1);
        match small_message(ahead, number, self.config.limits.max_body) {
            Some((properties, body)) => {
                let bytes = block.bytes(start..block.position(ahead).saturating_sub(1));
                self.delivered(id, recipient, deliver.delivery_tag, deliver.redelivered, || {
                    let envelope = Envelope::of_delivery(&deliver, bytes, args, properties, body);
                    Incoming { envelope, payload: Payload::Inline, oversized: None }
                })
            }
            None => {
                channel.assembly = Some(Assembly::deliver(&deliver, recipient, args, room_ahead(ahead, number)));
                Ok(())
            }
        }
    }

    #[inline]
    fn handle_header(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let header = ContentHeader::decode(frame.payload)?;
        let mut max_body = self.config.limits.max_body;
        let Some(channel) = self.channels.by_number(frame.channel) else {
            return Err(unopened("content header", frame.channel));
        };
        let Some(assembly) = &mut channel.assembly else {
            return Err(Fault::unexpected("content header without a method", frame.channel));
        };
        if header.class_id != basic::Deliver::CLASS_ID {
            let what = format!("content header of class {}", header.class_id);
            return Err(Fault::unexpected(what, frame.channel));
        }
        if channel.drops_returned_bodies && matches!(assembly.head, Head::Return { .. }) {
            max_body = 0;
        }
        if let Head::Deliver { recipient, .. } = assembly.head
            && header.body_size > INLINE_BODY as u64
            && self.consumers.get(recipient.id.index()).is_some_and(|consumer| consumer.streams_to(recipient.id))
        {
            let id = channel.id;
            return match assembly.header(&header, 0) {
                Ok(_) => self.streamed_header(id, header.body_size),
                misplaced => self.progressed(frame, misplaced),
            };
        }
        let progress = assembly.header(&header, max_body);
        self.progressed(frame, progress)
    }

    #[inline]
    fn handle_body(&mut self, frame: &Frame<'_>, block: &Block) -> Result<(), Fault> {
        let Some(channel) = self.channels.by_number(frame.channel) else {
            return Err(unopened("content body", frame.channel));
        };
        let Some(assembly) = &mut channel.assembly else {
            return Err(Fault::unexpected("content body without a method", frame.channel));
        };
        let progress = assembly.body(frame.payload, block);
        if let Head::Streamed(Some(body)) = assembly.head
            && progress.is_ok()
        {
            self.streamed_chunk(body, frame.payload, block);
        }
        self.progressed(frame, progress)
    }

    #[inline]
    fn progressed(&mut self, frame: &Frame<'_>, progress: Result<Progress, Misplaced>) -> Result<(), Fault> {
        match progress {
            Ok(Progress::More) => Ok(()),
            Ok(Progress::Complete) => {
                let channel = self.channels.by_number(frame.channel);
                let Some((id, assembly)) = channel.and_then(|channel| Some((channel.id, channel.assembly.take()?)))
                else {
                    return Ok(());
                };
                self.complete(id, assembly)
            }
            Err(misplaced) => {
                let what = match misplaced {
                    Misplaced::SecondHeader => "second content header",
                    Misplaced::BodyBeforeHeader => "content body before its header",
                    Misplaced::BodyTooLong => "content body longer than announced",
                };
                Err(Fault::unexpected(what, frame.channel))
            }
        }
    }

    /// Whether connection.close was asked for: what comes now is mostly void.
    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Draining { .. })
    }
}

/// A frame for a channel that is not open (0-9-1 §4.3).
#[cold]
fn unopened(what: &str, channel: u16) -> Fault {
    let what = format!("{what} on a channel that is not open");
    Fault::new(ReplyCode::CHANNEL_ERROR, ProtocolError::Unexpected { what, channel })
}

/// The properties and the body of a small message, if the next frames are its header and its body.
#[inline]
fn small_message<'a>(frames: &mut Frames<'a>, number: u16, max_body: u64) -> Option<(RawProperties<'a>, &'a [u8])> {
    let mut ahead = frames.clone();
    let frame = ahead.next().filter(|frame| frame.kind == FrameKind::Header && frame.channel == number)?;
    let header = ContentHeader::decode(frame.payload).ok()?;
    if header.class_id != basic::Deliver::CLASS_ID || header.body_size > max_body.min(INLINE_BODY as u64) {
        return None;
    }
    let mut body: &[u8] = &[];
    if header.body_size > 0 {
        let frame = ahead.next().filter(|frame| frame.kind == FrameKind::Body && frame.channel == number)?;
        if frame.payload.len() as u64 != header.body_size {
            return None;
        }
        body = frame.payload;
    }
    *frames = ahead;
    Some((header.properties, body))
}

/// How many bytes the properties and an inline body will need, if the header has come already.
#[inline]
fn room_ahead(ahead: &Frames<'_>, number: u16) -> usize {
    match ahead.clone().next() {
        Some(frame) if frame.kind == FrameKind::Header && frame.channel == number => {
            let size = ContentHeader::decode(frame.payload).map_or(0, |header| header.body_size);
            let inline = usize::try_from(size).ok().filter(|size| *size <= INLINE_BODY).unwrap_or(0);
            frame.payload.len().saturating_sub(HEADER_FIXED) + inline
        }
        _ => UNKNOWN_AHEAD,
    }
}
