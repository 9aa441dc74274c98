//! Properties and headers: what the broker keeps of them.

use conformance::raw::args::Args;
use conformance::raw::{Wire, id};
use conformance::{Context, cases};

use crate::facade::{
    ErrorKind, FieldTable, FieldValue, Get, Message, Properties, PropertiesRef, Queue, connect, table,
};
use crate::suite::support::{Result, config, open};

cases! {
    c10_all_14_properties_and_a_nested_table_round_trip,
    c10_an_absent_delivery_mode_stays_absent_unless_it_is_a_publishers,
    bcc_reaches_its_queue_and_is_stripped,
    a_returned_message_with_odd_headers_is_that_of_its_publish,
    properties_that_do_not_fit_into_a_frame_are_an_error_and_harm_nothing,
    p41_a_number_that_is_not_finite_is_refused_here_as_the_broker_would_hang_up,
}

/// A value of every type that there is.
fn all_types() -> FieldTable {
    table! {
        "bool" => true,
        "i8" => FieldValue::I8(i8::MIN),
        "u8" => FieldValue::U8(u8::MAX),
        "i16" => FieldValue::I16(i16::MIN),
        "u16" => FieldValue::U16(u16::MAX),
        "i32" => FieldValue::I32(i32::MIN),
        "u32" => FieldValue::U32(u32::MAX),
        "i64" => FieldValue::I64(i64::MIN),
        "f32" => FieldValue::F32(0.5),
        "f64" => FieldValue::F64(-1e300),
        "decimal" => FieldValue::Decimal { scale: 2, value: 314 },
        "text" => "grüße",
        "no text" => FieldValue::LongString(vec![0xFF, 0, 0xFE]),
        "empty" => "",
        "array" => FieldValue::Array(vec![FieldValue::I32(1), FieldValue::from("two"), FieldValue::Array(vec![])]),
        "timestamp" => FieldValue::Timestamp(1_700_000_000),
        "bytes" => FieldValue::Bytes(vec![0, 1, 2, 255]),
        "void" => FieldValue::Void,
        "no entries" => table! {},
        "" => "an empty key",
    }
}

async fn c10_all_14_properties_and_a_nested_table_round_trip(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut nested = all_types();
    for depth in 0..10 {
        nested = all_types().with(format!("depth {depth}"), nested)?;
    }
    let message = Message::new("body")
        .content_type("application/json; charset=utf-8")
        .content_encoding("identity")
        .headers(&nested)
        .delivery_mode(2)
        .priority(255)
        .correlation_id("c".repeat(255))
        .reply_to("amq.rabbitmq.reply-to.x")
        .expiration("3600000")
        .message_id("ünïcödé")
        .timestamp(1_700_000_000)
        .kind("order.created")
        .user_id("guest")
        .app_id("")
        .cluster_id("reserved");
    channel.confirm_select().await?;
    channel.send("", &queue, &message).await?.await?;

    let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
    let properties = delivery.properties()?;
    let text = |text: &str| Some(text.to_owned());
    let texts = [
        (properties.content_type, text("application/json; charset=utf-8")),
        (properties.content_encoding, text("identity")),
        (properties.correlation_id, text(&"c".repeat(255))),
        (properties.reply_to, text("amq.rabbitmq.reply-to.x")),
        (properties.expiration, text("3600000")),
        (properties.message_id, text("ünïcödé")),
        (properties.kind, text("order.created")),
        (properties.user_id, text("guest")),
        (properties.app_id, text("")),
        (properties.cluster_id, text("reserved")),
    ];
    for (seen, sent) in texts {
        assert_eq!(seen.map(|seen| seen.to_string_lossy().into_owned()), sent);
    }
    assert_eq!(properties.delivery_mode, Some(2));
    assert_eq!(properties.priority, Some(255));
    assert_eq!(properties.timestamp, Some(1_700_000_000));
    let headers = properties.headers.expect("headers").to_owned();
    for (key, value) in &nested {
        assert_eq!(headers.get(&key.to_string_lossy()), Some(value), "{key}");
    }
    assert_eq!(headers.len(), nested.len());

    // What came can be published again as it is.
    let again = Message::new("again").properties(properties);
    channel.send("", &queue, again).await?.await?;
    let second = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
    assert_eq!(second.properties()?, properties);
    Ok(connection.close().await?)
}

async fn c10_an_absent_delivery_mode_stays_absent_unless_it_is_a_publishers(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let publisher = connection.publisher().await?;
    channel.publish("", &queue, "a channel's").await?;
    channel.publish("", &queue, Message::new("with another property").priority(1)).await?;
    channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
    publisher.clone().persistent(false).publish("", &queue, "left without").await?;
    publisher.publish("", &queue, "a publisher's").await?;
    publisher.publish("", &queue, Message::new("that has one").transient()).await?;
    let mut modes = Vec::new();
    while let Some(delivery) = channel.get(Get::new(&queue).no_ack()).await? {
        let properties = delivery.properties()?;
        if delivery.body() == "a channel's" {
            assert_eq!(properties, PropertiesRef::default());
        }
        modes.push((String::from_utf8(delivery.body().to_vec())?, properties.delivery_mode));
    }
    modes.sort();
    let expected = [
        ("a channel's", None),
        ("a publisher's", Some(2)),
        ("left without", None),
        ("that has one", Some(1)),
        ("with another property", None),
    ];
    assert_eq!(modes, expected.map(|(body, mode)| (body.to_owned(), mode)));
    Ok(connection.close().await?)
}

/// A list of routing keys, as RabbitMQ reads them from the headers `CC` and `BCC`.
fn keys(keys: &[&String]) -> FieldValue {
    FieldValue::Array(keys.iter().map(|key| FieldValue::from(key.as_str())).collect())
}

async fn bcc_reaches_its_queue_and_is_stripped(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let names = ["to", "cc", "bcc"].map(|name| context.name(name));
    for name in &names {
        channel.queue_declare(Queue::exclusive(name)).await?;
    }
    channel.confirm_select().await?;
    let message = Message::new("to all").header("CC", keys(&[&names[1]])).header("BCC", keys(&[&names[2]]));
    channel.send("", &names[0], message).await?.await?;
    for name in &names {
        let delivery = channel.get(Get::new(name).no_ack()).await?.expect("a message");
        let headers = delivery.properties()?.headers.expect("headers");
        assert!(headers.contains_key("CC") && !headers.contains_key("BCC"), "{headers:?}");
    }
    Ok(connection.close().await?)
}

async fn a_returned_message_with_odd_headers_is_that_of_its_publish(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let (one, other) = (context.name("nowhere_1"), context.name("nowhere_2"));
    // Alike but for their properties, and the broker hands these back changed: sorted, without BCC, in other types.
    let messages = || {
        [
            Message::new("same").header("z", 1).header("a", 2).header("number", FieldValue::U8(7)),
            Message::new("same").header("z", 2).header("a", 1).header("number", FieldValue::U8(7)),
            Message::new("same").header("BCC", keys(&[&one])).app_id("bcc"),
            Message::new("same").header("BCC", keys(&[&one, &other])).header("CC", keys(&[&other])),
            Message::new("same").headers(&all_types()),
            Message::new("same").headers(&table! {}),
            Message::new("same"),
        ]
    };
    let mut confirms = Vec::new();
    for (number, message) in messages().into_iter().enumerate() {
        // One that is routed in between each two, so that tags and returns do not run in step.
        confirms.push((None, publisher.send("", &queue, &message).await?));
        confirms.push((Some(number), publisher.send("", &one, message.priority(u8::try_from(number)?)).await?));
    }
    for (number, confirm) in confirms {
        match (number, confirm.await) {
            (None, result) => result?,
            (Some(number), Err(error)) => {
                let ErrorKind::NoRoute(returned) = error.kind() else { panic!("{error}") };
                assert_eq!(returned.properties()?.priority, Some(u8::try_from(number)?));
            }
            (Some(number), Ok(())) => panic!("message {number} went nowhere and was not returned"),
        }
    }
    Ok(connection.close().await?)
}

async fn properties_that_do_not_fit_into_a_frame_are_an_error_and_harm_nothing(context: Context) -> Result {
    let connection = connect(config(&context).frame_max(8192)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.confirm_select().await?;
    // Frame, content header, the headers' length, a key of one byte, and the value's type and length.
    let room = 8192 - 8 - 14 - 4 - 2 - 5;
    let message = |size: usize| Message::new("body").header("k", FieldValue::Bytes(vec![1; size]));
    let error = channel.send("", &queue, message(room + 1)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
    assert!(error.to_string().contains("8192"), "{error}");
    assert_eq!(error.operation(), Some("basic.publish"));
    // Not a byte of it was queued, and its number among the confirms was not used up.
    channel.send("", &queue, message(room)).await?.await?;
    let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
    let mut expected = Properties::new();
    expected.insert_header("k", FieldValue::Bytes(vec![1; room]))?;
    assert_eq!(delivery.properties()?, expected.view());
    // The same for the arguments of a method.
    let error = channel.queue_declare(Queue::server_named().argument("k", "v".repeat(9000))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
    assert_eq!(error.operation(), Some("queue.declare"));
    channel.queue_declare(Queue::server_named()).await?;
    Ok(connection.close().await?)
}

async fn p41_a_number_that_is_not_finite_is_refused_here_as_the_broker_would_hang_up(context: Context) -> Result {
    // What the broker does with it: nothing is said, the socket is closed.
    let numbers = [f32::NAN, f32::INFINITY].map(|number| (b'f', number.to_be_bytes().to_vec()));
    let doubles = [f64::NAN, f64::NEG_INFINITY].map(|number| (b'd', number.to_be_bytes().to_vec()));
    for (tag, bytes) in numbers.into_iter().chain(doubles) {
        let mut wire = Wire::log_in(context.address(), context.case())?;
        wire.open_channel(1)?;
        let table = Args::new().short_string("load").u8(tag).bytes(&bytes).into_bytes();
        let declare = Args::new().u16(0).short_string(&context.name("queue")).u8(0).long_string(&table);
        wire.send_method(1, id::QUEUE_DECLARE, declare)?;
        assert_eq!(wire.expect_end()?, b"");
    }

    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    let errors = [
        channel.queue_declare(Queue::exclusive(&queue).argument("load", f64::NAN)).await.unwrap_err(),
        channel.publish("", &queue, Message::new("x").header("load", f32::INFINITY)).await.unwrap_err(),
        channel.publish("", &queue, Message::new("x").headers(&table! { "load" => f64::NAN })).await.unwrap_err(),
        connect(config(&context).client_property("load", f64::NEG_INFINITY)).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("\"load\""), "{error}");
    }
    channel.queue_declare(Queue::exclusive(&queue).argument("load", f64::MAX)).await?;
    Ok(connection.close().await?)
}
