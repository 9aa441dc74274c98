//! Dead letters of quorum queues, which may be sent at least once.

use conformance::{Context, cases};

use crate::facade::{DeadLetterStrategy, Get, Message, Overflow, Queue};
use crate::suite::support::{Result, assert_channel_closed, open};

cases! {
    f23_a_quorum_queue_dead_letters_at_least_once,
    f23_a_strategy_for_dead_letters_that_there_is_not_is_406,
}

async fn f23_a_quorum_queue_dead_letters_at_least_once(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let dead = channel.queue_declare(Queue::exclusive(context.name("dead"))).await?.name;
    let queue = Queue::quorum(context.name("queue")).dead_letter_exchange("").dead_letter_routing_key(&dead);
    // Without this it would fall back to at most once.
    let queue = queue.overflow(Overflow::RejectPublish).dead_letter_strategy(DeadLetterStrategy::AtLeastOnce);
    let queue = channel.queue_declare(queue).await?.name;
    let mut consumer = channel.consume(&dead).await?;
    let publisher = connection.publisher().await?;
    for (body, reason) in [("rejected", "rejected"), ("late", "expired")] {
        let message = Message::new(body);
        if reason == "expired" {
            publisher.publish("", &queue, message.expiration("0")).await?;
        } else {
            publisher.publish("", &queue, message).await?;
            channel.get(&queue).await?.expect("a message").reject(false)?;
        }
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body(), body);
        let headers = delivery.properties()?.headers.expect("headers");
        assert_eq!(headers.get("x-first-death-queue").and_then(|value| value.as_str()), Some(&*queue));
        assert_eq!(headers.get("x-first-death-reason").and_then(|value| value.as_str()), Some(reason));
        delivery.ack()?;
    }
    assert!(channel.get(Get::new(&queue)).await?.is_none());
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn f23_a_strategy_for_dead_letters_that_there_is_not_is_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let name = context.name("queue");
    for (queue, reason) in [
        (Queue::quorum(&name).argument("x-dead-letter-strategy", "thrice"), "invalid_dlx_strategy"),
        (Queue::new(&name).dead_letter_strategy(DeadLetterStrategy::AtLeastOnce), "rabbit_classic_queue"),
    ] {
        let error = connection.channel().await?.queue_declare(queue).await.unwrap_err();
        assert_channel_closed(&error, 406);
        assert!(error.to_string().contains(reason), "{error}");
    }
    Ok(connection.close().await?)
}
