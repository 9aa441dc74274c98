//! Bodies that are written in parts.

use std::time::Duration;

use conformance::proxy::{Direction, Fault, Proxy};
use conformance::{Context, Options, cases};

use crate::facade::{BodyWriter, Config, Connection, ErrorKind, Get, Message, Queue, connect, spawn};
use crate::suite::support::{Result, assert_channel_closed, await_queue, config, named, open};

cases! {
    f6_a_body_written_in_parts_arrives_whole_in_every_kind_of_queue within 120,
    f6_a_large_body_waits_for_a_broker_that_does_not_read_and_then_goes_on within 120,
    f6_an_abandoned_writer_publishes_nothing_and_harms_nobody,
    f6_a_body_that_is_too_short_or_too_long_is_an_error_and_not_published,
    f6_what_the_broker_refuses_is_told_when_the_body_is_complete within 120,
    f6_a_mandatory_body_without_a_route_comes_back_without_itself,
    f6_a_connection_that_is_lost_or_closed_ends_the_writer_with_the_cause,
    c7_small_messages_go_through_while_a_large_body_is_being_written,
    a_channel_that_is_closed_in_the_middle_of_a_large_message_takes_nothing_else_along,
}

const MIB: usize = 1 << 20;

/// What the kernel takes at most on a loopback connection, generously.
const KERNEL: u64 = 24 << 20;

/// A body in which every byte tells its place.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).expect("it is below 251")).collect()
}

/// Writes it in parts of this size.
async fn write_all(writer: &mut BodyWriter, body: &[u8], part: usize) -> Result {
    for part in body.chunks(part) {
        writer.write(part).await?;
    }
    Ok(())
}

/// A queue that goes with the connection.
async fn queue(connection: &Connection, context: &Context) -> Result<String> {
    let channel = connection.channel().await?;
    Ok(channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name)
}

/// What the queue has, and nothing else is in it.
async fn only_message(connection: &Connection, queue: &str) -> Result<Vec<u8>> {
    let channel = connection.channel().await?;
    let delivery = channel.get(Get::new(queue).no_ack()).await?.expect("a message");
    assert_eq!(delivery.message_count(), Some(0));
    Ok(delivery.body().to_vec())
}

async fn f6_a_body_written_in_parts_arrives_whole_in_every_kind_of_queue(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let body = body(3 * MIB + 1);
    for (what, queue) in
        [("classic", Queue::new(context.name("classic"))), ("quorum", Queue::quorum(context.name("quorum")))]
    {
        let queue = channel.queue_declare(queue).await?.name;
        for part in [1000, 16 * 1024, MIB, body.len()] {
            let message = Message::new("").content_type(what);
            let mut writer = connection.publish_streamed("", &queue, message, body.len() as u64).await?;
            assert_eq!((writer.size(), writer.missing()), (body.len() as u64, body.len() as u64));
            write_all(&mut writer, &body, part).await?;
            assert_eq!(writer.missing(), 0);
            writer.finish().await?;
            // The broker has it: it is there at once.
            let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
            assert!(delivery.body() == body[..], "{what}: parts of {part}");
            let properties = delivery.properties()?;
            assert_eq!(properties.content_type.map(|text| text.to_string_lossy().into_owned()).as_deref(), Some(what));
            assert_eq!(properties.delivery_mode, Some(2));
        }
        // No body at all, and one that the message brings along.
        connection.publish_streamed("", &queue, "", 0).await?.finish().await?;
        assert_eq!(only_message(&connection, &queue).await?, b"");
        let mut writer = connection.publish_streamed("", &queue, "the beginning, ", 22).await?;
        assert_eq!(writer.missing(), 7);
        writer.write(&b"the end"[..]).await?;
        writer.finish().await?;
        assert_eq!(only_message(&connection, &queue).await?, b"the beginning, the end");
        channel.queue_delete(&queue).await?;
    }
    Ok(connection.close().await?)
}

async fn f6_a_large_body_waits_for_a_broker_that_does_not_read_and_then_goes_on(context: Context) -> Result {
    let node = context.private_node(Options::new().config("max_message_size = 67108864"))?;
    let proxy = Proxy::start(node.address())?;
    let config = named(&context, &proxy.uri()).room_timeout(Duration::from_secs(2));
    let connection = connect(config).await?;
    let queue = queue(&connection, &context).await?;
    let body = body(40 * MIB);
    let mut writer = connection.publish_streamed("", &queue, Message::new("").transient(), body.len() as u64).await?;
    proxy.stall(Direction::ToBroker);
    let mut rest = &body[..];
    let error = writer.write(&mut rest).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }) && error.is_retryable(), "{error}");
    // What was taken is told, and is no more than the kernel and the write buffer hold.
    assert_eq!(rest.len() as u64, writer.missing());
    let taken = writer.size() - writer.missing();
    assert!(taken > 0 && taken < KERNEL, "{taken} bytes were taken by nobody");
    proxy.resume();
    writer.write(&mut rest).await?;
    writer.finish().await?;
    assert!(only_message(&connection, &queue).await? == body);
    Ok(connection.close().await?)
}

async fn f6_an_abandoned_writer_publishes_nothing_and_harms_nobody(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = queue(&connection, &context).await?;
    let publisher = connection.publisher().await?;
    for written in [0, 1, 300_000, 4 * MIB - 1, 4 * MIB] {
        let mut writer = connection.publish_streamed("", &queue, "", 4 << 20).await?;
        write_all(&mut writer, &body(written), 100_000).await?;
        publisher.publish("", &queue, "meanwhile").await?;
        drop(writer);
        publisher.publish("", &queue, "afterwards").await?;
        // The broker has done with the abandoned one when its channel is closed.
        let node = context.node();
        conformance::wait::until_true(crate::suite::support::SOON, "the writer's channel is closed", || {
            let connections = node.connections_named(context.case()).expect("the node answers");
            connections.iter().map(|connection| connection.channels).eq([1])
        })?;
        let channel = connection.channel().await?;
        for expected in ["meanwhile", "afterwards"] {
            let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
            assert_eq!(delivery.body(), expected);
        }
        assert!(channel.get(Get::new(&queue).no_ack()).await?.is_none(), "{written} bytes were published");
        channel.close().await?;
    }
    Ok(connection.close().await?)
}

async fn f6_a_body_that_is_too_short_or_too_long_is_an_error_and_not_published(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = queue(&connection, &context).await?;
    let mut writer = connection.publish_streamed("", &queue, "", 10).await?;
    let error = writer.write(&b"0123456789a"[..]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BodySize { missing: 10, given: 11 }), "{error}");
    writer.write(&b"012345678"[..]).await?;
    let error = writer.finish().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BodySize { missing: 1, given: 0 }), "{error}");
    let error = connection.publish_streamed("", &queue, "", (512 << 20) + 1).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    // After all that a good one goes through.
    let mut writer = connection.publish_streamed("", &queue, "", 10).await?;
    writer.write(&b"0123456789"[..]).await?;
    writer.finish().await?;
    assert_eq!(only_message(&connection, &queue).await?, b"0123456789");
    Ok(connection.close().await?)
}

async fn f6_what_the_broker_refuses_is_told_when_the_body_is_complete(context: Context) -> Result {
    let node = context.private_node(Options::new().config("max_message_size = 1048576"))?;
    let connection = connect(Config::from_uri(&node.uri())?).await?;
    let channel = connection.channel().await?;
    let full = Queue::exclusive("full").argument("x-max-length", 0).argument("x-overflow", "reject-publish");
    channel.queue_declare(full).await?;
    let queue = queue(&connection, &context).await?;
    let missing = context.name("missing");
    for (exchange, routing_key, size, code) in
        [(missing.as_str(), "key", MIB, 404), ("", queue.as_str(), MIB + 1, 406), ("", "full", MIB, 406)]
    {
        let mut writer = connection.publish_streamed(exchange, routing_key, "", size as u64).await?;
        write_all(&mut writer, &body(size), 100_000).await?;
        assert_channel_closed(&writer.finish().await.unwrap_err(), code);
    }
    // Only the writers' channels were closed, and nothing has arrived.
    let mut writer = connection.publish_streamed("", &queue, "", MIB as u64).await?;
    writer.write(&body(MIB)[..]).await?;
    writer.finish().await?;
    assert!(only_message(&connection, &queue).await? == body(MIB));
    assert!(channel.get("full").await?.is_none());
    Ok(connection.close().await?)
}

async fn f6_a_mandatory_body_without_a_route_comes_back_without_itself(context: Context) -> Result {
    let connection = open(&context).await?;
    let nowhere = context.name("nowhere");
    let message = Message::new("").app_id("writer");
    let mut writer = connection.publish_streamed("", &nowhere, message, MIB as u64).await?;
    writer.write(&body(MIB)[..]).await?;
    let error = writer.finish().await.unwrap_err();
    let ErrorKind::NoRoute(returned) = error.kind() else { panic!("{error}") };
    assert_eq!(returned.routing_key(), nowhere);
    assert!(returned.properties()?.app_id.is_some());
    assert!(returned.body().is_empty(), "it was too large to be kept");
    // Who does not mind says so.
    let mut writer = connection.publish_streamed("", &nowhere, Message::new("").mandatory(false), 1).await?;
    writer.write(&b"x"[..]).await?;
    writer.finish().await?;
    Ok(connection.close().await?)
}

async fn f6_a_connection_that_is_lost_or_closed_ends_the_writer_with_the_cause(context: Context) -> Result {
    let proxy = context.proxy()?;
    let other = open(&context).await?;
    let channel = other.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name("queue"))).await?.name;
    for lost in [true, false] {
        let connection = connect(named(&context, &proxy.uri())).await?;
        let mut writer = connection.publish_streamed("", &queue, "", 8 << 20).await?;
        writer.write(&body(MIB)[..]).await?;
        if lost {
            proxy.inflict(Fault::Reset);
        } else {
            connection.close().await?;
        }
        let body = body(7 * MIB);
        let error = match write_all(&mut writer, &body, 100_000).await {
            Ok(()) => writer.finish().await.unwrap_err(),
            Err(_) => writer.write(&b"x"[..]).await.unwrap_err(),
        };
        let cause = match error.kind() {
            ErrorKind::Unknown(cause) => cause.clone(),
            _ => error,
        };
        match cause.kind() {
            ErrorKind::ConnectionLost { .. } if lost => {}
            ErrorKind::ConnectionNotOpen if !lost => {}
            _ => panic!("{cause}"),
        }
    }
    channel.publish("", &queue, "the only one").await?;
    await_queue(context.node(), &queue, "one message", |queue| queue.messages == 1);
    channel.queue_delete(&queue).await?;
    Ok(other.close().await?)
}

async fn c7_small_messages_go_through_while_a_large_body_is_being_written(context: Context) -> Result {
    let connection = connect(config(&context)).await?;
    let queue = queue(&connection, &context).await?;
    let small = connection.channel().await?.queue_declare(Queue::exclusive(context.name("small"))).await?.name;
    let publisher = connection.publisher().await?;
    let body = body(15 * MIB);
    let mut writer = connection.publish_streamed("", &queue, "", body.len() as u64).await?;
    // One at a time, in between.
    for part in body[..MIB].chunks(100_000) {
        writer.write(part).await?;
        publisher.publish("", &small, "small").await?;
    }
    // And side by side.
    let task = spawn(async move {
        let written = write_all(&mut writer, &body[MIB..], 64 * 1024).await;
        written.expect("all of it is written");
        writer.finish().await.expect("it is published");
        body
    });
    for _ in 0..100 {
        publisher.publish("", &small, "small").await?;
    }
    let body = task.await;
    assert!(only_message(&connection, &queue).await? == body);
    await_queue(context.node(), &small, "all small messages", |queue| queue.messages == 111);
    Ok(connection.close().await?)
}

/// RabbitMQ closes the connection if the answer to its channel.close cuts a message off.
async fn a_channel_that_is_closed_in_the_middle_of_a_large_message_takes_nothing_else_along(
    context: Context,
) -> Result {
    let connection = open(&context).await?;
    let other = connection.channel().await?;
    let body = body(15 * MIB);
    for _ in 0..5 {
        let channel = connection.channel().await?;
        channel.publish(context.name("missing"), "key", "closes the channel").await?;
        // It is leaving when the broker closes its channel; or it is too late already.
        let _ = channel.publish("", context.name("nowhere"), &body).await;
        let error = channel.queue_declare(Queue::server_named()).await.unwrap_err();
        assert_channel_closed(&error, 404);
        other.queue_declare(Queue::server_named()).await?;
    }
    Ok(connection.close().await?)
}
