//! The suite on amqp-tokio.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

use std::process::ExitCode;

#[path = "../suite/mod.rs"]
mod suite;

/// What the cases know of this adapter; see `suite/mod.rs`.
mod facade {
    use std::panic::resume_unwind;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub(crate) use amqp_tokio::*;
    use tokio::runtime::Builder;
    use tokio::task::JoinHandle;
    pub(crate) use tokio::time::{sleep, timeout};

    /// Threads that a connection takes.
    pub(crate) const THREADS_PER_CONNECTION: usize = 0;

    /// Two threads beside the case's own: a case that blocks does not stop its connections.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(future)
    }

    /// Options with one more hook.
    pub(crate) fn on_connect<F, Fut>(options: ConnectOptions, hook: F) -> ConnectOptions
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        options.on_connect(hook)
    }

    pub(crate) fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Spawned(tokio::spawn(future))
    }

    /// A spawned task; awaiting it gives its result or goes on with its panic.
    pub(crate) struct Spawned<T>(JoinHandle<T>);

    impl<T> Future for Spawned<T> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
            Pin::new(&mut self.0).poll(cx).map(|result| match result {
                Ok(value) => value,
                Err(error) => resume_unwind(error.into_panic()),
            })
        }
    }
}

fn main() -> ExitCode {
    conformance::suite::run("amqp-tokio", facade::block_on, suite::cases())
}
