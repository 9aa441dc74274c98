//! Typed and packed bodies, and bodies of every kind.

use std::borrow::Cow;
use std::error::Error as _;

use conformance::{Context, cases};
use serde::{Deserialize, Serialize};

use crate::facade::{
    BoxError, Channel, Codec, CodecError, Connection, Decode, Delivery, Encode, Error, ErrorKind, Get, Json, Message,
    Origin, Publisher, Queue, connect,
};
use crate::suite::support::{Result, config, open};

cases! {
    f25_bodies_go_out_from_every_type,
    f25_f41_a_typed_message_arrives_as_the_value_that_it_was,
    f41_a_body_of_another_type_or_kind_is_a_typed_error_and_can_still_be_settled,
    f41_a_packed_body_is_unpacked,
    f41_a_body_that_unpacks_to_too_much_is_refused,
    f41_a_codec_of_ones_own,
}

/// A queue of its own, with what publishes to it and gets from it.
struct Setup {
    connection: Connection,
    channel: Channel,
    publisher: Publisher,
    queue: String,
}

impl Setup {
    async fn new(context: &Context) -> Result<Self> {
        Self::over(context, open(context).await?).await
    }

    async fn over(context: &Context, connection: Connection) -> Result<Self> {
        let channel = connection.channel().await?;
        let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
        let publisher = connection.publisher().await?;
        Ok(Self { connection, channel, publisher, queue })
    }

    /// Publishes a message and gets it, settled.
    async fn round(&self, message: Message<'_>) -> Result<Delivery> {
        self.publisher.publish("", &self.queue, message).await?;
        Ok(self.channel.get(Get::new(&self.queue).no_ack()).await?.expect("a message"))
    }

    /// Publishes a message and gets it, to be settled.
    async fn round_unsettled(&self, message: Message<'_>) -> Result<Delivery> {
        self.publisher.publish("", &self.queue, message).await?;
        Ok(self.channel.get(&self.queue).await?.expect("a message"))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u64,
    items: Vec<String>,
    note: Option<String>,
}

fn order() -> Order {
    Order { number: u64::MAX, items: vec!["näh".to_owned(), String::new()], note: None }
}

fn codec_error(error: &Error) -> &CodecError {
    assert_eq!(error.origin(), Origin::User);
    assert!(!error.is_retryable());
    match error.kind() {
        ErrorKind::Codec(error) => error,
        _ => panic!("{error}"),
    }
}

async fn f25_bodies_go_out_from_every_type(context: Context) -> Result {
    let setup = Setup::new(&context).await?;
    let text = "body".to_owned();
    let vec = text.clone().into_bytes();
    let bytes = setup.round(Message::new("body")).await?.to_bytes();
    for message in [
        Message::new("body"),
        Message::new(text.clone()),
        Message::new(&text),
        Message::new(b"body"),
        Message::new(&b"body"[..]),
        Message::new(vec.clone()),
        Message::new(&vec),
        Message::new(Cow::Borrowed(text.as_bytes())),
        Message::new(&bytes),
        Message::new(bytes.clone()),
        Message::from(&Message::new(&text)),
    ] {
        assert_eq!(setup.round(message).await?.body(), "body");
    }
    Ok(setup.connection.close().await?)
}

async fn f25_f41_a_typed_message_arrives_as_the_value_that_it_was(context: Context) -> Result {
    let setup = Setup::new(&context).await?;
    let delivery = setup.round_unsettled(Message::json(&order())?.message_id("1")).await?;
    let properties = delivery.properties()?;
    assert_eq!(
        properties.content_type.map(|text| text.to_string_lossy().into_owned()),
        Some("application/json".into())
    );
    assert!(properties.message_id.is_some() && properties.content_encoding.is_none());
    assert_eq!(delivery.json::<Order>()?, order());
    assert_eq!(delivery.decode::<Order, _>(&Json)?, order());
    // A content that was taken from its delivery can be read when that has been settled.
    let (content, acker) = delivery.into_parts();
    acker.ack()?;
    assert_eq!(content.json::<Order>()?, order());
    // Parameters, other spellings, and no type at all.
    for kind in [Some("Application/JSON; charset=utf-8"), Some("application/vnd.order+json"), None] {
        let message = Message::new("{\"number\":1,\"items\":[]}");
        let message = if let Some(kind) = kind { message.content_type(kind) } else { message };
        assert_eq!(setup.round(message).await?.json::<Order>()?.number, 1);
    }
    Ok(setup.connection.close().await?)
}

async fn f41_a_body_of_another_type_or_kind_is_a_typed_error_and_can_still_be_settled(context: Context) -> Result {
    let setup = Setup::new(&context).await?;
    let delivery = setup.round_unsettled(Message::json(&order())?.content_type("text/plain")).await?;
    let error = delivery.json::<Order>().unwrap_err();
    let CodecError::ContentType { found, expected } = codec_error(&error) else { panic!("{error}") };
    assert_eq!((found.as_str(), expected.as_str()), ("text/plain", "application/json"));
    delivery.ack()?;

    let delivery = setup.round_unsettled(Message::json("not an order")?).await?;
    let error = delivery.json::<Order>().unwrap_err();
    let CodecError::Decode { cause, .. } = codec_error(&error) else { panic!("{error}") };
    assert!(error.to_string().contains(&cause.to_string()), "{error}");
    assert!(error.source().is_none_or(|source| source.to_string() != cause.to_string()), "it is not said twice");
    assert_eq!(delivery.json::<String>()?, "not an order");
    delivery.reject(false)?;

    let delivery = setup.round_unsettled(Message::json(&order())?.content_encoding("br")).await?;
    let error = delivery.json::<Order>().unwrap_err();
    assert!(matches!(codec_error(&error), CodecError::ContentEncoding { encoding } if encoding == "br"), "{error}");
    delivery.ack()?;

    // What JSON cannot say is told before there is a message.
    let error = Message::json(&std::collections::BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert!(matches!(codec_error(&error), CodecError::Encode { .. }), "{error}");
    assert!(setup.channel.get(&setup.queue).await?.is_none());
    Ok(setup.connection.close().await?)
}

async fn f41_a_packed_body_is_unpacked(context: Context) -> Result {
    let setup = Setup::new(&context).await?;
    for size in [0, 1, 10_000, 1_000_000] {
        // In one frame and in several, unpacked or not.
        let body: Vec<u8> = (0..size).map(|at: u32| at.wrapping_mul(at).to_le_bytes()[1]).collect();
        let delivery = setup.round(Message::new(&body).gzip()).await?;
        assert_eq!(
            delivery.properties()?.content_encoding.map(|text| text.as_bytes().to_vec()),
            Some(b"gzip".to_vec())
        );
        assert!(delivery.body() != body.as_slice());
        assert!(*delivery.decoded_body()? == body, "{size} bytes");
        assert!(*setup.round(Message::new(&body)).await?.decoded_body()? == body, "what is not packed is as it is");
    }
    let delivery = setup.round(Message::json(&order())?.gzip().persistent()).await?;
    assert_eq!(delivery.json::<Order>()?, order());
    assert_eq!(setup.round(Message::from(&delivery)).await?.json::<Order>()?, order(), "it can go on as it came");

    let error = setup.round(Message::new("no gzip").content_encoding("gzip")).await?.decoded_body().unwrap_err();
    assert!(matches!(codec_error(&error), CodecError::Unpack { .. }), "{error}");
    // It is not packed twice without anybody knowing.
    let twice = setup.publisher.publish("", &setup.queue, Message::new("body").gzip().gzip()).await;
    assert!(matches!(twice.unwrap_err().kind(), ErrorKind::Invalid(_)));
    Ok(setup.connection.close().await?)
}

async fn f41_a_body_that_unpacks_to_too_much_is_refused(context: Context) -> Result {
    const LIMIT: usize = 1 << 20;
    let connection = connect(config(&context).max_body_size(1 << 20)).await?;
    let setup = Setup::over(&context, connection).await?;
    let most = setup.round_unsettled(Message::new(vec![0; LIMIT]).gzip()).await?;
    assert_eq!(most.decoded_body()?.len(), LIMIT);
    most.ack()?;
    let bomb = setup.round_unsettled(Message::new(vec![0; LIMIT + 1]).gzip()).await?;
    assert!(bomb.body().len() < LIMIT / 100);
    let error = bomb.decoded_body().unwrap_err();
    assert!(matches!(codec_error(&error), CodecError::TooLarge { limit: 0x10_0000 }), "{error}");
    assert!(bomb.json::<Order>().is_err());
    bomb.reject(false)?;
    assert!(setup.channel.get(&setup.queue).await?.is_none());
    Ok(setup.connection.close().await?)
}

/// Numbers as decimal digits.
struct Digits;

impl Codec for Digits {
    fn content_type(&self) -> &'static str {
        "text/x-digits"
    }
}

impl Encode<u64> for Digits {
    fn encode(&self, value: &u64) -> std::result::Result<Vec<u8>, BoxError> {
        Ok(value.to_string().into_bytes())
    }
}

impl Decode<u64> for Digits {
    fn decode(&self, body: &[u8]) -> std::result::Result<u64, BoxError> {
        Ok(std::str::from_utf8(body)?.parse()?)
    }
}

async fn f41_a_codec_of_ones_own(context: Context) -> Result {
    let setup = Setup::new(&context).await?;
    let delivery = setup.round(Message::encoded(&Digits, &17)?).await?;
    assert_eq!((delivery.body(), delivery.decode(&Digits)?).1, 17);
    assert!(matches!(codec_error(&delivery.json::<u64>().unwrap_err()), CodecError::ContentType { .. }));
    let delivery = setup.round(Message::new("many").content_type("text/X-Digits; base=10")).await?;
    let error = delivery.decode(&Digits).unwrap_err();
    let CodecError::Decode { content_type, cause } = codec_error(&error) else { panic!("{error}") };
    assert_eq!(content_type, "text/x-digits");
    assert!(cause.downcast_ref::<std::num::ParseIntError>().is_some());
    Ok(setup.connection.close().await?)
}
