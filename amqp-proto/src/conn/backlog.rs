//! Bodies that leave in parts.
//!
//! Content never interleaves within a channel, and AMQP has no way to break one off: a broker that gets anything but the
//! rest of a body on its channel closes the connection, with 505. So what a channel sends while a body leaves on it queues
//! up behind ([`Backlog`]), and a body that has begun always leaves at its full size:
//!
//! ```text
//!                         the application writes              all was written
//!   publish_streamed ──► Awaited ──┬───────────────────────────────────────────────► what waited behind follows
//!                                  │ given up, or the broker            all zeros    ▲      ▲
//!                                  ▼ has closed the channel             have left    │      │ all parts
//!                                 Void ──────────────────────────────────────────────┘      │ have left
//!                                  ▲ the broker has closed the channel                      │
//!   publish, over 256 KiB ──► Whole ────────────────────────────────────────────────────────┘
//! ```
//!
//! Parts of bodies that are whole, or void, leave turn by turn, channel after channel; other channels send in between. A
//! void body costs no memory, whatever its size. A channel that the broker has closed has ended at once for those above;
//! its close-ok follows the body, and only then its number is free.

use bytes::{Buf, Bytes};

use super::channel::{ChannelState, Mode};
use super::publish::{BULK, LINK, put_body};
use super::{ChannelId, Connection, Outbound};
use crate::error::{Error, ErrorKind};
use crate::method::Properties;
use crate::wire::{FRAME_END, FRAME_OVERHEAD, ShortStr, put_body_frame_header};

/// A message to be published whose body is written later, in parts.
#[derive(Debug, Clone, Copy)]
pub struct StreamedPublish<'a> {
    /// The exchange; empty is the default exchange, which routes to the queue that the routing key names.
    pub exchange: ShortStr<'a>,
    /// The routing key.
    pub routing_key: ShortStr<'a>,
    /// It comes back if no queue takes it: without its body.
    pub mandatory: bool,
    /// It comes back if no consumer takes it at once. RabbitMQ closes the connection for it, with 540.
    pub immediate: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The size of the body in bytes.
    pub body_size: u64,
}

/// The rest of a body that leaves in parts, and what its channel sends after it: no other message, as there is no room
/// while this one leaves. Or all that a channel sends that waits for its number.
#[derive(Debug)]
pub(super) struct Backlog {
    rest: Rest,
    behind: Vec<u8>,
}

#[derive(Debug)]
enum Rest {
    /// It is here.
    Whole(Bytes),
    /// It is being written: so many bytes are missing. Small parts are gathered, so that each is not a frame.
    Awaited { missing: u64, gathered: Vec<u8> },
    /// Nobody will look at it: so many zeros will do.
    Void(u64),
    /// There is no body: the channel's number is still another's, and nothing of it may leave.
    Held,
}

/// The largest frame where neither side has a limit.
const UNLIMITED: usize = 128 * 1024;

/// Small parts of a body are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;

/// What void bodies are made of.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl Backlog {
    pub(super) fn whole(body: Bytes) -> Self {
        Self { rest: Rest::Whole(body), behind: Vec::new() }
    }

    /// For a channel that waits for its number.
    pub(super) fn held() -> Self {
        Self { rest: Rest::Held, behind: Vec::new() }
    }

    /// What the channel has to send after the body, or when it has its number.
    pub(super) fn into_tail(self) -> Vec<u8> {
        self.behind
    }

    /// Where the channel's next frames go.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.behind
    }

    /// Whether the application is to write the rest.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.rest, Rest::Awaited { .. })
    }

    fn is_void(&self) -> bool {
        matches!(self.rest, Rest::Void(_))
    }

    /// The payload of the next frame, at most so large, and whether it is the last.
    fn next_part(&mut self, most: usize) -> Option<(Bytes, bool)> {
        match &mut self.rest {
            Rest::Whole(body) => {
                let part = body.split_to(most.min(body.len()));
                Some((part, body.is_empty()))
            }
            Rest::Void(left) => {
                let part = ZEROS.get(..most).unwrap_or(&ZEROS);
                let part = usize::try_from(*left).ok().and_then(|left| part.get(..left)).unwrap_or(part);
                *left -= part.len() as u64;
                Some((Bytes::from_static(part), *left == 0))
            }
            Rest::Awaited { .. } | Rest::Held => None,
        }
    }

    /// Nobody will look at the rest.
    fn void(&mut self) {
        let left = match &self.rest {
            Rest::Whole(body) => body.len() as u64,
            Rest::Awaited { missing, gathered } => missing + gathered.len() as u64,
            Rest::Void(left) => *left,
            Rest::Held => 0,
        };
        self.rest = Rest::Void(left);
    }
}

impl Connection {
    // ---- bodies that the application writes --------------------------------------------------------------------

    /// Begins a message: its body follows by [`write_body`](Self::write_body). Until all of it was written, whatever else
    /// is sent on the channel waits, so the channel is best used for nothing else.
    ///
    /// The channel has to be in transaction mode: the message counts when `tx.commit` is answered. If the channel is
    /// closed or released before all was written, zeros take the place of what is missing, and nothing is published. If
    /// the message comes back as unroutable, it comes without its body.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room: see [`wait_room`](Self::wait_room). Otherwise if the channel is closed or
    /// not in transaction mode, another body is being written on it, or the properties do not fit into a frame. Then not
    /// a byte was queued.
    pub fn publish_streamed(&mut self, id: ChannelId, publish: &StreamedPublish<'_>) -> Result<(), Error> {
        const NAME: &str = "basic.publish";
        let channel = self.usable(id).map_err(|error| error.during(NAME))?;
        if !matches!(channel.mode, Mode::Transaction) {
            return Err(Error::invalid("a body is written in parts on a channel in transaction mode only").during(NAME));
        }
        let number = channel.number;
        channel.drops_returned_bodies = true;
        channel.uncommitted = true;
        self.take_room_on(id)?;
        self.flush_acks(id);
        self.put_head(number, publish).map_err(|error| Error::from(error).during(NAME))?;
        if publish.body_size > 0
            && let Some(channel) = self.channels.get_mut(id)
        {
            let rest = Rest::Awaited { missing: publish.body_size, gathered: Vec::new() };
            channel.backlog = Some(Box::new(Backlog { rest, behind: Vec::new() }));
        }
        Ok(())
    }

    /// Writes the next part of a body, or as much of it as there is room for, some 256 KiB at most: `part` is advanced by what
    /// was taken. Pieces of 4 KiB and more are shared where `part` can share them.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room: see [`wait_room`](Self::wait_room). [`ErrorKind::BodySize`] if the part is
    /// longer than what is missing. Otherwise if the channel is closed, or no body is being written on it. Nothing was
    /// taken then.
    pub fn write_body(&mut self, id: ChannelId, part: &mut impl Buf) -> Result<(), Error> {
        const NAME: &str = "basic.publish";
        let (room, chunk) = (self.has_room(), self.largest_part());
        self.usable(id).map_err(|error| error.during(NAME))?;
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let Some(Rest::Awaited { missing, gathered }) = channel.backlog.as_mut().map(|backlog| &mut backlog.rest)
        else {
            // It went with a connection that was lost, and this is the first to hear of it, or hears it again.
            let cause = channel.void.clone();
            return Err(cause
                .unwrap_or_else(|| Error::invalid("no body is being written on this channel"))
                .during(NAME));
        };
        let given = part.remaining() as u64;
        if given > *missing {
            return Err(Error::new(ErrorKind::BodySize { missing: *missing, given }).during(NAME));
        }
        if given > 0 && (!room || channel.stopped) {
            return Err(Error::new(ErrorKind::Full));
        }
        let number = channel.number;
        let enough = self.out.len() + BULK - GATHER;
        while part.has_remaining() && self.out.len() < enough {
            let taken = take_piece(&mut self.out, number, gathered, part, chunk);
            if taken == 0 {
                return Err(Error::invalid("the buffer has bytes and does not show them").during(NAME));
            }
            *missing -= taken as u64;
        }
        if *missing == 0 {
            flush(&mut self.out, number, gathered);
            self.end_body(id);
        }
        Ok(())
    }

    /// How many bytes are missing of the body that is being written on this channel; 0 if there is none.
    #[must_use]
    pub fn missing_body(&self, id: ChannelId) -> u64 {
        match self.channels.get(id).and_then(|channel| channel.backlog.as_deref()) {
            Some(Backlog { rest: Rest::Awaited { missing, .. }, .. }) => *missing,
            _ => 0,
        }
    }

    // ---- bodies that leave by themselves -----------------------------------------------------------------------

    /// The body's parts leave turn by turn from now on.
    pub(super) fn queue_body(&mut self, id: ChannelId, body: Bytes) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.backlog = Some(Box::new(Backlog::whole(body)));
            self.bulk.push_back(id);
            self.leave_turns(id);
        }
    }

    /// What the application has not written of a body it will not write.
    pub(super) fn give_up_body(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id)
            && let Some(backlog) = &mut channel.backlog
            && backlog.is_awaited()
        {
            backlog.void();
            self.bulk.push_back(id);
            self.leave_turns(id);
        }
    }

    /// The broker has closed the channel, and will look at nothing that is sent on it but the answer: that follows the
    /// body which is leaving. Returns what is to be kept of the channel till then.
    pub(super) fn void_backlog(&mut self, id: ChannelId) -> Option<Box<Backlog>> {
        self.give_up_body(id);
        let mut backlog = self.channels.get_mut(id)?.backlog.take()?;
        backlog.void();
        backlog.behind.clear();
        Some(backlog)
    }

    /// The connection is closing: nobody waits for bodies that will not be published.
    pub(super) fn drop_void_bodies(&mut self) {
        let channels = &self.channels;
        self.bulk.retain(|id| {
            channels.get(*id).and_then(|channel| channel.backlog.as_ref()).is_some_and(|backlog| !backlog.is_void())
        });
    }

    /// Moves the next parts of bodies behind what waits to be written, channel by channel in turn.
    pub(super) fn pump_bulk(&mut self) {
        let chunk = self.largest_part();
        let limit = self.out.len() + BULK;
        while self.out.len() < limit
            && let Some(id) = self.bulk.pop_front()
        {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let number = channel.number;
            let Some((part, is_last)) = channel.backlog.as_mut().and_then(|backlog| backlog.next_part(chunk)) else {
                continue;
            };
            link_body(&mut self.out, number, part);
            if is_last {
                self.end_body(id);
            } else {
                self.bulk.push_back(id);
            }
        }
    }

    /// All of a body has left: what waited behind it follows.
    fn end_body(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Some(backlog) = channel.backlog.take() else { return };
        self.unsent.queued += u64::from(matches!((&channel.mode, &channel.state), (Mode::Plain, ChannelState::Open)));
        self.out.tail().extend_from_slice(&backlog.behind);
        if matches!(channel.state, ChannelState::Closed(_)) {
            let number = channel.number;
            let successor = self.channels.free_number(number);
            self.channels.forget_if_done(id);
            self.begin(successor);
        }
        self.join_turns(id);
    }

    /// The largest frame that may be sent.
    #[inline]
    pub(super) fn largest_frame(&self) -> usize {
        if self.frame_max == 0 { UNLIMITED } else { self.frame_max as usize }
    }

    /// The largest payload of a body frame that leaves between others: larger ones are allowed where they were agreed on,
    /// but others would wait for them.
    fn largest_part(&self) -> usize {
        self.largest_frame().min(BULK) - FRAME_OVERHEAD
    }
}

/// Takes a piece of a body: a large one becomes a frame, small ones are gathered. Returns its size.
fn take_piece(out: &mut Outbound, number: u16, gathered: &mut Vec<u8>, part: &mut impl Buf, most: usize) -> usize {
    let next = part.chunk().len().min(most);
    if next >= LINK.min(most) {
        flush(out, number, gathered);
        link_body(out, number, part.copy_to_bytes(next));
        return next;
    }
    let room = GATHER.min(most) - gathered.len();
    let next = next.min(room);
    gathered.extend_from_slice(part.chunk().get(..next).unwrap_or_default());
    part.advance(next);
    if next == room {
        flush(out, number, gathered);
    }
    next
}

/// A frame of what was gathered.
fn flush(out: &mut Outbound, number: u16, gathered: &mut Vec<u8>) {
    if !gathered.is_empty() {
        put_body(out.tail(), number, gathered);
        gathered.clear();
    }
}

/// One body frame whose payload is shared.
pub(super) fn link_body(out: &mut Outbound, number: u16, part: Bytes) {
    put_body_frame_header(out.tail(), number, len32(part.len()));
    out.link(part);
    out.tail().push(FRAME_END);
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
