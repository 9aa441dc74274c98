//! What keeps a connection open: the count of its handles.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, Weak};

use amqp_proto::method::reply_code::ReplyCode;

use crate::shared::{Shared, Touch};

/// A share in the openness of a connection. When the last one is dropped the connection is closed: the close is queued
/// here, behind everything that was queued before, and the driver finishes it.
///
/// Deliveries and confirms hold the [`Shared`] memory alone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Guard>);

struct Guard {
    shared: Arc<Shared>,
    /// Dropped after the close was queued.
    lifeline: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Guard { shared, lifeline: OnceLock::new() }))
    }

    pub(crate) fn downgrade(&self) -> WeakLink {
        WeakLink(Arc::downgrade(&self.0))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// What is to be dropped when the close has been queued.
    pub(crate) fn tie(&self, lifeline: Box<dyn Any + Send + Sync>) {
        // There is one connection, and one lifeline, to a link.
        let _ = self.0.lifeline.set(lifeline);
    }
}

/// The same, without a share.
#[derive(Clone)]
pub(crate) struct WeakLink(Weak<Guard>);

impl WeakLink {
    /// A share, as long as anybody has one.
    pub(crate) fn upgrade(&self) -> Option<Link> {
        self.0.upgrade().map(Link)
    }
}

impl Deref for Link {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0.shared
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.visit(Touch::All, |state| {
            let id = state.conn.close(ReplyCode::REPLY_SUCCESS, "");
            state.abandon_request(id);
        });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
