//! Class channel: opening, pausing and closing of channels.

use super::class::class;
use super::reply_code::ReplyCode;
use crate::wire::{LongStr, ShortStr};

class! {
    /// Any method of class channel.
    "channel" = 20, Channel: enum Method<'a>;

    /// Opens the channel.
    "open" = 10, client, sync, plain, replies "open-ok";
    struct Open {
        reserved reserved_1: ShortStr<'a>,
    }

    /// The channel is open.
    "open-ok" = 11, server, sync, plain;
    struct OpenOk {
        reserved reserved_1: LongStr<'a>,
    }

    /// Asks the peer to pause or to resume sending content.
    "flow" = 20, both, sync, plain, replies "flow-ok";
    struct Flow {
        /// Whether content may be sent.
        pub active: bool,
    }

    /// The peer has done so.
    "flow-ok" = 21, both, async, plain;
    struct FlowOk {
        /// Whether content is sent.
        pub active: bool,
    }

    /// Closes the channel.
    "close" = 40, both, sync, plain, replies "close-ok";
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

    /// The channel is closed.
    "close-ok" = 41, both, sync, plain;
    struct CloseOk {}
}
