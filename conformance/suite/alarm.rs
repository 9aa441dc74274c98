//! A broker in alarm: it does not read from connections that publish, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::suite::Subject;
use conformance::{Context, Options, cases, wait};

use crate::facade::{Connection, Error, ErrorKind, Origin, Queue, TimeoutReason, connect, spawn};
use crate::suite::support::{Result, SOON, await_queue, named};

cases! {
    f12_p27_an_alarm_blocks_publishes_and_not_deliveries_until_it_ends,
    f12_p27_time_outs_in_an_alarm_say_that_the_connection_is_blocked,
}

/// Waits until a connection has heard that it is blocked, or no longer is.
#[track_caller]
fn await_blocked(connection: &Connection, blocked: bool) {
    let what = if blocked { "connection.blocked" } else { "connection.unblocked" };
    let waited = wait::until_true(SOON, what, || connection.blocked().is_some() == blocked);
    assert!(waited.is_ok(), "{waited:?}");
}

/// The state of the case's connections at a node.
fn states(context: &Context, node: &Subject) -> Result<Vec<String>> {
    let mut states: Vec<_> =
        node.connections_named(context.case())?.into_iter().map(|connection| connection.state).collect();
    states.sort();
    Ok(states)
}

async fn f12_p27_an_alarm_blocks_publishes_and_not_deliveries_until_it_ends(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    let config = named(&context, &node.uri());
    let (publishing, consuming) = (connect(&config).await?, connect(&config).await?);
    let channel = publishing.channel().await?;
    let (incoming, outgoing) = (context.name("incoming"), context.name("outgoing"));
    for queue in [&incoming, &outgoing] {
        channel.queue_declare(queue).await?;
    }
    let publisher = publishing.publisher().await?;
    for body in ["1", "2", "3"] {
        publisher.publish("", &incoming, body).await?;
    }
    let elsewhere = consuming.channel().await?;
    let mut held = Vec::new();
    while let Some(delivery) = elsewhere.get(&incoming).await? {
        held.push(delivery);
    }
    let mut consumer = channel.consume(&incoming).await?;
    assert_eq!(publishing.blocked(), None);

    node.set_memory_alarm()?;
    // The broker notices a publisher by what it publishes: this stands before its door.
    let first = publisher.send("", &outgoing, "first").await?;
    await_blocked(&publishing, true);
    assert!(publishing.blocked().is_some_and(|reason| reason.contains("memory")), "{:?}", publishing.blocked());
    assert_eq!(consuming.blocked(), None);
    // RabbitMQ calls it blocking where it would block whoever published.
    assert_eq!(states(&context, &node)?, ["blocked", "blocking"]);
    let error = publisher.try_send("", &outgoing, "now or never").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
    let is_through = Arc::new(AtomicBool::new(false));
    let waiting = spawn({
        let (publisher, outgoing, is_through) = (publisher.clone(), outgoing.clone(), Arc::clone(&is_through));
        async move {
            let result = publisher.publish("", &outgoing, "second").await;
            is_through.store(true, Ordering::SeqCst);
            result
        }
    });

    // What comes in on the blocked connection is read, though nothing goes out.
    assert_eq!(held.len(), 3);
    held.into_iter().try_for_each(|delivery| delivery.nack(true))?;
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert!(delivery.redelivered());
        deliveries.push(delivery);
    }
    assert!(!is_through.load(Ordering::SeqCst), "a publish does not get past the alarm");
    assert_eq!(node.queue(&outgoing)?.map(|queue| queue.messages), Some(0));

    node.clear_memory_alarm()?;
    await_blocked(&publishing, false);
    first.await?;
    waiting.await?;
    for delivery in deliveries {
        delivery.ack()?;
    }
    await_queue(&node, &incoming, "all to be acked", |queue| queue.messages == 0);
    for body in ["first", "second"] {
        let delivery = channel.get(&outgoing).await?.expect("a message");
        assert_eq!(delivery.body(), body);
        delivery.ack()?;
    }
    publishing.close().await?;
    Ok(consuming.close().await?)
}

#[track_caller]
fn assert_blocked(error: &Error, expected: &TimeoutReason) {
    let ErrorKind::Timeout { reason, blocked: true } = error.kind() else { panic!("{error}") };
    assert_eq!(reason, expected);
    assert!(error.to_string().contains("blocked"), "{error}");
    assert_eq!(error.origin(), Origin::Broker);
    assert!(error.is_retryable());
}

async fn f12_p27_time_outs_in_an_alarm_say_that_the_connection_is_blocked(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    let brief = Duration::from_secs(1);
    let config = named(&context, &node.uri()).room_timeout(brief).confirm_timeout(brief * 3).close_timeout(brief);
    let connection = connect(config.call_timeout(brief)).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    node.set_memory_alarm()?;
    let confirm = channel.send("", &queue, "unconfirmed").await?;
    await_blocked(&connection, true);

    assert_blocked(&channel.publish("", &queue, "no room").await.unwrap_err(), &TimeoutReason::Room);
    let error = channel.queue_declare(Queue::new(&queue).passive()).await.unwrap_err();
    assert_blocked(&error, &TimeoutReason::Call { method: "queue.declare" });
    let ErrorKind::Unknown(cause) = confirm.await.unwrap_err().kind().clone() else { panic!("not unknown") };
    assert_blocked(&cause, &TimeoutReason::Confirm);
    // The broker does not read the close, so this side goes without an answer.
    assert_blocked(&connection.close().await.unwrap_err(), &TimeoutReason::Close);
    assert!(!connection.is_open());
    node.clear_memory_alarm()?;
    Ok(wait::until_true(SOON, "the connection to go", || {
        node.connections_named(context.case()).is_ok_and(|all| all.is_empty())
    })?)
}
