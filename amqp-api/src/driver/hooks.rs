//! What the application wants to be done on every connect, before the connection is open.
//!
//! Hooks run in a task of their own, never in the driver's turn: they use the connection as everybody does, by a handle
//! whose channels are opened although the connection is not open yet.

use std::sync::Arc;

use amqp_proto::conn::HooksRun;
use amqp_proto::error::Error;
use amqp_proto::recovery::Recorded;

use super::{BoxFuture, Runtime};
use crate::connection::Connection;
use crate::link::WeakLink;
use crate::shared::{Shared, Touch};

pub(crate) type Hook = Arc<dyn Fn(Connection) -> BoxFuture<Result<(), Error>> + Send + Sync>;

pub(crate) type Filter = Arc<dyn Fn(&Recorded) -> bool + Send + Sync>;

/// The hooks of a connection, in the order in which they were given.
#[derive(Clone)]
pub(super) struct Hooks {
    pub(super) hooks: Arc<[Hook]>,
    pub(super) filter: Option<Filter>,
    pub(super) link: WeakLink,
}

impl Hooks {
    /// Runs them, each after the one before it. The connection is told when they are done.
    pub(super) fn start(&self, runtime: &dyn Runtime, shared: Arc<Shared>, run: HooksRun) {
        let hooks = self.clone();
        runtime.spawn(Box::pin(async move {
            let mut done =
                Done { shared, run, result: Some(Err(Error::invalid("a hook has panicked or was dropped"))) };
            let result = hooks.run(&done.shared).await;
            done.result = Some(result);
        }));
    }

    async fn run(&self, shared: &Shared) -> Result<(), Error> {
        for hook in &*self.hooks {
            // If all handles are gone the connection is being closed.
            let Some(link) = self.link.upgrade() else { return Ok(()) };
            let tuning = shared.lock().conn.tuning();
            let Some(tuning) = tuning else { return Ok(()) };
            hook(Connection::in_hook(link, tuning)).await?;
        }
        let Some(filter) = &self.filter else { return Ok(()) };
        let recorded = shared.lock().conn.recorded();
        let refused: Vec<Recorded> = recorded.into_iter().filter(|recorded| !filter(recorded)).collect();
        shared.visit(Touch::Nothing, |state| {
            refused.iter().for_each(|recorded| state.conn.forget_recorded(recorded));
        });
        Ok(())
    }
}

/// Tells the connection, also when a hook has panicked or its runtime was shut down.
struct Done {
    shared: Arc<Shared>,
    run: HooksRun,
    result: Option<Result<(), Error>>,
}

impl Drop for Done {
    fn drop(&mut self) {
        let (run, result) = (self.run, self.result.take());
        if let Some(result) = result {
            self.shared.visit(Touch::All, |state| state.conn.hooks_done(run, result));
        }
    }
}
