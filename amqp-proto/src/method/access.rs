//! Class access, of AMQP 0-8: access tickets. RabbitMQ still answers it, for clients that ask.

use super::class::class;
use crate::wire::ShortStr;

class! {
    /// Any method of class access.
    "access" = 30, Access: enum Method<'a>;

    /// Asks for an access ticket.
    "request" = 10, client, sync, plain, replies "request-ok";
    struct Request<'a> {
        /// The realm to access.
        pub realm: ShortStr<'a>,
        /// Access for oneself alone.
        pub exclusive: bool,
        /// Access to look at it.
        pub passive: bool,
        /// Access to change it.
        pub active: bool,
        /// Access to write to it.
        pub write: bool,
        /// Access to read from it.
        pub read: bool,
    }

    /// Grants it.
    "request-ok" = 11, server, sync, plain;
    struct RequestOk {
        /// The ticket. Nothing of 0-9-1 wants it.
        pub ticket: u16,
    }
}
