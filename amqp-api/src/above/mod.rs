//! What stands above the channel: made of connections and channels, by what anybody could use, and nothing of the core.
//!
//! | module | job |
//! |---|---|
//! | `pool` | connections that are used by turns |
//! | `pools` | several pools by name, from one configuration |

mod pool;
mod pools;

pub use self::pool::{Pool, Pooled};
pub use self::pools::{Pools, PoolsConfig, PoolsConfigError, PoolsSetup};
