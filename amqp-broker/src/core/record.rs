//! What clients have published, for tests to look at: wherever it went, and though nothing may be left of it.

use std::sync::Arc;

use super::listing::{MessageInfo, message_info};
use super::message::Message;
use super::route::Routes;
use super::session::Publish;
use super::{Core, SessionId};

/// A publish that the broker took, at its exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishInfo {
    /// The client property `connection_name` of its connection.
    pub connection: String,
    /// Its channel.
    pub channel: u16,
    /// Whether it was to come back if no queue takes it.
    pub mandatory: bool,
    /// How many queues it was routed to.
    pub queues: usize,
    /// The message, as the queues have it.
    pub message: MessageInfo,
}

/// The publishes, if somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Record {
    is_on: bool,
    publishes: Vec<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    connection: String,
    channel: u16,
    mandatory: bool,
    queues: usize,
    message: Arc<Message>,
}

impl Core {
    /// Keeps what is published from now on, and forgets what was kept.
    pub(crate) fn record_publishes(&mut self) {
        self.record = Record { is_on: true, publishes: Vec::new() };
    }

    /// What was published since, in order.
    pub(crate) fn published(&self) -> Vec<PublishInfo> {
        let info = self.record.publishes.iter().map(|recorded| PublishInfo {
            connection: recorded.connection.clone(),
            channel: recorded.channel,
            mandatory: recorded.mandatory,
            queues: recorded.queues,
            message: message_info(&recorded.message, false),
        });
        info.collect()
    }

    /// Notes a publish that was routed.
    pub(super) fn record(
        &mut self,
        id: SessionId,
        channel: u16,
        publish: &Publish,
        message: &Arc<Message>,
        routes: &Routes,
    ) {
        if !self.record.is_on {
            return;
        }
        let (mandatory, queues) = (publish.mandatory, routes.queues.len());
        let connection = self.connection_name(id);
        let message = Arc::clone(message);
        self.record.publishes.push(Recorded { connection, channel, mandatory, queues, message });
    }
}
