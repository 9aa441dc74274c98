//! Remote calls.

use std::sync::Arc;
use std::time::Duration;

use conformance::{Context, cases, wait};

use crate::facade::{
    Connection, Delivery, Error, ErrorKind, Handling, Message, OnError, Queue, Subscription, TimeoutReason, connect,
    spawn,
};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, config, open};

cases! {
    a10_f45_a_call_gets_its_reply,
    f45_many_calls_at_a_time_get_their_own_replies,
    f45_a_call_that_no_queue_takes_fails_at_once,
    f45_a_call_has_a_deadline_and_a_late_reply_is_discarded,
    f45_nobody_works_for_a_caller_who_has_gone,
    f45_a_call_to_a_missing_exchange_ends_and_the_next_one_works,
    f43_f45_calls_end_with_their_connection_and_the_next_ones_work_when_it_is_back,
    f45_a_request_whose_handler_fails_goes_where_failures_go_and_one_without_reply_to_is_acked,
}

/// A connection, and a queue of requests on it.
async fn requests(context: &Context) -> Result<(Connection, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("requests"))).await?.name;
    Ok((connection, queue))
}

/// A server that says in capitals what it was told.
async fn shouting(connection: &Connection, queue: &str) -> Result<Subscription, Error> {
    let handling = Handling::default().concurrency(4);
    let handler = async |request: Delivery| Ok::<_, Error>(request.decoded_body()?.to_ascii_uppercase());
    connection.rpc_server(queue, handling, handler).await
}

async fn a10_f45_a_call_gets_its_reply(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let server = shouting(&connection, &queue).await?;
    let other = open(&context).await?;
    let client = other.rpc_client().await?;
    for text in ["hello", "world", ""] {
        let reply = client.call("", &queue, text).await?;
        assert_eq!(reply.body(), text.to_uppercase().as_str());
    }
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    assert_eq!((server.handled().acked, client.discarded()), (3, 0));
    server.stop().await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn f45_many_calls_at_a_time_get_their_own_replies(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let server = shouting(&connection, &queue).await?;
    let client = connection.rpc_client().await?;
    let mut calls = Vec::new();
    for number in 0..50 {
        let (client, queue) = (client.clone(), queue.clone());
        calls.push(spawn(async move {
            let text = format!("call {number}");
            let reply = client.call("", &queue, text.clone()).await?;
            assert_eq!(reply.body(), text.to_uppercase().as_str());
            Ok::<_, Error>(())
        }));
    }
    for call in calls {
        call.await?;
    }
    server.stop().await?;
    Ok(connection.close().await?)
}

async fn f45_a_call_that_no_queue_takes_fails_at_once(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let client = connection.rpc_client().await?;
    let error = client.call("", context.name("nowhere"), "hello").await.unwrap_err();
    let ErrorKind::NoRoute(returned) = error.kind() else { panic!("{error}") };
    assert_eq!(returned.body(), "hello");
    // Nothing is the matter with the channel.
    let _server = shouting(&connection, &queue).await?;
    assert_eq!(client.call("", &queue, "hello").await?.body(), "HELLO");
    Ok(connection.close().await?)
}

async fn f45_a_call_has_a_deadline_and_a_late_reply_is_discarded(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let client = connection.rpc_client().await?.call_timeout(Duration::from_millis(200));
    let channel = connection.channel().await?;
    let error = client.call("", &queue, Message::new("hello").expiration("60000")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Reply, .. }), "{error}");
    assert!(error.is_retryable());
    let request = channel.get(&queue).await?.expect("the request is still there: it says so itself");
    request.reply("late")?;
    request.ack()?;
    wait::until_true(SOON, "the reply to be discarded", || client.discarded() == 1)?;
    // It is not taken for that of another call.
    let _server = shouting(&connection, &queue).await?;
    assert_eq!(client.clone().call_timeout(SOON).call("", &queue, "hello").await?.body(), "HELLO");
    Ok(connection.close().await?)
}

async fn f45_nobody_works_for_a_caller_who_has_gone(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let client = connection.rpc_client().await?.call_timeout(Duration::from_millis(100));
    client.call("", &queue, "hello").await.unwrap_err();
    await_queue(context.node(), &queue, "the request to be gone", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}

async fn f45_a_call_to_a_missing_exchange_ends_and_the_next_one_works(context: Context) -> Result {
    let (connection, queue) = requests(&context).await?;
    let client = connection.rpc_client().await?;
    let error = client.call(context.name("missing"), "key", "hello").await.unwrap_err();
    match error.kind() {
        ErrorKind::Unknown(cause) => assert_channel_closed(cause, 404),
        _ => assert_channel_closed(&error, 404),
    }
    let _server = shouting(&connection, &queue).await?;
    assert_eq!(client.call("", &queue, "hello").await?.body(), "HELLO");
    Ok(connection.close().await?)
}

async fn f43_f45_calls_end_with_their_connection_and_the_next_ones_work_when_it_is_back(context: Context) -> Result {
    for recovers in [true, false] {
        let (config, queue) = match recovers {
            true => (config(&context), context.name("before")),
            false => (config(&context).no_recovery(), context.name("until")),
        };
        let connection = connect(config).await?;
        connection.channel().await?.queue_declare(Queue::exclusive(&queue)).await?;
        let client = connection.rpc_client().await?.call_timeout(SOON * 2);
        let calling = spawn({
            let (client, queue) = (client.clone(), queue.clone());
            async move { client.call("", &queue, "hello").await.map(drop) }
        });
        await_queue(context.node(), &queue, "the request", |queue| queue.ready == 1);
        wait::until_true(SOON, "the connection to be listed", || {
            context.node().close_connections(context.case(), "for a test").is_ok_and(|closed| closed == 1)
        })?;
        let error = calling.await.unwrap_err();
        let is_closed = |error: &Error| matches!(error.kind(), ErrorKind::ConnectionClosed(_));
        // Its request had been confirmed, or not yet.
        assert!(is_closed(&error) || matches!(error.kind(), ErrorKind::Unknown(cause) if is_closed(cause)), "{error}");
        if recovers {
            let server = shouting(&connection, &queue).await?;
            assert_eq!(client.call("", &queue, "hello").await?.body(), "HELLO");
            server.stop().await?;
            connection.close().await?;
        } else {
            assert!(is_closed(&client.call("", &queue, "hello").await.unwrap_err()));
        }
    }
    Ok(())
}

async fn f45_a_request_whose_handler_fails_goes_where_failures_go_and_one_without_reply_to_is_acked(
    context: Context,
) -> Result {
    let (connection, queue) = requests(&context).await?;
    let handler = async |request: Delivery| match request.redelivered() {
        true => Ok("the second time"),
        false => Err("the first time"),
    };
    let handling = Handling::default().on_error(OnError::RequeueOnce);
    let server = Arc::new(connection.rpc_server(&queue, handling, handler).await?);
    let client = connection.rpc_client().await?;
    assert_eq!(client.call("", &queue, "hello").await?.body(), "the second time");
    connection.channel().await?.publish("", &queue, "no reply is wanted").await?;
    wait::until_true(SOON, "both to be handled", || server.handled().acked == 2)?;
    assert_eq!((server.handled().requeued, client.discarded()), (2, 0));
    server.stop().await?;
    Ok(connection.close().await?)
}
