//! Opening channels again, with their settings and consumers.
//!
//! A channel is live again when the broker has confirmed all of that: nothing of what the application asks goes out before
//! (see `held`). If the broker refuses a consumer, it closes the channel. That may be a matter of time: one's own old
//! consumer may still be there (403), a queue's home node down (404), an exclusive queue held by the lost connection (405).
//! So it is tried again, as often as [`ATTEMPTS`]; then the consumer ends with the broker's reason, and its channel goes on
//! without it.

use super::channel::{About, Channel, Mode, Pending};
use super::consume::{CONSUME_OK, QOS_OK};
use super::consumers::ConsumerState;
use super::handshake::Phase;
use super::held::Stage;
use super::replies::CHANNEL_OPEN_OK;
use super::{ChannelId, Connection, ConsumerId};
use crate::error::{CloseReason, Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{Method, MethodCodec, basic, channel, confirm, put_any, tx};
use crate::recovery::ATTEMPTS;
use crate::wire::ShortStr;

impl Connection {
    /// All channels are opened again; the connection is open when that has come to an end for each.
    pub(super) fn reopen_channels(&mut self) {
        for id in self.channels.ids() {
            if self.stage_of(id) == Some(Stage::Waiting) {
                self.reopen(id);
            }
        }
        self.restored_if_all_are_back();
    }

    pub(super) fn reopen_refused_channels(&mut self) {
        for id in self.channels.ids() {
            if self.stage_of(id) == Some(Stage::Refused) {
                self.reopen(id);
            }
        }
    }

    /// Whether channels are opened at the broker at once when they are asked for.
    pub(super) fn opens_channels(&self) -> bool {
        matches!(self.phase, Phase::Open) || self.restores_channels()
    }

    /// Whether the topology is there, and channels are what is being restored.
    fn restores_channels(&self) -> bool {
        matches!(self.phase, Phase::Restoring)
            && self.recovering.as_ref().is_some_and(|it| it.restore.is_none() && it.channel.is_none())
    }

    pub(super) fn stage_of(&self, id: ChannelId) -> Option<Stage> {
        Some(self.channels.get(id)?.held.as_ref()?.stage)
    }

    pub(super) fn restored_if_all_are_back(&mut self) {
        if self.restores_channels() && !self.channels.any_at(&[Stage::Waiting, Stage::Reopening]) {
            self.restored();
        }
    }

    pub(super) fn reopen(&mut self, id: ChannelId) {
        let channel_max = self.tuning.map_or(u16::MAX, |tuning| tuning.channel_max);
        let Some(channel) = self.channels.get_mut(id) else { return };
        let number = channel.number;
        if number > channel_max {
            // The broker allows fewer than before.
            self.end_channel(id, &Error::new(ErrorKind::ChannelsExhausted { channel_max }), true);
            self.free_number_of(number, id);
            self.channels.forget_if_done(id);
            return;
        }
        if let Some(held) = &mut channel.held {
            held.stage = Stage::Reopening;
        }
        if let Err(error) = self.send_all_of(id) {
            // Nothing of it is new, but for names that became longer.
            self.end_channel(id, &error, true);
        }
    }

    /// Opens the channel, with its settings and all of its consumers: one after the other if one of them was refused, so
    /// that it is known which.
    fn send_all_of(&mut self, id: ChannelId) -> Result<(), Error> {
        self.send_now(id, &channel::Open {}.into(), CHANNEL_OPEN_OK, About::Nothing)?;
        let Some(Channel { held: Some(held), mode, global_qos, .. }) = self.channels.get_mut(id) else { return Ok(()) };
        held.told = None;
        let (prefetch, global_qos, one_by_one) = (held.prefetch, *global_qos, held.refusals > 0);
        let (confirms, transactions) = (matches!(mode, Mode::Confirm(_)), matches!(mode, Mode::Transaction));
        if confirms {
            const SELECT_OK: (u16, u16) = (confirm::SelectOk::CLASS_ID, confirm::SelectOk::METHOD_ID);
            self.send_now(id, &confirm::Select { nowait: false }.into(), SELECT_OK, About::Nothing)?;
        } else if transactions {
            const SELECT_OK: (u16, u16) = (tx::SelectOk::CLASS_ID, tx::SelectOk::METHOD_ID);
            self.send_now(id, &tx::Select {}.into(), SELECT_OK, About::Nothing)?;
        }
        if prefetch.is_none() && global_qos.is_some() {
            self.send_qos(id, None, global_qos)?;
        }
        if one_by_one {
            return self.send_next_consume(id).map(|_| ());
        }
        while self.send_next_consume(id)? {}
        Ok(())
    }

    /// Restores the next consumer of a channel, or after the last what the broker was told for those to come. Returns
    /// whether there was something to send.
    fn send_next_consume(&mut self, id: ChannelId) -> Result<bool, Error> {
        let Some(Channel { held: Some(held), global_qos, .. }) = self.channels.get(id) else { return Ok(false) };
        let (prefetch, told, global_qos) = (held.prefetch, held.told, *global_qos);
        let next = self.consumers_of(id).into_iter().find(|id| {
            self.consumers.get(id.index()).is_some_and(|consumer| consumer.state == ConsumerState::Suspended)
        });
        let wanted = match next.and_then(|next| self.consumer_mut(next)) {
            // That of the whole channel is enough where nothing else was asked for.
            Some(consumer) if consumer.no_ack || (prefetch.is_none() && global_qos.is_some()) => None,
            Some(consumer) => Some(consumer.prefetch),
            None => prefetch,
        };
        let is_news = wanted.is_some() && wanted != told;
        if is_news {
            self.send_qos(id, wanted, global_qos)?;
            if let Some(Channel { held: Some(held), .. }) = self.channels.get_mut(id) {
                held.told = wanted;
            }
        }
        if let Some(next) = next {
            self.send_consume(id, next)?;
        }
        Ok(is_news || next.is_some())
    }

    /// RabbitMQ lifts the limit of the channel with every qos that is not global, so it is told once more.
    fn send_qos(&mut self, id: ChannelId, prefetch: Option<u16>, global_qos: Option<u16>) -> Result<(), Error> {
        for (prefetch_count, global) in [(prefetch, false), (global_qos, true)] {
            let Some(prefetch_count) = prefetch_count else { continue };
            let qos = basic::Qos { prefetch_size: 0, prefetch_count, global };
            self.send_now(id, &qos.into(), QOS_OK, About::Nothing)?;
        }
        Ok(())
    }

    pub(super) fn send_consume(&mut self, channel: ChannelId, id: ConsumerId) -> Result<(), Error> {
        let Some(consumer) = self.consumer_mut(id) else { return Ok(()) };
        consumer.state = ConsumerState::Starting;
        consumer.awaits_ok = true;
        let tag = consumer.tag.clone();
        let queue = consumer.subscription.queue.clone();
        let arguments = consumer.arguments_to_go_on()?;
        let method = basic::Consume {
            queue: ShortStr::from_bytes(&queue)?,
            consumer_tag: ShortStr::new(&tag)?,
            no_local: consumer.subscription.no_local,
            no_ack: consumer.no_ack,
            exclusive: consumer.subscription.exclusive,
            nowait: false,
            arguments: arguments.as_ref(),
        };
        self.send_now(channel, &method.into(), CONSUME_OK, About::Restored(id, tag.as_bytes().into()))
    }

    /// Sends a method on a channel that is being opened again, ahead of what is held of it.
    fn send_now(&mut self, id: ChannelId, method: &Method<'_>, reply: (u16, u16), about: About) -> Result<(), Error> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        put_any(self.out.tail(), channel.number, method)?;
        channel.pending_mut().push_back(Pending { reply, request: None, about });
        Ok(())
    }

    /// A reply came on a channel. If it is being opened again and this was the last one that is awaited, it goes on.
    pub(super) fn reopened_if_complete(&mut self, id: ChannelId) {
        if self.stage_of(id) != Some(Stage::Reopening) {
            return;
        }
        self.progress();
        if !self.channels.get(id).is_some_and(Channel::awaits_nothing) {
            return;
        }
        match self.send_next_consume(id) {
            Ok(true) => {}
            Ok(false) => {
                self.go_live(id);
                self.restored_if_all_are_back();
            }
            Err(error) => self.end_channel(id, &error, true),
        }
    }

    /// The broker has closed a channel that was being opened again; close-ok was sent. `false`: it has ended.
    pub(super) fn reopening_refused(&mut self, id: ChannelId, reason: &CloseReason) -> bool {
        self.progress();
        let Some(channel) = self.channels.get(id) else { return false };
        let under_way: Vec<ConsumerId> = channel.being_restored().collect();
        let error = Error::new(ErrorKind::ChannelClosed(reason.clone()));
        self.suspend(id, &error);
        let Some(Channel { held: Some(held), .. }) = self.channels.get_mut(id) else { return false };
        held.refusals += 1;
        let in_time = [ReplyCode::ACCESS_REFUSED, ReplyCode::NOT_FOUND, ReplyCode::RESOURCE_LOCKED];
        match *under_way {
            [] => return false,
            _ if in_time.contains(&reason.code) && held.refusals < ATTEMPTS => {
                held.stage = Stage::Refused;
                if let Some(recovering) = &mut self.recovering {
                    recovering.try_later();
                }
            }
            // It is the only one that it can have been.
            [culprit] => {
                held.refusals = 1;
                self.end_consumer(culprit, Some(error));
                self.reopen(id);
            }
            _ => self.reopen(id),
        }
        self.restored_if_all_are_back();
        true
    }
}
