//! Retries: a delivery whose handler fails comes again later, a few times, and then goes where somebody looks at it.
//!
//! Each delay has a queue of its own, in which all messages expire after the same time, so that none waits for one before
//! it: what has expired is dead-lettered back to the queue that it came from. Nobody consumes from these.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::wire::{FieldTable, TableRef};

use super::caught::caught;
use crate::channel::Channel;
use crate::connection::Connection;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::message::Message;
use crate::options::{Consume, Handling, Queue};
use crate::publisher::Publisher;
use crate::subscription::{Settlement, Subscription};

/// The header that counts how often a message has failed.
const FAILED: &str = "x-retry-failed";
/// What it failed with the last time.
const REASON: &str = "x-retry-reason";
/// Where it was published to at first.
const EXCHANGE: &str = "x-retry-exchange";
const ROUTING_KEY: &str = "x-retry-routing-key";
/// The longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 1000;

/// How what fails in a queue is tried again: after which delays, and where it goes when these are used up. See
/// [`Connection::consume_with_retry`].
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_api::Retry;
/// // At once, after 5 s, after a minute, and then to the queue `orders.parked`.
/// let retry = Retry::new("orders").delays([Duration::from_secs(5), Duration::from_secs(60)]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Retry {
    queue: String,
    prefetch: Option<u16>,
    delays: Vec<Duration>,
    parking: String,
}

impl Retry {
    /// What fails in this queue is tried again after 1 s, 10 s and 60 s, and goes to the queue `<queue>.parked` then.
    pub fn new(queue: impl Into<String>) -> Self {
        let queue = queue.into();
        let parking = format!("{queue}.parked");
        Self { queue, prefetch: None, delays: [1, 10, 60].map(Duration::from_secs).into(), parking }
    }

    /// After which delays, in whole milliseconds: so many times at most. Each length has a queue of its own,
    /// `<queue>.retry.<milliseconds>`, for as long as nobody deletes it.
    pub fn delays(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.delays = delays.into_iter().collect();
        self
    }

    /// Where it goes when the delays are used up.
    pub fn parking(mut self, queue: impl Into<String>) -> Self {
        self.parking = queue.into();
        self
    }

    /// The consumer's prefetch: see [`Consume::prefetch`].
    pub fn prefetch(mut self, deliveries: u16) -> Self {
        self.prefetch = Some(deliveries);
        self
    }

    fn delay_queue(&self, delay: Duration) -> String {
        format!("{}.retry.{}", self.queue, delay.as_millis())
    }

    /// Where what has failed so many times goes next.
    fn next(&self, failed: usize) -> String {
        match failed.checked_sub(1).and_then(|used| self.delays.get(used)) {
            Some(delay) => self.delay_queue(*delay),
            None => self.parking.clone(),
        }
    }

    /// Sees to it that there are the queues that messages go to.
    async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        for delay in &self.delays {
            let queue = Queue::new(self.delay_queue(*delay)).ttl(*delay);
            // The default exchange, so that it comes back to this queue alone.
            channel.queue_declare(queue.dead_letter_exchange("").dead_letter_routing_key(&self.queue)).await?;
        }
        channel.queue_declare(Queue::new(&self.parking)).await?;
        Ok(())
    }
}

impl Connection {
    /// Consumes from a queue with a handler, as [`Channel::consume_with`](crate::Channel::consume_with) does, on a channel of
    /// its own; what the handler fails with comes again after a delay, and in the end goes to a parking queue.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// use std::sync::Arc;
    ///
    /// # use amqp_api::{Content, Handling, Retry};
    /// let handler = async |order: Arc<Content>| if order.body() == "ok" { Ok(()) } else { Err("not this one") };
    /// let subscription = connection.consume_with_retry(Retry::new("orders"), Handling::default(), handler).await?;
    /// // Until something says that it is enough.
    /// subscription.stop().await
    /// # }
    /// ```
    ///
    /// For `Ok` the delivery is acked. For an `Err`, and when the handler panics, it is published to the queue of its next
    /// delay, and acked when the broker has taken responsibility for that: it is never lost on this side, and may come twice.
    /// (While it is dead-lettered back, a broker that fails may lose it.) It comes with its body and its properties, but for
    /// `expiration`, `user_id` and the header `CC`, which would take effect again; it has these headers in addition:
    ///
    /// | header | |
    /// |---|---|
    /// | `x-retry-failed` | how often it has failed |
    /// | `x-retry-reason` | what it failed with the last time: the first 1000 bytes |
    /// | `x-retry-exchange`, `x-retry-routing-key` | where it was published to at first |
    ///
    /// The queues for delays and for parking are declared here; the one that is consumed from has to exist. What is tried
    /// again goes behind all that is in the queue.
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel) and [`Channel::consume`](crate::Channel::consume); 406 if one of the queues exists and is
    /// different.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it leaves no consumer behind.
    pub async fn consume_with_retry<H, F, E>(
        &self,
        retry: Retry,
        handling: Handling,
        handler: H,
    ) -> Result<Subscription, Error>
    where
        H: Fn(Arc<Content>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send,
    {
        let (channel, publisher) = (self.channel().await?, self.publisher().await?);
        retry.declare(&channel).await?;
        let consume = Consume::new(&retry.queue);
        let consume = retry.prefetch.map_or(consume.clone(), |prefetch| consume.prefetch(prefetch));
        let sender = Arc::new(Sender { retry, connection: self.clone(), publisher });
        let handler = Arc::new(handler);
        let handler = move |delivery: Delivery| {
            let (sender, handler) = (Arc::clone(&sender), Arc::clone(&handler));
            async move {
                // The acker is one that was lent: what this returns settles the delivery.
                let content = Arc::new(delivery.into_parts().0);
                let handled = caught(async { handler(Arc::clone(&content)).await }).await;
                let reason = match handled {
                    Some(Ok(())) => return Settlement::Ack,
                    Some(Err(error)) => error.to_string(),
                    None => "the handler panicked".to_owned(),
                };
                match sender.send(&content, &reason).await {
                    Ok(()) => Settlement::Ack,
                    Err(_) => Settlement::Requeue,
                }
            }
        };
        channel.consume_with(consume, handling, handler).await
    }
}

/// What sends failures on their way.
struct Sender {
    retry: Retry,
    connection: Connection,
    publisher: Publisher,
}

impl Sender {
    async fn send(&self, content: &Content, reason: &str) -> Result<(), Error> {
        let (failed, message) = again(content, reason)?;
        let queue = self.retry.next(failed);
        match self.publisher.publish("", &queue, message.clone()).await {
            // Somebody has deleted it.
            Err(error) if matches!(error.kind(), ErrorKind::NoRoute(_)) => {
                self.connection.with_channel(async |channel| self.retry.declare(&channel).await).await?;
                self.publisher.publish("", &queue, message).await
            }
            result => result,
        }
    }
}

/// What is published for a message that has failed again, and how often that was.
fn again<'c>(content: &'c Content, reason: &str) -> Result<(usize, Message<'c>), Error> {
    let mut properties = content.properties()?;
    let mut headers = properties.headers.as_ref().map_or_else(FieldTable::new, TableRef::to_owned);
    let failed = headers.get(FAILED).and_then(|value| value.as_u64()).unwrap_or(0).saturating_add(1);
    headers.remove("CC");
    headers.insert(FAILED, i64::try_from(failed).unwrap_or(i64::MAX))?;
    headers.insert(REASON, cut(reason))?;
    if !headers.contains_key(EXCHANGE) {
        headers.insert(EXCHANGE, content.exchange())?;
        headers.insert(ROUTING_KEY, content.routing_key())?;
    }
    (properties.expiration, properties.user_id, properties.headers) = (None, None, None);
    let message = Message::new(content.to_bytes()).properties(properties).headers(&headers).mandatory(true);
    Ok((usize::try_from(failed).unwrap_or(usize::MAX), message))
}

/// The beginning of a text, no longer than is kept.
fn cut(text: &str) -> &str {
    if text.len() <= LONGEST_REASON {
        return text;
    }
    (0..=LONGEST_REASON).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f49_each_failure_has_its_queue_and_the_last_one_is_parked() {
        let retry = Retry::new("q").delays([1, 20].map(Duration::from_millis));
        assert_eq!([1, 2, 3, 99].map(|failed| retry.next(failed)), ["q.retry.1", "q.retry.20", "q.parked", "q.parked"]);
        let at_once = Retry::new("q").delays([]).parking("morgue");
        assert_eq!(at_once.next(1), "morgue");
    }

    #[test]
    fn f49_a_reason_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "\u{20ac}".repeat(500);
        assert_eq!(cut(&long).len(), 999);
    }
}
