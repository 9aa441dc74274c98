//! What is not settled goes back to its queue, and what nobody waits for is undone.

use conformance::{Context, cases};

use crate::facade::{Consume, Queue};
use crate::suite::support::{Result, await_queue, open};

cases! {
    a_cancelled_consumer_gives_what_it_had_received_and_ends,
    an_abandoned_consume_leaves_nothing_behind_at_the_broker,
    an_abandoned_get_leaves_nothing_behind_at_the_broker,
    a_dropped_consumer_puts_back_what_it_had_not_given_out,
    a_dropped_delivery_is_put_back,
}

async fn a_cancelled_consumer_gives_what_it_had_received_and_ends(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    for number in 0..10 {
        channel.publish("", &queue, number.to_string()).await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    await_queue(context.node(), &queue, "all to be delivered", |queue| queue.unacknowledged == 10);
    consumer.cancel().await?;
    for number in 0..10 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), number.to_string().as_str());
        delivery.ack()?;
    }
    assert!(consumer.next().await.is_none());
    await_queue(context.node(), &queue, "all to be acked", |queue| (queue.messages, queue.consumers) == (0, 0));
    Ok(connection.close().await?)
}

async fn an_abandoned_consume_leaves_nothing_behind_at_the_broker(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, "wanted").await?;
    for _ in 0..20 {
        drop(channel.consume(&queue));
    }
    // When this is answered the broker has seen all of them.
    channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
    await_queue(context.node(), &queue, "the message back and no consumer", |queue| {
        (queue.ready, queue.unacknowledged, queue.consumers) == (1, 0, 0)
    });
    let delivery = channel.get(&queue).await?.expect("the message");
    assert!(delivery.redelivered(), "a consumer that nobody wanted had it in between");
    delivery.ack()?;
    Ok(connection.close().await?)
}

async fn an_abandoned_get_leaves_nothing_behind_at_the_broker(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, "wanted").await?;
    for _ in 0..20 {
        drop(channel.get(&queue));
        // Before and after its reply has come.
        let get = channel.get(&queue);
        channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
        drop(get);
    }
    channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
    await_queue(context.node(), &queue, "the message back", |queue| (queue.ready, queue.unacknowledged) == (1, 0));
    let delivery = channel.get(&queue).await?.expect("the message");
    assert!(delivery.redelivered(), "a get that nobody wanted had it in between");
    assert_eq!(delivery.body(), "wanted");
    delivery.ack()?;
    Ok(connection.close().await?)
}

async fn a_dropped_consumer_puts_back_what_it_had_not_given_out(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    for number in 0..10 {
        channel.publish("", &queue, number.to_string()).await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    let first = consumer.next().await.expect("a delivery")?;
    await_queue(context.node(), &queue, "all to be delivered", |queue| queue.unacknowledged == 10);
    drop(consumer);
    await_queue(context.node(), &queue, "nine messages back and no consumer", |queue| {
        (queue.ready, queue.unacknowledged, queue.consumers) == (9, 1, 0)
    });
    // What had been given out can still be settled.
    first.ack()?;
    await_queue(context.node(), &queue, "the first one gone", |queue| queue.messages == 9);
    for number in 1..10 {
        let delivery = channel.get(&queue).await?.expect("a message");
        assert_eq!(delivery.body(), number.to_string().as_str());
        assert!(delivery.redelivered());
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn a_dropped_delivery_is_put_back(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    channel.publish("", &queue, "boomerang").await?;
    let mut consumer = channel.consume(&queue).await?;
    assert!(!consumer.next().await.expect("a delivery")?.redelivered());
    let delivery = consumer.next().await.expect("the same again")?;
    assert!(delivery.redelivered());
    let (content, acker) = delivery.into_parts();
    drop(acker);
    assert_eq!(content.body(), "boomerang");
    consumer.next().await.expect("and again")?.ack()?;
    // Not where there is nothing to be settled.
    channel.publish("", &queue, "gone").await?;
    drop(consumer);
    let mut consumer = channel.consume(Consume::new(&queue).no_ack()).await?;
    drop(consumer.next().await.expect("a delivery")?);
    consumer.cancel().await?;
    assert!(consumer.next().await.is_none());
    await_queue(context.node(), &queue, "all to be gone", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}
