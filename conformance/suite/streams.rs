//! Streams: where a consumer begins, what it filters, and what brokers refuse.

use std::time::{Duration, SystemTime};

use conformance::{Context, cases};

use crate::facade::{Channel, Connection, Consume, ErrorKind, Message, Queue, StreamOffset};
use crate::suite::support::{Result, assert_channel_closed, assert_connection_closed, await_queue, open, version};

cases! {
    f40_a_stream_is_read_from_any_offset,
    f40_a_stream_is_read_from_what_comes_next,
    f40_a_stream_is_filtered_where_the_broker_can,
    f40_a_stream_without_acks_or_prefetch_is_refused,
    f40_a_stream_of_odd_limits_is_refused,
}

/// A stream with ten messages, each in a chunk of its own.
async fn filled(context: &Context) -> Result<(Connection, Channel, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let stream = channel.queue_declare(Queue::stream(context.name("stream"))).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..10 {
        publisher.publish("", &stream, number.to_string()).await?;
    }
    Ok((connection, channel, stream))
}

async fn f40_a_stream_is_read_from_any_offset(context: Context) -> Result {
    let (connection, channel, stream) = filled(&context).await?;
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    for (offset, first) in [
        (StreamOffset::First, 0),
        (StreamOffset::Last, 9),
        (StreamOffset::Offset(0), 0),
        (StreamOffset::Offset(4), 4),
        (StreamOffset::Timestamp(now - hour), 0),
        (StreamOffset::interval("1h"), 0),
        (StreamOffset::ago(hour), 0),
    ] {
        let mut consumer = channel.consume(Consume::new(&stream).stream_offset(offset.clone())).await?;
        for number in first..10 {
            let delivery = consumer.next().await.expect("a delivery")?;
            assert_eq!(delivery.stream_offset(), Some(number), "{offset:?}");
            assert_eq!(delivery.body(), number.to_string().as_str());
            delivery.ack()?;
        }
        consumer.cancel().await?;
    }
    // Nothing has gone by that.
    await_queue(context.node(), &stream, "all to be there", |queue| queue.messages == 10);
    // What is not from a stream has no number in one.
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.publish("", &queue, "x").await?;
    assert_eq!(channel.consume(&queue).await?.next().await.expect("a delivery")?.stream_offset(), None);
    channel.queue_delete(&stream).await?;
    Ok(connection.close().await?)
}

async fn f40_a_stream_is_read_from_what_comes_next(context: Context) -> Result {
    let (connection, channel, stream) = filled(&context).await?;
    let publisher = connection.publisher().await?;
    let named = Consume::new(&stream).stream_offset(StreamOffset::Next);
    for (number, consume) in [(10, named), (11, Consume::new(&stream))] {
        let mut consumer = channel.consume(consume).await?;
        publisher.publish("", &stream, "new").await?;
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.stream_offset(), Some(number));
        delivery.ack()?;
    }
    channel.queue_delete(&stream).await?;
    Ok(connection.close().await?)
}

async fn f40_a_stream_is_filtered_where_the_broker_can(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let stream = channel.queue_declare(Queue::stream(context.name("stream"))).await?.name;
    let publisher = connection.publisher().await?;
    // Each is confirmed before the next, and so has a chunk of its own.
    let values = [Some("berlin"), Some("paris"), None, Some("berlin"), Some("rome"), None, Some("paris"), Some("end")];
    for value in values {
        let message = Message::new(value.unwrap_or("none"));
        let message = value.map_or(message.clone(), |value| message.stream_filter_value(value));
        publisher.publish("", &stream, message).await?;
    }
    let all = || Consume::new(&stream).stream_offset(StreamOffset::First);
    let expectations = [
        (all().stream_filter("berlin"), vec![0, 3, 7]),
        (all().stream_filter("berlin").stream_filter("paris"), vec![0, 1, 3, 6, 7]),
        (all().stream_filter("berlin").stream_match_unfiltered(), vec![0, 2, 3, 5, 7]),
    ];
    // RabbitMQ before 3.13 does not know these arguments, and gives everything.
    let can = version(context.node()) >= (3, 13);
    for (consume, expected) in expectations {
        let mut consumer = channel.consume(consume.stream_filter("end")).await?;
        for number in if can { expected } else { (0..8).collect() } {
            let delivery = consumer.next().await.expect("a delivery")?;
            assert_eq!(delivery.stream_offset(), Some(number));
            delivery.ack()?;
        }
        consumer.cancel().await?;
    }
    channel.queue_delete(&stream).await?;
    Ok(connection.close().await?)
}

async fn f40_a_stream_without_acks_or_prefetch_is_refused(context: Context) -> Result {
    let (connection, channel, stream) = filled(&context).await?;
    // Here, where it shows.
    let offset = || Consume::new(&stream).stream_offset(StreamOffset::First);
    for consume in [offset().no_ack(), offset().prefetch(0)] {
        let error = channel.consume(consume).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    }
    assert!(channel.is_open());
    // By the broker, where it does not.
    let error = channel.consume(Consume::new(&stream).prefetch(0)).await.unwrap_err();
    assert_channel_closed(&error, 406);
    let channel = connection.channel().await?;
    channel.qos(10).await?;
    let error = channel.consume(Consume::new(&stream).no_ack()).await.unwrap_err();
    assert_connection_closed(&error, 540);
    let connection = open(&context).await?;
    connection.channel().await?.queue_delete(&stream).await?;
    Ok(connection.close().await?)
}

async fn f40_a_stream_of_odd_limits_is_refused(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = || Queue::stream(context.name("stream"));
    for queue in [
        queue().stream_max_segment_size(3_000_000_001),
        queue().argument("x-max-length-bytes", -1),
        queue().max_length(1),
        queue().argument("x-max-age", 5),
    ] {
        let error = connection.channel().await?.queue_declare(queue).await.unwrap_err();
        assert_channel_closed(&error, 406);
    }
    Ok(connection.close().await?)
}
