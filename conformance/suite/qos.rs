//! How many deliveries there may be ahead of their acks.

use conformance::{Context, cases};

use crate::facade::{Channel, Connection, Consume, Qos, Queue, connect};
use crate::suite::support::{Result, await_queue, config, open, version};

cases! {
    a3_prefetch_bounds_what_a_consumer_gets_ahead_of_its_acks,
    a3_qos_is_for_the_consumers_that_are_still_to_come,
    a3_f38_a_consumers_own_prefetch_goes_before_the_channels,
    a3_without_a_word_the_prefetch_is_the_configurations,
    a3_f38_a_global_prefetch_is_for_the_whole_channel,
    a3_a_consumers_own_prefetch_does_not_lift_the_global_one,
}

/// A channel, and queues with twenty messages each.
async fn filled(context: &Context, connection: &Connection, queues: usize) -> Result<(Channel, Vec<String>)> {
    let channel = connection.channel().await?;
    let publisher = connection.publisher().await?;
    let mut names = Vec::new();
    for number in 0..queues {
        let name = channel.queue_declare(Queue::exclusive(context.name(&format!("queue_{number}")))).await?.name;
        for number in 0..20 {
            publisher.publish("", &name, number.to_string()).await?;
        }
        names.push(name);
    }
    Ok((channel, names))
}

/// Waits until so many messages of a queue are out, and no more: those before the limit come before it is reached, so
/// the rest would have come with them.
#[track_caller]
fn await_out(context: &Context, queue: &str, out: u64) {
    let what = format!("{out} messages out");
    await_queue(context.node(), queue, &what, |queue| queue.unacknowledged >= out);
    let seen = context.node().queue(queue).expect("the node answers").expect("the queue");
    assert_eq!(seen.unacknowledged, out);
}

async fn a3_prefetch_bounds_what_a_consumer_gets_ahead_of_its_acks(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queues) = filled(&context, &connection, 1).await?;
    let mut consumer = channel.consume(Consume::new(&queues[0]).prefetch(5)).await?;
    await_out(&context, &queues[0], 5);
    for left in (0..20_u64).rev() {
        consumer.next().await.expect("a delivery")?.ack()?;
        await_queue(context.node(), &queues[0], "the ack", |queue| queue.messages == left);
        await_out(&context, &queues[0], left.min(5));
    }
    Ok(connection.close().await?)
}

async fn a3_qos_is_for_the_consumers_that_are_still_to_come(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queues) = filled(&context, &connection, 3).await?;
    channel.qos(3).await?;
    let _three = channel.consume(&queues[0]).await?;
    channel.qos(Qos::new(7)).await?;
    let _seven = channel.consume(&queues[1]).await?;
    channel.qos(0).await?;
    let _all = channel.consume(&queues[2]).await?;
    for (queue, out) in queues.iter().zip([3, 7, 20]) {
        await_out(&context, queue, out);
    }
    Ok(connection.close().await?)
}

async fn a3_f38_a_consumers_own_prefetch_goes_before_the_channels(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queues) = filled(&context, &connection, 3).await?;
    channel.qos(3).await?;
    let _own = channel.consume(Consume::new(&queues[0]).prefetch(9)).await?;
    // And does not last.
    let _channels = channel.consume(&queues[1]).await?;
    let _unbounded = channel.consume(Consume::new(&queues[2]).prefetch(0)).await?;
    for (queue, out) in queues.iter().zip([9, 3, 20]) {
        await_out(&context, queue, out);
    }
    Ok(connection.close().await?)
}

async fn a3_without_a_word_the_prefetch_is_the_configurations(context: Context) -> Result {
    let connection = connect(config(&context).prefetch(4)).await?;
    let (channel, queues) = filled(&context, &connection, 2).await?;
    let _first = channel.consume(&queues[0]).await?;
    let _second = channel.consume(&queues[1]).await?;
    for queue in &queues {
        await_out(&context, queue, 4);
    }
    Ok(connection.close().await?)
}

async fn a3_f38_a_global_prefetch_is_for_the_whole_channel(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queues) = filled(&context, &connection, 2).await?;
    channel.qos(Qos::new(6).global()).await?;
    let _one = channel.consume(&queues[0]).await?;
    let _other = channel.consume(&queues[1]).await?;
    await_out(&context, &queues[0], 6);
    await_out(&context, &queues[1], if is_shared(&context) { 0 } else { 6 });
    Ok(connection.close().await?)
}

/// Whether the consumers of a channel share a global prefetch. RabbitMQ 4.3 takes it for that of each.
fn is_shared(context: &Context) -> bool {
    version(context.node()) < (4, 3)
}

async fn a3_a_consumers_own_prefetch_does_not_lift_the_global_one(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, queues) = filled(&context, &connection, 2).await?;
    channel.qos(Qos::new(6).global()).await?;
    let _one = channel.consume(Consume::new(&queues[0]).prefetch(4)).await?;
    let _other = channel.consume(Consume::new(&queues[1]).prefetch(4)).await?;
    let out = if is_shared(&context) { [4, 2] } else { [6, 6] };
    for (queue, out) in queues.iter().zip(out) {
        await_out(&context, queue, out);
    }
    Ok(connection.close().await?)
}
