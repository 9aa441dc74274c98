//! Bodies that are larger than memory, on streams that behave badly: at whatever point a future is dropped, nothing is
//! lost without a word, nothing is published by half, and everybody else goes on.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amqp_api::{BodyWriter, Config, Connection, Error, ErrorKind};
use bytes::{Buf, Bytes};

use crate::peer::Peer;
use crate::tools::both;
use crate::wire::Manners;
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
