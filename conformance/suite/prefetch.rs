//! Another prefetch for a consumer that is running.

use conformance::{Context, cases};

use crate::facade::{Channel, Connection, Consume, Consumer, Publisher, Qos, Queue, StreamOffset, spawn};
use crate::suite::support::{Result, await_queue, open, version};

cases! {
    c12_the_prefetch_of_a_running_consumer_goes_from_1_to_2,
    c12_the_prefetch_of_a_running_consumer_goes_from_1_to_2_by_global_qos_where_the_broker_honours_it,
    c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_classic_queue within 120,
    c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_quorum_queue within 120,
    c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_stream within 120,
    c12_changing_the_prefetch_loses_and_doubles_nothing_at_an_auto_deleted_queue within 120,
    c12_changing_the_prefetch_loses_and_doubles_nothing_with_an_exclusive_consumer within 120,
    c12_an_auto_deleted_queue_outlives_a_change_of_prefetch,
}

async fn filled(connection: &Connection, queue: Queue, messages: u32) -> Result<(Channel, String)> {
    let channel = connection.channel().await?;
    let name = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..messages {
        publisher.publish("", &name, number.to_string()).await?;
    }
    Ok((channel, name))
}

async fn expect(consumer: &mut Consumer, number: u32) -> Result {
    let delivery = consumer.next().await.expect("a delivery")?;
    assert_eq!(delivery.body(), number.to_string().as_str());
    Ok(delivery.ack()?)
}

async fn c12_the_prefetch_of_a_running_consumer_goes_from_1_to_2(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = filled(&connection, Queue::exclusive(context.name("queue")), 20).await?;
    let out = |count| await_queue(context.node(), &queue, "so many out", |queue| queue.unacknowledged == count);
    let mut consumer = channel.consume(Consume::new(&queue).tag("worker").prefetch(1)).await?;
    assert_eq!(consumer.tag(), "worker");
    out(1);
    consumer.set_prefetch(2).await?;
    // The one that was out does not count.
    out(3);
    let seen = context.node().queue(&queue)?.expect("the queue");
    assert_eq!((seen.unacknowledged, seen.consumers), (3, 1));
    // It does not count any more.
    expect(&mut consumer, 0).await?;
    await_queue(context.node(), &queue, "one less", |queue| (queue.messages, queue.unacknowledged) == (19, 2));
    for number in 1..20 {
        expect(&mut consumer, number).await?;
    }
    await_queue(context.node(), &queue, "all to be acked", |queue| queue.messages == 0);
    // It has another tag now, and is known by its first one too.
    assert_ne!(consumer.tag(), "worker");
    channel.cancel("worker").await?;
    assert!(consumer.next().await.is_none());
    await_queue(context.node(), &queue, "no consumer", |queue| queue.consumers == 0);
    Ok(connection.close().await?)
}

async fn c12_the_prefetch_of_a_running_consumer_goes_from_1_to_2_by_global_qos_where_the_broker_honours_it(
    context: Context,
) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = filled(&connection, Queue::exclusive(context.name("queue")), 20).await?;
    let out = |count| await_queue(context.node(), &queue, "so many out", |queue| queue.unacknowledged == count);
    channel.qos(Qos::new(1).global()).await?;
    let mut consumer = channel.consume(&queue).await?;
    out(1);
    channel.qos(Qos::new(2).global()).await?;
    // RabbitMQ 4.3 answers, and leaves the consumer as it is.
    let honoured = version(context.node()) < (4, 3);
    if honoured {
        out(2);
    } else {
        channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
        out(1);
        consumer.set_prefetch(2).await?;
        out(3);
    }
    for number in 0..20 {
        expect(&mut consumer, number).await?;
    }
    Ok(connection.close().await?)
}

const MESSAGES: u32 = 4000;

/// While messages flow the prefetch changes again and again; each message comes once, and in its order.
async fn stress(context: &Context, queue: Queue, consume: impl Fn(&str) -> Consume) -> Result {
    let seen = consume_all(context, queue, consume).await?;
    assert!(seen.into_iter().eq(0..MESSAGES), "out of order");
    Ok(())
}

async fn consume_all(context: &Context, queue: Queue, consume: impl Fn(&str) -> Consume) -> Result<Vec<u32>> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    let publishing = spawn(publish(publisher, queue.clone(), MESSAGES));
    let mut consumer = channel.consume(consume(&queue).prefetch(1)).await?;
    let mut seen = Vec::new();
    for number in 0..MESSAGES {
        if number % 37 == 0 {
            consumer.set_prefetch(u16::try_from(number % 11 + 1)?).await?;
        }
        if number % 501 == 0 {
            // Two at once. (It takes the consumer for itself, so that threads cannot do that: there they follow each other.)
            let _first = consumer.set_prefetch(30);
            consumer.set_prefetch(50).await?;
        }
        let delivery = consumer.next().await.expect("a delivery")?;
        seen.push(str::from_utf8(&delivery.to_bytes())?.parse()?);
        delivery.ack()?;
    }
    publishing.await.expect("publishing works");
    consumer.cancel().await?;
    assert!(consumer.next().await.is_none(), "nothing comes twice");
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(seen)
}

async fn publish(publisher: Publisher, queue: String, messages: u32) -> Result {
    for number in 0..messages {
        drop(publisher.send("", &queue, number.to_string()).await?);
    }
    Ok(())
}

async fn c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_classic_queue(context: Context) -> Result {
    stress(&context, Queue::classic(context.name("queue")), |queue| Consume::new(queue)).await
}

async fn c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_quorum_queue(context: Context) -> Result {
    // What is under way when its subscription ends goes back, and comes later.
    let mut seen = consume_all(&context, Queue::quorum(context.name("queue")), |queue| Consume::new(queue)).await?;
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..MESSAGES), "something is lost or came twice");
    Ok(())
}

async fn c12_changing_the_prefetch_loses_and_doubles_nothing_at_a_stream(context: Context) -> Result {
    let first = |queue: &str| Consume::new(queue).stream_offset(StreamOffset::First);
    stress(&context, Queue::stream(context.name("queue")), first).await
}

async fn c12_changing_the_prefetch_loses_and_doubles_nothing_at_an_auto_deleted_queue(context: Context) -> Result {
    stress(&context, Queue::classic(context.name("queue")).auto_delete(), |queue| Consume::new(queue)).await
}

async fn c12_changing_the_prefetch_loses_and_doubles_nothing_with_an_exclusive_consumer(context: Context) -> Result {
    stress(&context, Queue::classic(context.name("queue")), |queue| Consume::new(queue).exclusive()).await
}

async fn c12_an_auto_deleted_queue_outlives_a_change_of_prefetch(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queue) = filled(&connection, Queue::exclusive(context.name("queue")).auto_delete(), 5).await?;
    let mut consumer = channel.consume(Consume::new(&queue).tag("worker").prefetch(1)).await?;
    consumer.set_prefetch(2).await?;
    for number in 0..5 {
        expect(&mut consumer, number).await?;
    }
    // It has another tag now, and is known by its first one too.
    assert_ne!(consumer.tag(), "worker");
    channel.cancel("worker").await?;
    assert!(consumer.next().await.is_none());
    Ok(connection.close().await?)
}
