//! The one error type of the client.
//!
//! An [`Error`] says what happened ([`ErrorKind`]), who erred ([`Error::origin`]), what was being done
//! ([`Error::operation`]), and whether trying again can help ([`Error::is_retryable`]). It is cheap to clone,
//! because one cause often ends many calls at once.

mod codec;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::codec::{Cause, CodecError};
pub use self::tls::TlsFailure;
use crate::conn::{BatchOutcome, DeliveryTag, Returned, Unconfirmed};
use crate::method::reply_code::ReplyCode;
use crate::uri::UriError;
use crate::wire::{DecodeError, EncodeError, FrameError};

/// Any failure of the client. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: Option<&'static str>,
}

/// Who has to change something for this error to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The application: a wrong name, a wrong order of calls, a wrong configuration.
    User,
    /// This library. Please report it.
    Library,
    /// The broker: it refused, closed, or broke the protocol.
    Broker,
    /// What lies between: an address, a socket, a deadline.
    Network,
}

/// A `connection.close` or `channel.close` as the broker sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReason {
    /// The reply code, 404 for example.
    pub code: ReplyCode,
    /// The broker's words.
    pub text: String,
    /// The class of the method that was to blame, 0 if none was.
    pub class_id: u16,
    /// The method that was to blame, 0 if none was.
    pub method_id: u16,
}

impl CloseReason {
    /// A reason as it stands in a close method.
    #[must_use]
    pub fn new(code: ReplyCode, text: impl Into<String>, class_id: u16, method_id: u16) -> Self {
        Self { code, text: text.into(), class_id, method_id }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_code(f, self.code, &self.text)?;
        match crate::method::name_of(self.class_id, self.method_id) {
            Some(name) => write!(f, " (in {name})"),
            None => Ok(()),
        }
    }
}

/// RabbitMQ begins its texts with the code's name; it need not be there twice.
fn write_code(f: &mut fmt::Formatter<'_>, code: ReplyCode, text: &str) -> fmt::Result {
    match code.name() {
        Some(name) if text.starts_with(name) => write!(f, "{} {text}", code.0),
        _ => write!(f, "{code}: {text}"),
    }
}

/// What was awaited when a deadline passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// No socket was connected in time.
    Connect,
    /// The provider of credentials did not answer.
    Credentials,
    /// The peer went silent in this state of the handshake.
    Handshake {
        /// The state's name: `TlsHandshake`, `AwaitStart`, `AwaitTune`, `AwaitOpenOk` …
        state: &'static str,
    },
    /// A call got no reply.
    Call {
        /// The method that was not answered, `queue.declare` for example.
        method: &'static str,
    },
    /// A publish was not confirmed.
    Confirm,
    /// There was no room to publish.
    Room,
    /// The connection was down, and did not come back in time.
    Disconnected {
        /// Why it was down.
        cause: String,
    },
    /// It is time for the next attempt to connect, or to restore something.
    Reconnect,
    /// `close-ok` did not come.
    Close,
    /// Handlers of deliveries were not done.
    Handlers,
    /// No connection of a pool was to be had.
    Checkout,
    /// A remote call got no reply.
    Reply,
    /// Nothing was received for two heartbeat intervals.
    Heartbeat {
        /// The negotiated interval.
        interval: Duration,
    },
}

impl fmt::Display for TimeoutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting took too long"),
            Self::Credentials => f.write_str("the provider of credentials took too long"),
            Self::Handshake { state } => write!(f, "the peer went silent in the handshake, in state {state}"),
            Self::Call { method } => write!(f, "no reply to {method}"),
            Self::Confirm => f.write_str("the publish was not confirmed"),
            Self::Disconnected { cause } => write!(f, "the connection did not come back in time ({cause})"),
            Self::Reconnect => f.write_str("the next attempt is due"),
            Self::Room => f.write_str("no room to publish: the broker does not read"),
            Self::Handlers => f.write_str("handlers were not done in time, and what they had was put back"),
            Self::Reply => f.write_str("no reply to a remote call"),
            Self::Checkout => f.write_str("no connection of the pool was to be had"),
            Self::Close => f.write_str("the broker did not answer the close"),
            Self::Heartbeat { interval } => {
                write!(f, "nothing received for two heartbeat intervals of {} s", interval.as_secs_f32())
            }
        }
    }
}

/// How the peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The byte stream does not fall into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A method or a content header does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A frame or method that is not allowed here.
    #[error("unexpected {what} on channel {channel}")]
    Unexpected {
        /// What came.
        what: String,
        /// The channel it came on.
        channel: u16,
    },
    /// The peer speaks another version of AMQP.
    #[error("the peer does not speak AMQP 0-9-1, it offers {0}")]
    Version(String),
    /// None of the broker's authentication mechanisms is one of ours.
    #[error("the broker offers none of the configured authentication mechanisms, only: {0}")]
    Mechanisms(String),
    /// The peer speaks TLS, and was spoken to in clear.
    #[error("the peer wants TLS: connect by amqps://")]
    WantsTls,
    /// The broker's tuning cannot be worked with.
    #[error("the broker offers frame_max {0}; 4096 is the least that 0-9-1 allows")]
    Tuning(u32),
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The broker closed the channel.
    ChannelClosed(CloseReason),
    /// The broker closed the connection.
    ConnectionClosed(CloseReason),
    /// The broker refused the credentials.
    AuthenticationFailed(String),
    /// The provider of credentials has none to give, in these words.
    Credentials(String),
    /// The authentication mechanism could not go on: the broker asked for something that it cannot answer.
    Sasl {
        /// The mechanism's name.
        mechanism: String,
        /// Its reason.
        reason: String,
    },
    /// The client properties and the response of the authentication mechanism, a token for example, are longer than
    /// brokers take them. They were not sent.
    LoginTooLong {
        /// The frame's size in bytes.
        size: usize,
        /// What is possible, in bytes.
        limit: usize,
    },
    /// The network failed: the connection was lost, or could not be made.
    ConnectionLost {
        /// The kind of I/O error, if it was one; an end of file is `UnexpectedEof`.
        kind: std::io::ErrorKind,
        /// What was lost, or could not be had, and the system's words.
        text: String,
    },
    /// There is no TLS with the broker.
    Tls {
        /// Why.
        reason: TlsFailure,
        /// What exactly: names, dates, files.
        text: String,
    },
    /// A deadline passed.
    Timeout {
        /// What was awaited.
        reason: TimeoutReason,
        /// The broker had announced `connection.blocked` meanwhile.
        blocked: bool,
    },
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// The channel is closed: by this side, earlier.
    ChannelNotOpen,
    /// The connection is closed: by this side, earlier.
    ConnectionNotOpen,
    /// All channel numbers are in use.
    ChannelsExhausted {
        /// The negotiated number of channels.
        channel_max: u16,
    },
    /// What was to be sent cannot be encoded.
    Encode(EncodeError),
    /// The URI is wrong.
    Uri(UriError),
    /// The configuration or the order of calls is wrong, in these words.
    Invalid(String),
    /// The consumer tag is in use on this channel. Refused here, because the broker would close the whole connection
    /// with 530 for it.
    DuplicateConsumerTag(String),
    /// There is no room to publish now.
    Full,
    /// The parts of a body do not add up to the size that was announced. Nothing was published.
    BodySize {
        /// How many bytes were missing.
        missing: u64,
        /// How many were given: more than that, or none when it was to be finished.
        given: u64,
    },
    /// A mandatory publish was returned.
    NoRoute(Box<Returned>),
    /// The broker refused responsibility for a publish.
    Nacked,
    /// Whether the broker has a publish cannot be known; the cause says why.
    Unknown(Error),
    /// Some of the publishes that were waited for were not acked.
    Unconfirmed(Box<Unconfirmed>),
    /// Some messages of a batch were not acked.
    Batch(Box<BatchOutcome>),
    /// A message of a batch cannot be sent; nothing of the batch was.
    InBatch {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: Error,
    },
    /// One delivery cannot be read: its names are no UTF-8, or its body is over the limit. It can still be rejected by
    /// its tag. (Properties are decoded when they are asked for, and say themselves if they cannot be.)
    BadDelivery {
        /// The tag to reject it by.
        delivery_tag: DeliveryTag,
        /// Why.
        reason: String,
    },
    /// The broker cancelled the consumer: its queue is gone, for example.
    ConsumerCancelled {
        /// The consumer's tag.
        consumer_tag: String,
    },
    /// All connections of a pool are checked out.
    PoolExhausted {
        /// How many these are.
        size: usize,
    },
    /// The pool is closed: by this side, earlier.
    PoolClosed,
    /// There is no pool of this name in the configuration.
    UnknownPool {
        /// The name that was asked for.
        name: String,
    },
    /// No task queue can have this name.
    TaskQueueName(String),
    /// The payload of a task is no object.
    TaskPayload {
        /// What it is instead: `a list`, for example.
        found: &'static str,
    },
    /// A task queue could not connect; the cause says why.
    TaskQueueConnect(Error),
    /// A body cannot be written or read: see [`CodecError`].
    Codec(CodecError),
    /// A bug in this library.
    Internal(&'static str),
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self(Arc::new(Inner { kind, operation: None }))
    }

    /// A wrong configuration or order of calls.
    #[must_use]
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid(text.into()))
    }

    /// A deadline that passed.
    #[must_use]
    pub fn timeout(reason: TimeoutReason, blocked: bool) -> Self {
        Self::new(ErrorKind::Timeout { reason, blocked })
    }

    /// The same error, saying what was being done: an AMQP method name such as `queue.declare`.
    #[must_use]
    pub fn during(&self, operation: &'static str) -> Self {
        Self(Arc::new(Inner { kind: self.0.kind.clone(), operation: Some(operation) }))
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What was being done, as an AMQP method name such as `queue.declare`, where one operation was to blame.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The broker's close, if the broker closed the channel or the connection, also as the cause of an unknown
    /// outcome.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self.kind() {
            ErrorKind::ChannelClosed(reason) | ErrorKind::ConnectionClosed(reason) => Some(reason),
            ErrorKind::Unknown(cause) | ErrorKind::TaskQueueConnect(cause) => cause.close_reason(),
            ErrorKind::Unconfirmed(failed) => failed.last_cause.as_ref()?.close_reason(),
            ErrorKind::Batch(outcome) => outcome.failures.first()?.error.close_reason(),
            _ => None,
        }
    }

    /// The broker's reply code, where it gave one.
    #[must_use]
    pub fn reply_code(&self) -> Option<ReplyCode> {
        match self.kind() {
            ErrorKind::NoRoute(returned) => Some(returned.reply_code()),
            ErrorKind::AuthenticationFailed(_) => Some(ReplyCode::ACCESS_REFUSED),
            ErrorKind::DuplicateConsumerTag(_) => Some(ReplyCode::NOT_ALLOWED),
            _ => self.close_reason().map(|reason| reason.code),
        }
    }

    /// Who erred.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self.kind() {
            ErrorKind::ConnectionLost { .. } => Origin::Network,
            ErrorKind::Tls { reason, .. } => reason.origin(),
            ErrorKind::Timeout { blocked, .. } => {
                if *blocked {
                    Origin::Broker
                } else {
                    Origin::Network
                }
            }
            ErrorKind::Internal(_) => Origin::Library,
            ErrorKind::AuthenticationFailed(_)
            | ErrorKind::Credentials(_)
            | ErrorKind::LoginTooLong { .. }
            | ErrorKind::ChannelNotOpen
            | ErrorKind::ConnectionNotOpen
            | ErrorKind::ChannelsExhausted { .. }
            | ErrorKind::Encode(_)
            | ErrorKind::Uri(_)
            | ErrorKind::Invalid(_)
            | ErrorKind::DuplicateConsumerTag(_)
            | ErrorKind::Full
            | ErrorKind::PoolExhausted { .. }
            | ErrorKind::PoolClosed
            | ErrorKind::UnknownPool { .. }
            | ErrorKind::TaskQueueName(_)
            | ErrorKind::TaskPayload { .. }
            | ErrorKind::BodySize { .. }
            | ErrorKind::Codec(_)
            | ErrorKind::NoRoute(_) => Origin::User,
            ErrorKind::ChannelClosed(reason) | ErrorKind::ConnectionClosed(reason) => {
                if reason.code.is_users_fault() {
                    Origin::User
                } else {
                    Origin::Broker
                }
            }
            ErrorKind::Unknown(cause) | ErrorKind::TaskQueueConnect(cause) => cause.origin(),
            ErrorKind::Unconfirmed(failed) if failed.returned > 0 => Origin::User,
            ErrorKind::Unconfirmed(failed) => failed.last_cause.as_ref().map_or(Origin::Broker, Self::origin),
            ErrorKind::Batch(outcome) => {
                outcome.failures.first().map_or(Origin::Broker, |failure| failure.error.origin())
            }
            ErrorKind::InBatch { error, .. } => error.origin(),
            ErrorKind::Protocol(_)
            | ErrorKind::Sasl { .. }
            | ErrorKind::Nacked
            | ErrorKind::BadDelivery { .. }
            | ErrorKind::ConsumerCancelled { .. } => Origin::Broker,
        }
    }

    /// Whether the same thing may succeed if it is tried again, perhaps on a new connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::ConnectionLost { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::Full
            | ErrorKind::PoolExhausted { .. }
            | ErrorKind::Nacked
            | ErrorKind::ConsumerCancelled { .. } => true,
            ErrorKind::ChannelClosed(reason) | ErrorKind::ConnectionClosed(reason) => reason.code.is_transient(),
            ErrorKind::Unknown(cause) | ErrorKind::TaskQueueConnect(cause) => cause.is_retryable(),
            ErrorKind::Unconfirmed(failed) => {
                failed.returned == 0 && failed.last_cause.as_ref().is_none_or(Self::is_retryable)
            }
            ErrorKind::Batch(outcome) => outcome.failures.iter().all(|failure| failure.error.is_retryable()),
            _ => false,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        if let Some(operation) = self.operation() {
            out.field("operation", &operation);
        }
        out.field("kind", self.kind()).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.operation() {
            write!(f, "{operation}: ")?;
        }
        self.kind().fmt(f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelClosed(reason) => write!(f, "the broker closed the channel: {reason}"),
            Self::ConnectionClosed(reason) => write!(f, "the broker closed the connection: {reason}"),
            Self::AuthenticationFailed(text) => write!(f, "authentication failed: {text}"),
            Self::Credentials(text) => write!(f, "no credentials to log in with: {text}"),
            Self::Sasl { mechanism, reason } => write!(f, "authentication by {mechanism} failed: {reason}"),
            Self::LoginTooLong { size, limit } => write!(
                f,
                "the login takes a frame of {size} bytes, at most {limit} are possible: are the client properties or the \
                 token too long?"
            ),
            Self::Timeout { reason, blocked } => {
                write!(f, "timed out: {reason}")?;
                if *blocked { f.write_str(" (the broker has blocked this connection)") } else { Ok(()) }
            }
            Self::Tls { reason, text } => write!(f, "{reason}: {text}"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::ChannelNotOpen => f.write_str("the channel is not open"),
            Self::ConnectionNotOpen => f.write_str("the connection is not open"),
            Self::ChannelsExhausted { channel_max } => write!(f, "all {channel_max} channels are in use"),
            Self::Encode(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
            Self::Uri(error) => error.fmt(f),
            Self::ConnectionLost { text, .. } | Self::Invalid(text) => f.write_str(text),
            Self::DuplicateConsumerTag(tag) => write!(f, "the consumer tag {tag:?} is in use on this channel"),
            Self::Full => f.write_str("no room to publish now"),
            Self::PoolExhausted { size } => write!(f, "all {size} connections of the pool are checked out"),
            Self::TaskQueueName(name) => write!(f, "\"{name}\" is not a properly-formatted queue name"),
            Self::TaskPayload { found } => write!(f, "the payload of a task is an object in JSON, and not {found}"),
            Self::TaskQueueConnect(cause) => {
                f.write_str("Failed to connect to the AMQP server:")?;
                cause.to_string().lines().try_for_each(|line| write!(f, "\n    {line}"))
            }
            Self::PoolClosed => f.write_str("the pool is closed"),
            Self::UnknownPool { name } => {
                write!(f, "no pool {name:?} is configured: the key `amqp_{name}_url` is missing")
            }
            Self::BodySize { missing, given: 0 } => {
                write!(f, "{missing} bytes of the announced size of the body are missing")
            }
            Self::BodySize { missing, given } => {
                write!(f, "a part of {given} bytes, where {missing} of the announced size of the body are missing")
            }
            Self::NoRoute(returned) => {
                f.write_str("the message was returned: ")?;
                write_code(f, returned.reply_code(), returned.reply_text())
            }
            Self::Nacked => f.write_str("the broker did not take responsibility for the message"),
            Self::Unknown(cause) => write!(f, "whether the broker has the message is unknown: {cause}"),
            Self::Unconfirmed(failed) => failed.fmt(f),
            Self::Batch(outcome) => outcome.fmt(f),
            Self::InBatch { index, error } => write!(f, "message {index} of the batch: {error}"),
            Self::BadDelivery { reason, .. } => write!(f, "a delivery cannot be read: {reason}"),
            Self::ConsumerCancelled { consumer_tag } => {
                write!(f, "the broker cancelled the consumer {consumer_tag:?}")
            }
            Self::Internal(text) => write!(f, "a bug in the AMQP library: {text}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            // What stands in this error's own text is not said again.
            ErrorKind::Protocol(error) => error.source(),
            ErrorKind::Encode(error) => error.source(),
            ErrorKind::Uri(error) => error.source(),
            ErrorKind::Codec(error) => error.cause().and_then(std::error::Error::source),
            ErrorKind::Unknown(cause)
            | ErrorKind::TaskQueueConnect(cause)
            | ErrorKind::InBatch { error: cause, .. } => cause.source(),
            _ => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(ErrorKind::Protocol(error))
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::new(ErrorKind::Encode(error))
    }
}

impl From<UriError> for Error {
    fn from(error: UriError) -> Self {
        Self::new(ErrorKind::Uri(error))
    }
}
