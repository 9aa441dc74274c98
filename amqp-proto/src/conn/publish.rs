//! Messages that go out.
//!
//! A publish is one unit: its method, header and body frames leave together, and content never interleaves within a
//! channel. A large message on one channel must not hold up the others, though: its body leaves in parts (`backlog`).
//! Whether there is room for it is the business of `room`.

use std::cmp::Reverse;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::backlog::{StreamedPublish, link_body};
use super::channel::Mode;
use super::confirms::Fingerprint;
use super::room::ROOM;
use super::{ChannelId, ConfirmId, Connection, Event, Outcome, RequestId};
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
    /// The properties.
    pub properties: &'a Properties,
    /// The body.
    pub body: PublishBody<'a>,
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

/// A shared body of this many bytes or more is linked, not copied: a copy costs as much as the second `iovec`.
pub(super) const LINK: usize = 4 * 1024;

/// A body of more bytes than this leaves in parts.
pub(super) const BULK: usize = 256 * 1024;

impl Connection {
    /// Queues a message.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room: see [`wait_room`](Self::wait_room). Otherwise if the channel is closed or
    /// the properties do not fit into a frame. Then not a byte was queued.
    #[inline]
    pub fn publish(&mut self, id: ChannelId, publish: &Publish<'_>) -> Result<(), Error> {
        self.publish_as(id, publish, false).map(|_| ())
    }

    /// Queues a message on a channel in confirm mode; its outcome will be known by the id.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and if the channel is not in confirm mode.
    #[inline]
    pub fn publish_confirmed(&mut self, id: ChannelId, publish: &Publish<'_>) -> Result<ConfirmId, Error> {
        match self.publish_as(id, publish, true)? {
            Some(confirm) => Ok(confirm),
            None => Err(Error::invalid("the channel is not in confirm mode").during("basic.publish")),
        }
    }

    #[inline]
    fn publish_as(&mut self, id: ChannelId, publish: &Publish<'_>, watched: bool) -> Result<Option<ConfirmId>, Error> {
        self.usable(id).map_err(during_publish)?;
        if !self.takes_room(id) {
            return Err(self.no_room(id));
        }
        let channel = self.usable(id).map_err(during_publish)?;
        if watched && !matches!(channel.mode, Mode::Confirm(_)) {
            return Ok(None);
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
        let Some(channel) = self.channels.get_mut(id) else { return Ok(None) };
        let window = match &mut channel.mode {
            Mode::Confirm(window) => window,
            Mode::Plain => {
                // A body that leaves in parts is counted as long as it does.
                self.unsent.queued += u64::from(channel.backlog.is_none());
                return Ok(None);
            }
            Mode::Transaction => {
                channel.uncommitted = true;
                return Ok(None);
            }
        };
        let waiter = watched.then(|| self.waiters.insert());
        let fingerprint = publish.mandatory.then(|| {
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
        window.push(waiter, fingerprint);
        Ok(waiter)
    }

    /// Method, header and body frames. On an error the buffer is as it was.
    #[inline]
    fn put_publish(&mut self, id: ChannelId, number: u16, publish: &Publish<'_>) -> Result<(), Error> {
        let body = publish.body.as_slice();
        let head = StreamedPublish {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            mandatory: publish.mandatory,
            properties: publish.properties,
            body_size: body.len() as u64,
        };
        self.put_head(number, &head)?;
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
            immediate: false,
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

    // ---- outcomes ----------------------------------------------------------------------------------------------

    /// What became of a publish, if it is known: the id is void then. `None`: not yet, and
    /// [`Event::Confirmed`] will come.
    #[inline]
    pub fn take_outcome(&mut self, id: ConfirmId) -> Option<Outcome> {
        self.waiters.take(id)
    }

    /// Nobody wants to know any more what becomes of this publish.
    pub fn abandon_confirm(&mut self, id: ConfirmId, channel: ChannelId) {
        if let Some(message) = self.waiters.abandon(id) {
            self.queue_return(channel, *message);
        }
        self.send_close_if_drained();
    }

    /// How many publishes of a channel in confirm mode wait for their outcome.
    #[must_use]
    pub fn unconfirmed(&self, id: ChannelId) -> usize {
        match self.channels.get(id).map(|channel| &channel.mode) {
            Some(Mode::Confirm(window)) => window.unconfirmed(),
            _ => 0,
        }
    }

    /// Sets the deadlines of what was published since the last turn.
    pub(super) fn arm_confirms(&mut self, now: Instant) {
        // A deadline beyond the end of time is none.
        let deadline = now.checked_add(self.config.timeouts.confirm);
        while let Some(id) = self.unarmed.pop() {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let Mode::Confirm(window) = &mut channel.mode else { continue };
            let Some(deadline) = deadline else { continue };
            window.arm(deadline);
            if !std::mem::replace(&mut window.timed, true)
                && let Some(deadline) = window.next_deadline()
            {
                self.confirm_deadlines.push(Reverse((deadline, id)));
            }
        }
    }

    /// Publishes whose confirms are overdue: whether the broker has them is unknown.
    pub(super) fn expire_confirms(&mut self, now: Instant) {
        while let Some(Reverse((deadline, id))) = self.confirm_deadlines.peek().copied()
            && deadline <= now
        {
            self.confirm_deadlines.pop();
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let Mode::Confirm(window) = &mut channel.mode else { continue };
            let error = Error::timeout(TimeoutReason::Confirm, self.blocked.is_some());
            let (waiters, events) = (&mut self.waiters, &mut self.events);
            window.expire(now, |waiter| {
                if waiters.resolve(waiter, || Outcome::Unknown(error.clone())) {
                    events.push_back(Event::Confirmed(waiter));
                }
            });
            match window.next_deadline() {
                Some(next) => self.confirm_deadlines.push(Reverse((next, id))),
                None => window.timed = false,
            }
        }
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
fn during_publish(error: impl Into<Error>) -> Error {
    error.into().during("basic.publish")
}
