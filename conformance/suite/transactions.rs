//! Transactions: what a channel publishes and settles counts when it is committed, or not at all.

use conformance::{Context, cases};

use crate::facade::Queue;
use crate::suite::support::{Result, assert_channel_closed, await_queue, open};

cases! {
    f32_what_is_published_counts_when_it_is_committed,
    f32_what_is_acked_counts_when_it_is_committed,
    f32_what_is_rolled_back_never_was,
    c4_f32_a_publish_to_a_missing_exchange_is_404_at_the_commit,
    f32_a_commit_outside_of_a_transaction_is_406,
}

async fn f32_what_is_published_counts_when_it_is_committed(context: Context) -> Result {
    let connection = open(&context).await?;
    let (channel, other) = (connection.channel().await?, connection.channel().await?);
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    channel.tx_select().await?;
    for body in ["1", "2", "3"] {
        channel.publish("", &queue, body).await?;
    }
    // Behind them on the same channel, so they have all been received.
    assert_eq!(channel.queue_declare(Queue::exclusive(&queue).passive()).await?.message_count, 0);
    assert!(other.get(&queue).await?.is_none());
    channel.tx_commit().await?;
    for body in ["1", "2", "3"] {
        let delivery = other.get(&queue).await?.expect("a message");
        assert_eq!(delivery.body(), body);
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn f32_what_is_acked_counts_when_it_is_committed(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    for body in ["1", "2"] {
        channel.publish("", &queue, body).await?;
    }
    channel.tx_select().await?;
    channel.get(&queue).await?.expect("a message").ack()?;
    channel.tx_commit().await?;
    channel.get(&queue).await?.expect("a message").ack()?;
    // The second ack was not committed: its message comes back.
    channel.close().await?;
    await_queue(context.node(), &queue, "one message", |queue| (queue.ready, queue.messages) == (1, 1));
    let channel = connection.channel().await?;
    assert_eq!(channel.get(&queue).await?.expect("a message").body(), "2");
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn f32_what_is_rolled_back_never_was(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    channel.tx_select().await?;
    channel.publish("", &queue, "undone").await?;
    channel.tx_rollback().await?;
    channel.publish("", &queue, "done").await?;
    channel.tx_commit().await?;
    let delivery = channel.get(&queue).await?.expect("a message");
    assert_eq!((delivery.body().to_vec(), delivery.message_count()), (b"done".to_vec(), Some(0)));
    // An ack that is rolled back can be given again: the delivery is still this channel's.
    let tag = delivery.delivery_tag();
    channel.ack(tag, false)?;
    channel.tx_rollback().await?;
    channel.ack(tag.value(), false)?;
    channel.tx_commit().await?;
    assert!(channel.get(&queue).await?.is_none());
    Ok(connection.close().await?)
}

async fn c4_f32_a_publish_to_a_missing_exchange_is_404_at_the_commit(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    channel.tx_select().await?;
    channel.publish(context.name("missing"), "key", "lost").await?;
    assert_channel_closed(&channel.tx_commit().await.unwrap_err(), 404);
    assert!(!channel.is_open());
    Ok(connection.close().await?)
}

async fn f32_a_commit_outside_of_a_transaction_is_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let (one, two) = (connection.channel().await?, connection.channel().await?);
    assert_channel_closed(&one.tx_commit().await.unwrap_err(), 406);
    assert_channel_closed(&two.tx_rollback().await.unwrap_err(), 406);
    Ok(connection.close().await?)
}
