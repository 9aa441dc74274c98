//! Another prefetch for a consumer that is running.
//!
//! `basic.qos` holds for the consumers that are still to come, so the consumer is subscribed anew. Its queue of
//! deliveries stays, and so does what is unsettled; nothing is lost and nothing comes twice:
//!
//! - As a rule the new subscription is asked for first, and then the old one is cancelled. The queue is never without a
//!   consumer, and so does not go if it is auto-deleted. What the broker sends by either goes into the one queue, in the
//!   order in which it comes.
//! - An exclusive consumer would stand in its own way, and a stream would be read twice: there the old subscription is
//!   cancelled first, and when the broker has said so the new one is asked for; at a stream, from behind the last delivery.
//!
//! The new subscription has a tag of its own: RabbitMQ counts acks by tags, so those of deliveries of the old one would
//! make room for more than the prefetch.

use std::time::Duration;

use super::channel::{About, Pending};
use super::consume::{CANCEL_OK, CONSUME_OK};
use super::consumers::{ConsumerState, Recipient, Resuming, Stream};
use super::{ChannelId, Connection, ConsumerId, Reply, RequestId};
use crate::error::{Error, ErrorKind};
use crate::method::basic;
use crate::wire::ShortStr;

const NAME: &str = "basic.consume";

impl Connection {
    /// Changes the prefetch of a consumer. The request resolves when the new one holds; given up, it is changed all the
    /// same. The consumer's tag changes with it.
    ///
    /// # Errors
    /// If the consumer has ended, has no acks, or was started without the name of its queue; if the channel is closed.
    pub fn set_prefetch(
        &mut self,
        id: ConsumerId,
        prefetch: u16,
        timeout: Option<Duration>,
    ) -> Result<RequestId, Error> {
        let consumer = self.consumer_mut(id).ok_or_else(|| Error::new(ErrorKind::ChannelNotOpen))?;
        let channel = consumer.channel;
        if consumer.no_ack {
            return Err(Error::invalid("a consumer without acks has no prefetch").during(NAME));
        }
        if consumer.subscription.queue.is_empty() {
            return Err(Error::invalid("the consumer was started without the name of its queue").during(NAME));
        }
        if matches!(consumer.stream, Stream::Yes(_)) && prefetch == 0 {
            return Err(Error::invalid("a stream has to be consumed with a prefetch").during(NAME));
        }
        let state = consumer.state;
        self.usable(channel).map_err(|error| error.during(NAME))?;
        if matches!(state, ConsumerState::Cancelling | ConsumerState::Ended) {
            return Err(cancelled());
        }
        let request = self.calls.insert(NAME, Some(timeout.unwrap_or(self.config.timeouts.call)));
        let result = self.change_prefetch(channel, id, prefetch, request);
        if let Err(error) = result {
            self.calls.abandon(request);
            return Err(error.during(NAME));
        }
        Ok(request)
    }

    fn change_prefetch(
        &mut self,
        channel: ChannelId,
        id: ConsumerId,
        prefetch: u16,
        request: RequestId,
    ) -> Result<(), Error> {
        let waits = self.is_held(channel);
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        if let Some(resuming) = &mut consumer.resuming {
            // Superseded.
            let earlier = std::mem::replace(resuming, Resuming { prefetch, request });
            self.answer(Some(earlier.request), Ok(Reply::Done));
            return Ok(());
        }
        if consumer.state == ConsumerState::Suspended {
            // It will begin with it.
            consumer.prefetch = prefetch;
            let (grown, freed) = consumer.apply_prefetch();
            self.buffered += grown;
            self.unbuffer(freed);
            self.answer(Some(request), Ok(Reply::Done));
            return Ok(());
        }
        if consumer.awaits_ok || waits {
            consumer.resuming = Some(Resuming { prefetch, request });
            return Ok(());
        }
        if consumer.prefetch == prefetch {
            self.answer(Some(request), Ok(Reply::Done));
            return Ok(());
        }
        let old = consumer.tag.clone();
        if consumer.subscription.exclusive || matches!(consumer.stream, Stream::Yes(_)) {
            consumer.resuming = Some(Resuming { prefetch, request });
        } else {
            self.resubscribe(channel, id, prefetch, request)?;
        }
        self.flush_acks(channel);
        self.send(channel, &basic::Cancel { consumer_tag: ShortStr::new(&old)?, nowait: false }.into())?;
        if let Some(channel) = self.channels.get_mut(channel) {
            let about = About::Replace(id, old.into_boxed_bytes());
            channel.await_reply(Pending { reply: CANCEL_OK, request: None, about });
        }
        Ok(())
    }

    /// The broker has confirmed the present subscription of a consumer: what had to wait for that can be done.
    pub(super) fn subscribed(&mut self, channel: ChannelId, id: ConsumerId) {
        let Some(consumer) = self.consumer_mut(id) else { return };
        consumer.awaits_ok = false;
        if self.is_held(channel) {
            // Its channel is not back yet.
            return;
        }
        let Some(consumer) = self.consumer_mut(id) else { return };
        let (cancels, resuming) = (std::mem::take(&mut consumer.cancels), consumer.resuming.take());
        // Not before: the answer must be read, and counted bytes may pause reading.
        let (grown, freed) = consumer.apply_prefetch();
        self.buffered += grown;
        self.unbuffer(freed);
        if let Some(Resuming { prefetch, request }) = resuming {
            let result = if cancels.is_empty() {
                self.usable(channel).map(|_| ()).and_then(|()| self.change_prefetch(channel, id, prefetch, request))
            } else {
                Err(cancelled())
            };
            if let Err(error) = result {
                self.answer(Some(request), Err(error));
            }
        }
        for request in cancels {
            if let Err(error) = self.send_cancel(channel, id, request) {
                self.answer(request, Err(error));
            }
        }
    }

    /// The broker has ended an earlier subscription of a consumer.
    pub(super) fn replaced(&mut self, channel: ChannelId, id: ConsumerId, old: &[u8]) {
        let Some(consumer) = self.consumer_mut(id) else { return };
        let resuming = consumer.resuming.take_if(|_| consumer.tag.as_bytes() == old);
        let Some(resuming) = resuming else {
            // The tag that the application knows it by stays taken.
            let is_name = consumer.subscription.name.as_bytes() == old;
            if let Some(channel) = self.channels.get_mut(channel)
                && let Ok(old) = std::str::from_utf8(old)
                && !is_name
                && channel.consumers.get(old) == Some(&id)
                && let Some((tag, id)) = channel.consumers.remove_entry(old)
            {
                channel.ended.remember(tag, Recipient { id, no_ack: false });
            }
            return;
        };
        let result = match consumer.state {
            ConsumerState::Active => self
                .usable(channel)
                .map(|_| ())
                .and_then(|()| self.resubscribe(channel, id, resuming.prefetch, resuming.request)),
            _ => Err(cancelled()),
        };
        if let Err(error) = result {
            self.answer(Some(resuming.request), Err(error));
        }
    }

    /// Asks for a subscription like the present one, by a new tag and with this prefetch.
    fn resubscribe(
        &mut self,
        channel: ChannelId,
        id: ConsumerId,
        prefetch: u16,
        request: RequestId,
    ) -> Result<(), Error> {
        self.flush_acks(channel);
        if self.channels.get(channel).is_some_and(|channel| channel.prefetch != Some(prefetch)) {
            self.tell_prefetch(channel, prefetch)?;
        }
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        let name = consumer.subscription.name.clone();
        let tag = self.new_tag(channel, &name);
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        let subscription = &consumer.subscription;
        let arguments = consumer.arguments_to_go_on()?;
        let queue = subscription.queue.clone();
        let method = basic::Consume {
            queue: ShortStr::from_bytes(&queue)?,
            consumer_tag: ShortStr::new(&tag)?,
            no_local: subscription.no_local,
            no_ack: false,
            exclusive: subscription.exclusive,
            nowait: false,
            arguments: arguments.as_ref(),
        };
        self.send(channel, &method.into())?;
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        consumer.tag = tag.as_str().into();
        consumer.awaits_ok = true;
        consumer.prefetch = prefetch;
        if let Some(channel) = self.channels.get_mut(channel) {
            let about = About::Resume(id, tag.as_bytes().into());
            channel.await_reply(Pending { reply: CONSUME_OK, request: Some(request), about });
            channel.consumers.insert(tag.into(), id);
        }
        Ok(())
    }

    /// A tag that is free on the channel, and resembles a name.
    fn new_tag(&mut self, channel: ChannelId, name: &str) -> String {
        loop {
            self.next_consumer = self.next_consumer.wrapping_add(1);
            let number = format!(".{}", self.next_consumer);
            let mut end = name.len().min(255 - number.len());
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            let tag = format!("{}{number}", name.get(..end).unwrap_or_default());
            if self.channels.get(channel).is_none_or(|channel| !channel.consumers.contains_key(&*tag)) {
                return tag;
            }
        }
    }
}

#[cold]
fn cancelled() -> Error {
    Error::invalid("the consumer has been cancelled").during(NAME)
}
