//! Class connection: opening, tuning, closing and blocking of connections. All of it goes over channel 0.

use super::class::class;
use super::reply_code::ReplyCode;
use crate::wire::{LongStr, ShortStr, TableRef};

class! {
    /// Any method of class connection.
    "connection" = 10, Connection: enum Method<'a>;

    /// The server's first words: its properties, and what it offers.
    "start" = 10, server, sync, plain, replies "start-ok";
    struct Start<'a> {
        /// The protocol's major version: 0.
        pub version_major: u8,
        /// The protocol's minor version: 9.
        pub version_minor: u8,
        /// Product, version, platform, capabilities and so on.
        pub server_properties: TableRef<'a>,
        /// Authentication mechanisms, separated by spaces.
        pub mechanisms: LongStr<'a>,
        /// Locales of messages, separated by spaces.
        pub locales: LongStr<'a>,
    }

    /// The client's answer: its properties and credentials.
    "start-ok" = 11, client, sync, plain;
    struct StartOk<'a> {
        /// Product, version, platform, capabilities, connection name and so on.
        pub client_properties: TableRef<'a>,
        /// The authentication mechanism it has chosen.
        pub mechanism: ShortStr<'a>,
        /// The mechanism's initial response.
        pub response: LongStr<'a>,
        /// The locale it has chosen.
        pub locale: ShortStr<'a>,
    }

    /// A further round of authentication.
    "secure" = 20, server, sync, plain, replies "secure-ok";
    struct Secure<'a> {
        /// What the mechanism asks.
        pub challenge: LongStr<'a>,
    }

    /// The answer to it.
    "secure-ok" = 21, client, sync, plain;
    struct SecureOk<'a> {
        /// What the mechanism answers.
        pub response: LongStr<'a>,
    }

    /// The server's limits.
    "tune" = 30, server, sync, plain, replies "tune-ok";
    struct Tune {
        /// The highest channel number; 0 is no limit.
        pub channel_max: u16,
        /// The largest frame in bytes, as a whole; 0 is no limit.
        pub frame_max: u32,
        /// The heartbeat interval in seconds; 0 is none.
        pub heartbeat: u16,
    }

    /// The limits that hold.
    "tune-ok" = 31, client, sync, plain;
    struct TuneOk {
        /// The highest channel number; 0 is no limit.
        pub channel_max: u16,
        /// The largest frame in bytes, as a whole; 0 is no limit.
        pub frame_max: u32,
        /// The heartbeat interval in seconds; 0 is none.
        pub heartbeat: u16,
    }

    /// Opens the connection to a virtual host.
    "open" = 40, client, sync, plain, replies "open-ok";
    struct Open<'a> {
        /// The virtual host.
        pub virtual_host: ShortStr<'a>,
        reserved reserved_1: ShortStr<'a>,
        reserved reserved_2: bool,
    }

    /// The connection is open.
    "open-ok" = 41, server, sync, plain;
    struct OpenOk {
        reserved reserved_1: ShortStr<'a>,
    }

    /// Closes the connection: nothing but the answer may follow.
    "close" = 50, both, sync, plain, replies "close-ok";
    struct Close<'a> {
        /// Why.
        pub reply_code: ReplyCode,
        /// Why, in words.
        pub reply_text: ShortStr<'a>,
        /// The class of the method that was to blame, or 0.
        pub class_id: u16,
        /// The method that was to blame, or 0.
        pub method_id: u16,
    }

    /// The connection is closed.
    "close-ok" = 51, both, sync, plain;
    struct CloseOk {}

    /// The broker is in alarm and has stopped reading from connections that publish. (RabbitMQ)
    "blocked" = 60, server, async, plain;
    struct Blocked<'a> {
        /// Why.
        pub reason: ShortStr<'a>,
    }

    /// The alarm is over. (RabbitMQ)
    "unblocked" = 61, server, async, plain;
    struct Unblocked {}

    /// Renews a secret, such as an OAuth 2 token, on an open connection. (RabbitMQ)
    "update-secret" = 70, client, sync, plain, replies "update-secret-ok";
    struct UpdateSecret<'a> {
        /// The secret.
        pub new_secret: LongStr<'a>,
        /// Why, for the broker's log.
        pub reason: ShortStr<'a>,
    }

    /// The new secret holds. (RabbitMQ)
    "update-secret-ok" = 71, server, sync, plain;
    struct UpdateSecretOk {}
}
