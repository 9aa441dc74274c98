//! The broker that the cases run on: a RabbitMQ node, or `amqp-broker` in this process.
//!
//! It answers what the cases ask of a broker beside AMQP, in one way for both.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use amqp_broker::{Alarm, CertificateName, Emulate, Limits, Mechanism};

use super::secure::server_config;
use crate::certificates::Identity;
use crate::node::{Binding, Channel, ClientCertificates, Connection, Exchange, LogMark, Queue};
use crate::{Failure, Node, Options, Result, wait};

/// Environment variable that has the suite run on `amqp-broker`, as a version of RabbitMQ: `3.10`, `4.0` or `4.3`.
const VARIABLE: &str = "AMQP_BROKER";

/// The broker that the cases run on.
#[derive(Debug)]
pub enum Subject {
    /// A RabbitMQ.
    RabbitMq(Box<Node>),
    /// Ours.
    InProcess(amqp_broker::Broker),
}

impl Subject {
    /// Starts the broker that the environment asks for: a RabbitMQ node if it says nothing.
    ///
    /// # Errors
    /// If it does not start, or cannot have these options.
    pub fn start(options: Options) -> Result<Self> {
        let version = match env::var(VARIABLE).as_deref() {
            Err(_) => return Ok(Self::RabbitMq(Box::new(Node::start(options)?))),
            Ok("3.10") => Emulate::V3_10,
            Ok("4.0") => Emulate::V4_0,
            Ok("4.3") => Emulate::V4_3,
            Ok(other) => return Err(Failure::new(format!("{VARIABLE} is {other:?}, not 3.10, 4.0 or 4.3"))),
        };
        if options.needs_rabbitmq() {
            return Err(Failure::new("amqp-broker has no such plugin, and no environment of its own"));
        }
        let mut limits = Limits::of(version);
        let mut mechanisms = Vec::new();
        let mut login_from = CertificateName::default();
        for line in options.config_lines() {
            let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
            match (key, value.parse(), mechanism(value)) {
                ("max_message_size", Ok(bytes), _) => limits = limits.with_max_message_size(bytes),
                ("consumer_timeout", Ok(millis), _) => {
                    limits = limits.with_consumer_timeout(Duration::from_millis(millis as u64));
                }
                ("ssl_cert_login_from", ..) if value == "common_name" => login_from = CertificateName::CommonName,
                // Its listeners say for themselves whether they verify.
                ("ssl_options.verify", ..) => {}
                (key, _, Some(mechanism)) if key.starts_with("auth_mechanisms.") => mechanisms.push(mechanism),
                _ => return Err(Failure::new(format!("amqp-broker has no setting {line:?}"))),
            }
        }
        let mut broker = amqp_broker::Broker::builder().emulate(version).limits(limits).login_from(login_from);
        if !mechanisms.is_empty() {
            broker = broker.mechanisms(&mechanisms);
        }
        Ok(Self::InProcess(broker.start()?))
    }

    /// Starts `amqp-broker` in this process, whatever the environment asks for: for cases to which it does not matter who
    /// answers.
    ///
    /// # Errors
    /// If it does not start.
    pub fn in_process() -> Result<Self> {
        Ok(Self::InProcess(amqp_broker::Broker::builder().emulate(Emulate::V4_3).start()?))
    }

    /// Whether the environment asks for `amqp-broker`.
    pub(super) fn is_in_process() -> bool {
        env::var_os(VARIABLE).is_some()
    }

    /// What it is, with its version, for the report.
    pub fn title(&self) -> String {
        let version = self.version().unwrap_or_default();
        match self {
            Self::RabbitMq(_) => format!("RabbitMQ {version}"),
            Self::InProcess(_) => format!("amqp-broker as {version}"),
        }
    }

    /// The URI of its default virtual host, for `guest`.
    pub fn uri(&self) -> String {
        match self {
            Self::RabbitMq(node) => node.uri(),
            Self::InProcess(broker) => broker.uri(),
        }
    }

    /// The address of its AMQP listener.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::RabbitMq(node) => node.address(),
            Self::InProcess(broker) => broker.address(),
        }
    }

    /// Adds a listener for AMQP over TLS, and gives its address.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn listen_tls(&self, identity: &Identity, clients: ClientCertificates<'_>) -> Result<SocketAddr> {
        match self {
            Self::RabbitMq(node) => node.listen_tls(identity, clients),
            Self::InProcess(broker) => Ok(broker.listen_tls(server_config(identity, clients)?)?),
        }
    }

    /// The port of its AMQP listener on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// The version of RabbitMQ, such as `3.10.8`.
    ///
    /// # Errors
    /// If it is not running.
    pub fn version(&self) -> Result<String> {
        match self {
            Self::RabbitMq(node) => node.version(),
            Self::InProcess(broker) => Ok(broker.version().version().to_owned()),
        }
    }

    /// A queue of the default virtual host; `None` if it does not exist.
    ///
    /// # Errors
    /// If it is not running.
    pub fn queue(&self, name: &str) -> Result<Option<Queue>> {
        Ok(self.list_queues()?.into_iter().find(|queue| queue.name == name))
    }

    /// The queues of the default virtual host.
    ///
    /// # Errors
    /// If it is not running.
    pub fn list_queues(&self) -> Result<Vec<Queue>> {
        self.list_queues_in("/")
    }

    /// The queues of a virtual host.
    ///
    /// # Errors
    /// If it is not running, or has no such virtual host.
    pub fn list_queues_in(&self, vhost: &str) -> Result<Vec<Queue>> {
        let broker = match self {
            Self::RabbitMq(node) => return node.list_queues_in(vhost),
            Self::InProcess(broker) => broker,
        };
        let queues = broker.queues_in(vhost).map_err(Failure::during("listing queues"))?;
        let queue = |queue: amqp_broker::QueueInfo| Queue {
            messages: queue.messages() as u64,
            name: queue.name,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            exclusive: queue.exclusive,
            ready: queue.ready as u64,
            unacknowledged: queue.unacked as u64,
            consumers: queue.consumers as u64,
            arguments: amqp_broker::texts(&queue.arguments),
        };
        Ok(queues.into_iter().map(queue).collect())
    }

    /// The exchanges of the default virtual host.
    ///
    /// # Errors
    /// If it is not running.
    pub fn list_exchanges(&self) -> Result<Vec<Exchange>> {
        let broker = match self {
            Self::RabbitMq(node) => return node.list_exchanges(),
            Self::InProcess(broker) => broker,
        };
        let exchange = |exchange: amqp_broker::ExchangeInfo| Exchange {
            name: exchange.name,
            kind: exchange.kind.to_owned(),
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: amqp_broker::texts(&exchange.arguments),
        };
        Ok(broker.exchanges().into_iter().map(exchange).collect())
    }

    /// The bindings of the default virtual host, those of the default exchange included.
    ///
    /// # Errors
    /// If it is not running.
    pub fn list_bindings(&self) -> Result<Vec<Binding>> {
        let broker = match self {
            Self::RabbitMq(node) => return node.list_bindings(),
            Self::InProcess(broker) => broker,
        };
        let binding = |binding: amqp_broker::BindingInfo| Binding {
            source: binding.source,
            destination: binding.destination,
            destination_kind: binding.destination_kind.to_owned(),
            routing_key: binding.routing_key,
            arguments: amqp_broker::texts(&binding.arguments),
        };
        Ok(broker.bindings().into_iter().map(binding).collect())
    }

    /// The open connections.
    ///
    /// # Errors
    /// If it is not running.
    pub fn list_connections(&self) -> Result<Vec<Connection>> {
        let broker = match self {
            Self::RabbitMq(node) => return node.list_connections(),
            Self::InProcess(broker) => broker,
        };
        let connection = |connection: amqp_broker::ConnectionInfo| Connection {
            name: connection.name,
            user: connection.user,
            vhost: connection.vhost,
            state: connection.state.to_owned(),
            channels: connection.channels as u64,
            peer_port: connection.peer_port,
            heartbeat: connection.heartbeat.into(),
            frame_max: connection.frame_max.into(),
            channel_max: connection.channel_max.into(),
            tls: connection.tls,
            client_properties: amqp_broker::texts(&connection.client_properties),
        };
        Ok(broker.connections().into_iter().map(connection).collect())
    }

    /// The open connections whose client property `connection_name` is `name`.
    ///
    /// # Errors
    /// If it is not running.
    pub fn connections_named(&self, name: &str) -> Result<Vec<Connection>> {
        Ok(self.list_connections()?.into_iter().filter(|connection| connection.name == name).collect())
    }

    /// The open channels.
    ///
    /// # Errors
    /// If it is not running.
    pub fn list_channels(&self) -> Result<Vec<Channel>> {
        let broker = match self {
            Self::RabbitMq(node) => return node.list_channels(),
            Self::InProcess(broker) => broker,
        };
        let channel = |channel: amqp_broker::ChannelInfo| Channel {
            connection_name: channel.connection,
            number: channel.number.into(),
            confirm: channel.confirm,
            transactional: channel.transactional,
            prefetch: channel.prefetch.into(),
            global_prefetch: channel.global_prefetch.into(),
            consumers: channel.consumers as u64,
            unacknowledged: channel.unacked as u64,
        };
        Ok(broker.channels().into_iter().map(channel).collect())
    }

    /// Closes with code 320 the connections of this name, and returns how many they were.
    ///
    /// # Errors
    /// If it is not running.
    pub fn close_connections(&self, name: &str, reason: &str) -> Result<usize> {
        match self {
            Self::RabbitMq(node) => node.close_connections(name, reason),
            Self::InProcess(broker) => Ok(broker.close_connections(name, 320, reason)),
        }
    }

    /// Closes every connection with code 320 and `reason`.
    ///
    /// # Errors
    /// If it is not running.
    pub fn close_all_connections(&self, reason: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.close_all_connections(reason)?,
            Self::InProcess(broker) => {
                broker.close_all_connections(320, reason);
            }
        }
        Ok(())
    }

    /// Puts the broker into the memory alarm: publishing connections are blocked. Returns when it is in force.
    ///
    /// # Errors
    /// If it is not running.
    pub fn set_memory_alarm(&self) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.set_memory_alarm()?,
            Self::InProcess(broker) => broker.set_alarm(Alarm::Memory, true),
        }
        Ok(())
    }

    /// Ends the memory alarm. Returns when it is no longer in force.
    ///
    /// # Errors
    /// If it is not running.
    pub fn clear_memory_alarm(&self) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.clear_memory_alarm()?,
            Self::InProcess(broker) => broker.set_alarm(Alarm::Memory, false),
        }
        Ok(())
    }

    /// Adds a virtual host in which `guest` may do everything.
    ///
    /// # Errors
    /// If it exists.
    pub fn add_vhost(&self, name: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.add_vhost(name),
            Self::InProcess(broker) if broker.add_vhost(name) => Ok(()),
            Self::InProcess(_) => Err(Failure::new(format!("there is a virtual host {name}"))),
        }
    }

    /// Deletes a virtual host and all that is in it. Its connections are closed.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_vhost(&self, name: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.delete_vhost(name),
            Self::InProcess(broker) => broker.delete_vhost(name).map_err(Failure::during("deleting a virtual host")),
        }
    }

    /// Adds a user who may do everything in the default virtual host.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn add_user(&self, name: &str, password: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.add_user(name, password),
            Self::InProcess(broker) => {
                broker.add_user(name, password);
                broker.allow_everything(name, "/").map_err(Failure::during("adding a user"))
            }
        }
    }

    /// Gives a user another password. Connections that are open stay open.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn change_password(&self, name: &str, password: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.change_password(name, password),
            Self::InProcess(broker) => {
                broker.add_user(name, password);
                Ok(())
            }
        }
    }

    /// Deletes a queue of the default virtual host, whoever uses it. Its consumers are cancelled.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_queue(&self, name: &str) -> Result<()> {
        match self {
            Self::RabbitMq(node) => node.delete_queue(name),
            Self::InProcess(broker) => broker.delete_queue(name).map_err(Failure::during("deleting a queue")),
        }
    }

    /// The end of the log as it is now.
    pub fn log_mark(&self) -> LogMark {
        match self {
            Self::RabbitMq(node) => node.log_mark(),
            Self::InProcess(broker) => LogMark::new(broker.log_since(usize::MAX).1),
        }
    }

    /// What was logged since `mark`.
    pub fn log_since(&self, mark: LogMark) -> String {
        match self {
            Self::RabbitMq(node) => node.log_since(mark),
            Self::InProcess(broker) => broker.log_since(mark.place()).0.join("\n"),
        }
    }

    /// The lines at `[warning]` or worse since it was started.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::RabbitMq(node) => node.warnings(),
            Self::InProcess(broker) => {
                let is_bad = |line: &String| ["[warning]", "[error]"].iter().any(|level| line.starts_with(level));
                broker.log_since(0).0.into_iter().filter(is_bad).collect()
            }
        }
    }

    /// Waits until a line that contains `text` has been logged since `mark`, and returns it.
    ///
    /// # Errors
    /// If there is none within ten seconds.
    pub fn await_log(&self, mark: LogMark, text: &str) -> Result<String> {
        wait::until(Duration::from_secs(10), &format!("a line with {text:?} in the broker's log"), || {
            self.log_since(mark).lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// The node, where the case is about RabbitMQ itself.
    ///
    /// # Errors
    /// If it is none.
    pub fn rabbitmq(&self) -> Result<&Node> {
        match self {
            Self::RabbitMq(node) => Ok(node),
            Self::InProcess(_) => Err(Failure::new("this is for a RabbitMQ node only")),
        }
    }
}

fn mechanism(name: &str) -> Option<Mechanism> {
    use Mechanism::{AmqPlain, Anonymous, External, Plain, RabbitCrDemo};
    [Plain, AmqPlain, Anonymous, External, RabbitCrDemo].into_iter().find(|mechanism| mechanism.name() == name)
}
