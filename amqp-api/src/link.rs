//! What keeps a connection open: the count of its handles.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use amqp_proto::method::reply_code::ReplyCode;

use crate::shared::{Shared, Touch};

/// A share in the openness of a connection. When the last one is dropped the connection is closed: the close is queued
/// here, behind everything that was queued before, and the driver finishes it.
///
/// Deliveries and confirms hold the [`Shared`] memory alone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Guard>);

struct Guard(Arc<Shared>);

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Guard(shared)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Deref for Link {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.visit(Touch::All, |state| {
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
