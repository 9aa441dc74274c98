//! The side that is called.

use std::future::Future;
use std::sync::Arc;

use amqp_proto::error::Error;

use crate::channel::Channel;
use crate::connection::Connection;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::message::Message;
use crate::options::{Consume, Handling};
use crate::subscription::{Settlement, Subscription};

impl Connection {
    /// Serves remote calls: each request in a queue goes to a handler, and what that returns is the reply. It is a
    /// [`Subscription`] on a channel of its own, with all of [`Handling`].
    ///
    /// The reply goes to the queue that the request names in its property `reply_to`, with its correlation id, so any client
    /// can call. The request is acked when the reply has been queued, behind it. For an `Err` there is no reply, and
    /// [`Handling::on_error`] decides what becomes of the request: tell the caller of errors by a reply.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::{Delivery, Error, Handling};
    /// let server = connection
    ///     .rpc_server("shouts", Handling::default().concurrency(10), async |request: Delivery| {
    ///         let text = request.decoded_body()?.to_ascii_uppercase();
    ///         Ok::<_, Error>(text)
    ///     })
    ///     .await?;
    /// // Until something says that it is enough.
    /// server.stop().await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel) and [`Channel::consume`](crate::Channel::consume).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it leaves no consumer behind.
    pub async fn rpc_server<H, F, M, E>(
        &self,
        consume: impl Into<Consume>,
        handling: Handling,
        handler: H,
    ) -> Result<Subscription, Error>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M, E>> + Send + 'static,
        M: Into<Message<'static>> + Send,
        E: Send,
    {
        let channel = self.channel().await?;
        let handler = Arc::new(handler);
        let answering = {
            let channel = channel.clone();
            move |request: Delivery| {
                let (channel, handler) = (channel.clone(), Arc::clone(&handler));
                async move {
                    let caller = Caller::of(&request);
                    // Called in here, so that its panics are those of the handler.
                    let Ok(reply) = handler(request).await else { return Settlement::Failed };
                    match caller.answer(&channel, reply.into()).await {
                        Ok(()) => Settlement::Ack,
                        Err(_) => Settlement::Failed,
                    }
                }
            }
        };
        channel.consume_with(consume, handling, answering).await
    }
}

/// Where the reply to a request is wanted.
struct Caller {
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

impl Caller {
    fn of(request: &Content) -> Self {
        let (mut reply_to, mut correlation_id) = (None, None);
        if let Ok(properties) = request.properties() {
            reply_to = properties.reply_to.and_then(|name| name.to_str().ok()).filter(|name| !name.is_empty());
            correlation_id = properties.correlation_id.and_then(|id| id.to_str().ok());
        }
        Self { reply_to: reply_to.map(str::to_owned), correlation_id: correlation_id.map(str::to_owned) }
    }

    /// Queues the reply, if one is wanted.
    async fn answer(&self, channel: &Channel, reply: Message<'static>) -> Result<(), Error> {
        let Some(reply_to) = &self.reply_to else { return Ok(()) };
        let reply = match &self.correlation_id {
            Some(id) => reply.correlation_id(id),
            None => reply,
        };
        channel.publish("", reply_to, reply).await
    }
}
