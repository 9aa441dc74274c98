//! A request on its way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::conn::{Connection, Reply, RequestId};
use amqp_proto::error::{Error, ErrorKind};

use crate::channel::Channel;
use crate::link::Link;
use crate::publisher::Publisher;
use crate::shared::{Shared, Touch};

/// A request that has been queued; awaiting it gives the broker's reply.
///
/// The request is queued when the method that returns the `Call` is called, not when the call is first polled: several
/// may be under way on one channel, in the order in which they were made. What is wrong with a request before it is
/// sent, a name that is too long for example, comes out of the `Call` as well.
///
/// # Errors
///
/// Each call says which errors of its own there are. All may end with: the broker closing the channel or the
/// connection ([`ErrorKind::ChannelClosed`], [`ErrorKind::ConnectionClosed`]), the loss of the connection
/// ([`ErrorKind::ConnectionLost`]), a deadline ([`ErrorKind::Timeout`], by default after 30 s) and a closed handle
/// ([`ErrorKind::ChannelNotOpen`], [`ErrorKind::ConnectionNotOpen`]).
///
/// # Cancel safety
///
/// Dropping a `Call` gives up its reply, not its request: that has been queued. The reply, when it comes, is discarded
/// and never given to another call, and what it would have brought is undone: a message got is put back, a consumer is
/// cancelled, a channel is closed.
#[must_use = "the reply of a call, or its error, is only seen if it is awaited"]
pub struct Call<T> {
    state: State,
    /// What the call keeps alive; taken when it finishes.
    keep: Option<Keep>,
    finish: fn(Reply, Keep) -> Result<T, Error>,
}

enum State {
    Waiting(RequestId),
    Ready(Result<Reply, Error>),
    Over,
}

/// What a call is about, and what it keeps alive until it has finished.
pub(crate) enum Keep {
    /// Nothing: the connection may close meanwhile.
    Memory(Arc<Shared>),
    /// The connection.
    Connection(Link),
    /// The channel, and by that the connection.
    Channel(Channel),
    /// The publisher, and by that its channel and the connection.
    Publisher(Publisher),
}

impl Keep {
    fn shared(&self) -> &Shared {
        match self {
            Self::Memory(shared) => shared,
            Self::Connection(link) => link,
            Self::Channel(channel) => channel.shared(),
            Self::Publisher(publisher) => publisher.link(),
        }
    }
}

impl<T> Call<T> {
    /// Queues a request. `None` from `request` means that there will be no reply: the call is done.
    pub(crate) fn start(
        keep: Keep,
        finish: fn(Reply, Keep) -> Result<T, Error>,
        request: impl FnOnce(&mut Connection) -> Result<Option<RequestId>, Error>,
    ) -> Self {
        Self::start_unanswered(keep, finish, request, || Reply::Done)
    }

    /// Queues a request; `reply` stands in for the reply where there will be none.
    pub(crate) fn start_unanswered(
        keep: Keep,
        finish: fn(Reply, Keep) -> Result<T, Error>,
        request: impl FnOnce(&mut Connection) -> Result<Option<RequestId>, Error>,
        reply: impl FnOnce() -> Reply,
    ) -> Self {
        let state = match keep.shared().visit(Touch::All, |state| request(&mut state.conn)) {
            Ok(Some(id)) => State::Waiting(id),
            Ok(None) => State::Ready(Ok(reply())),
            Err(error) => State::Ready(Err(error)),
        };
        Self { state, keep: Some(keep), finish }
    }

    /// A request that has been queued.
    pub(crate) fn waiting(id: RequestId, keep: Keep, finish: fn(Reply, Keep) -> Result<T, Error>) -> Self {
        Self { state: State::Waiting(id), keep: Some(keep), finish }
    }

    /// A request that could not be queued.
    pub(crate) fn failed(error: Error, keep: Keep, finish: fn(Reply, Keep) -> Result<T, Error>) -> Self {
        Self { state: State::Ready(Err(error)), keep: Some(keep), finish }
    }
}

/// Finishes a call that says nothing but that it was done.
pub(crate) fn done(_: Reply, _: Keep) -> Result<(), Error> {
    Ok(())
}

/// The reply is not one to this request.
pub(crate) fn mismatch<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Internal("a reply of another kind")))
}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let reply = match std::mem::replace(&mut this.state, State::Over) {
            State::Ready(reply) => reply,
            State::Waiting(id) => {
                let keep = this.keep.as_ref();
                match keep.map(|keep| keep.shared().visit(Touch::Nothing, |state| state.poll_reply(id, cx.waker()))) {
                    Some(Some(reply)) => reply,
                    _ => {
                        this.state = State::Waiting(id);
                        return Poll::Pending;
                    }
                }
            }
            State::Over => return Poll::Ready(Err(Error::invalid("a call was polled again after its end"))),
        };
        Poll::Ready(match (reply, this.keep.take()) {
            (Ok(reply), Some(keep)) => (this.finish)(reply, keep),
            (Ok(_), None) => mismatch(),
            (Err(error), _) => Err(error),
        })
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let State::Waiting(id) = self.state
            && let Some(keep) = &self.keep
        {
            keep.shared().visit(Touch::All, |state| state.abandon_request(id));
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting(_) => "waiting",
            State::Ready(_) => "ready",
            State::Over => "over",
        };
        f.debug_struct("Call").field("state", &state).finish_non_exhaustive()
    }
}
