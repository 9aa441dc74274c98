//! An AMQP 0-9-1 client for plain threads: for RabbitMQ, and whatever else speaks that protocol.
//!
//! ```no_run
//! use amqp_blocking::{Exchange, Message, Queue};
//!
//! fn main() -> Result<(), amqp_blocking::Error> {
//!     let connection = amqp_blocking::connect("amqp://localhost")?;
//!     let channel = connection.channel()?;
//!
//!     channel.exchange_declare(Exchange::topic("events"))?;
//!     channel.queue_declare("hello")?; // durable, classic
//!     channel.queue_declare(Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5))?;
//!     channel.queue_bind("orders", "events", "order.*")?;
//!
//!     channel.publish("events", "order.created", "hello")?; // in the write buffer; waits for room
//!     let publisher = connection.publisher()?; // a channel in confirm mode
//!     publisher.publish("events", "order.created", Message::new("hello").header("trace", 17))?;
//!     let confirm = publisher.send("events", "order.created", "hello")?;
//!     confirm.wait()?; // pipelined
//!
//!     let mut consumer = channel.consume("orders")?; // an Iterator
//!     while let Some(delivery) = consumer.next() {
//!         let delivery = delivery?;
//!         println!("{:?}", delivery.body());
//!         delivery.ack()?; // queued, never blocks, consumes the delivery
//!     }
//!     connection.close()
//! }
//! ```
//!
//! - A [`Connection`] carries [`Channel`]s, [`Publisher`]s and [`Consumer`]s. The handles are `Clone` and can be used
//!   from many threads at once, but for the iterators: [`Consumer`], [`Returns`] and [`Events`].
//! - A [`Publisher`] confirms each publish by a [`Confirm`], a batch by one ([`Publisher::publish_batch`]), or all of them by
//!   [`Publisher::wait_for_confirms`]; [`Publisher::window`] limits how many are under way.
//! - A [`Delivery`] can be answered ([`Delivery::reply`]) and sent on ([`Delivery::republish`], [`Message::from`]) before it
//!   is settled. Bodies are bytes, or values by a [`Codec`]; the features `json` and `gzip` bring two encodings.
//! - A [`Delivery`] that is dropped without being settled is put back into its queue at once, and comes again.
//! - A call blocks the thread that makes it, until the reply has come; other threads go on meanwhile.
//! - Every wait for the broker's answer has a deadline: [`Connection`] has the table. The next delivery, the next
//!   returned message and the end of the connection may never come, and have none; [`Consumer::recv_timeout`] has one.
//! - Every [`Error`] says what happened, who erred, and whether trying again can help.
//! - The last handle that is dropped waits up to 5 s until what was accepted has been sent and the connection is closed.
//!
//! One thread per connection reads, writes and keeps the heartbeats, also while nobody calls; it is started by
//! [`connect`], and ends with the connection. There is no async runtime below, and none is needed. What has to be done at
//! the same time is done by as many threads; a call waits without using the processor.
//!
//! The handles' methods are those of the adapters for async runtimes, without `async` and `.await`.
//!
//! # TLS
//!
//! By the feature `tls`, a default: `amqps://` and [`Config::tls`] speak TLS by rustls, with ring for its cryptography. The
//! broker's certificate is verified, for the host's name, against the platform's authorities or your own. Without the
//! feature no C compiler is needed, and `amqps://` is an error.
//!
//! ```no_run
//! # fn example() -> Result<(), amqp_blocking::Error> {
//! use amqp_blocking::{Config, TlsOptions};
//!
//! let by_uri = amqp_blocking::connect("amqps://broker.example.org?cacertfile=/etc/amqp/ca.pem")?;
//! let tls = TlsOptions::default().ca_file("/etc/amqp/ca.pem").client_certificate("client.pem", "client.key");
//! let with_a_client_certificate = amqp_blocking::connect(Config::new("broker.example.org").tls(tls))?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are read when a connection is made. [`ConnectOptions`] take another provider of cryptography, or a whole
//! configuration of rustls. Verification is left out by [`Config::dangerous_allow_unverified`] only.

mod above;
mod bodies;
mod handles;
mod io;
mod park;
mod reactor;
mod threads;

use std::future::{Ready, ready};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;

#[doc(inline)]
pub use amqp_api::{
    Acker, Address, Batch, BatchFailure, BatchOutcome, Binding, Body, BodyReader, BoxError, Cancel, CloseReason, Codec,
    CodecError, Config, ConfigError, ConnectOptions, ConnectionEvent, Consume, Content, Credentials,
    DeadLetterStrategy, Decode, Delivery, DeliveryBuilder, DeliveryRecord, DeliveryTag, Elapsed, Encode, Error,
    ErrorKind, Exchange, ExchangeDelete, FieldTable, FieldValue, Get, Handled, Handling, Heartbeat, IntoConnectOptions,
    IntoSettlement, LeaderLocator, Limits, Mechanism, Message, OnError, Origin, Outcome, Overflow, PoolsConfig,
    PoolsConfigError, Properties, PropertiesRef, ProtocolError, ProvideCredentials, PublishRecord, Qos, Queue,
    QueueDeclared, QueueDelete, QueueMode, QueuePurge, Recorded, Recovery, ReplyCode, Resolve, Retry, Returned,
    SaslError, SaslExchange, SaslMechanism, Settled, Settlement, Stats, StreamOffset, TableRef, Tag, TcpOptions,
    TimeoutReason, Timeouts, TlsFailure, TlsInput, TlsOptions, Tuning, Unconfirmed, ValueRef, Verify, proto, table,
};
#[cfg(feature = "json")]
#[doc(inline)]
pub use amqp_api::{Json, Task, Work};

#[cfg(feature = "tls")]
pub use amqp_api::rustls;

use amqp_api::driver;

pub use self::above::Pooled;
#[cfg(feature = "json")]
pub use self::handles::TaskQueue;
use self::handles::Wrap;
pub use self::handles::{
    BatchConfirm, BodyStream, BodyWriter, Channel, Confirm, Connection, Consumer, Events, Listener, Pool, Pools,
    PoolsSetup, Publisher, Returns, RpcClient, StreamedConsumer, StreamedDelivery, Subscription,
};
use self::park::block_on;
use self::reactor::Reactor;
use self::threads::Threads;

/// Connects to a broker: by a URI, a [`Config`], or [`ConnectOptions`].
///
/// The hosts are tried in their order, and each address of a host for up to 30 s; a broker that refuses ends it.
///
/// ```no_run
/// # fn example() -> Result<(), amqp_blocking::Error> {
/// use amqp_blocking::Config;
///
/// let connection = amqp_blocking::connect("amqp://guest:guest@localhost:5672/%2f?heartbeat=20")?;
/// let other = amqp_blocking::connect(Config::new("localhost").connection_name("importer"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A wrong URI or configuration; a host that cannot be found or reached, or is silent; the broker's refusal:
/// [`ErrorKind::AuthenticationFailed`] for wrong credentials, [`ErrorKind::ConnectionClosed`] with 530 for a missing
/// virtual host, [`ErrorKind::Tls`] if there is no TLS to be had with it. Nothing is tried again
/// here, unless [`Recovery::retry_first_connect`] is set; a connection that is lost later [comes back](Connection#recovery).
pub fn connect(options: impl IntoConnectOptions) -> Result<Connection, Error> {
    let options = options.into_connect_options()?;
    let threads = Arc::new(Threads::new(options.config().timeouts.connect));
    Wrap::wrap(block_on(driver::connect(threads, options)))
}

/// A pool of at most `size` connections. It connects to nothing before somebody needs one.
///
/// ```no_run
/// # fn example() -> Result<(), amqp_blocking::Error> {
/// let pool = amqp_blocking::pool("amqp://localhost", 5)?;
/// let connection = pool.get()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A wrong URI or configuration, or a size of 0.
pub fn pool(options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    Wrap::wrap(driver::pool(Arc::new(Threads::default()), options, size))
}

/// Pools by name, from one configuration: see [`PoolsSetup`].
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_blocking::PoolsConfig;
///
/// // AMQP_PUBLISH_URL, AMQP_PUBLISH_POOL_SIZE, AMQP_LISTEN_URL …
/// let config = PoolsConfig::from_vars(std::env::vars())?;
/// let pools = amqp_blocking::pools(config)?.start()?;
/// let connection = pools.get("publish")?.get()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A configuration that cannot be used.
pub fn pools(config: PoolsConfig) -> Result<PoolsSetup, Error> {
    Wrap::wrap(driver::pools(Arc::new(Threads::default()), config))
}

/// A task queue, by the feature `json`: see [`TaskQueue`]. It connects now.
///
/// ```no_run
/// # fn example() -> Result<(), amqp_blocking::Error> {
/// let tasks = amqp_blocking::task_queue("amqp://localhost")?;
/// tasks.submit("mail", &serde_json::json!({ "to": "alice" }))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ErrorKind::TaskQueueConnect`] if there is no connection to be had; a wrong URI or configuration.
#[cfg(feature = "json")]
pub fn task_queue(options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    Wrap::wrap(block_on(driver::task_queue(Arc::new(Threads::default()), options)))
}

/// Makes a connection over a socket that is connected already: TCP, or a Unix socket. Of the configuration, the hosts,
/// the TLS and TCP options and the connect time-out are not used: the socket is taken as it is, but does not block from
/// now on.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = std::net::TcpStream::connect("localhost:5672")?;
/// let connection = amqp_blocking::connect_with(stream, "amqp://guest:guest@localhost")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`connect`], but for those of finding and reaching a host.
pub fn connect_with(socket: impl Into<Socket>, options: impl IntoConnectOptions) -> Result<Connection, Error> {
    let (socket, options) = (socket.into(), options.into_connect_options()?);
    let threads = Arc::new(Threads::new(options.config().timeouts.connect));
    Wrap::wrap(block_on(async {
        let io = threads.start(move || socket.register()).await;
        let io =
            io.map_err(|error| Error::new(ErrorKind::ConnectionLost { kind: error.kind(), text: error.to_string() }))?;
        driver::attach(threads, io, options).await
    }))
}

/// A hook for [`ConnectOptions::on_connect`]: a function that blocks as everything here does. It runs on a thread of its own.
///
/// ```no_run
/// # fn example() -> Result<(), amqp_blocking::Error> {
/// use amqp_blocking::{Config, ConnectOptions, Exchange};
///
/// let options = ConnectOptions::new(Config::new("localhost")).on_connect(amqp_blocking::hook(|connection| {
///     connection.channel()?.exchange_declare(Exchange::topic("events"))
/// }));
/// let connection = amqp_blocking::connect(options)?;
/// # Ok(())
/// # }
/// ```
pub fn hook<F>(hook: F) -> impl Fn(amqp_api::Connection) -> Ready<Result<(), Error>> + Send + Sync + 'static
where
    F: Fn(&Connection) -> Result<(), Error> + Send + Sync + 'static,
{
    move |connection| ready(hook(&Connection::wrap(connection)))
}

/// A socket that is connected already, for [`connect_with`]; made by `into` from one of the standard library's.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// A TCP stream.
    Tcp(TcpStream),
    /// A Unix stream.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl Socket {
    /// A transport, and what drives it.
    fn register(self) -> std::io::Result<(Reactor, Box<dyn driver::Io>)> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                Reactor::new(mio::net::TcpStream::from_std(stream))
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Reactor::new(mio::net::UnixStream::from_std(stream))
            }
        }
    }
}
