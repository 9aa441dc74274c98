//! Bodies that are read while they come in.

use std::time::Duration;

use conformance::proxy::{Direction, Fault, Proxy};
use conformance::{Context, Options, cases};

use crate::facade::{
    Channel, Connection, Consume, Error, ErrorKind, Message, Queue, StreamedConsumer, StreamedDelivery, connect,
};
use crate::suite::support::{Result, assert_channel_closed, await_queue, config, named, open};

cases! {
    f6_a_streamed_delivery_is_read_in_chunks_and_is_whole,
    f6_a_body_larger_than_the_limit_for_bodies_and_the_buffer_streams_through within 120,
    f6_a_delivery_dropped_midway_is_delivered_again_whole,
    f6_a_dropped_or_cancelled_consumer_puts_back_what_was_not_given_out,
    f6_a_body_ends_with_the_cause_when_its_channel_or_connection_ends,
    f6_streamed_deliveries_are_settled_in_every_way,
    f6_a_streamed_delivery_is_answered_while_its_body_comes,
    f22_a_streamed_consumer_is_cancelled_without_an_answer_in_the_middle_of_a_body,
    f38_the_prefetch_of_a_streamed_consumer_is_changed_while_a_body_comes,
    c7_other_channels_get_on_while_a_large_body_is_being_read,
}

const MIB: usize = 1 << 20;

/// A body in which every byte tells its place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).expect("it is below 251")).collect()
}

/// What is behind a consumer: publishes these bodies to a new queue by a connection of its own.
async fn filled_queue(context: &Context, what: &str, bodies: &[Vec<u8>]) -> Result<(Connection, Channel, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name(what))).await?.name;
    channel.confirm_select().await?;
    for body in bodies {
        channel.send("", &queue, Message::new(body).header("size", i64::try_from(body.len())?)).await?.await?;
    }
    Ok((connection, channel, queue))
}

async fn next(consumer: &mut StreamedConsumer) -> Result<StreamedDelivery> {
    Ok(consumer.next().await.expect("a delivery")?)
}

/// Checks that what comes is this body.
async fn read_and_compare(delivery: &mut StreamedDelivery, body: &[u8]) -> Result {
    assert_eq!(delivery.body_size(), body.len() as u64);
    let mut rest = body;
    while let Some(chunk) = delivery.chunk().await {
        let chunk = chunk?;
        let (expected, left) = rest.split_at(chunk.len());
        assert!(!chunk.is_empty() && chunk[..] == *expected, "a chunk with {} bytes left", rest.len());
        rest = left;
        assert_eq!(delivery.unread(), rest.len() as u64);
    }
    assert!(rest.is_empty(), "{} bytes are missing", rest.len());
    Ok(())
}

async fn f6_a_streamed_delivery_is_read_in_chunks_and_is_whole(context: Context) -> Result {
    let bodies = [0, 1, 1024, 1025, 131_064, 131_065, 5 * MIB].map(body);
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let consuming = open(&context).await?;
    let mut consumer = consuming.channel().await?.consume_streamed(&queue).await?;
    for body in &bodies {
        let mut delivery = next(&mut consumer).await?;
        assert_eq!((delivery.exchange(), delivery.routing_key()), ("", queue.as_str()));
        assert_eq!(delivery.consumer_tag(), consumer.tag());
        let headers = delivery.properties()?.headers.expect("headers");
        assert_eq!(headers.get("size").and_then(|size| size.as_i64()), Some(i64::try_from(body.len())?));
        read_and_compare(&mut delivery, body).await?;
        delivery.ack()?;
    }
    await_queue(context.node(), &queue, "all is acked", |queue| queue.messages == 0);
    // The same by buffers, and by its parts.
    channel.send("", &queue, &bodies[6]).await?.await?;
    channel.send("", &queue, &bodies[6]).await?.await?;
    let mut delivery = next(&mut consumer).await?;
    let mut all = Vec::new();
    let mut buffer = vec![0; 10_000];
    loop {
        match delivery.read(&mut buffer).await? {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    assert!(all == bodies[6]);
    delivery.ack()?;
    let (mut stream, acker) = next(&mut consumer).await?.into_parts();
    acker.ack()?;
    let mut size = 0;
    while let Some(chunk) = stream.chunk().await {
        size += chunk?.len();
    }
    assert_eq!((size, stream.unread()), (5 * MIB, 0));
    consumer.cancel().await?;
    assert!(consumer.next().await.is_none());
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

/// What the kernel takes at most on a loopback connection, generously, and the proxy.
const KERNEL: u64 = 24 << 20;

async fn f6_a_body_larger_than_the_limit_for_bodies_and_the_buffer_streams_through(context: Context) -> Result {
    let node = context.private_node(Options::new().config("max_message_size = 67108864"))?;
    let proxy = Proxy::start(node.address())?;
    let publishing = connect(named(&context, &node.uri())).await?;
    let channel = publishing.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name("queue"))).await?.name;
    let body = body(40 * MIB);
    channel.confirm_select().await?;
    channel.send("", &queue, &body).await?.await?;

    let config = named(&context, &proxy.uri()).max_body_size(1000).receive_buffer(100_000);
    let config = config.call_timeout(Duration::from_secs(2));
    let connection = connect(config).await?;
    let channel = connection.channel().await?;
    let mut consumer = channel.consume_streamed(&queue).await?;
    let mut delivery = next(&mut consumer).await?;
    // Nobody reads: what comes is bounded, and what comes behind it waits.
    let error = channel.queue_declare(Queue::new(&queue).passive()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    let passed = proxy.passed(Direction::ToClient);
    assert!(passed < KERNEL, "{passed} bytes have come for nobody");
    read_and_compare(&mut delivery, &body).await?;
    delivery.ack()?;
    channel.queue_declare(Queue::new(&queue).passive()).await?;
    connection.close().await?;
    Ok(publishing.close().await?)
}

async fn f6_a_delivery_dropped_midway_is_delivered_again_whole(context: Context) -> Result {
    let bodies = [body(8 * MIB)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let consuming = connect(config(&context).receive_buffer(200_000)).await?;
    let mut consumer = consuming.channel().await?.consume_streamed(&queue).await?;
    for chunks in [0, 1, 5] {
        let mut delivery = next(&mut consumer).await?;
        for _ in 0..chunks {
            delivery.chunk().await.expect("there is more")?;
        }
        drop(delivery);
    }
    let mut delivery = next(&mut consumer).await?;
    assert!(delivery.redelivered());
    read_and_compare(&mut delivery, &bodies[0]).await?;
    delivery.ack()?;
    await_queue(context.node(), &queue, "it is acked", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn f6_a_dropped_or_cancelled_consumer_puts_back_what_was_not_given_out(context: Context) -> Result {
    let bodies = [body(3 * MIB), body(4 * MIB), body(5 * MIB)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let consuming = connect(config(&context).receive_buffer(200_000)).await?;
    for cancels in [false, true] {
        let its_channel = consuming.channel().await?;
        let mut consumer = its_channel.consume_streamed(&queue).await?;
        let mut delivery = next(&mut consumer).await?;
        read_and_compare(&mut delivery, &bodies[0]).await?;
        if cancels {
            // The next one is on its way, and more of it than is held.
            consumer.cancel().await?;
            while let Some(delivery) = consumer.next().await {
                drop(delivery?);
            }
        }
        drop(consumer);
        delivery.nack(true)?;
        await_queue(context.node(), &queue, "all is back", |queue| queue.ready == 3);
    }
    let mut consumer = consuming.channel().await?.consume_streamed(Consume::new(&queue).prefetch(1)).await?;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let mut delivery = next(&mut consumer).await?;
        let size = usize::try_from(delivery.body_size())?;
        read_and_compare(&mut delivery, &body(size)).await?;
        sizes.push(size);
        delivery.ack()?;
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [3 * MIB, 4 * MIB, 5 * MIB]);
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn f6_a_body_ends_with_the_cause_when_its_channel_or_connection_ends(context: Context) -> Result {
    let bodies = [body(15 * MIB)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let proxy = context.proxy()?;
    for how in ["lost", "connection closed", "channel closed", "refused"] {
        let consuming = connect(named(&context, &proxy.uri()).receive_buffer(200_000)).await?;
        let its_channel = consuming.channel().await?;
        let mut consumer = its_channel.consume_streamed(&queue).await?;
        let mut delivery = next(&mut consumer).await?;
        delivery.chunk().await.expect("there is more")?;
        match how {
            "lost" => proxy.inflict(Fault::Reset),
            "connection closed" => consuming.close().await?,
            "channel closed" => its_channel.close().await?,
            // The broker closes the channel behind the body that it has begun to send.
            _ => its_channel.ack(4711_u64, false)?,
        }
        let mut read = 0;
        let error = loop {
            match delivery.chunk().await {
                Some(Ok(chunk)) => read += chunk.len(),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        match (how, error.as_ref().map(Error::kind)) {
            ("lost", Some(ErrorKind::ConnectionLost { .. }))
            | ("connection closed", Some(ErrorKind::ConnectionNotOpen))
            | ("channel closed", Some(ErrorKind::ChannelNotOpen)) => {
                assert!(read < 15 * MIB);
                assert!(delivery.unread() > 0 && delivery.chunk().await.is_none());
            }
            ("refused", None) => {
                assert_eq!(delivery.unread(), 0);
                let error = consumer.next().await.expect("its end").unwrap_err();
                assert_channel_closed(&error, 406);
            }
            _ => panic!("{how}: {error:?} after {read} bytes"),
        }
        drop((delivery, consumer, its_channel));
        await_queue(context.node(), &queue, "the message is back", |queue| queue.ready == 1);
    }
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn f6_a_streamed_delivery_is_answered_while_its_body_comes(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let replies = channel.queue_declare(Queue::exclusive(context.name("replies"))).await?.name;
    let queue = channel.queue_declare(Queue::new(context.name("queue"))).await?.name;
    let mut answers = channel.consume(&replies).await?;
    let body = body(2 * MIB);
    let request = Message::new(&body).reply_to(&replies).correlation_id("17");
    channel.publish("", &queue, request).await?;
    channel.publish("", &queue, "nobody asks").await?;

    let consuming = open(&context).await?;
    let mut consumer = consuming.channel().await?.consume_streamed(&queue).await?;
    let mut delivery = next(&mut consumer).await?;
    delivery.reply("it comes")?;
    let answer = answers.next().await.expect("an answer")?;
    assert_eq!(answer.body(), "it comes");
    assert_eq!(answer.properties()?.correlation_id.map(|id| id.to_string()).as_deref(), Some("17"));
    answer.ack()?;
    read_and_compare(&mut delivery, &body).await?;
    delivery.ack()?;
    let other = next(&mut consumer).await?;
    assert!(matches!(other.reply("to whom").unwrap_err().kind(), ErrorKind::Invalid(_)));
    other.ack()?;
    await_queue(context.node(), &queue, "all is acked", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn f22_a_streamed_consumer_is_cancelled_without_an_answer_in_the_middle_of_a_body(context: Context) -> Result {
    let bodies = [body(3 * MIB), body(2000), body(2000)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    // Less than a body is held.
    let consuming = connect(config(&context).receive_buffer(200_000)).await?;
    let its_channel = consuming.channel().await?;
    let mut consumer = its_channel.consume_streamed(Consume::new(&queue).prefetch(1)).await?;
    let mut delivery = next(&mut consumer).await?;
    consumer.cancel_nowait()?;
    consumer.cancel_nowait()?;
    assert!(consumer.next().await.is_none());
    read_and_compare(&mut delivery, &bodies[0]).await?;
    delivery.ack()?;
    await_queue(context.node(), &queue, "only the first to be gone", |queue| {
        (queue.messages, queue.ready, queue.consumers) == (2, 2, 0)
    });
    assert!(its_channel.is_open());
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn f38_the_prefetch_of_a_streamed_consumer_is_changed_while_a_body_comes(context: Context) -> Result {
    let bodies = [3 * MIB, 2000, 300_000, 1, 400_000, 5000].map(body);
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let out = |count| await_queue(context.node(), &queue, "so many out", |queue| queue.unacknowledged == count);
    let consuming = open(&context).await?;
    let consume = Consume::new(&queue).tag("films").prefetch(1);
    let mut consumer = consuming.channel().await?.consume_streamed(consume).await?;
    let mut first = next(&mut consumer).await?;
    consumer.set_prefetch(3).await?;
    assert_ne!(consumer.tag(), "films");
    // The one that was out does not count.
    out(4);
    read_and_compare(&mut first, &bodies[0]).await?;
    first.ack()?;
    out(3);
    for body in &bodies[1..] {
        let mut delivery = next(&mut consumer).await?;
        read_and_compare(&mut delivery, body).await?;
        delivery.ack()?;
    }
    await_queue(context.node(), &queue, "all is acked", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn f6_streamed_deliveries_are_settled_in_every_way(context: Context) -> Result {
    let bodies = [body(2 * MIB)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let consuming = open(&context).await?;
    let mut consumer = consuming.channel().await?.consume_streamed(&queue).await?;
    // Requeued unread, twice; then settled unread: the rest is skipped.
    next(&mut consumer).await?.nack(true)?;
    next(&mut consumer).await?.reject(true)?;
    let last = next(&mut consumer).await?;
    assert!(last.redelivered());
    last.ack()?;
    // Dropped, it comes again; then it is refused for good.
    channel.send("", &queue, &bodies[0]).await?.await?;
    drop(next(&mut consumer).await?);
    next(&mut consumer).await?.reject(false)?;
    channel.send("", &queue, &bodies[0]).await?.await?;
    next(&mut consumer).await?.nack(false)?;
    await_queue(context.node(), &queue, "nothing is left", |queue| queue.messages == 0);
    // Several at once; the body of one before goes on.
    for _ in 0..2 {
        channel.send("", &queue, "small").await?.await?;
    }
    let first = next(&mut consumer).await?;
    next(&mut consumer).await?.nack_multiple(true)?;
    drop(first);
    let mut first = next(&mut consumer).await?;
    next(&mut consumer).await?.ack_multiple()?;
    await_queue(context.node(), &queue, "both are acked", |queue| queue.messages == 0);
    read_and_compare(&mut first, b"small").await?;
    drop(first);
    // Without acks.
    channel.send("", &queue, &bodies[0]).await?.await?;
    channel.send("", &queue, &bodies[0]).await?.await?;
    drop(consumer);
    let mut consumer = consuming.channel().await?.consume_streamed(Consume::new(&queue).no_ack()).await?;
    drop(next(&mut consumer).await?);
    let mut delivery = next(&mut consumer).await?;
    read_and_compare(&mut delivery, &bodies[0]).await?;
    delivery.ack()?;
    await_queue(context.node(), &queue, "nothing is left", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}

async fn c7_other_channels_get_on_while_a_large_body_is_being_read(context: Context) -> Result {
    let bodies = [body(10 * MIB)];
    let (connection, channel, queue) = filled_queue(&context, "queue", &bodies).await?;
    let consuming = open(&context).await?;
    let small = consuming.channel().await?;
    let echo = small.queue_declare(Queue::exclusive(context.name("echo"))).await?.name;
    let mut answers = small.consume(&echo).await?;
    let mut consumer = consuming.channel().await?.consume_streamed(&queue).await?;
    let mut delivery = next(&mut consumer).await?;
    let mut rest = &bodies[0][..];
    let mut round = 0;
    while let Some(chunk) = delivery.chunk().await {
        let chunk = chunk?;
        let (expected, left) = rest.split_at(chunk.len());
        assert!(chunk[..] == *expected);
        rest = left;
        // What comes behind what is held waits for this reader; the last four megabytes fit.
        if rest.len() < 3 * MIB && round < 20 {
            small.publish("", &echo, "ping").await?;
            let answer = answers.next().await.expect("an answer")?;
            assert_eq!(answer.body(), "ping");
            answer.ack()?;
            round += 1;
        }
    }
    assert!(rest.is_empty() && round == 20, "{round} rounds");
    delivery.ack()?;
    channel.queue_delete(&queue).await?;
    consuming.close().await?;
    Ok(connection.close().await?)
}
