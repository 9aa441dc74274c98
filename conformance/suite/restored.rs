//! What belongs to a connection that was lost and is back: what was declared, consumers, publishes, transactions.

use std::time::Duration;

use conformance::proxy::Fault;
use conformance::{Context, cases, wait};

use crate::facade::{ConnectOptions, ConnectionEvent, Consume, ErrorKind, Exchange, Queue, Recorded, connect, sleep};
use crate::suite::recovery::{await_connected, lose, recovery, through};
use crate::suite::support::{Result, SOON, assert_all_in_order, assert_channel_closed, await_queue, named};

cases! {
    f43_p22_acks_from_before_a_loss_settle_nothing,
    f43_p24_the_prefetch_is_kept,
    f43_f44_p23_a_queue_named_by_the_broker_is_found_by_its_new_name,
    f43_p26_an_exclusive_queue_that_is_taken_is_tried_again,
    f43_p23_the_bindings_of_a_deleted_queue_do_not_come_back,
    f43_other_arguments_than_before_are_left_as_they_are,
    f44_the_filter_leaves_out_what_it_refuses,
    f37_a_consumer_whose_queue_was_deleted_consumes_again,
    f37_a_consumer_ends_with_the_reason_when_its_queue_is_gone,
    f29_what_was_unconfirmed_is_sent_again_in_order,
    f32_f43_a_transaction_cut_in_two_is_not_committed,
}

async fn f43_p22_acks_from_before_a_loss_settle_nothing(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    for body in ["a", "b"] {
        channel.publish("", &queue, body).await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    let stale = [consumer.next().await.expect("a")?, consumer.next().await.expect("b")?];
    lose(&connection, &proxy);
    await_connected(&connection);
    for body in ["a", "b"] {
        let again = consumer.next().await.expect("it comes again")?;
        assert_eq!(again.body(), body);
        assert!(again.redelivered());
        std::mem::forget(again);
    }
    for delivery in stale {
        delivery.ack()?;
    }
    assert_eq!(connection.stats().stale_settlements, 2);
    // Behind whatever had been sent: nothing has been acked.
    channel.queue_declare(Queue::server_named()).await?;
    await_queue(context.node(), &queue, "both are unacked", |queue| queue.unacknowledged == 2);
    drop(consumer);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_p24_the_prefetch_is_kept(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    let _consumer = channel.consume(Consume::new(&queue).prefetch(2)).await?;
    lose(&connection, &proxy);
    for _ in 0..5 {
        channel.publish("", &queue, "x").await?;
    }
    await_queue(context.node(), &queue, "two of five", |queue| queue.unacknowledged == 2 && queue.messages == 5);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_f44_p23_a_queue_named_by_the_broker_is_found_by_its_new_name(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let exchange = context.name("exchange");
    channel.exchange_declare(Exchange::topic(&exchange).durable(false)).await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.queue_bind(&queue, &exchange, "#").await?;
    let mut consumer = channel.consume(&queue).await?;
    for round in 0..3 {
        let body = format!("round {round}");
        connection.publisher().await?.publish(&exchange, "key", &*body).await?;
        let delivery = consumer.next().await.expect("the consumer is back")?;
        assert_eq!(delivery.body(), body.as_str());
        delivery.ack()?;
        lose(&connection, &proxy);
    }
    channel.exchange_delete(&exchange).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_p26_an_exclusive_queue_that_is_taken_is_tried_again(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let name = context.name("mine");
    let exclusive = || Queue::exclusive(&name);
    channel.queue_declare(exclusive()).await?;
    let mut consumer = channel.consume(&name).await?;
    proxy.refuse(true);
    lose(&connection, &proxy);
    let other = connect(named(&context, &context.uri())).await?;
    // RabbitMQ may list the old one no more, and yet refuse the new one for a moment.
    while let Err(error) = other.channel().await?.queue_declare(exclusive()).await {
        assert_channel_closed(&error, 405);
        sleep(Duration::from_millis(10)).await;
    }
    proxy.refuse(false);
    wait::until_true(SOON, "it is back, and refused its queue", || {
        context.node().connections_named(context.case()).is_ok_and(|connections| connections.len() == 2)
    })?;
    assert!(!connection.is_connected());
    other.close().await?;
    await_connected(&connection);
    channel.publish("", &name, "x").await?;
    consumer.next().await.expect("the consumer is back")?.ack()?;
    connection.close().await?;
    Ok(())
}

async fn f43_p23_the_bindings_of_a_deleted_queue_do_not_come_back(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let (kept, deleted) = (context.name("kept"), context.name("deleted"));
    for queue in [&kept, &deleted] {
        channel.queue_declare(Queue::new(queue).durable(false)).await?;
        channel.queue_bind(queue, "amq.topic", context.case()).await?;
    }
    channel.queue_delete(&deleted).await?;
    lose(&connection, &proxy);
    await_connected(&connection);
    connection.publisher().await?.publish("amq.topic", context.case(), "x").await?;
    assert_eq!(channel.queue_declare(Queue::new(&kept).passive()).await?.message_count, 1);
    assert!(context.node().queue(&deleted)?.is_none());
    channel.queue_delete(&kept).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_other_arguments_than_before_are_left_as_they_are(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let (changed, fine) = (context.name("changed"), context.name("fine"));
    channel.queue_declare(Queue::new(&changed).durable(false)).await?;
    channel.queue_declare(Queue::new(&fine).durable(false)).await?;
    proxy.refuse(true);
    lose(&connection, &proxy);
    let other = connect(named(&context, &context.uri())).await?;
    let its = other.channel().await?;
    its.queue_delete(&changed).await?;
    its.queue_delete(&fine).await?;
    its.queue_declare(Queue::new(&changed)).await?;
    proxy.refuse(false);
    await_connected(&connection);
    its.queue_declare(Queue::new(&fine).passive()).await?;
    its.queue_delete(&changed).await?;
    channel.queue_delete(&fine).await?;
    other.close().await?;
    connection.close().await?;
    Ok(())
}

async fn f44_the_filter_leaves_out_what_it_refuses(context: Context) -> Result {
    let proxy = context.proxy()?;
    let (kept, refused) = (context.name("kept"), context.name("refused"));
    let options = {
        let refused = refused.clone();
        ConnectOptions::from(through(&context, &proxy))
            .topology_filter(move |recorded| !matches!(recorded, Recorded::Queue(queue) if queue.name == refused))
    };
    let connection = connect(options).await?;
    let channel = connection.channel().await?;
    for queue in [&kept, &refused] {
        channel.queue_declare(Queue::exclusive(queue)).await?;
    }
    lose(&connection, &proxy);
    await_connected(&connection);
    assert!(context.node().queue(&kept)?.is_some());
    assert!(context.node().queue(&refused)?.is_none());
    connection.close().await?;
    Ok(())
}

async fn f37_a_consumer_whose_queue_was_deleted_consumes_again(context: Context) -> Result {
    let connection = connect(named(&context, &context.uri()).recovery(recovery())).await?;
    let channel = connection.channel().await?;
    let (queue, exchange) = (context.name("queue"), context.name("exchange"));
    channel.exchange_declare(Exchange::topic(&exchange).durable(false)).await?;
    channel.queue_declare(Queue::new(&queue).durable(false)).await?;
    channel.queue_bind(&queue, &exchange, "#").await?;
    let mut events = connection.events();
    let mut consumer = channel.consume(Consume::new(&queue).tag("mine")).await?;
    for _ in 0..2 {
        context.node().delete_queue(&queue)?;
        match events.next().await {
            Some(ConnectionEvent::Resubscribed { consumer_tag, cause }) => {
                assert_eq!(consumer_tag, "mine");
                assert!(matches!(cause.kind(), ErrorKind::ConsumerCancelled { .. }), "{cause}");
            }
            told => panic!("{told:?}"),
        }
        channel.publish(&exchange, "any", "again").await?;
        consumer.next().await.expect("it consumes again")?.ack()?;
    }
    assert!(connection.is_connected());
    channel.queue_delete(&queue).await?;
    channel.exchange_delete(&exchange).await?;
    connection.close().await?;
    Ok(())
}

async fn f37_a_consumer_ends_with_the_reason_when_its_queue_is_gone(context: Context) -> Result {
    let other = connect(named(&context, &context.uri())).await?;
    let queue = context.name("queue");
    other.channel().await?.queue_declare(&queue).await?;
    let connection = connect(named(&context, &context.uri()).recovery(recovery())).await?;
    let channel = connection.channel().await?;
    let mut consumer = channel.consume(&queue).await?;
    other.channel().await?.queue_delete(&queue).await?;
    let error = consumer.next().await.expect("it says why").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConsumerCancelled { .. }), "{error}");
    assert!(consumer.next().await.is_none());
    channel.queue_declare(Queue::server_named()).await?;
    other.close().await?;
    connection.close().await?;
    Ok(())
}

async fn f29_what_was_unconfirmed_is_sent_again_in_order(context: Context) -> Result {
    const COUNT: u32 = 1000;
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    let publisher = connection.publisher().await?.at_least_once(1 << 20);
    let mut confirms = Vec::new();
    for number in 0..COUNT {
        if number % 300 == 200 {
            proxy.inflict(Fault::Reset);
        }
        confirms.push(publisher.send("", &queue, number.to_string()).await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    publisher.wait_for_confirms().await?;
    assert!(proxy.accepted() > 1);
    let mut numbers = Vec::new();
    let mut consumer = channel.consume(Consume::new(&queue).no_ack()).await?;
    while numbers.last() != Some(&(COUNT - 1)) {
        let delivery = consumer.next().await.expect("there is more")?;
        numbers.push(String::from_utf8(delivery.body().to_vec())?.parse()?);
    }
    assert_all_in_order(&numbers, COUNT);
    drop(consumer);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f32_f43_a_transaction_cut_in_two_is_not_committed(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    channel.tx_select().await?;
    channel.publish("", &queue, "before").await?;
    lose(&connection, &proxy);
    channel.publish("", &queue, "after").await?;
    let error = channel.tx_commit().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    channel.publish("", &queue, "whole").await?;
    channel.tx_commit().await?;
    assert_eq!(channel.queue_declare(&queue).await?.message_count, 1);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}
