//! What calls take: builders with good defaults.
//!
//! Most calls take a name where nothing is to be said besides (`channel.queue_declare("hello")`), and one of these where
//! something is. Builders never fail: what is wrong, a name of more than 255 bytes or an argument that cannot be
//! encoded, comes out of the call.

mod arguments;
mod binding;
mod cancel;
mod consume;
mod delete;
mod exchange;
mod get;
mod handling;
mod qos;
mod queue;
#[cfg(test)]
mod tests;

pub use binding::Binding;
pub use cancel::Cancel;
pub use consume::{Consume, StreamOffset};
pub use delete::{ExchangeDelete, QueueDelete, QueuePurge};
pub use exchange::Exchange;
pub use get::Get;
pub use handling::{Handling, OnError};
pub use qos::Qos;
pub use queue::{DeadLetterStrategy, LeaderLocator, Overflow, Queue, QueueMode};

pub(crate) use arguments::Arguments;
