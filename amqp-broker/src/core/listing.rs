//! What is in a broker: for tests to look at.

use std::collections::BTreeMap;

use amqp_proto::wire::FieldTable;

use super::erlang::Term;
use super::exchange::Destination;
use super::message::Message;
use super::name::Name;
use super::operate::NotThere;
use super::queue::{Kind, Queue, QueueId};
use super::session::Phase;
use super::{Core, SessionId};

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// `classic`, `quorum` or `stream`.
    pub kind: &'static str,
    /// Whether it survives a restart. (There are none here.)
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// Messages that wait for a consumer, or are in the stream.
    pub ready: usize,
    /// Messages that somebody has and has not settled.
    pub unacked: usize,
    /// Messages that have died in it and that no other queue has taken yet: with the strategy `at-least-once`.
    pub dead_letters: usize,
    /// Bytes of the waiting messages: of their bodies, and, in a quorum queue of 4.3, of their properties.
    pub ready_bytes: usize,
    /// Its consumers.
    pub consumers: usize,
    /// The arguments of its declaration; since 4.0 with `x-queue-type` where there was none.
    pub arguments: FieldTable,
}

impl QueueInfo {
    /// Messages in it: ready, unacked, and dead letters.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.ready + self.unacked + self.dead_letters
    }
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeInfo {
    /// Its name; empty for the default exchange.
    pub name: String,
    /// `direct`, `fanout`, `topic` or `headers`.
    pub kind: &'static str,
    /// Whether it survives a restart. (There are none here.)
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// The arguments of its declaration.
    pub arguments: FieldTable,
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindingInfo {
    /// The exchange it leads from; empty for the default exchange, which every queue is bound to.
    pub source: String,
    /// The queue or exchange it leads to.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_kind: &'static str,
    /// Its routing key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its tag.
    pub tag: String,
    /// The client property `connection_name` of its connection.
    pub connection: String,
    /// Its channel.
    pub channel: u16,
    /// Whether it settles its deliveries.
    pub ack_required: bool,
    /// Whether nobody else may consume.
    pub exclusive: bool,
    /// How many deliveries it may have unsettled; 0 is unlimited.
    pub prefetch: u32,
    /// How many it has.
    pub unacked: u32,
    /// Whether it is given messages: `false` for those that wait behind a single active consumer.
    pub active: bool,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The client property `connection_name`; empty where there is none.
    pub name: String,
    /// Who logged in.
    pub user: String,
    /// Its virtual host.
    pub vhost: String,
    /// `running`, `blocking` (there is an alarm), `blocked` (by the alarm) or `closing`.
    pub state: &'static str,
    /// How many channels are open on it.
    pub channels: usize,
    /// The client's port.
    pub peer_port: u16,
    /// The negotiated heartbeat in seconds; 0 for none.
    pub heartbeat: u16,
    /// The negotiated frame limit in bytes.
    pub frame_max: u32,
    /// The negotiated channel limit.
    pub channel_max: u16,
    /// Whether it is one over TLS.
    pub tls: bool,
    /// All client properties.
    pub client_properties: FieldTable,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// The client property `connection_name` of its connection.
    pub connection: String,
    /// Its number.
    pub number: u16,
    /// Whether it confirms publishes.
    pub confirm: bool,
    /// Whether it has transactions.
    pub transactional: bool,
    /// The prefetch of consumers to come; 0 is unlimited.
    pub prefetch: u16,
    /// The prefetch of all its consumers together; 0 is unlimited.
    pub global_prefetch: u16,
    /// Its consumers.
    pub consumers: usize,
    /// Deliveries that it has not settled.
    pub unacked: usize,
}

/// A message that waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageInfo {
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its properties.
    pub properties: amqp_proto::method::Properties,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Whether its delivery mode is 2.
    pub persistent: bool,
}

/// A delivery that was not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnackedInfo {
    /// The client property `connection_name` of the connection that has it.
    pub connection: String,
    /// Its channel.
    pub channel: u16,
    /// Its delivery tag there.
    pub delivery_tag: u64,
    /// The tag of its consumer; `None` if that was cancelled, or the message was got.
    pub consumer: Option<String>,
    /// The message. `redelivered` is what its receiver was told.
    pub message: MessageInfo,
}

impl Core {
    pub(crate) fn list_queues(&self, vhost: &str) -> Result<Vec<QueueInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let ids = self.vhosts.get(vhost.as_bytes()).into_iter().flat_map(|vhost| vhost.queues.values());
        Ok(ids.filter_map(|id| self.queues.get(id)).map(queue_info).collect())
    }

    pub(crate) fn list_exchanges(&self, vhost: &str) -> Result<Vec<ExchangeInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let all = self.vhosts.get(vhost.as_bytes()).into_iter().flat_map(|vhost| vhost.exchanges.values());
        let info = all.map(|exchange| ExchangeInfo {
            name: exchange.name.to_string(),
            kind: exchange.kind.name(),
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
        });
        Ok(info.collect())
    }

    pub(crate) fn list_bindings(&self, vhost: &str) -> Result<Vec<BindingInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let Some(vhost) = self.vhosts.get(vhost.as_bytes()) else { return Ok(Vec::new()) };
        let mut all: Vec<_> = vhost
            .queues
            .keys()
            .map(|queue| BindingInfo {
                source: String::new(),
                destination: queue.to_string(),
                destination_kind: "queue",
                routing_key: queue.to_string(),
                arguments: FieldTable::new(),
            })
            .collect();
        for exchange in vhost.exchanges.values() {
            for binding in exchange.bindings() {
                let (destination, destination_kind) = match &binding.destination {
                    Destination::Exchange(name) => (name.to_string(), "exchange"),
                    Destination::Queue(id) => {
                        (self.queues.get(id).map(|queue| queue.name.to_string()).unwrap_or_default(), "queue")
                    }
                };
                all.push(BindingInfo {
                    source: exchange.name.to_string(),
                    destination,
                    destination_kind,
                    routing_key: binding.routing_key.to_string(),
                    arguments: binding.arguments(),
                });
            }
        }
        Ok(all)
    }

    pub(crate) fn list_consumers(&self, vhost: &str, queue: &str) -> Result<Vec<ConsumerInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let (_, queue) = self.queue_by_name(&vhost, queue)?;
        let info = queue.consumers.iter().map(|(id, consumer)| ConsumerInfo {
            tag: consumer.tag.to_string(),
            connection: self.connection_name(consumer.session),
            channel: consumer.channel,
            ack_required: !consumer.no_ack,
            exclusive: consumer.exclusive,
            prefetch: consumer.prefetch,
            unacked: consumer.unacked,
            active: queue.consumers.is_active(id),
            arguments: consumer.arguments.clone(),
        });
        Ok(info.collect())
    }

    pub(crate) fn list_messages(&self, vhost: &str, queue: &str) -> Result<Vec<MessageInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let (_, queue) = self.queue_by_name(&vhost, queue)?;
        let waiting = queue.ready.iter().map(|entry| (&entry.message, entry.redelivered));
        let logged = queue.log.messages().map(|message| (message, false));
        Ok(waiting.chain(logged).map(|(message, redelivered)| message_info(message, redelivered)).collect())
    }

    pub(crate) fn list_unacked(&self, vhost: &str, queue: &str) -> Result<Vec<UnackedInfo>, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let (id, _) = self.queue_by_name(&vhost, queue)?;
        let mut all = Vec::new();
        for session in self.sessions.values() {
            for (number, channel) in &session.channels {
                for unacked in channel.unacked.iter().filter(|unacked| unacked.queue == id) {
                    // What a stream has delivered is still in it.
                    let Some(entry) = &unacked.entry else { continue };
                    let tag = channel.consumers.iter().find(|(_, (_, consumer))| Some(*consumer) == unacked.consumer);
                    all.push(UnackedInfo {
                        connection: session.name(),
                        channel: *number,
                        delivery_tag: unacked.delivery_tag,
                        consumer: tag.map(|(tag, _)| tag.to_string()),
                        message: message_info(&entry.message, entry.redelivered),
                    });
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn list_connections(&self) -> Vec<ConnectionInfo> {
        let open = self.sessions.values().filter(|session| matches!(session.phase, Phase::Running | Phase::Closing));
        open.map(|session| ConnectionInfo {
            name: session.name(),
            user: session.user.to_string(),
            vhost: session.vhost.to_string(),
            state: match session.phase {
                Phase::Closing => "closing",
                _ if session.blocked => "blocked",
                _ if self.alarms.any() => "blocking",
                _ => "running",
            },
            channels: session.channels.len(),
            peer_port: session.peer_port,
            heartbeat: session.heartbeat,
            frame_max: session.frame_max,
            channel_max: session.channel_max,
            tls: session.tls,
            client_properties: session.client_properties.clone(),
        })
        .collect()
    }

    pub(crate) fn list_channels(&self) -> Vec<ChannelInfo> {
        let mut all = Vec::new();
        for session in self.sessions.values() {
            for (number, channel) in session.channels.iter().filter(|(_, channel)| channel.open && !channel.closing) {
                all.push(ChannelInfo {
                    connection: session.name(),
                    number: *number,
                    confirm: channel.confirms.is_some(),
                    transactional: channel.transaction.is_some(),
                    prefetch: channel.prefetch,
                    global_prefetch: channel.global_prefetch,
                    consumers: channel.consumers.len() + usize::from(channel.reply_consumer.is_some()),
                    unacked: channel.unacked.len(),
                });
            }
        }
        all
    }

    pub(super) fn queue_by_name(&self, vhost: &Name, queue: &str) -> Result<(QueueId, &Queue), NotThere> {
        let id = self.vhosts.get(vhost.as_bytes()).and_then(|vhost| vhost.queues.get(queue.as_bytes()));
        let found = id.and_then(|id| Some((*id, self.queues.get(id)?)));
        found.ok_or_else(|| NotThere::queue(queue))
    }

    pub(super) fn connection_name(&self, id: SessionId) -> String {
        self.sessions.get(&id).map(super::session::Session::name).unwrap_or_default()
    }
}

pub(super) fn message_info(message: &Message, redelivered: bool) -> MessageInfo {
    MessageInfo {
        exchange: message.exchange().to_string(),
        routing_key: String::from_utf8_lossy(message.routing_key()).into_owned(),
        properties: message.properties().to_owned(),
        body: message.body().to_vec(),
        redelivered,
        persistent: message.is_persistent(),
    }
}

fn queue_info(queue: &Queue) -> QueueInfo {
    let ready = match queue.kind {
        Kind::Stream => queue.log.len(),
        _ => queue.ready.len(),
    };
    QueueInfo {
        name: queue.name.to_string(),
        kind: queue.kind.name(),
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        exclusive: queue.owner.is_some(),
        ready,
        unacked: queue.unacked,
        dead_letters: queue.dead_letters.len(),
        ready_bytes: queue.ready.bytes(),
        consumers: queue.consumers.len(),
        arguments: queue.arguments().to_owned(),
    }
}

/// A table as text: strings as they are, other values as Erlang prints them.
#[must_use]
pub fn texts(table: &FieldTable) -> BTreeMap<String, String> {
    table.iter().map(|(key, value)| (key.to_string_lossy().into_owned(), Term(value).to_string())).collect()
}
