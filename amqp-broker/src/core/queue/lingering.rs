//! What a quorum queue takes for consumers, though nobody consumes: each get, and each consumer that was cancelled, until what they
//! were given is settled.

use std::collections::BTreeMap;

use super::{Consumer, ConsumerId};

#[derive(Debug, Default)]
pub(crate) struct Lingering {
    /// Gets whose message is not settled.
    gets: usize,
    /// Cancelled consumers with messages that are not settled.
    cancelled: BTreeMap<ConsumerId, Consumer>,
}

impl Lingering {
    pub(crate) fn len(&self) -> usize {
        self.gets + self.cancelled.len()
    }

    pub(crate) fn got(&mut self) {
        self.gets += 1;
    }

    pub(crate) fn cancelled(&mut self, id: ConsumerId, consumer: Consumer) {
        if consumer.unacked > 0 {
            self.cancelled.insert(id, consumer);
        }
    }

    /// A message is settled that this consumer was given, or a get.
    pub(crate) fn settled(&mut self, id: Option<ConsumerId>) {
        let Some(id) = id else {
            self.gets = self.gets.saturating_sub(1);
            return;
        };
        let Some(consumer) = self.cancelled.get_mut(&id) else { return };
        consumer.unacked = consumer.unacked.saturating_sub(1);
        if consumer.unacked == 0 {
            self.cancelled.remove(&id);
        }
    }

    /// The one that this consumer was before, on the same channel and with the same tag: it goes on as that, with what it has.
    pub(crate) fn revive(&mut self, consumer: &mut Consumer) -> Option<ConsumerId> {
        let place = |one: &Consumer| (one.session, one.channel);
        let is_it = |one: &Consumer| place(one) == place(consumer) && one.tag == consumer.tag;
        let id = self.cancelled.iter().find(|(_, one)| is_it(one)).map(|(id, _)| *id)?;
        consumer.unacked = self.cancelled.remove(&id)?.unacked;
        Some(id)
    }
}
