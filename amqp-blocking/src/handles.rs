//! The handles: amqp-api's, whose futures are waited for by the thread that calls. The macro makes them from the list in
//! `methods.rs`; below it stands what is more than a forwarder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amqp_api::{
    Acker, Batch, BatchOutcome, Binding, Cancel, ConnectionEvent, Consume, Content, Delivery, DeliveryTag, Elapsed,
    Error, Exchange, ExchangeDelete, FieldTable, Get, Handled, Handling, IntoSettlement, Message, Outcome,
    PropertiesRef, Qos, Queue, QueueDeclared, QueueDelete, QueuePurge, ReplyCode, Returned, Stats, Tag, Tuning,
};

#[cfg(feature = "json")]
use amqp_api::Task;
use bytes::{Buf, Bytes};
#[cfg(feature = "json")]
use serde::Serialize;

use crate::above::Pooled;
use crate::park::block_on;

/// Makes a handle of one of amqp-api's.
pub(crate) trait Wrap<T> {
    fn wrap(inner: T) -> Self;
}

impl<T, H: Wrap<T>> Wrap<Result<T, Error>> for Result<H, Error> {
    fn wrap(inner: Result<T, Error>) -> Self {
        inner.map(H::wrap)
    }
}

macro_rules! handles {
    ($(
        $(#[$about:meta])*
        $handle:ident {
            $(
                $(#[$doc:meta])*
                [$($how:ident)*] fn $method:ident $(<$life:lifetime>)? ($($arguments:tt)*) -> $output:ty;
            )*
        }
    )*) => {$(
        $(#[$about])*
        pub struct $handle {
            pub(crate) inner: amqp_api::$handle,
        }

        impl Wrap<amqp_api::$handle> for $handle {
            fn wrap(inner: amqp_api::$handle) -> Self {
                Self { inner }
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.fmt(f)
            }
        }

        impl $handle {
            $(forward! { [$($how)*] [$(#[$doc])*] $method [$(<$life>)?] ($($arguments)*) $output })*
        }
    )*};
}

/// A method, by how it takes the handle.
macro_rules! forward {
    ($how:tt [$($doc:tt)*] $method:ident [$($life:tt)*] (&$self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
        $($doc)*
        pub fn $method $($life)* (&$self $(, $name: $type)*) -> $output {
            answer!($how $self, $self.inner.$method($($name),*))
        }
    };
    ($how:tt [$($doc:tt)*] $method:ident [] (&mut $self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
        $($doc)*
        pub fn $method(&mut $self $(, $name: $type)*) -> $output {
            answer!($how $self, $self.inner.$method($($name),*))
        }
    };
    ($how:tt [$($doc:tt)*] $method:ident [] ($self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
        $($doc)*
        pub fn $method($self $(, $name: $type)*) -> $output {
            answer!($how $self, $self.inner.$method($($name),*))
        }
    };
}

/// What a method returns, by what it does to get it.
macro_rules! answer {
    ([] $self:ident, $call:expr) => {
        $call
    };
    ([wait] $self:ident, $call:expr) => {
        block_on($call)
    };
    ([wrap] $self:ident, $call:expr) => {
        Wrap::wrap($call)
    };
    ([wait wrap] $self:ident, $call:expr) => {
        Wrap::wrap(block_on($call))
    };
}

include!("methods.rs");
#[cfg(feature = "json")]
include!("methods_json.rs");

impl Connection {
    /// Runs a function with a channel of its own, and closes the channel after it. Everything that was published and
    /// settled on it has reached the broker then, and what the broker had against it comes out here: a publish to a missing
    /// exchange, for example, is only answered by the end of the channel.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::Error;
    ///
    /// let count = connection.with_channel(|channel| {
    ///     channel.publish("events", "order.created", "hello")?;
    ///     Ok::<_, Error>(channel.queue_declare("orders")?.message_count)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The channel is closed for all its handles, consumers included. What stands in a transaction that was not committed
    /// is undone.
    ///
    /// # Errors
    ///
    /// That of the function, if it returned one; a handle of the channel that was kept still knows the broker's by
    /// [`Channel::error`]. Else what closed the channel before its time, or kept it from being closed in order; and those of
    /// [`channel`](Self::channel).
    pub fn with_channel<T, E, F>(&self, function: F) -> Result<T, E>
    where
        F: FnOnce(Channel) -> Result<T, E>,
        E: From<Error>,
    {
        block_on(self.inner.with_channel(async |channel| function(Channel::wrap(channel))))
    }
}

impl Channel {
    /// Starts a consumer on a queue, whose deliveries go to a handler: a function that runs on threads of its own, as many
    /// as [`Handling::concurrency`] says.
    ///
    /// ```no_run
    /// # fn example(channel: amqp_blocking::Channel) -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::{Consume, Delivery, Handling};
    ///
    /// let consume = Consume::new("orders").prefetch(20);
    /// let handling = Handling::default().concurrency(10);
    /// let subscription = channel.consume_with(consume, handling, |delivery: Delivery| {
    ///     println!("{:?}", delivery.body());
    /// })?;
    /// // Until something says that it is enough.
    /// subscription.stop()
    /// # }
    /// ```
    ///
    /// The delivery is settled by what the handler returns, see [`IntoSettlement`]: it is acked for `()` and `Ok`, and for
    /// an `Err` [`Handling::on_error`] decides. The handler may settle it itself, before it returns; what it returns is
    /// without effect then. A delivery that it only drops is not settled by that.
    ///
    /// A handler that panics does not disturb the others: the panic is counted ([`Subscription::handled`]), and the delivery
    /// goes the way of [`Handling::on_panic`]. A delivery that cannot be read is rejected.
    ///
    /// # Errors
    ///
    /// As [`consume`](Self::consume).
    pub fn consume_with<H, R>(
        &self,
        consume: impl Into<Consume>,
        handling: Handling,
        handler: H,
    ) -> Result<Subscription, Error>
    where
        H: Fn(Delivery) -> R + Send + Sync + 'static,
        R: IntoSettlement,
    {
        let handler = Arc::new(handler);
        let subscription = block_on(self.inner.consume_with(consume, handling, move |delivery| {
            let handler = Arc::clone(&handler);
            async move { handler(delivery) }
        }));
        Wrap::wrap(subscription)
    }
}

impl Consumer {
    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::wrap(self.inner.channel().clone())
    }
}

impl Iterator for Consumer {
    type Item = Result<Delivery, Error>;

    /// The next delivery, when there is one; `None` when there will be none. It has no deadline.
    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.inner.next())
    }
}

impl StreamedConsumer {
    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::wrap(self.inner.channel().clone())
    }

    /// The next delivery, if its header has come; `None` too when there will be none.
    ///
    /// # Errors
    ///
    /// Those of a [`Consumer`].
    pub fn try_next(&mut self) -> Option<Result<StreamedDelivery, Error>> {
        self.inner.try_next().map(|delivery| delivery.map(|inner| StreamedDelivery { inner }))
    }

    /// The next delivery, as [`next`](Iterator::next), if its header comes in time; a time of zero asks for what is there.
    /// Nothing is lost by a time-out.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if there was none in time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Result<StreamedDelivery, Error>>, Elapsed> {
        let next = block_on(self.inner.recv_timeout(timeout))?;
        Ok(next.map(|delivery| delivery.map(|inner| StreamedDelivery { inner })))
    }
}

impl Iterator for StreamedConsumer {
    type Item = Result<StreamedDelivery, Error>;

    /// The next delivery, when its header has come; `None` when there will be none. It has no deadline.
    fn next(&mut self) -> Option<Self::Item> {
        let next = block_on(self.inner.next());
        next.map(|delivery| delivery.map(|inner| StreamedDelivery { inner }))
    }
}

impl StreamedDelivery {
    /// Its body, and what settles it: each may go its own way.
    pub fn into_parts(self) -> (BodyStream, Acker) {
        let (inner, acker) = self.inner.into_parts();
        (BodyStream { inner }, acker)
    }
}

impl Iterator for BodyStream {
    type Item = Result<Bytes, Error>;

    /// The next bytes, at least one, when they have come; `None` at the end.
    fn next(&mut self) -> Option<Self::Item> {
        self.chunk()
    }
}

impl Iterator for Returns {
    type Item = Returned;

    /// The next message that comes back; `None` when the channel has ended.
    fn next(&mut self) -> Option<Returned> {
        block_on(self.inner.next())
    }
}

impl Iterator for Events {
    type Item = ConnectionEvent;

    /// The next event, when there is one; `None` after the last.
    fn next(&mut self) -> Option<ConnectionEvent> {
        block_on(self.inner.next())
    }
}
