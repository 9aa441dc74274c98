//! Who connects.

use std::fmt;
use std::time::Duration;

/// A user name and a password, `guest` and `guest` by default. A token stands in the password's place.
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
    lifetime: Option<Duration>,
}

impl Credentials {
    /// Any strings, empty ones too. A NUL in either cannot be sent by PLAIN: see
    /// [`Config::validate`](crate::config::Config::validate).
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into(), lifetime: None }
    }

    /// They expire after this long, counted from when they are handed out. Default: never.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
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

    /// After how long they expire; `None` is never.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new("guest", "guest")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Credentials");
        out.field("user", &self.user).field("password", &format_args!("***"));
        if let Some(lifetime) = self.lifetime {
            out.field("lifetime", &lifetime);
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p47_debug_never_shows_the_password() {
        let credentials = Credentials::new("user", "hush").expires_in(Duration::from_secs(60));
        let text = format!("{credentials:?} {credentials:#?}");
        assert!(!text.contains("hush") && text.contains("60s"), "{text}");
    }
}
