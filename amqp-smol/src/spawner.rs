//! Where the tasks of a connection run.

use std::fmt;
use std::sync::{Arc, Weak};

use amqp_api::driver::BoxFuture;
use async_executor::Executor;

/// Where the tasks of a connection run: an [`Executor`], or whatever [`Spawner::new`] makes of one.
///
/// ```
/// use std::sync::Arc;
///
/// use amqp_smol::{Executor, Spawner};
///
/// let executor = Arc::new(Executor::new());
/// let spawner = Spawner::from(&executor); // does not keep it alive
///
/// static EXECUTOR: Executor<'static> = Executor::new();
/// let spawner = Spawner::from(&EXECUTOR);
///
/// let spawner = Spawner::new(|task| smol::spawn(task).detach());
/// ```
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(BoxFuture<()>) + Send + Sync>);

impl Spawner {
    /// A spawner that calls this function for each task. The task is to run to its end; if it is dropped before, its
    /// connection is lost. A connection has one task while it is open, and as
    /// many as there are handlers at work ([`Channel::consume_with`](crate::Channel::consume_with)).
    pub fn new<F>(spawn: F) -> Self
    where
        F: Fn(BoxFuture<()>) + Send + Sync + 'static,
    {
        Self(Arc::new(spawn))
    }

    #[cfg(feature = "smol")]
    pub(crate) fn smol() -> Self {
        Self::new(|task| smol::spawn(task).detach())
    }

    #[cfg(feature = "async-std")]
    pub(crate) fn async_std() -> Self {
        Self::new(|task| async_global_executor::spawn(task).detach())
    }

    pub(crate) fn spawn(&self, task: BoxFuture<()>) {
        (self.0)(task);
    }
}

/// The executor is not kept alive: when it is dropped, its connections are lost.
impl From<&Arc<Executor<'static>>> for Spawner {
    fn from(executor: &Arc<Executor<'static>>) -> Self {
        // Its tasks hold this. Were it not weak, the executor and they would keep each other alive.
        let executor: Weak<Executor<'static>> = Arc::downgrade(executor);
        Self::new(move |task| {
            if let Some(executor) = executor.upgrade() {
                executor.spawn(task).detach();
            }
        })
    }
}

impl From<&'static Executor<'static>> for Spawner {
    fn from(executor: &'static Executor<'static>) -> Self {
        Self::new(move |task| executor.spawn(task).detach())
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}
