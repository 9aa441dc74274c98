//! Connections that are lost and come back.

use std::time::Duration;

use conformance::node::Options;
use conformance::proxy::{Fault, Proxy};
use conformance::{Context, cases, wait};

use crate::facade::{
    Config, ConnectOptions, Connection, Consume, ErrorKind, Exchange, Message, Queue, Recorded, Recovery, ReplyCode,
    connect, on_connect, spawn,
};
use crate::suite::support::{Result, SOON, await_queue, named};

cases! {
    c3_all_ten_arrive_though_the_socket_is_killed_again_and_again,
    c2_hooks_run_in_order_on_connect_and_on_every_reconnect,
    c2_a_hook_that_fails_fails_the_connect,
    c14_close_in_the_back_off_stops_the_retries,
    c15_f43_a_connection_that_the_broker_closes_comes_back,
    f24_calls_under_way_fail_and_the_channel_goes_on,
    f43_a_broker_that_restarts_is_waited_for needs "a restart",
    f43_stale_acks_are_local,
    f43_the_prefetch_is_kept,
    f43_f44_a_queue_named_by_the_broker_is_found_by_its_new_name,
    f43_an_exclusive_queue_that_is_taken_is_tried_again,
    f43_the_bindings_of_a_deleted_queue_do_not_come_back,
    f43_other_arguments_than_before_are_left_as_they_are,
    f44_the_filter_leaves_out_what_it_refuses,
    f43_refused_credentials_are_final_after_the_second_time,
    f43_a_virtual_host_that_is_gone_is_final,
}

fn recovery() -> Recovery {
    Recovery::default().first_delay(Duration::from_millis(50)).max_delay(Duration::from_secs(1))
}

/// A way through a proxy to the shared node, and a connection that comes back.
fn through(context: &Context, proxy: &Proxy) -> Config {
    named(context, &proxy.uri()).recovery(recovery())
}

/// Cuts the connection, and waits until it has noticed.
#[track_caller]
fn lose(connection: &Connection, proxy: &Proxy) {
    let before = proxy.accepted();
    proxy.inflict(Fault::Reset);
    wait::until_true(SOON, "the loss is noticed", || !connection.is_connected() || proxy.accepted() > before).unwrap();
}

#[track_caller]
fn await_connected(connection: &Connection) {
    wait::until_true(SOON, "the connection is back", || connection.is_connected()).unwrap();
}

async fn c3_all_ten_arrive_though_the_socket_is_killed_again_and_again(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("ten");
    channel.queue_declare(&queue).await?;
    for number in 0..10u8 {
        channel.publish("", &queue, vec![number]).await?;
    }
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(1)).await?;
    let mut seen = [false; 10];
    for round in 0..100 {
        let delivery = consumer.next().await.expect("the stream goes on")?;
        seen[usize::from(delivery.to_bytes()[0])] = true;
        if round % 3 == 2 {
            lose(&connection, &proxy);
        }
        delivery.ack()?;
        if seen.iter().all(|seen| *seen) {
            break;
        }
    }
    assert_eq!(seen, [true; 10]);
    await_queue(context.node(), &queue, "all is acked, or comes once more", |queue| queue.messages <= 1);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn c2_hooks_run_in_order_on_connect_and_on_every_reconnect(context: Context) -> Result {
    let proxy = context.proxy()?;
    let (log, first, second) = (context.name("log"), context.name("first"), context.name("second"));
    let mut options = ConnectOptions::from(through(&context, &proxy));
    for name in [&first, &second] {
        let (name, log) = (name.clone(), log.clone());
        options = on_connect(options, move |connection: Connection| {
            let (name, log) = (name.clone(), log.clone());
            async move {
                assert!(!connection.is_connected());
                let channel = connection.channel().await?;
                channel.exchange_declare(Exchange::topic(&name).durable(false)).await?;
                channel.queue_declare(Queue::new(&log)).await?;
                let publisher = connection.publisher().await?;
                publisher.publish("", &log, &*name).await?;
                Ok(())
            }
        });
    }
    let connection = connect(options).await?;
    let channel = connection.channel().await?;
    channel.exchange_delete(&first).await?;
    for _ in 0..2 {
        lose(&connection, &proxy);
        await_connected(&connection);
    }
    channel.exchange_declare(Exchange::topic(&first).durable(false).passive()).await?;
    for _ in 0..3 {
        for name in [&first, &second] {
            let got = channel.get(&log).await?.expect("the hook has published");
            assert_eq!(got.body(), name.as_str());
            got.ack()?;
        }
    }
    assert!(channel.get(&log).await?.is_none());
    channel.exchange_delete(&first).await?;
    channel.exchange_delete(&second).await?;
    channel.queue_delete(&log).await?;
    connection.close().await?;
    Ok(())
}

async fn c2_a_hook_that_fails_fails_the_connect(context: Context) -> Result {
    let missing = context.name("missing");
    let options = ConnectOptions::from(named(&context, &context.uri()).recovery(recovery()));
    let options = on_connect(options, move |connection: Connection| {
        let missing = missing.clone();
        async move {
            let channel = connection.channel().await?;
            channel.queue_declare(Queue::new(&missing).passive()).await?;
            Ok(())
        }
    });
    let error = connect(options).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND), "{error}");
    wait::until_true(SOON, "nothing is left of it", || {
        context.node().connections_named(context.case()).is_ok_and(|connections| connections.is_empty())
    })?;
    Ok(())
}

async fn c14_close_in_the_back_off_stops_the_retries(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let closed = {
        let connection = connection.clone();
        spawn(async move { connection.closed().await })
    };
    proxy.refuse(true);
    lose(&connection, &proxy);
    wait::until_true(SOON, "there are attempts", || proxy.accepted() > 3)?;
    assert!(connection.is_open() && !connection.is_connected());
    connection.close().await?;
    closed.await?;
    let accepted = proxy.accepted();
    proxy.refuse(false);
    assert!(!connection.is_open());
    let error = channel.queue_declare("any").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen | ErrorKind::ChannelNotOpen), "{error}");
    // One that was on its way when it was closed may still come.
    assert!(proxy.accepted() <= accepted + 1);
    Ok(())
}

async fn c15_f43_a_connection_that_the_broker_closes_comes_back(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(Queue::new(&queue).durable(false)).await?;
    assert_eq!(context.node().close_connections(context.case(), "just so")?, 1);
    wait::until_true(SOON, "another connection", || proxy.accepted() == 2)?;
    assert_eq!(channel.queue_declare(Queue::new(&queue).passive()).await?.name, queue);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f24_calls_under_way_fail_and_the_channel_goes_on(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let publisher = connection.publisher().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    proxy.stall(conformance::proxy::Direction::ToBroker);
    let call = {
        let channel = channel.clone();
        spawn(async move { channel.queue_declare(Queue::server_named()).await })
    };
    let confirm = publisher.send("", &queue, "x").await?;
    proxy.inflict(Fault::Reset);
    proxy.resume();
    let outcome = confirm.await.unwrap_err();
    assert!(matches!(outcome.kind(), ErrorKind::Unknown(_)), "{outcome}");
    // It had been made before the loss or after it.
    if let Err(error) = call.await {
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }) && error.is_retryable(), "{error}");
    }
    await_connected(&connection);
    publisher.publish("", "nowhere", Message::new("x").mandatory(false)).await?;
    channel.queue_declare(Queue::server_named()).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_a_broker_that_restarts_is_waited_for(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    let connection = connect(named(&context, &node.uri()).recovery(recovery())).await?;
    let channel = connection.channel().await?;
    channel.queue_declare("kept").await?;
    channel.queue_declare(Queue::new("gone").durable(false)).await?;
    channel.exchange_declare(Exchange::topic("events").durable(false)).await?;
    channel.queue_bind("gone", "events", "#").await?;
    let publisher = connection.publisher().await?;
    publisher.publish("", "kept", "before").await?;
    let mut consumer = channel.consume("gone").await?;
    let waits = {
        let publisher = publisher.clone();
        node.rabbitmq()?.stop()?;
        wait::until_true(SOON, "the loss is noticed", || !connection.is_connected())?;
        spawn(async move { publisher.publish("events", "any", "during").await })
    };
    let held = {
        let channel = channel.clone();
        spawn(async move { channel.queue_declare(Queue::new("kept").passive()).await })
    };
    node.rabbitmq()?.start_again()?;
    waits.await?;
    assert_eq!(held.await?.message_count, 1);
    let delivery = consumer.next().await.expect("the consumer is back")?;
    assert_eq!(delivery.body(), "during");
    delivery.ack()?;
    connection.close().await?;
    Ok(())
}

async fn f43_stale_acks_are_local(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    for body in ["a", "b"] {
        channel.publish("", &queue, body).await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    let stale = [consumer.next().await.expect("a")?, consumer.next().await.expect("b")?];
    lose(&connection, &proxy);
    await_connected(&connection);
    for body in ["a", "b"] {
        let again = consumer.next().await.expect("it comes again")?;
        assert_eq!(again.body(), body);
        assert!(again.redelivered());
        std::mem::forget(again);
    }
    for delivery in stale {
        delivery.ack()?;
    }
    assert_eq!(connection.stats().stale_settlements, 2);
    // Behind whatever had been sent: nothing has been acked.
    channel.queue_declare(Queue::server_named()).await?;
    await_queue(context.node(), &queue, "both are unacked", |queue| queue.unacknowledged == 2);
    drop(consumer);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_the_prefetch_is_kept(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    let _consumer = channel.consume(Consume::new(&queue).prefetch(2)).await?;
    lose(&connection, &proxy);
    for _ in 0..5 {
        channel.publish("", &queue, "x").await?;
    }
    await_queue(context.node(), &queue, "two of five", |queue| queue.unacknowledged == 2 && queue.messages == 5);
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_f44_a_queue_named_by_the_broker_is_found_by_its_new_name(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let exchange = context.name("exchange");
    channel.exchange_declare(Exchange::topic(&exchange).durable(false)).await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.queue_bind(&queue, &exchange, "#").await?;
    let mut consumer = channel.consume(&queue).await?;
    for round in 0..3 {
        let body = format!("round {round}");
        connection.publisher().await?.publish(&exchange, "key", &*body).await?;
        let delivery = consumer.next().await.expect("the consumer is back")?;
        assert_eq!(delivery.body(), body.as_str());
        delivery.ack()?;
        lose(&connection, &proxy);
    }
    channel.exchange_delete(&exchange).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_an_exclusive_queue_that_is_taken_is_tried_again(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let name = context.name("mine");
    let exclusive = || Queue::exclusive(&name);
    channel.queue_declare(exclusive()).await?;
    let mut consumer = channel.consume(&name).await?;
    proxy.refuse(true);
    lose(&connection, &proxy);
    let other = connect(named(&context, &context.uri())).await?;
    let taken = other.channel().await?;
    wait::until_true(SOON, "the old one is gone", || context.node().queue(&name).is_ok_and(|queue| queue.is_none()))?;
    taken.queue_declare(exclusive()).await?;
    proxy.refuse(false);
    wait::until_true(SOON, "it is back, and refused its queue", || {
        context.node().connections_named(context.case()).is_ok_and(|connections| connections.len() == 2)
    })?;
    assert!(!connection.is_connected());
    other.close().await?;
    await_connected(&connection);
    channel.publish("", &name, "x").await?;
    consumer.next().await.expect("the consumer is back")?.ack()?;
    connection.close().await?;
    Ok(())
}

async fn f43_the_bindings_of_a_deleted_queue_do_not_come_back(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let (kept, deleted) = (context.name("kept"), context.name("deleted"));
    for queue in [&kept, &deleted] {
        channel.queue_declare(Queue::new(queue).durable(false)).await?;
        channel.queue_bind(queue, "amq.topic", context.case()).await?;
    }
    channel.queue_delete(&deleted).await?;
    lose(&connection, &proxy);
    await_connected(&connection);
    connection.publisher().await?.publish("amq.topic", context.case(), "x").await?;
    assert_eq!(channel.queue_declare(Queue::new(&kept).passive()).await?.message_count, 1);
    assert!(context.node().queue(&deleted)?.is_none());
    channel.queue_delete(&kept).await?;
    connection.close().await?;
    Ok(())
}

async fn f43_other_arguments_than_before_are_left_as_they_are(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let (changed, fine) = (context.name("changed"), context.name("fine"));
    channel.queue_declare(Queue::new(&changed).durable(false)).await?;
    channel.queue_declare(Queue::new(&fine).durable(false)).await?;
    proxy.refuse(true);
    lose(&connection, &proxy);
    let other = connect(named(&context, &context.uri())).await?;
    let its = other.channel().await?;
    its.queue_delete(&changed).await?;
    its.queue_delete(&fine).await?;
    its.queue_declare(Queue::new(&changed)).await?;
    proxy.refuse(false);
    await_connected(&connection);
    its.queue_declare(Queue::new(&fine).passive()).await?;
    its.queue_delete(&changed).await?;
    channel.queue_delete(&fine).await?;
    other.close().await?;
    connection.close().await?;
    Ok(())
}

async fn f44_the_filter_leaves_out_what_it_refuses(context: Context) -> Result {
    let proxy = context.proxy()?;
    let (kept, refused) = (context.name("kept"), context.name("refused"));
    let options = {
        let refused = refused.clone();
        ConnectOptions::from(through(&context, &proxy))
            .topology_filter(move |recorded| !matches!(recorded, Recorded::Queue(queue) if queue.name == refused))
    };
    let connection = connect(options).await?;
    let channel = connection.channel().await?;
    for queue in [&kept, &refused] {
        channel.queue_declare(Queue::exclusive(queue)).await?;
    }
    lose(&connection, &proxy);
    await_connected(&connection);
    assert!(context.node().queue(&kept)?.is_some());
    assert!(context.node().queue(&refused)?.is_none());
    connection.close().await?;
    Ok(())
}

async fn f43_refused_credentials_are_final_after_the_second_time(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    let proxy = Proxy::start(node.address())?;
    let connection = connect(through(&context, &proxy)).await?;
    node.change_password("guest", "another")?;
    proxy.inflict(Fault::Reset);
    let error = connection.closed().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    assert_eq!(proxy.accepted(), 3);
    assert!(!connection.is_open());
    Ok(())
}

async fn f43_a_virtual_host_that_is_gone_is_final(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    node.add_vhost("passing")?;
    let connection = connect(named(&context, &node.uri()).virtual_host("passing").recovery(recovery())).await?;
    let channel = connection.channel().await?;
    channel.queue_declare("q").await?;
    node.delete_vhost("passing")?;
    let error = connection.closed().await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_ALLOWED), "{error}");
    assert!(!connection.is_open());
    Ok(())
}
