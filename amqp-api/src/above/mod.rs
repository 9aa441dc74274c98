//! What stands above the channel: made of connections and channels, by what anybody could use, and nothing of the core.
//!
//! | module | job |
//! |---|---|
//! | `pool` | connections that are used by turns |
//! | `pools` | several pools by name, from one configuration |
//! | `listener` | a consumer with a handler on a connection of a pool, until it is stopped |
//! | `retry` | what fails comes again later, and is parked in the end |
//! | `rpc` | remote calls: requests and their replies |
//! | `tasks` | queues of tasks, and workers; by the feature `json` |
//! | `backoff`, `caught` | pauses between attempts; handlers that may panic |

mod backoff;
mod caught;
mod listener;
mod pool;
mod pools;
mod retry;
mod rpc;
#[cfg(feature = "json")]
mod tasks;

pub use self::listener::Listener;
pub use self::pool::{Pool, Pooled};
pub use self::pools::{Pools, PoolsConfig, PoolsConfigError, PoolsSetup};
pub use self::retry::Retry;
pub use self::rpc::RpcClient;
#[cfg(feature = "json")]
pub use self::tasks::{Task, TaskQueue, Work};
