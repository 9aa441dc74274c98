//! Declaring again what was declared, on a channel of its own: [`Restore`] says what comes next.

use super::channel::{About, ChannelState, Pending};
use super::handshake::Phase;
use super::replies::{CHANNEL_CLOSE_OK, CHANNEL_OPEN_OK};
use super::{ChannelId, Connection, Event};
use crate::error::{CloseReason, Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{Method, channel, put_any, put_method, queue};
use crate::recovery::{Item, Next, Recorded, Refused, Restore};
use crate::wire::ShortStr;

impl Connection {
    /// What was declared over the connection and is to be restored when it comes back.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.recovering.as_ref().map_or_else(Vec::new, |recovering| recovering.topology.all())
    }

    /// This is not to be restored.
    pub fn forget_recorded(&mut self, recorded: &Recorded) {
        if let Some(recovering) = &mut self.recovering {
            recovering.topology.forget(recorded);
        }
    }

    /// First of all, what was declared.
    pub(super) fn restore_topology(&mut self) {
        self.enter(Phase::Restoring);
        if let Some(recovering) = &mut self.recovering {
            recovering.restore = Some(Restore::new(&recovering.topology));
        }
        self.declare_next();
    }

    /// Sends what can be sent of what is to be declared.
    pub(super) fn declare_next(&mut self) {
        loop {
            let Some(recovering) = &mut self.recovering else { return };
            let Some(restore) = &mut recovering.restore else { return };
            match restore.next(&recovering.topology) {
                Next::Declare(item) => {
                    if let Err(error) = self.declare(&item) {
                        if let Some(restore) = self.recovering.as_mut().and_then(|it| it.restore.as_mut()) {
                            restore.skip();
                        }
                        self.event(Event::NotRestored { what: item.to_string(), error });
                    }
                }
                Next::Replies => return,
                Next::Later => return recovering.try_later(),
                Next::Done => {
                    recovering.restore = None;
                    if matches!(self.phase, Phase::Restoring) {
                        return self.close_internal_channel();
                    }
                    self.repaired();
                    return;
                }
            }
        }
    }

    fn declare(&mut self, item: &Item) -> Result<(), Error> {
        let id = self.internal_channel()?;
        let Some(recovering) = &self.recovering else { return Ok(()) };
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let Some(entity) = recovering.topology.get(item) else {
            return Err(Error::new(ErrorKind::Internal("what is restored is not recorded")));
        };
        let method = entity.method()?;
        put_any(self.out.tail(), channel.number, &method)?;
        let reply = (method.class_id(), method.method_id() + 1);
        channel.await_reply(Pending { reply, request: None, about: About::Declare });
        Ok(())
    }

    /// The channel on which things are restored. It is opened when it is needed.
    pub(super) fn internal_channel(&mut self) -> Result<ChannelId, Error> {
        if let Some(id) = self.recovering.as_ref().and_then(|recovering| recovering.channel) {
            return Ok(id);
        }
        let channel_max = self.tuning.map_or(u16::MAX, |tuning| tuning.channel_max);
        let Some(channel) = self.channels.open_internal(channel_max) else {
            return Err(Error::new(ErrorKind::ChannelsExhausted { channel_max }));
        };
        let (id, number) = (channel.id, channel.number);
        channel.await_reply(Pending { reply: CHANNEL_OPEN_OK, request: None, about: About::Nothing });
        put_method(self.out.tail(), number, &channel::Open {})?;
        if let Some(recovering) = &mut self.recovering {
            recovering.channel = Some(id);
        }
        Ok(id)
    }

    /// What was declared is there. A queue may have another name now.
    pub(super) fn declared_again(&mut self, method: &Method<'_>) {
        self.progress();
        if self.asks_after_queue() {
            self.repaired();
            return;
        }
        let Some(recovering) = &mut self.recovering else { return };
        let granted = recovering.restore.as_mut().and_then(Restore::granted);
        if let (Some(Item::Queue(old)), Method::Queue(queue::Method::DeclareOk(ok))) = (granted, method) {
            let new = ok.queue.to_string_lossy();
            if old != *new {
                self.queue_renamed(&old, &new);
            }
        }
        self.declare_next();
    }

    /// The broker has chosen another name for a queue: it is known by that from now on, everywhere.
    fn queue_renamed(&mut self, old: &str, new: &str) {
        if let Some(recovering) = &mut self.recovering {
            recovering.topology.rename_queue(old, new);
            if let Some(restore) = &mut recovering.restore {
                restore.renamed(old, new);
            }
        }
        for (_, consumer) in &mut self.consumers {
            if *consumer.subscription.queue == *old.as_bytes() {
                consumer.subscription.queue = new.as_bytes().into();
            }
        }
        self.channels.rename_queue(old, new);
        self.event(Event::QueueRenamed { old: old.to_owned(), new: new.to_owned() });
    }

    /// The broker has closed the internal channel: something cannot be declared.
    pub(super) fn internal_channel_closed(&mut self, id: ChannelId, reason: CloseReason) {
        self.forget_internal_channel(id);
        self.progress();
        let Some(recovering) = &mut self.recovering else { return };
        recovering.channel = None;
        let Some(restore) = &mut recovering.restore else { return self.not_repaired() };
        match restore.refused(reason.code) {
            Refused::Later => {}
            Refused::GivenUp(item) => {
                let is_needed = self.repairs_item(&item);
                let error = Error::new(ErrorKind::ChannelClosed(reason));
                self.event(Event::NotRestored { what: item.to_string(), error });
                if is_needed {
                    if let Some(recovering) = &mut self.recovering {
                        recovering.restore = None;
                    }
                    return self.not_repaired();
                }
            }
            // It was the channel itself.
            Refused::Nothing => return self.end(Err(Error::new(ErrorKind::ChannelClosed(reason)))),
        }
        self.declare_next();
    }

    /// All is declared: channels are next, if that is what it was for. Their numbers may be needed.
    fn close_internal_channel(&mut self) {
        let id = self.recovering.as_mut().and_then(|recovering| recovering.channel.take());
        let Some(channel) = id.and_then(|id| self.channels.get_mut(id)) else { return self.reopen_channels() };
        let close = channel::Close {
            reply_code: ReplyCode::REPLY_SUCCESS,
            reply_text: ShortStr::EMPTY,
            class_id: 0,
            method_id: 0,
        };
        // A close has no field that could fail to encode.
        let _ = put_method(self.out.tail(), channel.number, &close);
        channel.state = ChannelState::Closing;
        channel.await_reply(Pending { reply: CHANNEL_CLOSE_OK, request: None, about: About::Declare });
    }

    /// The internal channel is not needed any more: its number may be.
    pub(super) fn close_internal_channel_if_idle(&mut self) {
        let is_idle = self.recovering.as_ref().is_some_and(|it| it.restore.is_none()) && !self.asks_after_queue();
        if is_idle && self.recovering.as_ref().is_some_and(|recovering| recovering.channel.is_some()) {
            self.close_internal_channel();
        }
    }

    /// The internal channel is closed, and its number free.
    pub(super) fn internal_channel_close_ok(&mut self, id: ChannelId) {
        self.forget_internal_channel(id);
        self.progress();
        if matches!(self.phase, Phase::Restoring) {
            self.reopen_channels();
        }
    }

    pub(super) fn forget_internal_channel(&mut self, id: ChannelId) {
        self.channels.remove_internal(id);
    }

    pub(super) fn is_internal_channel(&self, id: ChannelId) -> bool {
        self.channels.get(id).is_some_and(|channel| channel.is_internal)
    }

    /// The broker goes on: it has as long again for the next step.
    pub(super) fn progress(&mut self) {
        if matches!(self.phase, Phase::Restoring) {
            self.phase_deadline = None;
            self.turn = true;
        }
    }

    /// What was refused for now is tried again.
    pub(super) fn try_refused_again(&mut self) {
        self.progress();
        if let Some(restore) = self.recovering.as_mut().and_then(|recovering| recovering.restore.as_mut()) {
            restore.try_again();
            return self.declare_next();
        }
        self.reopen_refused_channels();
    }
}
