//! Deliveries that are settled together.

use std::fmt;
use std::slice;
use std::sync::Arc;
use std::vec;

use amqp_proto::conn;
use amqp_proto::error::Error;

use crate::delivery::Delivery;
use crate::shared::{Shared, Touch};

/// At least one delivery, from [`Consumer::next_batch`](crate::Consumer::next_batch).
///
/// It is settled as a whole by [`ack`](Self::ack) or [`nack`](Self::nack), or taken apart by iterating over it: then each
/// delivery is settled for itself. A batch that is dropped unsettled goes back to its queue.
///
/// It does not keep the connection open.
pub struct Batch {
    deliveries: Vec<Delivery>,
    shared: Arc<Shared>,
}

impl Batch {
    pub(crate) fn new(contents: Vec<conn::Delivery>, shared: &Arc<Shared>) -> Self {
        let deliveries = contents.into_iter().map(|content| Delivery::new(content, shared)).collect();
        Self { deliveries, shared: Arc::clone(shared) }
    }

    /// The broker may forget them all: they have been dealt with. They leave as one ack, unless an earlier delivery of the
    /// channel is still to be settled: that one is never acked along.
    ///
    /// # Errors
    ///
    /// If the channel or connection is closed: the broker has put them back then.
    pub fn ack(mut self) -> Result<(), Error> {
        let deliveries = &mut self.deliveries;
        self.shared.visit(Touch::Output, |state| state.conn.ack_all(deliveries.iter_mut().filter_map(Delivery::disarm)))
    }

    /// Refuses them all. `requeue` puts them back, near their old places; otherwise they are dead-lettered or dropped. They
    /// leave as one nack, on the same terms as with [`ack`](Self::ack).
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(mut self, requeue: bool) -> Result<(), Error> {
        self.refuse(requeue)
    }

    /// How many deliveries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether it has none, which is never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Its deliveries, in the order in which they came.
    pub fn iter(&self) -> slice::Iter<'_, Delivery> {
        self.deliveries.iter()
    }

    fn refuse(&mut self, requeue: bool) -> Result<(), Error> {
        let tags: Vec<_> = self.deliveries.iter_mut().filter_map(Delivery::disarm).collect();
        if tags.is_empty() {
            return Ok(());
        }
        self.shared.visit(Touch::Output, |state| state.conn.nack_all(&tags, requeue))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Where this fails the channel is gone, and the broker has put them back.
        let _ = self.refuse(true);
    }
}

impl IntoIterator for Batch {
    type Item = Delivery;
    type IntoIter = vec::IntoIter<Delivery>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.deliveries).into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Delivery;
    type IntoIter = slice::Iter<'a, Delivery>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.deliveries).finish()
    }
}
