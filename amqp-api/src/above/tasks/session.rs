//! A connection of a task queue, and what is open on it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::ReplyCode;

use crate::channel::Channel;
use crate::connection::Connection;
use crate::message::Message;
use crate::options::{Exchange, Queue};
use crate::publisher::Publisher;

/// How many channels are kept that nobody uses.
const SPARE: usize = 16;

pub(super) struct Session {
    connection: Connection,
    publisher: Publisher,
    /// The names that were declared on this connection.
    declared: Mutex<BTreeSet<String>>,
    /// Channels that nobody uses and that have nothing to settle.
    spare: Mutex<Vec<Channel>>,
}

impl Session {
    pub(super) async fn open(connection: Connection) -> Result<Self, Error> {
        let publisher = connection.publisher().await?;
        Ok(Self { connection, publisher, declared: Mutex::default(), spare: Mutex::default() })
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// A channel with nothing else on it.
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        loop {
            let spare = lock(&self.spare).pop();
            match spare {
                Some(channel) if channel.is_open() => return Ok(channel),
                // It is dropped.
                Some(_) => {}
                None => return self.connection.channel().await,
            }
        }
    }

    /// Nobody needs this channel any more.
    pub(super) fn spare(&self, channel: Channel) {
        if channel.is_open() {
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE {
                spare.push(channel);
            }
        }
    }

    /// Sees to it that there are a durable direct exchange, a durable queue and a binding, all of this name.
    pub(super) async fn declare(&self, name: &str) -> Result<(), Error> {
        if lock(&self.declared).contains(name) {
            return Ok(());
        }
        let channel = self.channel().await?;
        // They leave together. What the first fails with, the others do as well.
        let exchange = channel.exchange_declare(Exchange::direct(name));
        let queue = channel.queue_declare(Queue::new(name));
        let binding = channel.queue_bind(name, name, name);
        exchange.await?;
        queue.await?;
        binding.await?;
        self.spare(channel);
        lock(&self.declared).insert(name.to_owned());
        Ok(())
    }

    /// What was declared has been deleted by somebody.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.declared).remove(name);
    }

    pub(super) async fn submit(&self, name: &str, message: Message<'static>) -> Result<(), Error> {
        self.declare(name).await?;
        match self.publisher.publish(name, name, message.clone()).await {
            // It was not taken, so it can be sent again.
            Err(error) if is_gone(&error, name) => {
                self.forget(name);
                self.declare(name).await?;
                self.publisher.publish(name, name, message).await
            }
            result => result,
        }
    }
}

/// Whether the exchange or the queue of this name was missing.
fn is_gone(error: &Error, name: &str) -> bool {
    // The close of the channel is the answer to all that was under way on it: this is about the exchange.
    let is_of_exchange = |text: &str| text.contains(&format!("'{name}'"));
    matches!(error.kind(), ErrorKind::NoRoute(_))
        || error
            .close_reason()
            .is_some_and(|reason| reason.code == ReplyCode::NOT_FOUND && is_of_exchange(&reason.text))
}

/// Whether there is no such queue.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ChannelClosed(reason) if reason.code == ReplyCode::NOT_FOUND)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
