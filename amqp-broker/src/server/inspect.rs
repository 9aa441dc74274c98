//! Looking into a running broker, from a test.

use crate::core::NotThere;
use crate::{
    BindingInfo, Broker, ChannelInfo, ConnectionInfo, ConsumerInfo, ExchangeInfo, MessageInfo, PublishInfo, QueueInfo,
    UnackedInfo,
};

impl Broker {
    /// The queues of the virtual host `/`, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueInfo> {
        self.queues_in("/").unwrap_or_default()
    }

    /// The queues of a virtual host, by name.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn queues_in(&self, vhost: &str) -> Result<Vec<QueueInfo>, NotThere> {
        self.lock().list_queues(vhost)
    }

    /// A queue of the virtual host `/`; `None` if there is none of that name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueInfo> {
        self.queues().into_iter().find(|queue| queue.name == name)
    }

    /// The exchanges of the virtual host `/`, by name.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ExchangeInfo> {
        self.lock().list_exchanges("/").unwrap_or_default()
    }

    /// The bindings of the virtual host `/`, those of the default exchange included.
    #[must_use]
    pub fn bindings(&self) -> Vec<BindingInfo> {
        self.lock().list_bindings("/").unwrap_or_default()
    }

    /// The consumers of a queue of the virtual host `/`, oldest first.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn consumers(&self, queue: &str) -> Result<Vec<ConsumerInfo>, NotThere> {
        self.lock().list_consumers("/", queue)
    }

    /// The messages that wait in a queue of the virtual host `/`, in their order, or that are in the stream.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn messages(&self, queue: &str) -> Result<Vec<MessageInfo>, NotThere> {
        self.lock().list_messages("/", queue)
    }

    /// The deliveries from a queue of the virtual host `/` that nobody has settled, by connection and channel; not those of a
    /// stream, which keeps what it delivers.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn unacked(&self, queue: &str) -> Result<Vec<UnackedInfo>, NotThere> {
        self.lock().list_unacked("/", queue)
    }

    /// Keeps what is published from now on, for [`published`](Self::published). All that was kept before is forgotten.
    pub fn record_publishes(&self) {
        self.lock().record_publishes();
    }

    /// What was published since [`record_publishes`](Self::record_publishes), by anybody and to any exchange that there is,
    /// in order: whatever became of it, and though no queue may have taken it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = amqp_broker::Broker::start()?;
    /// broker.record_publishes();
    /// let connection = amqp_blocking::connect(broker.uri())?;
    /// let publisher = connection.publisher()?;
    /// publisher.publish("amq.topic", "order.created", amqp_blocking::Message::new("7 apples").mandatory(false))?;
    /// let published = broker.published();
    /// assert_eq!(published[0].message.routing_key, "order.created");
    /// assert_eq!(published[0].queues, 0);
    /// # connection.close()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn published(&self) -> Vec<PublishInfo> {
        self.lock().published()
    }

    /// The open connections, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.lock().list_connections()
    }

    /// The open channels.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelInfo> {
        self.lock().list_channels()
    }

    /// What the broker would have logged about connections, from line number `from` on, and the number of the line that comes
    /// next. A connection that ends without a close is a `[warning]`, one that the broker closes an `[error]`.
    #[must_use]
    pub fn log_since(&self, from: usize) -> (Vec<String>, usize) {
        self.lock().log_since(from)
    }
}
