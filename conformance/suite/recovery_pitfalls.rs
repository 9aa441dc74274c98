//! What clients get wrong when they come back.

use std::time::Duration;

use conformance::proxy::{Direction, Fault, Proxy};
use conformance::{Context, cases, wait};

use crate::facade::{ConnectionEvent, Consume, Heartbeat, Message, Queue, connect, spawn};
use crate::suite::recovery::{await_connected, lose, recovery, through};
use crate::suite::support::{Result, SOON, await_queue};

cases! {
    p17_p20_a_connection_is_recovered_every_time_however_it_is_lost within 180,
    p21_a_channel_works_on_the_new_connection_after_every_loss,
    p24_confirms_and_transactions_are_as_before,
    p25_a_channel_is_not_given_back_before_its_consumers_are,
    f43_the_first_attempt_after_the_broker_is_ready_succeeds,
    f43_ten_thousand_messages_are_consumed_and_none_is_passed_over within 180,
}

/// The ways to lose a connection. Two are found out only by the heartbeats that do not come.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Suffer(Fault),
    InAFrame(Direction),
    HalfClosed(Direction),
}

impl Loss {
    const ALL: [Self; 7] = [
        Self::Suffer(Fault::Cut),
        Self::Suffer(Fault::Reset),
        Self::Suffer(Fault::Stall),
        Self::InAFrame(Direction::ToBroker),
        Self::InAFrame(Direction::ToClient),
        Self::HalfClosed(Direction::ToBroker),
        Self::HalfClosed(Direction::ToClient),
    ];

    fn inflict(self, proxy: &Proxy) {
        match self {
            Self::Suffer(fault) => proxy.inflict(fault),
            // A frame of a declaration, and of its answer, is longer.
            Self::InAFrame(direction) => proxy.inflict_after(direction, 9, Fault::Cut),
            Self::HalfClosed(direction) => proxy.half_close(direction),
        }
    }
}

async fn p17_p20_a_connection_is_recovered_every_time_however_it_is_lost(context: Context) -> Result {
    let proxy = context.proxy()?;
    let config = through(&context, &proxy).heartbeat(Heartbeat::Interval(Duration::from_secs(1)));
    let connection = connect(config).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name("queue")).durable(false)).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    let publisher = connection.publisher().await?;
    for round in 0..2 {
        for loss in Loss::ALL {
            let mut events = connection.events();
            loss.inflict(&proxy);
            // Gives a fault that waits for bytes its bytes; whether the broker gets the call does not matter.
            let _ = channel.queue_declare(Queue::new(&queue).passive()).await;
            loop {
                match events.recv_timeout(SOON).await? {
                    Some(ConnectionEvent::Disconnected { .. }) => proxy.resume(),
                    Some(ConnectionEvent::Recovered) => break,
                    Some(ConnectionEvent::Closed { cause }) => panic!("{loss:?} is final: {cause:?}"),
                    Some(_) => {}
                    None => panic!("{loss:?}: the events end"),
                }
            }
            let body = format!("{round} {loss:?}");
            publisher.publish("", &queue, &*body).await?;
            // What was acked into the loss comes again.
            loop {
                let delivery = consumer.recv_timeout(SOON).await?.expect("the consumer goes on")?;
                let found = delivery.body() == body.as_str();
                assert!(found || delivery.redelivered(), "{delivery:?}");
                delivery.ack()?;
                if found {
                    break;
                }
            }
        }
    }
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn p21_a_channel_works_on_the_new_connection_after_every_loss(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channels = [connection.channel().await?, connection.channel().await?];
    let queue = channels[0].queue_declare(Queue::new(context.name("queue")).durable(false)).await?.name;
    for round in 0..3 {
        lose(&connection, &proxy);
        for channel in &channels {
            let body = format!("round {round}");
            channel.publish("", &queue, Message::new(&*body)).await?;
            let got = channel.get(&queue).await?.expect("it was published before, on the same channel");
            assert_eq!(got.body(), body.as_str());
            got.ack()?;
            channel.queue_declare(Queue::new(&queue).passive()).await?;
        }
    }
    channels[0].queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn p24_confirms_and_transactions_are_as_before(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let (confirming, transacting) = (connection.channel().await?, connection.channel().await?);
    let queue = confirming.queue_declare(Queue::new(context.name("queue")).durable(false)).await?.name;
    confirming.confirm_select().await?;
    transacting.tx_select().await?;
    for round in 0..2u32 {
        lose(&connection, &proxy);
        confirming.send("", &queue, "confirmed").await?.await?;
        transacting.publish("", &queue, "undone").await?;
        transacting.tx_rollback().await?;
        transacting.publish("", &queue, "done").await?;
        transacting.tx_commit().await?;
        let counted = confirming.queue_declare(Queue::new(&queue).passive()).await?.message_count;
        assert_eq!(counted, 2 * (round + 1));
    }
    confirming.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn p25_a_channel_is_not_given_back_before_its_consumers_are(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::new(context.name("queue")).durable(false)).await?.name;
    let consumers = [channel.consume(&queue).await?, channel.consume(&queue).await?];
    for _ in 0..3 {
        proxy.refuse(true);
        lose(&connection, &proxy);
        // Called while there is no connection: it is the first thing that the channel does.
        let called = {
            let (channel, queue) = (channel.clone(), queue.clone());
            spawn(async move { channel.queue_declare(Queue::new(&queue).passive()).await })
        };
        proxy.refuse(false);
        assert_eq!(called.await?.consumer_count, 2);
    }
    drop(consumers);
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}

async fn f43_the_first_attempt_after_the_broker_is_ready_succeeds(context: Context) -> Result {
    let proxy = context.proxy()?;
    let steps = recovery().first_delay(Duration::from_millis(10)).max_delay(Duration::from_millis(200));
    let connection = connect(through(&context, &proxy).recovery(steps)).await?;
    let mut events = connection.events();
    proxy.refuse(true);
    lose(&connection, &proxy);
    let mut failed = 0;
    while failed < 5 {
        failed += u32::from(matches!(events.next().await, Some(ConnectionEvent::ReconnectFailed { .. })));
    }
    // One attempt at most is under way when the broker is ready; the next one is a step of the back-off later.
    proxy.refuse(false);
    let mut attempts = 0;
    loop {
        match events.next().await.expect("it has not ended") {
            ConnectionEvent::Reconnecting { .. } => attempts += 1,
            ConnectionEvent::Recovered => break,
            _ => {}
        }
    }
    assert!((1..=2).contains(&attempts), "{attempts} attempts");
    await_connected(&connection);
    Ok(connection.close().await?)
}

async fn f43_ten_thousand_messages_are_consumed_and_none_is_passed_over(context: Context) -> Result {
    const COUNT: usize = 10_000;
    let proxy = context.proxy()?;
    let connection = connect(through(&context, &proxy)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..COUNT {
        drop(publisher.send("", &queue, number.to_string()).await?);
    }
    publisher.wait_for_confirms().await?;
    let mut consumer = channel.consume(Consume::new(&queue).prefetch(200)).await?;
    let (mut seen, mut missing, mut taken) = (vec![false; COUNT], COUNT, 0_usize);
    while missing > 0 {
        let delivery = consumer.next().await.expect("the stream goes on")?;
        let number: usize = str::from_utf8(&delivery.to_bytes())?.parse()?;
        missing -= usize::from(!std::mem::replace(&mut seen[number], true));
        delivery.ack()?;
        taken += 1;
        if taken % 2_500 == 0 && missing > 0 {
            lose(&connection, &proxy);
        }
    }
    // What was acked into the loss comes again, and nothing else is left.
    wait::until_true(SOON, "the connection is back", || connection.is_connected())?;
    drop(consumer);
    await_queue(context.node(), &queue, "no consumer", |queue| queue.consumers == 0);
    channel.queue_delete(&queue).await?;
    Ok(connection.close().await?)
}
