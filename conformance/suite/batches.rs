//! Deliveries in batches, and waiting for them with a limit.

use std::time::Duration;

use conformance::{Context, cases};

use crate::facade::{Channel, Connection, Consume, Consumer, Get, Queue};
use crate::suite::support::{Result, await_queue, open};

cases! {
    f33_receiving_ends_when_its_time_is_over_and_loses_nothing,
    f42_a_batch_ends_with_its_number_or_with_its_time,
    f42_a_batch_is_acked_together_and_nothing_else_with_it,
    f42_a_batch_is_put_back_together_and_comes_again_in_its_order,
    f42_a_batch_can_be_taken_apart,
    f42_a_batch_is_not_larger_than_the_prefetch,
    f42_what_ends_a_consumer_comes_after_its_last_batch,
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

async fn filled(context: &Context, messages: u32) -> Result<(Connection, Channel, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..messages {
        drop(publisher.send("", &queue, number.to_string()).await?);
    }
    publisher.publish("", &queue, messages.to_string()).await?;
    Ok((connection, channel, queue))
}

async fn bodies(consumer: &mut Consumer, max: usize, timeout: Duration) -> Result<Vec<String>> {
    let batch = consumer.next_batch(max, timeout).await.expect("a batch")?;
    let bodies = batch.iter().map(|it| String::from_utf8_lossy(&it.to_bytes()).into_owned()).collect();
    assert_eq!(batch.len(), batch.iter().count());
    batch.ack()?;
    Ok(bodies)
}

fn numbers(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

async fn f33_receiving_ends_when_its_time_is_over_and_loses_nothing(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    let mut returns = channel.returns();
    assert!(consumer.recv_timeout(SHORT).await.is_err());
    assert!(consumer.recv_timeout(Duration::ZERO).await.is_err());
    assert!(returns.recv_timeout(Duration::ZERO).await.is_err());
    for number in 0..20 {
        channel.publish("", &queue, number.to_string()).await?;
        // However short the time, it only ends the wait.
        let delivery = loop {
            if let Ok(next) = consumer.recv_timeout(Duration::from_micros(200)).await {
                break next.expect("a delivery")?;
            }
        };
        assert_eq!(delivery.body(), number.to_string().as_str());
        delivery.ack()?;
    }
    consumer.cancel().await?;
    assert!(consumer.recv_timeout(LONG).await?.is_none());
    channel.close().await?;
    assert!(returns.recv_timeout(LONG).await?.is_none());
    Ok(connection.close().await?)
}

async fn f42_a_batch_ends_with_its_number_or_with_its_time(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 24).await?;
    let mut consumer = channel.consume(&queue).await?;
    assert_eq!(bodies(&mut consumer, 10, LONG).await?, numbers(0..10));
    assert_eq!(bodies(&mut consumer, 10, LONG).await?, numbers(10..20));
    assert_eq!(bodies(&mut consumer, 10, SHORT).await?, numbers(20..25));
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    // One is enough where no time is given, and none is never enough.
    channel.publish("", &queue, "last").await?;
    assert_eq!(bodies(&mut consumer, 10, Duration::ZERO).await?, ["last"]);
    Ok(connection.close().await?)
}

async fn f42_a_batch_is_acked_together_and_nothing_else_with_it(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 9).await?;
    let held = channel.get(&queue).await?.expect("a message");
    let mut consumer = channel.consume(&queue).await?;
    assert_eq!(bodies(&mut consumer, 9, LONG).await?, numbers(1..10));
    await_queue(context.node(), &queue, "all but one to be acked", |queue| queue.messages == 1);
    held.ack()?;
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}

async fn f42_a_batch_is_put_back_together_and_comes_again_in_its_order(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 9).await?;
    let mut consumer = channel.consume(&queue).await?;
    consumer.next_batch(10, LONG).await.expect("a batch")?.nack(true)?;
    assert_eq!(bodies(&mut consumer, 1, LONG).await?, ["0"]);
    // Unsettled and dropped, it goes back too.
    drop(consumer.next_batch(9, LONG).await.expect("a batch")?);
    let again = consumer.next_batch(9, LONG).await.expect("a batch")?;
    assert!(again.iter().all(|it| it.redelivered()));
    again.nack(false)?;
    await_queue(context.node(), &queue, "all to be dropped", |queue| queue.messages == 0);
    Ok(connection.close().await?)
}

async fn f42_a_batch_can_be_taken_apart(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 9).await?;
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(10)).await?;
    let batch = consumer.next_batch(10, LONG).await.expect("a batch")?;
    consumer.cancel().await?;
    for (number, delivery) in (0..).zip(batch) {
        assert_eq!(delivery.body(), number.to_string().as_str());
        match number % 3 {
            0 => delivery.ack()?,
            1 => delivery.nack(false)?,
            _ => drop(delivery),
        }
    }
    for number in [2, 5, 8] {
        await_queue(context.node(), &queue, "three back", |queue| queue.ready + queue.unacknowledged <= 3);
        let got = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
        assert_eq!(got.body(), number.to_string().as_str());
    }
    Ok(connection.close().await?)
}

async fn f42_a_batch_is_not_larger_than_the_prefetch(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 9).await?;
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(4)).await?;
    assert_eq!(bodies(&mut consumer, 100, LONG).await?, numbers(0..4));
    assert_eq!(bodies(&mut consumer, 100, LONG).await?, numbers(4..8));
    drop(consumer);
    // Without acks nothing bounds it but the number.
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(1).no_ack()).await?;
    assert_eq!(bodies(&mut consumer, 2, LONG).await?, numbers(8..10));
    Ok(connection.close().await?)
}

async fn f42_what_ends_a_consumer_comes_after_its_last_batch(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 4).await?;
    let mut consumer = channel.consume(Consume::new(&queue).no_ack()).await?;
    await_queue(context.node(), &queue, "all to be sent", |queue| queue.messages == 0);
    channel.queue_delete(&queue).await?;
    assert_eq!(bodies(&mut consumer, 100, LONG).await?, numbers(0..5));
    assert!(consumer.next_batch(100, LONG).await.expect("the reason").is_err());
    assert!(consumer.next_batch(100, LONG).await.is_none());
    Ok(connection.close().await?)
}
