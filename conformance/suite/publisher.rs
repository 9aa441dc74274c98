//! Publishers: all confirms at once, a window, and what becomes of publishes when their scope ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::peer::Peer;
use conformance::raw::args::Args;
use conformance::raw::{Tune, id};
use conformance::{Context, Options, cases};

use crate::facade::{
    Channel, Connection, Error, ErrorKind, Message, Outcome, Overflow, Publisher, Queue, ReplyCode, TimeoutReason,
    Unconfirmed, connect, spawn,
};
use crate::suite::support::{Result, assert_channel_closed, await_queue, named, open};

cases! {
    f26_waiting_for_all_confirms_covers_what_nobody_asked_for,
    f26_waiting_for_all_confirms_counts_what_failed_and_says_why,
    f26_waiting_for_all_confirms_tells_each_handle,
    f26_p2_waiting_for_all_confirms_ends_while_clones_go_on_publishing,
    f26_waiting_for_all_confirms_over_a_channel_that_the_broker_closed,
    f26_waiting_for_all_confirms_on_a_channel,
    f26_a_window_bounds_what_is_unconfirmed,
    f26_a_window_that_stays_full_is_a_time_out,
    f26_many_go_through_a_small_window_in_their_order,
    n14_outcomes_can_be_collected_when_all_handles_are_gone,
    n14_what_was_published_arrives_although_nobody_waits_for_it,
    p9_a_publish_fails_in_time_when_the_broker_goes_and_a_new_connection_works_when_it_is_back needs "a restart",
}

/// A publisher, and an exclusive queue with the channel that declared it.
async fn setup(connection: &Connection, context: &Context) -> Result<(Publisher, Channel, String)> {
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    Ok((connection.publisher().await?, channel, queue))
}

#[track_caller]
fn unconfirmed(result: std::result::Result<(), Error>) -> Unconfirmed {
    let error = result.expect_err("something failed");
    match error.kind() {
        ErrorKind::Unconfirmed(failed) => Unconfirmed::clone(failed),
        _ => panic!("{error}"),
    }
}

/// The numbers of nacked, returned and unknown publishes.
fn counts(failed: &Unconfirmed) -> [u64; 3] {
    [failed.nacked, failed.returned, failed.unknown]
}

async fn f26_waiting_for_all_confirms_covers_what_nobody_asked_for(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, channel, queue) = setup(&connection, &context).await?;
    publisher.wait_for_confirms().await?;
    for round in 1..=3 {
        for number in 0..1000 {
            drop(publisher.send("", &queue, number.to_string()).await?);
        }
        publisher.wait_for_confirms().await?;
        let declared = channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
        assert_eq!(declared.message_count, round * 1000);
    }
    Ok(connection.close().await?)
}

async fn f26_waiting_for_all_confirms_counts_what_failed_and_says_why(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = Queue::exclusive(context.name("queue")).max_length(2).overflow(Overflow::RejectPublish);
    let queue = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    let nowhere = context.name("nowhere");
    for _ in 0..5 {
        drop(publisher.send("", &queue, "two of these fit").await?);
        drop(publisher.send("", &nowhere, "returned").await?);
    }
    let held = publisher.send("", &nowhere, "returned").await?;
    let error = publisher.wait_for_confirms().await.unwrap_err();
    assert!(error.to_string().contains("9 publishes") && error.to_string().contains(&nowhere), "{error}");
    let failed = unconfirmed(Err(error));
    assert_eq!(counts(&failed), [3, 6, 0]);
    assert_eq!(failed.last_returned.as_ref().expect("a message").body(), "returned");
    assert!(failed.last_cause.is_none());
    // Each is told once, and whoever holds a confirm has its outcome all the same.
    publisher.wait_for_confirms().await?;
    assert!(matches!(held.outcome().await, Outcome::Returned(_)));
    publisher.publish("", &nowhere, Message::new("not mandatory").mandatory(false)).await?;
    publisher.wait_for_confirms().await?;
    assert_eq!(
        publisher.publish("", &nowhere, "told twice").await.unwrap_err().reply_code(),
        Some(ReplyCode::NO_ROUTE)
    );
    assert_eq!(counts(&unconfirmed(publisher.wait_for_confirms().await)), [0, 1, 0]);
    Ok(connection.close().await?)
}

async fn f26_waiting_for_all_confirms_tells_each_handle(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, _, queue) = setup(&connection, &context).await?;
    let nowhere = context.name("nowhere");
    let first = publisher.clone();
    drop(first.send("", &nowhere, "lost").await?);
    let second = publisher.clone();
    assert_eq!(counts(&unconfirmed(first.wait_for_confirms().await)), [0, 1, 0]);
    // Another handle's question does not take the answer away; a clone of one that was told knows it.
    assert_eq!(counts(&unconfirmed(second.wait_for_confirms().await)), [0, 1, 0]);
    assert_eq!(counts(&unconfirmed(publisher.wait_for_confirms().await)), [0, 1, 0]);
    first.clone().wait_for_confirms().await?;
    drop(second.send("", &queue, "routed").await?);
    second.wait_for_confirms().await?;
    Ok(connection.close().await?)
}

async fn f26_p2_waiting_for_all_confirms_ends_while_clones_go_on_publishing(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, _, queue) = setup(&connection, &context).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (publisher, queue, stop) = (publisher.clone().window(500), queue.clone(), Arc::clone(&stop));
        tasks.push(spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                drop(publisher.send("", &queue, Message::new("on and on").transient()).await.unwrap());
            }
        }));
    }
    for _ in 0..50 {
        let mine = publisher.send("", &queue, Message::new("mine").transient()).await?;
        publisher.wait_for_confirms().await?;
        // It has its outcome by now.
        assert!(matches!(mine.outcome().await, Outcome::Acked));
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await;
    }
    publisher.wait_for_confirms().await?;
    Ok(connection.close().await?)
}

async fn f26_waiting_for_all_confirms_over_a_channel_that_the_broker_closed(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, _, queue) = setup(&connection, &context).await?;
    let missing = context.name("missing");
    publisher.publish("", &queue, "first").await?;
    drop(publisher.send(&missing, "key", "lost").await?);
    let failed = unconfirmed(publisher.wait_for_confirms().await);
    assert_eq!(counts(&failed), [0, 0, 1]);
    assert_channel_closed(failed.last_cause.as_ref().expect("a cause"), 404);
    // Also if it goes on on a new channel before anybody asks.
    let lost = publisher.send(&missing, "key", "lost again").await?;
    assert!(matches!(lost.outcome().await, Outcome::Unknown(_)));
    publisher.publish("", &queue, "on a new channel").await?;
    let error = publisher.wait_for_confirms().await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert_eq!(counts(&unconfirmed(Err(error))), [0, 0, 1]);
    publisher.wait_for_confirms().await?;
    // With the connection there is nothing more to come.
    connection.abort();
    publisher.wait_for_confirms().await?;
    Ok(())
}

async fn f26_waiting_for_all_confirms_on_a_channel(context: Context) -> Result {
    let connection = open(&context).await?;
    let (_, channel, queue) = setup(&connection, &context).await?;
    let error = channel.wait_for_confirms().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    channel.confirm_select().await?;
    for _ in 0..100 {
        // Without any confirm to be held.
        channel.publish("", &queue, "body").await?;
    }
    channel.wait_for_confirms().await?;
    assert_eq!(channel.queue_declare(Queue::exclusive(&queue).passive()).await?.message_count, 100);
    channel.publish("", context.name("nowhere"), Message::new("lost").mandatory(true)).await?;
    assert_eq!(counts(&unconfirmed(channel.wait_for_confirms().await)), [0, 1, 0]);
    assert_eq!(channel.returns().next().await.expect("the message").body(), "lost");
    Ok(connection.close().await?)
}

/// A broker that confirms the publishes one by one, each when there are `window` of them, and the last ones at the end.
fn slow(window: u64, publishes: u64) -> conformance::Result<Peer> {
    Peer::start(move |server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::CONFIRM_SELECT)?;
        wire.send_method(channel, id::CONFIRM_SELECT_OK, Args::new())?;
        for number in 1..=publishes {
            if number > window {
                let last = number - window;
                wire.send_method(channel, id::BASIC_ACK, Args::new().u64(last).u8(0))?;
            }
            wire.expect_method(id::BASIC_PUBLISH)?;
            wire.read_frame()?;
            wire.read_frame()?;
            if number >= window {
                // Nothing more comes before there is a place for it.
                wire.set_patience(Duration::from_millis(20))?;
                assert!(wire.read_frame().is_err(), "publish {number} was not the last of the window");
                wire.set_patience(Duration::from_secs(20))?;
            }
        }
        wire.send_method(channel, id::BASIC_ACK, Args::new().u64(0).u8(1))?;
        server.hold();
        Ok(())
    })
}

async fn f26_a_window_bounds_what_is_unconfirmed(context: Context) -> Result {
    let peer = slow(3, 12)?;
    let connection = connect(named(&context, &peer.uri())).await?;
    let publisher = connection.publisher().await?.window(3);
    let mut unread = Vec::new();
    for number in 0..12 {
        unread.push(publisher.send("", "key", number.to_string()).await?);
        if number == 2 {
            let error = publisher.try_send("", "key", "no place").unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
        }
    }
    publisher.wait_for_confirms().await?;
    for confirm in unread {
        confirm.await?;
    }
    connection.abort();
    Ok(peer.finish()?)
}

async fn f26_a_window_that_stays_full_is_a_time_out(context: Context) -> Result {
    let peer = slow(2, 2)?;
    let connection = connect(named(&context, &peer.uri()).room_timeout(Duration::from_millis(200))).await?;
    let publisher = connection.publisher().await?.window(1);
    let first = publisher.send("", "key", "1").await?;
    let error = publisher.send("", "key", "2").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Room, .. }), "{error}");
    // A wider one has a place.
    let publisher = publisher.window(2);
    publisher.publish("", "key", "2").await?;
    first.await?;
    connection.abort();
    Ok(peer.finish()?)
}

async fn f26_many_go_through_a_small_window_in_their_order(context: Context) -> Result {
    let connection = open(&context).await?;
    let (publisher, channel, queue) = setup(&connection, &context).await?;
    let publisher = publisher.window(10);
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (publisher, queue) = (publisher.clone(), queue.clone());
        tasks.push(spawn(async move {
            for number in 0..500 {
                drop(publisher.send("", &queue, Message::new(format!("{task} {number}")).transient()).await.unwrap());
            }
        }));
    }
    for task in tasks {
        task.await;
    }
    publisher.wait_for_confirms().await?;
    let mut consumer = channel.consume(&queue).await?;
    let mut next = [0; 4];
    for _ in 0..2000 {
        let delivery = consumer.next().await.expect("a delivery")?;
        let body = String::from_utf8(delivery.body().to_vec())?;
        let (task, number) = body.split_once(' ').expect("two numbers");
        let task: usize = task.parse()?;
        assert_eq!(number.parse::<i32>()?, next[task], "of task {task}");
        next[task] += 1;
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn n14_outcomes_can_be_collected_when_all_handles_are_gone(context: Context) -> Result {
    const COUNT: u64 = 500;
    let observer = open(&context).await?;
    let queue = context.name("queue");
    observer.channel().await?.queue_declare(&queue).await?;
    let (mut confirms, batch) = {
        // The publisher goes first, then its connection.
        let connection = open(&context).await?;
        let publisher = connection.publisher().await?;
        let mut confirms = Vec::new();
        for number in 0..COUNT {
            confirms.push(publisher.send("", &queue, number.to_string()).await?);
        }
        (confirms, publisher.send_batch((0..COUNT).map(|number| ("", &queue, number.to_string()))).await?)
    };
    let channel = {
        let connection = open(&context).await?;
        let channel = connection.channel().await?;
        channel.confirm_select().await?;
        channel
    };
    confirms.push(channel.send("", &queue, "last").await?);
    drop(channel);
    for confirm in confirms {
        let outcome = confirm.outcome().await;
        assert!(matches!(outcome, Outcome::Acked), "{outcome:?}");
    }
    batch.await?;
    await_queue(context.node(), &queue, "all messages", |queue| queue.messages == 2 * COUNT + 1);
    observer.channel().await?.queue_delete(&queue).await?;
    Ok(observer.close().await?)
}

async fn n14_what_was_published_arrives_although_nobody_waits_for_it(context: Context) -> Result {
    const COUNT: u64 = 2000;
    let connection = open(&context).await?;
    let (publisher, _, queue) = setup(&connection, &context).await?;
    for number in 0..COUNT {
        drop(publisher.send("", &queue, Message::new(vec![7; 1000]).message_id(number.to_string())).await?);
    }
    // Its channel closes when all is confirmed, and its number is free again.
    drop(publisher);
    await_queue(context.node(), &queue, "all messages", |queue| queue.messages == COUNT);
    let other = open(&context).await?;
    let publisher = other.publisher().await?;
    for number in 0..COUNT {
        drop(publisher.send("", &queue, number.to_string()).await?);
    }
    other.close().await?;
    await_queue(context.node(), &queue, "all messages", |queue| queue.messages == 2 * COUNT);
    Ok(connection.close().await?)
}

async fn p9_a_publish_fails_in_time_when_the_broker_goes_and_a_new_connection_works_when_it_is_back(
    context: Context,
) -> Result {
    let node = context.private_node(Options::new())?;
    let connection = connect(named(&context, &node.uri()).no_recovery()).await?;
    let queue = context.name("queue");
    connection.channel().await?.queue_declare(&queue).await?;
    let publisher = connection.publisher().await?.window(100);
    let publishing = spawn({
        let (publisher, queue) = (publisher.clone(), queue.clone());
        async move {
            loop {
                match publisher.send("", &queue, Message::new(vec![7; 10_000]).transient()).await {
                    Ok(confirm) => drop(confirm),
                    Err(error) => return error,
                }
            }
        }
    });
    publisher.publish("", &queue, "while it is there").await?;
    let held = publisher.send_batch([("", &queue, "one"), ("", &queue, "two")]).await?;
    node.rabbitmq()?.kill();
    let error = publishing.await;
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    // Whatever is asked of it says the same at once, and what was under way is acked or unknown.
    for failure in held.outcome().await.failures {
        assert!(matches!(failure.error.kind(), ErrorKind::Unknown(_)), "{}", failure.error);
    }
    for error in [
        publisher.publish("", &queue, "late").await.unwrap_err(),
        publisher.publish_batch([("", &queue, "late")]).await.unwrap_err(),
        publisher.try_send("", &queue, "late").unwrap_err(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert!(error.is_retryable());
    }
    if let Err(error) = publisher.wait_for_confirms().await {
        assert!(error.is_retryable(), "{error}");
        assert_eq!(unconfirmed(Err(error)).nacked, 0);
    }
    node.rabbitmq()?.start_again()?;
    let connection = connect(named(&context, &node.uri())).await?;
    connection.channel().await?.queue_declare(&queue).await?;
    connection.publisher().await?.publish("", &queue, "afterwards").await?;
    Ok(connection.close().await?)
}
