//! A message that a consumer or `basic.get` received, and a message that came back.

use std::fmt;

use bytes::Bytes;

use super::Payload;
use super::assembly::Envelope;
use super::body::Body;
use super::inflow::StreamedBody;
use crate::conn::ids::DeliveryTag;
use crate::method::reply_code::ReplyCode;
use crate::method::{PropertiesRef, RawProperties};
use crate::wire::DecodeError;

/// What is the same of both.
macro_rules! message {
    ($type:ty) => {
        impl $type {
            /// The exchange that it was published to; empty for the default exchange.
            #[must_use]
            pub fn exchange(&self) -> &str {
                self.envelope.name(self.envelope.exchange)
            }

            /// The routing key that it was published with.
            #[must_use]
            pub fn routing_key(&self) -> &str {
                self.envelope.name(self.envelope.routing_key)
            }

            /// The properties, decoded now.
            ///
            /// # Errors
            /// If they are malformed. The message can still be settled, if it has to be.
            pub fn properties(&self) -> Result<PropertiesRef<'_>, DecodeError> {
                self.envelope.properties().decode()
            }

            /// The properties as they stand on the wire.
            #[must_use]
            pub fn raw_properties(&self) -> RawProperties<'_> {
                self.envelope.properties()
            }

            /// The body.
            #[must_use]
            pub fn body(&self) -> Body<'_> {
                Body::new(self.envelope.inline_body(), &self.payload)
            }

            /// The bytes that it holds.
            #[inline]
            pub(in crate::conn) fn weight(&self) -> usize {
                self.envelope.len() + self.payload.len()
            }
        }
    };
}

message!(Delivery);
message!(Returned);

/// A received message.
///
/// The names were checked to be UTF-8 when it arrived; the properties are decoded when asked for.
pub struct Delivery {
    pub(in crate::conn) tag: DeliveryTag,
    pub(in crate::conn) no_ack: bool,
    pub(in crate::conn) redelivered: bool,
    pub(in crate::conn) message_count: Option<u32>,
    pub(in crate::conn) envelope: Envelope,
    pub(in crate::conn) payload: Payload,
}

impl Delivery {
    /// The body, if it is read while it comes in; [`body`](Self::body) is empty then.
    #[must_use]
    #[inline]
    pub fn streamed_body(&self) -> Option<StreamedBody> {
        match self.payload {
            Payload::Streamed(body) => Some(body),
            _ => None,
        }
    }

    /// The tag by which it is settled.
    #[must_use]
    pub fn delivery_tag(&self) -> DeliveryTag {
        self.tag
    }

    /// Whether it has to be acked, nacked or rejected: not if it was consumed or got with `no_ack`.
    #[must_use]
    pub fn needs_settling(&self) -> bool {
        !self.no_ack
    }

    /// The tag of the consumer that it came for; empty for `basic.get`.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        self.envelope.name(self.envelope.first)
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// For `basic.get`: how many messages are left in the queue.
    #[must_use]
    pub fn message_count(&self) -> Option<u32> {
        self.message_count
    }

    /// The body as it is worth keeping: see [`Body::to_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.body().to_bytes()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("delivery_tag", &self.tag.value)
            .field("consumer_tag", &self.consumer_tag())
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("redelivered", &self.redelivered)
            .field("body", &self.body())
            .finish_non_exhaustive()
    }
}

/// A mandatory message that no queue took, as the broker sent it back.
///
/// RabbitMQ strips the header `BCC`, and RabbitMQ 4 sorts the headers.
#[derive(Clone)]
pub struct Returned {
    pub(in crate::conn) code: ReplyCode,
    pub(in crate::conn) envelope: Envelope,
    pub(in crate::conn) payload: Payload,
}

impl Returned {
    /// Why: 312, no route.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        self.code
    }

    /// Why, in the broker's words.
    #[must_use]
    pub fn reply_text(&self) -> &str {
        self.envelope.name(self.envelope.first)
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned")
            .field("reply_code", &self.code)
            .field("reply_text", &self.reply_text())
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("body", &self.body())
            .finish_non_exhaustive()
    }
}
