//! The typed arguments of queues: brokers take them, and take them for what they are.

use std::time::Duration;

use conformance::{Context, cases};

use crate::facade::{DeadLetterStrategy, Exchange, LeaderLocator, Message, Overflow, Queue, QueueMode};
use crate::suite::support::{Result, await_queue, open};

cases! {
    f23_a_classic_queue_has_its_arguments,
    f23_a_quorum_queue_has_its_arguments,
    f23_a_stream_has_its_arguments,
    f23_what_an_exchange_cannot_route_goes_to_its_alternate,
}

async fn declares(context: &Context, queue: Queue, name: &str, expected: &[(&str, &str)]) -> Result {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    channel.queue_declare(queue.clone()).await?;
    // The same again is the same.
    channel.queue_declare(queue).await?;
    let arguments = context.node().queue(name)?.expect("the queue").arguments;
    for (key, value) in expected {
        assert_eq!(arguments.get(*key).map(String::as_str), Some(*value), "{key}");
    }
    assert_eq!(arguments.len(), expected.len());
    channel.queue_delete(name).await?;
    Ok(connection.close().await?)
}

async fn f23_a_classic_queue_has_its_arguments(context: Context) -> Result {
    let name = context.name("queue");
    let queue = Queue::classic(&name).queue_version(2).queue_mode(QueueMode::Lazy).max_priority(5);
    let expected =
        [("x-queue-type", "classic"), ("x-queue-version", "2"), ("x-queue-mode", "lazy"), ("x-max-priority", "5")];
    declares(&context, queue, &name, &expected).await
}

async fn f23_a_quorum_queue_has_its_arguments(context: Context) -> Result {
    let name = context.name("queue");
    let queue = Queue::quorum(&name)
        .delivery_limit(5)
        .initial_group_size(1)
        .target_group_size(3)
        .dead_letter_exchange("dead")
        .dead_letter_strategy(DeadLetterStrategy::AtLeastOnce)
        .overflow(Overflow::RejectPublish)
        .single_active_consumer()
        .consumer_timeout(Duration::from_secs(3600))
        .leader_locator(LeaderLocator::ClientLocal);
    let expected = [
        ("x-queue-type", "quorum"),
        ("x-delivery-limit", "5"),
        ("x-quorum-initial-group-size", "1"),
        ("x-quorum-target-group-size", "3"),
        ("x-dead-letter-exchange", "dead"),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
        ("x-single-active-consumer", "true"),
        ("x-consumer-timeout", "3600000"),
        ("x-queue-leader-locator", "client-local"),
    ];
    declares(&context, queue, &name, &expected).await
}

async fn f23_a_stream_has_its_arguments(context: Context) -> Result {
    let name = context.name("queue");
    let queue = Queue::stream(&name)
        .max_age(Duration::from_secs(86_400))
        .max_length_bytes(1 << 30)
        .stream_max_segment_size(1 << 20)
        .stream_filter_size(32)
        .initial_cluster_size(1)
        .leader_locator(LeaderLocator::Balanced);
    let expected = [
        ("x-queue-type", "stream"),
        ("x-max-age", "86400s"),
        ("x-max-length-bytes", "1073741824"),
        ("x-stream-max-segment-size-bytes", "1048576"),
        ("x-stream-filter-size-bytes", "32"),
        ("x-initial-cluster-size", "1"),
        ("x-queue-leader-locator", "balanced"),
    ];
    declares(&context, queue, &name, &expected).await
}

async fn f23_what_an_exchange_cannot_route_goes_to_its_alternate(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let (exchange, alternate) = (context.name("exchange"), context.name("alternate"));
    channel.exchange_declare(Exchange::fanout(&alternate)).await?;
    channel.exchange_declare(Exchange::direct(&exchange).alternate_exchange(&alternate)).await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    channel.queue_bind(&queue, &alternate, "").await?;
    let publisher = connection.publisher().await?;
    publisher.publish(&exchange, "nobody", Message::new("stray")).await?;
    await_queue(context.node(), &queue, "the stray message", |queue| queue.messages == 1);
    for exchange in [exchange, alternate] {
        channel.exchange_delete(exchange).await?;
    }
    Ok(connection.close().await?)
}
