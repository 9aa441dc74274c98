//! A message that was received, and its settlement.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{self, Body, Connection, DeliveryTag};
use amqp_proto::error::{Error, ProtocolError};
use amqp_proto::method::PropertiesRef;
use bytes::Bytes;

use crate::shared::{Shared, Touch};

/// A message from a consumer or from [`Channel::get`](crate::Channel::get).
///
/// It is settled by [`ack`](Self::ack), [`nack`](Self::nack) or [`reject`](Self::reject), each of which consumes it: it
/// cannot be settled twice. They only queue the settlement: they neither block nor wait, and acks in a row leave as
/// one. A delivery that is dropped unsettled goes back to its queue. One that was received without acks needs no
/// settlement; settling or dropping it does nothing.
///
/// It does not keep the connection open.
pub struct Delivery {
    content: conn::Delivery,
    acker: Acker,
}

impl Delivery {
    #[inline]
    pub(crate) fn new(content: conn::Delivery, shared: &Arc<Shared>) -> Self {
        let shared = content.needs_settling().then(|| Arc::clone(shared));
        let acker = Acker { shared, tag: content.delivery_tag() };
        Self { content, acker }
    }

    /// The broker may forget it: it has been dealt with.
    ///
    /// # Errors
    ///
    /// If its channel or connection is closed: the broker has put it back then.
    #[inline]
    pub fn ack(self) -> Result<(), Error> {
        self.acker.ack()
    }

    /// Acks this and all earlier deliveries of its channel that are not settled, those of other consumers included.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_multiple(self) -> Result<(), Error> {
        self.acker.ack_multiple()
    }

    /// Refuses it. `requeue` puts it back, near its old place; otherwise it is dead-lettered or dropped.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(self, requeue: bool) -> Result<(), Error> {
        self.acker.nack(requeue)
    }

    /// Refuses this and all earlier deliveries of its channel that are not settled, those of other consumers included.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack_multiple(self, requeue: bool) -> Result<(), Error> {
        self.acker.nack_multiple(requeue)
    }

    /// Refuses it by `basic.reject`, which every AMQP 0-9-1 broker has; the same as [`nack`](Self::nack) otherwise.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn reject(self, requeue: bool) -> Result<(), Error> {
        self.acker.reject(requeue)
    }

    /// Takes it apart: what was received, and what settles it.
    pub fn split(self) -> (conn::Delivery, Acker) {
        (self.content, self.acker)
    }

    /// Its tag: a number on its channel.
    #[must_use]
    pub fn delivery_tag(&self) -> DeliveryTag {
        self.content.delivery_tag()
    }

    /// The tag of the consumer it came to; empty for a message that was got.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        self.content.consumer_tag()
    }

    /// The exchange it was published to; empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.content.exchange()
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.content.routing_key()
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.content.redelivered()
    }

    /// For a message that was got: how many are left in the queue.
    #[must_use]
    pub fn message_count(&self) -> Option<u32> {
        self.content.message_count()
    }

    /// Its properties, decoded now.
    ///
    /// # Errors
    ///
    /// If they are malformed. It can still be settled.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, Error> {
        self.content.properties().map_err(|error| ProtocolError::from(error).into())
    }

    /// Its body, as it was received.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        self.content.body()
    }

    /// Its body in one piece, to be kept; shared, not copied, if it came in one frame of more than a kilobyte.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.content.to_bytes()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content.fmt(f)
    }
}

/// What settles one delivery. Dropped, it puts the delivery back.
#[must_use = "a delivery goes back to its queue when its acker is dropped"]
pub struct Acker {
    /// `None` if there is nothing to be settled, or no longer.
    shared: Option<Arc<Shared>>,
    tag: DeliveryTag,
}

impl Acker {
    /// See [`Delivery::ack`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn ack(self) -> Result<(), Error> {
        self.settle(|conn, tag| conn.ack(tag, false))
    }

    /// See [`Delivery::ack_multiple`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ack_multiple(self) -> Result<(), Error> {
        self.settle(|conn, tag| conn.ack(tag, true))
    }

    /// See [`Delivery::nack`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn nack(self, requeue: bool) -> Result<(), Error> {
        self.settle(|conn, tag| conn.nack(tag, false, requeue))
    }

    /// See [`Delivery::nack_multiple`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn nack_multiple(self, requeue: bool) -> Result<(), Error> {
        self.settle(|conn, tag| conn.nack(tag, true, requeue))
    }

    /// See [`Delivery::reject`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reject(self, requeue: bool) -> Result<(), Error> {
        self.settle(|conn, tag| conn.reject(tag, requeue))
    }

    #[inline]
    fn settle(mut self, settle: impl FnOnce(&mut Connection, DeliveryTag) -> Result<(), Error>) -> Result<(), Error> {
        match self.shared.take() {
            Some(shared) => shared.visit(Touch::Output, |state| settle(&mut state.conn, self.tag)),
            None => Ok(()),
        }
    }
}

impl Drop for Acker {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            // Where this fails the channel is gone, and the broker has put the delivery back.
            let _ = shared.visit(Touch::Output, |state| state.conn.nack(self.tag, false, true));
        }
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker").field("delivery_tag", &self.tag.value()).finish_non_exhaustive()
    }
}
