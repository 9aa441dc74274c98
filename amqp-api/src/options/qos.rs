//! How many deliveries may be under way.

/// A `basic.qos`. A number is a prefetch count for consumers that are still to come.
///
/// ```
/// # use amqp_api::Qos;
///
/// let each_later_consumer = Qos::new(10);
/// let the_whole_channel = Qos::new(50).global();
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Qos {
    pub(crate) prefetch_size: u32,
    pub(crate) prefetch_count: u16,
    pub(crate) global: bool,
}

impl Qos {
    /// At most this many unsettled deliveries; 0 is no bound.
    pub fn new(prefetch_count: u16) -> Self {
        Self { prefetch_count, ..Self::default() }
    }

    /// The count is for the channel as a whole, at once, and not for each consumer that is still to come. RabbitMQ has
    /// deprecated this, and 4.3 takes it for the count of each consumer that is still to come, before the consumer's own.
    pub fn global(mut self) -> Self {
        self.global = true;
        self
    }

    /// At most this many unsettled bytes; 0 is no bound. RabbitMQ refuses anything else with 540.
    pub fn prefetch_size(mut self, bytes: u32) -> Self {
        self.prefetch_size = bytes;
        self
    }
}

impl From<u16> for Qos {
    fn from(prefetch_count: u16) -> Self {
        Self::new(prefetch_count)
    }
}
