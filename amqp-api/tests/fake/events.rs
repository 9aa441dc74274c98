//! What listeners hear of a connection.

use amqp_api::proto::method::{ReplyCode, connection as wire_connection};
use amqp_api::proto::wire::ShortStr;
use amqp_api::{Config, Connection, ConnectionEvent, Error, Events};

use crate::tools::poll_once;
use crate::wire::WireHandle;
use crate::world::World;

fn open(seed: u64) -> (World, Connection, WireHandle) {
    let world = World::new(seed);
    let (connection, wire) = world.connect(Config::default());
    (world, connection, wire)
}

fn block(wire: &WireHandle, reason: &str) {
    wire.lock().peer.say(0, &wire_connection::Blocked { reason: ShortStr::new(reason).unwrap() });
}

fn close(wire: &WireHandle) {
    let reply_text = ShortStr::new("CONNECTION_FORCED - bye").unwrap();
    let close = wire_connection::Close { reply_code: ReplyCode(320), reply_text, class_id: 0, method_id: 0 };
    wire.lock().peer.say(0, &close);
}

fn all(events: &mut Events) -> Vec<ConnectionEvent> {
    std::iter::from_fn(|| events.try_next()).collect()
}

#[track_caller]
fn closed(event: Option<ConnectionEvent>) -> Option<Error> {
    match event {
        Some(ConnectionEvent::Closed { cause }) => cause,
        event => panic!("{event:?}"),
    }
}

#[test]
fn f12_every_listener_hears_of_blocked_and_unblocked() {
    let (world, connection, wire) = open(1);
    let mut listeners = [connection.events(), connection.events()];
    for listener in &mut listeners {
        assert!(poll_once(&mut Box::pin(listener.next())).is_pending());
    }
    block(&wire, "low on memory");
    for listener in &mut listeners {
        let event = world.block_on(listener.next()).unwrap();
        assert!(matches!(event, ConnectionEvent::Blocked { reason } if reason == "low on memory"));
    }
    // A later one hears of what comes.
    let mut late = connection.events();
    wire.lock().peer.say(0, &wire_connection::Unblocked {});
    for listener in listeners.iter_mut().chain([&mut late]) {
        assert!(matches!(world.block_on(listener.next()), Some(ConnectionEvent::Unblocked)));
    }
}

#[test]
fn c15_every_listener_hears_of_the_end_once_and_with_its_cause() {
    let (world, connection, wire) = open(2);
    let mut listeners = [connection.events(), connection.events()];
    close(&wire);
    for listener in &mut listeners {
        let cause = closed(world.block_on(listener.next())).expect("it was the broker");
        assert_eq!(cause.reply_code(), Some(ReplyCode(320)));
        assert!(world.block_on(listener.next()).is_none());
        assert!(world.block_on(listener.next()).is_none());
    }
    // Whoever listens afterwards hears of it too.
    let mut late = connection.events();
    assert_eq!(closed(late.try_next()).expect("it was the broker").reply_code(), Some(ReplyCode(320)));
    assert!(world.block_on(late.next()).is_none());
}

#[test]
fn a_close_of_ones_own_has_no_cause_and_listening_keeps_nothing_open() {
    let (world, connection, wire) = open(3);
    let mut events = connection.events();
    drop(connection);
    assert!(closed(world.block_on(events.next())).is_none());
    assert!(wire.lock().peer.has_seen("connection.close"));

    let (world, connection, _wire) = open(4);
    let mut events = connection.events();
    world.drop_tasks();
    let cause = closed(world.block_on(events.next())).expect("nobody closed it");
    assert!(cause.to_string().contains("dropped"), "{cause}");
}

#[test]
fn a_listener_that_does_not_listen_holds_nobody_up_and_is_told_what_it_missed() {
    let (world, connection, wire) = open(5);
    let (mut idle, mut busy) = (connection.events(), connection.events());
    for at in 0..500 {
        block(&wire, &at.to_string());
        world.settle();
        assert!(matches!(busy.try_next(), Some(ConnectionEvent::Blocked { reason }) if reason == at.to_string()));
    }
    let events = all(&mut idle);
    assert_eq!(events.len(), 257);
    assert!(matches!(events[0], ConnectionEvent::Missed(244)), "{:?}", events[0]);
    for (at, event) in (244..500).zip(&events[1..]) {
        assert!(matches!(event, ConnectionEvent::Blocked { reason } if *reason == at.to_string()), "{event:?}");
    }
    // The end is never lost.
    (0..300).for_each(|_| block(&wire, "again"));
    close(&wire);
    world.settle();
    let events = all(&mut idle);
    assert!(matches!(events[0], ConnectionEvent::Missed(45)), "{:?}", events[0]);
    assert!(closed(events.last().cloned()).is_some());
}

#[test]
fn a_dropped_listener_is_forgotten() {
    let (world, connection, wire) = open(6);
    let mut dropped = connection.events();
    assert!(poll_once(&mut Box::pin(dropped.next())).is_pending());
    drop(dropped);
    let mut other = connection.events();
    block(&wire, "low on memory");
    assert!(matches!(world.block_on(other.next()), Some(ConnectionEvent::Blocked { .. })));
}
