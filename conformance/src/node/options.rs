//! What a test may want of its node beyond the defaults.

use std::net::Ipv4Addr;

use super::Install;
use super::place::token;

/// How often a node looks for acks that are overdue.
const TICKS: (&str, &str) = ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit channel_tick_interval 500");

/// The plugin for the mechanism EXTERNAL, which `amqp-broker` knows by itself.
const EXTERNAL: &str = "rabbitmq_auth_mechanism_ssl";

/// How a node is to be started. `Options::default()` is a plain broker with the user `guest` and no plugins.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) install: Install,
    pub(super) config: Vec<String>,
    pub(super) plugins: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) distribution: Distribution,
}

/// How Erlang nodes reach this one. Those of one cluster differ in the address and share the rest.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    pub(super) host: Ipv4Addr,
    /// A free one where there is none.
    pub(super) port: Option<u16>,
    pub(super) cookie: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            install: Install::default(),
            config: Vec::new(),
            plugins: Vec::new(),
            env: Vec::new(),
            distribution: Distribution { host: Ipv4Addr::LOCALHOST, port: None, cookie: token() },
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the RabbitMQ of another installation.
    #[must_use]
    pub fn install(mut self, install: Install) -> Self {
        self.install = install;
        self
    }

    /// Adds a line to the node's `rabbitmq.conf`, such as `max_message_size = 67108864`. Of two for one key the later
    /// one counts, also against the harness's own.
    #[must_use]
    pub fn config(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }

    /// The lines for `rabbitmq.conf`, in order.
    pub(crate) fn config_lines(&self) -> impl Iterator<Item = &str> {
        self.config.iter().map(String::as_str)
    }

    /// How long an ack may take. A node looks for those that are overdue twice a second then, and not each minute.
    #[must_use]
    pub fn consumer_timeout(self, millis: u32) -> Self {
        let (variable, ticks) = TICKS;
        self.config(format!("consumer_timeout = {millis}")).env(variable, ticks)
    }

    /// Whether there is what `amqp-broker` has nothing like.
    pub(crate) fn needs_rabbitmq(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin != EXTERNAL)
            || self.env.iter().any(|(name, value)| (&name[..], &value[..]) != TICKS)
    }

    /// Enables a plugin, such as `rabbitmq_management`. Its listeners are for a `config` line to keep on loopback.
    #[must_use]
    pub fn plugin(mut self, name: impl Into<String>) -> Self {
        self.plugins.push(name.into());
        self
    }

    /// Sets an environment variable of the node. It sees none of the test's own.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(super) fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }
}
