//! What stands above the channel: made of connections and channels, by what anybody could use, and nothing of the core.
//!
//! | module | job |
//! |---|---|
//! | `pool` | connections that are used by turns |
//! | `pools` | several pools by name, from one configuration |
//! | `tasks` | queues of tasks, and workers; by the feature `json` |
//! | `backoff` | pauses between attempts |

#[cfg(feature = "json")]
mod backoff;
mod pool;
mod pools;
#[cfg(feature = "json")]
mod tasks;

pub use self::pool::{Pool, Pooled};
pub use self::pools::{Pools, PoolsConfig, PoolsConfigError, PoolsSetup};
#[cfg(feature = "json")]
pub use self::tasks::{Task, TaskQueue, Work};
