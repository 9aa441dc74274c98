//! Pools of connections, also by name.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::{Context, cases, wait};

use crate::facade::{Connection, Error, ErrorKind, Pool, PoolsConfig, Queue, TimeoutReason, pool, pools, spawn};
use crate::suite::recovery::{await_connected, lose, through};
use crate::suite::support::{Result, SOON, assert_channel_closed, config, open};

cases! {
    n1_f46_a_name_is_one_pool_and_another_name_another,
    n2_f46_what_is_out_is_not_available_and_comes_back,
    n3_f46_a_pool_that_is_exhausted_fails_at_once_or_in_time_or_serves_in_order,
    n4_f46_a_connection_that_breaks_is_replaced_when_it_is_needed,
    n4_f43_f46_a_connection_that_comes_back_is_used_again_and_one_that_is_away_is_never_handed_out,
    f43_f46_what_one_user_has_declared_is_not_declared_again_under_the_next,
    n5_f46_messages_go_from_one_connection_of_a_pool_to_others,
    n12_f46_a_pool_that_is_not_configured_is_an_error_that_names_its_key,
    n15_f46_hooks_are_done_before_the_first_checkout,
    n15_f46_a_hook_that_fails_leaves_no_pools,
    f46_connections_are_made_when_they_are_needed_and_used_again,
    f46_a_pool_that_is_closed_closes_its_connections,
    c1_f46_a_checkout_that_cannot_connect_says_why_and_keeps_its_place_free,
}

fn of(context: &Context, size: usize) -> Result<Pool> {
    Ok(pool(config(context), size)?)
}

/// Waits until so many connections of this case are open at the broker.
#[track_caller]
fn await_connections(context: &Context, number: usize) {
    let mut seen = 0;
    let waited = wait::until_true(SOON, "these connections", || {
        seen = context.node().connections_named(context.case()).expect("the node answers").len();
        seen == number
    });
    assert!(waited.is_ok(), "{number} and not {seen}");
}

async fn n1_f46_a_name_is_one_pool_and_another_name_another(context: Context) -> Result {
    let settings = PoolsConfig::default().pool("publish", config(&context), 2)?.pool("listen", config(&context), 3)?;
    let pools = pools(settings)?.start().await?;
    assert_eq!(pools.names(), ["listen", "publish"]);
    let out = pools.get("publish")?.get().await?;
    assert_eq!((pools.get("publish")?.available(), pools.get("listen")?.available()), (1, 3));
    assert_eq!(pools.clone().get("publish")?.available(), 1);
    drop(out);
    assert_eq!(pools.get("publish")?.available(), 2);
    Ok(pools.close().await?)
}

async fn n2_f46_what_is_out_is_not_available_and_comes_back(context: Context) -> Result {
    let pool = of(&context, 5)?;
    assert_eq!((pool.size(), pool.available()), (5, 5));
    let one = pool.get().await?;
    assert_eq!(pool.available(), 4);
    let two = pool.get().await?;
    assert_eq!(pool.available(), 3);
    drop((one, two));
    assert_eq!(pool.available(), 5);
    Ok(pool.close().await?)
}

async fn n3_f46_a_pool_that_is_exhausted_fails_at_once_or_in_time_or_serves_in_order(context: Context) -> Result {
    let pool = of(&context, 1)?;
    let out = pool.get().await?;
    let error = pool.try_get().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PoolExhausted { size: 1 }), "{error}");
    let error = pool.get_timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Checkout, .. }), "{error}");
    let error = pool.clone().checkout_timeout(Duration::from_millis(50)).get().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");

    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..4 {
        tasks.push(spawn({
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            async move {
                let connection = pool.get().await?;
                served.lock().unwrap().push(number);
                connection.channel().await?.close().await
            }
        }));
        wait::until_true(SOON, "it waits", || pool.waiting() == number + 1)?;
    }
    drop(out);
    for task in tasks {
        task.await?;
    }
    assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!((pool.available(), pool.waiting()), (1, 0));
    Ok(pool.close().await?)
}

async fn n4_f46_a_connection_that_breaks_is_replaced_when_it_is_needed(context: Context) -> Result {
    let pool = pool(config(&context).no_recovery(), 2)?;
    let (one, two) = (pool.get().await?, pool.get().await?);
    await_connections(&context, 2);
    context.node().close_connections(context.case(), "for a test")?;
    // Whoever has one sees it.
    for connection in [&one, &two] {
        let error = connection.closed().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionClosed(_)), "{error}");
        assert!(connection.channel().await.is_err());
    }
    drop((one, two));
    assert_eq!(pool.available(), 2);
    // Nothing is replaced before it is needed.
    await_connections(&context, 0);
    let one = pool.get().await?;
    one.channel().await?.close().await?;
    await_connections(&context, 1);
    let two = pool.get().await?;
    two.channel().await?.close().await?;

    // One that breaks in the pool is never handed out.
    let watch: Connection = (*one).clone();
    drop((one, two));
    await_connections(&context, 2);
    context.node().close_connections(context.case(), "for a test")?;
    watch.closed().await.unwrap_err();
    await_connections(&context, 0);
    let (one, two) = (pool.get().await?, pool.get().await?);
    for connection in [&one, &two] {
        connection.channel().await?.close().await?;
    }
    drop((one, two));
    Ok(pool.close().await?)
}

async fn n4_f43_f46_a_connection_that_comes_back_is_used_again_and_one_that_is_away_is_never_handed_out(
    context: Context,
) -> Result {
    let proxy = context.proxy()?;
    let pool = pool(through(&context, &proxy), 1)?;
    // While it is out: its user has it back, with what was declared.
    let out = pool.get().await?;
    let channel = out.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    lose(&out, &proxy);
    assert_eq!(channel.queue_declare(Queue::new(&queue).passive()).await?.name, queue);
    drop((channel, out));
    let again = pool.get().await?;
    again.channel().await?.close().await?;
    assert_eq!(proxy.accepted(), 2, "it was not replaced");
    // While it lies in the pool.
    let watch: Connection = (*again).clone();
    drop(again);
    proxy.refuse(true);
    lose(&watch, &proxy);
    wait::until_true(SOON, "the loss is noticed", || !watch.is_connected())?;
    drop(watch);
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }) && error.is_retryable(), "{error}");
    assert_eq!(pool.available(), 1);
    proxy.refuse(false);
    let out = pool.get().await?;
    out.channel().await?.close().await?;
    drop(out);
    Ok(pool.close().await?)
}

async fn f43_f46_what_one_user_has_declared_is_not_declared_again_under_the_next(context: Context) -> Result {
    let proxy = context.proxy()?;
    let pool = pool(through(&context, &proxy), 1)?;
    let other = open(&context).await?.channel().await?;
    let queue = context.name("queue");
    let one = pool.get().await?;
    one.channel().await?.queue_declare(&queue).await?;
    drop(one);
    other.queue_delete(&queue).await?;
    let next = pool.get().await?;
    lose(&next, &proxy);
    await_connected(&next);
    assert_channel_closed(&other.queue_declare(Queue::new(&queue).passive()).await.unwrap_err(), 404);
    drop(next);
    Ok(pool.close().await?)
}

async fn n5_f46_messages_go_from_one_connection_of_a_pool_to_others(context: Context) -> Result {
    let pool = of(&context, 3)?;
    let (one, two, three) = (pool.get().await?, pool.get().await?, pool.get().await?);
    let queue = one.channel().await?.queue_declare(Queue::new(context.name("queue")).auto_delete()).await?.name;
    let publisher = one.publisher().await?;
    for body in ["first", "second"] {
        publisher.publish("", &queue, body).await?;
    }
    for (connection, body) in [(&two, "first"), (&three, "second")] {
        let channel = connection.channel().await?;
        let delivery = channel.get(&queue).await?.expect("a message");
        assert_eq!(delivery.body(), body);
        delivery.ack()?;
        // It is at the broker when its channel is closed.
        channel.close().await?;
    }
    assert_eq!(one.channel().await?.queue_delete(&queue).await?, 0);
    drop((one, two, three));
    Ok(pool.close().await?)
}

async fn n12_f46_a_pool_that_is_not_configured_is_an_error_that_names_its_key(context: Context) -> Result {
    let pools = pools(PoolsConfig::from_vars([("AMQP_PUBLISH_URL", context.uri())])?)?.start().await?;
    pools.get("publish")?.get().await?.channel().await?;
    let error = pools.get("listen").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownPool { name } if name == "listen"), "{error}");
    assert!(error.to_string().contains("`amqp_listen_url`"), "{error}");
    Ok(pools.close().await?)
}

async fn n15_f46_hooks_are_done_before_the_first_checkout(context: Context) -> Result {
    let settings = PoolsConfig::default().pool("publish", config(&context), 1)?.pool("listen", config(&context), 1)?;
    let (exchange, queue) = (context.name("exchange"), context.name("queue"));
    let done = Arc::new(Mutex::new(Vec::new()));
    let setup = pools(settings)?
        .on_start("publish", {
            let (exchange, done) = (exchange.clone(), Arc::clone(&done));
            async move |connection: Connection| {
                let exchange = crate::facade::Exchange::direct(exchange).durable(false).auto_delete();
                connection.channel().await?.exchange_declare(exchange).await?;
                done.lock().unwrap().push("exchange");
                Ok(())
            }
        })
        .on_start("listen", {
            let (exchange, queue, done) = (exchange.clone(), queue.clone(), Arc::clone(&done));
            async move |connection: Connection| {
                let channel = connection.channel().await?;
                channel.queue_declare(Queue::exclusive(&queue)).await?;
                channel.queue_bind(&queue, &exchange, "key").await?;
                done.lock().unwrap().push("queue");
                Ok(())
            }
        });
    assert!(done.lock().unwrap().is_empty());
    let pools = setup.start().await?;
    assert_eq!(*done.lock().unwrap(), ["exchange", "queue"]);
    let (publish, listen) = (pools.get("publish")?, pools.get("listen")?);
    // The hooks' connections are back, and are the ones that are used.
    assert_eq!((publish.available(), listen.available()), (1, 1));
    publish.get().await?.publisher().await?.publish(&exchange, "key", "hello").await?;
    let delivery = listen.get().await?.channel().await?.get(&queue).await?.expect("a message");
    assert_eq!(delivery.body(), "hello");
    drop(delivery);
    Ok(pools.close().await?)
}

async fn n15_f46_a_hook_that_fails_leaves_no_pools(context: Context) -> Result {
    let settings = PoolsConfig::default().pool("publish", config(&context), 1)?;
    let missing = context.name("missing");
    let setup = pools(settings.clone())?
        .on_start("publish", async move |connection: Connection| {
            connection.channel().await?.queue_declare(Queue::new(missing).passive()).await?;
            Ok(())
        })
        .on_start("publish", async |_: Connection| panic!("it is not run"));
    assert_channel_closed(&setup.start().await.unwrap_err(), 404);
    await_connections(&context, 0);
    let setup = pools(settings)?.on_start("listen", async |_: Connection| Ok::<(), Error>(()));
    let error = setup.start().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownPool { .. }), "{error}");
    Ok(())
}

async fn f46_connections_are_made_when_they_are_needed_and_used_again(context: Context) -> Result {
    let pool = of(&context, 3)?;
    assert_eq!(context.node().connections_named(context.case())?.len(), 0);
    for _ in 0..3 {
        pool.get().await?.channel().await?.close().await?;
    }
    await_connections(&context, 1);
    let (one, two) = (pool.get().await?, pool.try_get().await?);
    one.channel().await?.close().await?;
    two.channel().await?.close().await?;
    await_connections(&context, 2);
    drop((one, two));
    // The last handle closes what is in the pool.
    drop(pool);
    await_connections(&context, 0);
    Ok(())
}

async fn f46_a_pool_that_is_closed_closes_its_connections(context: Context) -> Result {
    let pool = of(&context, 2)?;
    let (one, two) = (pool.get().await?, pool.get().await?);
    let waiting = spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(drop) }
    });
    wait::until_true(SOON, "it waits", || pool.waiting() == 1)?;
    pool.close().await?;
    let error = waiting.await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PoolClosed), "{error}");
    drop(one);
    for result in [pool.get().await, pool.try_get().await] {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::PoolClosed), "{error}");
    }
    // What is out is still good.
    two.channel().await?.close().await?;
    await_connections(&context, 1);
    drop(two);
    await_connections(&context, 0);
    Ok(())
}

async fn c1_f46_a_checkout_that_cannot_connect_says_why_and_keeps_its_place_free(context: Context) -> Result {
    let refused = pool(config(&context).credentials("guest", "wrong"), 1)?;
    for _ in 0..2 {
        let error = refused.get().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
        assert_eq!(refused.available(), 1);
    }
    assert!(pool(config(&context), 0).is_err());
    Ok(())
}
