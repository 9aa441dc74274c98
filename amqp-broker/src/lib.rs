//! An in-process, in-memory AMQP 0-9-1 broker that behaves as RabbitMQ does: for tests and demos, never for production.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use amqp_broker::{Broker, On, Reaction, Rule};
//!
//! let broker = Broker::start()?; // in this process, on a free port
//! let connection = amqp_blocking::connect(broker.uri())?; // or any other client
//! connection.channel()?.queue_declare("orders")?;
//! let publisher = connection.publisher()?;
//!
//! broker.add_rule(Rule::new(On::Publish, Reaction::Reject).times(1));
//! publisher.publish("", "orders", "7 apples").unwrap_err(); // nacked
//! publisher.publish("", "orders", "7 apples")?;
//! assert_eq!(broker.messages("orders")?[0].body, b"7 apples");
//! # connection.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! It keeps everything in memory, and what it says is confirmed is gone with the process. It does not lie otherwise: replies,
//! their order, reply codes and texts are RabbitMQ's, as recorded from RabbitMQ 3.10, 4.0 and 4.3; [`Emulate`] says which.
//! What a test finds out here holds there.
//!
//! - [`Broker`] listens on a port of the loopback interface, on one thread. It answers what is in it ([`Broker::queues`],
//!   [`Broker::messages`] and so on), tells when that has changed ([`Broker::wait_until`]), and takes an operator's wishes
//!   ([`Broker::set_alarm`], [`Broker::close_connections`]).
//! - [`Rule`]s make faults: confirms that are dropped, late or negative, channels and connections that are closed, sockets
//!   that are cut or go silent.
//! - [`Core`] is the broker without I/O, for simulations and for a runtime of one's own: bytes in, bytes out, time from
//!   outside.
//!
//! The feature `tls` lets it speak TLS. The feature `program`, a default, is for the program, and can be left out of
//! `[dev-dependencies]`: `cargo run --release -p amqp-broker -- --port 5672`; with both it
//! speaks TLS by `--certificate` and `--key`.
//!
//! # Faults in one line each
//!
//! ```
//! use std::time::Duration;
//! use amqp_broker::{Alarm, Broker, On, Reaction, Rule};
//!
//! # fn main() -> std::io::Result<()> {
//! let broker = Broker::start()?;
//! // The third publish is never confirmed.
//! broker.add_rule(Rule::new(On::Publish, Reaction::NoConfirm).after(2).times(1));
//! // What is published to `events` is confirmed out of order.
//! broker.add_rule(Rule::new(On::Publish, Reaction::ConfirmWithin(Duration::from_millis(50))).when(|seen| seen.exchange == "events"));
//! // What is published to `slow` is confirmed late.
//! broker.add_rule(Rule::new(On::Publish, Reaction::ConfirmAfter(Duration::from_secs(1))).when(|seen| seen.routing_key == "slow"));
//! // A message that nobody takes, by what is in it.
//! broker.add_rule(Rule::new(On::Publish, Reaction::Reject).when(|seen| seen.body.starts_with(b"poison")));
//! // One declaration fails.
//! let text = "RESOURCE_LOCKED - not now".to_owned();
//! broker.add_rule(Rule::new(On::Method("queue.declare"), Reaction::CloseChannel(405, text)).times(1));
//! // The second ack of `worker` is its last: the connection is cut.
//! broker.add_rule(Rule::new(On::Method("basic.ack"), Reaction::Cut).when(|seen| seen.connection == "worker").after(1).times(1));
//! // Nobody gets an answer before it is too late.
//! broker.add_rule(Rule::new(On::Method("queue.bind"), Reaction::Delay(Duration::from_secs(5))));
//! // The consumers of a queue are cancelled when something is published.
//! broker.add_rule(Rule::new(On::Publish, Reaction::CancelConsumers("orders".to_owned())).times(1));
//! // The publishers are blocked by the tenth message, until somebody asks how many there are.
//! broker.add_rule(Rule::new(On::Publish, Reaction::RaiseAlarm(Alarm::Disk)).after(9).times(1));
//! broker.add_rule(Rule::new(On::Method("queue.declare"), Reaction::EndAlarm(Alarm::Disk)).when(|seen| seen.queue == "orders"));
//! // A worker stalls over a message, and goes on when another takes one.
//! broker.add_rule(Rule::new(On::Publish, Reaction::Stall).when(|seen| seen.connection == "worker" && seen.body == b"stone"));
//! broker.add_rule(Rule::new(On::Method("basic.get"), Reaction::Resume("worker".to_owned())));
//! // Whoever publishes is blocked.
//! broker.set_alarm(Alarm::Memory, true);
//! // An operator closes a client's connection, by its name.
//! broker.close_connections("worker", 320, "maintenance");
//! # Ok(())
//! # }
//! ```
//!
//! # What is not there
//!
//! No persistence, clusters, policies, management API, plugins, or other protocols. How much a stream keeps is counted
//! roughly: messages are not encoded as on RabbitMQ's disk.

mod core;
mod emulate;
mod limits;
mod mechanism;
mod server;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use crate::core::access::Permissions;
pub use crate::core::alarm::Alarm;
pub use crate::core::listing::{
    BindingInfo, ChannelInfo, ConnectionInfo, ConsumerInfo, ExchangeInfo, MessageInfo, QueueInfo, UnackedInfo, texts,
};
pub use crate::core::record::PublishInfo;
pub use crate::core::{Core, NotThere, On, Reaction, Rule, Seen, SessionId};
pub use emulate::Emulate;
pub use limits::Limits;
pub use mechanism::{CertificateName, Mechanism};
pub use server::{Broker, Builder};
