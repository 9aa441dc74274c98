//! Complete messages to the consumer, the caller or the publish that they are for.

use super::channel::{About, Mode};
use super::confirms::Waiter;
use super::consumers::{ConsumerState, Item, OVERHEAD, Recipient, Stream};
use super::content::{Assembly, Delivery, Head, Incoming, Returned};
use super::fingerprint::Fingerprint;
use super::inbound::Fault;
use super::{ChannelId, Connection, ConsumerId, DeliveryTag, Event, Next, Reply};
use crate::error::{Error, ErrorKind};
use crate::method::reply_code::ReplyCode;

impl Connection {
    /// A message is complete.
    #[inline]
    pub(super) fn complete(&mut self, id: ChannelId, assembly: Assembly) -> Result<(), Fault> {
        match assembly.head {
            Head::Deliver { recipient, delivery_tag, redelivered } => {
                self.delivered(id, recipient, delivery_tag, redelivered, || assembly.finish())
            }
            Head::Got { delivery_tag, redelivered, message_count } => {
                self.got(id, delivery_tag, redelivered, message_count, assembly)
            }
            Head::Return { code } => {
                self.returned(id, code, assembly);
                Ok(())
            }
            Head::Streamed(_) => Ok(()),
        }
    }

    #[inline]
    pub(super) fn delivered(
        &mut self,
        id: ChannelId,
        recipient: Recipient,
        delivery_tag: u64,
        redelivered: bool,
        message: impl FnOnce() -> Incoming,
    ) -> Result<(), Fault> {
        let (closing, limit) = (self.is_closing(), self.config.limits.receive_buffer);
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let no_ack = recipient.no_ack;
        if channel.recovering > 0 && !no_ack {
            // It went out before basic.recover took effect and comes again.
            return Ok(());
        }
        if !channel.unsettled.delivered(delivery_tag, no_ack) {
            return Err(bad_tag(delivery_tag, channel.number));
        }
        let tag = DeliveryTag { value: delivery_tag, channel: id, epoch: channel.epoch };
        let consumer =
            self.consumers.get_mut(recipient.id.index()).filter(|it| it.generation == recipient.id.generation);
        let Some(consumer) = consumer.filter(|consumer| consumer.takes_more(closing, limit)) else {
            if no_ack {
                self.stats.deliveries_discarded += 1;
            } else {
                self.requeue(tag);
            }
            return Ok(());
        };
        let item = item(tag, no_ack, redelivered, None, message);
        if consumer.stream != Stream::No
            && let Item::Delivery(delivery) = &item
        {
            consumer.note_offset(delivery);
        }
        self.buffered += consumer.push(item);
        if std::mem::take(&mut consumer.watched) {
            self.events.push_back(Event::ConsumerReady(recipient.id));
        }
        Ok(())
    }

    fn got(
        &mut self,
        id: ChannelId,
        delivery_tag: u64,
        redelivered: bool,
        message_count: u32,
        assembly: Assembly,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let number = channel.number;
        let Some(pending) = channel.take_pending(super::replies::GET_OK) else {
            return Err(Fault::unexpected("basic.get-ok", number));
        };
        let no_ack = matches!(pending.about, About::Get { no_ack: true });
        // What was got before basic.recover took effect comes again: its tag is void already.
        let void = channel.recovering > 0 && !no_ack;
        if !channel.unsettled.delivered(delivery_tag, no_ack || void) {
            return Err(bad_tag(delivery_tag, number));
        }
        let epoch = if void { channel.epoch.wrapping_sub(channel.recovering) } else { channel.epoch };
        let tag = DeliveryTag { value: delivery_tag, channel: id, epoch };
        let result = match item(tag, no_ack, redelivered, Some(message_count), || assembly.finish()) {
            Item::Delivery(delivery) => Ok(Reply::Got(Some(Box::new(delivery)))),
            Item::Bad(error) => Err(error),
        };
        self.answer(pending.request, result);
        Ok(())
    }

    fn returned(&mut self, id: ChannelId, code: ReplyCode, assembly: Assembly) {
        let Incoming { envelope, payload, .. } = assembly.finish();
        let message = Box::new(Returned { code, envelope, payload });
        let Some(channel) = self.channels.get_mut(id) else { return };
        let waiter = match &mut channel.mode {
            Mode::Confirm(window) => {
                let fingerprint = Fingerprint::new(
                    &self.hasher,
                    message.exchange().as_bytes(),
                    message.routing_key().as_bytes(),
                    message.body().chunks(),
                    split_flags(message.raw_properties().as_bytes()),
                    || message.properties().unwrap_or_default(),
                );
                window.returned(fingerprint, &message)
            }
            Mode::Plain | Mode::Transaction => None,
        };
        let unclaimed = match waiter {
            Some(Waiter::Confirm(waiter)) => self.waiters.returned(waiter, message),
            Some(Waiter::Batch(batch, index)) => self.batches.returned(batch, index, message),
            Some(Waiter::Nobody) | None => Some(message),
        };
        if let Some(message) = unclaimed {
            self.queue_return(id, *message);
        }
    }

    /// A returned message that belongs to no confirm that somebody waits for.
    pub(super) fn queue_return(&mut self, id: ChannelId, message: Returned) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.returns_bytes += OVERHEAD + message.weight();
        channel.returns.push_back(message);
        // The newest is kept, whatever its size.
        while channel.returns_bytes > self.config.limits.receive_buffer
            && channel.returns.len() > 1
            && let Some(oldest) = channel.returns.pop_front()
        {
            channel.returns_bytes -= OVERHEAD + oldest.weight();
            self.stats.returns_dropped += 1;
        }
        if std::mem::take(&mut channel.returns_watched) {
            self.events.push_back(Event::Returned(id));
        }
    }

    /// What the consumer has next.
    pub fn next_delivery(&mut self, id: ConsumerId) -> Next {
        let consumer = self.consumers.get_mut(id.index()).filter(|consumer| consumer.generation == id.generation);
        let Some(consumer) = consumer else { return Next::Ended };
        let freed = consumer.uncount_next();
        self.turn |= uncount(&mut self.buffered, freed, self.config.limits.receive_buffer);
        match consumer.queue.pop_front() {
            Some(Item::Delivery(delivery)) => {
                if let Some(body) = delivery.streamed_body() {
                    self.hand_out(body.id);
                }
                Next::Delivery(delivery)
            }
            Some(Item::Bad(error)) => Next::Bad(error),
            None if consumer.state == ConsumerState::Ended => Next::Ended,
            None => {
                consumer.watched = true;
                Next::Pending
            }
        }
    }

    /// How many deliveries wait in a consumer.
    #[must_use]
    pub fn buffered_deliveries(&self, id: ConsumerId) -> usize {
        self.consumers
            .get(id.index())
            .filter(|consumer| consumer.generation == id.generation)
            .map_or(0, |consumer| consumer.queue.len())
    }

    /// The next message that came back on this channel and belongs to no confirm that somebody waits for.
    ///
    /// `Ok(None)`: none yet, and [`Event::Returned`] will come.
    ///
    /// # Errors
    /// Why the channel is closed, once all returned messages have been taken.
    pub fn next_return(&mut self, id: ChannelId) -> Result<Option<Returned>, Error> {
        let channel = self.channels.get_mut(id).ok_or_else(|| Error::new(ErrorKind::ChannelNotOpen))?;
        if let Some(message) = channel.returns.pop_front() {
            channel.returns_bytes -= OVERHEAD + message.weight();
            return Ok(Some(message));
        }
        channel.check_open()?;
        channel.returns_watched = true;
        Ok(None)
    }

    /// Counted bytes have left a consumer's queue; reading goes on when it was paused.
    pub(super) fn unbuffer(&mut self, bytes: usize) {
        self.turn |= uncount(&mut self.buffered, bytes, self.config.limits.receive_buffer);
    }
}

/// Takes these bytes off what is counted. Whether reading goes on by that.
#[inline]
fn uncount(buffered: &mut usize, bytes: usize, limit: usize) -> bool {
    let paused = *buffered >= limit;
    *buffered -= bytes;
    paused && *buffered < limit
}

/// The delivery, or the word on one that cannot be read.
#[inline]
fn item(
    tag: DeliveryTag,
    no_ack: bool,
    redelivered: bool,
    message_count: Option<u32>,
    message: impl FnOnce() -> Incoming,
) -> Item {
    let Incoming { envelope, payload, oversized } = message();
    if let Some(size) = oversized {
        return bad_delivery(tag, format!("its body of {size} bytes is over the limit"));
    }
    if let Some(name) = envelope.bad_name() {
        return bad_delivery(tag, format!("its {name} is no UTF-8"));
    }
    Item::Delivery(Delivery { tag, no_ack, redelivered, message_count, envelope, payload })
}

#[cold]
fn bad_delivery(delivery_tag: DeliveryTag, reason: String) -> Item {
    Item::Bad(Error::new(ErrorKind::BadDelivery { delivery_tag, reason }))
}

/// Property flags and what follows them.
fn split_flags(properties: &[u8]) -> (u16, &[u8]) {
    properties.split_first_chunk().map_or((0, properties), |(flags, fields)| (u16::from_be_bytes(*flags), fields))
}

#[cold]
fn bad_tag(tag: u64, channel: u16) -> Fault {
    Fault::unexpected(format!("delivery tag {tag}, which is not above the last one,"), channel)
}
