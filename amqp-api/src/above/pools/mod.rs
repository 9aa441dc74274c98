//! Pools by name, from one configuration.
//!
//! | file | job |
//! |---|---|
//! | this | the handles: the pools, and what is done before there are any |
//! | `config` | the configuration, and how it is read from variables |
//! | `serde` | how it is read from whatever serde reads, by the feature `serde` |

mod config;
#[cfg(feature = "serde")]
mod serde;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use amqp_proto::error::{Error, ErrorKind};

pub use self::config::{PoolsConfig, PoolsConfigError};
use super::pool::{Pool, Pooled};
use crate::connection::Connection;
use crate::driver::{BoxFuture, Runtime};

/// Pools by name, for different uses of one application: `publish` and `listen`, for example, because a broker in alarm
/// stops reading from connections that publish.
///
/// It comes out of [`PoolsSetup::start`]. Clones are handles to the same pools.
///
/// ```no_run
/// # async fn example(pools: amqp_api::Pools) -> Result<(), amqp_api::Error> {
/// let connection = pools.get("publish")?.get().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pools {
    pools: Arc<BTreeMap<String, Pool>>,
}

impl Pools {
    /// The pool of this name: the same one each time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownPool`] if none of this name is configured.
    pub fn get(&self, name: impl AsRef<str>) -> Result<Pool, Error> {
        let name = name.as_ref();
        let pool = self.pools.get(name).cloned();
        pool.ok_or_else(|| Error::new(ErrorKind::UnknownPool { name: name.to_owned() }))
    }

    /// The names of the pools, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.pools.keys().cloned().collect()
    }

    /// Closes all pools: see [`Pool::close`].
    ///
    /// # Errors
    ///
    /// As there: the first error. All are closed nevertheless.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves pools open that it has not come to.
    pub async fn close(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for pool in self.pools.values() {
            result = result.and(pool.close().await);
        }
        result
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pools.fmt(f)
    }
}

type Hook = Box<dyn FnOnce(Pooled) -> BoxFuture<Result<(), Error>> + Send>;

/// Pools that are not in use yet. What has to be there before they are, exchanges, queues and bindings, is made by the hooks
/// of [`on_start`](Self::on_start): nobody can check a connection out before they have finished.
///
/// ```no_run
/// # fn pools(_: amqp_api::PoolsConfig) -> Result<amqp_api::PoolsSetup, amqp_api::Error> { unimplemented!("the adapter has it") }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_api::{Connection, Exchange, PoolsConfig};
///
/// let config = PoolsConfig::default().pool("publish", "amqp://localhost", 5)?.pool("listen", "amqp://localhost", 2)?;
/// let pools = pools(config)?
///     .on_start("publish", async |connection: Connection| {
///         let channel = connection.channel().await?;
///         channel.exchange_declare(Exchange::topic("events")).await?;
///         channel.queue_declare("orders").await?;
///         channel.queue_bind("orders", "events", "order.*").await
///     })
///     .start()
///     .await?;
/// let connection = pools.get("publish")?.get().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "there are no pools before it is started"]
pub struct PoolsSetup {
    pools: Pools,
    hooks: Vec<(String, Hook)>,
}

impl PoolsSetup {
    /// Pools of this configuration: for those who write an adapter.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, config: PoolsConfig) -> Result<Self, Error> {
        let pools = config.pools.into_iter().map(move |(name, pool)| {
            let pool = Pool::new(Arc::clone(&runtime), pool.options, pool.size)?;
            Ok((name, pool))
        });
        let pools = Arc::new(pools.collect::<Result<_, Error>>()?);
        Ok(Self { pools: Pools { pools }, hooks: Vec::new() })
    }

    /// Does this at the start, with a connection of the pool of this name. Hooks are run one after the other, in the order in
    /// which they were given; the first error is the last word.
    pub fn on_start<H, F>(mut self, pool: impl AsRef<str>, hook: H) -> Self
    where
        H: FnOnce(Connection) -> F + Send + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let hook: Hook = Box::new(|pooled: Pooled| {
            Box::pin(async move {
                let done = hook(pooled.clone()).await;
                drop(pooled);
                done
            })
        });
        self.hooks.push((pool.as_ref().to_owned(), hook));
        self
    }

    /// Runs the hooks and gives the pools. Without hooks it connects to nothing.
    ///
    /// # Errors
    ///
    /// That of the first hook that fails; those of checking out its connection, [`ErrorKind::UnknownPool`] included.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the hook that is running, and there are no pools.
    pub async fn start(self) -> Result<Pools, Error> {
        for (pool, hook) in self.hooks {
            hook(self.pools.get(pool)?.get().await?).await?;
        }
        Ok(self.pools)
    }
}

impl fmt::Debug for PoolsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolsSetup").field("pools", &self.pools).field("hooks", &self.hooks.len()).finish()
    }
}
