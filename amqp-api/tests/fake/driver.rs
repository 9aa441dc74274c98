//! The driver on transports that answer as badly as they may: no wake-up is lost, everybody is told of the end, and
//! memory stays bounded.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use amqp_api::proto::method::{ReplyCode, connection as wire_connection};
use amqp_api::proto::wire::ShortStr;
use amqp_api::{Config, Consume, ErrorKind, Heartbeat, Message, TimeoutReason};

use crate::peer::Peer;
use crate::tools::{both, poll_once};
use crate::wire::Manners;
use crate::world::{Stepped, World};

#[test]
fn no_wake_up_is_lost_however_the_bytes_come() {
    for seed in 0..200 {
        let world = World::new(seed);
        let peer = Peer { greeting: 12, ..Peer::default() };
        let (connection, wire) = world.connect_to(peer, Manners::Bad, Config::default());
        world.block_on(async {
            let channel = connection.channel().await.unwrap();
            let publisher = connection.publisher().await.unwrap();
            let declare = async {
                let calls: Vec<_> = (0..5).map(|at| channel.queue_declare(format!("q{at}"))).collect();
                for (at, call) in calls.into_iter().enumerate() {
                    assert_eq!(call.await.unwrap().name, format!("q{at}"));
                }
            };
            let publish = async {
                let mut confirms = Vec::new();
                for at in 0..20 {
                    let body = vec![b'x'; at * at * 12];
                    confirms.push(publisher.send("", "q", body).await.unwrap());
                }
                // Read late, and backwards.
                for confirm in confirms.into_iter().rev() {
                    confirm.await.unwrap();
                }
            };
            let consume = async {
                let mut consumer = channel.consume(Consume::new("q").tag("me")).await.unwrap();
                for at in 0..12 {
                    let delivery = consumer.next().await.unwrap().unwrap();
                    assert_eq!(delivery.body(), format!("greeting {at}").as_str());
                    delivery.ack().unwrap();
                }
                consumer.cancel().await.unwrap();
                assert!(consumer.next().await.is_none());
            };
            both(declare, both(publish, consume)).await;
            connection.close().await.unwrap();
        });
        assert!(world.elapsed() < Duration::from_secs(1), "a timer had to help out (seed {seed})");
        world.settle();
        let wire = wire.lock();
        assert_eq!(wire.peer.acked(), (1..=12).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(wire.peer.published.len(), 20);
        assert!(wire.shut_down, "the transport is shut down in the end (seed {seed})");
    }
}

#[test]
fn what_is_published_in_one_poll_leaves_in_one_write() {
    let world = World::new(1);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    wire.lock().reading = false;
    world.block_on(async {
        for _ in 0..1000 {
            channel.publish("", "q", "0123456789abcdef").await.unwrap();
        }
    });
    assert!(!world.block_on(async { wire.lock().peer.has_seen("basic.publish") }));
    wire.lock().reading = true;
    world.settle();
    assert_eq!(wire.lock().peer.published.len(), 1000);
}

#[test]
fn a_driver_that_is_dropped_wakes_everybody() {
    for seed in 0..20 {
        let world = World::new(seed);
        let peer = Peer { hold_confirms: true, ..Peer::default() }.mute(&["queue.declare"]);
        let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default().publish_buffer(10_000));
        let channel = world.block_on(connection.channel()).unwrap();
        let publisher = world.block_on(connection.publisher()).unwrap();
        let mut consumer = world.block_on(channel.consume("q")).unwrap();
        let mut returns = channel.returns();
        let confirm = world.block_on(publisher.send("", "q", "x")).unwrap();
        wire.lock().window = 0;
        while channel.try_publish("", "q", vec![0; 1000]).is_ok() {}
        let (call, closed) = (channel.queue_declare("q"), connection.closed());
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = |what: &'static str, error: Option<amqp_api::Error>| {
            assert!(
                matches!(error.as_ref().map(amqp_api::Error::kind), None | Some(ErrorKind::ConnectionLost { .. })),
                "{error:?}"
            );
            told.lock().unwrap().push(what);
        };
        let waiting = async {
            let a = async { tell("call", call.await.err()) };
            let b = async { tell("publish", channel.publish("", "q", "x").await.err()) };
            let c = async { tell("next", consumer.next().await.map(|next| next.err().unwrap())) };
            let d = async { assert!(returns.next().await.is_none()) };
            let e = async {
                let error = confirm.await.unwrap_err();
                let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error:?}") };
                tell("confirm", Some(cause.clone()));
            };
            let f = async { tell("closed", closed.await.err()) };
            both(both(both(a, b), both(c, d)), both(e, f)).await;
        };
        let drop_it = async {
            let mut turns = 0;
            std::future::poll_fn(|cx| {
                turns += 1;
                cx.waker().wake_by_ref();
                if turns < 20 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            assert!(told.lock().unwrap().is_empty(), "they all wait");
            world.drop_tasks();
        };
        world.block_on(both(waiting, drop_it));
        assert_eq!(told.lock().unwrap().len(), 5);
        assert_eq!(world.elapsed(), Duration::ZERO);
        assert!(wire.lock().dropped);
        // And whoever comes later is told at once.
        assert!(matches!(world.block_on(connection.channel()).unwrap_err().kind(), ErrorKind::ConnectionLost { .. }));
        assert!(world.block_on(channel.publish("", "q", "x")).is_err());
        assert!(world.block_on(connection.close()).is_err());
    }
}

#[test]
fn f30_memory_is_bounded_when_the_peer_stops_reading() {
    const LIMIT: usize = 100_000;
    let world = World::new(3);
    let (connection, wire) = world.connect(Config::default().publish_buffer(LIMIT));
    let channel = world.block_on(connection.channel()).unwrap();
    wire.lock().reading = false;
    let mut accepted = 0;
    let refused = loop {
        match channel.try_publish("", "q", [0; 1000].as_slice()) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        world.settle();
        assert!(accepted < 10_000, "it has to end");
    };
    assert!(matches!(refused.kind(), ErrorKind::Full));
    // The stream's window, the buffer, and one message over.
    assert!(accepted * 1000 <= 64 * 1024 + LIMIT + 2000, "{accepted} messages");

    // A publish waits; one that is given up leaves nothing behind.
    let mut given_up = Box::pin(channel.publish("", "given up", "x"));
    assert!(poll_once(&mut given_up).is_pending());
    drop(given_up);
    let mut waiting = Box::pin(channel.publish("", "waited", "x"));
    assert!(poll_once(&mut waiting).is_pending());
    wire.lock().reading = true;
    world.block_on(waiting).unwrap();
    world.settle();
    let published = &wire.lock().peer.published;
    assert_eq!(published.len(), accepted + 1);
    assert_eq!(published.last().unwrap().1, "waited");
}

#[test]
fn a_publish_waits_for_room_no_longer_than_its_deadline() {
    let world = World::new(4);
    let config =
        Config::default().publish_buffer(1000).room_timeout(Duration::from_secs(7)).heartbeat(Heartbeat::Disabled);
    let peer = Peer { heartbeat: 0, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, config);
    let channel = world.block_on(connection.channel()).unwrap();
    wire.lock().reading = false;
    wire.lock().window = 0;
    while channel.try_publish("", "q", "0123456789").is_ok() {}
    world.settle();
    let start = world.elapsed();
    let error = world.block_on(channel.publish("", "q", "x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Room, .. }), "{error}");
    assert_eq!(world.elapsed() - start, Duration::from_secs(7));
}

#[test]
fn f35_reading_pauses_while_a_consumer_without_acks_does_not_read() {
    let world = World::new(5);
    let (connection, wire) = world.connect(Config::default().receive_buffer(100_000));
    let channel = world.block_on(connection.channel()).unwrap();
    let mut consumer = world.block_on(channel.consume(Consume::new("q").no_ack())).unwrap();
    (0..1000).for_each(|_| wire.lock().peer.deliver(&[7; 1000]));
    world.settle();
    // Heartbeats go out meanwhile, and the peer is not given up for our own pause.
    world.sleep(Duration::from_secs(300));
    assert!(wire.lock().peer.heartbeats >= 5);
    assert!(connection.is_open());
    let mut read = 0;
    while consumer.try_next().is_some() {
        read += 1;
    }
    assert!(read < 300, "{read} were buffered");
    world.block_on(async {
        while read < 1000 {
            assert_eq!(consumer.next().await.unwrap().unwrap().body().len(), 1000);
            read += 1;
        }
    });
    assert_eq!(world.elapsed(), Duration::from_secs(300));
}

#[test]
fn a13_an_idle_connection_sends_heartbeats_and_gives_a_silent_peer_up() {
    let world = World::new(6);
    let peer = Peer { heartbeat: 10, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let error = world.block_on(connection.closed()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Heartbeat { .. }, .. }), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(20));
    assert_eq!(wire.lock().peer.heartbeats, 3);
    world.sleep(Duration::from_secs(2));
    assert_eq!(world.task_count(), 0, "the driver has gone");
}

#[test]
fn a_call_after_an_idle_hour_has_its_whole_deadline() {
    let world = World::new(7);
    let peer = Peer { heartbeat: 0, ..Peer::default() }.mute(&["queue.declare"]);
    let config = Config::default().heartbeat(Heartbeat::Disabled).call_timeout(Duration::from_secs(5));
    let (connection, _wire) = world.connect_to(peer, Manners::Good, config);
    let channel = world.block_on(connection.channel()).unwrap();
    world.sleep(Duration::from_secs(3600));
    let error = world.block_on(channel.queue_declare("q")).unwrap_err();
    assert_eq!(error.operation(), Some("queue.declare"));
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Call { .. }, .. }), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(3605));
}

#[test]
fn p29_a_connect_that_is_given_up_leaves_nothing_behind() {
    let world = World::new(10);
    let wire = world.wire(Peer::default().mute(&["connection.open"]), Manners::Good);
    {
        let mut connecting = Box::pin(world.attach(&wire, Config::default()));
        assert!(poll_once(&mut connecting).is_pending());
        world.settle();
        assert!(wire.lock().peer.has_seen("connection.open"));
    }
    world.sleep(Duration::from_secs(2));
    assert_eq!(world.task_count(), 0);
    assert!(wire.lock().dropped);
}

#[test]
fn what_the_broker_says_last_is_heard_though_writing_fails() {
    for comes_late in [false, true] {
        let world = World::new(11);
        let (connection, wire) = world.connect(Config::default());
        let channel = world.block_on(connection.channel()).unwrap();
        let mut call = Stepped::new(channel.queue_declare("q"));
        wire.lock().write_error = Some(io::ErrorKind::BrokenPipe);
        if comes_late {
            assert!(world.settle_with(&mut call).is_none());
        }
        {
            let mut wire = wire.lock();
            wire.peer.say(
                0,
                &wire_connection::Close {
                    reply_code: ReplyCode(320),
                    reply_text: ShortStr::new("CONNECTION_FORCED - bye").unwrap(),
                    class_id: 0,
                    method_id: 0,
                },
            );
            wire.peer.hung_up = true;
        }
        wire.step();
        let error = world.settle_with(&mut call).unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionClosed(_)), "{error}");
        assert_eq!(error.reply_code(), Some(ReplyCode(320)));
    }
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_told_as_such() {
    let world = World::new(11);
    let (connection, wire) = world.connect(Config::default());
    {
        let mut wire = wire.lock();
        wire.peer.out.extend_from_slice(&[1, 0, 0, 0, 0]);
        wire.peer.hung_up = true;
    }
    let error = world.block_on(connection.closed()).unwrap_err();
    let ErrorKind::ConnectionLost { kind: io::ErrorKind::UnexpectedEof, text } = error.kind() else {
        panic!("{error}")
    };
    assert!(text.contains("inside a frame, after 5 bytes"), "{text}");
}

#[test]
fn a_lost_transport_is_told_to_everybody() {
    for (read, write) in
        [(Some(io::ErrorKind::ConnectionReset), None), (None, Some(io::ErrorKind::BrokenPipe)), (None, None)]
    {
        let world = World::new(12);
        let (connection, wire) = world.connect(Config::default());
        let channel = world.block_on(connection.channel()).unwrap();
        let mut consumer = world.block_on(channel.consume("q")).unwrap();
        {
            let mut wire = wire.lock();
            (wire.read_error, wire.write_error) = (read, write);
            wire.eof = read.is_none() && write.is_none();
        }
        let expected = read.or(write).unwrap_or(io::ErrorKind::UnexpectedEof);
        let is_expected = |error: &amqp_api::Error| matches!(error.kind(), ErrorKind::ConnectionLost { kind, .. } if *kind == expected);
        let error = world.block_on(channel.queue_declare("q")).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        let error = world.block_on(consumer.next()).unwrap().unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert!(world.block_on(consumer.next()).is_none());
        assert!(is_expected(&world.block_on(connection.closed()).unwrap_err()));
        world.sleep(Duration::from_secs(2));
        assert_eq!(world.task_count(), 0);
    }
}

#[test]
fn garbage_ends_the_connection_with_a_word_to_the_peer() {
    for manners in [Manners::Good, Manners::Bad] {
        let world = World::new(13);
        let (connection, wire) = world.connect_to(Peer::default(), manners, Config::default());
        wire.lock().peer.out.extend_from_slice(&[0x55; 300]);
        let error = world.block_on(connection.closed()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
        world.sleep(Duration::from_secs(2));
        assert!(wire.lock().peer.has_seen("connection.close"));
        assert_eq!(world.task_count(), 0);
    }
}

#[test]
fn a_large_message_comes_and_goes_whole() {
    for manners in [Manners::Good, Manners::Bad] {
        let world = World::new(14);
        let (connection, wire) = world.connect_to(Peer::default(), manners, Config::default());
        let size = if manners == Manners::Good { 5_000_000 } else { 50_000 };
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let publisher = world.block_on(connection.publisher()).unwrap();
        world.block_on(publisher.publish("", "q", &body)).unwrap();
        world.block_on(publisher.publish("", "q", Message::new(body.clone()))).unwrap();
        assert!(wire.lock().peer.published.iter().all(|(.., received)| *received == body));
        let channel = world.block_on(connection.channel()).unwrap();
        let mut consumer = world.block_on(channel.consume("q")).unwrap();
        wire.lock().peer.deliver(&body);
        let delivery = world.block_on(consumer.next()).unwrap().unwrap();
        assert!(delivery.body() == body.as_slice());
    }
}

#[test]
fn f5_the_time_of_the_runtime_is_the_only_time() {
    let world = World::new(15);
    let runtime = world.runtime();
    let before = runtime.now();
    world.sleep(Duration::from_secs(9));
    assert_eq!(runtime.now() - before, Duration::from_secs(9));
}
