//! What settles a delivery: on the connection that it came by, or in a test's record.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{DeliveryTag, Publish};
use amqp_proto::error::Error;
use amqp_proto::method::PropertiesRef;

use crate::built::{DeliveryRecord, Settled};
use crate::message::{Message, Target};
use crate::shared::{Shared, Touch};

/// What settles one delivery. Dropped, it puts the delivery back.
#[must_use = "a delivery goes back to its queue when its acker is dropped"]
pub struct Acker {
    home: Home,
    tag: DeliveryTag,
    /// There is something to be settled.
    open: bool,
    /// Somebody else settles it, if this does not.
    lent: bool,
}

/// Where a delivery is settled.
#[derive(Clone)]
enum Home {
    /// On the connection that it came by.
    Connection(Arc<Shared>),
    /// In a test's record.
    Record(DeliveryRecord),
}

impl Acker {
    /// `open`: there is something to be settled.
    #[inline]
    pub(crate) fn new(tag: DeliveryTag, open: bool, shared: &Arc<Shared>) -> Self {
        Self { home: Home::Connection(Arc::clone(shared)), tag, open, lent: false }
    }

    /// That of a delivery that was built.
    pub(crate) fn of_record(tag: DeliveryTag, open: bool, record: DeliveryRecord) -> Self {
        Self { home: Home::Record(record), tag, open, lent: false }
    }

    /// Keeps the settlement back, and gives it: this can still settle, but dropping it does nothing.
    pub(crate) fn lend(&mut self) -> Self {
        self.lent = true;
        Self { home: self.home.clone(), tag: self.tag, open: self.open, lent: false }
    }

    /// Hands over what is to be settled. Dropping this does nothing from now on.
    pub(crate) fn disarm(&mut self) -> Option<DeliveryTag> {
        std::mem::take(&mut self.open).then_some(self.tag)
    }

    /// Publishes on the channel of the delivery.
    pub(crate) fn publish(&self, publish: &Publish<'_>) -> Result<(), Error> {
        match &self.home {
            Home::Connection(shared) => {
                shared.visit(Touch::Output, |state| state.conn.publish(self.tag.channel(), publish))
            }
            Home::Record(record) => {
                record.note_publish(publish);
                Ok(())
            }
        }
    }

    /// Publishes the answer to a delivery with these properties, on the delivery's channel.
    pub(crate) fn reply(&self, request: &PropertiesRef<'_>, message: Message<'_>) -> Result<(), Error> {
        let message = message.replying_to(request)?.ready()?;
        self.publish(&message.publish(&Target::of_replies(request)?, false))
    }

    /// See [`Delivery::ack`](crate::Delivery::ack).
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn ack(self) -> Result<(), Error> {
        self.settle(Settled::Ack { multiple: false })
    }

    /// See [`Delivery::ack_multiple`](crate::Delivery::ack_multiple).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ack_multiple(self) -> Result<(), Error> {
        self.settle(Settled::Ack { multiple: true })
    }

    /// See [`Delivery::nack`](crate::Delivery::nack).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn nack(self, requeue: bool) -> Result<(), Error> {
        self.settle(Settled::Nack { multiple: false, requeue })
    }

    /// See [`Delivery::nack_multiple`](crate::Delivery::nack_multiple).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn nack_multiple(self, requeue: bool) -> Result<(), Error> {
        self.settle(Settled::Nack { multiple: true, requeue })
    }

    /// See [`Delivery::reject`](crate::Delivery::reject).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reject(self, requeue: bool) -> Result<(), Error> {
        self.settle(Settled::Reject { requeue })
    }

    #[inline]
    fn settle(mut self, how: Settled) -> Result<(), Error> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        self.carry_out(how)
    }

    #[inline]
    fn carry_out(&self, how: Settled) -> Result<(), Error> {
        let shared = match &self.home {
            Home::Connection(shared) => shared,
            Home::Record(record) => {
                record.note_settled(how);
                return Ok(());
            }
        };
        shared.visit(Touch::Output, |state| match how {
            Settled::Ack { multiple } => state.conn.ack(self.tag, multiple),
            Settled::Nack { multiple, requeue } => state.conn.nack(self.tag, multiple, requeue),
            Settled::Reject { requeue } => state.conn.reject(self.tag, requeue),
            Settled::Dropped => state.conn.nack(self.tag, false, true),
        })
    }
}

impl Drop for Acker {
    #[inline]
    fn drop(&mut self) {
        if self.open && !self.lent {
            // Where this fails the channel is gone, and the broker has put the delivery back.
            let _ = self.carry_out(Settled::Dropped);
        }
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker").field("delivery_tag", &self.tag.value()).finish_non_exhaustive()
    }
}
