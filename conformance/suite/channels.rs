//! Channels: opening, closing, and what a closed one means to whoever waits on it.

use conformance::{Context, cases};

use crate::facade::{Channel, Consume, Error, ErrorKind, Exchange, Message, Qos, Queue, connect, spawn};
use crate::suite::support::{Result, assert_channel_closed, assert_connection_closed, config, open, open_once};

cases! {
    a2_channel_numbers_are_not_0_and_distinct,
    a2_a_second_close_and_any_use_after_close_are_errors,
    a2_get_on_a_missing_queue_is_404_and_closes_the_channel_alone,
    a2_flow_may_be_switched_on_twice,
    a3_a_prefetch_size_is_540,
    stopping_the_flow_is_540,
    recover_without_requeue_is_540,
    f32_confirms_and_transactions_on_one_channel_are_406,
    a16_c17_f24_a_channel_that_the_broker_closes_wakes_everybody_with_the_code,
    c18_a_channel_waits_for_the_number_of_one_that_was_dropped,
    p40_p41_a_name_of_more_than_255_bytes_is_an_error_and_harms_nothing,
}

async fn a2_channel_numbers_are_not_0_and_distinct(context: Context) -> Result {
    let connection = open(&context).await?;
    let mut channels = Vec::new();
    for _ in 0..20 {
        channels.push(connection.channel().await?);
    }
    let seen = context.node().list_channels()?;
    let mut numbers: Vec<u64> =
        seen.iter().filter(|channel| channel.connection_name == context.case()).map(|channel| channel.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    assert!(!numbers.contains(&0));
    Ok(connection.close().await?)
}

/// This side closed it, and says so.
#[track_caller]
fn assert_not_open(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::ChannelNotOpen), "{error}");
}

async fn a2_a_second_close_and_any_use_after_close_are_errors(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.confirm_select().await?;
    let consumer = channel.consume(&queue).await?;
    let mut returns = channel.returns();
    channel.close().await?;

    assert!(!channel.is_open());
    assert_not_open(&channel.close().await.unwrap_err());
    assert_not_open(&channel.queue_declare(&queue).await.unwrap_err());
    assert_not_open(&channel.exchange_delete("any").await.unwrap_err());
    assert_not_open(&channel.publish("", &queue, "late").await.unwrap_err());
    assert_not_open(&channel.try_publish("", &queue, "late").unwrap_err());
    assert_not_open(&channel.send("", &queue, "late").await.unwrap_err());
    assert_not_open(&channel.get(&queue).await.unwrap_err());
    assert_not_open(&channel.consume(&queue).await.unwrap_err());
    assert_not_open(&channel.cancel(consumer.tag()).await.unwrap_err());
    assert_not_open(&channel.qos(1).await.unwrap_err());
    assert_not_open(&channel.ack(1_u64, false).unwrap_err());
    assert_not_open(&channel.recover(true).await.unwrap_err());
    assert_not_open(&channel.recover_async(true).unwrap_err());
    assert_not_open(&channel.confirm_select_nowait().unwrap_err());
    assert_not_open(&channel.flow(true).await.unwrap_err());
    assert_not_open(&channel.tx_select().await.unwrap_err());
    assert_not_open(&channel.confirm_select().await.unwrap_err());
    assert_not_open(&channel.error().expect("why it is closed"));
    assert!(returns.next().await.is_none());
    drop(consumer);

    connection.channel().await?.queue_declare(Queue::exclusive(&queue).passive()).await?;
    connection.close().await?;
    assert!(connection.close().await.is_ok(), "it is as closed as was asked for");
    assert!(connection.channel().await.is_err());
    Ok(())
}

async fn a2_get_on_a_missing_queue_is_404_and_closes_the_channel_alone(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, other) = (connection.channel().await?, connection.channel().await?);
    let missing = context.name("missing");
    let error = channel.get(&missing).await.unwrap_err();
    assert_channel_closed(&error, 404);
    let reason = error.close_reason().expect("a reason");
    assert_eq!((reason.class_id, reason.method_id), (60, 70));
    assert!(error.to_string().contains("basic.get") && error.to_string().contains(&missing), "{error}");
    assert!(!channel.is_open());
    assert_channel_closed(&channel.error().expect("why it is closed"), 404);
    assert_channel_closed(&channel.queue_declare(Queue::server_named()).await.unwrap_err(), 404);
    assert_channel_closed(&channel.close().await.unwrap_err(), 404);
    other.queue_declare(Queue::server_named()).await?;
    Ok(connection.close().await?)
}

async fn a2_flow_may_be_switched_on_twice(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    assert!(channel.flow(true).await?);
    assert!(channel.flow(true).await?);
    Ok(connection.close().await?)
}

/// What RabbitMQ does not implement closes the connection, for all its channels.
async fn is_not_implemented(context: Context, ask: impl AsyncFnOnce(&Channel) -> Result<(), Error>) -> Result {
    let connection = open_once(&context).await?;
    let (channel, other) = (connection.channel().await?, connection.channel().await?);
    assert_connection_closed(&ask(&channel).await.unwrap_err(), 540);
    assert_connection_closed(&connection.closed().await.unwrap_err(), 540);
    assert_connection_closed(&other.error().expect("why it is closed"), 540);
    assert_connection_closed(&connection.channel().await.unwrap_err(), 540);
    assert!(!connection.is_open());
    Ok(())
}

async fn a3_a_prefetch_size_is_540(context: Context) -> Result {
    is_not_implemented(context, async |channel| channel.qos(Qos::new(1).prefetch_size(1000)).await).await
}

async fn stopping_the_flow_is_540(context: Context) -> Result {
    is_not_implemented(context, async |channel| channel.flow(false).await.map(|_| ())).await
}

async fn recover_without_requeue_is_540(context: Context) -> Result {
    is_not_implemented(context, async |channel| channel.recover(false).await).await
}

async fn f32_confirms_and_transactions_on_one_channel_are_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    channel.confirm_select().await?;
    assert_channel_closed(&channel.tx_select().await.unwrap_err(), 406);
    let channel = connection.channel().await?;
    channel.tx_select().await?;
    assert_channel_closed(&channel.confirm_select().await.unwrap_err(), 406);
    Ok(connection.close().await?)
}

async fn a16_c17_f24_a_channel_that_the_broker_closes_wakes_everybody_with_the_code(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, other) = (connection.channel().await?, connection.channel().await?);
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.confirm_select().await?;
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let mut consumer = channel.consume(&queue).await?;
        consumers.push(spawn(async move { (consumer.next().await, consumer.next().await.is_none()) }));
    }
    let mut returns = channel.returns();
    let returned = spawn(async move { returns.next().await });
    let mut elsewhere = other.consume(&queue).await?;

    let error = channel.queue_declare(Queue::new(context.name("missing")).passive()).await.unwrap_err();
    assert_channel_closed(&error, 404);
    for consumer in consumers {
        let (last, has_ended) = consumer.await;
        assert_channel_closed(&last.expect("the reason").unwrap_err(), 404);
        assert!(has_ended);
    }
    assert!(returned.await.is_none());
    assert_channel_closed(&channel.error().expect("the reason"), 404);

    // Calls and confirms that were under way end with it as well, those behind the culprit included.
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let culprit = channel.queue_declare(Queue::new(context.name("missing")).passive());
    let behind = channel.queue_declare(Queue::server_named());
    let confirm = channel.send("", &queue, "lost").await;
    assert_channel_closed(&culprit.await.unwrap_err(), 404);
    assert_channel_closed(&behind.await.unwrap_err(), 404);
    // It may not even have been queued, if the close came first.
    match confirm {
        Ok(confirm) => {
            let error = confirm.await.unwrap_err();
            let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
            assert_channel_closed(cause, 404);
        }
        Err(error) => assert_channel_closed(&error, 404),
    }

    // The other channel has not noticed.
    other.publish("", &queue, "still here").await?;
    let delivery = elsewhere.next().await.expect("a delivery")?;
    assert_eq!(delivery.body(), "still here");
    delivery.ack()?;
    Ok(connection.close().await?)
}

async fn c18_a_channel_waits_for_the_number_of_one_that_was_dropped(context: Context) -> Result {
    let connection = connect(config(&context).channel_max(2)).await?;
    let kept = connection.channel().await?;
    let mut channel = connection.channel().await?;
    let error = connection.channel().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 2 }), "{error}");
    for _ in 0..20 {
        // The broker has not even heard of it when the next is asked for.
        drop(channel);
        channel = connection.channel().await?;
        channel.queue_declare(Queue::server_named()).await?;
    }
    drop(kept);
    let publisher = connection.publisher().await?;
    publisher.publish("", channel.queue_declare(Queue::server_named()).await?.name, "x").await?;
    Ok(connection.close().await?)
}

async fn p40_p41_a_name_of_more_than_255_bytes_is_an_error_and_harms_nothing(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let long = "ö".repeat(128);
    let errors = [
        ("queue", channel.queue_declare(&long).await.unwrap_err()),
        ("queue", channel.queue_delete(&long).await.unwrap_err()),
        ("queue", channel.queue_purge(&long).await.unwrap_err()),
        ("exchange", channel.queue_bind("queue", &long, "key").await.unwrap_err()),
        ("routing key", channel.queue_bind("queue", "exchange", &long).await.unwrap_err()),
        ("exchange", channel.exchange_delete(&long).await.unwrap_err()),
        ("exchange type", channel.exchange_declare(Exchange::custom("exchange", &long)).await.unwrap_err()),
        ("destination", channel.exchange_bind(&long, "exchange", "key").await.unwrap_err()),
        ("source", channel.exchange_bind("exchange", &long, "key").await.unwrap_err()),
        ("routing key", channel.exchange_bind("exchange", "exchange", &long).await.unwrap_err()),
        ("consumer tag", channel.consume(Consume::new("queue").tag(&long)).await.unwrap_err()),
        ("consumer tag", channel.cancel(&long).await.unwrap_err()),
        ("queue", channel.get(&long).await.unwrap_err()),
        ("exchange", channel.publish(&long, "key", "body").await.unwrap_err()),
        ("routing key", channel.publish("", &long, "body").await.unwrap_err()),
        ("content type", channel.send("", "key", Message::new("body").content_type(&long)).await.unwrap_err()),
        ("header's key", channel.publish("", "key", Message::new("body").header(&long, 1)).await.unwrap_err()),
        ("key of a field table", channel.queue_declare(Queue::new("queue").argument(&long, 1)).await.unwrap_err()),
    ];
    for (field, error) in errors {
        assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
        assert!(error.to_string().contains(&format!("the {field} has 256 bytes")), "{error}");
        assert!(error.operation().is_some(), "{error}");
    }
    // A name that just fits works, and nothing half-written is in its way.
    let fits = format!("{:0<255}", context.name("fits"));
    assert_eq!(channel.queue_declare(Queue::exclusive(&fits)).await?.name, fits);
    channel.send("", &fits, Message::new("body").content_type("t".repeat(255))).await?.await?;
    Ok(connection.close().await?)
}
