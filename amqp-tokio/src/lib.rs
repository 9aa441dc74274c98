//! An AMQP 0-9-1 client for tokio: for RabbitMQ, and whatever else speaks that protocol.
//!
//! ```no_run
//! use amqp_tokio::{Exchange, Message, Queue};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), amqp_tokio::Error> {
//!     let connection = amqp_tokio::connect("amqp://localhost").await?;
//!     let channel = connection.channel().await?;
//!
//!     channel.exchange_declare(Exchange::topic("events")).await?;
//!     channel.queue_declare("hello").await?; // durable, classic
//!     channel.queue_declare(Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5)).await?;
//!     channel.queue_bind("orders", "events", "order.*").await?;
//!
//!     channel.publish("events", "order.created", "hello").await?; // in the write buffer; waits for room
//!     let publisher = connection.publisher().await?; // a channel in confirm mode
//!     publisher.publish("events", "order.created", Message::new("hello").header("trace", 17)).await?;
//!     let confirm = publisher.send("events", "order.created", "hello").await?;
//!     confirm.await?; // pipelined
//!
//!     let mut consumer = channel.consume("orders").await?; // a Stream
//!     while let Some(delivery) = consumer.next().await {
//!         let delivery = delivery?;
//!         println!("{:?}", delivery.body());
//!         delivery.ack()?; // queued, never blocks, consumes the delivery
//!     }
//!     connection.close().await
//! }
//! ```
//!
//! - A [`Connection`] carries [`Channel`]s, [`Publisher`]s and [`Consumer`]s. The handles are `Clone` and can be used
//!   from many tasks, but for the streams: [`Consumer`], [`Returns`] and [`Events`].
//! - Close the connection before the program ends: what was published last may still be on its way.
//! - A [`Publisher`] confirms each publish by a [`Confirm`], a batch by one ([`Publisher::publish_batch`]), or all of them by
//!   [`Publisher::wait_for_confirms`]; [`Publisher::window`] limits how many are under way.
//! - A [`Delivery`] can be answered ([`Delivery::reply`]) and sent on ([`Delivery::republish`], [`Message::from`]) before it
//!   is settled. Bodies are bytes, or values by a [`Codec`]; the features `json` and `gzip` bring two encodings.
//! - A [`Delivery`] that is dropped without being settled is put back into its queue at once, and comes again.
//! - Every request is queued when its method is called; the [`Call`] that is returned awaits the reply.
//! - Every wait for the broker's answer has a deadline: [`Connection`] has the table. The next delivery, the next
//!   returned message and the end of the connection may never come, and have none.
//! - Every future can be dropped: its documentation says under "Cancel safety" what that means.
//! - Every [`Error`] says what happened, who erred, and whether trying again can help.
//!
//! One task per connection reads, writes and keeps the heartbeats; it is spawned on the runtime in which [`connect`] is
//! called, be it of the current-thread or of the multi-thread flavor, and ends with the connection. The runtime needs
//! its I/O and time drivers enabled.
//!
//! # TLS
//!
//! By the feature `tls`, a default: `amqps://` and [`Config::tls`] speak TLS by rustls, with ring for its cryptography. The
//! broker's certificate is verified, for the host's name, against the platform's authorities or your own. Without the
//! feature no C compiler is needed, and `amqps://` is an error.
//!
//! ```no_run
//! # async fn example() -> Result<(), amqp_tokio::Error> {
//! use amqp_tokio::{Config, TlsOptions};
//!
//! let by_uri = amqp_tokio::connect("amqps://broker.example.org?cacertfile=/etc/amqp/ca.pem").await?;
//! let tls = TlsOptions::default().ca_file("/etc/amqp/ca.pem").client_certificate("client.pem", "client.key");
//! let with_a_client_certificate = amqp_tokio::connect(Config::new("broker.example.org").tls(tls)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are read when a connection is made. [`ConnectOptions`] take another provider of cryptography, or a whole
//! configuration of rustls. Verification is left out by [`Config::dangerous_allow_unverified`] only.

mod io;
mod runtime;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

#[doc(inline)]
pub use amqp_api::*;

// Those who write an adapter find it in amqp-api; those who use this one need nothing from it.
#[expect(hidden_glob_reexports, reason = "it is not to be re-exported")]
use amqp_api::driver;

use self::io::Stream;
use self::runtime::Tokio;

/// Connects to a broker: by a URI, a [`Config`], or [`ConnectOptions`].
///
/// The hosts are tried in their order, and each address of a host for up to 30 s; a broker that refuses ends it.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_tokio::Error> {
/// use amqp_tokio::Config;
///
/// let connection = amqp_tokio::connect("amqp://guest:guest@localhost:5672/%2f?heartbeat=20").await?;
/// let other = amqp_tokio::connect(Config::new("localhost").connection_name("importer")).await?;
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
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
pub async fn connect(options: impl IntoConnectOptions) -> Result<Connection, Error> {
    let options = options.into_connect_options()?;
    driver::connect(Arc::new(Tokio::current()?), options).await
}

/// A pool of at most `size` connections. It connects to nothing before somebody needs one.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_tokio::Error> {
/// let pool = amqp_tokio::pool("amqp://localhost", 5)?;
/// let connection = pool.get().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A wrong URI or configuration, or a size of 0.
pub fn pool(options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    driver::pool(Arc::new(Tokio::current()?), options, size)
}

/// Pools by name, from one configuration: see [`PoolsSetup`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_tokio::PoolsConfig;
///
/// // AMQP_PUBLISH_URL, AMQP_PUBLISH_POOL_SIZE, AMQP_LISTEN_URL …
/// let config = PoolsConfig::from_vars(std::env::vars())?;
/// let pools = amqp_tokio::pools(config)?.start().await?;
/// let connection = pools.get("publish")?.get().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A configuration that cannot be used.
pub fn pools(config: PoolsConfig) -> Result<PoolsSetup, Error> {
    driver::pools(Arc::new(Tokio::current()?), config)
}

/// A task queue, by the feature `json`: see [`TaskQueue`]. It connects now.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_tokio::Error> {
/// let tasks = amqp_tokio::task_queue("amqp://localhost").await?;
/// tasks.submit("mail", &serde_json::json!({ "to": "alice" })).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ErrorKind::TaskQueueConnect`] if there is no connection to be had; a wrong URI or configuration.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
#[cfg(feature = "json")]
pub async fn task_queue(options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    driver::task_queue(Arc::new(Tokio::current()?), options).await
}

/// Makes a connection over a stream that is connected already: a Unix socket, TLS of one's own, a tunnel. Of the
/// configuration, the hosts, the TLS and TCP options and the connect time-out are not used: the stream is taken as it is.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = tokio::net::TcpStream::connect("localhost:5672").await?;
/// let connection = amqp_tokio::connect_with(stream, "amqp://guest:guest@localhost").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`connect`], but for those of finding and reaching a host.
///
/// # Cancel safety
///
/// Dropped, it closes the connection.
pub async fn connect_with<S>(stream: S, options: impl IntoConnectOptions) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let options = options.into_connect_options()?;
    driver::attach(Arc::new(Tokio::current()?), Box::new(Stream::new(stream)), options).await
}
