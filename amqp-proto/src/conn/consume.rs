//! Consumers as the application asks for them and gives them up.

use std::time::Duration;

use super::channel::{About, Pending};
use super::consumers::{Consumer, ConsumerState, Item, STREAM_OFFSET, Subscription};
use super::{ChannelId, Connection, ConsumerId, Reply, RequestId};
use crate::error::{Error, ErrorKind};
use crate::method::{MethodCodec, basic};
use crate::wire::{ShortStr, TableRef};

const NAME: &str = "basic.consume";

/// The reply to `basic.consume`.
pub(super) const CONSUME_OK: (u16, u16) = (basic::ConsumeOk::CLASS_ID, basic::ConsumeOk::METHOD_ID);

/// The reply to `basic.qos`.
pub(super) const QOS_OK: (u16, u16) = (basic::QosOk::CLASS_ID, basic::QosOk::METHOD_ID);

/// The reply to `basic.cancel`.
pub(super) const CANCEL_OK: (u16, u16) = (basic::CancelOk::CLASS_ID, basic::CancelOk::METHOD_ID);

/// A consumer that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consume<'a> {
    /// The queue; empty is the last one declared on the channel.
    pub queue: ShortStr<'a>,
    /// The consumer's tag, unique in the channel; empty: one is made.
    pub consumer_tag: ShortStr<'a>,
    /// How many unsettled deliveries there may be, 0 for any number; `None`: what `basic.qos` said last on the channel,
    /// or else the configuration's.
    pub prefetch: Option<u16>,
    /// No messages that this connection published. RabbitMQ ignores it.
    pub no_local: bool,
    /// Deliveries count as acked when they are sent.
    pub no_ack: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// The broker does not answer: the consumer counts as started at once, and an error closes the channel later.
    pub nowait: bool,
    /// Deliveries are handed out when their headers have come, and their bodies read while they come in, in chunks
    /// ([`Delivery::streamed_body`](super::Delivery::streamed_body)); they may be of any size. Not those of 1 KiB or less.
    pub streamed: bool,
    /// Further arguments: `x-priority`, `x-stream-offset` …
    pub arguments: TableRef<'a>,
}

impl Connection {
    /// Starts a consumer. Its prefetch is told to the broker in the same step, where it is not known to it.
    ///
    /// # Errors
    /// If the channel is closed, or its tag is in use on the channel: the broker would close the connection for that. If
    /// its arguments are those of a stream, and it has no acks or no prefetch.
    pub fn consume(
        &mut self,
        id: ChannelId,
        consume: &Consume<'_>,
        timeout: Option<Duration>,
    ) -> Result<RequestId, Error> {
        self.usable(id).map_err(|error| error.during(NAME))?;
        self.check_held(id).map_err(|error| error.during(NAME))?;
        let waits = self.is_held(id);
        let default = self.config.prefetch;
        let Some(channel) = self.channels.get_mut(id) else { return Err(Error::new(ErrorKind::ChannelNotOpen)) };
        let name = if consume.consumer_tag.is_empty() {
            loop {
                self.next_consumer = self.next_consumer.wrapping_add(1);
                let tag = format!("ctag-{}.{}", channel.number, self.next_consumer);
                if !channel.consumers.contains_key(&*tag) {
                    break tag;
                }
            }
        } else {
            let tag = consume.consumer_tag.to_str().map_err(|_| Error::invalid("a consumer tag has to be UTF-8"))?;
            if channel.consumers.contains_key(tag) {
                return Err(Error::new(ErrorKind::DuplicateConsumerTag(tag.to_owned())).during(NAME));
            }
            tag.to_owned()
        };
        let wanted = consume.prefetch.or(channel.qos);
        let prefetch = wanted.or(channel.global_qos).unwrap_or(default);
        check_stream(consume, prefetch)?;
        let is_news = match channel.prefetch {
            Some(told) => told != prefetch,
            // That of the whole channel is enough where nothing else is wanted.
            None => wanted.is_some() || channel.global_qos.is_none(),
        };
        self.flush_acks(id);
        if !consume.no_ack && is_news {
            self.tell_prefetch(id, prefetch)?;
        }
        let method = basic::Consume {
            queue: consume.queue,
            consumer_tag: ShortStr::named("consumer tag", &name)?,
            no_local: consume.no_local,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            nowait: consume.nowait,
            arguments: consume.arguments,
        };
        // Without an answer there is nobody to tell if it cannot be sent later: it begins as those do that go on.
        let is_sent = !(waits && consume.nowait);
        if is_sent {
            self.send(id, &method.into()).map_err(|error| error.during(NAME))?;
        }
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let tag: Box<str> = name.into();
        let subscription = Box::new(Subscription {
            queue: consume.queue.as_bytes().into(),
            name: tag.clone(),
            no_local: consume.no_local,
            exclusive: consume.exclusive,
            arguments: consume.arguments.to_owned(),
        });
        let mut consumer = Consumer::new(generation, id, subscription, consume.no_ack, prefetch);
        if consume.nowait {
            consumer.state = if is_sent { ConsumerState::Active } else { ConsumerState::Suspended };
            (consumer.started, consumer.awaits_ok) = (true, false);
        }
        consumer.streamed = consume.streamed;
        let index = self.consumers.insert(consumer);
        // A slab of 2^32 slots does not fit into memory.
        let consumer = ConsumerId { index: u32::try_from(index).unwrap_or(u32::MAX), generation };
        let request = self.calls.insert(NAME, Some(timeout.unwrap_or(self.config.timeouts.call)));
        if let Some(channel) = self.channels.get_mut(id) {
            if !consume.nowait {
                let about = About::Consume(consumer, tag.as_bytes().into());
                channel.await_reply(Pending { reply: CONSUME_OK, request: Some(request), about });
            }
            channel.consumers.insert(tag, consumer);
        }
        if consume.nowait {
            self.record_consumer(consumer);
            self.answer(Some(request), Ok(Reply::Consuming(consumer)));
        }
        Ok(request)
    }

    /// Tells the broker the prefetch of the next consumers; what the application set for the whole channel is to stay.
    pub(super) fn tell_prefetch(&mut self, id: ChannelId, prefetch: u16) -> Result<(), Error> {
        let whole_channel = self.channels.get(id).and_then(|channel| channel.global_qos);
        // RabbitMQ lifts the limit of the channel with every qos that is not global, so it is told once more; but for
        // 4.3, to which a global qos is one for each later consumer.
        for (prefetch_count, global) in [(Some(prefetch), false), (whole_channel, true)] {
            let Some(prefetch_count) = prefetch_count else { continue };
            self.send(id, &basic::Qos { prefetch_size: 0, prefetch_count, global }.into())?;
            if let Some(channel) = self.channels.get_mut(id) {
                channel.await_reply(Pending { reply: QOS_OK, request: None, about: About::Nothing });
            }
        }
        if let Some(channel) = self.channels.get_mut(id) {
            channel.prefetch = Some(prefetch);
        }
        Ok(())
    }

    /// The consumer's tag.
    #[must_use]
    pub fn consumer_tag(&self, id: ConsumerId) -> &str {
        self.consumers
            .get(id.index())
            .filter(|consumer| consumer.generation == id.generation)
            .map_or("", |consumer| &*consumer.tag)
    }

    /// Cancels a consumer. What has been delivered to it stays readable.
    ///
    /// # Errors
    /// If it has ended, or the channel is closed.
    pub fn cancel(&mut self, id: ConsumerId, timeout: Option<Duration>) -> Result<RequestId, Error> {
        let consumer = self.consumer_mut(id).ok_or_else(|| Error::new(ErrorKind::ChannelNotOpen))?;
        let channel = consumer.channel;
        let request = self.calls.insert("basic.cancel", Some(timeout.unwrap_or(self.config.timeouts.call)));
        match self.send_cancel(channel, id, Some(request)) {
            Ok(()) => Ok(request),
            Err(error) => {
                self.calls.abandon(request);
                Err(error.during("basic.cancel"))
            }
        }
    }

    /// Cancels a consumer and wants no answer: it has ended at once. What has been delivered to it stays readable, and what
    /// is still on its way is requeued, or without acks discarded.
    ///
    /// # Errors
    /// If it has ended, or the channel is closed.
    pub fn cancel_nowait(&mut self, id: ConsumerId) -> Result<(), Error> {
        let consumer = self.consumer_mut(id).ok_or_else(|| Error::new(ErrorKind::ChannelNotOpen))?;
        let (channel, awaits_ok, tag) = (consumer.channel, consumer.awaits_ok, consumer.tag.clone());
        let (has_ended, waits) = (consumer.state == ConsumerState::Ended, consumer.state == ConsumerState::Suspended);
        self.usable(channel).map_err(|error| error.during("basic.cancel"))?;
        if awaits_ok || waits {
            // It cannot be cancelled yet, or need not be.
            return self.send_cancel(channel, id, None);
        }
        if !has_ended {
            self.send_cancel_nowait(channel, ShortStr::new(&tag)?)?;
            self.end_consumer(id, None);
        }
        Ok(())
    }

    /// The same by tag; a tag that is not in use is no error, at RabbitMQ.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn cancel_tag_nowait(&mut self, id: ChannelId, tag: ShortStr<'_>) -> Result<(), Error> {
        let channel = self.usable(id).map_err(|error| error.during("basic.cancel"))?;
        match tag.to_str().ok().and_then(|tag| channel.consumers.get(tag).copied()) {
            Some(consumer) => self.cancel_nowait(consumer),
            None => self.send_cancel_nowait(id, tag),
        }
    }

    fn send_cancel_nowait(&mut self, id: ChannelId, consumer_tag: ShortStr<'_>) -> Result<(), Error> {
        self.flush_acks(id);
        self.send(id, &basic::Cancel { consumer_tag, nowait: true }.into())?;
        self.sent_without_reply(id, None);
        Ok(())
    }

    /// Cancels by tag; a tag that is not in use is no error, at RabbitMQ.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn cancel_tag(
        &mut self,
        id: ChannelId,
        tag: ShortStr<'_>,
        timeout: Option<Duration>,
    ) -> Result<RequestId, Error> {
        let consumer = tag.to_str().ok().and_then(|tag| self.usable(id).ok()?.consumers.get(tag).copied());
        if let Some(consumer) = consumer {
            return self.cancel(consumer, timeout);
        }
        self.usable(id)?;
        self.flush_acks(id);
        self.send(id, &basic::Cancel { consumer_tag: tag, nowait: false }.into())?;
        let request = self.calls.insert("basic.cancel", Some(timeout.unwrap_or(self.config.timeouts.call)));
        if let Some(channel) = self.channels.get_mut(id) {
            let about = About::Cancel(None, tag.as_bytes().into());
            channel.await_reply(Pending { reply: CANCEL_OK, request: Some(request), about });
        }
        Ok(request)
    }

    pub(super) fn send_cancel(
        &mut self,
        channel: ChannelId,
        id: ConsumerId,
        request: Option<RequestId>,
    ) -> Result<(), Error> {
        self.usable(channel)?;
        let waits = self.is_held(channel);
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        if consumer.state == ConsumerState::Suspended {
            self.end_consumer(id, None);
            self.answer(request, Ok(Reply::Done));
            return Ok(());
        }
        if consumer.state == ConsumerState::Ended {
            // The broker has cancelled it already.
            self.answer(request, Ok(Reply::Done));
            return Ok(());
        }
        consumer.state = ConsumerState::Cancelling;
        let tag = consumer.tag.clone();
        // Nothing more is asked of the broker, and cancel-ok must be read: what is still under way is taken in.
        let freed = consumer.stop_counting();
        let awaits_ok = consumer.awaits_ok || waits;
        if awaits_ok {
            consumer.cancels.push(request);
        }
        self.unbuffer(freed);
        self.uncount_unread_bodies(id);
        if awaits_ok {
            return Ok(());
        }
        self.flush_acks(channel);
        self.send(channel, &basic::Cancel { consumer_tag: ShortStr::new(&tag)?, nowait: false }.into())?;
        if let Some(channel) = self.channels.get_mut(channel) {
            let about = About::Cancel(Some(id), tag.into_boxed_bytes());
            channel.await_reply(Pending { reply: CANCEL_OK, request, about });
        }
        Ok(())
    }

    /// Nobody holds the consumer any more: it is cancelled, and what it had buffered is requeued.
    pub fn release_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumer_mut(id) else { return };
        consumer.released = true;
        let (channel, state) = (consumer.channel, consumer.state);
        let (unread, freed) = consumer.take_all();
        self.unbuffer(freed);
        self.drop_unread_bodies(id);
        if matches!(state, ConsumerState::Starting | ConsumerState::Active | ConsumerState::Suspended) {
            // Fails only where the channel or the connection is closed, and the consumer with it.
            let _ = self.send_cancel(channel, id, None);
        }
        for item in unread {
            match item {
                Item::Delivery(delivery) if delivery.needs_settling() => self.requeue(delivery.delivery_tag()),
                Item::Bad(error) => {
                    if let ErrorKind::BadDelivery { delivery_tag, .. } = error.kind() {
                        self.requeue(*delivery_tag);
                    }
                }
                Item::Delivery(_) => {}
            }
        }
        if state == ConsumerState::Ended {
            self.forget_consumer(id);
        }
    }
}

/// RabbitMQ closes the connection with 540 if a stream is consumed without acks, and the channel if it is without a
/// prefetch. Where the arguments say that it is one, this is refused here.
fn check_stream(consume: &Consume<'_>, prefetch: u16) -> Result<(), Error> {
    let is_stream = || [STREAM_OFFSET, "x-stream-filter"].iter().any(|key| consume.arguments.contains_key(key));
    if (consume.no_ack || prefetch == 0) && is_stream() {
        return Err(Error::invalid("a stream has to be consumed with acks and with a prefetch").during(NAME));
    }
    Ok(())
}
