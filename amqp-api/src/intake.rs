//! What consumers of both kinds are made of: where in the core their deliveries come in, and how these are taken out.

use std::task::{Context, Poll};

use amqp_proto::conn::{ConsumerId, Delivery, Next, NextBatch};
use amqp_proto::error::Error;

use crate::call::{Call, Keep, done};
use crate::channel::Channel;
use crate::shared::{IN_A_ROW, Touch};

/// A consumer in the core. Dropped, it is cancelled, and what it had received goes back to the queue.
pub(crate) struct Intake {
    channel: Channel,
    id: ConsumerId,
    tag: Box<str>,
    /// Deliveries given out without a wait between them.
    in_a_row: u32,
}

impl Intake {
    pub(crate) fn new(channel: Channel, id: ConsumerId) -> Self {
        let mut intake = Self { channel, id, tag: Box::default(), in_a_row: 0 };
        intake.learn_tag();
        intake
    }

    fn learn_tag(&mut self) {
        let id = self.id;
        self.tag = self.channel.shared().visit(Touch::Nothing, |state| state.conn.consumer_tag(id).into());
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What it has next, given to `make` if it is a delivery; the task is woken when there is something.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        make: impl FnOnce(Delivery, &Channel) -> T,
    ) -> Poll<Option<Result<T, Error>>> {
        if self.gives_way(cx) {
            return Poll::Pending;
        }
        let id = self.id;
        let next = self.channel.shared().visit(Touch::Deliveries, |state| {
            let next = state.conn.next_delivery(id);
            if matches!(next, Next::Pending) {
                let old = state.consumers.set(id.index(), cx.waker());
                state.discard(old);
            }
            next
        });
        match next {
            Next::Delivery(delivery) => Poll::Ready(Some(Ok(make(delivery, &self.channel)))),
            Next::Bad(error) => Poll::Ready(Some(Err(error))),
            Next::Pending => {
                self.rested();
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }

    /// What it has now.
    pub(crate) fn try_next<T>(&mut self, make: impl FnOnce(Delivery, &Channel) -> T) -> Option<Result<T, Error>> {
        let id = self.id;
        match self.channel.shared().visit(Touch::Deliveries, |state| state.conn.next_delivery(id)) {
            Next::Delivery(delivery) => Some(Ok(make(delivery, &self.channel))),
            Next::Bad(error) => Some(Err(error)),
            _ => None,
        }
    }

    /// The next deliveries together, or `now` what there is of them; the task is woken when there is more.
    pub(crate) fn poll_batch(&self, cx: &mut Context<'_>, max: usize, now: bool) -> NextBatch {
        let id = self.id;
        self.channel.shared().visit(Touch::Deliveries, |state| {
            let next = state.conn.next_batch(id, max, now);
            if matches!(next, NextBatch::Pending { .. }) {
                let old = state.consumers.set(id.index(), cx.waker());
                state.discard(old);
            }
            next
        })
    }

    /// A stream that is always ready would keep its task from everything else.
    #[inline]
    pub(crate) fn gives_way(&mut self, cx: &Context<'_>) -> bool {
        self.in_a_row += 1;
        let gives_way = self.in_a_row > IN_A_ROW;
        if gives_way {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
        }
        gives_way
    }

    /// There was nothing.
    #[inline]
    pub(crate) fn rested(&mut self) {
        self.in_a_row = 0;
    }

    pub(crate) fn set_prefetch(&mut self, prefetch: u16) -> Call<()> {
        let id = self.id;
        let call = Call::start(Keep::Channel(self.channel.clone()), done, |conn| {
            conn.set_prefetch(id, prefetch, None).map(Some)
        });
        self.learn_tag();
        call
    }

    pub(crate) fn cancel(&self) -> Call<()> {
        let id = self.id;
        Call::start(Keep::Channel(self.channel.clone()), done, |conn| conn.cancel(id, None).map(Some))
    }

    pub(crate) fn cancel_nowait(&self) -> Result<(), Error> {
        let id = self.id;
        self.channel.shared().visit(Touch::All, |state| state.conn.cancel_nowait(id))
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let id = self.id;
        self.channel.shared().visit(Touch::Deliveries, |state| {
            let old = state.consumers.take(id.index());
            state.discard(old);
            state.conn.release_consumer(id);
        });
    }
}
