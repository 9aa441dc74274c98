//! AMQP URIs: `amqp[s]://user:password@host:port/virtual-host?query`.
//!
//! Following RabbitMQ's URI specification and its query parameters. The splitting is done here, because general URL
//! crates refuse several hosts and confuse what is absent with what is empty; the percent-decoding is a crate's.
//! [`UriError`] says what is wrong.
//!
//! | part | if absent | notes |
//! |---|---|---|
//! | scheme | error | `amqp` or `amqps` (TLS), in whichever case |
//! | user, password | `guest`, `guest` | present and empty is the empty string; `:` may stand in the password as it is |
//! | host | `localhost` | several are separated by commas: `h1:5673,h2,[::1]` |
//! | port | 5672, over TLS 5671 | |
//! | virtual host | `/` | `amqp://host/` is the empty one, `amqp://host/%2f` is `/` |
//!
//! Everything is percent-decoded as UTF-8; `+` stays `+`.
//!
//! | parameter | value |
//! |---|---|
//! | `heartbeat` | interval in whole seconds, 0 to 65,535; 0 disables |
//! | `connection_timeout` | milliseconds for connecting one socket, at least 1 |
//! | `channel_max` | 0 to 65,535; 0 is no limit |
//! | `frame_max` | bytes: 0 (no limit) or at least 4096 |
//! | `auth_mechanism` | `plain`, `amqplain`, `external`, `anonymous` or `rabbit-cr-demo`, in whichever case; repeat it for several, the most wanted first |
//! | `name` | the connection's name |
//! | `cacertfile`, `certfile`, `keyfile` | PEM files; `amqps` only |
//! | `verify` | `verify_peer` or `verify_none`; `amqps` only |
//! | `server_name_indication` | the broker's name in TLS; `amqps` only |
//!
//! An unknown parameter is an error, and so is one that stands twice or does not fit.
//!
//! ```
//! use amqp_proto::config::Config;
//! use amqp_proto::uri::UriError;
//!
//! let config: Config = "amqp://alice:a+b%40c@[::1],backup:5673/%2f?heartbeat=10".parse()?;
//! assert_eq!(config.credentials.password(), "a+b@c");
//! assert_eq!(config.hosts[0].host, "::1");
//! assert_eq!(config.hosts[1].to_string(), "backup:5673");
//!
//! let error = Config::from_uri("http://alice:s3cret@localhost").unwrap_err();
//! assert_eq!(error, UriError::UnknownScheme { uri: "http://alice:***@localhost".to_owned() });
//! # Ok::<(), UriError>(())
//! ```

mod error;
mod query;

use core::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

pub use self::error::{UriError, UriPart};
use crate::config::{Address, Config};
use crate::sasl::Credentials;

impl Config {
    /// The defaults, with what the URI says. See [`uri`](crate::uri) for its parts and parameters.
    ///
    /// # Errors
    ///
    /// Each [`UriError`]; none shows the password.
    pub fn from_uri(uri: &str) -> Result<Self, UriError> {
        Self::default().with_uri(uri)
    }

    /// This configuration, with what the URI says in place of its own. The scheme and the hosts are always taken from
    /// the URI (an absent host is `localhost`); credentials, virtual host and what the query sets only where they are
    /// present in it.
    ///
    /// ```
    /// use amqp_proto::config::{Config, Heartbeat};
    ///
    /// let config = Config::default().heartbeat(Heartbeat::seconds(5)).credentials("alice", "s3cret");
    /// let config = config.with_uri("amqp://bob@broker")?;
    /// assert_eq!(config.heartbeat, Heartbeat::seconds(5));
    /// assert_eq!((config.credentials.user(), config.credentials.password()), ("bob", "s3cret"));
    /// # Ok::<(), amqp_proto::uri::UriError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Each [`UriError`]; none shows the password.
    pub fn with_uri(mut self, uri: &str) -> Result<Self, UriError> {
        let (is_tls, rest) = split_scheme(uri)?;
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let (before_query, query) = split_optional(rest, '?');
        let (authority, path) = split_optional(before_query, '/');
        // The last `@` ends the credentials: none can stand in a host.
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };

        self.tls = is_tls.then(|| self.tls.unwrap_or_default());
        if let Some(user_info) = user_info {
            self.credentials = credentials(user_info, &self.credentials)?;
        }
        self.hosts = addresses(hosts, if is_tls { Address::TLS_PORT } else { Address::PORT })?;
        if let Some(path) = path {
            if path.contains('/') {
                return Err(UriError::SlashInVirtualHost);
            }
            self.virtual_host = decode(path, UriPart::VirtualHost)?;
        }
        match query {
            Some(query) => query::apply(self, query),
            None => Ok(self),
        }
    }
}

impl FromStr for Config {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        Self::from_uri(uri)
    }
}

impl TryFrom<&str> for Config {
    type Error = UriError;

    fn try_from(uri: &str) -> Result<Self, UriError> {
        Self::from_uri(uri)
    }
}

impl TryFrom<&String> for Config {
    type Error = UriError;

    fn try_from(uri: &String) -> Result<Self, UriError> {
        Self::from_uri(uri)
    }
}

impl TryFrom<String> for Config {
    type Error = UriError;

    fn try_from(uri: String) -> Result<Self, UriError> {
        Self::from_uri(&uri)
    }
}

/// Whether the scheme is that of TLS, and what follows `://`.
fn split_scheme(uri: &str) -> Result<(bool, &str), UriError> {
    match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("amqp") => Ok((false, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("amqps") => Ok((true, rest)),
        _ => Err(UriError::UnknownScheme { uri: without_secrets(uri) }),
    }
}

/// Unlike with `split_once`, what stands before is there in either case.
fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// `user`, `user:` and `user:password` differ: an absent password is the default, an empty one is empty.
fn credentials(user_info: &str, default: &Credentials) -> Result<Credentials, UriError> {
    let (user, password) = split_optional(user_info, ':');
    let user = decode(user, UriPart::User)?;
    match password {
        Some(password) => Ok(Credentials::new(user, decode(password, UriPart::Password)?)),
        None => Ok(Credentials::new(user, default.password())),
    }
}

/// An absent host is `localhost`, but only where it is the only one: in a list it is a slip.
fn addresses(hosts: &str, default_port: u16) -> Result<Vec<Address>, UriError> {
    let is_list = hosts.contains(',');
    hosts
        .split(',')
        .map(|host| {
            let address = address(host, default_port)?;
            match (address.host.is_empty(), is_list) {
                (false, _) => Ok(address),
                (true, false) => Ok(Address::new("localhost", address.port)),
                (true, true) => Err(UriError::InvalidHost),
            }
        })
        .collect()
}

/// One host as it stands in a URI: a name or an address, with its port or without.
#[cfg(feature = "serde")]
pub(crate) fn host(text: &str, default_port: u16) -> Option<Address> {
    address(text, default_port).ok().filter(|address| !address.host.is_empty())
}

fn address(text: &str, default_port: u16) -> Result<Address, UriError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']').ok_or(UriError::InvalidHost)?;
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => return Err(UriError::InvalidHost),
            };
            (ipv6(inner)?, port)
        }
        None => {
            let (host, port) = split_optional(text, ':');
            let port = port.unwrap_or_default();
            // An IPv6 address without brackets cannot be told from its port.
            if port.contains(':') {
                return Err(UriError::InvalidHost);
            }
            (decode(host, UriPart::Host)?, port)
        }
    };
    // RFC 3986 §3.2.3 allows `host:` without digits.
    let port = if port.is_empty() { Some(default_port) } else { number(port).filter(|port| *port != 0) };
    Ok(Address { host, port: port.ok_or(UriError::InvalidPort)? })
}

/// What stands in brackets: an address, and a zone after `%25` (RFC 6874) for one that is link-local.
fn ipv6(text: &str) -> Result<String, UriError> {
    let host = decode(text, UriPart::Host)?;
    match split_optional(&host, '%') {
        (address, zone) if zone != Some("") && address.parse::<Ipv6Addr>().is_ok() => Ok(host),
        _ => Err(UriError::InvalidHost),
    }
}

/// Digits and nothing else: Rust's own parser takes a sign as well.
fn number<N: FromStr>(text: &str) -> Option<N> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn decode(text: &str, part: UriPart) -> Result<String, UriError> {
    // The crate leaves a `%` that escapes nothing as it is.
    let escapes_are_whole = text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        digits.next().is_some_and(|octet| octet.is_ascii_hexdigit())
            && digits.next().is_some_and(|octet| octet.is_ascii_hexdigit())
    });
    if !escapes_are_whole {
        return Err(UriError::InvalidEscape(part));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(UriError::InvalidUtf8(part)),
    }
}

/// The text fit to be shown: everything from the first `:` of what follows the scheme to the last `@` is `***`, and the
/// query is cut. This may hide more than the password, where that is not properly escaped, but never less.
fn without_secrets(uri: &str) -> String {
    let is_scheme = |scheme: &str| {
        !scheme.is_empty() && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
    };
    let start = match uri.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + "://".len(),
        _ => 0,
    };
    let (scheme, rest) = uri.split_at(start);
    let (secret, tail) = match rest.rsplit_once('@') {
        Some((user_info, tail)) => match user_info.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), tail),
            None => (format!("{user_info}@"), tail),
        },
        None => (String::new(), rest),
    };
    let (tail, query) = split_optional(tail, '?');
    format!("{scheme}{secret}{tail}{}", if query.is_some() { "?***" } else { "" })
}
