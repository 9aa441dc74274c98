//! What the broker knows of: queues, exchanges, bindings, connections, channels. Read at once from the processes that
//! own them, not from statistics that lag behind.

use std::collections::BTreeMap;

use super::Node;
use super::manage::binary;
use crate::{Failure, Result};

/// A queue, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// Messages in it, ready and unacknowledged.
    pub messages: u64,
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Messages that a consumer has not settled yet.
    pub unacknowledged: u64,
    /// Its consumers.
    pub consumers: u64,
    /// The arguments it was declared with: strings as they are, other values as Erlang prints them.
    pub arguments: BTreeMap<String, String>,
}

/// An exchange, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// Its name; empty for the default exchange.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers` or a plugin's.
    pub kind: String,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only bindings lead to it, and clients may not publish to it.
    pub internal: bool,
    /// The arguments it was declared with.
    pub arguments: BTreeMap<String, String>,
}

/// A binding, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The exchange it leads from; empty for the default exchange, which every queue is bound to.
    pub source: String,
    /// The queue or exchange it leads to.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_kind: String,
    /// Its routing key.
    pub routing_key: String,
    /// The arguments it was made with.
    pub arguments: BTreeMap<String, String>,
}

/// A connection, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The client property `connection_name`; empty where there is none.
    pub name: String,
    /// Who logged in.
    pub user: String,
    /// The virtual host it is open on.
    pub vhost: String,
    /// Such as `running`, `blocking`, `blocked` or `closing`.
    pub state: String,
    /// How many channels are open on it.
    pub channels: u64,
    /// The client's port.
    pub peer_port: u16,
    /// The negotiated heartbeat in seconds; 0 for none.
    pub heartbeat: u64,
    /// The negotiated frame limit in bytes.
    pub frame_max: u64,
    /// The negotiated channel limit.
    pub channel_max: u64,
    /// Whether it is over TLS.
    pub tls: bool,
    /// All client properties: strings as they are, other values as Erlang prints them.
    pub client_properties: BTreeMap<String, String>,
}

/// A channel, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channel {
    /// The client property `connection_name` of its connection; empty where there is none.
    pub connection_name: String,
    /// Its number on the connection.
    pub number: u64,
    /// Whether it is in confirm mode.
    pub confirm: bool,
    /// Whether it is in transaction mode.
    pub transactional: bool,
    /// The prefetch of consumers that start now.
    pub prefetch: u64,
    /// The prefetch of all its consumers together.
    pub global_prefetch: u64,
    /// Its consumers.
    pub consumers: u64,
    /// Deliveries that it has not settled yet.
    pub unacknowledged: u64,
}

impl Node {
    /// The queues of the default virtual host.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn list_queues(&self) -> Result<Vec<Queue>> {
        self.list_queues_in("/")
    }

    /// The queues of a virtual host, without those whose process has gone and that go themselves in a moment.
    ///
    /// # Errors
    /// If the node is not running, or there is no such virtual host.
    pub fn list_queues_in(&self, vhost: &str) -> Result<Vec<Queue>> {
        // `exclusive` asks for the owner: a queue type may leave it out of its answer.
        let query = format!(
            "Rows([[N, D, A, O =/= none andalso O =/= '', M, R, U, C, Arguments(G)] || \
             [{{_, N}}, {{_, D}}, {{_, A}}, {{_, O}}, {{_, M}}, {{_, R}}, {{_, U}}, {{_, C}}, {{_, G}}] <- \
             rabbit_amqqueue:info_all({}, [name, durable, auto_delete, owner_pid, messages, messages_ready, \
             messages_unacknowledged, consumers, arguments]), is_integer(M)])",
            binary(vhost)
        );
        self.list(&query, |cells| {
            Some(Queue {
                name: cells.text()?,
                durable: cells.parsed()?,
                auto_delete: cells.parsed()?,
                exclusive: cells.parsed()?,
                messages: cells.parsed()?,
                ready: cells.parsed()?,
                unacknowledged: cells.parsed()?,
                consumers: cells.parsed()?,
                arguments: cells.arguments()?,
            })
        })
    }

    /// One queue of the default virtual host; `None` if it does not exist.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn queue(&self, name: &str) -> Result<Option<Queue>> {
        Ok(self.list_queues()?.into_iter().find(|queue| queue.name == name))
    }

    /// The exchanges of the default virtual host.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn list_exchanges(&self) -> Result<Vec<Exchange>> {
        let query = "Rows([[N, T, D, A, I, Arguments(G)] || \
                     [{_, N}, {_, T}, {_, D}, {_, A}, {_, I}, {_, G}] <- rabbit_exchange:info_all(<<\"/\">>, \
                     [name, type, durable, auto_delete, internal, arguments])])";
        self.list(query, |cells| {
            Some(Exchange {
                name: cells.text()?,
                kind: cells.text()?,
                durable: cells.parsed()?,
                auto_delete: cells.parsed()?,
                internal: cells.parsed()?,
                arguments: cells.arguments()?,
            })
        })
    }

    /// The bindings of the default virtual host, those of the default exchange included.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn list_bindings(&self) -> Result<Vec<Binding>> {
        let query = "Rows([[S, D, K, R, Arguments(G)] || \
                     [{_, S}, {_, D}, {_, K}, {_, R}, {_, G}] <- rabbit_binding:info_all(<<\"/\">>, \
                     [source_name, destination_name, destination_kind, routing_key, arguments])])";
        self.list(query, |cells| {
            Some(Binding {
                source: cells.text()?,
                destination: cells.text()?,
                destination_kind: cells.text()?,
                routing_key: cells.text()?,
                arguments: cells.arguments()?,
            })
        })
    }

    /// The open connections, without those that are still in their handshake and have not got all of this.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn list_connections(&self) -> Result<Vec<Connection>> {
        let query = "Rows([[U, V, S, C, P, H, F, M, T, Arguments(X)] || \
                     [{_, U}, {_, V}, {_, S}, {_, C}, {_, P}, {_, H}, {_, F}, {_, M}, {_, T}, {_, X}] <- \
                     rabbit_networking:connection_info_all([user, vhost, state, channels, peer_port, timeout, \
                     frame_max, channel_max, ssl, client_properties]), is_list(X), is_integer(H), is_integer(M)])";
        self.list(query, |cells| {
            let (user, vhost, state) = (cells.text()?, cells.text()?, cells.text()?);
            let (channels, peer_port, heartbeat) = (cells.parsed()?, cells.parsed()?, cells.parsed()?);
            let (frame_max, channel_max, tls) = (cells.parsed()?, cells.parsed()?, cells.parsed()?);
            let client_properties = cells.arguments()?;
            let name = client_properties.get("connection_name").cloned().unwrap_or_default();
            Some(Connection {
                name,
                user,
                vhost,
                state,
                channels,
                peer_port,
                heartbeat,
                frame_max,
                channel_max,
                tls,
                client_properties,
            })
        })
    }

    /// The open connections whose client property `connection_name` is `name`.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn connections_named(&self, name: &str) -> Result<Vec<Connection>> {
        Ok(self.list_connections()?.into_iter().filter(|connection| connection.name == name).collect())
    }

    /// The open channels.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn list_channels(&self) -> Result<Vec<Channel>> {
        let query = "Names = [{P, V} || [{_, P}, {_, C}] <- \
                     rabbit_networking:connection_info_all([pid, client_properties]), is_list(C), \
                     {<<\"connection_name\">>, _, V} <- C], \
                     Rows([[proplists:get_value(P, Names, <<>>), N, C, T, F, G, S, U] || \
                     [{_, P}, {_, N}, {_, C}, {_, T}, {_, F}, {_, G}, {_, S}, {_, U}] <- \
                     rabbit_channel:info_all([connection, number, confirm, transactional, prefetch_count, \
                     global_prefetch_count, consumer_count, messages_unacknowledged])])";
        self.list(query, |cells| {
            Some(Channel {
                connection_name: cells.text()?,
                number: cells.parsed()?,
                confirm: cells.parsed()?,
                transactional: cells.parsed()?,
                prefetch: cells.parsed()?,
                global_prefetch: cells.parsed()?,
                consumers: cells.parsed()?,
                unacknowledged: cells.parsed()?,
            })
        })
    }

    fn list<T>(&self, query: &str, read: impl Fn(&mut Cells<'_>) -> Option<T>) -> Result<Vec<T>> {
        let answer = self.evaluate(query)?;
        let row = |line: &str| {
            let mut cells = Cells(line.split('\t'));
            read(&mut cells).ok_or_else(|| Failure::new(format!("the node's answer cannot be read: {line:?}")))
        };
        answer.lines().map(row).collect()
    }
}

/// The cells of one row, left to right, as control.erl's `Rows` and `Arguments` write them.
struct Cells<'a>(std::str::Split<'a, char>);

impl Cells<'_> {
    fn text(&mut self) -> Option<String> {
        let cell = self.0.next()?;
        let mut text = String::with_capacity(cell.len());
        let mut characters = cell.chars();
        while let Some(character) = characters.next() {
            text.push(match character {
                '\\' => match characters.next()? {
                    't' => '\t',
                    'n' => '\n',
                    other => other,
                },
                other => other,
            });
        }
        Some(text)
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn arguments(&mut self) -> Option<BTreeMap<String, String>> {
        let text = self.text()?;
        let pairs = text.split_terminator('\u{1e}').map(|pair| pair.split_once('\u{1f}'));
        pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    }
}
