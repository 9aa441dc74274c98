//! Bodies that are larger than memory, on streams that behave badly: at whatever point a future is dropped, nothing is
//! lost without a word, nothing is published by half, and everybody else goes on.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amqp_api::{BodyStream, BodyWriter, Config, Connection, Error, ErrorKind, StreamedConsumer, StreamedDelivery};
use bytes::{Buf, Bytes};

use crate::peer::{Peer, Settled};
use crate::tools::both;
use crate::wire::{Manners, WireHandle};
use crate::world::World;

fn body(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Runs a future for so many polls, each after everything else has come to rest; `None` if it was dropped then.
fn run_for<T>(world: &World, polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        world.settle();
    }
    None
}

#[test]
fn f6_handles_of_streamed_bodies_can_go_to_other_tasks() {
    fn sent<T: Send + 'static>() {}
    fn future<T: Send>(_: T) {}
    sent::<BodyWriter>();
    sent::<StreamedConsumer>();
    sent::<StreamedDelivery>();
    sent::<BodyStream>();
    let _ = |mut consumer: StreamedConsumer, mut delivery: StreamedDelivery| {
        future(consumer.next());
        future(delivery.chunk());
        future(async move { delivery.read(&mut [0; 8]).await });
    };
    let _ = |connection: Connection, mut writer: BodyWriter| {
        future(connection.publish_streamed("", "", "", 1));
        future(writer.write(&b"x"[..]));
        future(writer.finish());
    };
}

#[test]
fn f6_a_body_goes_out_whole_over_any_stream() {
    for seed in 0..16 {
        let world = World::new(seed);
        let manners = if seed % 2 == 0 { Manners::Good } else { Manners::Bad };
        let config = Config::default().publish_buffer(20_000);
        let (connection, wire) = world.connect_to(Peer::default(), manners, config);
        let whole = body(100_000);
        let write = async {
            let mut writer = connection.publish_streamed("", "key", "", 100_000).await?;
            let mut rest = whole.clone();
            while rest.has_remaining() {
                writer.write(rest.split_to(rest.len().min(7000))).await?;
            }
            writer.finish().await
        };
        let others = async {
            let publisher = connection.publisher().await?;
            for _ in 0..20 {
                publisher.publish("", "other", "small").await?;
            }
            Ok::<_, Error>(())
        };
        let (written, published) = world.block_on(both(write, others));
        written.unwrap();
        published.unwrap();
        let wire = wire.lock();
        assert!(
            wire.peer.published.iter().any(|(_, key, mode, body)| key == "key" && *mode == Some(2) && body == &whole)
        );
        assert_eq!(wire.peer.published.len(), 21);
    }
}

#[test]
fn f6_a_writer_dropped_at_any_step_commits_nothing_and_harms_nobody() {
    for polls in 0..40 {
        let world = World::new(polls);
        let config = Config::default().publish_buffer(10_000);
        let (connection, wire) = world.connect_to(Peer::default(), Manners::Bad, config);
        let session = async {
            let mut writer = connection.publish_streamed("", "key", "", 60_000).await?;
            writer.write(body(59_999)).await?;
            writer.finish().await
        };
        let ended = run_for(&world, usize::try_from(polls).unwrap(), session);
        assert!(
            ended.is_none_or(|result| matches!(result.unwrap_err().kind(), ErrorKind::BodySize { missing: 1, .. }))
        );
        // The connection is as good as before, and the channel is closed behind the whole body.
        let rest = async {
            let channel = connection.channel().await?;
            channel.queue_declare("q").await
        };
        world.block_on(rest).unwrap();
        world.settle();
        let wire = wire.lock();
        assert!(!wire.peer.has_seen("tx.commit"));
        assert!(wire.peer.published.iter().all(|(.., body)| body.len() == 60_000));
        assert!(wire.peer.channels.len() <= 1, "after {polls} polls");
    }
}

#[test]
fn f6_what_was_taken_of_a_part_is_told_when_its_future_is_dropped_and_when_it_fails() {
    let world = World::new(1);
    let config = Config::default().publish_buffer(10_000).room_timeout(Duration::from_secs(3));
    let (connection, wire) = world.connect_to(Peer::default(), Manners::Good, config);
    let mut writer = world.block_on(connection.publish_streamed("", "key", "", 2_000_000)).unwrap();
    world.settle();
    wire.lock().reading = false;
    let whole = body(2_000_000);
    let mut rest = whole.clone();
    assert!(run_for(&world, 5, writer.write(&mut rest)).is_none());
    assert_eq!(writer.missing(), rest.remaining() as u64);
    let taken = 2_000_000 - rest.remaining();
    assert!(taken > 0 && taken < 800_000, "{taken}");
    let error = world.block_on(writer.write(&mut rest)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    assert_eq!(writer.missing(), rest.remaining() as u64);
    wire.lock().reading = true;
    world.block_on(writer.write(&mut rest)).unwrap();
    world.block_on(writer.finish()).unwrap();
    assert!(wire.lock().peer.published[0].3 == whole);
}

#[test]
fn f6_a_commit_that_is_not_answered_is_an_unknown_outcome() {
    for lost in [false, true] {
        let world = World::new(1);
        let config = Config::default().confirm_timeout(Duration::from_secs(3));
        let peer = Peer::default().mute(&["tx.commit"]);
        let (connection, wire) = world.connect_to(peer, Manners::Good, config);
        let mut writer = world.block_on(connection.publish_streamed("", "key", "", 1)).unwrap();
        world.block_on(writer.write(&b"x"[..])).unwrap();
        world.settle();
        let lose = async { wire.lock().eof = lost };
        let (finished, ()) = world.block_on(both(writer.finish(), lose));
        let error = finished.unwrap_err();
        let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
        match cause.kind() {
            ErrorKind::ConnectionLost { .. } if lost => {}
            ErrorKind::Timeout { .. } if !lost => assert_eq!(world.elapsed().as_secs(), 3),
            _ => panic!("{cause}"),
        }
    }
}

/// A streamed consumer, and deliveries of these bodies on their way to it.
fn consume(world: &World, manners: Manners, config: Config, bodies: &[Bytes]) -> (StreamedConsumer, WireHandle) {
    let (connection, wire) = world.connect_to(Peer::default(), manners, config);
    let consumer = world.block_on(async { connection.channel().await?.consume_streamed("q").await }).unwrap();
    bodies.iter().for_each(|body| wire.lock().peer.deliver(body));
    (consumer, wire)
}

async fn read_all(delivery: &mut StreamedDelivery) -> Result<Vec<u8>, Error> {
    let (mut all, unread) = (Vec::new(), delivery.unread());
    while let Some(chunk) = delivery.chunk().await {
        all.extend_from_slice(&chunk?);
        assert_eq!(delivery.unread(), unread - all.len() as u64);
    }
    Ok(all)
}

#[test]
fn f6_a_body_comes_in_whole_over_any_stream_and_reading_that_was_paused_goes_on() {
    for seed in 0..16 {
        let world = World::new(seed);
        let manners = if seed % 2 == 0 { Manners::Good } else { Manners::Bad };
        // Less than one frame: it pauses again and again.
        let config = Config::default().receive_buffer(10_000).max_body_size(1000);
        let bodies = [body(300_000), body(10), body(0), body(1025)];
        let (mut consumer, wire) = consume(&world, manners, config, &bodies);
        world.settle();
        world.block_on(async {
            for body in &bodies {
                let mut delivery = consumer.next().await.unwrap().unwrap();
                assert_eq!(delivery.body_size(), body.len() as u64);
                assert_eq!((delivery.exchange(), delivery.routing_key()), ("from", "key"));
                assert!(read_all(&mut delivery).await.unwrap() == *body);
                assert!(delivery.chunk().await.is_none());
                delivery.ack().unwrap();
            }
        });
        world.settle();
        assert_eq!(wire.lock().peer.acked(), [1, 2, 3, 4]);
    }
}

#[test]
fn f6_a_body_is_read_into_buffers_of_any_size() {
    for size in [1, 7, 1000, 50_000] {
        let world = World::new(size as u64);
        let whole = body(20_000);
        let (mut consumer, _wire) = consume(&world, Manners::Good, Config::default(), std::slice::from_ref(&whole));
        world.block_on(async {
            let mut delivery = consumer.next().await.unwrap().unwrap();
            let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
            assert_eq!(delivery.read(&mut []).await.unwrap(), 0);
            loop {
                let count = delivery.read(&mut buffer).await.unwrap();
                all.extend_from_slice(&buffer[..count]);
                assert_eq!(delivery.unread(), 20_000 - all.len() as u64);
                if count == 0 {
                    break;
                }
                // By chunks in between, nothing is lost.
                if all.len() < 3000
                    && let Some(chunk) = delivery.chunk().await
                {
                    all.extend_from_slice(&chunk.unwrap());
                }
            }
            assert!(all == whole);
        });
    }
}

#[test]
fn f6_a_task_that_reads_a_body_gives_way_to_others() {
    let world = World::new(1);
    let config = Config::default().receive_buffer(32 << 20);
    let (mut consumer, _wire) = consume(&world, Manners::Good, config, &[body(16 << 20)]);
    world.settle();
    let mut delivery = world.block_on(consumer.next()).unwrap().unwrap();
    // All of it is there.
    let (mut chunks, mut waits) = (0, 0);
    while delivery.unread() > 0 {
        match pin!(delivery.chunk()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(chunk) => chunks += usize::from(chunk.unwrap().is_ok()),
            Poll::Pending => waits += 1,
        }
        assert!(waits < 100, "{} bytes have not come", delivery.unread());
    }
    assert!(chunks > 64 && waits == chunks / 64, "{waits} times within {chunks} chunks");
}

#[test]
fn f6_a_delivery_dropped_at_any_step_goes_back_and_the_next_one_is_whole() {
    for polls in 0..30 {
        let world = World::new(polls);
        let config = Config::default().receive_buffer(10_000);
        let bodies = [body(40_000), body(5000)];
        let (mut consumer, wire) = consume(&world, Manners::Bad, config, &bodies);
        let first = async {
            let mut delivery = consumer.next().await.unwrap().unwrap();
            read_all(&mut delivery).await.unwrap();
            // Dropped here, it goes back as well.
        };
        run_for(&world, usize::try_from(polls).unwrap(), first);
        world.block_on(async {
            let mut tags = Vec::new();
            while tags.last() != Some(&2) {
                let mut delivery = consumer.next().await.unwrap().unwrap();
                tags.push(delivery.delivery_tag().value());
                let expected = if tags.last() == Some(&1) { &bodies[0] } else { &bodies[1] };
                assert!(read_all(&mut delivery).await.unwrap() == *expected);
                delivery.ack().unwrap();
            }
        });
        world.settle();
        let wire = wire.lock();
        for tag in [1, 2] {
            let settled = wire.peer.settled.iter().filter(|settled| match **settled {
                Settled::Ack { tag: acked, multiple } => acked == tag || (multiple && acked > tag),
                Settled::Nack { tag: nacked, .. } | Settled::Reject { tag: nacked, .. } => nacked == tag,
            });
            assert_eq!(settled.count(), 1, "{tag} after {polls} polls: {:?}", wire.peer.settled);
        }
    }
}

#[test]
fn f6_a_dropped_consumer_requeues_what_is_coming_and_the_connection_goes_on() {
    let world = World::new(1);
    let config = Config::default().receive_buffer(10_000);
    let (consumer, wire) = consume(&world, Manners::Good, config, &[body(1_000_000), body(1_000_000)]);
    world.settle();
    let channel = consumer.channel().clone();
    drop(consumer);
    world.block_on(channel.queue_declare("q")).unwrap();
    let wire = wire.lock();
    assert!(wire.peer.has_seen("basic.cancel"));
    let nacks = wire.peer.settled.iter().filter(|settled| matches!(settled, Settled::Nack { requeue: true, .. }));
    assert_eq!(nacks.count(), 2);
}

#[test]
fn f6_a_body_and_what_settles_it_may_go_their_own_ways() {
    let world = World::new(1);
    let whole = body(100_000);
    let (mut consumer, wire) = consume(&world, Manners::Good, Config::default(), std::slice::from_ref(&whole));
    world.block_on(async {
        let (mut body, acker) = consumer.next().await.unwrap().unwrap().into_parts();
        acker.ack().unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = body.chunk().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        assert!(all == whole && body.unread() == 0 && body.size() == 100_000);
    });
    world.settle();
    assert_eq!(wire.lock().peer.acked(), [1]);
}

#[test]
fn f6_a_lost_connection_ends_a_body_with_the_cause() {
    let world = World::new(1);
    let config = Config::default().receive_buffer(1000);
    let (mut consumer, wire) = consume(&world, Manners::Good, config, &[body(1_000_000)]);
    // Half of it comes.
    let half = wire.lock().peer.out.len() / 2;
    wire.lock().peer.out.truncate(half);
    let mut delivery = world.block_on(consumer.next()).unwrap().unwrap();
    world.block_on(delivery.chunk()).unwrap().unwrap();
    wire.lock().eof = true;
    let error = world.block_on(read_all(&mut delivery)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    // It is no end that looks like a whole body.
    assert!(delivery.unread() > 0);
    assert!(world.block_on(delivery.chunk()).is_none());
    world.block_on(delivery.read(&mut [0; 10])).unwrap_err();
    drop(delivery);
    assert!(world.block_on(consumer.next()).unwrap().is_err());
}
