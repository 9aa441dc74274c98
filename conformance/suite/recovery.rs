//! Connections that are lost and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::node::Options;
use conformance::proxy::{Direction, Fault, Proxy};
use conformance::{Context, cases, wait};

use crate::facade::{
    Config, ConnectOptions, Connection, ConnectionEvent, Consume, Credentials, Error, ErrorKind, Exchange, Get,
    Heartbeat, Message, Queue, Recovery, ReplyCode, connect, on_connect, spawn,
};
use crate::suite::support::{Result, SOON, assert_all_in_order, await_queue, named};

cases! {
    c3_p20_all_ten_arrive_though_the_socket_is_killed_again_and_again,
    c2_hooks_run_in_order_on_connect_and_on_every_reconnect,
    c2_a_hook_that_fails_fails_the_connect,
    f43_a_connection_comes_back_unless_it_was_told_otherwise,
    c14_close_in_the_back_off_stops_the_retries,
    c15_f43_a_connection_that_the_broker_closes_comes_back,
    f24_p21_calls_under_way_fail_and_the_channel_goes_on,
    f43_p20_a_broker_that_restarts_is_waited_for needs "a restart",
    f43_refused_credentials_are_final_after_the_second_time,
    f43_a_virtual_host_that_is_gone_is_final,
    f43_a_peer_that_falls_silent_is_a_loss,
    f43_a_stream_that_ends_is_a_loss,
    c14_p19_a_close_sets_off_no_recovery,
    f17_f43_credentials_are_asked_for_at_each_login,
    f44_the_loss_and_the_return_are_told,
    f43_nothing_confirmed_is_lost_when_the_broker_is_killed within 120 needs "a restart",
}

pub(crate) fn recovery() -> Recovery {
    Recovery::default().first_delay(Duration::from_millis(50)).max_delay(Duration::from_secs(1))
}

/// A way through a proxy to the shared node, and a connection that comes back.
pub(crate) fn through(context: &Context, proxy: &Proxy) -> Config {
    named(context, &proxy.uri()).recovery(recovery())
}

/// Cuts the connection, and waits until it has noticed.
#[track_caller]
pub(crate) fn lose(connection: &Connection, proxy: &Proxy) {
    let before = proxy.accepted();
    proxy.inflict(Fault::Reset);
    wait::until_true(SOON, "the loss is noticed", || !connection.is_connected() || proxy.accepted() > before).unwrap();
}

#[track_caller]
pub(crate) fn await_connected(connection: &Connection) {
    wait::until_true(SOON, "the connection is back", || connection.is_connected()).unwrap();
}

async fn c3_p20_all_ten_arrive_though_the_socket_is_killed_again_and_again(context: Context) -> Result {
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

async fn f43_a_connection_comes_back_unless_it_was_told_otherwise(context: Context) -> Result {
    let proxy = context.proxy()?;
    // By a URI alone.
    let connection = connect(proxy.uri()).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    lose(&connection, &proxy);
    await_connected(&connection);
    channel.publish("", queue, "hello").await?;
    let delivery = consumer.next().await.expect("the stream goes on")?;
    assert_eq!(delivery.body(), "hello");
    delivery.ack()?;
    connection.close().await?;

    let accepted = proxy.accepted();
    let connection = connect(named(&context, &proxy.uri()).no_recovery()).await?;
    proxy.inflict(Fault::Reset);
    let error = connection.closed().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert!(!connection.is_open());
    assert_eq!(proxy.accepted(), accepted + 1);
    // The first connect is not repeated, with recovery or without.
    proxy.refuse(true);
    for config in [named(&context, &proxy.uri()), named(&context, &proxy.uri()).no_recovery()] {
        let accepted = proxy.accepted();
        let error = connect(config).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert_eq!(proxy.accepted(), accepted + 1);
    }
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

async fn f24_p21_calls_under_way_fail_and_the_channel_goes_on(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let publisher = connection.publisher().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    proxy.stall(Direction::ToBroker);
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

async fn f43_p20_a_broker_that_restarts_is_waited_for(context: Context) -> Result {
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
async fn f43_a_peer_that_falls_silent_is_a_loss(context: Context) -> Result {
    let proxy = context.proxy()?;
    let config = through(&context, &proxy).heartbeat(Heartbeat::Interval(Duration::from_secs(1)));
    let connection = connect(config).await?;
    let channel = connection.channel().await?;
    Direction::BOTH.iter().for_each(|direction| proxy.stall(*direction));
    wait::until_true(SOON, "the silence is noticed", || !connection.is_connected())?;
    proxy.resume();
    assert_eq!(channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.message_count, 0);
    connection.close().await?;
    Ok(())
}

async fn f43_a_stream_that_ends_is_a_loss(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    proxy.half_close(Direction::ToClient);
    wait::until_true(SOON, "another connection", || proxy.accepted() == 2)?;
    assert_eq!(channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.message_count, 0);
    connection.close().await?;
    Ok(())
}

async fn c14_p19_a_close_sets_off_no_recovery(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let (channel, mut events) = (connection.channel().await?, connection.events());
    connection.close().await?;
    let last = events.next().await;
    assert!(matches!(last, Some(ConnectionEvent::Closed { cause: None })), "{last:?}");
    assert!(events.next().await.is_none());
    assert!(!connection.is_open() && !connection.is_connected());
    assert!(channel.queue_declare("any").await.is_err());
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

async fn f17_f43_credentials_are_asked_for_at_each_login(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    node.add_user("renewed", "one")?;
    let proxy = Proxy::start(node.address())?;
    let password = Arc::new(Mutex::new("one"));
    let options = ConnectOptions::new(through(&context, &proxy)).credentials_from({
        let password = Arc::clone(&password);
        move || Ok::<_, Error>(Credentials::new("renewed", *password.lock().expect("not poisoned")))
    });
    let connection = connect(options).await?;
    node.change_password("renewed", "two")?;
    *password.lock().expect("not poisoned") = "two";
    lose(&connection, &proxy);
    await_connected(&connection);
    assert_eq!(proxy.accepted(), 2);
    connection.close().await?;
    Ok(())
}

async fn f44_the_loss_and_the_return_are_told(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut events = connection.events();
    proxy.refuse(true);
    lose(&connection, &proxy);
    let told = events.next().await;
    assert!(matches!(&told, Some(ConnectionEvent::Disconnected { cause }) if cause.is_retryable()), "{told:?}");
    for attempt in 1..=2 {
        let told = events.next().await;
        assert!(matches!(told, Some(ConnectionEvent::Reconnecting { attempt: it }) if it == attempt), "{told:?}");
        let told = events.next().await;
        assert!(matches!(told, Some(ConnectionEvent::ReconnectFailed { .. })), "{told:?}");
    }
    proxy.refuse(false);
    let renamed = loop {
        match events.next().await.expect("it is not closed") {
            ConnectionEvent::Reconnecting { .. } | ConnectionEvent::ReconnectFailed { .. } => {}
            ConnectionEvent::QueueRenamed { old, new } if old == queue => break new,
            told => panic!("{told:?}"),
        }
    };
    assert!(matches!(events.next().await, Some(ConnectionEvent::Recovered)));
    assert_eq!(channel.queue_declare(Queue::new(&renamed).passive()).await?.name, renamed);
    connection.close().await?;
    Ok(())
}

async fn f43_nothing_confirmed_is_lost_when_the_broker_is_killed(context: Context) -> Result {
    const COUNT: u32 = 300;
    let node = context.private_node(Options::new())?;
    let connection = connect(named(&context, &node.uri()).recovery(recovery())).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    node.rabbitmq()?.flush_declarations()?;
    let publisher = connection.publisher().await?.at_least_once(1 << 20);
    let publishing = spawn({
        let (publisher, queue) = (publisher.clone(), queue.clone());
        async move {
            for number in 0..COUNT {
                publisher.publish("", &queue, number.to_string()).await?;
            }
            Ok::<_, Error>(())
        }
    });
    wait::until_true(SOON, "some are there", || {
        node.queue(&queue).is_ok_and(|queue| queue.is_some_and(|queue| queue.messages > 20))
    })?;
    node.rabbitmq()?.kill();
    node.rabbitmq()?.start_again()?;
    publishing.await?;
    let mut numbers = Vec::new();
    while let Some(message) = channel.get(Get::new(&queue).no_ack()).await? {
        numbers.push(String::from_utf8(message.body().to_vec())?.parse()?);
    }
    assert_all_in_order(&numbers, COUNT);
    connection.close().await?;
    Ok(())
}
