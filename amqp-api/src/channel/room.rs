//! Publishing when it is one's turn and there is room.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::conn::{ChannelId, RequestId};
use amqp_proto::error::{Error, ErrorKind};

use crate::shared::{Shared, State, Touch};

/// Queues a message when there is room: at once, or as one of those who wait in line, in the order in which they came
/// and each with one deadline. `publish` queues it, and says on which channel it tried to; `bytes` are those of the body.
///
/// Dropped before it has returned, it has queued nothing.
pub(crate) async fn in_turn<T>(
    shared: &Arc<Shared>,
    bytes: usize,
    mut publish: impl FnMut(&mut State) -> (ChannelId, Result<T, Error>),
) -> Result<T, Error> {
    // Nearly always there is room, and nobody to give way to.
    match shared.visit(Touch::Output, |state| (!state.gives_way()).then(|| publish(state).1)) {
        Some(Err(error)) if is_full(&error) => {}
        Some(result) => return result,
        None => give_way().await,
    }
    let mut place = Place { shared, request: None };
    poll_fn(|cx| place.poll(cx, bytes, &mut publish)).await
}

/// Lets other tasks have a turn.
#[cold]
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A place in the line of those who wait for room, given up when it is dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    request: Option<RequestId>,
}

impl Place<'_> {
    #[inline]
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        publish: &mut impl FnMut(&mut State) -> (ChannelId, Result<T, Error>),
    ) -> Poll<Result<T, Error>> {
        let shared = self.shared;
        shared.visit(Touch::Output, |state| self.poll_in(state, cx, bytes, publish))
    }

    fn poll_in<T>(
        &mut self,
        state: &mut State,
        cx: &Context<'_>,
        bytes: usize,
        publish: &mut impl FnMut(&mut State) -> (ChannelId, Result<T, Error>),
    ) -> Poll<Result<T, Error>> {
        loop {
            if let Some(request) = self.request {
                match state.poll_reply(request, cx.waker()) {
                    None => return Poll::Pending,
                    // A publisher has another channel; on the same one it fails with the same error.
                    Some(Err(error)) if !is_channel_gone(&error) => {
                        self.request = None;
                        return Poll::Ready(Err(error));
                    }
                    Some(_) => self.request = None,
                }
            }
            match publish(state) {
                (channel, Err(error)) if is_full(&error) => {
                    self.request = Some(state.conn.wait_room(channel, bytes, None));
                }
                (_, result) => return Poll::Ready(result),
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.shared.visit(Touch::All, |state| state.abandon_request(request));
        }
    }
}

#[inline]
fn is_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Full)
}

/// Whether only the channel is gone, and not the connection.
pub(crate) fn is_channel_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ChannelClosed(_) | ErrorKind::ChannelNotOpen)
}
