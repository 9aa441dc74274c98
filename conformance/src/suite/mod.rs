//! Runs named cases against a real broker, once per adapter.
//!
//! The cases stand in `suite/`, one `async fn(Context)` each, and are listed by [`cases!`](crate::cases) at the top
//! of their file. A test binary per adapter (`tests/tokio.rs` and so on, without the usual test harness) includes
//! them by `#[path]` beside a module `facade`, which says what `connect`, `spawn` or `sleep` is there, and calls
//! [`run`].
//!
//! - [`Case`] is a case with its name and time limit, [`Outcome`] what it may return.
//! - [`Context`] is what it gets: the broker's address, fresh names, a [`Lease`] on a node of its own.
//! - [`Subject`] is the broker: a RabbitMQ node, or `amqp-broker` if the environment variable `AMQP_BROKER` says which
//!   version of RabbitMQ it is to be.
//! - [`run`] starts one node, runs the cases in parallel, and ends the node. A panic fails its case with its
//!   message, a hang fails its case with its name. A report says how it went, to people and to `scripts/suite`.

mod alone;
mod case;
mod context;
mod lease;
mod panics;
mod report;
mod runner;
mod secure;
mod subject;
mod watch;

pub use case::{Case, CaseFuture, CaseResult, Outcome};
pub use context::Context;
pub use lease::Lease;
pub use runner::run;
pub use subject::Subject;
