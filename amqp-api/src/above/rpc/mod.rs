//! Remote calls: a request is published, and its reply awaited.
//!
//! | file | job |
//! |---|---|
//! | `client` | calls, over direct reply-to |
//! | `session` | a channel of a client, and who waits for which reply on it |
//! | `server` | a handler whose results are the replies |

mod client;
mod server;
mod session;

pub use self::client::RpcClient;
