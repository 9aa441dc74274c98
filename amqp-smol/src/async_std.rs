//! The same on async-std: its executor runs the connections, and smol's is not started.
//!
//! ```no_run
//! fn main() -> Result<(), amqp_smol::Error> {
//!     async_std::task::block_on(async {
//!         let connection = amqp_smol::async_std::connect("amqp://localhost").await?;
//!         let channel = connection.channel().await?;
//!         channel.publish("", "hello", "Hello, async-std!").await?;
//!         connection.close().await
//!     })
//! }
//! ```
//!
//! With `default-features = false, features = ["async-std"]` smol is no dependency either.

use futures_io::{AsyncRead, AsyncWrite};

#[doc(no_inline)]
pub use amqp_api::*;

use crate::spawner::Spawner;

/// Connects to a broker: by a URI, a [`Config`], or [`ConnectOptions`]. Its task runs on async-std's executor.
///
/// # Errors
///
/// Those of [`connect_on`](crate::connect_on).
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
pub async fn connect(options: impl IntoConnectOptions) -> Result<Connection, Error> {
    crate::connect_on(Spawner::async_std(), options).await
}

/// A pool of at most `size` connections, whose tasks run on async-std's executor.
///
/// # Errors
///
/// Those of [`pool_on`](crate::pool_on).
pub fn pool(options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    crate::pool_on(Spawner::async_std(), options, size)
}

/// Pools by name, from one configuration. Their tasks run on async-std's executor.
///
/// # Errors
///
/// Those of [`pools_on`](crate::pools_on).
pub fn pools(config: PoolsConfig) -> Result<PoolsSetup, Error> {
    crate::pools_on(Spawner::async_std(), config)
}

/// A task queue, by the feature `json`. It connects now; its tasks run on async-std's executor.
///
/// # Errors
///
/// Those of [`task_queue_on`](crate::task_queue_on).
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
#[cfg(feature = "json")]
pub async fn task_queue(options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    crate::task_queue_on(Spawner::async_std(), options).await
}

/// Makes a connection over a stream that is connected already. Its task runs on async-std's executor.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = async_std::net::TcpStream::connect("localhost:5672").await?;
/// let connection = amqp_smol::async_std::connect_with(stream, "amqp://guest:guest@localhost").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of [`connect_with_on`](crate::connect_with_on).
///
/// # Cancel safety
///
/// Dropped, it closes the connection.
pub async fn connect_with<S>(stream: S, options: impl IntoConnectOptions) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    crate::connect_with_on(Spawner::async_std(), stream, options).await
}
