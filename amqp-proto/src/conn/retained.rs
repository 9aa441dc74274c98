//! Messages that are published at least once: kept until the broker has answered, and sent again, in their order, when a
//! connection that was lost is back.
//!
//! What is kept is bounded in bytes, as there is no room for more beyond the limit, and in time, as a publish whose deadline
//! is over has its outcome then, and is not sent again.

use std::collections::VecDeque;

use bytes::Bytes;

use super::channel::{Channel, Mode};
use super::publish::{Publish, PublishBody};
use super::{ChannelId, Connection};
use crate::error::Error;
use crate::method::Properties;
use crate::wire::{EncodeError, ShortStr};

/// The messages of one channel that the broker has not answered for.
#[derive(Debug)]
pub(super) struct Retained {
    /// In bytes: one message may exceed it.
    limit: usize,
    bytes: usize,
    /// By sequence number. Those that have their outcome, but stand between others, are empty.
    messages: VecDeque<(u64, Option<Message>)>,
}

/// A message that can be published once more. It is not immediate: such a message is for now or never, and one that the
/// broker closes the connection for would do so again and again.
#[derive(Debug)]
pub(super) struct Message {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
    properties: Properties,
    body: Bytes,
}

impl Message {
    pub(super) fn new(publish: &Publish<'_>) -> Self {
        Self {
            exchange: publish.exchange.as_bytes().into(),
            routing_key: publish.routing_key.as_bytes().into(),
            mandatory: publish.mandatory,
            properties: publish.properties.clone(),
            body: match &publish.body {
                PublishBody::Borrowed(body) => Bytes::copy_from_slice(body),
                PublishBody::Shared(body) => body.clone(),
            },
        }
    }

    fn publish(&self) -> Result<Publish<'_>, EncodeError> {
        Ok(Publish {
            exchange: ShortStr::from_bytes(&self.exchange)?,
            routing_key: ShortStr::from_bytes(&self.routing_key)?,
            mandatory: self.mandatory,
            immediate: false,
            properties: &self.properties,
            body: PublishBody::Shared(self.body.clone()),
        })
    }

    fn size(&self) -> usize {
        let envelope = self.exchange.len() + self.routing_key.len() + self.properties.wire().1.len();
        envelope + self.body.len() + size_of::<Self>()
    }
}

impl Retained {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, messages: VecDeque::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    /// Keeps a message whose number is higher than those of the others.
    pub(super) fn push(&mut self, seq: u64, message: Message) {
        self.bytes += message.size();
        self.messages.push_back((seq, Some(message)));
    }

    fn position(&self, seq: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&seq, |(seq, _)| *seq).ok()
    }

    pub(super) fn holds(&self, seq: u64) -> bool {
        self.position(seq).and_then(|at| self.messages.get(at)).is_some_and(|(_, message)| message.is_some())
    }

    /// A publish has its outcome.
    pub(super) fn release(&mut self, seq: u64) {
        let Some((_, message)) = self.position(seq).and_then(|at| self.messages.get_mut(at)) else { return };
        self.bytes -= message.take().map_or(0, |message| message.size());
        while self.messages.front().is_some_and(|(_, message)| message.is_none()) {
            self.messages.pop_front();
        }
    }

    /// All below a sequence number have their outcome.
    pub(super) fn release_below(&mut self, seq: u64) {
        while self.messages.front().is_some_and(|(first, _)| *first < seq) {
            let message = self.messages.pop_front().and_then(|(_, message)| message);
            self.bytes -= message.map_or(0, |message| message.size());
        }
    }

    /// The publishes that are left have other numbers now: those are `old`, and count from 1.
    pub(super) fn renumber(&mut self, old: &[u64]) {
        self.messages.retain_mut(|(seq, message)| match old.binary_search(seq) {
            Ok(at) => {
                *seq = at as u64 + 1;
                message.is_some()
            }
            Err(_) => false,
        });
    }
}

impl Connection {
    /// From now on what is published on this channel, which is in confirm mode, is kept until the broker has answered, and
    /// sent again if the connection is lost and comes back. There is no room to publish while `bytes` bytes or more are
    /// kept.
    pub fn retain_publishes(&mut self, id: ChannelId, bytes: usize) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Mode::Confirm(window) = &mut channel.mode else { return };
        window.retain_up_to(bytes);
        self.leave_turns(id);
        self.join_turns(id);
        self.grant_room();
    }

    /// The channel is open again: what is kept is sent again, before anything else. The broker counts from 1.
    pub(super) fn send_again(&mut self, id: ChannelId) {
        for (seq, error) in self.too_large_now(id) {
            self.lose_publishes(id, &error, |window, cause, each| window.give_up(seq, cause, each));
        }
        self.pass_barriers(id);
        let Some(channel) = self.channels.get_mut(id) else { return };
        let number = channel.number;
        let Mode::Confirm(window) = &mut channel.mode else { return };
        window.begin_anew();
        let Some(retained) = window.retained.take() else { return };
        for (_, message) in &retained.messages {
            // All of them fit: that was looked at.
            if let Some(Ok(())) = message.as_ref().map(|message| self.put_at_once(number, &message.publish()?)) {
                self.stats.publishes_sent_again += 1;
            }
        }
        if let Some(channel) = self.channels.get_mut(id)
            && let Mode::Confirm(window) = &mut channel.mode
        {
            window.retained = Some(retained);
        }
    }

    /// The messages that the broker does not take any more, as its limit is lower than before the loss.
    fn too_large_now(&self, id: ChannelId) -> Vec<(u64, Error)> {
        let window = self.channels.get(id).and_then(Channel::window);
        let Some(retained) = window.and_then(|window| window.retained.as_ref()) else { return Vec::new() };
        let error = |message: &Message| self.check_publish(&message.publish().ok()?).err();
        let messages = retained.messages.iter();
        messages.filter_map(|(seq, message)| Some((*seq, error(message.as_ref()?)?))).collect()
    }
}
