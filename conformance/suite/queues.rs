//! Queues: how they can be declared, emptied and deleted, and who may not.

use std::time::Duration;

use conformance::{Context, cases, wait};

use crate::facade::{Consume, Exchange, Get, Message, Origin, Overflow, Queue, QueueDelete, QueuePurge};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, open};

cases! {
    a9_queues_are_durable_or_not_and_auto_deleted_or_not,
    a9_an_exclusive_queue_goes_with_its_connection,
    a9_an_auto_deleted_queue_goes_with_its_last_consumer,
    a9_the_broker_makes_up_names,
    a9_f23_messages_of_a_queue_with_a_ttl_expire,
    a9_f23_a_queue_with_priorities_gives_the_higher_ones_first,
    a9_f23_arguments_reach_the_broker,
    a9_purge_says_how_many_messages_went,
    a9_delete_says_how_many_messages_went_and_may_be_repeated,
    a9_a_queue_is_not_deleted_if_it_has_consumers_and_has_to_be_unused,
    a9_a_queue_is_not_deleted_if_it_has_messages_and_has_to_be_empty,
    a9_a_missing_queue_is_404,
    a9_purging_and_deleting_without_waiting_works,
    c6_a_queue_redeclared_otherwise_is_406,
    c6_another_connections_exclusive_queue_is_405,
    c6_a_queue_with_an_exclusive_consumer_is_403,
    c9_a_rejected_message_is_dead_lettered_and_says_so,
    f23_overflowing_messages_are_dropped_from_the_head_or_refused,
}

async fn a9_queues_are_durable_or_not_and_auto_deleted_or_not(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    for durable in [true, false] {
        for auto_delete in [true, false] {
            let name = context.name(&format!("{durable}_{auto_delete}"));
            let mut queue = Queue::new(&name).durable(durable);
            if auto_delete {
                queue = queue.auto_delete();
            }
            let declared = channel.queue_declare(queue.clone()).await?;
            assert_eq!((&declared.name, declared.message_count, declared.consumer_count), (&name, 0, 0));
            let seen = context.node().queue(&name)?.expect("the queue");
            assert_eq!((seen.durable, seen.auto_delete, seen.exclusive), (durable, auto_delete, false));
            // The same again is fine, and tells what is in it.
            channel.confirm_select().await?;
            channel.send("", &name, "body").await?.await?;
            assert_eq!(channel.queue_declare(queue).await?.message_count, 1);
            assert_eq!(channel.queue_declare(Queue::new(&name).passive()).await?.message_count, 1);
            assert_eq!(channel.queue_delete(&name).await?, 1);
        }
    }
    Ok(connection.close().await?)
}

async fn a9_an_exclusive_queue_goes_with_its_connection(context: Context) -> Result {
    let connection = open(&context).await?;
    let name = context.name("queue");
    connection.channel().await?.queue_declare(Queue::exclusive(&name)).await?;
    let seen = context.node().queue(&name)?.expect("the queue");
    assert_eq!((seen.durable, seen.auto_delete, seen.exclusive), (false, false, true));
    // The channel that declared it has gone, the connection has not.
    connection.channel().await?.queue_declare(Queue::exclusive(&name).passive()).await?;
    connection.close().await?;
    Ok(wait::until_true(SOON, "the queue to go", || context.node().queue(&name).is_ok_and(|queue| queue.is_none()))?)
}

async fn a9_an_auto_deleted_queue_goes_with_its_last_consumer(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let name = context.name("queue");
    channel.queue_declare(Queue::new(&name).auto_delete()).await?;
    let (one, two) = (channel.consume(&name).await?, channel.consume(&name).await?);
    one.cancel().await?;
    assert_eq!(channel.queue_declare(Queue::new(&name).passive()).await?.consumer_count, 1);
    two.cancel().await?;
    Ok(wait::until_true(SOON, "the queue to go", || context.node().queue(&name).is_ok_and(|queue| queue.is_none()))?)
}

async fn a9_the_broker_makes_up_names(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let one = channel.queue_declare(Queue::server_named()).await?.name;
    let two = channel.queue_declare(Queue::server_named()).await?.name;
    assert!(one.starts_with("amq.gen-") && two.starts_with("amq.gen-"), "{one} {two}");
    assert_ne!(one, two);
    // The empty name is the last one declared on the channel.
    channel.confirm_select().await?;
    channel.send("", &two, "body").await?.await?;
    assert_eq!(channel.queue_purge("").await?, 1);
    let other = channel.queue_declare(Queue::new("").auto_delete()).await?.name;
    assert!(!context.node().queue(&other)?.expect("the queue").exclusive);
    channel.queue_delete(&other).await?;
    Ok(connection.close().await?)
}

async fn a9_f23_messages_of_a_queue_with_a_ttl_expire(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let (queue, dead) = (context.name("queue"), context.name("dead"));
    channel.queue_declare(Queue::exclusive(&dead)).await?;
    let short = Queue::exclusive(&queue).ttl(Duration::from_millis(1)).dead_letter_exchange("");
    channel.queue_declare(short.dead_letter_routing_key(&dead)).await?;
    channel.publish("", &queue, "by the queue").await?;
    await_queue(context.node(), &dead, "an expired message", |queue| queue.ready == 1);
    // And by the message's own.
    channel
        .queue_declare(Queue::exclusive(context.name("slow")).dead_letter_exchange("").dead_letter_routing_key(&dead))
        .await?;
    channel.publish("", context.name("slow"), Message::new("by itself").ttl(Duration::from_millis(1))).await?;
    await_queue(context.node(), &dead, "an expired message", |queue| queue.ready == 2);
    for body in ["by the queue", "by itself"] {
        let delivery = channel.get(&dead).await?.expect("a message");
        assert_eq!(delivery.body(), body);
        delivery.ack()?;
    }
    // A queue that nobody uses expires as a whole.
    channel.queue_declare(Queue::new(context.name("brief")).expires(Duration::from_millis(1))).await?;
    wait::until_true(SOON, "the queue to go", || {
        context.node().queue(&context.name("brief")).is_ok_and(|queue| queue.is_none())
    })?;
    Ok(connection.close().await?)
}

async fn a9_f23_a_queue_with_priorities_gives_the_higher_ones_first(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named().max_priority(5)).await?.name;
    channel.confirm_select().await?;
    for (body, priority) in [("none", None), ("low", Some(1)), ("high", Some(5)), ("higher than all", Some(200))] {
        let message = Message::new(body);
        let message = if let Some(priority) = priority { message.priority(priority) } else { message };
        channel.send("", &queue, message).await?.await?;
    }
    for body in ["high", "higher than all", "low", "none"] {
        assert_eq!(channel.get(Get::new(&queue).no_ack()).await?.expect("a message").body(), body);
    }
    Ok(connection.close().await?)
}

async fn a9_f23_arguments_reach_the_broker(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let name = context.name("queue");
    let queue = Queue::classic(&name)
        .ttl(Duration::from_secs(60))
        .expires(Duration::from_secs(3600))
        .max_length(1000)
        .max_length_bytes(5_000_000_000)
        .overflow(Overflow::RejectPublishDlx)
        .dead_letter_exchange("dead")
        .dead_letter_routing_key("key")
        .single_active_consumer()
        .argument("x-note", "noted");
    channel.queue_declare(queue).await?;
    let arguments = context.node().queue(&name)?.expect("the queue").arguments;
    let expected = [
        ("x-queue-type", "classic"),
        ("x-message-ttl", "60000"),
        ("x-expires", "3600000"),
        ("x-max-length", "1000"),
        ("x-max-length-bytes", "5000000000"),
        ("x-overflow", "reject-publish-dlx"),
        ("x-dead-letter-exchange", "dead"),
        ("x-dead-letter-routing-key", "key"),
        ("x-single-active-consumer", "true"),
        ("x-note", "noted"),
    ];
    for (key, value) in expected {
        assert_eq!(arguments.get(key).map(String::as_str), Some(value), "{key}");
    }
    channel.queue_delete(&name).await?;

    let name = context.name("quorum");
    channel.queue_declare(Queue::quorum(&name).delivery_limit(5)).await?;
    let arguments = context.node().queue(&name)?.expect("the queue").arguments;
    assert_eq!((arguments["x-queue-type"].as_str(), arguments["x-delivery-limit"].as_str()), ("quorum", "5"));
    channel.queue_delete(&name).await?;
    Ok(connection.close().await?)
}

async fn a9_purge_says_how_many_messages_went(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    assert_eq!(channel.queue_purge(&queue).await?, 0);
    channel.confirm_select().await?;
    for number in 0..7 {
        channel.send("", &queue, number.to_string()).await?.await?;
    }
    let held = channel.get(&queue).await?.expect("a message");
    assert_eq!(channel.queue_purge(&queue).await?, 6);
    // What was delivered and is not acked stays.
    held.nack(true)?;
    assert_eq!(channel.get(Get::new(&queue).no_ack()).await?.expect("a message").body(), "0");
    assert!(channel.get(&queue).await?.is_none());
    Ok(connection.close().await?)
}

async fn a9_delete_says_how_many_messages_went_and_may_be_repeated(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    channel.confirm_select().await?;
    for number in 0..7 {
        channel.send("", &queue, number.to_string()).await?.await?;
    }
    assert_eq!(channel.queue_delete(&queue).await?, 7);
    assert_eq!(context.node().queue(&queue)?, None);
    // RabbitMQ takes what is not there for deleted.
    assert_eq!(channel.queue_delete(&queue).await?, 0);
    assert_eq!(channel.queue_delete(QueueDelete::new(&queue).if_unused().if_empty()).await?, 0);
    Ok(connection.close().await?)
}

async fn a9_a_queue_is_not_deleted_if_it_has_consumers_and_has_to_be_unused(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    let consumer = channel.consume(&queue).await?;
    let unless_used = || QueueDelete::new(&queue).if_unused();
    assert_channel_closed(&connection.channel().await?.queue_delete(unless_used()).await.unwrap_err(), 406);
    assert!(context.node().queue(&queue)?.is_some());
    consumer.cancel().await?;
    channel.queue_delete(unless_used()).await?;
    assert_eq!(context.node().queue(&queue)?, None);
    Ok(connection.close().await?)
}

async fn a9_a_queue_is_not_deleted_if_it_has_messages_and_has_to_be_empty(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    channel.confirm_select().await?;
    channel.send("", &queue, "precious").await?.await?;
    let if_empty = || QueueDelete::new(&queue).if_empty();
    assert_channel_closed(&connection.channel().await?.queue_delete(if_empty()).await.unwrap_err(), 406);
    channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
    assert_eq!(channel.queue_delete(if_empty()).await?, 0);
    assert_eq!(context.node().queue(&queue)?, None);
    Ok(connection.close().await?)
}

async fn a9_a_missing_queue_is_404(context: Context) -> Result {
    let connection = open(&context).await?;
    let missing = context.name("missing");
    let errors = [
        connection.channel().await?.queue_declare(Queue::new(&missing).passive()).await.unwrap_err(),
        connection.channel().await?.queue_purge(&missing).await.unwrap_err(),
        connection.channel().await?.consume(&missing).await.unwrap_err(),
        connection.channel().await?.get(&missing).await.unwrap_err(),
        connection.channel().await?.queue_bind(&missing, "amq.direct", "key").await.unwrap_err(),
    ];
    for error in errors {
        assert_channel_closed(&error, 404);
        assert!(error.to_string().contains(&missing), "{error}");
        assert_eq!(error.origin(), Origin::User);
        assert!(!error.is_retryable());
    }
    Ok(connection.close().await?)
}

async fn a9_purging_and_deleting_without_waiting_works(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    channel.confirm_select().await?;
    channel.send("", &queue, "body").await?.await?;
    assert_eq!(channel.queue_purge(QueuePurge::new(&queue).nowait()).await?, 0);
    assert!(channel.get(&queue).await?.is_none());
    assert_eq!(channel.queue_delete(QueueDelete::new(&queue).nowait()).await?, 0);
    assert_channel_closed(&channel.get(&queue).await.unwrap_err(), 404);
    Ok(connection.close().await?)
}

async fn c6_a_queue_redeclared_otherwise_is_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let name = context.name("queue");
    let channel = connection.channel().await?;
    channel.queue_declare(Queue::new(&name).max_length(10)).await?;
    for other in [
        Queue::new(&name),
        Queue::new(&name).max_length(11),
        Queue::new(&name).max_length(10).durable(false),
        Queue::new(&name).max_length(10).auto_delete(),
        Queue::new(&name).max_length(10).ttl(Duration::from_secs(1)),
        Queue::quorum(&name).max_length(10),
    ] {
        let error = connection.channel().await?.queue_declare(other).await.unwrap_err();
        assert_channel_closed(&error, 406);
        assert!(error.to_string().contains("queue.declare") && error.to_string().contains(&name), "{error}");
        assert!(!error.is_retryable());
    }
    channel.queue_delete(&name).await?;
    Ok(connection.close().await?)
}

async fn c6_another_connections_exclusive_queue_is_405(context: Context) -> Result {
    let (owner, other) = (open(&context).await?, open(&context).await?);
    let queue = owner.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let errors = [
        other.channel().await?.queue_declare(Queue::exclusive(&queue)).await.unwrap_err(),
        other.channel().await?.queue_declare(Queue::new(&queue).passive()).await.unwrap_err(),
        other.channel().await?.consume(&queue).await.unwrap_err(),
        other.channel().await?.get(&queue).await.unwrap_err(),
        other.channel().await?.queue_delete(&queue).await.unwrap_err(),
    ];
    for error in errors {
        assert_channel_closed(&error, 405);
    }
    owner.close().await?;
    Ok(other.close().await?)
}

async fn c6_a_queue_with_an_exclusive_consumer_is_403(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let consumer = channel.consume(Consume::new(&queue).exclusive()).await?;
    for consume in [Consume::new(&queue), Consume::new(&queue).exclusive()] {
        let error = connection.channel().await?.consume(consume).await.unwrap_err();
        assert_channel_closed(&error, 403);
    }
    consumer.cancel().await?;
    // Nor is there an exclusive consumer where there is another one.
    let shared = channel.consume(&queue).await?;
    let error = connection.channel().await?.consume(Consume::new(&queue).exclusive()).await.unwrap_err();
    assert_channel_closed(&error, 403);
    drop(shared);
    Ok(connection.close().await?)
}

async fn c9_a_rejected_message_is_dead_lettered_and_says_so(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let (queue, dead, exchange) = (context.name("queue"), context.name("dead"), context.name("exchange"));
    channel.exchange_declare(Exchange::fanout(&exchange).auto_delete()).await?;
    channel.queue_declare(Queue::exclusive(&dead)).await?;
    channel.queue_bind(&dead, &exchange, "").await?;
    channel.queue_declare(Queue::exclusive(&queue).dead_letter_exchange(&exchange)).await?;
    let mut consumer = channel.consume(&dead).await?;
    channel.confirm_select().await?;
    channel.send("", &queue, Message::new("poison").message_id("m-1")).await?.await?;
    channel.get(&queue).await?.expect("a message").reject(false)?;

    let delivery = consumer.next().await.expect("a delivery")?;
    assert_eq!(delivery.body(), "poison");
    assert_eq!((delivery.exchange(), delivery.routing_key()), (&*exchange, &*queue));
    let headers = delivery.properties()?.headers.expect("headers");
    let deaths = headers.get("x-death").and_then(|deaths| deaths.as_array()).expect("x-death");
    let death = deaths.iter().next().and_then(|death| death.as_table()).expect("a death");
    let text = |key: &str| death.get(key).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(text("reason").as_deref(), Some("rejected"));
    assert_eq!(text("queue"), Some(queue));
    assert_eq!(death.get("count").and_then(|count| count.as_i64()), Some(1));
    assert!(death.get("time").and_then(|time| time.as_timestamp()).is_some());
    delivery.ack()?;
    Ok(connection.close().await?)
}

async fn f23_overflowing_messages_are_dropped_from_the_head_or_refused(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    for (overflow, kept) in [(Overflow::DropHead, ["2", "3"]), (Overflow::RejectPublish, ["1", "2"])] {
        let queue = channel.queue_declare(Queue::server_named().max_length(2).overflow(overflow)).await?.name;
        let publisher = connection.publisher().await?;
        let mut results = Vec::new();
        for body in ["1", "2", "3"] {
            results.push(publisher.publish("", &queue, body).await.is_ok());
        }
        assert_eq!(results, [true, true, overflow == Overflow::DropHead]);
        for body in kept {
            assert_eq!(channel.get(Get::new(&queue).no_ack()).await?.expect("a message").body(), body);
        }
        assert!(channel.get(&queue).await?.is_none());
    }
    Ok(connection.close().await?)
}
