//! Retries after a delay, and what is parked.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::{Context, cases, wait};

use crate::facade::{Channel, Connection, Content, Exchange, FieldValue, Get, Handling, Message, Queue, Retry};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, open};

cases! {
    f49_what_fails_comes_again_after_each_delay_and_is_parked_then,
    f49_what_succeeds_at_last_is_done_and_a_panic_is_a_failure,
    f49_a_retry_takes_no_effect_of_the_first_publish_a_second_time,
    f49_a_queue_of_a_delay_that_was_deleted_is_declared_again,
    f49_without_delays_what_fails_is_parked_at_once,
}

/// A connection, a channel, and a retry of a queue with two short delays.
async fn queue(context: &Context) -> Result<(Connection, Channel, String, Retry)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let retry = Retry::new(&queue).delays([20, 50].map(Duration::from_millis));
    Ok((connection, channel, queue, retry))
}

/// Deletes what outlives connections, and closes.
async fn end(connection: Connection, channel: Channel, queue: &str) -> Result {
    for name in ["retry.20", "retry.50", "parked"] {
        channel.queue_delete(format!("{queue}.{name}")).await?;
    }
    Ok(connection.close().await?)
}

fn text(content: &Content) -> String {
    String::from_utf8_lossy(&content.to_bytes()).into_owned()
}

fn number(content: &Content, header: &str) -> Option<u64> {
    content.properties().ok()?.headers?.get(header)?.as_u64()
}

fn words(content: &Content, header: &str) -> Option<String> {
    Some(content.properties().ok()?.headers?.get(header)?.as_str()?.to_owned())
}

async fn f49_what_fails_comes_again_after_each_delay_and_is_parked_then(context: Context) -> Result {
    let (connection, channel, queue, retry) = queue(&context).await?;
    let exchange = context.name("exchange");
    channel.exchange_declare(Exchange::direct(&exchange).durable(false).auto_delete()).await?;
    channel.queue_bind(&queue, &exchange, "key").await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let seen = Arc::clone(&seen);
        move |content: Arc<Content>| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push((text(&content), number(&content, "x-retry-failed")));
                Err::<(), _>("it never works")
            }
        }
    };
    let subscription = connection.consume_with_retry(retry, Handling::default(), handler).await?;
    channel.publish(&exchange, "key", Message::new("hello").header("kept", 17).message_id("m").transient()).await?;
    let parked = format!("{queue}.parked");
    await_queue(context.node(), &parked, "it to be parked", |queue| queue.ready == 1);
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    let hello = || "hello".to_owned();
    assert_eq!(*seen.lock().unwrap(), [(hello(), None), (hello(), Some(1)), (hello(), Some(2))]);
    assert_eq!(subscription.handled().acked, 3);
    let message = channel.get(Get::new(&parked).no_ack()).await?.expect("what was parked");
    assert_eq!(message.body(), "hello");
    assert_eq!((number(&message, "x-retry-failed"), number(&message, "kept")), (Some(3), Some(17)));
    assert_eq!(words(&message, "x-retry-reason").as_deref(), Some("it never works"));
    assert_eq!(words(&message, "x-retry-exchange"), Some(exchange));
    assert_eq!(words(&message, "x-retry-routing-key").as_deref(), Some("key"));
    let properties = message.properties()?;
    assert_eq!(properties.delivery_mode, Some(1));
    assert_eq!(properties.message_id.expect("its id").as_bytes(), b"m");
    subscription.stop().await?;
    end(connection, channel, &queue).await
}

async fn f49_what_succeeds_at_last_is_done_and_a_panic_is_a_failure(context: Context) -> Result {
    let (connection, channel, queue, retry) = queue(&context).await?;
    let done = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let done = Arc::clone(&done);
        move |content: Arc<Content>| {
            let done = Arc::clone(&done);
            async move {
                match (text(&content).as_str(), number(&content, "x-retry-failed")) {
                    ("at the second time", None) => return Err("not yet"),
                    // As a panic does, but without a word on the terminal.
                    ("at the third time", None | Some(1)) => resume_unwind(Box::new("as it should")),
                    (text, failed) => done.lock().unwrap().push((text.to_owned(), failed.unwrap_or(0))),
                }
                Ok(())
            }
        }
    };
    let handling = Handling::default().concurrency(3);
    let subscription = connection.consume_with_retry(retry.prefetch(10), handling, handler).await?;
    for body in ["at once", "at the second time", "at the third time"] {
        channel.publish("", &queue, body).await?;
    }
    wait::until_true(SOON, "all to be done", || done.lock().unwrap().len() == 3)?;
    let mut done = std::mem::take(&mut *done.lock().unwrap());
    done.sort_unstable();
    let expected = [("at once", 0), ("at the second time", 1), ("at the third time", 2)];
    assert_eq!(done, expected.map(|(text, failed)| (text.to_owned(), failed)));
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    assert_eq!(context.node().queue(&format!("{queue}.parked"))?.expect("it was declared").messages, 0);
    subscription.stop().await?;
    end(connection, channel, &queue).await
}

async fn f49_a_retry_takes_no_effect_of_the_first_publish_a_second_time(context: Context) -> Result {
    let (connection, channel, queue, retry) = queue(&context).await?;
    let copies = channel.queue_declare(Queue::exclusive(context.name("copies"))).await?.name;
    let handler = async |_: Arc<Content>| Err::<(), _>("it never works");
    let subscription = connection.consume_with_retry(retry, Handling::default(), handler).await?;
    let copied = FieldValue::Array(vec![copies.as_str().into()]);
    let message = Message::new("hello").header("CC", copied).user_id("guest").expiration("60000");
    channel.publish("", &queue, message).await?;
    let parked = format!("{queue}.parked");
    await_queue(context.node(), &parked, "it to be parked", |queue| queue.ready == 1);
    let message = channel.get(Get::new(&parked).no_ack()).await?.expect("what was parked");
    let properties = message.properties()?;
    assert!(properties.expiration.is_none() && properties.user_id.is_none(), "{properties:?}");
    await_queue(context.node(), &copies, "one copy", |queue| queue.ready == 1);
    subscription.stop().await?;
    end(connection, channel, &queue).await
}

async fn f49_a_queue_of_a_delay_that_was_deleted_is_declared_again(context: Context) -> Result {
    let (connection, channel, queue, retry) = queue(&context).await?;
    let handler = async |_: Arc<Content>| Err::<(), _>("it never works");
    let subscription = connection.consume_with_retry(retry, Handling::default(), handler).await?;
    for name in ["retry.20", "parked"] {
        channel.queue_delete(format!("{queue}.{name}")).await?;
    }
    channel.publish("", &queue, "hello").await?;
    await_queue(context.node(), &format!("{queue}.parked"), "it to be parked", |queue| queue.ready == 1);
    subscription.stop().await?;
    end(connection, channel, &queue).await
}

async fn f49_without_delays_what_fails_is_parked_at_once(context: Context) -> Result {
    let (connection, channel, queue, _) = queue(&context).await?;
    let parked = channel.queue_declare(Queue::new(context.name("morgue"))).await?.name;
    let handler = async |_: Arc<Content>| Err::<(), _>("it never works");
    let retry = Retry::new(&queue).delays([]).parking(&parked);
    let subscription = connection.consume_with_retry(retry, Handling::default(), handler).await?;
    channel.publish("", &queue, "hello").await?;
    await_queue(context.node(), &parked, "it to be parked", |queue| queue.ready == 1);
    subscription.stop().await?;
    channel.queue_delete(&parked).await?;
    // It never began.
    let missing = connection.consume_with_retry(
        Retry::new(context.name("missing")).delays([]).parking(&parked),
        Handling::default(),
        async |_: Arc<Content>| Ok::<_, &str>(()),
    );
    assert_channel_closed(&missing.await.unwrap_err(), 404);
    channel.queue_delete(&parked).await?;
    end(connection, channel, &queue).await
}
