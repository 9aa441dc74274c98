//! A peer that does not read, or does not want publishes: memory stays bounded, and whoever waits is told why.

use std::task::{self, Poll, Waker};
use std::time::Duration;

use conformance::peer::Peer;
use conformance::proxy::{Direction, Proxy};
use conformance::raw::args::Args;
use conformance::raw::{Frame, Tune, Wire, id};
use conformance::recorder::Recorder;
use conformance::{Context, cases};

use crate::facade::{
    Channel, Config, Consume, ErrorKind, Heartbeat, Message, Origin, Queue, TimeoutReason, connect, sleep, spawn,
};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, named, open};

cases! {
    f30_p35_publishing_to_a_peer_that_stopped_reading_waits_for_room_with_bounded_memory,
    f30_publishing_goes_on_when_the_peer_reads_again,
    a_publish_that_waits_for_room_hears_when_its_channel_or_connection_goes,
    f31_a_dropped_publish_that_waited_for_room_has_published_nothing,
    f36_acks_that_cannot_leave_yet_leave_as_one,
    f35_p35_an_unread_consumer_without_acks_holds_a_bounded_number_of_bytes,
    f35_p35_an_unread_consumer_with_prefetch_0_holds_a_bounded_number_of_bytes,
}

const BODY: usize = 64 * 1024;
const BUFFER: usize = 256 * 1024;

/// What the kernel takes at most on a loopback connection, generously: `tcp_wmem` and `tcp_rmem` end at a few megabytes.
const KERNEL: usize = 24 << 20;

fn limited(context: &Context, uri: &str) -> Config {
    named(context, uri).publish_buffer(BUFFER).room_timeout(Duration::from_secs(1))
}

async fn f30_p35_publishing_to_a_peer_that_stopped_reading_waits_for_room_with_bounded_memory(
    context: Context,
) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        wire.welcome_channel()?;
        server.hold();
        // What was accepted arrives whole, when it is read at last.
        let mut bodies = 0;
        while let Ok(frame) = wire.read_frame() {
            bodies += usize::from(frame.kind == 3);
            if frame.method_id() == Some(id::CHANNEL_CLOSE) {
                break;
            }
        }
        assert!(bodies > 0);
        Ok(())
    })?;
    let connection = connect(limited(&context, &peer.uri())).await?;
    let channel = connection.channel().await?;
    // Up to the first that finds no room.
    let body = vec![7; BODY];
    let mut accepted = 0;
    let error = loop {
        match channel.publish("", "key", &body).await {
            Ok(()) => accepted += BODY,
            Err(error) => break error,
        }
        assert!(accepted < KERNEL + 2 * BUFFER, "{accepted} bytes were accepted that nobody reads");
    };
    assert!(accepted >= BUFFER);
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Room, blocked: false }), "{error}");
    assert!(error.is_retryable());
    assert_eq!(error.origin(), Origin::Network);
    // Without waiting there is the same to be said at once, and the channel is as good as before. Who waits is told
    // when half of the buffer is free, so there may be some room left.
    fill(&channel, "key").await;
    let error = channel.try_publish("", "key", &body).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
    assert!(error.is_retryable());
    assert!(channel.is_open());
    drop(channel);
    Ok(peer.finish()?)
}

/// Publishes until there is no room, also not when the kernel has had the time to take what it will take; says how many
/// messages these were.
async fn fill(channel: &Channel, key: &str) -> usize {
    let body = vec![7; BODY];
    let (mut published, mut full) = (0, 0);
    while full < 20 {
        match channel.try_publish("", key, &body) {
            Ok(()) => {
                (published, full) = (published + 1, 0);
                assert!(published * BODY < KERNEL + 2 * BUFFER, "{published} bodies were accepted that nobody reads");
            }
            Err(_) => {
                full += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    published
}

async fn f30_publishing_goes_on_when_the_peer_reads_again(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(limited(&context, &proxy.uri()).room_timeout(SOON)).await?;
    let channels = [connection.channel().await?, connection.channel().await?];
    let queue = channels[0].queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    proxy.stall(Direction::ToBroker);
    let published = fill(&channels[0], &queue).await;
    // Several wait at once, on both channels, and all get their turn.
    let mut tasks = Vec::new();
    for number in 0..10 {
        let (channel, queue) = (channels[number % 2].clone(), queue.clone());
        tasks.push(spawn(async move { channel.publish("", &queue, vec![7; BODY]).await }));
    }
    proxy.resume();
    for task in tasks {
        task.await?;
    }
    let all = u64::try_from(published)? + 10;
    await_queue(context.node(), &queue, "all messages", |queue| queue.messages == all);
    Ok(connection.close().await?)
}

/// A peer that stops reading when there is a channel, and does `then` when somebody waits for room.
fn deaf(then: impl FnOnce(Wire, u16) -> conformance::Result<()> + Send + 'static) -> conformance::Result<Peer> {
    Peer::start(move |server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        server.hold();
        then(wire, channel)
    })
}

async fn a_publish_that_waits_for_room_hears_when_its_channel_or_connection_goes(context: Context) -> Result {
    for by_close in [true, false] {
        let peer = deaf(move |mut wire, channel| {
            if by_close {
                let reason = Args::new().u16(404).short_string("no such exchange").u16(60).u16(40);
                return wire.send_method(channel, id::CHANNEL_CLOSE, reason).map(|()| std::mem::forget(wire));
            }
            wire.reset()
        })?;
        let connection = connect(limited(&context, &peer.uri()).room_timeout(SOON).no_recovery()).await?;
        let channel = connection.channel().await?;
        fill(&channel, "key").await;
        let waiting = spawn({
            let channel = channel.clone();
            async move { channel.publish("", "key", "waits").await.unwrap_err() }
        });
        peer.finish()?;
        let error = waiting.await;
        if by_close {
            assert_channel_closed(&error, 404);
            assert!(connection.is_open());
        } else {
            assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        }
        connection.abort();
    }
    Ok(())
}

async fn f31_a_dropped_publish_that_waited_for_room_has_published_nothing(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(limited(&context, &proxy.uri())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    proxy.stall(Direction::ToBroker);
    let published = fill(&channel, &queue).await;
    // Several at the same time. They wait when they are dropped; a blocking adapter's have waited in vain then.
    let given_up = [1, 2, 3, 4, 5].map(|_| {
        let (channel, queue) = (channel.clone(), queue.clone());
        spawn(async move {
            let mut waiting = Box::pin(channel.publish("", &queue, "dropped"));
            waiting.as_mut().poll(&mut task::Context::from_waker(Waker::noop()))
        })
    });
    for given_up in given_up {
        assert!(!matches!(given_up.await, Poll::Ready(Ok(()))));
    }
    proxy.resume();
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, "last").await?;
    let all = u64::try_from(published)? + 1;
    await_queue(context.node(), &queue, "what was accepted", |queue| queue.messages == all);
    Ok(connection.close().await?)
}

async fn f36_acks_that_cannot_leave_yet_leave_as_one(context: Context) -> Result {
    const DELIVERIES: u64 = 100;
    /// Not acked: those above it cannot go along with those below.
    const KEPT: u64 = 90;
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::BASIC_QOS)?;
        wire.send_method(channel, id::BASIC_QOS_OK, Args::new())?;
        wire.expect_method(id::BASIC_CONSUME)?;
        wire.send_method(channel, id::BASIC_CONSUME_OK, Args::new().short_string("tag"))?;
        for tag in 1..=DELIVERIES {
            let deliver = Args::new().short_string("tag").u64(tag).u8(0).short_string("").short_string("queue");
            wire.send_method(channel, id::BASIC_DELIVER, deliver)?;
            wire.send_frame(&Frame::header(channel, 0, &[0, 0]))?;
        }
        wire.welcome_channel()?;
        // Nothing is read until all are acked.
        server.hold();
        let (mut frames, mut acked) = (0, 0);
        while acked < DELIVERIES {
            let frame = wire.read_frame()?;
            if frame.method_id() != Some(id::BASIC_ACK) {
                continue;
            }
            let tag = u64::from_be_bytes(frame.args()[..8].try_into().expect("a tag"));
            let follows = if acked + 1 == KEPT { KEPT + 1 } else { acked + 1 };
            let is_multiple = frame.args()[8] != 0;
            assert!(if is_multiple { (follows..KEPT).contains(&tag) } else { tag == follows }, "{tag} after {acked}");
            (frames, acked) = (frames + 1, tag);
        }
        // One for all below the one that was kept and one for each above it. A few may have been on their way.
        let least = usize::try_from(1 + DELIVERIES - KEPT).expect("few");
        assert!((least..=least + 10).contains(&frames), "{frames} acks went out");
        Ok(())
    })?;
    let connection = connect(limited(&context, &peer.uri())).await?;
    let mut consumer = connection.channel().await?.consume(Consume::new("queue").tag("tag")).await?;
    let other = connection.channel().await?;
    let mut deliveries = Vec::new();
    for _ in 1..=DELIVERIES {
        deliveries.push(consumer.next().await.expect("a delivery")?);
    }
    fill(&other, "key").await;
    let mut kept = None;
    for delivery in deliveries {
        match delivery.delivery_tag().value() {
            KEPT => kept = Some(delivery),
            _ => delivery.ack()?,
        }
    }
    peer.finish()?;
    drop((kept, consumer));
    Ok(())
}

async fn f35_p35_an_unread_consumer_without_acks_holds_a_bounded_number_of_bytes(context: Context) -> Result {
    is_bounded(context, |queue| Consume::new(queue).no_ack()).await
}

async fn f35_p35_an_unread_consumer_with_prefetch_0_holds_a_bounded_number_of_bytes(context: Context) -> Result {
    is_bounded(context, |queue| Consume::new(queue).prefetch(0)).await
}

async fn is_bounded(context: Context, consume: fn(&str) -> Consume) -> Result {
    const MESSAGES: usize = 1000;
    let publisher = open(&context).await?;
    let queue = context.name("queue");
    publisher.channel().await?.queue_declare(&queue).await?;
    let sender = publisher.publisher().await?;
    let body = vec![7; BODY];
    for _ in 1..MESSAGES {
        drop(sender.send("", &queue, Message::new(&body).transient()).await?);
    }
    sender.publish("", &queue, Message::new(&body).transient()).await?;

    let recorder = Recorder::start(context.address())?;
    let proxy = Proxy::start(recorder.address())?;
    let config = named(&context, &proxy.uri()).receive_buffer(BUFFER).heartbeat(Heartbeat::seconds(1));
    let connection = connect(config).await?;
    let channel = connection.channel().await?;
    let mut consumer = channel.consume(consume(&queue)).await?;
    // Nobody reads while heartbeats go out for three seconds: they do go out, and the broker is not taken for dead.
    recorder.await_frames(Direction::ToBroker, 6, Frame::is_heartbeat)?;
    let passed = proxy.passed(Direction::ToClient);
    assert!(passed < u64::try_from(KERNEL + 2 * BUFFER)?, "{passed} bytes were read ahead");
    assert!(connection.is_open());
    for _ in 0..MESSAGES / 2 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.body().len(), BODY);
        delivery.ack()?;
    }
    // Dropped with much unread: reading goes on, and so do calls.
    drop(consumer);
    channel.queue_declare(Queue::new(&queue).passive()).await?;
    channel.queue_delete(&queue).await?;
    connection.close().await?;
    Ok(publisher.close().await?)
}
