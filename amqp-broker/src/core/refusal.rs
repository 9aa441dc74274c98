//! Why the broker refuses something: a reply code and RabbitMQ's text for it.

use std::fmt;

use amqp_proto::method::ReplyCode;

use super::name::Name;

/// A refusal, on its way to become a `channel.close` or a `connection.close`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The channel or the connection is closed with a code.
    Close {
        code: ReplyCode,
        text: String,
        /// Class and method to blame; `None` until the one that is being handled is filled in.
        method: Option<(u16, u16)>,
    },
    /// RabbitMQ's connection process crashes here: the socket closes without a word.
    Hangup,
}

/// What handling something gives.
pub(crate) type Outcome<T = ()> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(code: ReplyCode, explanation: impl fmt::Display) -> Self {
        let name = code.name().unwrap_or("INTERNAL_ERROR");
        Self::Close { code, text: format!("{name} - {explanation}"), method: None }
    }

    /// With class and method 0: nothing to blame was decoded.
    pub(crate) fn blaming(self, blamed: Option<(u16, u16)>) -> Self {
        match self {
            Self::Close { code, text, .. } => Self::Close { code, text, method: Some(blamed.unwrap_or_default()) },
            Self::Hangup => Self::Hangup,
        }
    }

    /// RabbitMQ's channel process crashes here.
    pub(crate) fn crash() -> Self {
        let code = ReplyCode::INTERNAL_ERROR;
        Self::Close { code, text: "INTERNAL_ERROR".to_owned(), method: Some((0, 0)) }
    }

    pub(crate) fn not_found(resource: impl fmt::Display) -> Self {
        Self::new(ReplyCode::NOT_FOUND, format_args!("no {resource}"))
    }

    pub(crate) fn precondition(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::PRECONDITION_FAILED, explanation)
    }

    pub(crate) fn access_refused(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::ACCESS_REFUSED, explanation)
    }

    pub(crate) fn not_implemented(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::NOT_IMPLEMENTED, explanation)
    }

    pub(crate) fn not_allowed(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::NOT_ALLOWED, explanation)
    }

    pub(crate) fn channel_error(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::CHANNEL_ERROR, explanation)
    }

    pub(crate) fn frame_error(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::FRAME_ERROR, explanation)
    }

    pub(crate) fn unexpected_frame(explanation: impl fmt::Display) -> Self {
        Self::new(ReplyCode::UNEXPECTED_FRAME, explanation)
    }
}

/// Whether a code closes the channel only.
pub(crate) fn is_soft(code: ReplyCode) -> bool {
    matches!(code.0, 311..=313 | 403..=406)
}

/// How RabbitMQ names a thing in a text: `queue 'orders' in vhost '/'`.
pub(crate) struct Resource<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a Name,
    pub(crate) vhost: &'a Name,
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, vhost } = self;
        write!(f, "{kind} '{name}' in vhost '{vhost}'")
    }
}

pub(crate) fn queue_resource<'a>(name: &'a Name, vhost: &'a Name) -> Resource<'a> {
    Resource { kind: "queue", name, vhost }
}

pub(crate) fn exchange_resource<'a>(name: &'a Name, vhost: &'a Name) -> Resource<'a> {
    Resource { kind: "exchange", name, vhost }
}
