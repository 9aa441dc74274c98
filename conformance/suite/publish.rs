//! Messages out: what arrives is what was sent, and what comes back says why.

use std::time::Duration;

use conformance::{Context, cases};

use crate::facade::{
    Channel, Connection, Delivery, Error, ErrorKind, Exchange, Get, Message, Origin, Outcome, Properties, Queue,
    ReplyCode, Returned, connect, spawn,
};
use crate::suite::support::{Result, assert_channel_closed, await_queue, config, open};

cases! {
    a8_small_empty_and_large_messages_are_confirmed,
    a8_every_property_arrives_alone,
    a8_a_user_id_that_is_not_ones_own_is_406,
    a8_publishing_to_a_missing_exchange_is_404_and_names_it,
    a19_f27_returned_messages_arrive_in_the_channels_stream,
    a19_f27_a_return_whose_confirm_was_dropped_arrives_in_the_stream,
    c5_an_unroutable_mandatory_publish_is_no_route_with_the_message,
    f22_an_immediate_publish_is_refused_with_540,
    n5_f39_what_one_connection_publishes_others_get_and_ack_in_order,
    n6_f39_get_and_ack_on_an_empty_queue_is_none,
    n7_five_concurrent_publishers_on_one_connection_all_arrive,
    messages_of_one_channel_stay_in_their_order_whatever_their_size,
}

/// A channel with an exclusive queue.
async fn with_queue(connection: &Connection, context: &Context) -> Result<(Channel, String)> {
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    Ok((channel, queue))
}

async fn get(channel: &Channel, queue: &str) -> Result<Delivery> {
    Ok(channel.get(Get::new(queue).no_ack()).await?.expect("a message"))
}

async fn a8_small_empty_and_large_messages_are_confirmed(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    let publisher = connection.publisher().await?;
    let large: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
    for body in [b"small".to_vec(), Vec::new(), large] {
        publisher.publish("", &queue, &body).await?;
        assert!(get(&channel, &queue).await?.body() == body.as_slice());
        let outcome = publisher.send("", &queue, body.clone()).await?.outcome().await;
        assert!(matches!(outcome, Outcome::Acked), "{outcome:?}");
        assert!(get(&channel, &queue).await?.body() == body.as_slice());
    }
    // What is not mandatory is confirmed although no queue took it.
    publisher.publish("", context.name("nowhere"), Message::new("lost").mandatory(false)).await?;
    Ok(connection.close().await?)
}

async fn a8_every_property_arrives_alone(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    let publisher = connection.publisher().await?.persistent(false);
    let with = |set: fn(&mut Properties)| {
        let mut properties = Properties::new();
        set(&mut properties);
        properties
    };
    let message = || Message::new("body");
    for (message, expected) in [
        (message(), with(|_| ())),
        (message().content_type("text/plain"), with(|p| p.set_content_type("text/plain").unwrap())),
        (message().content_encoding("gzip"), with(|p| p.set_content_encoding("gzip").unwrap())),
        (message().header("key", "value"), with(|p| p.insert_header("key", "value").unwrap())),
        (message().delivery_mode(1), with(|p| p.set_delivery_mode(1))),
        (message().persistent(), with(|p| p.set_delivery_mode(2))),
        (message().priority(9), with(|p| p.set_priority(9))),
        (message().correlation_id("request"), with(|p| p.set_correlation_id("request").unwrap())),
        (message().reply_to("queue"), with(|p| p.set_reply_to("queue").unwrap())),
        (message().ttl(Duration::from_secs(100)), with(|p| p.set_expiration("100000").unwrap())),
        (message().message_id("id"), with(|p| p.set_message_id("id").unwrap())),
        (message().timestamp(u64::MAX), with(|p| p.set_timestamp(u64::MAX))),
        (message().kind("type"), with(|p| p.set_kind("type").unwrap())),
        (message().user_id("guest"), with(|p| p.set_user_id("guest").unwrap())),
        (message().app_id("app"), with(|p| p.set_app_id("app").unwrap())),
        (message().cluster_id("cluster"), with(|p| p.set_cluster_id("cluster").unwrap())),
    ] {
        publisher.publish("", &queue, message).await?;
        let delivery = get(&channel, &queue).await?;
        assert_eq!(delivery.properties()?, expected.view());
        assert_eq!(delivery.body(), "body");
    }
    Ok(connection.close().await?)
}

async fn a8_a_user_id_that_is_not_ones_own_is_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let (_, queue) = with_queue(&connection, &context).await?;
    let publisher = connection.publisher().await?;
    let error = publisher.publish("", &queue, Message::new("forged").user_id("somebody")).await.unwrap_err();
    let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
    assert_channel_closed(cause, 406);
    publisher.publish("", &queue, Message::new("honest").user_id("guest")).await?;
    Ok(connection.close().await?)
}

async fn a8_publishing_to_a_missing_exchange_is_404_and_names_it(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let missing = context.name("missing");
    channel.publish(&missing, "key", "lost").await?;
    // It is answered by nothing but the close of the channel.
    let error = channel.queue_declare(Queue::server_named()).await.unwrap_err();
    assert_channel_closed(&error, 404);
    assert!(error.to_string().contains(&missing) && error.to_string().contains("basic.publish"), "{error}");
    assert_channel_closed(&channel.publish("", "key", "late").await.unwrap_err(), 404);
    Ok(connection.close().await?)
}

#[track_caller]
fn assert_returned(message: &Returned, exchange: &str, key: &str, body: &str) {
    assert_eq!(message.reply_code(), ReplyCode::NO_ROUTE);
    assert_eq!(message.reply_text(), "NO_ROUTE");
    assert_eq!((message.exchange(), message.routing_key()), (exchange, key));
    assert_eq!(message.body(), body);
}

async fn a19_f27_returned_messages_arrive_in_the_channels_stream(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    let nowhere = context.name("nowhere");
    let mandatory = |body: String| Message::new(body).mandatory(true).app_id("me");
    // Some come before anybody asks, in the midst of others that are routed, some while somebody waits.
    for number in 0..100 {
        channel.publish("", &nowhere, mandatory(format!("early {number}"))).await?;
        channel.publish("", &queue, mandatory("routed".to_owned())).await?;
        channel.publish("", &nowhere, "nobody wants it back").await?;
    }
    await_queue(context.node(), &queue, "what was routed", |queue| queue.messages == 100);
    let mut returns = channel.returns();
    for number in 0..100 {
        let message = returns.next().await.expect("a message");
        assert_returned(&message, "", &nowhere, &format!("early {number}"));
        assert_eq!(message.properties()?.app_id.map(|id| id.to_string_lossy().into_owned()).as_deref(), Some("me"));
    }
    assert!(returns.try_next().is_none());
    let waiting = spawn(async move { (returns.next().await.expect("a message"), returns) });
    channel.publish("amq.direct", &nowhere, mandatory("late".to_owned())).await?;
    let (message, mut returns) = waiting.await;
    assert_returned(&message, "amq.direct", &nowhere, "late");
    channel.close().await?;
    assert!(returns.next().await.is_none());
    Ok(connection.close().await?)
}

async fn a19_f27_a_return_whose_confirm_was_dropped_arrives_in_the_stream(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let nowhere = context.name("nowhere");
    let mut returns = channel.returns();
    drop(channel.send("", &nowhere, Message::new("dropped").mandatory(true)).await?);
    let kept = channel.send("", &nowhere, Message::new("kept").mandatory(true)).await?;
    assert_returned(&returns.next().await.expect("a message"), "", &nowhere, "dropped");
    let Outcome::Returned(message) = kept.outcome().await else { panic!("it was not returned") };
    assert_returned(&message, "", &nowhere, "kept");
    assert!(returns.try_next().is_none());
    // Also if it is dropped when the outcome is there.
    let dropped = channel.send("", &nowhere, Message::new("dropped late").mandatory(true)).await?;
    channel.send("", &nowhere, "not mandatory").await?.await?;
    drop(dropped);
    assert_returned(&returns.next().await.expect("a message"), "", &nowhere, "dropped late");
    Ok(connection.close().await?)
}

async fn c5_an_unroutable_mandatory_publish_is_no_route_with_the_message(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    let (exchange, nowhere) = (context.name("exchange"), context.name("nowhere"));
    channel.exchange_declare(Exchange::fanout(&exchange).durable(false).auto_delete()).await?;
    let publisher = connection.publisher().await?;
    for (exchange, body) in [("", "small".to_owned()), (&*exchange, "x".repeat(300_000)), ("amq.topic", String::new())]
    {
        let message = Message::new(&body).message_id("m-1").header("trace", 17);
        let error = publisher.publish(exchange, &nowhere, message).await.unwrap_err();
        assert_eq!(error.reply_code(), Some(ReplyCode::NO_ROUTE));
        assert_eq!(error.origin(), Origin::User);
        assert!(error.to_string().contains("312"), "{error}");
        let ErrorKind::NoRoute(returned) = error.kind() else { panic!("{error}") };
        assert_returned(returned, exchange, &nowhere, &body);
        let properties = returned.properties()?;
        assert_eq!(properties.delivery_mode, Some(2));
        assert_eq!(properties.message_id.map(|id| id.to_string_lossy().into_owned()).as_deref(), Some("m-1"));
        assert_eq!(properties.headers.and_then(|headers| headers.get("trace")?.as_i64()), Some(17));
        // The publisher is unharmed.
        publisher.publish("", &queue, "routed").await?;
    }
    Ok(connection.close().await?)
}

async fn f22_an_immediate_publish_is_refused_with_540(context: Context) -> Result {
    let immediate = || Message::new("now or never").immediate();
    let refused = |error: &Error| {
        let Some(reason) = error.close_reason() else { panic!("not a close by the broker: {error}") };
        assert_eq!((reason.code, &*reason.text), (ReplyCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED - immediate=true"));
        assert_eq!((reason.class_id, reason.method_id), (60, 40));
    };
    let connection = connect(config(&context).no_recovery()).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    channel.publish("", &queue, immediate()).await?;
    refused(&connection.closed().await.unwrap_err());

    let connection = connect(config(&context).no_recovery()).await?;
    let confirm = connection.publisher().await?.send("", &queue, immediate()).await?;
    let Outcome::Unknown(error) = confirm.outcome().await else { panic!("it has an answer") };
    refused(&error);

    let connection = connect(config(&context).no_recovery()).await?;
    let writer = connection.publish_streamed("", &queue, immediate(), 12).await?;
    refused(&writer.finish().await.unwrap_err());
    Ok(())
}

async fn n5_f39_what_one_connection_publishes_others_get_and_ack_in_order(context: Context) -> Result {
    let publishing = open(&context).await?;
    let queue = publishing.channel().await?.queue_declare(context.name("queue")).await?.name;
    let publisher = publishing.publisher().await?;
    for number in 0..60 {
        publisher.publish("", &queue, number.to_string()).await?;
    }
    // Three others, in turn, each over a connection of its own.
    let mut others = Vec::new();
    for _ in 0..3 {
        let connection = open(&context).await?;
        others.push((connection.channel().await?, connection));
    }
    for number in 0..60 {
        let delivery = others[number % 3].0.get(&queue).await?.expect("a message");
        assert_eq!(delivery.body(), number.to_string().as_str());
        assert!(!delivery.redelivered());
        delivery.ack()?;
    }
    for (channel, connection) in others {
        assert!(channel.get(&queue).await?.is_none());
        connection.close().await?;
    }
    // All that was got has been settled: nothing came back when the others closed.
    let channel = publishing.channel().await?;
    await_queue(context.node(), &queue, "nothing to be left", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    Ok(publishing.close().await?)
}

async fn n6_f39_get_and_ack_on_an_empty_queue_is_none(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    assert!(channel.get(&queue).await?.is_none());
    connection.publisher().await?.publish("", &queue, "one").await?;
    channel.get(&queue).await?.expect("the message").ack()?;
    for _ in 0..3 {
        assert!(channel.get(&queue).await?.is_none());
    }
    Ok(connection.close().await?)
}

async fn n7_five_concurrent_publishers_on_one_connection_all_arrive(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    // Five of their own, and five that share one.
    let shared = connection.publisher().await?;
    let mut tasks = Vec::new();
    for number in 0..10 {
        let publisher = if number < 5 { connection.publisher().await? } else { shared.clone() };
        let queue = queue.clone();
        tasks.push(spawn(async move {
            for message in 0..50 {
                publisher.publish("", &queue, format!("{number} {message}")).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await;
    }
    let mut next = [0; 10];
    for _ in 0..500 {
        let delivery = get(&channel, &queue).await?;
        let body = String::from_utf8(delivery.body().to_vec())?;
        let (number, message) = body.split_once(' ').expect("two numbers");
        let (number, message): (usize, usize) = (number.parse()?, message.parse()?);
        assert_eq!(message, next[number], "publisher {number}");
        next[number] += 1;
    }
    assert_eq!(next, [50; 10]);
    assert!(channel.get(&queue).await?.is_none());
    Ok(connection.close().await?)
}

async fn messages_of_one_channel_stay_in_their_order_whatever_their_size(context: Context) -> Result {
    let connection = connect(config(&context).publish_buffer(64 * 1024)).await?;
    let (channel, queue) = with_queue(&connection, &context).await?;
    // Each way through the write buffer: copied, linked, in parts, and waiting for room.
    let sizes = [0, 10, 5_000, 20, 300_000, 30, 40, 200_000, 0, 1_000_000, 50];
    let body = |number: usize| {
        let mut body = vec![u8::try_from(number % 256).unwrap_or_default(); sizes[number % sizes.len()]];
        body.extend(number.to_be_bytes());
        body
    };
    for number in 0..110 {
        if number % 2 == 0 {
            channel.publish("", &queue, body(number)).await?;
        } else {
            channel.publish("", &queue, &body(number)).await?;
        }
    }
    await_queue(context.node(), &queue, "all messages", |queue| queue.messages == 110);
    for number in 0..110 {
        assert!(get(&channel, &queue).await?.body() == body(number).as_slice(), "message {number}");
    }
    Ok(connection.close().await?)
}
