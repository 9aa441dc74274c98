//! From frames to messages. A channel has at most one message under way, because content never interleaves within a
//! channel (0-9-1 §4.2.6):
//!
//! ```text
//!            method with content          header              body frames
//!   (none) ────────────────────► Header ─────────► Body ────────────────────► complete
//!                                   │                 ▲ └─┐ more
//!                                   └── body size 0 ──┼───┴──────────────────► complete
//! ```
//!
//! Nothing is allocated on the word of the announced body size: the envelope reserves for an inline body only, and
//! larger bodies are slices of what was really read. A body over the limit is counted down and thrown away.

use bytes::Bytes;

use super::Payload;
use super::body::INLINE_BODY;
use crate::conn::consumers::Recipient;
use crate::conn::ids::BodyId;
use crate::method::{ContentHeader, RawProperties, ReplyCode, basic};
use crate::wire::{Block, FRAME_OVERHEAD, ShortStr};

/// A range within the envelope's bytes; names are short and stand in the first kilobyte.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::conn) struct Span {
    at: u16,
    len: u16,
}

/// The names, the raw properties and a small body of one message, in one allocation.
#[derive(Debug, Clone)]
pub(in crate::conn) struct Envelope {
    bytes: Box<[u8]>,
    /// The consumer tag of a delivery, the reply text of a return.
    pub(in crate::conn) first: Span,
    pub(in crate::conn) exchange: Span,
    pub(in crate::conn) routing_key: Span,
    properties_at: u32,
    properties_end: u32,
    body_at: u32,
}

/// Class and weight, body size: what stands before the properties in a content header.
pub(in crate::conn) const HEADER_FIXED: usize = 12;

impl Envelope {
    #[inline]
    pub(in crate::conn) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::conn) fn name(&self, span: Span) -> &str {
        // Whether it is UTF-8 was checked when the message was complete: `Envelope::bad_name`.
        std::str::from_utf8(self.span(span)).unwrap_or_default()
    }

    fn span(&self, span: Span) -> &[u8] {
        let at = usize::from(span.at);
        self.bytes.get(at..at + usize::from(span.len)).unwrap_or_default()
    }

    pub(in crate::conn) fn properties(&self) -> RawProperties<'_> {
        RawProperties::new(
            self.bytes.get(self.properties_at as usize..self.properties_end as usize).unwrap_or_default(),
        )
    }

    pub(in crate::conn) fn inline_body(&self) -> &[u8] {
        self.bytes.get(self.body_at as usize..).unwrap_or_default()
    }

    /// A small message whose frames came together: `bytes` begin with the method's arguments and end with the last
    /// payload. They are copied as they stand, with the few octets between the payloads: one piece costs less than three.
    #[inline]
    pub(in crate::conn) fn of_delivery(
        method: &basic::Deliver<'_>,
        bytes: &[u8],
        args: &[u8],
        properties: RawProperties<'_>,
        body: &[u8],
    ) -> Self {
        let [first, exchange, routing_key] = delivery_names(method);
        let properties_at = args.len() + FRAME_OVERHEAD + HEADER_FIXED;
        Self {
            bytes: bytes.into(),
            first,
            exchange,
            routing_key,
            properties_at: len32(properties_at),
            properties_end: len32(properties_at + properties.as_bytes().len()),
            body_at: len32(bytes.len().saturating_sub(body.len())),
        }
    }

    /// The first name that is no UTF-8. The consumer tag is not looked at: it was found among those of this side.
    #[inline]
    pub(in crate::conn) fn bad_name(&self) -> Option<&'static str> {
        // Nearly always all is ASCII, the length octet in between included.
        let names = usize::from(self.exchange.at)..usize::from(self.routing_key.end());
        if self.bytes.get(names).is_some_and(<[u8]>::is_ascii) { None } else { self.find_bad_name() }
    }

    #[cold]
    fn find_bad_name(&self) -> Option<&'static str> {
        [("exchange", self.exchange), ("routing key", self.routing_key)]
            .into_iter()
            .find(|(_, span)| std::str::from_utf8(self.span(*span)).is_err())
            .map(|(name, _)| name)
    }
}

/// A complete message.
pub(in crate::conn) struct Incoming {
    pub(in crate::conn) envelope: Envelope,
    pub(in crate::conn) payload: Payload,
    /// The announced size of a body that was thrown away because it is over the limit.
    pub(in crate::conn) oversized: Option<u64>,
}

/// What the method said of the message to come.
#[derive(Debug, Clone, Copy)]
pub(in crate::conn) enum Head {
    Deliver {
        recipient: Recipient,
        delivery_tag: u64,
        redelivered: bool,
    },
    Got {
        delivery_tag: u64,
        redelivered: bool,
        message_count: u32,
    },
    Return {
        code: ReplyCode,
    },
    /// It was handed out when its header had come, or put back: what remains is to go through its body.
    Streamed(Option<BodyId>),
}

/// A message under way.
#[derive(Debug)]
pub(in crate::conn) struct Assembly {
    pub(in crate::conn) head: Head,
    first: Span,
    exchange: Span,
    routing_key: Span,
    bytes: Vec<u8>,
    properties_at: u32,
    body_at: u32,
    /// `None` until the header is there.
    remaining: Option<u64>,
    oversized: Option<u64>,
    /// The whole body goes next to the names.
    inline: bool,
    payload: Payload,
    /// Small pieces of a large body, gathered so that a peer that sends byte by byte costs bytes and not handles.
    gathered: Vec<u8>,
}

/// Small pieces are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;

/// What a header or body frame made of the message under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::conn) enum Progress {
    More,
    Complete,
}

/// Why a content frame cannot be part of the message under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::conn) enum Misplaced {
    SecondHeader,
    BodyBeforeHeader,
    BodyTooLong,
}

impl Assembly {
    /// Starts with the fields of `basic.deliver`; `args` are the method's arguments as they stand on the wire, and
    /// `ahead` is how many bytes the header and an inline body will need, as far as that is known.
    #[inline]
    pub(in crate::conn) fn deliver(
        method: &basic::Deliver<'_>,
        recipient: Recipient,
        args: &[u8],
        ahead: usize,
    ) -> Self {
        let head = Head::Deliver { recipient, delivery_tag: method.delivery_tag, redelivered: method.redelivered };
        Self::start(head, delivery_names(method), args, ahead)
    }

    pub(in crate::conn) fn got(method: &basic::GetOk<'_>, args: &[u8], ahead: usize) -> Self {
        let head = Head::Got {
            delivery_tag: method.delivery_tag,
            redelivered: method.redelivered,
            message_count: method.message_count,
        };
        // delivery-tag, redelivered, exchange, routing-key, message-count
        let exchange = span(9, method.exchange);
        let routing_key = span(exchange.end(), method.routing_key);
        Self::start(head, [Span::default(), exchange, routing_key], args, ahead)
    }

    pub(in crate::conn) fn returned(method: &basic::Return<'_>, args: &[u8], ahead: usize) -> Self {
        // reply-code, reply-text, exchange, routing-key
        let first = span(2, method.reply_text);
        let exchange = span(first.end(), method.exchange);
        let routing_key = span(exchange.end(), method.routing_key);
        Self::start(Head::Return { code: method.reply_code }, [first, exchange, routing_key], args, ahead)
    }

    /// A body of this size that is no part of the message any more.
    pub(in crate::conn) fn streamed(body: Option<BodyId>, size: u64) -> Self {
        let assembly = Self::start(Head::Streamed(body), [Span::default(); 3], &[], 0);
        Self { remaining: Some(size), oversized: Some(size), ..assembly }
    }

    #[inline]
    fn start(head: Head, [first, exchange, routing_key]: [Span; 3], args: &[u8], ahead: usize) -> Self {
        let mut bytes = Vec::with_capacity(args.len() + ahead);
        bytes.extend_from_slice(args);
        Self {
            head,
            first,
            exchange,
            routing_key,
            properties_at: len32(bytes.len()),
            body_at: 0,
            bytes,
            remaining: None,
            oversized: None,
            inline: false,
            payload: Payload::Inline,
            gathered: Vec::new(),
        }
    }

    /// Takes the content header.
    #[inline]
    pub(in crate::conn) fn header(&mut self, header: &ContentHeader<'_>, max_body: u64) -> Result<Progress, Misplaced> {
        if self.remaining.is_some() {
            return Err(Misplaced::SecondHeader);
        }
        let inline = match usize::try_from(header.body_size) {
            Ok(size) if size <= INLINE_BODY => size,
            _ => 0,
        };
        self.inline = inline > 0;
        let properties = header.properties.as_bytes();
        self.bytes.reserve_exact(properties.len() + inline);
        self.bytes.extend_from_slice(properties);
        self.body_at = len32(self.bytes.len());
        self.oversized = (header.body_size > max_body).then_some(header.body_size);
        self.remaining = Some(header.body_size);
        Ok(self.progress())
    }

    /// Takes a body frame's payload, which stands in `block`.
    #[inline]
    pub(in crate::conn) fn body(&mut self, chunk: &[u8], block: &Block) -> Result<Progress, Misplaced> {
        let Some(remaining) = self.remaining else { return Err(Misplaced::BodyBeforeHeader) };
        let len = chunk.len() as u64;
        if len > remaining {
            return Err(Misplaced::BodyTooLong);
        }
        self.remaining = Some(remaining - len);
        if self.oversized.is_none() && len > 0 {
            if self.inline {
                self.bytes.extend_from_slice(chunk);
            } else {
                self.large_body(chunk, block);
            }
        }
        Ok(self.progress())
    }

    fn large_body(&mut self, chunk: &[u8], block: &Block) {
        if chunk.len() <= INLINE_BODY {
            self.gathered.extend_from_slice(chunk);
            if self.gathered.len() >= GATHER {
                self.flush_gathered();
            }
        } else {
            self.flush_gathered();
            self.payload.push(block.slice_ref(chunk));
        }
    }

    fn flush_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.payload.push(Bytes::from(std::mem::take(&mut self.gathered)));
        }
    }

    #[inline]
    fn progress(&self) -> Progress {
        if self.remaining == Some(0) { Progress::Complete } else { Progress::More }
    }

    /// The complete message.
    pub(in crate::conn) fn finish(mut self) -> Incoming {
        self.flush_gathered();
        let envelope = Envelope {
            bytes: self.bytes.into_boxed_slice(),
            first: self.first,
            exchange: self.exchange,
            routing_key: self.routing_key,
            properties_at: self.properties_at,
            properties_end: self.body_at,
            body_at: self.body_at,
        };
        Incoming { envelope, payload: self.payload, oversized: self.oversized }
    }
}

impl Span {
    fn end(self) -> u16 {
        self.at + self.len
    }
}

/// Where the names stand in the arguments of `basic.deliver`: consumer-tag, delivery-tag, redelivered, exchange,
/// routing-key.
#[inline]
fn delivery_names(method: &basic::Deliver<'_>) -> [Span; 3] {
    let first = span(0, method.consumer_tag);
    let exchange = span(first.end() + 9, method.exchange);
    [first, exchange, span(exchange.end(), method.routing_key)]
}

/// The span of a short string whose length octet stands at `at`.
#[expect(clippy::cast_possible_truncation, reason = "a short string has at most 255 bytes")]
#[inline]
fn span(at: u16, text: ShortStr<'_>) -> Span {
    Span { at: at + 1, len: text.len() as u16 }
}

/// Envelopes hold a method's arguments and a content header: two frames, and frames are below 4 GiB; a larger sum
/// would make the properties empty, not wrong.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
