//! Class confirm: publisher confirms. (RabbitMQ)

use super::class::class;

class! {
    /// Any method of class confirm.
    "confirm" = 85, Confirm: enum Method;

    /// Puts the channel into confirm mode: the broker acknowledges every publish.
    "select" = 10, client, sync, plain, replies "select-ok";
    struct Select {
        /// Do not answer.
        pub nowait: bool,
    }

    /// The channel is in confirm mode.
    "select-ok" = 11, server, sync, plain;
    struct SelectOk {}
}
