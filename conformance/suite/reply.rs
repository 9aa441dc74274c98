//! Deliveries that are answered, and that go on.

use conformance::{Context, cases};

use crate::facade::{
    Channel, Connection, Consume, Delivery, ErrorKind, Get, Message, Queue, ReplyCode, connect, spawn,
};
use crate::suite::support::{Result, await_queue, config, open, version};

cases! {
    c19_a_delivery_offers_ack_nack_reject_reply_and_republish,
    c19_a_reply_needs_somewhere_to_go,
    c19_a_republished_message_keeps_its_body_and_properties,
    c19_a_republished_message_can_be_changed,
    c19_a_reply_and_what_settles_the_request_keep_their_order,
    a10_rpc_by_reply_to_and_correlation_id,
    a10_rpc_over_direct_reply_to,
    a_handler_replies_publishes_and_declares_on_its_own_connection,
}

async fn with_queue(connection: &Connection, context: &Context, name: &str) -> Result<(Channel, String)> {
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name(name))).await?.name;
    Ok((channel, queue))
}

async fn get(channel: &Channel, queue: &str) -> Result<Delivery> {
    Ok(channel.get(queue).await?.expect("a message"))
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body().to_slice()).into_owned()
}

fn correlation_id(delivery: &Delivery) -> Option<String> {
    delivery.properties().unwrap().correlation_id.map(|id| id.to_string_lossy().into_owned())
}

async fn c19_a_delivery_offers_ack_nack_reject_reply_and_republish(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let (_, replies) = with_queue(&connection, &context, "replies").await?;
    let (_, other) = with_queue(&connection, &context, "other").await?;
    let publisher = connection.publisher().await?;
    let request = || Message::new("request").reply_to(&replies).correlation_id("17");

    publisher.publish("", &queue, request()).await?;
    let delivery = get(&channel, &queue).await?;
    delivery.reply("queued")?;
    channel.reply(&delivery, "waited for room").await?;
    publisher.reply(&delivery, "confirmed").await?;
    delivery.republish("", &other)?;
    delivery.ack()?;
    for _ in 0..2 {
        publisher.publish("", &queue, request()).await?;
    }
    get(&channel, &queue).await?.nack(false)?;
    get(&channel, &queue).await?.reject(false)?;

    await_queue(context.node(), &replies, "three replies", |queue| queue.messages == 3);
    let mut texts = Vec::new();
    for _ in 0..3 {
        let reply = get(&channel, &replies).await?;
        assert_eq!(correlation_id(&reply).as_deref(), Some("17"));
        texts.push(text(&reply));
        reply.ack()?;
    }
    texts.sort_unstable();
    assert_eq!(texts, ["confirmed", "queued", "waited for room"]);
    let gone_on = get(&channel, &other).await?;
    assert_eq!((text(&gone_on), correlation_id(&gone_on).as_deref()), ("request".to_owned(), Some("17")));
    assert!(channel.get(&queue).await?.is_none());
    Ok(connection.close().await?)
}

async fn c19_a_reply_needs_somewhere_to_go(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let publisher = connection.publisher().await?;
    for request in [Message::new("request").correlation_id("1"), Message::new("request").reply_to("")] {
        publisher.publish("", &queue, request).await?;
        let delivery = get(&channel, &queue).await?;
        for error in [
            delivery.reply("x").unwrap_err(),
            channel.reply(&delivery, "x").await.unwrap_err(),
            publisher.reply(&delivery, "x").await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
        }
        delivery.ack()?;
    }
    // A request without a correlation id has an answer without one, or with one that the answer has of itself.
    publisher.publish("", &queue, Message::new("request").reply_to(&queue)).await?;
    let delivery = get(&channel, &queue).await?;
    publisher.reply(&delivery, "plain").await?;
    publisher.reply(&delivery, Message::new("of itself").correlation_id("own")).await?;
    delivery.ack()?;
    for expected in [None, Some("own")] {
        let reply = get(&channel, &queue).await?;
        assert_eq!(correlation_id(&reply).as_deref(), expected);
        reply.ack()?;
    }
    // Nobody waits any more: only the publisher hears of it.
    publisher.publish("", &queue, Message::new("request").reply_to(context.name("gone"))).await?;
    let delivery = get(&channel, &queue).await?;
    delivery.reply("lost")?;
    let error = publisher.reply(&delivery, "returned").await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NO_ROUTE));
    // After the channel's end there is nothing to reply on.
    channel.close().await?;
    assert!(matches!(delivery.reply("late").unwrap_err().kind(), ErrorKind::ChannelNotOpen));
    assert!(matches!(delivery.republish("", &queue).unwrap_err().kind(), ErrorKind::ChannelNotOpen));
    Ok(connection.close().await?)
}

async fn c19_a_republished_message_keeps_its_body_and_properties(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let (_, other) = with_queue(&connection, &context, "other").await?;
    let publisher = connection.publisher().await?;
    // Inline, in one frame, and in several.
    for size in [0, 100, 10_000, 500_000] {
        let body: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0]).collect();
        let message = Message::new(&body)
            .content_type("text/plain")
            .header("list", "x".repeat(300))
            .priority(3)
            .transient()
            .timestamp(17)
            .user_id("guest")
            .kind("order");
        publisher.publish("", &queue, message).await?;
        let first = get(&channel, &queue).await?;
        first.republish("", &other)?;
        await_queue(context.node(), &other, "the message", |queue| queue.messages == 1);
        let second = get(&channel, &other).await?;
        assert_eq!((second.exchange(), second.routing_key()), ("", &*other));
        assert!(second.body() == body.as_slice(), "{size} bytes");
        assert_eq!(first.properties()?, second.properties()?);
        assert_eq!(second.properties()?.priority, Some(3));
        first.ack()?;
        second.ack()?;
    }
    Ok(connection.close().await?)
}

async fn c19_a_republished_message_can_be_changed(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, Message::new("again").header("attempt", 1).message_id("id")).await?;
    for attempt in 1..5 {
        let delivery = get(&channel, &queue).await?;
        let headers = delivery.properties()?.headers.expect("headers");
        assert_eq!(headers.get("attempt").and_then(|value| value.as_i64()), Some(attempt));
        assert!(delivery.properties()?.message_id.is_some());
        let again = Message::from(&delivery).header("attempt", attempt + 1);
        publisher.publish(delivery.exchange(), delivery.routing_key(), again).await?;
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn c19_a_reply_and_what_settles_the_request_keep_their_order(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let (other, replies) = with_queue(&connection, &context, "replies").await?;
    for _ in 0..100 {
        channel.publish("", &queue, Message::new("request").reply_to(&replies)).await?;
    }
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(1)).await?;
    for number in 0..100 {
        // The next request comes when this one is acked: its reply has been there for the broker by then.
        let request = consumer.next().await.expect("a request")?;
        if number > 0 {
            await_queue(context.node(), &replies, "the replies so far", |queue| queue.messages >= number);
        }
        request.reply(number.to_string())?;
        request.ack()?;
        if number == 20 {
            break;
        }
    }
    let mut replied = other.consume(Consume::new(&replies).no_ack()).await?;
    for number in 0..=20 {
        assert_eq!(text(&replied.next().await.expect("a reply")?), number.to_string());
    }
    Ok(connection.close().await?)
}

/// Answers this many requests, two at a time and the later one first.
async fn serve(connection: Connection, queue: String, requests: usize) -> Result {
    let channel = connection.channel().await?;
    let mut consumer = channel.consume(&queue).await?;
    let answer = |request: Delivery| {
        request.reply(format!("answer to {}", text(&request)))?;
        request.ack()
    };
    for _ in 0..requests / 2 {
        let first = consumer.next().await.expect("a request")?;
        answer(consumer.next().await.expect("a request")?)?;
        answer(first)?;
    }
    Ok(connection.close().await?)
}

/// Sends requests on a channel and matches the answers, that come to a queue of this name, by their correlation ids.
async fn ask(channel: &Channel, server: &str, answers: &str, requests: usize) -> Result {
    let mut consumer = channel.consume(Consume::new(answers).no_ack()).await?;
    for number in 0..requests {
        let request = Message::new(number.to_string()).reply_to(answers).correlation_id(format!("id {number}"));
        channel.publish("", server, request).await?;
    }
    let mut order = Vec::new();
    for _ in 0..requests {
        let answer = consumer.next().await.expect("an answer")?;
        let id = correlation_id(&answer).expect("a correlation id");
        let number = id.strip_prefix("id ").expect("one of these requests").to_owned();
        assert_eq!(text(&answer), format!("answer to {number}"));
        order.push(number.parse::<usize>()?);
    }
    let expected: Vec<usize> = (0..requests).map(|number| number ^ 1).collect();
    assert_eq!(order, expected, "each has its own answer, although the server turned their order round");
    Ok(())
}

async fn a10_rpc_by_reply_to_and_correlation_id(context: Context) -> Result {
    let connection = open(&context).await?;
    let server = context.name("server");
    connection.channel().await?.queue_declare(&server).await?;
    let serving = spawn(serve(open(&context).await?, server.clone(), 40));
    let (channel, answers) = with_queue(&connection, &context, "answers").await?;
    ask(&channel, &server, &answers, 40).await?;
    serving.await?;
    channel.queue_delete(&server).await?;
    Ok(connection.close().await?)
}

async fn a10_rpc_over_direct_reply_to(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let server = context.name("server");
    channel.queue_declare(&server).await?;
    let serving = spawn(serve(open(&context).await?, server.clone(), 40));
    ask(&channel, &server, "amq.rabbitmq.reply-to", 40).await?;
    serving.await?;
    // The one who asked has gone: up to RabbitMQ 4.1 a confirmed answer says so.
    let asker = open(&context).await?;
    let asking = asker.channel().await?;
    let answers = asking.consume(Consume::new("amq.rabbitmq.reply-to").no_ack()).await?;
    asking.publish("", &server, Message::new("request").reply_to("amq.rabbitmq.reply-to")).await?;
    await_queue(context.node(), &server, "the request", |queue| queue.messages == 1);
    let request = channel.get(Get::new(&server).no_ack()).await?.expect("the request");
    drop(answers);
    asker.close().await?;
    request.reply("lost")?;
    let confirmed = connection.publisher().await?.reply(&request, "nobody reads it").await;
    if version(context.node()) < (4, 2) {
        assert_eq!(confirmed.unwrap_err().reply_code(), Some(ReplyCode::NO_ROUTE));
    } else {
        // Direct reply-to is a queue since then, which takes everything.
        confirmed?;
    }
    channel.queue_delete(&server).await?;
    Ok(connection.close().await?)
}

async fn a_handler_replies_publishes_and_declares_on_its_own_connection(context: Context) -> Result {
    // So little room that a publish often waits for it.
    let connection = connect(config(&context).publish_buffer(1000)).await?;
    let (channel, queue) = with_queue(&connection, &context, "queue").await?;
    let (_, replies) = with_queue(&connection, &context, "replies").await?;
    for _ in 0..50 {
        channel.publish("", &queue, Message::new(vec![7; 3000]).reply_to(&replies)).await?;
    }
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(10)).await?;
    let publisher = connection.publisher().await?;
    for number in 0..50 {
        let request = consumer.next().await.expect("a request")?;
        consumer.channel().reply(&request, &request.body().to_vec()).await?;
        publisher.reply(&request, &request.body().to_vec()).await?;
        consumer.channel().queue_declare(Queue::exclusive(context.name(&format!("of {number}")))).await?;
        connection.channel().await?.close().await?;
        request.ack()?;
    }
    await_queue(context.node(), &replies, "all replies", |queue| queue.messages == 100);
    Ok(connection.close().await?)
}
