//! What is published.

use std::borrow::Cow;
use std::time::Duration;

use amqp_proto::conn::{Publish, PublishBody};
use amqp_proto::error::{CodecError, Error};
use amqp_proto::method::{Properties, PropertiesRef};
use amqp_proto::wire::{EncodeError, FieldTable, FieldValue, ShortStr};
use bytes::Bytes;

use crate::codec::Encode;
use crate::content::{Content, codec_error};
use crate::delivery::Delivery;

/// A message to be published: a body, and properties if one likes.
///
/// A body is borrowed (`&[u8]`, `&str`) or owned (`Vec<u8>`, `String`, [`Bytes`]). Short ones are copied into the write
/// buffer; an owned one of 4 KiB or more is not copied at all. A plain message costs no allocation.
///
/// Building one never fails: what is wrong with it, a property of more than 255 bytes for example, comes out when it is
/// published.
///
/// ```
/// # use amqp_api::Message;
///
/// let message = Message::new("hello").persistent().content_type("text/plain").header("trace", 17);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Message<'a> {
    body: Body<'a>,
    properties: Properties,
    mandatory: Option<bool>,
    immediate: bool,
    error: Option<Error>,
}

#[derive(Debug, Clone)]
enum Body<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Body<'_> {
    #[cfg(feature = "gzip")]
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(body) => body,
            Self::Owned(body) => body,
            Self::Shared(body) => body,
        }
    }
}

/// From this length on a body that can be shared is not copied: the core links it into its output.
const SHARE: usize = 4 * 1024;

impl<'a> Message<'a> {
    /// A message with this body and no properties.
    #[inline]
    pub fn new(body: impl Into<Self>) -> Self {
        body.into()
    }

    /// A message whose body stands for a value, in the format of `codec`, with its content type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`](crate::ErrorKind::Codec) if the value cannot be written in this format.
    pub fn encoded<T: ?Sized, C: Encode<T>>(codec: &C, value: &T) -> Result<Self, Error> {
        match codec.encode(value) {
            Ok(body) => Ok(Self::with_body(Body::Owned(body)).content_type(codec.content_type())),
            Err(cause) => {
                let content_type = codec.content_type().to_owned();
                Err(codec_error(CodecError::Encode { content_type, cause: cause.into() }))
            }
        }
    }

    /// A message whose body stands for a value in JSON: `application/json`.
    ///
    /// ```
    /// # use amqp_api::Message;
    /// let message = Message::json(&["one", "two"])?.persistent();
    /// # Ok::<(), amqp_api::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`encoded`](Self::encoded): a map whose keys are no strings, for example.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Self::encoded(&crate::codec::Json, value)
    }

    #[inline]
    fn with_body(body: Body<'a>) -> Self {
        Self { body, properties: Properties::new(), mandatory: None, immediate: false, error: None }
    }

    fn set(mut self, set: impl FnOnce(&mut Properties) -> Result<(), EncodeError>) -> Self {
        if let Err(error) = set(&mut self.properties) {
            self.error.get_or_insert_with(|| error.into());
        }
        self
    }

    /// Delivery mode 2: the broker keeps it on disk in durable queues.
    pub fn persistent(self) -> Self {
        self.delivery_mode(2)
    }

    /// Delivery mode 1: it does not outlive a restart of the broker.
    pub fn transient(self) -> Self {
        self.delivery_mode(1)
    }

    /// The delivery mode as it is on the wire.
    pub fn delivery_mode(mut self, mode: u8) -> Self {
        self.properties.set_delivery_mode(mode);
        self
    }

    /// The MIME type of the body.
    pub fn content_type(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_content_type(text))
    }

    /// The MIME encoding of the body, `gzip` for example. The body is to be encoded already.
    pub fn content_encoding(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_content_encoding(text))
    }

    /// Packs the body by gzip, and says so in the property `content_encoding`. A message that has a content encoding
    /// already cannot be published then.
    ///
    /// [`Content::decoded_body`] unpacks it, and so do [`Content::decode`] and `Content::json`.
    #[cfg(feature = "gzip")]
    pub fn gzip(mut self) -> Self {
        if self.properties.view().content_encoding.is_some() {
            self.error.get_or_insert_with(|| Error::invalid("the message has a content encoding already"));
            return self;
        }
        match crate::codec::gzip::pack(self.body.as_slice()) {
            Ok(body) => self.body = Body::Owned(body),
            Err(error) => {
                // Writing into memory does not fail.
                self.error.get_or_insert_with(|| Error::invalid(format!("the body cannot be packed: {error}")));
                return self;
            }
        }
        self.content_encoding(crate::codec::gzip::NAME)
    }

    /// Adds a header, or replaces it.
    pub fn header(self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Self {
        self.set(|properties| properties.insert_header(key, value))
    }

    /// `x-stream-filter-value`: what consumers of a stream filter by; see
    /// [`Consume::stream_filter`](crate::Consume::stream_filter).
    pub fn stream_filter_value(self, value: impl AsRef<str>) -> Self {
        self.header("x-stream-filter-value", value.as_ref())
    }

    /// Sets all headers.
    pub fn headers(self, headers: &FieldTable) -> Self {
        self.set(|properties| properties.set_headers(headers))
    }

    /// The priority, for queues with `x-max-priority`: 0 to 255, higher ones first.
    pub fn priority(mut self, priority: u8) -> Self {
        self.properties.set_priority(priority);
        self
    }

    /// What ties a reply to its request.
    pub fn correlation_id(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_correlation_id(text))
    }

    /// Where replies are wanted: a queue's name.
    pub fn reply_to(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_reply_to(text))
    }

    /// How long it stays in a queue, as the text on the wire: milliseconds.
    pub fn expiration(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_expiration(text))
    }

    /// How long it stays in a queue, in whole milliseconds: the property `expiration`.
    pub fn ttl(self, time: Duration) -> Self {
        self.expiration(time.as_millis().to_string())
    }

    /// The message's id.
    pub fn message_id(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_message_id(text))
    }

    /// When it was made, in seconds since 1970.
    pub fn timestamp(mut self, seconds: u64) -> Self {
        self.properties.set_timestamp(seconds);
        self
    }

    /// The application's type of message: the property `type`.
    pub fn kind(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_kind(text))
    }

    /// Who publishes: refused by RabbitMQ with 406 if it is not the connection's user.
    pub fn user_id(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_user_id(text))
    }

    /// Which application publishes.
    pub fn app_id(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_app_id(text))
    }

    /// A property that 0-9-1 has reserved and that still goes through.
    pub fn cluster_id(self, text: impl AsRef<str>) -> Self {
        self.set(|properties| properties.set_cluster_id(text))
    }

    /// Sets all properties: those of a received message, for example.
    pub fn properties(mut self, properties: impl Into<Properties>) -> Self {
        self.properties = properties.into();
        self
    }

    /// Whether it is to come back when no queue takes it. Default: as whatever publishes it says, that is no for a
    /// [`Channel`](crate::Channel) and yes for a [`Publisher`](crate::Publisher).
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = Some(mandatory);
        self
    }

    /// It is to come back when it cannot go to a consumer at once: no queue keeps it.
    ///
    /// RabbitMQ has given this up, and closes the whole connection for it: 540,
    /// [`ReplyCode::NOT_IMPLEMENTED`](crate::ReplyCode::NOT_IMPLEMENTED). It is here for brokers that have it. A
    /// [`Publisher`](crate::Publisher) that publishes [at least once](crate::Publisher::at_least_once) does not send such
    /// a message again.
    pub fn immediate(mut self) -> Self {
        self.immediate = true;
        self
    }

    /// The message as the answer to another: with its correlation id, if that has one.
    pub(crate) fn replying_to(self, request: &PropertiesRef<'_>) -> Result<Self, Error> {
        Ok(match request.correlation_id.map(ShortStr::to_str) {
            None => self,
            Some(Ok(id)) => self.correlation_id(id),
            Some(Err(_)) => return Err(Error::invalid("the correlation id of the request is no UTF-8")),
        })
    }

    /// Makes it ready to be queued, as often as it takes; its deferred error comes out here.
    #[inline]
    pub(crate) fn make_ready(&mut self) -> Result<(), Error> {
        match (&self.error, &mut self.body) {
            (Some(error), _) => return Err(deferred(error)),
            (None, Body::Owned(body)) if body.len() >= SHARE => {
                self.body = Body::Shared(Bytes::from(std::mem::take(body)));
            }
            _ => {}
        }
        Ok(())
    }

    /// The message ready to be queued.
    pub(crate) fn ready(mut self) -> Result<Self, Error> {
        self.make_ready()?;
        Ok(self)
    }

    /// A delivery mode, unless it has one.
    #[inline]
    pub(crate) fn default_delivery_mode(&mut self, mode: u8) {
        if self.properties.is_empty() || self.properties.view().delivery_mode.is_none() {
            self.properties.set_delivery_mode(mode);
        }
    }

    /// An expiration after this time, unless it has one.
    pub(crate) fn default_ttl(self, time: Duration) -> Self {
        if self.properties.view().expiration.is_none() { self.ttl(time) } else { self }
    }

    /// How long the body is, in bytes.
    #[inline]
    pub(crate) fn body_len(&self) -> usize {
        match &self.body {
            Body::Borrowed(body) => body.len(),
            Body::Owned(body) => body.len(),
            Body::Shared(body) => body.len(),
        }
    }

    /// What the core takes.
    #[inline]
    pub(crate) fn publish<'p>(&'p self, to: &Target<'p>, mandatory: bool) -> Publish<'p> {
        Publish {
            exchange: to.exchange,
            routing_key: to.routing_key,
            mandatory: self.mandatory.unwrap_or(mandatory),
            immediate: self.immediate,
            properties: &self.properties,
            body: match &self.body {
                Body::Borrowed(body) => PublishBody::Borrowed(body),
                Body::Owned(body) => PublishBody::Borrowed(body),
                Body::Shared(body) if body.len() < SHARE => PublishBody::Borrowed(body),
                Body::Shared(body) => PublishBody::Shared(body.clone()),
            },
        }
    }
}

#[cold]
fn deferred(error: &Error) -> Error {
    error.clone().during("basic.publish")
}

/// Where a message is published to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    exchange: ShortStr<'a>,
    routing_key: ShortStr<'a>,
}

impl<'a> Target<'a> {
    #[inline]
    pub(crate) fn new(exchange: &'a str, routing_key: &'a str) -> Result<Self, Error> {
        #[cold]
        fn too_long(error: EncodeError) -> Error {
            Error::from(error).during("basic.publish")
        }
        Ok(Self {
            exchange: ShortStr::named("exchange", exchange).map_err(too_long)?,
            routing_key: ShortStr::named("routing key", routing_key).map_err(too_long)?,
        })
    }

    /// Where replies to a message with these properties are wanted.
    pub(crate) fn of_replies(request: &PropertiesRef<'a>) -> Result<Self, Error> {
        match request.reply_to {
            Some(routing_key) if !routing_key.as_bytes().is_empty() => {
                Ok(Self { exchange: ShortStr::EMPTY, routing_key })
            }
            _ => Err(Error::invalid("the delivery names no queue for replies").during("basic.publish")),
        }
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    #[inline]
    fn from(body: &'a [u8]) -> Self {
        Self::with_body(Body::Borrowed(body))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    #[inline]
    fn from(body: &'a [u8; N]) -> Self {
        Self::with_body(Body::Borrowed(body))
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    #[inline]
    fn from(body: &'a Vec<u8>) -> Self {
        Self::with_body(Body::Borrowed(body))
    }
}

impl<'a> From<&'a str> for Message<'a> {
    #[inline]
    fn from(body: &'a str) -> Self {
        Self::with_body(Body::Borrowed(body.as_bytes()))
    }
}

impl<'a> From<&'a String> for Message<'a> {
    #[inline]
    fn from(body: &'a String) -> Self {
        Self::with_body(Body::Borrowed(body.as_bytes()))
    }
}

impl<'a> From<Cow<'a, [u8]>> for Message<'a> {
    #[inline]
    fn from(body: Cow<'a, [u8]>) -> Self {
        match body {
            Cow::Borrowed(body) => body.into(),
            Cow::Owned(body) => body.into(),
        }
    }
}

impl From<Vec<u8>> for Message<'_> {
    #[inline]
    fn from(body: Vec<u8>) -> Self {
        Self::with_body(Body::Owned(body))
    }
}

impl From<String> for Message<'_> {
    #[inline]
    fn from(body: String) -> Self {
        Self::with_body(Body::Owned(body.into_bytes()))
    }
}

impl From<Bytes> for Message<'_> {
    #[inline]
    fn from(body: Bytes) -> Self {
        Self::with_body(Body::Shared(body))
    }
}

impl From<&Bytes> for Message<'_> {
    #[inline]
    fn from(body: &Bytes) -> Self {
        Self::with_body(Body::Shared(body.clone()))
    }
}

/// What was received, to be published again: its body, without a copy if it came in one frame, and all its properties.
impl<'a> From<&'a Content> for Message<'a> {
    fn from(content: &'a Content) -> Self {
        let body = match content.body().as_slice() {
            Some(body) if body.len() < SHARE => Body::Borrowed(body),
            _ => Body::Shared(content.to_bytes()),
        };
        let message = Self::with_body(body);
        match content.properties() {
            Ok(properties) => message.properties(properties),
            Err(error) => Self { error: Some(error), ..message },
        }
    }
}

/// See the conversion from [`Content`].
impl<'a> From<&'a Delivery> for Message<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self::from(&**delivery)
    }
}

/// The same message again, without a copy of its body where it can be borrowed.
impl<'a> From<&'a Message<'_>> for Message<'a> {
    fn from(message: &'a Message<'_>) -> Self {
        let body = match &message.body {
            Body::Borrowed(body) => Body::Borrowed(body),
            Body::Owned(body) => Body::Borrowed(body),
            Body::Shared(body) => Body::Shared(body.clone()),
        };
        Self {
            body,
            properties: message.properties.clone(),
            mandatory: message.mandatory,
            immediate: message.immediate,
            error: message.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_property_comes_out_when_the_message_is_published() {
        let message = Message::new("x").content_type("t".repeat(256)).app_id("fine");
        assert!(message.ready().unwrap_err().to_string().starts_with("basic.publish: "));
    }

    #[test]
    fn a_delivery_mode_that_was_chosen_is_kept() {
        for (message, mode) in [
            (Message::new("x"), 2),
            (Message::new("x").transient(), 1),
            (Message::new("x").content_type("text/plain"), 2),
            (Message::new("x").header("a", 1).transient(), 1),
        ] {
            let mut message = message;
            message.default_delivery_mode(2);
            assert_eq!(message.properties.view().delivery_mode, Some(mode));
        }
    }

    #[test]
    fn a_large_owned_body_is_shared_and_a_small_one_copied() {
        let to = Target::new("", "q").unwrap();
        let small = Message::new(vec![0; SHARE - 1]).ready().unwrap();
        assert!(matches!(small.publish(&to, false).body, PublishBody::Borrowed(_)));
        let large = Message::new(vec![0; SHARE]).ready().unwrap();
        assert!(matches!(large.publish(&to, false).body, PublishBody::Shared(_)));
    }
}
