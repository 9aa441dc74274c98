//! What becomes of deliveries: acks, nacks, rejects, recovers, and the end of their channel.

use std::collections::BTreeSet;

use super::death::Reason;
use super::queue::{Kind, PutBack};
use super::refusal::{Outcome, Refusal};
use super::session::{Channel, Unacked};
use super::{Core, SessionId};

/// How deliveries are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    Ack,
    Requeue(PutBack),
    Discard,
}

impl Core {
    /// Settles what a client says to settle, now or at the commit.
    pub(super) fn settle_tag(&mut self, id: SessionId, number: u16, tag: u64, multiple: bool, how: Settle) -> Outcome {
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return Ok(());
        };
        let settled = take_unacked(channel, tag, multiple)?;
        if let Some(transaction) = &mut channel.transaction {
            transaction.settled.push((how, settled));
            return Ok(());
        }
        self.check_stream_settle(&settled, how)?;
        self.settle(id, number, settled, how);
        Ok(())
    }

    /// RabbitMQ 3.10 has no nack on streams.
    fn check_stream_settle(&self, settled: &[Unacked], how: Settle) -> Outcome {
        if how == Settle::Ack || self.version.streams_take_nacks() {
            return Ok(());
        }
        let queues = settled.iter().filter_map(|unacked| self.queues.get(&unacked.queue));
        match queues.into_iter().find(|queue| queue.kind == Kind::Stream) {
            None => Ok(()),
            Some(queue) => Err(Refusal::not_implemented(format_args!(
                "basic.nack and basic.reject not supported by stream queues {}",
                queue.resource()
            ))),
        }
    }

    /// Settles deliveries of a channel, in their order.
    pub(super) fn settle(&mut self, id: SessionId, number: u16, settled: Vec<Unacked>, how: Settle) {
        let mut touched = BTreeSet::new();
        let mut by_consumers = 0;
        let channel = self.sessions.get(&id).and_then(|session| session.channels.get(&number));
        let is_limited = channel.is_some_and(|channel| channel.global_prefetch > 0);
        for unacked in settled {
            let queue_id = unacked.queue;
            by_consumers += usize::from(unacked.consumer.is_some());
            let Some(queue) = self.queues.get_mut(&queue_id) else { continue };
            // The queue has taken it back already.
            let is_void = queue.kind == Kind::Quorum && unacked.entry.is_none();
            let consumer = unacked.consumer.filter(|id| queue.consumers.settled(*id, is_void));
            match consumer {
                Some(consumer) if !is_limited => _ = queue.consumers.unblock(consumer),
                Some(_) => {}
                None if is_void => {}
                None => queue.lingering.settled(unacked.consumer),
            }
            touched.insert(queue_id);
            // What a stream delivers stays there.
            let Some(entry) = unacked.entry else { continue };
            match how {
                Settle::Requeue(why) => queue.put_back(queue_id, entry, why, &mut self.dead),
                Settle::Ack => queue.unacked = queue.unacked.saturating_sub(1),
                Settle::Discard => {
                    queue.unacked = queue.unacked.saturating_sub(1);
                    self.kill(queue_id, entry.message, Reason::Rejected);
                }
            }
        }
        if let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) {
            channel.unacked_by_consumers = channel.unacked_by_consumers.saturating_sub(by_consumers);
        }
        if is_limited {
            self.unblock_consumers(id, number);
        }
        for queue in touched {
            self.run_queue(queue);
        }
        self.bury();
    }
}

/// Takes out what a delivery tag names: 0 with `multiple` is all there is.
fn take_unacked(channel: &mut Channel, tag: u64, multiple: bool) -> Outcome<Vec<Unacked>> {
    if tag == 0 && multiple {
        return Ok(std::mem::take(&mut channel.unacked).into());
    }
    let at = channel.unacked.binary_search_by_key(&tag, |unacked| unacked.delivery_tag);
    match at {
        Err(_) => Err(Refusal::precondition(format_args!("unknown delivery tag {tag}"))),
        Ok(at) if multiple => Ok(channel.unacked.drain(..=at).collect()),
        Ok(at) => Ok(channel.unacked.remove(at).into_iter().collect()),
    }
}
