//! One channel: its state, the replies it waits for, and what is under way on it.
//!
//! ```text
//!             open-ok                close()                  close-ok
//!   Opening ───────────► Open ─────────────────► Closing ──────────────────► Closed
//!      │                  │  channel.close from the broker (answered)  ▲
//!      └──────────────────┴─────────────────────┴──────────────────────┘  or the connection ends
//! ```
//!
//! A channel is known by its [`ChannelId`] for as long as its owner holds it, also when it is closed: then it says why.
//! Its number on the wire is free again when both sides have done with it. Where all numbers are in use and some are
//! about to be free, a new channel takes one of those: what it sends is held back until then ([`Channels::open`]).

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;
use slab::Slab;

use super::backlog::Backlog;
use super::confirms::Window;
use super::consumers::Ended;
use super::content::{Assembly, Returned};
use super::held::{Held, Stage};
use super::ids::{ChannelId, ConsumerId, RequestId};
use super::room::Line;
use super::settle::Unsettled;
use crate::error::{Error, ErrorKind};
use crate::recovery::Change;

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) number: u16,
    pub(super) state: ChannelState,
    /// The owner has gone.
    pub(super) released: bool,
    /// Replies that will come, in the order of their requests.
    pending: VecDeque<Pending>,
    /// The message that is coming in.
    pub(super) assembly: Option<Assembly>,
    pub(super) unsettled: Unsettled,
    /// The delivery tags of earlier epochs are void.
    pub(super) epoch: u32,
    /// How many `basic.recover` are not answered: what comes before the last answer is void too, if it is to be settled.
    pub(super) recovering: u32,
    pub(super) consumers: HashMap<Box<str>, ConsumerId, FixedState>,
    pub(super) ended: Ended,
    /// The consumer that the last delivery was for.
    pub(super) last_consumer: Option<ConsumerId>,
    /// The prefetch that new consumers get, as last told to the broker.
    pub(super) prefetch: Option<u16>,
    /// The prefetch that the application asked for by `basic.qos`.
    pub(super) qos: Option<u16>,
    /// The same for the whole channel, by a global `basic.qos`, if it is a bound.
    pub(super) global_qos: Option<u16>,
    pub(super) mode: Mode,
    /// A body that is leaving in parts, and what follows it.
    pub(super) backlog: Option<Box<Backlog>>,
    /// Those who wait for room to publish.
    pub(super) line: Line,
    /// The broker asked for no more content by `channel.flow`.
    pub(super) stopped: bool,
    pub(super) returns: VecDeque<Returned>,
    /// What they cost in memory.
    pub(super) returns_bytes: usize,
    pub(super) returns_watched: bool,
    /// Messages that come back are kept without their bodies: they were too large for that when they left.
    pub(super) drops_returned_bodies: bool,
    /// Acks wait for the end of the turn, and the channel stands in the connection's list of such.
    pub(super) dirty: bool,
    /// It waits until its connection is back, and so does what it is asked for.
    pub(super) held: Option<Box<Held>>,
    /// The queue that was declared last on it, which an empty name means.
    pub(super) last_queue: String,
    /// What is declared on it is not recorded.
    pub(super) is_unrecorded: bool,
    /// Nobody but the connection itself uses it.
    pub(super) is_internal: bool,
    /// Something in its transaction is not committed.
    pub(super) uncommitted: bool,
    /// What was in its transaction is gone, for this reason: it cannot be committed.
    pub(super) void: Option<Error>,
}

#[derive(Debug)]
pub(super) enum ChannelState {
    Opening,
    Open,
    Closing,
    Closed(Error),
}

impl ChannelState {
    /// Why it cannot be used, if it is not open.
    #[cold]
    fn why(&self) -> Error {
        match self {
            Self::Closed(error) => error.clone(),
            Self::Opening | Self::Open | Self::Closing => Error::new(ErrorKind::ChannelNotOpen),
        }
    }
}

/// What publishing on the channel means.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    Plain,
    Confirm(Box<Window>),
    Transaction,
}

/// A reply that will come.
#[derive(Debug)]
pub(super) struct Pending {
    /// Class and method of the reply; `basic.get-empty` counts as `get-ok`.
    pub(super) reply: (u16, u16),
    /// Who waits; a request that is gone makes this a tombstone.
    pub(super) request: Option<RequestId>,
    pub(super) about: About,
}

/// What the reply's handler has to know of the request.
#[derive(Debug)]
pub(super) enum About {
    Nothing,
    Get {
        no_ack: bool,
    },
    /// A consumer begins.
    Consume(ConsumerId, Box<[u8]>),
    /// A consumer goes on with another prefetch, by this tag.
    Resume(ConsumerId, Box<[u8]>),
    /// A consumer goes on after its connection or its queue was lost.
    Restored(ConsumerId, Box<[u8]>),
    /// A consumer ends, if there is one of this tag.
    Cancel(Option<ConsumerId>, Box<[u8]>),
    /// A consumer has ended by this tag, and goes on.
    Replace(ConsumerId, Box<[u8]>),
    /// It changes what is recorded of the topology.
    Change(Box<Change>),
    /// It is declared once more.
    Declare,
    /// It rolls back a transaction that cannot be committed, for this reason.
    Void(Error),
}

impl About {
    /// Whether a reply with this consumer tag may be the one that is awaited. An empty one is the oldest's.
    pub(super) fn has_tag(&self, tag: &[u8]) -> bool {
        match self {
            Self::Consume(_, own)
            | Self::Resume(_, own)
            | Self::Restored(_, own)
            | Self::Cancel(_, own)
            | Self::Replace(_, own) => tag.is_empty() || **own == *tag,
            Self::Nothing | Self::Get { .. } | Self::Change(_) | Self::Declare | Self::Void(_) => false,
        }
    }
}

impl Channel {
    fn new(id: ChannelId, number: u16) -> Self {
        Self {
            id,
            number,
            state: ChannelState::Opening,
            released: false,
            pending: VecDeque::new(),
            assembly: None,
            unsettled: Unsettled::default(),
            epoch: 0,
            recovering: 0,
            consumers: HashMap::with_hasher(FixedState::default()),
            ended: Ended::default(),
            last_consumer: None,
            prefetch: None,
            qos: None,
            global_qos: None,
            mode: Mode::Plain,
            backlog: None,
            line: Line::default(),
            stopped: false,
            returns: VecDeque::new(),
            returns_bytes: 0,
            returns_watched: false,
            drops_returned_bodies: false,
            dirty: false,
            held: None,
            last_queue: String::new(),
            is_unrecorded: false,
            is_internal: false,
            uncommitted: false,
            void: None,
        }
    }

    /// A reply will come to what was sent last on the channel.
    pub(super) fn await_reply(&mut self, pending: Pending) {
        match &mut self.held {
            Some(held) => held.push(Some(pending)),
            None => self.pending.push_back(pending),
        }
    }

    /// The replies that will come to what really was sent.
    pub(super) fn pending_mut(&mut self) -> &mut VecDeque<Pending> {
        &mut self.pending
    }

    pub(super) fn take_all_pending(&mut self) -> VecDeque<Pending> {
        std::mem::take(&mut self.pending)
    }

    /// Whether everything that was sent has its reply.
    pub(super) fn awaits_nothing(&self) -> bool {
        self.pending.is_empty()
    }

    /// The consumers that are being restored, in the order of their requests.
    pub(super) fn being_restored(&self) -> impl Iterator<Item = ConsumerId> {
        self.pending.iter().filter_map(|pending| match pending.about {
            About::Restored(consumer, _) => Some(consumer),
            _ => None,
        })
    }

    /// The oldest outstanding request that this is a reply to. Replies overtake each other: RabbitMQ answers
    /// `consume, declare, declare` with `declare-ok, declare-ok, consume-ok`.
    pub(super) fn take_pending(&mut self, reply: (u16, u16)) -> Option<Pending> {
        self.take_pending_about(reply, |_| true)
    }

    pub(super) fn take_pending_about(&mut self, reply: (u16, u16), about: impl Fn(&About) -> bool) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.reply == reply && about(&pending.about))?;
        self.pending.remove(at)
    }

    /// Whether there is nothing of its own that keeps it from sending content: the next message, or the next part of the
    /// body that is being written.
    pub(super) fn takes_content(&self) -> bool {
        !self.stopped && self.backlog.as_ref().is_none_or(|backlog| backlog.is_awaited())
    }

    /// Why a message cannot be queued: it may be later; but while a body is being written, not before that is complete.
    #[cold]
    pub(super) fn no_room(&self) -> Error {
        if self.backlog.as_ref().is_some_and(|backlog| backlog.is_awaited()) {
            return Error::invalid("another body is being written on this channel").during("basic.publish");
        }
        Error::new(ErrorKind::Full)
    }

    /// Its publishes that are not confirmed, in confirm mode.
    #[inline]
    pub(super) fn window(&self) -> Option<&Window> {
        match &self.mode {
            Mode::Confirm(window) => Some(window),
            Mode::Plain | Mode::Transaction => None,
        }
    }

    /// Whether there is a place for another unconfirmed publish, besides those that were promised.
    #[inline]
    pub(super) fn has_place(&self) -> bool {
        self.window().is_none_or(|window| window.has_place(self.line.granted()))
    }

    /// Whether something waits for the confirms of its publishes, besides those who wait for single ones.
    #[inline]
    pub(super) fn awaits_confirms(&self) -> bool {
        self.released || self.line.is_waiting() || self.window().is_some_and(Window::has_barriers)
    }

    /// Whether it can be used, or why not.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), Error> {
        match &self.state {
            ChannelState::Opening | ChannelState::Open => Ok(()),
            state => Err(state.why()),
        }
    }
}

/// All channels of a connection.
#[derive(Debug, Default)]
pub(super) struct Channels {
    slots: Slab<Channel>,
    /// The slot of each channel number, from 1.
    by_number: Vec<Option<u32>>,
    /// Numbers that were used and are free, the longest free one first.
    free: VecDeque<u16>,
    /// Numbers whose channels both sides closed at once: the broker's close-ok is still to come.
    stragglers: Vec<u16>,
    /// Numbers that are about to be free and have no successor, those that will be first.
    closing: VecDeque<u16>,
    /// Channels that wait for a number that is about to be free.
    successors: Vec<(u16, ChannelId)>,
    /// The channel whose number the connection's own channel borrows.
    lender: Option<ChannelId>,
    next_generation: u32,
}

impl Channels {
    /// A new channel with a free number, or with one that is about to be free; then it is behind a backlog that has no
    /// message, until [`free_number`](Self::free_number). None if all numbers are really in use.
    pub(super) fn open(&mut self, channel_max: u16) -> Option<&mut Channel> {
        let used = u16::try_from(self.by_number.len()).unwrap_or(u16::MAX);
        // Numbers are reused late, so that a straggler is not taken for something new.
        let number = match self.free.front() {
            Some(number) if self.free.len() >= 16 || used >= channel_max => {
                let number = *number;
                self.free.pop_front();
                number
            }
            _ if used < channel_max => {
                self.by_number.push(None);
                used + 1
            }
            _ => self.closing.pop_front()?,
        };
        let waits = self.by_number.get(usize::from(number) - 1).is_some_and(Option::is_some)
            || self.stragglers.contains(&number);
        let channel = self.insert(number);
        let (id, index) = (channel.id, channel.id.index);
        if waits {
            channel.backlog = Some(Box::new(Backlog::held()));
            self.successors.push((number, id));
        } else if let Some(slot) = self.by_number.get_mut(usize::from(number) - 1) {
            *slot = Some(index);
        }
        self.get_mut(id)
    }

    fn insert(&mut self, number: u16) -> &mut Channel {
        self.next_generation = self.next_generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let index = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        entry.insert(Channel::new(ChannelId { index, generation: self.next_generation }, number))
    }

    /// A new channel for the connection itself. Where all numbers are in use it borrows one of a channel that waits.
    pub(super) fn open_internal(&mut self, channel_max: u16) -> Option<&mut Channel> {
        let is_free = !self.free.is_empty() || self.by_number.len() < usize::from(channel_max);
        let id = if is_free { self.open(channel_max)?.id } else { self.borrow_number(channel_max)? };
        let channel = self.get_mut(id)?;
        channel.is_internal = true;
        channel.is_unrecorded = true;
        Some(channel)
    }

    fn borrow_number(&mut self, channel_max: u16) -> Option<ChannelId> {
        let waits = |channel: &&Channel| {
            channel.number <= channel_max && channel.held.as_ref().is_some_and(|held| held.stage != Stage::Reopening)
        };
        let lender = self.slots.iter().map(|(_, channel)| channel).find(waits)?;
        let (number, lender) = (lender.number, lender.id);
        self.lender = Some(lender);
        let id = self.insert(number).id;
        if let Some(slot) = self.by_number.get_mut(usize::from(number) - 1) {
            *slot = Some(id.index);
        }
        Some(id)
    }

    /// The channel of the connection itself is closed: its number is free, or goes back to the channel that it is of.
    pub(super) fn remove_internal(&mut self, id: ChannelId) {
        let Some(number) = self.get(id).map(|channel| channel.number) else { return };
        self.slots.remove(id.index());
        let lender = self.lender.take().filter(|lender| self.get(*lender).is_some_and(|it| it.number == number));
        match (lender, self.by_number.get_mut(usize::from(number) - 1)) {
            (Some(lender), Some(slot)) => *slot = Some(lender.index),
            (None, Some(slot)) => {
                *slot = None;
                self.free.push_back(number);
            }
            _ => {}
        }
    }

    /// Whether frames with this number are for this channel.
    pub(super) fn is_at(&self, number: u16, id: ChannelId) -> bool {
        usize::from(number).checked_sub(1).and_then(|at| *self.by_number.get(at)?) == Some(id.index)
    }

    /// No close-ok comes any more.
    pub(super) fn forget_stragglers(&mut self) {
        for number in std::mem::take(&mut self.stragglers) {
            self.pass_on(number);
        }
    }

    /// Whether any channel waits for its connection in one of these stages.
    pub(super) fn any_at(&self, stages: &[Stage]) -> bool {
        let mut held = self.slots.iter().filter_map(|(_, channel)| channel.held.as_ref());
        held.any(|held| stages.contains(&held.stage))
    }

    /// A queue has another name now.
    pub(super) fn rename_queue(&mut self, old: &str, new: &str) {
        for (_, channel) in &mut self.slots {
            if channel.last_queue == old {
                new.clone_into(&mut channel.last_queue);
            }
        }
    }

    /// The number will be free when the broker has answered.
    pub(super) fn note_closing(&mut self, number: u16) {
        self.closing.push_back(number);
    }

    #[inline]
    pub(super) fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.slots.get(id.index()).filter(|channel| channel.id == id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.slots.get_mut(id.index()).filter(|channel| channel.id == id)
    }

    /// A channel that can be used.
    #[inline]
    pub(super) fn usable(&mut self, id: ChannelId) -> Result<&mut Channel, Error> {
        let channel = self.get_mut(id).ok_or_else(|| Error::new(ErrorKind::ChannelNotOpen))?;
        channel.check_open()?;
        Ok(channel)
    }

    #[inline]
    pub(super) fn by_number(&mut self, number: u16) -> Option<&mut Channel> {
        let index = (*self.by_number.get(usize::from(number).checked_sub(1)?)?)?;
        self.slots.get_mut(index as usize)
    }

    /// Both sides have done with this number. The channel that waited for it, if one did, has it now: what it had to say
    /// is to be sent.
    #[must_use]
    pub(super) fn free_number(&mut self, number: u16) -> Option<ChannelId> {
        let slot = usize::from(number).checked_sub(1).and_then(|at| self.by_number.get_mut(at))?;
        slot.take()?;
        self.pass_on(number)
    }

    /// The number goes to its successor, or is free.
    fn pass_on(&mut self, number: u16) -> Option<ChannelId> {
        let Some(at) = self.successors.iter().position(|(wanted, _)| *wanted == number) else {
            self.closing.retain(|closing| *closing != number);
            self.free.push_back(number);
            return None;
        };
        let (_, id) = self.successors.remove(at);
        if let Some(slot) = self.by_number.get_mut(usize::from(number) - 1) {
            *slot = Some(id.index);
        }
        Some(id)
    }

    /// The number's channel is gone, but a close-ok for it is still to come.
    pub(super) fn await_straggler(&mut self, number: u16) {
        if let Some(slot) = usize::from(number).checked_sub(1).and_then(|at| self.by_number.get_mut(at)) {
            *slot = None;
        }
        self.stragglers.push(number);
    }

    /// Whether this number waited for its close-ok; it is free now, or has gone to a channel that waited for it.
    pub(super) fn straggler(&mut self, number: u16) -> Option<Option<ChannelId>> {
        let at = self.stragglers.iter().position(|straggler| *straggler == number)?;
        self.stragglers.swap_remove(at);
        Some(self.pass_on(number))
    }

    /// Forgets a closed channel that nobody holds, and on which nothing more is to be sent.
    pub(super) fn forget_if_done(&mut self, id: ChannelId) {
        let is_done = |channel: &Channel| {
            channel.released && channel.backlog.is_none() && matches!(channel.state, ChannelState::Closed(_))
        };
        if self.get(id).is_some_and(is_done) {
            self.slots.remove(id.index());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().map(|(_, channel)| channel)
    }

    pub(super) fn ids(&self) -> Vec<ChannelId> {
        self.slots.iter().map(|(_, channel)| channel.id).collect()
    }

    /// How many numbers are in use.
    pub(super) fn in_use(&self) -> usize {
        self.by_number.len() - self.free.len()
    }
}
