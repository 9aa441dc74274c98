//! The stream of messages that came back.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use amqp_proto::conn::Returned;
use futures_core::Stream;

use super::Channel;
use crate::elapsed::{Elapsed, within};
use crate::shared::Touch;

/// Messages that no queue took: a stream, from [`Channel::returns`]. It ends with the channel.
///
/// A channel may have several; each message goes to one of them.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Returns {
    channel: Channel,
    key: u64,
}

impl Returns {
    pub(crate) fn new(channel: Channel) -> Self {
        let key = channel.shared().visit(Touch::Nothing, |state| state.returns.new_key());
        Self { channel, key }
    }

    /// The next message that comes back; `None` when the channel has ended: [`Channel::error`] says why.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Returned> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next message that comes back, as [`next`](Self::next), if it does so in time.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if there was none in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped, nor by a time-out.
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Returned>, Elapsed> {
        let channel = self.channel.clone();
        within(channel.shared(), timeout, |cx| self.poll(cx)).await
    }

    /// The next message that came back, if there is one now.
    pub fn try_next(&mut self) -> Option<Returned> {
        let id = self.channel.id();
        self.channel.shared().visit(Touch::Nothing, |state| state.conn.next_return(id)).ok().flatten()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Returned>> {
        let (id, key) = (self.channel.id(), self.key);
        self.channel.shared().visit(Touch::Nothing, |state| match state.conn.next_return(id) {
            Ok(Some(message)) => Poll::Ready(Some(message)),
            Ok(None) => {
                let old = state.returns.set(id.index(), key, cx.waker());
                state.discard(old);
                Poll::Pending
            }
            Err(_) => Poll::Ready(None),
        })
    }
}

impl Stream for Returns {
    type Item = Returned;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Returned>> {
        self.poll(cx)
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        let (id, key) = (self.channel.id(), self.key);
        self.channel.shared().visit(Touch::Nothing, |state| {
            let old = state.returns.remove(id.index(), key);
            state.discard(old);
        });
    }
}

impl fmt::Debug for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returns").field("channel", &self.channel).finish_non_exhaustive()
    }
}
