//! A private RabbitMQ node: started for a test, reachable on loopback only, gone with the test.
//!
//! - [`Install`] says which RabbitMQ, [`Options`] how it is to be configured.
//! - `place` is the node's folder; nothing of the system's configuration, data or cookies is read or written.
//! - `process` starts, stops, freezes and kills the Erlang virtual machine, which is this process's direct child.
//! - `control` and its Erlang half `control.erl` are the line to the running node. They make management calls that
//!   take a millisecond (`manage`, `listing`), and they end the node if this process dies in any way at all.
//! - `tls` adds listeners for AMQP over TLS.
//! - `log` reads what the node wrote.
//! - [`Cluster`] is several nodes that know each other.
//!
//! No epmd is needed: a node's name is its loopback address, its distribution port is chosen here, and
//! `-start_epmd false -erl_epmd_port` tell Erlang so. Hence nodes of one name live side by side, and there is no
//! daemon that somebody has to end.

mod cluster;
mod control;
mod install;
mod listing;
mod log;
mod manage;
mod options;
mod place;
mod port;
mod process;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use cluster::Cluster;
pub use install::Install;
pub use listing::{Binding, Channel, Connection, Exchange, Queue};
pub use log::LogMark;
pub use options::Options;
pub use tls::ClientCertificates;

use crate::{Failure, Result};
use control::Switchboard;
use place::Place;
use process::Running;

/// A port of 127.0.0.1 on which nothing listens.
pub(crate) fn free_port() -> Result<u16> {
    port::free(Ipv4Addr::LOCALHOST)
}

/// A management call that takes longer than this is a failure.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a start is tried again because somebody took the port between the choice and its use.
const START_ATTEMPTS: usize = 3;

/// A private RabbitMQ node with the user `guest` / `guest`.
///
/// Dropping it kills it and removes its folder. If this process is killed, the node notices and does both itself.
/// All methods take `&self`, so that cases can share one in an `Arc`; calls to the same node take turns.
#[derive(Debug)]
pub struct Node {
    // Before `place`, so that the process is gone when its folder goes.
    running: Mutex<Option<Running>>,
    switchboard: Switchboard,
    options: Options,
    port: u16,
    distribution_port: u16,
    /// How long the log was when the node was last ready.
    ready: AtomicUsize,
    place: Place,
}

impl Node {
    /// Starts a node and waits until it accepts AMQP connections.
    ///
    /// # Errors
    /// If RabbitMQ is not installed or does not come up; the message ends with what it printed and logged.
    pub fn start(options: Options) -> Result<Self> {
        options.install.check()?;
        for _ in 1..START_ATTEMPTS {
            match Self::try_start(options.clone()) {
                Err(failure) if failure.to_string().contains("eaddrinuse") => {}
                result => return result,
            }
        }
        Self::try_start(options)
    }

    fn try_start(options: Options) -> Result<Self> {
        let port = port::free(Ipv4Addr::LOCALHOST)?;
        let distribution_port = match options.distribution.port {
            Some(port) => port,
            None => port::free(options.distribution.host)?,
        };
        let place = Place::new(&options, port)?;
        let switchboard = Switchboard::new()?;
        let (running, ready) = (Mutex::new(None), AtomicUsize::new(0));
        let node = Self { running, switchboard, options, port, distribution_port, ready, place };
        node.boot()?;
        Ok(node)
    }

    /// The port of its AMQP listener on 127.0.0.1. It stays the same when the node is restarted.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its AMQP listener.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URI of its default virtual host, for `guest`.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    /// Its Erlang node name.
    pub fn name(&self) -> String {
        format!("rabbit@{}", self.options.distribution.host)
    }

    /// The version of RabbitMQ, such as `3.10.8`.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn version(&self) -> Result<String> {
        self.evaluate("list_to_binary(rabbit_misc:version())")
    }

    /// Has the node evaluate Erlang expressions, separated by commas and without the final full stop, and returns
    /// the last one's value: a binary as it is, any other term as Erlang prints it.
    ///
    /// The other methods are made of this. Two functions are bound for them: `Rows` and `Arguments`.
    ///
    /// # Errors
    /// If the node is not running, the expressions fail, or there is no answer within a minute.
    pub fn evaluate(&self, expressions: &str) -> Result<String> {
        match self.running().as_mut() {
            Some(running) => running.line.evaluate(expressions, CALL_TIMEOUT),
            None => Err(Failure::new("the node is not running")),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
