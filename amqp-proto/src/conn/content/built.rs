//! A delivery that no broker has sent.

use bytes::Bytes;

use super::assembly::Envelope;
use super::body::{INLINE_BODY, Payload};
use super::delivery::Delivery;
use crate::conn::ids::{ChannelId, DeliveryTag};
use crate::method::{Properties, RawProperties, basic, put_content_header, put_method};
use crate::wire::{FrameKind, ShortStr, put_frame};

/// What a [`Delivery`] is made of that no broker has sent: for unit tests of what handles deliveries.
#[derive(Debug, Clone)]
pub struct DeliveryParts<'a> {
    /// Its number.
    pub delivery_tag: u64,
    /// Whether it has to be acked, nacked or rejected.
    pub needs_settling: bool,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// For `basic.get`: how many messages are left.
    pub message_count: Option<u32>,
    /// The tag of its consumer; empty for `basic.get`.
    pub consumer_tag: ShortStr<'a>,
    /// The exchange that it was published to.
    pub exchange: ShortStr<'a>,
    /// The routing key that it was published with.
    pub routing_key: ShortStr<'a>,
    /// The properties.
    pub properties: &'a Properties,
    /// The body.
    pub body: Bytes,
}

/// Where the arguments of the first method stand: after the frame's header, the class and the number.
const METHOD_AT: usize = 11;

impl Delivery {
    /// A delivery of these parts, on no channel. Its tag settles nothing on any connection.
    #[must_use]
    pub fn from_parts(parts: &DeliveryParts<'_>) -> Self {
        let method = basic::Deliver {
            consumer_tag: parts.consumer_tag,
            delivery_tag: parts.delivery_tag,
            redelivered: parts.redelivered,
            exchange: parts.exchange,
            routing_key: parts.routing_key,
        };
        let (inline, payload) = match parts.body.len() {
            0..=INLINE_BODY => (&parts.body[..], Payload::Inline),
            _ => (&[][..], Payload::One(parts.body.clone())),
        };
        // As it would have come. Nothing can be too long: the names were checked, and so were the properties.
        let mut frames = Vec::new();
        let _ = put_method(&mut frames, 1, &method);
        let arguments = METHOD_AT..frames.len().saturating_sub(1);
        let _ = put_content_header(&mut frames, 1, basic::CLASS_ID, inline.len() as u64, parts.properties);
        if !inline.is_empty() {
            let _ = put_frame(&mut frames, FrameKind::Body, 1, inline);
        }
        let bytes = frames.get(METHOD_AT..frames.len().saturating_sub(1)).unwrap_or_default();
        let arguments = frames.get(arguments).unwrap_or_default();
        let (flags, fields) = parts.properties.wire();
        let properties = [&flags.to_be_bytes()[..], fields].concat();
        Self {
            tag: DeliveryTag {
                value: parts.delivery_tag,
                channel: ChannelId { index: u32::MAX, generation: u32::MAX },
                epoch: u32::MAX,
            },
            no_ack: !parts.needs_settling,
            redelivered: parts.redelivered,
            message_count: parts.message_count,
            envelope: Envelope::of_delivery(&method, bytes, arguments, RawProperties::new(&properties), inline),
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f57_a_delivery_is_what_it_was_built_of() {
        let mut properties = Properties::new();
        properties.set_message_id("17").unwrap();
        for len in [0, 1, INLINE_BODY, INLINE_BODY + 1] {
            let body = Bytes::from(vec![7; len]);
            let delivery = Delivery::from_parts(&DeliveryParts {
                delivery_tag: 5,
                needs_settling: true,
                redelivered: true,
                message_count: None,
                consumer_tag: ShortStr::new("tag").unwrap(),
                exchange: ShortStr::new("events").unwrap(),
                routing_key: ShortStr::new("a.é").unwrap(),
                properties: &properties,
                body: body.clone(),
            });
            assert_eq!(delivery.delivery_tag().value(), 5);
            assert!(delivery.needs_settling() && delivery.redelivered());
            assert_eq!(delivery.consumer_tag(), "tag");
            assert_eq!((delivery.exchange(), delivery.routing_key()), ("events", "a.é"));
            assert_eq!(delivery.properties().unwrap().message_id.unwrap(), "17");
            assert_eq!(delivery.to_bytes(), body);
        }
    }
}
