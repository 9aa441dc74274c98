//! SASL: how a client proves who it is, in `connection.start-ok` and, where asked, in `connection.secure-ok`.
//!
//! [`Credentials`] hold the secret and never print it. A [`Mechanism`] turns them into the bytes that the broker
//! wants. PLAIN and AMQPLAIN carry the password readably: over an untrusted network they need TLS.

use std::fmt;

/// A user name and a password, `guest` and `guest` by default.
///
/// `Debug` shows `***` in place of the password, and there is no `Display`.
///
/// ```
/// use amqp_proto::sasl::Credentials;
///
/// let credentials = Credentials::new("alice", "s3cret");
/// assert_eq!(credentials.password(), "s3cret");
/// assert_eq!(format!("{credentials:?}"), r#"Credentials { user: "alice", password: *** }"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Any strings, empty ones too. A NUL in either cannot be sent by PLAIN: see
    /// [`Config::validate`](crate::config::Config::validate).
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, in clear. Whoever asks for it takes care of where it goes.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new("guest", "guest")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("password", &format_args!("***")).finish()
    }
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// `PLAIN`, RFC 4616: user and password, separated by NULs. Every broker has it.
    Plain,
    /// `AMQPLAIN`: user and password in a field table, the mechanism of AMQP 0-8.
    AmqPlain,
    /// `EXTERNAL`: the broker knows who it is by other means, a TLS client certificate. Sends no credentials.
    External,
}

impl Mechanism {
    /// The name as it stands on the wire, in capitals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
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
        [Self::Plain, Self::AmqPlain, Self::External]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The first of `wanted` that the broker offers. `offered` is the field of `connection.start`: names separated
    /// by spaces (0-9-1 §1.4.2.1), compared without regard to case.
    ///
    /// ```
    /// use amqp_proto::sasl::Mechanism;
    ///
    /// let wanted = [Mechanism::External, Mechanism::Plain];
    /// assert_eq!(Mechanism::choose(&wanted, b"AMQPLAIN PLAIN"), Some(Mechanism::Plain));
    /// assert_eq!(Mechanism::choose(&wanted, b"AMQPLAIN"), None);
    /// ```
    #[must_use]
    pub fn choose(wanted: &[Self], offered: &[u8]) -> Option<Self> {
        let is_offered = |mechanism: &Self| {
            offered.split(|octet| *octet == b' ').any(|name| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
        };
        wanted.iter().copied().find(is_offered)
    }

    /// The response that goes into `connection.start-ok`.
    ///
    /// ```
    /// use amqp_proto::sasl::{Credentials, Mechanism};
    ///
    /// let response = Mechanism::Plain.initial_response(&Credentials::default());
    /// assert_eq!(response, b"\0guest\0guest");
    /// ```
    #[must_use]
    pub fn initial_response(self, credentials: &Credentials) -> Vec<u8> {
        match self {
            Self::Plain => [b"\0", credentials.user.as_bytes(), b"\0", credentials.password.as_bytes()].concat(),
            // A field table without its length: brokers read it so.
            Self::AmqPlain => {
                let mut table = Vec::with_capacity(32 + credentials.user.len() + credentials.password.len());
                put_long_string_field(&mut table, b"LOGIN", &credentials.user);
                put_long_string_field(&mut table, b"PASSWORD", &credentials.password);
                table
            }
            Self::External => Vec::new(),
        }
    }

    /// The response to a `connection.secure`, or `None` if the mechanism knows no further round and the challenge
    /// is therefore a fault of the broker. None of today's mechanisms knows one.
    #[must_use]
    pub fn respond(self, _credentials: &Credentials, _challenge: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Plain | Self::AmqPlain | Self::External => None,
        }
    }
}

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

    #[test]
    fn f16_plain_separates_by_nul_and_has_no_authorization_identity() {
        let response = Mechanism::Plain.initial_response(&Credentials::new("user", "pass word"));
        assert_eq!(response, b"\0user\0pass word");
    }

    #[test]
    fn f16_amqplain_is_a_table_without_its_length() {
        let response = Mechanism::AmqPlain.initial_response(&Credentials::new("guest", "secret"));
        assert_eq!(response, b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret");
    }

    #[test]
    fn f16_external_sends_no_credentials() {
        assert_eq!(Mechanism::External.initial_response(&Credentials::new("user", "pass")), b"");
    }

    #[test]
    fn f16_names_are_found_in_whichever_case() {
        for mechanism in [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External] {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
            assert_eq!(Mechanism::from_name(&mechanism.name().to_lowercase()), Some(mechanism));
        }
        assert_eq!(Mechanism::from_name("PLAIN "), None);
    }

    #[test]
    fn f16_the_first_wanted_mechanism_that_is_offered_is_chosen_and_parts_of_names_do_not_match() {
        let wanted = [Mechanism::AmqPlain, Mechanism::Plain];
        assert_eq!(Mechanism::choose(&wanted, b"PLAIN AMQPLAIN"), Some(Mechanism::AmqPlain));
        assert_eq!(Mechanism::choose(&wanted, b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::choose(&wanted, b"XPLAIN PLAINX"), None);
        assert_eq!(Mechanism::choose(&wanted, b""), None);
    }

    #[test]
    fn p47_debug_never_shows_the_password() {
        let credentials = Credentials::new("user", "hush");
        assert!(!format!("{credentials:?} {credentials:#?}").contains("hush"));
    }
}
