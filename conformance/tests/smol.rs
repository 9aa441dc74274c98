//! The suite on amqp-smol.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

use std::process::ExitCode;

#[path = "../suite/mod.rs"]
mod suite;

/// What the cases know of this adapter; see `suite/mod.rs`.
mod facade {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    pub(crate) use amqp_smol::*;
    use smol::Timer;
    pub(crate) use smol::block_on;
    use smol::future::FutureExt;

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

    /// On a thread of its own. Connections run on smol's only executor thread, which a case must not block.
    pub(crate) fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Spawned(Some(smol::unblock(|| block_on(future))))
    }

    /// A spawned task; awaiting it gives its result or goes on with its panic. Dropped, it runs on.
    pub(crate) struct Spawned<T>(Option<smol::Task<T>>);

    impl<T> Future for Spawned<T> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
            Pin::new(self.0.as_mut().expect("it is there until it is dropped")).poll(cx)
        }
    }

    impl<T> Drop for Spawned<T> {
        fn drop(&mut self) {
            if let Some(task) = self.0.take() {
                task.detach();
            }
        }
    }

    pub(crate) async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    #[derive(Debug)]
    pub(crate) struct Elapsed;

    pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let too_late = async {
            Timer::after(duration).await;
            Err(Elapsed)
        };
        async { Ok(future.await) }.or(too_late).await
    }
}

fn main() -> ExitCode {
    conformance::suite::run("amqp-smol", facade::block_on, suite::cases())
}
