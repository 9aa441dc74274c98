//! Many deliveries at a time: waiting for them, and settling them together.

use std::time::Duration;

use super::channel::Mode;
use super::consumers::{ConsumerState, Item};
use super::content::Delivery;
use super::{Connection, ConsumerId, DeliveryTag, Reply, RequestId};
use crate::error::Error;

/// What a consumer has for somebody who waits for many deliveries.
#[derive(Debug)]
#[non_exhaustive]
pub enum NextBatch {
    /// As many as were asked for, or all there are if they were asked for now or no more can come. At least one.
    Deliveries(Vec<Delivery>),
    /// A message that cannot be read, or the reason for which the consumer ends. More may follow.
    Bad(Error),
    /// Not enough yet; `Event::ConsumerReady` will come with the next one.
    Pending {
        /// Whether there are any.
        some: bool,
    },
    /// There will be nothing more.
    Ended,
}

impl Connection {
    /// The next deliveries of a consumer, at most this many. Nothing is taken before they are enough: if there are as many,
    /// or as many as the prefetch allows; if the consumer ends, or reading is paused; if they are wanted `now`.
    pub fn next_batch(&mut self, id: ConsumerId, max: usize, now: bool) -> NextBatch {
        let paused = !self.wants_read();
        let Some(consumer) = self.consumer_mut(id) else { return NextBatch::Ended };
        let max = match consumer.prefetch {
            0 => max,
            _ if consumer.no_ack => max,
            prefetch => max.min(usize::from(prefetch)),
        }
        .max(1);
        let has_ended = consumer.state == ConsumerState::Ended;
        let count = consumer.queue.len();
        if count == 0 && has_ended {
            return NextBatch::Ended;
        }
        if count == 0 || !(count >= max || has_ended || paused || now) {
            consumer.watched = true;
            return NextBatch::Pending { some: count > 0 };
        }
        let mut deliveries = Vec::with_capacity(count.min(max));
        let mut freed = 0;
        while deliveries.len() < max
            && (deliveries.is_empty() || matches!(consumer.queue.front(), Some(Item::Delivery(_))))
            && !consumer.queue.is_empty()
        {
            freed += consumer.uncount_next();
            let Some(item) = consumer.queue.pop_front() else { break };
            match item {
                Item::Delivery(delivery) => deliveries.push(delivery),
                // It is the first.
                Item::Bad(error) => {
                    self.unbuffer(freed);
                    return NextBatch::Bad(error);
                }
            }
        }
        self.unbuffer(freed);
        for body in deliveries.iter().filter_map(Delivery::streamed_body) {
            self.hand_out(body.id);
        }
        NextBatch::Deliveries(deliveries)
    }

    /// Acks many deliveries. Those below which nothing is left to be settled leave as one ack, the others one by one.
    ///
    /// # Errors
    /// As [`ack`](Self::ack), for the first of those for which it is an error; the others are acked.
    pub fn ack_all(&mut self, tags: impl IntoIterator<Item = DeliveryTag>) -> Result<(), Error> {
        let mut result = Ok(());
        for tag in tags {
            // Acks that wait coalesce.
            let one = self.ack(tag, false);
            result = result.and(one);
        }
        result
    }

    /// Refuses many deliveries, in ascending order of their tags. Those below which nothing is left to be settled leave as
    /// one nack, the others one by one.
    ///
    /// # Errors
    /// As [`nack`](Self::nack), for the first of those for which it is an error; the others are refused.
    pub fn nack_all(&mut self, tags: &[DeliveryTag], requeue: bool) -> Result<(), Error> {
        let together = self.contiguous(tags);
        let (first, rest) = tags.split_at_checked(together).unwrap_or((tags, &[]));
        let mut result = match first {
            [] => Ok(()),
            [one] => self.nack(*one, false, requeue),
            [.., last] => self.nack(*last, true, requeue),
        };
        for tag in rest {
            let one = self.nack(*tag, false, requeue);
            result = result.and(one);
        }
        result
    }

    /// How many of these tags, from the first one on, are all that is to be settled on their channel up to the last of
    /// them.
    fn contiguous(&self, tags: &[DeliveryTag]) -> usize {
        let Some(channel) = tags.first().and_then(|tag| self.channels.get(tag.channel)) else { return 0 };
        if matches!(channel.mode, Mode::Transaction) {
            return 0;
        }
        let same = tags.iter().take_while(|tag| tag.channel == channel.id && tag.epoch == channel.epoch);
        channel
            .unsettled
            .outstanding_tags()
            .zip(same)
            .take_while(|(outstanding, tag)| *outstanding == tag.value)
            .count()
    }

    /// A request that resolves when this much time has passed, with an error of a time-out, or when the connection has
    /// ended. It is for those who wait for something else, and not longer than that.
    pub fn wait_time(&mut self, time: Duration) -> RequestId {
        let request = self.calls.insert("waiting", Some(time));
        if self.is_finished() {
            self.answer(Some(request), Ok(Reply::Done));
        } else {
            self.turn = true;
        }
        request
    }
}
