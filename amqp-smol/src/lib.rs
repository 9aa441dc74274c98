//! An AMQP 0-9-1 client for smol and async-std: for RabbitMQ, and whatever else speaks that protocol.
//!
//! ```no_run
//! use amqp_smol::{Exchange, Message, Queue};
//!
//! # #[cfg(feature = "smol")]
//! fn main() -> Result<(), amqp_smol::Error> {
//!     smol::block_on(async {
//!         let connection = amqp_smol::connect("amqp://localhost").await?;
//!         let channel = connection.channel().await?;
//!
//!         channel.exchange_declare(Exchange::topic("events")).await?;
//!         channel.queue_declare("hello").await?; // durable, classic
//!         channel.queue_declare(Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5)).await?;
//!         channel.queue_bind("orders", "events", "order.*").await?;
//!
//!         channel.publish("events", "order.created", "hello").await?; // in the write buffer; waits for room
//!         let publisher = connection.publisher().await?; // a channel in confirm mode
//!         publisher.publish("events", "order.created", Message::new("hello").header("trace", 17)).await?;
//!         let confirm = publisher.send("events", "order.created", "hello").await?;
//!         confirm.await?; // pipelined
//!
//!         let mut consumer = channel.consume("orders").await?; // a Stream
//!         while let Some(delivery) = consumer.next().await {
//!             let delivery = delivery?;
//!             println!("{:?}", delivery.body());
//!             delivery.ack()?; // queued, never blocks, consumes the delivery
//!         }
//!         connection.close().await
//!     })
//! }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
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
//! # Where it runs
//!
//! One task per connection reads, writes and keeps the heartbeats, and ends with the connection. Sockets and timers are
//! async-io's, which keeps a thread of its own for them. Handles can be awaited in any task, of any executor. Where the
//! connection's task runs is the caller's choice:
//!
//! | function | the task runs on | feature |
//! |---|---|---|
//! | `connect`, `connect_with` | smol's global executor, started when first used | `smol`, a default |
//! | [`connect_on`], [`connect_with_on`] | an [`Executor`] of one's own, or another [`Spawner`] | |
//! | `async_std::connect`, `async_std::connect_with` | async-std's executor | `async-std` |
//!
//! Each feature only adds; with `default-features = false` smol is no dependency.
//!
//! # TLS
//!
//! By the feature `tls`, a default: `amqps://` and [`Config::tls`] speak TLS by rustls, with ring for its cryptography. The
//! broker's certificate is verified, for the host's name, against the platform's authorities or your own. Without the
//! feature no C compiler is needed, and `amqps://` is an error.
//!
//! ```no_run
//! # async fn example(executor: std::sync::Arc<amqp_smol::Executor<'static>>) -> Result<(), amqp_smol::Error> {
//! use amqp_smol::{Config, TlsOptions};
//!
//! let by_uri = amqp_smol::connect_on(&executor, "amqps://broker.example.org?cacertfile=/etc/amqp/ca.pem").await?;
//! let tls = TlsOptions::default().ca_file("/etc/amqp/ca.pem").client_certificate("client.pem", "client.key");
//! let with_a_client_certificate = amqp_smol::connect_on(&executor, Config::new("broker.example.org").tls(tls)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are read when a connection is made. [`ConnectOptions`] take another provider of cryptography, or a whole
//! configuration of rustls. Verification is left out by [`Config::dangerous_allow_unverified`] only.

#[cfg(feature = "async-std")]
pub mod async_std;
mod io;
mod runtime;
mod spawner;
mod tcp;

use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};

#[doc(inline)]
pub use amqp_api::*;

// Those who write an adapter find it in amqp-api; those who use this one need nothing from it.
#[expect(hidden_glob_reexports, reason = "it is not to be re-exported")]
use amqp_api::driver;
pub use async_executor::Executor;

use self::io::Stream;
use self::runtime::AsyncIo;
pub use self::spawner::Spawner;

/// Connects to a broker: by a URI, a [`Config`], or [`ConnectOptions`]. Its task runs on smol's global executor.
///
/// The hosts are tried in their order, and each address of a host for up to 30 s; a broker that refuses ends it.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_smol::Error> {
/// use amqp_smol::Config;
///
/// let connection = amqp_smol::connect("amqp://guest:guest@localhost:5672/%2f?heartbeat=20").await?;
/// let other = amqp_smol::connect(Config::new("localhost").connection_name("importer")).await?;
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
#[cfg(feature = "smol")]
pub async fn connect(options: impl IntoConnectOptions) -> Result<Connection, Error> {
    connect_on(Spawner::smol(), options).await
}

/// A pool of at most `size` connections, whose tasks run on smol's global executor. It connects to nothing before somebody
/// needs one.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_smol::Error> {
/// let pool = amqp_smol::pool("amqp://localhost", 5)?;
/// let connection = pool.get().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A wrong URI or configuration, or a size of 0.
#[cfg(feature = "smol")]
pub fn pool(options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    pool_on(Spawner::smol(), options, size)
}

/// Pools by name, from one configuration: see [`PoolsSetup`]. Their tasks run on smol's global executor.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_smol::PoolsConfig;
///
/// // AMQP_PUBLISH_URL, AMQP_PUBLISH_POOL_SIZE, AMQP_LISTEN_URL …
/// let config = PoolsConfig::from_vars(std::env::vars())?;
/// let pools = amqp_smol::pools(config)?.start().await?;
/// let connection = pools.get("publish")?.get().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A configuration that cannot be used.
#[cfg(feature = "smol")]
pub fn pools(config: PoolsConfig) -> Result<PoolsSetup, Error> {
    pools_on(Spawner::smol(), config)
}

/// A task queue, by the feature `json`: see [`TaskQueue`]. It connects now. Its tasks run on smol's global
/// executor.
///
/// ```no_run
/// # async fn example() -> Result<(), amqp_smol::Error> {
/// let tasks = amqp_smol::task_queue("amqp://localhost").await?;
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
#[cfg(all(feature = "json", feature = "smol"))]
pub async fn task_queue(options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    task_queue_on(Spawner::smol(), options).await
}

/// Makes a connection over a stream that is connected already: a Unix socket, TLS of one's own, a tunnel. Of the
/// configuration, the hosts, the TLS and TCP options and the connect time-out are not used: the stream is taken as it is.
/// Its task runs on smol's global executor.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = smol::net::TcpStream::connect("localhost:5672").await?;
/// let connection = amqp_smol::connect_with(stream, "amqp://guest:guest@localhost").await?;
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
#[cfg(feature = "smol")]
pub async fn connect_with<S>(stream: S, options: impl IntoConnectOptions) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    connect_with_on(Spawner::smol(), stream, options).await
}

/// Connects to a broker, with the connection's task on an executor of one's own. Somebody has to run that; when it is
/// dropped, the connection is lost.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use amqp_smol::Executor;
///
/// # fn main() -> Result<(), amqp_smol::Error> {
/// let executor = Arc::new(Executor::new());
/// async_io::block_on(executor.run(async {
///     let connection = amqp_smol::connect_on(&executor, "amqp://localhost").await?;
///     connection.close().await
/// }))
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
pub async fn connect_on(spawner: impl Into<Spawner>, options: impl IntoConnectOptions) -> Result<Connection, Error> {
    let options = options.into_connect_options()?;
    driver::connect(Arc::new(AsyncIo(spawner.into())), options).await
}

/// A pool of at most `size` connections, with their tasks on an executor of one's own.
///
/// # Errors
///
/// A wrong URI or configuration, or a size of 0.
pub fn pool_on(spawner: impl Into<Spawner>, options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    driver::pool(Arc::new(AsyncIo(spawner.into())), options, size)
}

/// Pools by name, from one configuration, with their tasks on an executor of one's own.
///
/// # Errors
///
/// A configuration that cannot be used.
pub fn pools_on(spawner: impl Into<Spawner>, config: PoolsConfig) -> Result<PoolsSetup, Error> {
    driver::pools(Arc::new(AsyncIo(spawner.into())), config)
}

/// A task queue, by the feature `json`, with its tasks on an executor of one's own. It connects now.
///
/// # Errors
///
/// [`ErrorKind::TaskQueueConnect`] if there is no connection to be had; a wrong URI or configuration.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
#[cfg(feature = "json")]
pub async fn task_queue_on(spawner: impl Into<Spawner>, options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    driver::task_queue(Arc::new(AsyncIo(spawner.into())), options).await
}

/// Makes a connection over a stream that is connected already, with its task on an executor of one's own. Of the
/// configuration, the hosts, the TLS and TCP options and the connect time-out are not used.
///
/// # Errors
///
/// As [`connect_on`], but for those of finding and reaching a host.
///
/// # Cancel safety
///
/// Dropped, it closes the connection.
pub async fn connect_with_on<S>(
    spawner: impl Into<Spawner>,
    stream: S,
    options: impl IntoConnectOptions,
) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let options = options.into_connect_options()?;
    driver::attach(Arc::new(AsyncIo(spawner.into())), Box::new(Stream::new(stream)), options).await
}
