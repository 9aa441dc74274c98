//! Messages that go out.
//!
//! A publish is one unit: its method, header and body frames leave together, and content never interleaves within a
//! channel. A large message on one channel must not hold up the others, though: its body leaves in parts (`backlog`).
//! Whether there is room for it is the business of `room`.

use bytes::{Buf, Bytes};

use super::backlog::{StreamedPublish, link_body};
use super::channel::Mode;
use super::confirms::Waiter;
use super::fingerprint::Fingerprint;
use super::retained::Message;
use super::room::ROOM;
use super::{BatchId, ChannelId, ConfirmId, Connection, RequestId};
use crate::error::{Error, TimeoutReason};
use crate::method::{Properties, basic, put_content_header, put_method};
use crate::wire::{EncodeError, FRAME_END, FRAME_OVERHEAD, ShortStr, put_body_frame_header};

/// A message to be published.
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    /// The exchange; empty is the default exchange, which routes to the queue that the routing key names.
    pub exchange: ShortStr<'a>,
    /// The routing key.
    pub routing_key: ShortStr<'a>,
    /// It comes back if no queue takes it.
    pub mandatory: bool,
    /// It comes back if no consumer takes it at once. RabbitMQ closes the connection for it, with 540.
    pub immediate: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The body.
    pub body: PublishBody<'a>,
}

impl<'a> Publish<'a> {
    /// The same without its body: for one of this many bytes that is written later.
    #[inline]
    #[must_use]
    pub fn head(&self, body_size: u64) -> StreamedPublish<'a> {
        StreamedPublish {
            exchange: self.exchange,
            routing_key: self.routing_key,
            mandatory: self.mandatory,
            immediate: self.immediate,
            properties: self.properties,
            body_size,
        }
    }
}

/// The body of a message to be published, of any length.
#[derive(Debug, Clone)]
pub enum PublishBody<'a> {
    /// Copied into the write buffer.
    Borrowed(&'a [u8]),
    /// Copied if it is short, shared if it has 4 KiB or more.
    Shared(Bytes),
}

impl PublishBody<'_> {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Who wants to know what becomes of a publish.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Nothing,
    Confirm,
    /// A batch, in which it is this message.
    Batch(BatchId, usize),
}

/// A content header frame without its properties: envelope, class, weight, body size and property flags.
const CONTENT_HEADER: usize = FRAME_OVERHEAD + 2 + 2 + 8 + 2;

/// A shared body of this many bytes or more is linked, not copied: a copy costs as much as the second `iovec`.
pub(super) const LINK: usize = 4 * 1024;

/// A body of more bytes than this leaves in parts.
pub(super) const BULK: usize = 256 * 1024;

impl Connection {
    /// Queues a message.
    ///
    /// # Errors
    /// [`Full`](crate::error::ErrorKind::Full) if there is no room: see [`wait_room`](Self::wait_room). Otherwise if the channel is closed or
    /// the properties do not fit into a frame. Then not a byte was queued.
    #[inline]
    pub fn publish(&mut self, id: ChannelId, publish: &Publish<'_>) -> Result<(), Error> {
        self.publish_as(id, publish, Asked::Nothing).map(|_| ())
    }

    /// Queues a message on a channel in confirm mode; its outcome will be known by the id.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and if the channel is not in confirm mode.
    #[inline]
    pub fn publish_confirmed(&mut self, id: ChannelId, publish: &Publish<'_>) -> Result<ConfirmId, Error> {
        match self.publish_as(id, publish, Asked::Confirm)? {
            Waiter::Confirm(confirm) => Ok(confirm),
            _ => Err(not_confirming()),
        }
    }

    /// A new batch, of messages with one outcome for all: each is queued by [`publish_in_batch`](Self::publish_in_batch),
    /// in their order. Its owner ends it, when all were queued, by [`take_batch`](Self::take_batch), or at any time by
    /// [`abandon_batch`](Self::abandon_batch).
    pub fn begin_batch(&mut self) -> BatchId {
        self.batches.insert()
    }

    /// Queues the message `index` of a batch on a channel in confirm mode.
    ///
    /// # Errors
    /// As [`publish_confirmed`](Self::publish_confirmed).
    #[inline]
    pub fn publish_in_batch(
        &mut self,
        id: ChannelId,
        publish: &Publish<'_>,
        batch: BatchId,
        index: usize,
    ) -> Result<(), Error> {
        match self.publish_as(id, publish, Asked::Batch(batch, index))? {
            Waiter::Batch(..) => Ok(()),
            _ => Err(not_confirming()),
        }
    }

    /// Whether a message can be sent at all: its properties fit into a frame.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] if they do not.
    pub fn check_publish(&self, publish: &Publish<'_>) -> Result<(), Error> {
        let (size, limit) = (CONTENT_HEADER + publish.properties.wire().1.len(), self.largest_frame());
        if size > limit { Err(during_publish(EncodeError::TooLong { size, limit })) } else { Ok(()) }
    }

    #[inline]
    fn publish_as(&mut self, id: ChannelId, publish: &Publish<'_>, asked: Asked) -> Result<Waiter, Error> {
        let channel = self.take_room_on(id)?;
        if !matches!(asked, Asked::Nothing) && !matches!(channel.mode, Mode::Confirm(_)) {
            self.grant_room();
            return Ok(Waiter::Nobody);
        }
        let number = channel.number;
        if channel.unsettled.has_acks() {
            self.flush_acks(id);
        }
        if let Err(error) = self.put_publish(id, number, publish) {
            // The room that it was given is free again.
            self.grant_room();
            return Err(during_publish(error));
        }
        let Some(channel) = self.channels.get_mut(id) else { return Ok(Waiter::Nobody) };
        let window = match &mut channel.mode {
            Mode::Confirm(window) => window,
            Mode::Plain => {
                // A body that leaves in parts is counted as long as it does.
                self.unsent.queued += u64::from(channel.backlog.is_none());
                return Ok(Waiter::Nobody);
            }
            Mode::Transaction => {
                channel.uncommitted = true;
                return Ok(Waiter::Nobody);
            }
        };
        let seq = window.next();
        let waiter = match asked {
            Asked::Nothing => Waiter::Nobody,
            Asked::Confirm => Waiter::Confirm(self.waiters.insert()),
            Asked::Batch(batch, index) => {
                self.batches.sent(batch, id);
                Waiter::Batch(batch, u32::try_from(index).unwrap_or(u32::MAX))
            }
        };
        let fingerprint = (publish.mandatory || publish.immediate).then(|| {
            Fingerprint::new(
                &self.hasher,
                publish.exchange.as_bytes(),
                publish.routing_key.as_bytes(),
                std::iter::once(publish.body.as_slice()),
                publish.properties.wire(),
                || publish.properties.view(),
            )
        });
        if window.is_armed() {
            self.unarmed.push(id);
            self.turn = true;
        }
        if let Some(retained) = &mut window.retained
            && !publish.immediate
        {
            retained.push(seq, Message::new(publish));
        }
        window.push(waiter, fingerprint);
        Ok(waiter)
    }

    /// Method, header and body frames. On an error the buffer is as it was.
    #[inline]
    fn put_publish(&mut self, id: ChannelId, number: u16, publish: &Publish<'_>) -> Result<(), Error> {
        let body = publish.body.as_slice();
        self.put_head(number, &publish.head(body.len() as u64))?;
        let chunk = self.largest_frame() - FRAME_OVERHEAD;
        if body.len() < LINK && body.len() <= chunk {
            if !body.is_empty() {
                put_body(self.out.tail(), number, body);
            }
            return Ok(());
        }
        self.put_large_body(id, number, publish, chunk);
        Ok(())
    }

    /// Method and header. On an error the buffer is as it was.
    #[inline]
    pub(super) fn put_head(&mut self, number: u16, publish: &StreamedPublish<'_>) -> Result<(), EncodeError> {
        let frame_max = self.largest_frame();
        let out = self.out.tail();
        let start = out.len();
        let method = basic::Publish {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            mandatory: publish.mandatory,
            immediate: publish.immediate,
        };
        put_method(out, number, &method)?;
        let header_at = out.len();
        put_content_header(
            out,
            number,
            <basic::Publish<'_> as crate::method::MethodCodec<'_>>::CLASS_ID,
            publish.body_size,
            publish.properties,
        )
        .inspect_err(|_| out.truncate(start))?;
        let header = out.len() - header_at;
        if header > frame_max {
            // A header cannot be split over frames (0-9-1 §4.2.6.1).
            out.truncate(start);
            return Err(EncodeError::TooLong { size: header, limit: frame_max });
        }
        Ok(())
    }

    /// The same, with the whole of a large body.
    pub(super) fn put_at_once(&mut self, number: u16, publish: &Publish<'_>) -> Result<(), EncodeError> {
        let (body, chunk) = (publish.body.as_slice(), self.largest_frame() - FRAME_OVERHEAD);
        self.put_head(number, &publish.head(body.len() as u64))?;
        match &publish.body {
            PublishBody::Shared(body) if body.len() >= LINK => {
                let mut body = body.clone();
                while body.has_remaining() {
                    link_body(&mut self.out, number, body.split_to(chunk.min(body.len())));
                }
            }
            _ => body.chunks(chunk).for_each(|part| put_body(self.out.tail(), number, part)),
        }
        Ok(())
    }

    fn put_large_body(&mut self, id: ChannelId, number: u16, publish: &Publish<'_>, chunk: usize) {
        let mut body = match &publish.body {
            PublishBody::Borrowed(body) if body.len() <= BULK => {
                body.chunks(chunk).for_each(|part| put_body(self.out.tail(), number, part));
                return;
            }
            PublishBody::Borrowed(body) => Bytes::copy_from_slice(body),
            PublishBody::Shared(body) => body.clone(),
        };
        if body.len() <= BULK {
            while body.has_remaining() {
                link_body(&mut self.out, number, body.split_to(chunk.min(body.len())));
            }
            return;
        }
        self.queue_body(id, body);
    }

    pub(super) fn call_reason(&self, id: RequestId) -> TimeoutReason {
        match self.calls.method(id) {
            ROOM => TimeoutReason::Room,
            method => TimeoutReason::Call { method },
        }
    }
}

/// One body frame whose payload is copied.
#[inline]
pub(super) fn put_body(out: &mut Vec<u8>, number: u16, part: &[u8]) {
    put_body_frame_header(out, number, u32::try_from(part.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(part);
    out.push(FRAME_END);
}

#[cold]
fn not_confirming() -> Error {
    Error::invalid("the channel is not in confirm mode").during("basic.publish")
}

#[cold]
fn during_publish(error: impl Into<Error>) -> Error {
    error.into().during("basic.publish")
}
