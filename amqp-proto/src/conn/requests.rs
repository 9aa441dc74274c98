//! What the application asks of the connection and its channels.

use std::time::Duration;

use super::channel::{About, Channel, ChannelState, Mode, Pending};
use super::held::Held;
use super::replies::{CHANNEL_CLOSE_OK, CHANNEL_OPEN_OK, GET_OK};
use super::{ChannelId, Connection, ConsumerId, Reply, RequestId};
use crate::error::{Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{Method, MethodCodec, access, basic, channel, confirm, exchange, put_method, queue, tx};
use crate::wire::{EncodeError, ShortStr};

/// What a request waits for.
enum Expect {
    Nothing,
    Reply((u16, u16)),
    /// It is not sent this way.
    Elsewhere,
}

impl Connection {
    // ---- replies -----------------------------------------------------------------------------------------------

    /// The reply, if it is there: the id is void then. `None`: not yet, and [`Event::Resolved`](super::Event) will come.
    pub fn take_reply(&mut self, id: RequestId) -> Option<Result<Reply, Error>> {
        match self.calls.room_of(id) {
            None => self.calls.take(id),
            Some(_) => self.take_room(id),
        }
    }

    /// Gives a request up. Its reply will go to nobody, and what it brings about is undone: a message is requeued, a
    /// consumer cancelled.
    pub fn abandon_request(&mut self, id: RequestId) {
        let room = self.calls.room_of(id);
        if let Some(result) = self.calls.abandon(id) {
            return self.compensate(result);
        }
        if let Some(channel) = room {
            return self.leave_line(id, channel);
        }
        // These wait for something that may never come: whoever gives up again and again must not pile up here.
        self.watchers.retain(|request| *request != id);
        self.closers.retain(|request| *request != id);
        self.send_close_if_drained();
    }

    // ---- channels ----------------------------------------------------------------------------------------------

    /// Opens a channel. It can be used at once: what is asked of it follows the open on the wire. If all channel numbers
    /// are in use, but some channels are being closed, it waits for the first of those, and its time runs.
    ///
    /// # Errors
    /// If the connection is not open, or all channel numbers are in use.
    pub fn open_channel(&mut self) -> Result<(ChannelId, RequestId), Error> {
        self.check_open()?;
        let waits = !self.opens_channels();
        self.open_channel_that(waits)
    }

    /// Opens a channel for a hook, which is run when the connection is not open yet. What is declared on it is not
    /// recorded, as the hook will run again.
    ///
    /// # Errors
    /// As [`open_channel`](Self::open_channel).
    pub fn open_channel_for_hook(&mut self) -> Result<(ChannelId, RequestId), Error> {
        self.check_open()?;
        let waits = !self.opens_channels() && !matches!(self.phase, super::handshake::Phase::Hooks);
        let (id, request) = self.open_channel_that(waits)?;
        if let Some(channel) = self.channels.get_mut(id) {
            channel.is_unrecorded = true;
        }
        Ok((id, request))
    }

    fn open_channel_that(&mut self, waits: bool) -> Result<(ChannelId, RequestId), Error> {
        let channel_max = self.tuning.map_or(u16::MAX, |tuning| tuning.channel_max);
        let Some(channel) = self.channels.open(channel_max) else {
            return Err(Error::new(ErrorKind::ChannelsExhausted { channel_max }));
        };
        let request = self.calls.insert("channel.open", Some(self.config.timeouts.call));
        if waits {
            channel.held = Some(Box::new(Held::for_new(request)));
            channel.stopped = true;
            return Ok((channel.id, request));
        }
        channel.await_reply(Pending { reply: CHANNEL_OPEN_OK, request: Some(request), about: About::Nothing });
        let (id, number) = (channel.id, channel.number);
        put_method(self.tail_of(id), number, &channel::Open {})?;
        Ok((id, request))
    }

    /// Closes a channel; the request resolves when the broker has answered.
    ///
    /// # Errors
    /// If it is closed already.
    pub fn close_channel(&mut self, id: ChannelId) -> Result<RequestId, Error> {
        self.usable(id)?;
        let request = self.calls.insert("channel.close", Some(self.config.timeouts.call));
        if self.close_held(id) {
            self.answer(Some(request), Ok(Reply::Done));
            return Ok(request);
        }
        self.send_channel_close(id, Some(request))?;
        Ok(request)
    }

    /// Nobody holds the channel any more: its id is void. It is closed, in confirm mode when all that was published on it
    /// has its outcome: the broker confirms nothing on a channel that is closed.
    pub fn release_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.released = true;
        self.close_if_released(id);
        self.channels.forget_if_done(id);
    }

    /// Closes a channel that nobody holds, if no publish on it waits for its outcome.
    pub(super) fn close_if_released(&mut self, id: ChannelId) {
        let Ok(channel) = self.usable(id) else { return };
        if channel.released && channel.window().is_none_or(|window| window.unconfirmed() == 0) && !self.close_held(id) {
            // A close has no field that could fail to encode.
            let _ = self.send_channel_close(id, None);
        }
    }

    fn send_channel_close(&mut self, id: ChannelId, request: Option<RequestId>) -> Result<(), Error> {
        self.flush_acks(id);
        let close = channel::Close {
            reply_code: ReplyCode::REPLY_SUCCESS,
            reply_text: ShortStr::EMPTY,
            class_id: 0,
            method_id: 0,
        };
        // Its answer must be read.
        let consumers = self.consumers.iter_mut().filter(|(_, consumer)| consumer.channel == id);
        let freed = consumers.map(|(_, consumer)| consumer.stop_counting()).sum();
        self.unbuffer(freed);
        self.end_bodies_of(id, &Error::new(ErrorKind::ChannelNotOpen));
        self.give_up_body(id);
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        channel.state = ChannelState::Closing;
        channel.await_reply(Pending { reply: CHANNEL_CLOSE_OK, request, about: About::Nothing });
        let number = channel.number;
        self.channels.note_closing(number);
        put_method(self.tail_of(id), number, &close)?;
        Ok(())
    }

    /// Why the channel is closed, if it is.
    #[must_use]
    pub fn channel_error(&self, id: ChannelId) -> Option<Error> {
        match self.channels.get(id) {
            Some(channel) => channel.check_open().err(),
            None => Some(Error::new(ErrorKind::ChannelNotOpen)),
        }
    }

    // ---- requests ----------------------------------------------------------------------------------------------

    /// Sends a method of the classes exchange, queue, tx, confirm and access, or one of `basic.qos`, `basic.get`,
    /// `basic.recover`, `basic.recover-async` and `channel.flow`. `None`: there will be no reply, because of `nowait` or
    /// of the method's nature. Without a `timeout` the configuration's call time-out holds.
    ///
    /// # Errors
    /// If the channel is closed, or the method does not fit into a frame, or has an operation of its own here.
    pub fn request<'a>(
        &mut self,
        id: ChannelId,
        method: impl Into<Method<'a>>,
        timeout: Option<Duration>,
    ) -> Result<Option<RequestId>, Error> {
        let method = method.into();
        let name = method.name();
        let reply = match expected(&method) {
            Expect::Reply(reply) => Some(reply),
            Expect::Nothing => None,
            Expect::Elsewhere => {
                return Err(Error::new(ErrorKind::Internal("this method has an operation of its own")));
            }
        };
        self.usable(id).map_err(|error| error.during(name))?;
        if self.recovering.is_some()
            && let Some(request) = self.request_after_loss(id, &method).map_err(|error| error.during(name))?
        {
            return Ok(Some(request));
        }
        self.flush_acks(id);
        self.send(id, &method).map_err(|error| error.during(name))?;
        self.note_effects(id, &method);
        let change = self.change_of(id, &method);
        let Some(reply) = reply else {
            self.sent_without_reply(id, change);
            return Ok(None);
        };
        let request = self.calls.insert(name, Some(timeout.unwrap_or(self.config.timeouts.call)));
        let about = match &method {
            Method::Basic(basic::Method::Get(get)) => About::Get { no_ack: get.no_ack },
            _ => change.map_or(About::Nothing, About::Change),
        };
        if let Some(channel) = self.channels.get_mut(id) {
            channel.await_reply(Pending { reply, request: Some(request), about });
        }
        Ok(Some(request))
    }

    /// What a method changes in the channel from the moment it is sent.
    fn note_effects(&mut self, id: ChannelId, method: &Method<'_>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        match method {
            // The broker closes a channel that is to change from one to the other: what waits for confirms hears of it.
            Method::Confirm(confirm::Method::Select(_)) if matches!(channel.mode, Mode::Plain) => {
                channel.mode = Mode::Confirm(Box::default());
            }
            Method::Tx(tx::Method::Commit(_) | tx::Method::Rollback(_)) => channel.uncommitted = false,
            Method::Tx(tx::Method::Select(_)) if matches!(channel.mode, Mode::Plain) => {
                channel.mode = Mode::Transaction;
            }
            Method::Basic(basic::Method::Qos(qos)) if qos.global => {
                channel.global_qos = Some(qos.prefetch_count).filter(|count| *count > 0);
            }
            Method::Basic(basic::Method::Qos(qos)) => {
                channel.prefetch = Some(qos.prefetch_count);
                channel.qos = Some(qos.prefetch_count);
            }
            Method::Basic(basic::Method::Recover(_)) => {
                channel.recovering += 1;
                self.invalidate_deliveries(id);
            }
            Method::Basic(basic::Method::RecoverAsync(_)) => self.invalidate_deliveries(id),
            _ => {}
        }
    }

    /// The broker requeues all that is not settled: the tags are void, and what waits in the consumers' queues comes
    /// again.
    fn invalidate_deliveries(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.epoch += 1;
            channel.unsettled.invalidate();
        }
        let mut freed = 0;
        let mut streamed = Vec::new();
        for (index, consumer) in
            self.consumers.iter_mut().filter(|(_, consumer)| consumer.channel == id && !consumer.no_ack)
        {
            freed += consumer.forget_deliveries();
            if consumer.streamed {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                streamed.push(ConsumerId { index, generation: consumer.generation });
            }
        }
        self.unbuffer(freed);
        streamed.into_iter().for_each(|consumer| self.drop_unread_bodies(consumer));
    }

    // ---- helpers -----------------------------------------------------------------------------------------------

    /// The connection takes new work.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(self.not_open()) }
    }

    /// A channel that takes new work, of a connection that does.
    #[inline]
    pub(super) fn usable(&mut self, id: ChannelId) -> Result<&mut Channel, Error> {
        if self.is_open() { self.channels.usable(id) } else { Err(self.why_not_usable(id)) }
    }

    #[cold]
    fn why_not_usable(&self, id: ChannelId) -> Error {
        // The channel's own story comes first: it may have ended before the connection.
        let told = self.channels.get(id).and_then(|channel| channel.check_open().err());
        told.unwrap_or_else(|| self.not_open())
    }

    /// Sends a method behind whatever the channel has to send.
    pub(super) fn send(&mut self, id: ChannelId, method: &Method<'_>) -> Result<(), Error> {
        let frame_max = self.frame_max as usize;
        let Some(channel) = self.channels.get(id) else { return Ok(()) };
        let number = channel.number;
        let tail = self.tail_of(id);
        let start = tail.len();
        crate::method::put_any(tail, number, method)?;
        let size = tail.len() - start;
        if frame_max != 0 && size > frame_max {
            // A method cannot be split over frames (0-9-1 §4.2.4).
            tail.truncate(start);
            return Err(EncodeError::TooLong { size, limit: frame_max }.into());
        }
        Ok(())
    }
}

/// The reply to a method.
fn expected(method: &Method<'_>) -> Expect {
    use Method as M;
    let (class, id) = (method.class_id(), method.method_id());
    let unless = |nowait: bool| if nowait { Expect::Nothing } else { Expect::Reply((class, id + 1)) };
    match method {
        M::Exchange(exchange::Method::Declare(method)) => unless(method.nowait),
        M::Exchange(exchange::Method::Delete(method)) => unless(method.nowait),
        M::Exchange(exchange::Method::Bind(method)) => unless(method.nowait),
        // The one reply that is not its method's number plus one.
        M::Exchange(exchange::Method::Unbind(method)) if !method.nowait => {
            Expect::Reply((exchange::UnbindOk::CLASS_ID, exchange::UnbindOk::METHOD_ID))
        }
        M::Queue(queue::Method::Declare(method)) => unless(method.nowait),
        M::Queue(queue::Method::Bind(method)) => unless(method.nowait),
        M::Queue(queue::Method::Purge(method)) => unless(method.nowait),
        M::Queue(queue::Method::Delete(method)) => unless(method.nowait),
        M::Basic(basic::Method::Get(_)) => Expect::Reply(GET_OK),
        M::Confirm(confirm::Method::Select(method)) => unless(method.nowait),
        M::Channel(channel::Method::Flow(_))
        | M::Access(access::Method::Request(_))
        | M::Queue(queue::Method::Unbind(_))
        | M::Basic(basic::Method::Qos(_) | basic::Method::Recover(_))
        | M::Tx(tx::Method::Select(_) | tx::Method::Commit(_) | tx::Method::Rollback(_)) => unless(false),
        M::Exchange(exchange::Method::Unbind(_)) | M::Basic(basic::Method::RecoverAsync(_)) => Expect::Nothing,
        _ => Expect::Elsewhere,
    }
}
