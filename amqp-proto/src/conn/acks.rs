//! Acks, nacks and rejects.
//!
//! Acks wait for the end of the turn and coalesce (`settle`). Whatever else the channel sends flushes them first, so
//! they never move across a nack, a publish or a cancel; in a transaction they leave at once, one by one.

use super::channel::{Channel, Mode};
use super::settle::AckFrame;
use super::{ChannelId, Connection, DeliveryTag};
use crate::error::{Error, ErrorKind};
use crate::method::{Method, basic, put_any, put_method};

impl Connection {
    /// Acks a delivery, or with `multiple` all outstanding ones of its channel up to it. Acking a delivery of an earlier
    /// epoch does nothing and is counted: see [`Stats::stale_settlements`](super::Stats::stale_settlements).
    ///
    /// # Errors
    /// If the channel is closed, or the delivery is settled already.
    #[inline]
    pub fn ack(&mut self, tag: DeliveryTag, multiple: bool) -> Result<(), Error> {
        const NAME: &str = "basic.ack";
        if multiple {
            return self.settle(NAME, tag, true, |value| basic::Ack { delivery_tag: value, multiple: true }.into());
        }
        let Some(channel) = self.settleable(tag).map_err(|error| error.during(NAME))? else { return Ok(()) };
        if matches!(channel.mode, Mode::Transaction) {
            channel.uncommitted = true;
            return self.settle(NAME, tag, false, |value| basic::Ack { delivery_tag: value, multiple: false }.into());
        }
        if !channel.unsettled.ack(tag.value) {
            return Err(settled_already(tag).during(NAME));
        }
        if !std::mem::replace(&mut channel.dirty, true) {
            self.dirty.push(tag.channel);
        }
        Ok(())
    }

    /// Refuses a delivery, or with `multiple` all outstanding ones of its channel up to it; `requeue` puts it back,
    /// otherwise it is dead-lettered or dropped.
    ///
    /// # Errors
    /// If the channel is closed, or the delivery is settled already.
    pub fn nack(&mut self, tag: DeliveryTag, multiple: bool, requeue: bool) -> Result<(), Error> {
        self.settle("basic.nack", tag, multiple, |delivery_tag| basic::Nack { delivery_tag, multiple, requeue }.into())
    }

    /// Refuses a delivery as 0-9-1 has it, without `multiple`.
    ///
    /// # Errors
    /// If the channel is closed, or the delivery is settled already.
    pub fn reject(&mut self, tag: DeliveryTag, requeue: bool) -> Result<(), Error> {
        self.settle("basic.reject", tag, false, |delivery_tag| basic::Reject { delivery_tag, requeue }.into())
    }

    /// Acks by the number on the wire, unchecked: an unknown one closes the channel with 406.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn raw_ack(&mut self, id: ChannelId, delivery_tag: u64, multiple: bool) -> Result<(), Error> {
        self.settle_raw(id, delivery_tag, multiple, &basic::Ack { delivery_tag, multiple }.into())
    }

    /// Refuses by the number on the wire, unchecked: an unknown one closes the channel with 406.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn raw_nack(&mut self, id: ChannelId, delivery_tag: u64, multiple: bool, requeue: bool) -> Result<(), Error> {
        self.settle_raw(id, delivery_tag, multiple, &basic::Nack { delivery_tag, multiple, requeue }.into())
    }

    /// Rejects by the number on the wire, unchecked: an unknown one closes the channel with 406.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn raw_reject(&mut self, id: ChannelId, delivery_tag: u64, requeue: bool) -> Result<(), Error> {
        self.settle_raw(id, delivery_tag, false, &basic::Reject { delivery_tag, requeue }.into())
    }

    /// Puts a delivery back that nobody has seen or wanted. Where the channel is gone, the broker has done that.
    pub(super) fn requeue(&mut self, tag: DeliveryTag) {
        let _ = self.nack(tag, false, true);
    }

    /// How many deliveries of the channel are to be settled.
    #[must_use]
    pub fn unsettled(&self, id: ChannelId) -> usize {
        self.channels.get(id).map_or(0, |channel| channel.unsettled.outstanding())
    }

    /// The channel, if the tag is of its present epoch.
    #[inline]
    fn settleable(&mut self, tag: DeliveryTag) -> Result<Option<&mut Channel>, Error> {
        let current = self.usable(tag.channel)?.epoch;
        if current != tag.epoch {
            self.stats.stale_settlements += 1;
            return Ok(None);
        }
        self.channels.usable(tag.channel).map(Some)
    }

    /// Settles at once, behind the acks that wait.
    fn settle(
        &mut self,
        name: &'static str,
        tag: DeliveryTag,
        multiple: bool,
        method: impl FnOnce(u64) -> Method<'static>,
    ) -> Result<(), Error> {
        let Some(channel) = self.settleable(tag).map_err(|error| error.during(name))? else { return Ok(()) };
        let outstanding =
            if multiple { channel.unsettled.any_up_to(tag.value) } else { channel.unsettled.is_outstanding(tag.value) };
        if !outstanding {
            return Err(settled_already(tag).during(name));
        }
        // Flushed before it counts as settled: the acks that wait must not cover it.
        self.flush_acks(tag.channel);
        let Some(channel) = self.channels.get_mut(tag.channel) else { return Ok(()) };
        if multiple {
            channel.unsettled.settle_up_to(tag.value);
        } else {
            channel.unsettled.settle(tag.value);
        }
        let number = channel.number;
        put_any(self.wire_of(tag.channel), number, &method(tag.value))?;
        Ok(())
    }

    fn settle_raw(&mut self, id: ChannelId, tag: u64, multiple: bool, method: &Method<'static>) -> Result<(), Error> {
        self.usable(id)?;
        if self.is_held(id) {
            // Whatever the number was of, the broker has put back.
            self.stats.stale_settlements += 1;
            return Ok(());
        }
        self.flush_acks(id);
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        match (multiple, tag) {
            (true, 0) => channel.unsettled.settle_up_to(u64::MAX),
            (true, tag) => channel.unsettled.settle_up_to(tag),
            (false, tag) => {
                channel.unsettled.settle(tag);
            }
        }
        let number = channel.number;
        put_any(self.wire_of(id), number, method)?;
        Ok(())
    }

    /// Sends the acks of a channel that wait.
    #[inline]
    pub(super) fn flush_acks(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if channel.unsettled.has_acks() {
            let number = channel.number;
            let tail = match &mut channel.backlog {
                Some(backlog) => backlog.tail(),
                None => self.out.tail(),
            };
            channel.unsettled.flush(|AckFrame { tag, multiple }| {
                // An ack has no field that could fail to encode.
                let _ = put_method(tail, number, &basic::Ack { delivery_tag: tag, multiple });
            });
        }
    }

    pub(super) fn flush_all_acks(&mut self) {
        for at in 0..self.dirty.len() {
            let Some(id) = self.dirty.get(at).copied() else { break };
            self.flush_acks(id);
            if let Some(channel) = self.channels.get_mut(id) {
                channel.dirty = false;
            }
        }
        self.dirty.clear();
    }
}

#[cold]
fn settled_already(tag: DeliveryTag) -> Error {
    Error::new(ErrorKind::Invalid(format!("delivery {} has been settled already", tag.value)))
}
