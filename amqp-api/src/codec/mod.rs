//! Typed bodies: values to bytes and back.
//!
//! A format is a [`Codec`]; it can [`Encode`] some types and [`Decode`] some. [`Json`] is one, behind the feature `json`.
//! How bytes are packed on top of that, `gzip` for example, is the property `content_encoding` and no matter of a codec.

#[cfg(feature = "gzip")]
pub(crate) mod gzip;
#[cfg(feature = "json")]
mod json;

#[cfg(feature = "json")]
pub use self::json::Json;

/// What a codec of one's own fails with: anything.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A format of bodies.
///
/// ```
/// use amqp_api::{BoxError, Codec, Decode, Encode, Message};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// /// MessagePack, by the crate rmp-serde.
/// struct MessagePack;
///
/// impl Codec for MessagePack {
///     fn content_type(&self) -> &str {
///         "application/msgpack"
///     }
/// }
///
/// impl<T: Serialize + ?Sized> Encode<T> for MessagePack {
///     fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
///         Ok(rmp_serde::to_vec_named(value)?)
///     }
/// }
///
/// impl<T: DeserializeOwned> Decode<T> for MessagePack {
///     fn decode(&self, body: &[u8]) -> Result<T, BoxError> {
///         Ok(rmp_serde::from_slice(body)?)
///     }
/// }
///
/// let message = Message::encoded(&MessagePack, &("order", 17))?;
/// # fn received(delivery: amqp_api::Delivery) -> Result<(), amqp_api::Error> {
/// let (kind, number): (String, u32) = delivery.decode(&MessagePack)?;
/// # Ok(())
/// # }
/// # Ok::<(), amqp_api::Error>(())
/// ```
pub trait Codec {
    /// The MIME type of what it writes: the property `content_type` of messages.
    fn content_type(&self) -> &str;

    /// Whether it reads bodies of this MIME type. Unless a codec says otherwise: its own, in any case of letters and
    /// with any parameters, such as `; charset=utf-8`.
    fn accepts(&self, content_type: &str) -> bool {
        essence(content_type).eq_ignore_ascii_case(essence(self.content_type()))
    }
}

/// A format that values of the type `T` can be written in.
pub trait Encode<T: ?Sized>: Codec {
    /// The body that stands for a value.
    ///
    /// # Errors
    ///
    /// If the value cannot be written in this format.
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError>;
}

/// A format that values of the type `T` can be read from.
pub trait Decode<T>: Codec {
    /// The value that a body stands for.
    ///
    /// # Errors
    ///
    /// If the body is not of this format, or not such a value.
    fn decode(&self, body: &[u8]) -> Result<T, BoxError>;
}

/// A MIME type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
