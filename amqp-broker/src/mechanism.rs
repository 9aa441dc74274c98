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
    /// `EXTERNAL`: the user whom the client's certificate names, without a password. It is offered over TLS only, as by
    /// RabbitMQ's plugin `rabbitmq_auth_mechanism_ssl`; see [`CertificateName`].
    External,
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
            Self::External => "EXTERNAL",
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

/// Which name in a client's certificate is that of its user, for [`Mechanism::External`]: RabbitMQ's setting
/// `ssl_cert_login_from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CertificateName {
    /// All of the subject, its last part first: `CN=alice,O=example`.
    #[default]
    DistinguishedName,
    /// The subject's `CN`: `alice`. Of several, all, with commas between.
    CommonName,
}
