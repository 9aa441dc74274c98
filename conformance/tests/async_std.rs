//! The suite on amqp-smol with async-std's executor.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

use std::process::ExitCode;

#[path = "../suite/mod.rs"]
mod suite;

/// What the cases know of this adapter; see `suite/mod.rs`.
mod facade {
    use std::time::Duration;

    pub(crate) use amqp_smol::async_std::*;
    pub(crate) use async_std::future::timeout;
    pub(crate) use async_std::task::block_on;
    use async_std::task::{self, JoinHandle};

    /// Threads that a connection takes.
    pub(crate) const THREADS_PER_CONNECTION: usize = 0;

    /// Options with one more hook.
    pub(crate) fn on_connect<F, Fut>(options: ConnectOptions, hook: F) -> ConnectOptions
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        options.on_connect(hook)
    }

    /// On a thread of its own. The executor that connections run on has as many threads as the machine has cores, and a
    /// case must not block them.
    pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        task::spawn_blocking(|| block_on(future))
    }

    pub(crate) async fn sleep(duration: Duration) {
        task::sleep(duration).await;
    }
}

fn main() -> ExitCode {
    conformance::suite::run("async-std", facade::block_on, suite::cases())
}
