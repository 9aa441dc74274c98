//! What the tests that need a real broker, or a hostile peer, are made of.
//!
//! - [`node`] starts private RabbitMQ nodes, manages, kills and ends them, and leaves nothing behind.
//! - [`suite`] runs named cases against such a node, once per adapter, under a watchdog.
//! - [`peer`] plays one side of a connection from a script: accept, expect, send, stall, half-close, reset.
//! - [`proxy`] stands between a client and a broker and cuts, stalls or delays what passes.
//! - [`recorder`] stands in the same place and keeps every frame.
//! - [`certificates`] makes certificates for TLS, good and bad.
//! - [`raw`] writes and reads frames by hand, sharing no code with the crates under test.
//!
//! Nothing here knows the client: the adapters meet the suite in `tests/`, through a facade each.

pub mod certificates;
pub mod failure;
pub mod node;
pub mod peer;
pub mod proxy;
pub mod raw;
pub mod recorder;
pub mod suite;
pub mod wait;

pub use failure::{Failure, Result};
pub use node::{Install, Node, Options};
pub use suite::{Case, Context};
