//! Queues that are listened to with connections of a pool.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use conformance::proxy::Fault;
use conformance::{Context, cases, wait};

use crate::facade::{
    Config, Connection, Consume, Delivery, ErrorKind, Handling, Listener, Pool, Queue, pool, sleep, spawn, timeout,
};
use crate::suite::recovery::through;
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, config, open};

cases! {
    n8_f47_each_of_ten_messages_is_handled_once_by_one_listener_or_by_three,
    n9_f47_a_handler_publishes_declares_and_replies_on_its_own_connection,
    n10_f47_a_listener_that_is_stopped_in_a_handler_sees_no_more,
    n11_f47_a_stop_lets_handlers_finish_and_gives_the_connection_back,
    n11_f47_a_stop_does_not_wait_for_ever,
    f47_a_listener_that_is_dropped_is_stopped,
    f47_a_listener_outlives_its_channel_its_connection_and_its_queue,
    f43_f47_a_listener_comes_back_with_its_connection,
    f47_a_listener_whose_queue_is_missing_does_not_begin,
}

/// A pool, and a queue of so many messages that outlives connections.
async fn filled(context: &Context, size: usize, messages: usize) -> Result<(Pool, String)> {
    filled_by(context, config(context), size, messages).await
}

async fn filled_by(context: &Context, config: Config, size: usize, messages: usize) -> Result<(Pool, String)> {
    let pool = pool(config, size)?;
    let connection = pool.get().await?;
    let queue = connection.channel().await?.queue_declare(context.name("queue")).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..messages {
        publisher.publish("", &queue, number.to_string()).await?;
    }
    Ok((pool, queue))
}

/// Deletes the queue, and closes.
async fn end(pool: Pool, queue: &str) -> Result {
    pool.get().await?.channel().await?.queue_delete(queue).await?;
    Ok(pool.close().await?)
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.to_bytes()).into_owned()
}

async fn n8_f47_each_of_ten_messages_is_handled_once_by_one_listener_or_by_three(context: Context) -> Result {
    let (pool, queue) = filled(&context, 4, 0).await?;
    for listeners in [1, 3] {
        let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
        let mut listening = Vec::new();
        for _ in 0..listeners {
            let seen = Arc::clone(&seen);
            let handler = move |_: Connection, delivery: Delivery| {
                let seen = Arc::clone(&seen);
                async move { *seen.lock().unwrap().entry(text(&delivery)).or_default() += 1 }
            };
            listening.push(pool.listen(Consume::new(&queue).prefetch(1), Handling::default(), handler).await?);
        }
        assert_eq!(pool.available(), 4 - listeners);
        let publisher = pool.get().await?.publisher().await?;
        for number in 0..10 {
            publisher.publish("", &queue, number.to_string()).await?;
        }
        wait::until_true(SOON, "all to be handled", || {
            listening.iter().map(|listener: &Listener| listener.handled().acked).sum::<u64>() == 10
        })?;
        await_queue(context.node(), &queue, "nothing to be left", |queue| queue.messages == 0);
        for listener in listening {
            listener.stop().await?;
        }
        assert_eq!(pool.available(), 4);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(seen.len() == 10 && seen.values().all(|times| *times == 1), "{seen:?}");
    }
    end(pool, &queue).await
}

async fn n9_f47_a_handler_publishes_declares_and_replies_on_its_own_connection(context: Context) -> Result {
    let (pool, queue) = filled(&context, 2, 0).await?;
    let replies = context.name("replies");
    let handler = {
        let replies = replies.clone();
        move |connection: Connection, delivery: Delivery| {
            let replies = replies.clone();
            async move {
                let channel = connection.channel().await?;
                channel.queue_declare(Queue::new(&replies).auto_delete()).await?;
                connection.publisher().await?.publish("", &replies, text(&delivery)).await?;
                delivery.reply("done")
            }
        }
    };
    let listener = pool.listen(&queue, Handling::default().concurrency(2), handler).await?;
    let connection = pool.get().await?;
    let channel = connection.channel().await?;
    let answers = channel.queue_declare(Queue::exclusive(context.name("answers"))).await?.name;
    for number in 0..5 {
        let message = crate::facade::Message::new(number.to_string()).reply_to(&answers);
        channel.publish("", &queue, message).await?;
    }
    await_queue(context.node(), &answers, "an answer to each", |queue| queue.ready == 5);
    await_queue(context.node(), &replies, "what each has published", |queue| queue.ready == 5);
    wait::until_true(SOON, "all to be acked", || listener.handled().acked == 5)?;
    assert!(timeout(SOON, listener.stop()).await.is_ok_and(|stopped| stopped.is_ok()));
    channel.queue_delete(&replies).await?;
    drop(connection);
    end(pool, &queue).await
}

async fn n10_f47_a_listener_that_is_stopped_in_a_handler_sees_no_more(context: Context) -> Result {
    let (pool, queue) = filled(&context, 1, 0).await?;
    let (seen, itself) = (Arc::new(Mutex::new(Vec::new())), Arc::new(OnceLock::<Listener>::new()));
    let handler = {
        let (seen, itself) = (Arc::clone(&seen), Arc::clone(&itself));
        move |_: Connection, delivery: Delivery| {
            let (seen, itself) = (Arc::clone(&seen), Arc::clone(&itself));
            async move {
                seen.lock().unwrap().push(text(&delivery));
                if delivery.body() == "5" {
                    itself.get().expect("it is there").request_stop();
                }
            }
        }
    };
    {
        let listener = pool.listen(Consume::new(&queue).prefetch(1), Handling::default(), handler).await?;
        itself.set(listener).expect("it was not set before");
    }
    let publisher = crate::facade::connect(config(&context)).await?.publisher().await?;
    for number in 1..=10 {
        publisher.publish("", &queue, number.to_string()).await?;
    }
    let listener = itself.get().expect("it is there");
    listener.finished().await?;
    assert_eq!(*seen.lock().unwrap(), ["1", "2", "3", "4", "5"]);
    assert_eq!(listener.handled().acked, 5);
    await_queue(context.node(), &queue, "the rest", |queue| (queue.ready, queue.unacknowledged) == (5, 0));
    assert!(!listener.is_listening());
    assert_eq!(pool.available(), 1);
    end(pool, &queue).await
}

/// A listener whose handler says that it has begun, and waits to be let go. A handler that is let go has 20 s to hear of it.
async fn held(pool: &Pool, queue: &str, handling: Handling) -> Result<(Listener, Arc<OnceLock<()>>)> {
    let gate = Arc::new(OnceLock::new());
    let handler = {
        let gate = Arc::clone(&gate);
        move |_: Connection, _: Delivery| {
            let gate = Arc::clone(&gate);
            async move {
                for _ in 0..2000 {
                    if gate.get().is_some() {
                        return;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    };
    let listener = pool.listen(Consume::new(queue).prefetch(3), handling, handler).await?;
    wait::until_true(SOON, "a handler to begin", || listener.handled().in_progress == 1)?;
    Ok((listener, gate))
}

async fn n11_f47_a_stop_lets_handlers_finish_and_gives_the_connection_back(context: Context) -> Result {
    let (pool, queue) = filled(&context, 1, 10).await?;
    let (listener, gate) = held(&pool, &queue, Handling::default()).await?;
    assert_eq!(pool.available(), 0);
    let listener = Arc::new(listener);
    let stopping = spawn({
        let listener = Arc::clone(&listener);
        async move { listener.stop().await }
    });
    // No new deliveries, and what was not begun is back, while the handler is at work.
    await_queue(context.node(), &queue, "the rest to be back", |queue| {
        (queue.ready, queue.unacknowledged, queue.consumers) == (9, 1, 0)
    });
    assert_eq!((pool.available(), listener.handled().in_progress), (0, 1));
    gate.set(()).expect("it was not set before");
    stopping.await?;
    assert_eq!((pool.available(), listener.handled().acked), (1, 1));
    await_queue(context.node(), &queue, "one to be gone", |queue| queue.messages == 9);
    listener.stop().await?;
    assert!(listener.last_error().is_none());
    end(pool, &queue).await
}

async fn n11_f47_a_stop_does_not_wait_for_ever(context: Context) -> Result {
    let (pool, queue) = filled(&context, 1, 3).await?;
    let handling = Handling::default().stop_timeout(Duration::from_millis(50));
    let (listener, gate) = held(&pool, &queue, handling).await?;
    let error = listener.stop().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    await_queue(context.node(), &queue, "all to be back", |queue| (queue.ready, queue.consumers) == (3, 0));
    assert_eq!(pool.available(), 1);
    gate.set(()).expect("it was not set before");
    end(pool, &queue).await
}

async fn f47_a_listener_that_is_dropped_is_stopped(context: Context) -> Result {
    let (pool, queue) = filled(&context, 1, 3).await?;
    let (listener, gate) = held(&pool, &queue, Handling::default()).await?;
    drop(listener);
    await_queue(context.node(), &queue, "the rest to be back", |queue| (queue.ready, queue.consumers) == (2, 0));
    gate.set(()).expect("it was not set before");
    await_queue(context.node(), &queue, "one to be gone", |queue| queue.messages == 2);
    wait::until_true(SOON, "its connection to be back", || pool.available() == 1)?;
    end(pool, &queue).await
}

async fn f47_a_listener_outlives_its_channel_its_connection_and_its_queue(context: Context) -> Result {
    let (pool, queue) = filled_by(&context, config(&context).no_recovery(), 1, 0).await?;
    let handler = async |_: Connection, _: Delivery| ();
    let listener = pool.listen(&queue, Handling::default(), handler).await?;
    let others = crate::facade::connect(context.uri()).await?;
    for (handled, meanwhile) in (1..).zip(["nothing", "connection", "queue"]) {
        match meanwhile {
            "connection" => {
                wait::until_true(SOON, "its connection to be listed", || {
                    context.node().close_connections(context.case(), "for a test").is_ok_and(|closed| closed == 1)
                })?;
                wait::until_true(SOON, "it to hear of that", || listener.last_error().is_some())?;
            }
            "queue" => {
                context.node().delete_queue(&queue)?;
                wait::until_true(SOON, "it to miss the queue", || {
                    listener.last_error().is_some_and(|error| error.reply_code().is_some_and(|code| code.0 == 404))
                })?;
                assert!(!listener.is_listening());
                others.channel().await?.queue_declare(&queue).await?;
            }
            _ => {}
        }
        await_queue(context.node(), &queue, "the listener", |queue| queue.consumers == 1);
        others.publisher().await?.publish("", &queue, "hello").await?;
        wait::until_true(SOON, "it to be handled", || listener.handled().acked == handled)?;
        // An ack that is lost with the connection would bring it back, and be counted again.
        await_queue(context.node(), &queue, "the broker to know of the ack", |queue| queue.messages == 0);
    }
    assert_eq!(pool.available(), 0);
    listener.stop().await?;
    others.close().await?;
    end(pool, &queue).await
}

async fn f43_f47_a_listener_comes_back_with_its_connection(context: Context) -> Result {
    let proxy = context.proxy()?;
    let (pool, queue) = filled_by(&context, through(&context, &proxy), 1, 0).await?;
    let listener = pool.listen(&queue, Handling::default(), async |_: Connection, _: Delivery| ()).await?;
    let others = open(&context).await?.publisher().await?;
    for handled in 1..4 {
        others.publish("", &queue, "hello").await?;
        wait::until_true(SOON, "it to be handled", || listener.handled().acked >= handled)?;
        // An ack that is lost with the connection would bring it back, and be counted again.
        await_queue(context.node(), &queue, "the broker to know of the ack", |queue| queue.messages == 0);
        let accepted = proxy.accepted();
        proxy.inflict(Fault::Reset);
        wait::until_true(SOON, "another connection", || proxy.accepted() > accepted && listener.is_listening())?;
    }
    assert!(listener.last_error().is_none(), "it did not have to start again");
    listener.stop().await?;
    assert!(!listener.is_listening());
    end(pool, &queue).await
}

async fn f47_a_listener_whose_queue_is_missing_does_not_begin(context: Context) -> Result {
    let pool = pool(config(&context), 1)?;
    let missing = context.name("missing");
    let begun = pool.listen(&missing, Handling::default(), async |_: Connection, _: Delivery| ()).await;
    assert_channel_closed(&begun.unwrap_err(), 404);
    assert_eq!(pool.available(), 1);
    Ok(pool.close().await?)
}
