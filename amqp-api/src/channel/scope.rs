//! A channel for the time of a function.

use amqp_proto::error::{Error, ErrorKind};

use super::Channel;
use crate::connection::Connection;

impl Connection {
    /// Runs a function with a channel of its own, and closes the channel after it. Everything that was published and
    /// settled on it has reached the broker then, and what the broker had against it comes out here: a publish to a missing
    /// exchange, for example, is only answered by the end of the channel.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Error;
    ///
    /// let count = connection
    ///     .with_channel(async |channel| {
    ///         channel.publish("events", "order.created", "hello").await?;
    ///         Ok::<_, Error>(channel.queue_declare("orders").await?.message_count)
    ///     })
    ///     .await?;
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
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the channel.
    pub async fn with_channel<T, E, F>(&self, function: F) -> Result<T, E>
    where
        F: AsyncFnOnce(Channel) -> Result<T, E>,
        E: From<Error>,
    {
        let channel = self.channel().await?;
        let result = function(channel.clone()).await;
        let closed = match channel.close().await {
            // The function has closed it.
            Err(error) if matches!(error.kind(), ErrorKind::ChannelNotOpen) => Ok(()),
            closed => closed,
        };
        let value = result?;
        closed?;
        Ok(value)
    }
}
