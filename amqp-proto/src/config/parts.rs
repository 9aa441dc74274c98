//! The smaller types that a [`Config`](super::Config) is put together from. Each has defaults that are good as they
//! are.

use std::fmt;
use std::time::Duration;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, or an IPv4 or IPv6 address. An IPv6 address stands without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// The port of AMQP in clear.
    pub const PORT: u16 = 5672;
    /// The port of AMQP over TLS.
    pub const TLS_PORT: u16 = 5671;

    /// An address. An IPv6 address is given without brackets.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl Default for Address {
    fn default() -> Self {
        Self::new("localhost", Self::PORT)
    }
}

impl<H: Into<String>> From<(H, u16)> for Address {
    fn from((host, port): (H, u16)) -> Self {
        Self::new(host, port)
    }
}

impl fmt::Display for Address {
    /// `host:port`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The heartbeat interval that a client asks for. What is used is negotiated with the broker: the smaller wish, or the
/// client's if the broker wishes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heartbeat {
    /// This interval. The wire knows whole seconds from 1 to 65,535: see [`Heartbeat::as_secs`].
    Interval(Duration),
    /// No heartbeats, whatever the broker wishes.
    Disabled,
}

impl Heartbeat {
    /// This many seconds; 0 is [`Heartbeat::Disabled`].
    #[must_use]
    pub const fn seconds(seconds: u16) -> Self {
        match seconds {
            0 => Self::Disabled,
            _ => Self::Interval(Duration::from_secs(seconds as u64)),
        }
    }

    /// The interval in seconds as it goes over the wire: rounded up to a whole second, at least 1 and at most 65,535;
    /// 0 for [`Heartbeat::Disabled`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use amqp_proto::config::Heartbeat;
    ///
    /// assert_eq!(Heartbeat::Interval(Duration::from_millis(1500)).as_secs(), 2);
    /// assert_eq!(Heartbeat::Interval(Duration::ZERO).as_secs(), 1);
    /// assert_eq!(Heartbeat::Disabled.as_secs(), 0);
    /// ```
    #[must_use]
    pub fn as_secs(self) -> u16 {
        match self {
            Self::Disabled => 0,
            Self::Interval(interval) => {
                let whole = interval.as_secs().saturating_add(u64::from(interval.subsec_nanos() > 0));
                u16::try_from(whole).unwrap_or(u16::MAX).max(1)
            }
        }
    }
}

impl Default for Heartbeat {
    /// 60 s.
    fn default() -> Self {
        Self::seconds(60)
    }
}

/// The deadlines. Each is counted from when what it bounds begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Finding the addresses of a host, and connecting a socket to each of them: this long every time. Default: 30 s.
    pub connect: Duration,
    /// The whole handshake, that of TLS included, until open-ok. Default: 10 s.
    pub handshake: Duration,
    /// A call's reply, that of `queue.declare` for example. Default: 30 s.
    pub call: Duration,
    /// The confirm of a publish. Default: 60 s.
    pub confirm: Duration,
    /// The answer to closing the connection. Default: 5 s.
    pub close: Duration,
    /// Room to publish, while the broker does not read. Default: 30 s.
    pub room: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            call: Duration::from_secs(30),
            confirm: Duration::from_secs(60),
            close: Duration::from_secs(5),
            room: Duration::from_secs(30),
        }
    }
}

/// The bounds of what a connection holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body accepted from the broker, in bytes. A larger one is skipped, and is an error of that delivery
    /// alone. Default: 64 MiB.
    pub max_body: u64,
    /// How many bytes may wait to be written before publishing waits for room. Default: 1 MiB.
    pub publish_buffer: usize,
    /// How many bytes of deliveries that nothing else bounds (no acks, or prefetch 0) are held before reading from the
    /// socket pauses. Default: 4 MiB.
    pub receive_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 64 << 20, publish_buffer: 1 << 20, receive_buffer: 4 << 20 }
    }
}

/// The socket's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// `TCP_NODELAY`: small writes leave at once. Default: true.
    pub nodelay: bool,
    /// `SO_KEEPALIVE`, with the first probe after this long without traffic. Default: off, as heartbeats do the same
    /// and better.
    pub keepalive: Option<Duration>,
    /// `SO_SNDBUF` in bytes. Default: the system's.
    pub send_buffer_size: Option<usize>,
    /// `SO_RCVBUF` in bytes. Default: the system's.
    pub receive_buffer_size: Option<usize>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: None, send_buffer_size: None, receive_buffer_size: None }
    }
}
