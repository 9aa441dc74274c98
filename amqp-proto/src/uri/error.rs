//! What can be wrong with a URI, told without its secrets.

use std::fmt;

/// Why a URI was refused.
///
/// It never holds the password. Where a part of the URI could be part of a password whose `/`, `?` or `#` was not
/// escaped, that part is not quoted either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// It does not begin with `amqp://` or `amqps://`.
    #[error("not an AMQP URI: `{uri}` has to begin with amqp:// or amqps://")]
    UnknownScheme {
        /// The URI with `***` in place of the password, without its query.
        uri: String,
    },
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a `%` in the {0} of the URI is not followed by two hexadecimal digits; `%` itself is written %25")]
    InvalidEscape(UriPart),
    /// What the escapes stand for is no UTF-8.
    #[error("the {0} of the URI is not UTF-8 after percent-decoding")]
    InvalidUtf8(UriPart),
    /// A host is missing in a list of several, is no IPv6 address though in brackets, or is an IPv6 address without
    /// brackets.
    #[error(
        "a host of the URI is malformed: expected a name, an IPv4 address or an IPv6 address in brackets; \
         `:`, `/`, `?` and `#` in a user name or password are percent-encoded"
    )]
    InvalidHost,
    /// A port is no number from 1 to 65,535.
    #[error(
        "a port of the URI is not a number from 1 to 65535; \
         `/`, `?` and `#` in a user name or password have to be percent-encoded"
    )]
    InvalidPort,
    /// The path has more than one segment.
    #[error("the virtual host of the URI holds a `/`, which is written %2f; `amqp://host/%2f` is the virtual host `/`")]
    SlashInVirtualHost,
    /// There is a fragment.
    #[error("the URI holds a `#`, which is written %23")]
    Fragment,
    /// A query parameter that does not exist, in a query that holds an `@`: it may be the rest of a password with an
    /// unescaped `?`, so it is not named.
    #[error("unknown query parameter in the URI; if it is part of a password, `?` and `@` are written %3f and %40")]
    UnescapedCredentials,
    /// A query parameter that does not exist.
    #[error("unknown query parameter `{name}` in the URI")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A query parameter that can stand once only.
    #[error("query parameter `{name}` stands more than once in the URI")]
    RepeatedParameter {
        /// Its name.
        name: &'static str,
    },
    /// A query parameter's value is not of its kind.
    #[error("query parameter `{name}` of the URI has to be {expected}")]
    InvalidParameter {
        /// Its name.
        name: &'static str,
        /// What is expected.
        expected: &'static str,
    },
    /// A query parameter of TLS on an `amqp://` URI, which would be ignored.
    #[error("query parameter `{name}` of the URI concerns TLS and needs amqps://")]
    NeedsTls {
        /// Its name.
        name: &'static str,
    },
    /// Only one of `certfile` and `keyfile` is given.
    #[error("query parameters `certfile` and `keyfile` of the URI need each other")]
    HalfClientCertificate,
    /// `verify=verify_none` without leave.
    #[error("verify=verify_none has to be allowed by Config::dangerous_allow_unverified()")]
    UnverifiedNotAllowed,
}

/// A part of a URI that is percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriPart {
    /// The user name.
    User,
    /// The password.
    Password,
    /// A host.
    Host,
    /// The virtual host.
    VirtualHost,
    /// The query.
    Query,
}

impl fmt::Display for UriPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user name",
            Self::Password => "password",
            Self::Host => "host",
            Self::VirtualHost => "virtual host",
            Self::Query => "query",
        })
    }
}
