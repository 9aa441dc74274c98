//! Batches of publishes: one confirm for all, and a word on each that failed.

use conformance::proxy::Direction;
use conformance::raw::{Frame, id};
use conformance::recorder::Recorder;
use conformance::{Context, cases};

use crate::facade::{Channel, Connection, ErrorKind, Message, Overflow, Publisher, Queue, connect, spawn};
use crate::suite::support::{Result, assert_channel_closed, config, named, open};

cases! {
    f28_a_batch_is_confirmed_as_one,
    f28_a_batch_names_the_messages_that_failed,
    f28_a_batch_with_a_wrong_message_sends_nothing,
    f28_a_batch_that_is_larger_than_the_room_goes_in_parts,
    f28_a_batch_ends_with_its_channel_and_the_next_one_works,
}

/// A publisher, and an exclusive queue with the channel that declared it.
async fn setup(connection: &Connection, context: &Context) -> Result<(Publisher, Channel, String)> {
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    Ok((connection.publisher().await?, channel, queue))
}

async fn f28_a_batch_is_confirmed_as_one(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri())).await?;
    let (publisher, channel, queue) = setup(&connection, &context).await?;
    let batch = |from: i32| (from..from + 500).map(|number| ("", queue.clone(), number.to_string()));
    publisher.publish_batch(batch(0)).await?;
    let confirm = publisher.send_batch(batch(500)).await?;
    let other = publisher.send_batch(batch(1000)).await?;
    let outcome = confirm.outcome().await;
    assert!(outcome.is_acked() && outcome.messages == 500, "{outcome}");
    other.await?;
    // One that is not read is confirmed as well.
    drop(publisher.send_batch(batch(1500)).await?);
    publisher.wait_for_confirms().await?;
    publisher.publish_batch([("", "", ""); 0]).await?;
    let mut consumer = channel.consume(&queue).await?;
    for number in 0..2000 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), number.to_string().as_str());
        assert_eq!(delivery.properties()?.delivery_mode, Some(2));
        delivery.ack()?;
    }
    assert_eq!(
        recorder
            .frames_to(Direction::ToBroker)
            .iter()
            .filter_map(Frame::method_id)
            .filter(|id| *id == id::BASIC_PUBLISH)
            .count(),
        2000
    );
    Ok(connection.close().await?)
}

async fn f28_a_batch_names_the_messages_that_failed(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = Queue::exclusive(context.name("queue")).max_length(3).overflow(Overflow::RejectPublish);
    let queue = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    let nowhere = context.name("nowhere");
    let keys = [&queue, &nowhere, &queue, &queue, &nowhere, &queue, &nowhere];
    let batch = keys.iter().enumerate().map(|(number, key)| ("", key, Message::new(number.to_string())));
    let error = publisher.publish_batch(batch).await.unwrap_err();
    let ErrorKind::Batch(outcome) = error.kind() else { panic!("{error}") };
    assert_eq!(outcome.messages, 7);
    assert_eq!(outcome.failures.iter().map(|failure| failure.index).collect::<Vec<_>>(), [1, 4, 5, 6]);
    for failure in &outcome.failures {
        match failure.error.kind() {
            ErrorKind::NoRoute(message) => assert_eq!(message.body(), failure.index.to_string().as_str()),
            ErrorKind::Nacked => assert_eq!(failure.index, 5),
            _ => panic!("{error}"),
        }
    }
    assert!(error.to_string().contains("4 of 7") && error.to_string().contains("message 1"), "{error}");
    assert_eq!(error.reply_code(), None);
    assert!(!error.is_retryable());
    Ok(connection.close().await?)
}

async fn f28_a_batch_with_a_wrong_message_sends_nothing(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, channel, queue) = setup(&connection, &context).await?;
    let long = "x".repeat(256);
    let large = Message::new("x").header("large", "x".repeat(200_000));
    for (exchange, wrong) in [("", Message::new("x").content_type(&long)), (&*long, Message::new("x")), ("", large)] {
        let batch = [("", &queue, Message::new("fine")), (exchange, &queue, wrong)];
        let error = publisher.publish_batch(batch).await.unwrap_err();
        let ErrorKind::InBatch { index: 1, error: cause } = error.kind() else { panic!("{error}") };
        assert!(matches!(cause.kind(), ErrorKind::Encode(_)), "{error}");
        assert!(error.to_string().starts_with("message 1 of the batch: "), "{error}");
    }
    publisher.wait_for_confirms().await?;
    assert!(channel.get(&queue).await?.is_none());
    Ok(connection.close().await?)
}

async fn f28_a_batch_that_is_larger_than_the_room_goes_in_parts(context: Context) -> Result {
    let connection = connect(config(&context).publish_buffer(20_000)).await?;
    let (publisher, channel, queue) = setup(&connection, &context).await?;
    let publisher = publisher.window(50);
    let body = |number: u32| format!("{number} {}", "x".repeat(2000));
    let mut tasks = Vec::new();
    for task in 0..3 {
        let (publisher, queue) = (publisher.clone(), queue.clone());
        tasks.push(spawn(async move {
            let batch = (0..200).map(|number| ("", &queue, Message::new(body(task * 1000 + number)).transient()));
            publisher.publish_batch(batch).await
        }));
    }
    for task in tasks {
        task.await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    let mut next = [0, 1000, 2000];
    for _ in 0..600 {
        let delivery = consumer.next().await.expect("a delivery")?;
        let task = next.iter().position(|number| delivery.body() == body(*number).as_str());
        next[task.expect("the next of one of the batches")] += 1;
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn f28_a_batch_ends_with_its_channel_and_the_next_one_works(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, _, queue) = setup(&connection, &context).await?;
    let missing = context.name("missing");
    let batch = [("", &*queue), (&*missing, "key"), ("", &*queue)];
    let outcome = publisher.send_batch(batch.map(|(exchange, key)| (exchange, key, "x"))).await?.outcome().await;
    let unknown: Vec<_> = outcome.failures.iter().map(|failure| failure.index).collect();
    assert!(unknown.ends_with(&[1, 2]), "{unknown:?}");
    for failure in &outcome.failures {
        let ErrorKind::Unknown(cause) = failure.error.kind() else { panic!("{}", failure.error) };
        assert_channel_closed(cause, 404);
    }
    publisher.publish_batch([("", &queue, "next")]).await?;
    connection.close().await?;
    let error = publisher.publish_batch([("", &queue, "late")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen), "{error}");
    Ok(())
}
