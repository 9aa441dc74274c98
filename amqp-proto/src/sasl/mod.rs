//! SASL: how a client proves who it is, in `connection.start-ok` and, where asked, in `connection.secure-ok`.
//!
//! [`Credentials`] hold the secret and never print it. A [`Mechanism`], one of those that brokers have or
//! [one's own](SaslMechanism), starts a [`SaslExchange`] on each connection, which says what the broker wants to hear. PLAIN,
//! AMQPLAIN and RABBIT-CR-DEMO carry the password readably: over an untrusted network they need TLS.

mod credentials;
mod exchange;

use std::fmt;
use std::sync::Arc;

pub use self::credentials::Credentials;
pub use self::exchange::{SaslError, SaslExchange, SaslMechanism};

use self::exchange::{CrDemo, Once};

/// A SASL mechanism.
///
/// Those of one's own are equal if they are the same one, or clones of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Mechanism {
    /// `PLAIN`, RFC 4616: user and password, separated by NULs. Every broker has it.
    Plain,
    /// `AMQPLAIN`: user and password in a field table, the mechanism of AMQP 0-8.
    AmqPlain,
    /// `EXTERNAL`: the broker knows who it is by other means, a TLS client certificate. Sends no credentials.
    External,
    /// `ANONYMOUS`, RFC 4505: as whoever the broker takes guests for. Sends no credentials. RabbitMQ has it since 4.0.
    Anonymous,
    /// `RABBIT-CR-DEMO`: the user first, and the password when the broker asks for it. RabbitMQ's demonstration of a
    /// challenge, off unless its configuration names it.
    RabbitCrDemo,
    /// One's own.
    Custom(Arc<dyn SaslMechanism>),
}

/// Those with names of their own.
const BUILT_IN: [Mechanism; 5] =
    [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External, Mechanism::Anonymous, Mechanism::RabbitCrDemo];

impl Mechanism {
    /// A mechanism of one's own.
    #[must_use]
    pub fn custom(mechanism: impl SaslMechanism + 'static) -> Self {
        Self::Custom(Arc::new(mechanism))
    }

    /// The name as it stands on the wire, in capitals if it is none of one's own.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::RabbitCrDemo => "RABBIT-CR-DEMO",
            Self::Custom(mechanism) => mechanism.name(),
        }
    }

    /// The mechanism of this name, in whichever case; `None` if there is none.
    ///
    /// ```
    /// use amqp_proto::sasl::Mechanism;
    ///
    /// assert_eq!(Mechanism::from_name("external"), Some(Mechanism::External));
    /// assert_eq!(Mechanism::from_name("GSSAPI"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        BUILT_IN.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The first of `wanted` that the broker offers. `offered` is the field of `connection.start`: names separated
    /// by spaces (0-9-1 §1.4.2.1), compared without regard to case.
    ///
    /// ```
    /// use amqp_proto::sasl::Mechanism;
    ///
    /// let wanted = [Mechanism::External, Mechanism::Plain];
    /// assert_eq!(Mechanism::choose(&wanted, b"AMQPLAIN PLAIN"), Some(&Mechanism::Plain));
    /// assert_eq!(Mechanism::choose(&wanted, b"AMQPLAIN"), None);
    /// ```
    #[must_use]
    pub fn choose<'a>(wanted: &'a [Self], offered: &[u8]) -> Option<&'a Self> {
        wanted.iter().find(|mechanism| {
            offered.split(|octet| *octet == b' ').any(|name| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
        })
    }

    /// Begins to authenticate on one connection.
    ///
    /// ```
    /// use amqp_proto::sasl::{Credentials, Mechanism};
    ///
    /// let mut exchange = Mechanism::Plain.start(&Credentials::default());
    /// assert_eq!(exchange.initial_response()?, b"\0guest\0guest");
    /// # Ok::<(), amqp_proto::sasl::SaslError>(())
    /// ```
    #[must_use]
    pub fn start(&self, credentials: &Credentials) -> Box<dyn SaslExchange> {
        let (user, password) = (credentials.user(), credentials.password());
        match self {
            Self::Plain => Box::new(Once([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat())),
            // A field table without its length: brokers read it so.
            Self::AmqPlain => {
                let mut table = Vec::with_capacity(32 + user.len() + password.len());
                put_long_string_field(&mut table, b"LOGIN", user);
                put_long_string_field(&mut table, b"PASSWORD", password);
                Box::new(Once(table))
            }
            Self::External | Self::Anonymous => Box::new(Once(Vec::new())),
            Self::RabbitCrDemo => Box::new(CrDemo { user: user.to_owned(), password: Some(password.to_owned()) }),
            Self::Custom(mechanism) => mechanism.start(credentials),
        }
    }
}

impl PartialEq for Mechanism {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            (Self::Custom(_), _) | (_, Self::Custom(_)) => false,
            _ => self.name() == other.name(),
        }
    }
}

impl Eq for Mechanism {}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `name` is a literal of ours, far below 255 octets, and a value whose length does not fit 32 bits could be sent in no
/// frame anyway: the frame's encoder refuses it.
fn put_long_string_field(out: &mut Vec<u8>, name: &'static [u8], value: &str) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
    out.push(b'S');
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(mechanism: &Mechanism, user: &str, password: &str) -> Vec<u8> {
        mechanism.start(&Credentials::new(user, password)).initial_response().unwrap()
    }

    #[test]
    fn f16_plain_separates_by_nul_and_has_no_authorization_identity() {
        assert_eq!(first(&Mechanism::Plain, "user", "pass word"), b"\0user\0pass word");
    }

    #[test]
    fn f16_amqplain_is_a_table_without_its_length() {
        let response = first(&Mechanism::AmqPlain, "guest", "secret");
        assert_eq!(response, b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret");
    }

    #[test]
    fn f16_external_and_anonymous_send_no_credentials() {
        for mechanism in [Mechanism::External, Mechanism::Anonymous] {
            assert_eq!(first(&mechanism, "user", "pass"), b"");
        }
    }

    #[test]
    fn f16_rabbit_cr_demo_tells_the_password_when_it_is_asked_and_once() {
        let mut exchange = Mechanism::RabbitCrDemo.start(&Credentials::new("user", "pass"));
        assert_eq!(exchange.initial_response().unwrap(), b"user");
        assert!(exchange.respond(b"Who are you?").unwrap_err().to_string().contains("Who are you?"));
        assert_eq!(exchange.respond(b"Please tell me your password").unwrap(), b"My password is pass");
        assert!(exchange.respond(b"Please tell me your password").is_err());
    }

    #[test]
    fn f16_what_knows_no_challenge_says_so() {
        for mechanism in [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External, Mechanism::Anonymous] {
            let mut exchange = mechanism.start(&Credentials::default());
            exchange.initial_response().unwrap();
            assert!(exchange.respond(b"?").unwrap_err().to_string().contains("challenge"));
        }
    }

    #[test]
    fn f16_names_are_found_in_whichever_case() {
        for mechanism in BUILT_IN {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism.clone()));
            assert_eq!(Mechanism::from_name(&mechanism.name().to_lowercase()), Some(mechanism));
        }
        assert_eq!(Mechanism::from_name("PLAIN "), None);
    }

    #[test]
    fn f16_the_first_wanted_mechanism_that_is_offered_is_chosen_and_parts_of_names_do_not_match() {
        let wanted = [Mechanism::AmqPlain, Mechanism::Plain];
        assert_eq!(Mechanism::choose(&wanted, b"PLAIN AMQPLAIN"), Some(&Mechanism::AmqPlain));
        assert_eq!(Mechanism::choose(&wanted, b"plain"), Some(&Mechanism::Plain));
        assert_eq!(Mechanism::choose(&wanted, b"XPLAIN PLAINX"), None);
        assert_eq!(Mechanism::choose(&wanted, b""), None);
    }

    #[test]
    fn f16_mechanisms_of_ones_own_are_equal_if_they_are_the_same() {
        #[derive(Debug)]
        struct Own;

        impl SaslMechanism for Own {
            fn name(&self) -> &'static str {
                "PLAIN"
            }

            fn start(&self, _: &Credentials) -> Box<dyn SaslExchange> {
                Box::new(Once(Vec::new()))
            }
        }

        let (one, other) = (Mechanism::custom(Own), Mechanism::custom(Own));
        assert_eq!(one, one.clone());
        assert_ne!(one, other);
        assert_ne!(one, Mechanism::Plain);
        assert_eq!(Mechanism::choose(std::slice::from_ref(&one), b"PLAIN"), Some(&one));
    }
}
