//! What a connection is to be like: where, as whom, with which limits and deadlines.
//!
//! [`Config`] is made from a URI (see [`uri`](crate::uri)) or built by chaining, and is plain data: no socket is opened
//! and no file is read here. The smaller types that it is put together from have defaults of their own. [`ConfigError`]
//! says what [`Config::validate`] found wrong.

mod error;
mod parts;
mod properties;
mod recovery;
#[cfg(feature = "serde")]
mod serde;
mod tls;

use std::time::Duration;

pub use self::error::ConfigError;
pub use self::parts::{Address, Heartbeat, Limits, TcpOptions, Timeouts};
pub use self::recovery::Recovery;
pub use self::tls::{TlsInput, TlsOptions, Verify};
use crate::sasl::{Credentials, Mechanism};
use crate::wire::{EncodeError, FRAME_MIN_SIZE, FieldTable, FieldValue};

/// The configuration of a connection.
///
/// Every field is public, and every field has a setter of its name that takes and returns the configuration:
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_proto::config::{Config, Heartbeat};
///
/// let config = Config::new("broker.example.org")
///     .virtual_host("orders")
///     .credentials("alice", "s3cret")
///     .heartbeat(Heartbeat::seconds(20))
///     .call_timeout(Duration::from_secs(5))
///     .connection_name("order importer");
/// assert_eq!(config.hosts[0].to_string(), "broker.example.org:5672");
/// assert!(config.validate().is_ok());
///
/// let config = Config::from_uri("amqp://alice:s3cret@broker.example.org/orders?heartbeat=20")?;
/// assert_eq!(config.virtual_host, "orders");
/// # Ok::<(), amqp_proto::uri::UriError>(())
/// ```
///
#[cfg_attr(feature = "serde", doc = include_str!("serde/keys.md"))]
/// Nothing is checked while it is built; [`validate`](Config::validate) does that before a connection is made.
/// `Debug` shows the password as `***`, and there is no `Display`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where brokers listen, in the order in which they are tried. Default: `localhost:5672`.
    pub hosts: Vec<Address>,
    /// Whether each attempt to connect tries the hosts in an order of its own, so that many clients spread over them.
    /// Default: false.
    pub shuffle_hosts: bool,
    /// How to speak TLS; `None`, the default, is TCP in clear.
    pub tls: Option<TlsOptions>,
    /// The virtual host, at most 255 bytes. Default: `/`.
    pub virtual_host: String,
    /// Who connects. Default: `guest`, `guest`, whom brokers let in from the loopback interface only.
    pub credentials: Credentials,
    /// The authentication mechanisms to use, the most wanted first. Default: PLAIN, then AMQPLAIN.
    pub mechanisms: Vec<Mechanism>,
    /// The locale of the broker's messages. Default: `en_US`, the one that every broker has.
    pub locale: String,
    /// A name for people who look at the broker's list of connections. Default: none.
    pub connection_name: Option<String>,
    /// More client properties; they win over the library's own (see [`Config::start_properties`]). Default: none.
    pub client_properties: FieldTable,
    /// The most channels wanted on the connection; 0 is no limit of this side. The broker may lower it. Default: 2047.
    pub channel_max: u16,
    /// The largest frame wanted, in bytes, its 8 bytes of framing included: at least 4096; 0 is no limit of this side.
    /// The broker may lower it. Default: 131,072.
    pub frame_max: u32,
    /// The heartbeat interval wanted. Default: 60 s.
    pub heartbeat: Heartbeat,
    /// The deadlines.
    pub timeouts: Timeouts,
    /// The bounds of what is held in memory.
    pub limits: Limits,
    /// How many unsettled deliveries a consumer gets at most, where it does not say otherwise. 0 is no bound. Default:
    /// 100.
    pub prefetch: u16,
    /// The socket's options.
    pub tcp: TcpOptions,
    /// How the connection comes back when it is lost: see [`Recovery`] for the defaults. `None`: it does not.
    pub recovery: Option<Recovery>,
    /// The first client property that could not be put among them.
    bad_property: Option<EncodeError>,
    allow_unverified: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: vec![Address::default()],
            shuffle_hosts: false,
            tls: None,
            virtual_host: "/".to_owned(),
            credentials: Credentials::default(),
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain],
            locale: "en_US".to_owned(),
            connection_name: None,
            client_properties: FieldTable::new(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: Heartbeat::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            prefetch: 100,
            tcp: TcpOptions::default(),
            recovery: Some(Recovery::default()),
            bad_property: None,
            allow_unverified: false,
        }
    }
}

impl Config {
    /// The defaults, with this host on port 5672. An IPv6 address is given without brackets.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self { hosts: vec![Address::new(host, Address::PORT)], ..Self::default() }
    }

    /// One host in place of those configured, on the port of the first of them.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        let port = self.hosts.first().map_or(Address::PORT, |address| address.port);
        self.hosts = vec![Address::new(host, port)];
        self
    }

    /// This port for every host configured.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        for address in &mut self.hosts {
            address.port = port;
        }
        self
    }

    /// These hosts in place of those configured. An `Address` is made from `(host, port)` too.
    #[must_use]
    pub fn hosts<A: Into<Address>>(mut self, hosts: impl IntoIterator<Item = A>) -> Self {
        self.hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`shuffle_hosts`](Config#structfield.shuffle_hosts).
    #[must_use]
    pub fn shuffle_hosts(mut self, shuffle: bool) -> Self {
        self.shuffle_hosts = shuffle;
        self
    }

    /// Sets [`tls`](Config#structfield.tls): TLS with these options. Hosts on port 5672 move to 5671; whoever speaks TLS
    /// on 5672 sets the port afterwards.
    ///
    /// ```
    /// # use amqp_proto::config::{Config, TlsOptions};
    ///
    /// let config = Config::new("broker").tls(TlsOptions::default().ca_file("/etc/ssl/our-ca.pem"));
    /// assert_eq!(config.hosts[0].port, 5671);
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        for address in self.hosts.iter_mut().filter(|address| address.port == Address::PORT) {
            address.port = Address::TLS_PORT;
        }
        self.tls = Some(tls);
        self
    }

    /// Sets [`virtual_host`](Config#structfield.virtual_host).
    #[must_use]
    pub fn virtual_host(mut self, virtual_host: impl Into<String>) -> Self {
        self.virtual_host = virtual_host.into();
        self
    }

    /// Sets [`credentials`](Config#structfield.credentials).
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Credentials::new(user, password);
        self
    }

    /// Only this authentication mechanism.
    #[must_use]
    pub fn mechanism(self, mechanism: Mechanism) -> Self {
        self.mechanisms([mechanism])
    }

    /// Sets [`mechanisms`](Config#structfield.mechanisms).
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// Sets [`locale`](Config#structfield.locale).
    #[must_use]
    pub fn locale(mut self, locale: impl Into<String>) -> Self {
        self.locale = locale.into();
        self
    }

    /// Sets [`connection_name`](Config#structfield.connection_name).
    #[must_use]
    pub fn connection_name(mut self, name: impl Into<String>) -> Self {
        self.connection_name = Some(name.into());
        self
    }

    /// Adds one client property, or replaces it. One that cannot be sent, because its key is longer than 255 bytes for
    /// example, comes out of [`validate`](Self::validate), and so of connecting.
    #[must_use]
    pub fn client_property(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        if let Err(error) = self.client_properties.insert(key, value) {
            self.bad_property.get_or_insert(error);
        }
        self
    }

    /// Sets [`client_properties`](Config#structfield.client_properties).
    #[must_use]
    pub fn client_properties(mut self, properties: FieldTable) -> Self {
        self.client_properties = properties;
        self.bad_property = None;
        self
    }

    /// Sets [`channel_max`](Config#structfield.channel_max).
    #[must_use]
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.channel_max = channels;
        self
    }

    /// Sets [`frame_max`](Config#structfield.frame_max), in bytes.
    #[must_use]
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.frame_max = bytes;
        self
    }

    /// Sets [`heartbeat`](Config#structfield.heartbeat).
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets all [`timeouts`](Config#structfield.timeouts).
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets [`Timeouts::connect`]: how long finding the addresses of a host may take, and how long connecting to each.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets [`Timeouts::handshake`].
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// Sets [`Timeouts::call`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.call = timeout;
        self
    }

    /// Sets [`Timeouts::confirm`].
    #[must_use]
    pub fn confirm_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.confirm = timeout;
        self
    }

    /// Sets [`Timeouts::close`].
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.close = timeout;
        self
    }

    /// Sets [`Timeouts::room`].
    #[must_use]
    pub fn room_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.room = timeout;
        self
    }

    /// Sets all [`limits`](Config#structfield.limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`Limits::max_body`], in bytes.
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.limits.max_body = bytes;
        self
    }

    /// Sets [`Limits::publish_buffer`], in bytes.
    #[must_use]
    pub fn publish_buffer(mut self, bytes: usize) -> Self {
        self.limits.publish_buffer = bytes;
        self
    }

    /// Sets [`Limits::receive_buffer`], in bytes.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.limits.receive_buffer = bytes;
        self
    }

    /// Sets [`prefetch`](Config#structfield.prefetch).
    #[must_use]
    pub fn prefetch(mut self, deliveries: u16) -> Self {
        self.prefetch = deliveries;
        self
    }

    /// Sets all [`tcp`](Config#structfield.tcp) options.
    #[must_use]
    pub fn tcp(mut self, tcp: TcpOptions) -> Self {
        self.tcp = tcp;
        self
    }

    /// Sets [`TcpOptions::nodelay`].
    #[must_use]
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.tcp.nodelay = nodelay;
        self
    }

    /// Sets [`recovery`](Config#structfield.recovery).
    #[must_use]
    pub fn recovery(mut self, recovery: impl Into<Option<Recovery>>) -> Self {
        self.recovery = recovery.into();
        self
    }

    /// When the connection is lost it has ended, and so have its channels and consumers: for programs that come back in a way
    /// of their own. [`recovery`](Config#structfield.recovery) is on by default.
    #[must_use]
    pub fn no_recovery(self) -> Self {
        self.recovery(None)
    }

    /// Allows [`Verify::None`], that is `verify=verify_none` in a URI, and by that an attacker between this side and
    /// the broker. It does not by itself switch the verification off.
    ///
    /// ```
    /// # use amqp_proto::config::Config;
    ///
    /// let uri = "amqps://localhost?verify=verify_none";
    /// assert!(Config::from_uri(uri).is_err());
    ///
    /// let config = Config::default().dangerous_allow_unverified().with_uri(uri)?;
    /// assert!(config.accepts_any_certificate());
    /// # Ok::<(), amqp_proto::uri::UriError>(())
    /// ```
    #[must_use]
    pub fn dangerous_allow_unverified(mut self) -> Self {
        self.allow_unverified = true;
        self
    }

    /// Whether [`Verify::None`] was allowed by [`Config::dangerous_allow_unverified`].
    #[must_use]
    pub fn allows_unverified(&self) -> bool {
        self.allow_unverified
    }

    /// Whether the broker's certificate is to be accepted unseen: [`Verify::None`] was both asked for and allowed.
    /// This is what a TLS layer asks, so that a field set by accident verifies all the same.
    #[must_use]
    pub fn accepts_any_certificate(&self) -> bool {
        self.allow_unverified && self.tls.as_ref().is_some_and(|tls| tls.verify == Verify::None)
    }

    /// Checks what no type can: to be called before a connection is made.
    ///
    /// # Errors
    ///
    /// The first [`ConfigError`] that is found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.hosts.is_empty() {
            return Err(ConfigError::NoHost);
        }
        if self.hosts.iter().any(|address| address.host.is_empty()) {
            return Err(ConfigError::EmptyHost);
        }
        for (field, value) in [("virtual_host", &self.virtual_host), ("locale", &self.locale)] {
            if value.len() > usize::from(u8::MAX) {
                return Err(ConfigError::TooLong { field, length: value.len() });
            }
        }
        let properties = self.client_properties.as_ref().encodable_size().err();
        if let Some(error) = self.bad_property.clone().or(properties) {
            return Err(ConfigError::ClientProperty(error));
        }
        if self.mechanisms.is_empty() {
            return Err(ConfigError::NoMechanism);
        }
        let has_nul = self.credentials.user().contains('\0') || self.credentials.password().contains('\0');
        if has_nul && self.mechanisms.contains(&Mechanism::Plain) {
            return Err(ConfigError::NulInCredentials);
        }
        if !is_frame_max(self.frame_max) {
            return Err(ConfigError::FrameMax(self.frame_max));
        }
        match &self.tls {
            Some(tls) => tls.validate(self.allow_unverified),
            None => Ok(()),
        }
    }
}

/// 0-9-1 §4.2.3: nothing below 4096 can be negotiated; 0 is no limit.
pub(crate) fn is_frame_max(bytes: u32) -> bool {
    bytes == 0 || bytes >= FRAME_MIN_SIZE
}
