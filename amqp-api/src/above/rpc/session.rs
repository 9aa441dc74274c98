//! A channel with a consumer of replies, and who waits for which.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amqp_proto::error::{Error, ErrorKind};

use crate::channel::Channel;
use crate::connection::Connection;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::events::ConnectionEvent;
use crate::options::{Consume, Handling};
use crate::subscription::Subscription;

/// The queue whose messages come to the channel that publishes with it as `reply_to`.
pub(super) const DIRECT: &str = "amq.rabbitmq.reply-to";

pub(super) struct Session {
    pub(super) channel: Channel,
    pub(super) replies: Subscription,
    connection: Connection,
    pending: Arc<Pending>,
}

/// The calls of a channel that have no reply yet, by their correlation ids.
#[derive(Default)]
struct Pending(Mutex<BTreeMap<u64, Call>>);

#[derive(Default)]
struct Call {
    reply: Option<Content>,
    waker: Option<Waker>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply has come. `false` if nobody waits for it.
    fn give(&self, reply: Content) -> bool {
        let id = reply.properties().ok().and_then(|properties| properties.correlation_id?.to_str().ok()?.parse().ok());
        let mut calls = self.lock();
        let Some(call) = id.and_then(|id: u64| calls.get_mut(&id)).filter(|call| call.reply.is_none()) else {
            return false;
        };
        call.reply = Some(reply);
        let waker = call.waker.take();
        drop(calls);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Session {
    /// Opens a channel that listens for replies. What nobody waits for is counted.
    pub(super) async fn open(connection: &Connection, discarded: &Arc<AtomicU64>) -> Result<Self, Error> {
        let channel = connection.channel().await?;
        channel.confirm_select().await?;
        let pending = Arc::new(Pending::default());
        let replies = channel
            .consume_with(Consume::new(DIRECT).no_ack(), Handling::default(), {
                let (pending, discarded) = (Arc::clone(&pending), Arc::clone(discarded));
                move |delivery: Delivery| {
                    if !pending.give(delivery.into_parts().0) {
                        discarded.fetch_add(1, Ordering::Relaxed);
                    }
                    std::future::ready(())
                }
            })
            .await?;
        Ok(Self { channel, replies, connection: connection.clone(), pending })
    }

    pub(super) fn is_open(&self) -> bool {
        self.channel.is_open()
    }

    /// Somebody waits for the reply with this correlation id.
    pub(super) fn expect(&self, id: u64) -> Expected {
        self.pending.lock().insert(id, Call::default());
        Expected { pending: Arc::clone(&self.pending), id }
    }

    /// Why the reply to what is under way cannot come any more, although the channel goes on: the connection was lost, and
    /// replies find their way by what the broker knew of that one.
    pub(super) fn lost(&self) -> impl Future<Output = Error> + use<> {
        let mut events = self.connection.events();
        async move {
            loop {
                match events.next().await {
                    Some(ConnectionEvent::Disconnected { cause }) => return cause,
                    Some(_) => {}
                    None => return std::future::pending().await,
                }
            }
        }
    }

    /// Why no more replies can come.
    pub(super) async fn ended(&self) -> Error {
        let cause = self.replies.finished().await.err().or_else(|| self.channel.error());
        cause.unwrap_or_else(|| Error::new(ErrorKind::ChannelNotOpen))
    }
}

/// A reply that is awaited. When this is gone it comes too late.
pub(super) struct Expected {
    pending: Arc<Pending>,
    id: u64,
}

impl Expected {
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Content> {
        let (reply, old) = {
            let mut calls = self.pending.lock();
            let Some(call) = calls.get_mut(&self.id) else { return Poll::Pending };
            match call.reply.take() {
                Some(reply) => (Poll::Ready(reply), call.waker.take()),
                None => (Poll::Pending, call.waker.replace(cx.waker().clone())),
            }
        };
        drop(old);
        reply
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let call = self.pending.lock().remove(&self.id);
        drop(call);
    }
}
