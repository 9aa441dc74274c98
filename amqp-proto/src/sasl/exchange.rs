//! What is said in turn while one authenticates.

use super::Credentials;

/// A SASL mechanism of one's own, for [`Mechanism::custom`](super::Mechanism::custom).
///
/// It does no I/O: what it says is sent by the connection, and what the broker asks is handed to it. It may need more than
/// the [`Credentials`] of the configuration, a key or a ticket for example, which it then holds itself; its `Debug` must
/// not show that.
///
/// ```
/// use amqp_proto::sasl::{Credentials, Mechanism, SaslError, SaslExchange, SaslMechanism};
///
/// /// Answers each challenge by the challenge, turned round.
/// #[derive(Debug)]
/// struct Mirror;
///
/// impl SaslMechanism for Mirror {
///     fn name(&self) -> &str {
///         "X-MIRROR"
///     }
///
///     fn start(&self, credentials: &Credentials) -> Box<dyn SaslExchange> {
///         Box::new(Turn { user: credentials.user().to_owned() })
///     }
/// }
///
/// struct Turn {
///     user: String,
/// }
///
/// impl SaslExchange for Turn {
///     fn initial_response(&mut self) -> Result<Vec<u8>, SaslError> {
///         Ok(self.user.clone().into_bytes())
///     }
///
///     fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
///         if challenge.is_empty() {
///             return Err(SaslError::new("the challenge is empty"));
///         }
///         Ok(challenge.iter().rev().copied().collect())
///     }
/// }
///
/// let mut exchange = Mechanism::custom(Mirror).start(&Credentials::new("alice", ""));
/// assert_eq!(exchange.initial_response().unwrap(), b"alice");
/// assert_eq!(exchange.respond(b"abc").unwrap(), b"cba");
/// ```
pub trait SaslMechanism: std::fmt::Debug + Send + Sync {
    /// The name by which the broker offers it, at most 255 bytes.
    fn name(&self) -> &str;

    /// Begins to authenticate on one connection.
    fn start(&self, credentials: &Credentials) -> Box<dyn SaslExchange>;
}

/// One authentication under way: first the initial response, in `connection.start-ok`, then an answer to each
/// `connection.secure`, of which there may be any number.
pub trait SaslExchange: Send {
    /// What goes out with the mechanism's name. Empty if the broker is to speak first.
    ///
    /// # Errors
    ///
    /// If there is nothing to say; the connection is not made then.
    fn initial_response(&mut self) -> Result<Vec<u8>, SaslError>;

    /// The answer to a challenge.
    ///
    /// # Errors
    ///
    /// If it cannot be answered; the connection is not made then.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError>;
}

/// Why a mechanism cannot go on. It ends in the error of the connection, so it must hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SaslError(String);

impl SaslError {
    /// For this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Says one thing, and knows no further round.
pub(super) struct Once(pub(super) Vec<u8>);

impl SaslExchange for Once {
    fn initial_response(&mut self) -> Result<Vec<u8>, SaslError> {
        Ok(std::mem::take(&mut self.0))
    }

    fn respond(&mut self, _: &[u8]) -> Result<Vec<u8>, SaslError> {
        Err(SaslError::new("the broker sent a challenge, and the mechanism knows none"))
    }
}

/// `RABBIT-CR-DEMO`: the user first, the password when the broker asks for it, once.
pub(super) struct CrDemo {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

impl SaslExchange for CrDemo {
    fn initial_response(&mut self) -> Result<Vec<u8>, SaslError> {
        Ok(self.user.clone().into_bytes())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        if challenge != b"Please tell me your password" {
            return Err(SaslError::new(format!("the broker asks {:?}", String::from_utf8_lossy(challenge))));
        }
        let password = self.password.take().ok_or_else(|| SaslError::new("the broker asks for the password again"))?;
        Ok(format!("My password is {password}").into_bytes())
    }
}
