//! What can be wrong with a configuration.

use crate::wire::EncodeError;

/// A configuration that no connection can be made with. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of hosts is empty.
    #[error("no host is configured")]
    NoHost,
    /// A host name is empty.
    #[error("a configured host name is empty")]
    EmptyHost,
    /// A name that goes out as a short string is longer than 255 bytes.
    #[error("{field} is {length} bytes long, 255 are the most")]
    TooLong {
        /// The field of `Config`.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A client property cannot be sent.
    #[error("client_property: {0}")]
    ClientProperty(EncodeError),
    /// The list of authentication mechanisms is empty.
    #[error("no authentication mechanism is configured")]
    NoMechanism,
    /// PLAIN separates user name and password by a NUL, so neither can hold one.
    #[error("the user name or the password holds a NUL, which the mechanism PLAIN cannot send")]
    NulInCredentials,
    /// A frame_max that the protocol does not allow.
    #[error("frame_max is {0}; it has to be 0 (no limit) or at least 4096")]
    FrameMax(u32),
    /// Only one of the client's certificate and key is given.
    #[error("a TLS client certificate needs both a certificate and a key")]
    HalfClientCertificate,
    /// `Verify::None` without `Config::dangerous_allow_unverified()`.
    #[error("TLS without verification has to be allowed by Config::dangerous_allow_unverified()")]
    UnverifiedNotAllowed,
}
