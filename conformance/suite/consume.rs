//! Consumers: what they get, when, and what becomes of it when they go.

use std::sync::mpsc;

use conformance::peer::Peer;
use conformance::proxy::Direction;
use conformance::raw::args::Args;
use conformance::raw::{Frame, Tune, Wire, id};
use conformance::{Context, Options, cases, wait};

use crate::facade::{Cancel, ConnectionEvent, Consume, ErrorKind, Exchange, Message, Queue, ReplyCode, connect, spawn};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, named, open, open_once, version};

cases! {
    a4_f37_cancel_leaves_later_messages_in_the_queue,
    a4_cancelling_an_unknown_tag_is_fine,
    a7_small_messages_arrive_in_order,
    a7_large_messages_arrive_whole,
    a7_two_queues_are_consumed_concurrently,
    a7_a_duplicate_tag_is_refused_as_530_before_the_broker_closes_the_connection,
    a7_p34_nothing_is_delivered_before_consume_returns_and_nothing_is_lost,
    a12_c16_f37_p33_a_deleted_queue_ends_the_stream_with_its_reason,
    a15_p36_a_consumer_that_does_not_read_does_not_stop_calls_on_its_channel,
    a15_a_consumer_without_acks_that_is_dropped_unread_does_not_stop_calls,
    a20_a_delivery_has_its_whole_envelope,
    f22_a_consumer_comes_and_goes_without_the_brokers_answer,
    p37_the_brokers_ack_time_out_is_told_with_its_reason within 180,
    p37_under_recovery_a_consumer_that_acked_too_late_consumes_again within 180,
    p32_a_consumer_goes_on_when_the_handle_of_its_channel_is_dropped,
}

async fn a4_f37_cancel_leaves_later_messages_in_the_queue(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    channel.publish("", &queue, "early").await?;
    consumer.next().await.expect("a delivery")?.ack()?;
    consumer.cancel().await?;
    assert!(consumer.next().await.is_none());
    consumer.cancel().await?;
    let publisher = connection.publisher().await?;
    for body in ["late", "later"] {
        publisher.publish("", &queue, body).await?;
    }
    let declared = channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
    assert_eq!((declared.message_count, declared.consumer_count), (2, 0));
    Ok(connection.close().await?)
}

async fn a4_cancelling_an_unknown_tag_is_fine(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(Consume::new(&queue).tag("known")).await?;
    channel.cancel("unknown").await?;
    channel.publish("", &queue, "unharmed").await?;
    consumer.next().await.expect("a delivery")?.ack()?;
    channel.cancel("known").await?;
    assert!(consumer.next().await.is_none());
    Ok(connection.close().await?)
}

async fn a7_small_messages_arrive_in_order(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    // More than the default prefetch, so that acks make room.
    for number in 0..500 {
        channel.publish("", &queue, format!("message {number}")).await?;
    }
    for number in 0..500 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), format!("message {number}").as_str());
        assert!(!delivery.redelivered());
        delivery.ack()?;
    }
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}

/// Bytes of this length that tell when one of them is missing or out of place.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 251 + at + usize::from(seed)) % 251).expect("less than 251")).collect()
}

async fn a7_large_messages_arrive_whole(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    // Around the sizes at which the number of frames changes, and a megabyte.
    let chunk = usize::try_from(connection.tuning().frame_max)? - 8;
    let sizes = [0, 1, 1024, 1025, 4096, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1, 1 << 20];
    for (seed, size) in (0..).zip(sizes) {
        channel.publish("", &queue, pattern(size, seed)).await?;
        // And borrowed, which takes another way through the write buffer.
        channel.publish("", &queue, &pattern(size, seed)).await?;
    }
    for (seed, size) in (0..).zip(sizes) {
        for _ in 0..2 {
            let delivery = consumer.next().await.expect("a delivery")?;
            assert_eq!(delivery.body().len(), size);
            assert!(delivery.to_bytes() == pattern(size, seed), "a body of {size} bytes is garbled");
            assert_eq!(delivery.body().chunks().map(<[u8]>::len).sum::<usize>(), size);
            delivery.ack()?;
        }
    }
    Ok(connection.close().await?)
}

async fn a7_two_queues_are_consumed_concurrently(context: Context) -> Result {
    let connection = open(&context).await?;
    // Two consumers on one channel, and one on another.
    let (shared, own) = (connection.channel().await?, connection.channel().await?);
    let mut tasks = Vec::new();
    let mut queues = Vec::new();
    for channel in [&shared, &shared, &own] {
        let queue = channel.queue_declare(Queue::server_named()).await?.name;
        let mut consumer = channel.consume(&queue).await?;
        let prefix = queue.clone();
        tasks.push(spawn(async move {
            for number in 0..200 {
                let delivery = consumer.next().await.unwrap().unwrap();
                assert_eq!(delivery.body(), format!("{prefix} {number}").as_str());
                delivery.ack().unwrap();
            }
        }));
        queues.push(queue);
    }
    let publisher = connection.publisher().await?;
    for number in 0..200 {
        for queue in &queues {
            drop(publisher.send("", queue, format!("{queue} {number}")).await?);
        }
    }
    for task in tasks {
        task.await;
    }
    Ok(connection.close().await?)
}

async fn a7_a_duplicate_tag_is_refused_as_530_before_the_broker_closes_the_connection(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let mut consumer = channel.consume(Consume::new(&queue).tag("same")).await?;
    let error = channel.consume(Consume::new(&queue).tag("same")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DuplicateConsumerTag(tag) if tag == "same"), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_ALLOWED));
    // Nothing else is harmed, and on another channel the tag is free.
    let other = connection.channel().await?.consume(Consume::new(&queue).tag("same")).await?;
    drop(other);
    channel.publish("", &queue, "unharmed").await?;
    consumer.next().await.expect("a delivery")?.ack()?;
    consumer.cancel().await?;
    let again = channel.consume(Consume::new(&queue).tag("same")).await?;
    drop(again);

    // What the broker would have done, to all of the connection.
    let mut wire = Wire::log_in(context.address(), &context.name("raw"))?;
    wire.open_channel(1)?;
    let queue = context.name("raw");
    let declare = Args::new().u16(0).short_string(&queue).u8(0b100).empty_table();
    wire.call(1, id::QUEUE_DECLARE, declare, id::QUEUE_DECLARE_OK)?;
    let consume = Args::new().u16(0).short_string(&queue).short_string("same").u8(0).empty_table();
    wire.call(1, id::BASIC_CONSUME, consume.clone(), id::BASIC_CONSUME_OK)?;
    let close = wire.call(1, id::BASIC_CONSUME, consume, id::CONNECTION_CLOSE)?;
    assert_eq!(close.args()[..2], 530_u16.to_be_bytes());
    Ok(connection.close().await?)
}

async fn a7_p34_nothing_is_delivered_before_consume_returns_and_nothing_is_lost(context: Context) -> Result {
    // Deliveries come right behind consume-ok, in the same segment.
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::BASIC_QOS)?;
        wire.send_method(channel, id::BASIC_QOS_OK, Args::new())?;
        wire.expect_method(id::BASIC_CONSUME)?;
        let mut bytes = Frame::method(channel, id::BASIC_CONSUME_OK, Args::new().short_string("tag")).to_bytes();
        for tag in 1..=3 {
            let deliver =
                Args::new().short_string("tag").u64(tag).u8(0).short_string("exchange").short_string("routing key");
            bytes.extend(Frame::method(channel, id::BASIC_DELIVER, deliver).to_bytes());
            bytes.extend(Frame::header(channel, 4, &[0, 0]).to_bytes());
            bytes.extend(Frame::body(channel, b"body").to_bytes());
        }
        wire.send(&bytes)?;
        // Acks coalesce, into one or more frames, up to the third delivery.
        loop {
            let ack = wire.expect_method(id::BASIC_ACK)?;
            if ack.args()[..8] == 3_u64.to_be_bytes() {
                return Ok(());
            }
        }
    })?;
    let connection = connect(named(&context, &peer.uri())).await?;
    let channel = connection.channel().await?;
    let mut consumer = channel.consume(Consume::new("queue").tag("tag")).await?;
    for tag in 1..=3 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.delivery_tag().value(), tag);
        assert_eq!(delivery.body(), "body");
        delivery.ack()?;
    }
    peer.finish()?;

    // And at the broker: it has sent all of a full queue while the caller still waits for the consumer.
    let proxy = context.proxy()?;
    let connection = connect(named(&context, &proxy.uri())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    for number in 0..50 {
        channel.publish("", &queue, number.to_string()).await?;
    }
    proxy.stall(Direction::ToClient);
    let (returned, has_returned) = mpsc::channel();
    let consuming = spawn({
        let (channel, queue) = (channel.clone(), queue.clone());
        async move {
            let consumer = channel.consume(&queue).await;
            returned.send(()).map(|()| consumer)
        }
    });
    await_queue(context.node(), &queue, "all to be sent", |queue| queue.unacknowledged == 50);
    assert!(has_returned.try_recv().is_err(), "the broker's answer has not come");
    proxy.resume();
    let mut consumer = consuming.await??;
    for number in 0..50 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), number.to_string().as_str());
        assert!(!delivery.redelivered());
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn a12_c16_f37_p33_a_deleted_queue_ends_the_stream_with_its_reason(context: Context) -> Result {
    let connection = open_once(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name("queue"))).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    let task = spawn(async move { (consumer.next().await, consumer.next().await.is_none(), consumer.cancel().await) });
    context.node().delete_queue(&queue)?;
    let (last, has_ended, cancelled) = task.await;
    let error = last.expect("the reason").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConsumerCancelled { .. }), "{error}");
    assert!(has_ended);
    cancelled?;
    // The channel is unharmed.
    channel.queue_declare(Queue::server_named()).await?;
    Ok(connection.close().await?)
}

async fn a15_p36_a_consumer_that_does_not_read_does_not_stop_calls_on_its_channel(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    for _ in 0..300 {
        channel.publish("", &queue, vec![0; 100_000]).await?;
    }
    // The broker sends as many as the prefetch allows, ten megabytes, and nobody reads them.
    let mut unread = channel.consume(&queue).await?;
    await_queue(context.node(), &queue, "a full prefetch", |queue| queue.unacknowledged == 100 && queue.ready == 200);
    for _ in 0..10 {
        channel.queue_declare(Queue::server_named()).await?;
        assert!(channel.get(&queue).await?.is_some());
    }
    for _ in 0..100 {
        unread.next().await.expect("a delivery")?.ack()?;
    }
    Ok(connection.close().await?)
}

async fn a15_a_consumer_without_acks_that_is_dropped_unread_does_not_stop_calls(context: Context) -> Result {
    let connection = connect(named(&context, &context.uri()).receive_buffer(10_000)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    for _ in 0..300 {
        channel.publish("", &queue, vec![0; 100_000]).await?;
    }
    // Nothing but the buffer bounds it: reading pauses until somebody takes a delivery, or until it goes.
    let mut unread = channel.consume(Consume::new(&queue).no_ack()).await?;
    let call = spawn(async move { channel.queue_declare(Queue::server_named()).await });
    for _ in 0..10 {
        assert_eq!(unread.next().await.expect("a delivery")?.body().len(), 100_000);
    }
    drop(unread);
    call.await?;
    Ok(connection.close().await?)
}

async fn a20_a_delivery_has_its_whole_envelope(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let (exchange, queue) = (context.name("exchange"), context.name("queue"));
    channel.exchange_declare(Exchange::topic(&exchange).durable(false).auto_delete()).await?;
    channel.queue_declare(Queue::exclusive(&queue)).await?;
    channel.queue_bind(&queue, &exchange, "#").await?;
    let mut consumer = channel.consume(Consume::new(&queue).tag("ctag-äöü")).await?;
    assert_eq!(consumer.tag(), "ctag-äöü");
    for number in 1..=3 {
        channel.publish(&exchange, format!("key.{number}"), Message::new(format!("{number}")).app_id("me")).await?;
    }
    let mut settled_together = Vec::new();
    for (redelivered, first_tag) in [(false, 1), (true, 4)] {
        for number in 1..=3 {
            let delivery = consumer.next().await.expect("a delivery")?;
            assert_eq!(delivery.consumer_tag(), "ctag-äöü");
            assert_eq!(delivery.exchange(), exchange);
            assert_eq!(delivery.routing_key(), format!("key.{number}"));
            assert_eq!(delivery.delivery_tag().value(), first_tag + number - 1);
            assert_eq!(delivery.redelivered(), redelivered);
            assert_eq!(delivery.message_count(), None);
            assert_eq!(
                delivery.properties()?.app_id.map(|id| id.to_string_lossy().into_owned()).as_deref(),
                Some("me")
            );
            assert_eq!(delivery.body(), number.to_string().as_str());
            if number < 3 {
                settled_together.push(delivery);
            } else {
                delivery.nack_multiple(!redelivered)?;
            }
        }
        settled_together.clear();
    }
    await_queue(context.node(), &queue, "all to be gone", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}

async fn f22_a_consumer_comes_and_goes_without_the_brokers_answer(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    for number in 0..10 {
        channel.publish("", &queue, number.to_string()).await?;
    }
    let mut consumer = channel.consume(Consume::new(&queue).nowait()).await?;
    assert!(!consumer.tag().is_empty());
    for number in 0..4 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), number.to_string().as_str());
        delivery.ack()?;
    }
    consumer.cancel_nowait()?;
    // What it has received is still given out; what came too late is put back.
    let mut seen = 4;
    while let Some(delivery) = consumer.next().await {
        delivery?.ack()?;
        seen += 1;
    }
    await_queue(context.node(), &queue, "the rest to be back", |queue| {
        (queue.ready, queue.consumers) == (10 - seen, 0)
    });
    // The channel knows it by its tag.
    let mut named = channel.consume(Consume::new(&queue).tag("named").nowait()).await?;
    channel.cancel(Cancel::new("named").nowait()).await?;
    while let Some(delivery) = named.next().await {
        delivery?.ack()?;
    }
    // An error closes the channel, and the consumer says so.
    let mut missing = channel.consume(Consume::new(context.name("missing")).nowait()).await?;
    assert_channel_closed(&missing.next().await.expect("the reason").unwrap_err(), 404);
    Ok(connection.close().await?)
}

async fn p37_the_brokers_ack_time_out_is_told_with_its_reason(context: Context) -> Result {
    let node = context.private_node(Options::new().consumer_timeout(1000))?;
    let connection = connect(named(&context, &node.uri()).no_recovery()).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::quorum(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    for body in ["slow", "unread"] {
        publisher.publish("", &queue, body).await?;
    }
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(1)).await?;
    let held = consumer.next().await.expect("a delivery")?;
    let error = consumer.next().await.expect("the reason").unwrap_err();
    assert!(consumer.next().await.is_none());
    if version(&node) < (4, 3) {
        assert_channel_closed(&error, 406);
        assert!(error.to_string().contains("timed out"), "{error}");
        // Whatever is done later says so too.
        assert_channel_closed(&held.ack().unwrap_err(), 406);
        assert_channel_closed(&channel.qos(1).await.unwrap_err(), 406);
    } else {
        // A quorum queue takes the message back and cancels the consumer; the channel goes on.
        assert!(matches!(error.kind(), ErrorKind::ConsumerCancelled { .. }), "{error}");
        held.ack()?;
        channel.queue_declare(Queue::server_named()).await?;
    }
    // The message comes again, before or after the other.
    let mut consumer = connection.channel().await?.consume(&queue).await?;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let delivery = consumer.recv_timeout(SOON).await?.expect("a delivery")?;
        let body = String::from_utf8_lossy(&delivery.to_bytes()).into_owned();
        if version(&node) >= (4, 3) {
            // It went nowhere else meanwhile: the one that acked too late was not given more.
            let headers = delivery.properties()?.headers;
            let acquired = headers.and_then(|headers| headers.get("x-acquired-count")?.as_i64());
            assert_eq!(acquired, (body == "slow").then_some(1), "{body}");
        }
        bodies.push(body);
        delivery.ack()?;
    }
    bodies.sort();
    assert_eq!(bodies, ["slow", "unread"]);
    Ok(connection.close().await?)
}

async fn p37_under_recovery_a_consumer_that_acked_too_late_consumes_again(context: Context) -> Result {
    let node = context.private_node(Options::new().consumer_timeout(1000))?;
    let connection = connect(named(&context, &node.uri())).await?;
    let mut events = connection.events();
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::quorum(context.name("queue"))).await?.name;
    connection.publisher().await?.publish("", &queue, "slow").await?;
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(1)).await?;
    let held = consumer.next().await.expect("a delivery")?;
    let again = consumer.next().await.expect("a delivery")?;
    assert!(again.redelivered());
    // The queue has taken it back, and the channel that it came on may be gone.
    held.ack()?;
    again.ack()?;
    await_queue(&node, &queue, "all of it to be settled", |queue| queue.messages == 0);
    match events.try_next() {
        Some(ConnectionEvent::Resubscribed { cause, .. }) if version(&node) < (4, 3) => {
            assert_channel_closed(&cause, 406);
        }
        Some(ConnectionEvent::Resubscribed { cause, .. }) => {
            assert!(matches!(cause.kind(), ErrorKind::ConsumerCancelled { .. }), "{cause}");
        }
        told => panic!("{told:?}"),
    }
    // The connection was not lost for it.
    assert!(events.try_next().is_none());
    Ok(connection.close().await?)
}

async fn p32_a_consumer_goes_on_when_the_handle_of_its_channel_is_dropped(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let mut consumer = connection.channel().await?.consume(&queue).await?;
    let publisher = connection.publisher().await?;
    // The consumer keeps the connection open as well.
    drop(connection);
    for number in 0..10 {
        publisher.publish("", &queue, number.to_string()).await?;
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), number.to_string().as_str());
        delivery.ack()?;
    }
    drop(publisher);
    assert!(consumer.channel().is_open());
    drop(consumer);
    Ok(wait::until_true(SOON, "the connection to go", || {
        context.node().connections_named(context.case()).is_ok_and(|all| all.is_empty())
    })?)
}
