//! A stream of deliveries.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use amqp_proto::conn::{ConsumerId, Next};
use amqp_proto::error::Error;
use futures_core::Stream;

use crate::call::{Call, Keep, done};
use crate::channel::Channel;
use crate::delivery::Delivery;
use crate::shared::{IN_A_ROW, Touch};

/// A consumer: a stream of [`Delivery`], from [`Channel::consume`].
///
/// It gives an error and goes on when one delivery cannot be read
/// ([`ErrorKind::BadDelivery`](crate::ErrorKind::BadDelivery): its tag is to be rejected by
/// [`Channel::reject`]), and gives an error as its last item when the broker has cancelled it, or the channel or the
/// connection has failed. It ends without an error when this side has cancelled it or closed the channel.
///
/// It keeps its channel, and by that the connection, open. Dropping it cancels it, and what it had received and not given
/// out goes back to the queue.
#[must_use = "a consumer that is dropped is cancelled"]
pub struct Consumer {
    channel: Channel,
    id: ConsumerId,
    tag: Box<str>,
    /// Deliveries given out without a wait between them.
    in_a_row: u32,
}

impl Consumer {
    pub(crate) fn new(channel: Channel, id: ConsumerId) -> Self {
        let tag = channel.shared().visit(Touch::Nothing, |state| state.conn.consumer_tag(id).into());
        Self { channel, id, tag, in_a_row: 0 }
    }

    /// Its tag, unique on its channel.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next delivery, when there is one; `None` when there will be none. It has no deadline.
    ///
    /// # Errors
    ///
    /// See [`Consumer`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next delivery, if there is one now; `None` too when there will be none.
    ///
    /// # Errors
    ///
    /// See [`Consumer`].
    pub fn try_next(&mut self) -> Option<Result<Delivery, Error>> {
        let id = self.id;
        match self.channel.shared().visit(Touch::Deliveries, |state| state.conn.next_delivery(id)) {
            Next::Delivery(content) => Some(Ok(Delivery::new(content, self.channel.shared()))),
            Next::Bad(error) => Some(Err(error)),
            _ => None,
        }
    }

    /// Cancels it: the broker delivers nothing more, and the stream ends after what has been received.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]. One that has ended already is cancelled.
    pub fn cancel(&self) -> Call<()> {
        let id = self.id;
        Call::start(Keep::Channel(self.channel.clone()), done, |conn| conn.cancel(id, None).map(Some))
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, Error>>> {
        self.in_a_row += 1;
        if self.in_a_row > IN_A_ROW {
            // A stream that is always ready would keep its task from everything else.
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
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
            Next::Delivery(content) => Poll::Ready(Some(Ok(Delivery::new(content, self.channel.shared())))),
            Next::Bad(error) => Poll::Ready(Some(Err(error))),
            Next::Pending => {
                self.in_a_row = 0;
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery, Error>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let id = self.id;
        self.channel.shared().visit(Touch::Deliveries, |state| {
            let old = state.consumers.take(id.index());
            state.discard(old);
            state.conn.release_consumer(id);
        });
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("tag", &self.tag).field("channel", &self.channel).finish_non_exhaustive()
    }
}
