//! Keeping the record of what was declared: a change is made when the broker has granted it, or, where it says nothing,
//! when it is sent.

use super::channel::{About, Channel, Pending};
use super::{ChannelId, Connection, ConsumerId, Reply};
use crate::method::Method;
use crate::recovery::Change;

impl Connection {
    /// What a method will change in the record, if there is one.
    pub(super) fn change_of(&self, id: ChannelId, method: &Method<'_>) -> Option<Box<Change>> {
        self.recovering.as_ref()?;
        let keeps = self.config.recovery.as_ref().is_some_and(|recovery| recovery.topology);
        let unrecorded = self.channels.get(id).is_none_or(|channel| channel.is_unrecorded);
        let change = Change::of(method)?;
        (keeps && !(unrecorded && change.adds())).then(|| Box::new(change))
    }

    /// The broker will not say whether it has granted this.
    pub(super) fn sent_without_reply(&mut self, id: ChannelId, change: Option<Box<Change>>) {
        if let Some(Channel { held: Some(held), .. }) = self.channels.get_mut(id) {
            held.push(None);
        }
        if let Some(change) = change {
            self.record(*change, id, &Reply::Done);
        }
    }

    /// The broker has granted it.
    pub(super) fn record(&mut self, change: Change, id: ChannelId, reply: &Reply) {
        let Some(recovering) = &mut self.recovering else { return };
        let last_queue = self.channels.get(id).map_or("", |channel| channel.last_queue.as_str());
        let queue = match reply {
            Reply::QueueDeclared { queue, .. } => Some(queue.as_str()),
            _ => None,
        };
        change.apply(last_queue, queue, &mut recovering.topology);
    }

    /// A queue was declared on the channel: it is the one that is meant by an empty name from now on. Consumers that were
    /// asked for after it, and before another, are its own.
    pub(super) fn note_queue(&mut self, id: ChannelId, queue: &str) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        queue.clone_into(&mut channel.last_queue);
        let mut consumers = Vec::new();
        let mut declared = false;
        for Pending { reply, about, .. } in channel.pending_mut() {
            match about {
                _ if *reply == super::replies::DECLARE_OK && declared => break,
                _ if *reply == super::replies::DECLARE_OK => declared = true,
                About::Consume(consumer, _) if declared => consumers.push(*consumer),
                _ => {}
            }
        }
        for consumer in consumers {
            self.name_queue_of(consumer, queue);
        }
    }

    fn name_queue_of(&mut self, id: ConsumerId, queue: &str) {
        if let Some(consumer) = self.consumer_mut(id)
            && consumer.subscription.queue.is_empty()
        {
            consumer.subscription.queue = queue.as_bytes().into();
        }
    }

    /// A consumer has begun.
    pub(super) fn record_consumer(&mut self, id: ConsumerId) {
        let Some(queue) = self.queue_of(id) else { return };
        if let Some(recovering) = &mut self.recovering {
            recovering.topology.consumer_added(&queue);
        }
    }

    /// A consumer that had begun has ended.
    pub(super) fn forget_recorded_consumer(&mut self, id: ConsumerId) {
        let Some(queue) = self.queue_of(id) else { return };
        if let Some(recovering) = &mut self.recovering {
            recovering.topology.consumer_removed(&queue);
        }
    }

    fn queue_of(&mut self, id: ConsumerId) -> Option<String> {
        self.recovering.as_ref()?;
        let consumer = self.consumer_mut(id).filter(|consumer| consumer.started)?;
        Some(String::from_utf8_lossy(&consumer.subscription.queue).into_owned())
    }
}
