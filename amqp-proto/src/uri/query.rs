//! The query parameters of a URI.

use std::time::Duration;

use super::{UriError, UriPart, decode, number, split_optional};
use crate::config::{Config, Heartbeat, TlsInput, TlsOptions, Verify, is_frame_max};
use crate::sasl::Mechanism;

/// The configuration with the parameters of this query. Their order does not matter, except among mechanisms.
pub(super) fn apply(config: Config, query: &str) -> Result<Config, UriError> {
    parameters(config, query).map_err(|error| match error {
        // `amqp://user:12?rest-of-the-password@host` splits into a host, a port and a query: quote nothing of it.
        UriError::UnknownParameter { .. } if query.contains('@') => UriError::UnescapedCredentials,
        error => error,
    })
}

fn parameters(mut config: Config, query: &str) -> Result<Config, UriError> {
    let mut seen = Vec::new();
    let mut mechanisms = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split_optional(pair, '=');
        let name = decode(name, UriPart::Query)?;
        let value = decode(value.unwrap_or_default(), UriPart::Query)?;
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(UriError::UnknownParameter { name });
        };
        if name == "auth_mechanism" {
            mechanisms.push(mechanism(&value)?);
            continue;
        }
        if seen.contains(&name) {
            return Err(UriError::RepeatedParameter { name });
        }
        seen.push(name);
        set(&mut config, name, value)?;
    }
    if !mechanisms.is_empty() {
        config.mechanisms = mechanisms;
    }
    match &config.tls {
        Some(tls) if tls.certificate.is_some() != tls.key.is_some() => Err(UriError::HalfClientCertificate),
        Some(tls) if tls.verify == Verify::None && !config.allows_unverified() => Err(UriError::UnverifiedNotAllowed),
        _ => Ok(config),
    }
}

const NAMES: [&str; 11] = [
    "heartbeat",
    "connection_timeout",
    "channel_max",
    "frame_max",
    "auth_mechanism",
    "name",
    "cacertfile",
    "certfile",
    "keyfile",
    "verify",
    "server_name_indication",
];

fn set(config: &mut Config, name: &'static str, value: String) -> Result<(), UriError> {
    let wrong = |expected| UriError::InvalidParameter { name, expected };
    match name {
        "heartbeat" => {
            let seconds = number(&value).ok_or(wrong("whole seconds from 0 to 65535"))?;
            config.heartbeat = Heartbeat::seconds(seconds);
        }
        "connection_timeout" => {
            let milliseconds = number(&value).filter(|milliseconds: &u32| *milliseconds > 0);
            let milliseconds = milliseconds.ok_or(wrong("whole milliseconds from 1 to 4294967295"))?;
            config.timeouts.connect = Duration::from_millis(milliseconds.into());
        }
        "channel_max" => config.channel_max = number(&value).ok_or(wrong("a number from 0 to 65535"))?,
        "frame_max" => {
            let bytes = number(&value).filter(|bytes| is_frame_max(*bytes));
            config.frame_max = bytes.ok_or(wrong("0 or a number of bytes from 4096 to 4294967295"))?;
        }
        "name" => config.connection_name = Some(value),
        _ => {
            let tls = config.tls.as_mut().ok_or(UriError::NeedsTls { name })?;
            if value.is_empty() {
                return Err(wrong("not empty"));
            }
            set_tls(tls, name, value).ok_or(wrong("verify_peer or verify_none"))?;
        }
    }
    Ok(())
}

/// `None` if `verify` has another value than its two.
fn set_tls(tls: &mut TlsOptions, name: &'static str, value: String) -> Option<()> {
    match name {
        "cacertfile" => tls.ca = vec![TlsInput::File(value.into())],
        "certfile" => tls.certificate = Some(TlsInput::File(value.into())),
        "keyfile" => tls.key = Some(TlsInput::File(value.into())),
        "server_name_indication" => tls.server_name = Some(value),
        _ => {
            tls.verify = match value.as_str() {
                "verify_peer" => Verify::Peer,
                "verify_none" => Verify::None,
                _ => return None,
            }
        }
    }
    Some(())
}

fn mechanism(name: &str) -> Result<Mechanism, UriError> {
    let expected = "plain, amqplain, external, anonymous or rabbit-cr-demo";
    Mechanism::from_name(name).ok_or(UriError::InvalidParameter { name: "auth_mechanism", expected })
}
