//! Reply codes: why a connection or channel was closed, or a message returned. (0-9-1 §1.2)

use std::fmt;

use crate::wire::{EncodeError, Field, Reader, WireType, Writer};

/// A reply code, such as 404.
///
/// ```
/// use amqp_proto::method::ReplyCode;
///
/// assert_eq!(ReplyCode(404), ReplyCode::NOT_FOUND);
/// assert_eq!(ReplyCode(404).to_string(), "404 NOT_FOUND");
/// assert_eq!(ReplyCode(999).to_string(), "999");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReplyCode(pub u16);

/// Constants and their names.
macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The specification's name of it, `NOT_FOUND` for example.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

reply_codes! {
    /// All is well.
    REPLY_SUCCESS = 200;
    /// The content is larger than the server takes now.
    CONTENT_TOO_LARGE = 311;
    /// A mandatory message was routed to no queue.
    NO_ROUTE = 312;
    /// An immediate message found no consumer.
    NO_CONSUMERS = 313;
    /// An operator closed the connection, or the server shuts down.
    CONNECTION_FORCED = 320;
    /// The virtual host is not known.
    INVALID_PATH = 402;
    /// Access is not allowed.
    ACCESS_REFUSED = 403;
    /// There is no such queue, exchange or virtual host.
    NOT_FOUND = 404;
    /// Somebody else uses it exclusively.
    RESOURCE_LOCKED = 405;
    /// It is there but not as was asked for, or not in that state.
    PRECONDITION_FAILED = 406;
    /// A frame could not be decoded.
    FRAME_ERROR = 501;
    /// A frame has wrong values in its fields.
    SYNTAX_ERROR = 502;
    /// Frames came in the wrong order.
    COMMAND_INVALID = 503;
    /// The channel is not open, or already open.
    CHANNEL_ERROR = 504;
    /// A frame that was not expected, usually about content.
    UNEXPECTED_FRAME = 505;
    /// The server lacks resources.
    RESOURCE_ERROR = 506;
    /// It is not allowed, whoever asks.
    NOT_ALLOWED = 530;
    /// The server does not implement it.
    NOT_IMPLEMENTED = 540;
    /// Something went wrong in the server.
    INTERNAL_ERROR = 541;
}

impl ReplyCode {
    /// Whether the application has to change something: what it asked for is missing, refused or impossible.
    #[must_use]
    pub const fn is_users_fault(self) -> bool {
        matches!(
            self,
            Self::CONTENT_TOO_LARGE
                | Self::NO_ROUTE
                | Self::NO_CONSUMERS
                | Self::INVALID_PATH
                | Self::ACCESS_REFUSED
                | Self::NOT_FOUND
                | Self::PRECONDITION_FAILED
                | Self::NOT_ALLOWED
                | Self::NOT_IMPLEMENTED
        )
    }

    /// Whether the same may succeed later: the server is going down, lacks resources or failed, or another client
    /// holds what was asked for.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::CONNECTION_FORCED | Self::RESOURCE_LOCKED | Self::RESOURCE_ERROR | Self::INTERNAL_ERROR)
    }
}

impl From<u16> for ReplyCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<ReplyCode> for u16 {
    fn from(code: ReplyCode) -> Self {
        code.0
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Field<'_> for ReplyCode {
    const WIRE_TYPE: WireType = WireType::Short;

    #[inline(always)]
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.read().map(Self)
    }

    #[inline(always)]
    fn put(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.put(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_code_is_and_whether_it_passes() {
        let all = (0..=u16::MAX).map(ReplyCode).filter(|code| code.name().is_some());
        let users: Vec<u16> = all.clone().filter(|code| code.is_users_fault()).map(u16::from).collect();
        let passing: Vec<u16> = all.clone().filter(|code| code.is_transient()).map(u16::from).collect();
        assert_eq!(users, [311, 312, 313, 402, 403, 404, 406, 530, 540]);
        assert_eq!(passing, [320, 405, 506, 541]);
        assert_eq!(all.count(), 19);
    }
}
