//! What a delivery brought: names, properties and body, without what settles it.

use std::borrow::Cow;
use std::fmt;

use amqp_proto::conn::{self, Body, DeliveryTag};
use amqp_proto::error::{CodecError, Error, ErrorKind, ProtocolError};
use amqp_proto::method::PropertiesRef;
use amqp_proto::wire::ValueRef;
use bytes::Bytes;

use crate::codec::Decode;

/// What a [`Delivery`](crate::Delivery) brought. A delivery dereferences to it, and
/// [`Delivery::into_parts`](crate::Delivery::into_parts) gives it by itself: it can be kept when the delivery has been
/// settled, and does not keep the connection open.
pub struct Content {
    received: conn::Delivery,
    /// The largest body that is unpacked.
    #[cfg_attr(not(feature = "gzip"), expect(dead_code, reason = "there is no other encoding to unpack"))]
    max_body: u64,
}

impl Content {
    #[inline]
    pub(crate) fn new(received: conn::Delivery, max_body: u64) -> Self {
        Self { received, max_body }
    }

    #[inline]
    pub(crate) fn needs_settling(&self) -> bool {
        self.received.needs_settling()
    }

    /// Its tag: a number on its channel.
    #[must_use]
    #[inline]
    pub fn delivery_tag(&self) -> DeliveryTag {
        self.received.delivery_tag()
    }

    /// The tag of the consumer it came to; empty for a message that was got.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        self.received.consumer_tag()
    }

    /// The exchange it was published to; empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.received.exchange()
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.received.routing_key()
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.received.redelivered()
    }

    /// For a message that was got: how many are left in the queue.
    #[must_use]
    pub fn message_count(&self) -> Option<u32> {
        self.received.message_count()
    }

    /// For a message from a stream: its number there, by which a later consumer can go on; see
    /// [`StreamOffset`](crate::StreamOffset).
    #[must_use]
    pub fn stream_offset(&self) -> Option<u64> {
        match self.received.properties().ok()?.headers?.get("x-stream-offset")? {
            ValueRef::I64(offset) => u64::try_from(offset).ok(),
            _ => None,
        }
    }

    /// Its properties, decoded now.
    ///
    /// # Errors
    ///
    /// If they are malformed. The delivery can still be settled.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, Error> {
        self.received.properties().map_err(|error| ProtocolError::from(error).into())
    }

    /// Its body, as it was received.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        self.received.body()
    }

    /// Its body in one piece, to be kept; shared, not copied, if it came in one frame of more than a kilobyte.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.received.to_bytes()
    }

    /// Its body in one piece, unpacked as its property `content_encoding` says: nothing is done to one without, or with
    /// `identity`; `gzip` needs the feature `gzip`.
    ///
    /// What it unpacks to is limited as bodies are, by [`Limits::max_body`](crate::Limits), by default 64 MiB.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`]: an encoding that is not known, a body that does not unpack, or unpacks to more than the
    /// limit. [`ErrorKind::Protocol`] if the properties are malformed.
    pub fn decoded_body(&self) -> Result<Cow<'_, [u8]>, Error> {
        let properties = self.properties()?;
        match properties.content_encoding.map(|name| name.as_bytes().to_ascii_lowercase()).as_deref() {
            None | Some(b"" | b"identity") => Ok(self.body().to_slice()),
            #[cfg(feature = "gzip")]
            Some(b"gzip" | b"x-gzip") => {
                crate::codec::gzip::unpack(self.body(), self.max_body).map(Cow::Owned).map_err(codec_error)
            }
            Some(other) => {
                let encoding = String::from_utf8_lossy(other).into_owned();
                Err(codec_error(CodecError::ContentEncoding { encoding }))
            }
        }
    }

    /// The value that its body stands for: unpacked as by [`decoded_body`](Self::decoded_body), then read by `codec`.
    ///
    /// Its property `content_type` has to be one that the codec accepts, see [`Codec::accepts`](crate::Codec::accepts);
    /// a message without one is taken at its word.
    ///
    /// # Errors
    ///
    /// Those of [`decoded_body`](Self::decoded_body); [`ErrorKind::Codec`] for a content type of another kind, and for a
    /// body that cannot be read. The delivery can still be settled.
    pub fn decode<T, C: Decode<T>>(&self, codec: &C) -> Result<T, Error> {
        if let Some(found) = self.properties()?.content_type {
            let found = found.to_string_lossy();
            if !codec.accepts(&found) {
                let (found, expected) = (found.into_owned(), codec.content_type().to_owned());
                return Err(codec_error(CodecError::ContentType { found, expected }));
            }
        }
        codec.decode(&self.decoded_body()?).map_err(|cause| {
            codec_error(CodecError::Decode { content_type: codec.content_type().to_owned(), cause: cause.into() })
        })
    }

    /// The value that its body stands for in JSON: see [`decode`](Self::decode).
    ///
    /// ```no_run
    /// # fn example(delivery: amqp_api::Delivery) -> Result<(), amqp_api::Error> {
    /// let numbers: Vec<u32> = delivery.json()?;
    /// delivery.ack()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        self.decode(&crate::codec::Json)
    }
}

pub(crate) fn codec_error(error: CodecError) -> Error {
    Error::new(ErrorKind::Codec(error))
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.received.fmt(f)
    }
}
