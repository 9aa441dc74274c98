//! How clients may log in.

use crate::Emulate;

/// A SASL mechanism that the broker can offer; see [`Builder::mechanisms`](crate::Builder::mechanisms).
///
/// ```
/// use amqp_broker::{Broker, Mechanism};
///
/// # fn main() -> std::io::Result<()> {
/// let broker = Broker::builder().mechanisms(&[Mechanism::Plain, Mechanism::RabbitCrDemo]).start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// `PLAIN`: user and password.
    Plain,
    /// `AMQPLAIN`: user and password in a table.
    AmqPlain,
    /// `ANONYMOUS`: anybody, as the user `guest`.
    Anonymous,
    /// `RABBIT-CR-DEMO`: the broker asks for the password in a challenge.
    RabbitCrDemo,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::RabbitCrDemo => "RABBIT-CR-DEMO",
        }
    }

    /// What a RabbitMQ of this version offers by default, in its order.
    pub(crate) const fn of(version: Emulate) -> &'static [Self] {
        match version {
            Emulate::V3_10 => &[Self::Plain, Self::AmqPlain],
            Emulate::V4_0 => &[Self::Anonymous, Self::AmqPlain, Self::Plain],
            Emulate::V4_3 => &[Self::AmqPlain, Self::Anonymous, Self::Plain],
        }
    }
}
