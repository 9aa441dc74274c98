//! Heartbeats: sent when nothing else was, missed when nothing came.

use std::time::Duration;

use amqp_proto::config::Heartbeat;
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{basic, connection};
use amqp_proto::wire::FrameKind;

use crate::peer::{Peer, TUNE, consume, quiet, seconds, timed_out};

const MILLI: Duration = Duration::from_millis(1);

/// An open connection with heartbeats of this many seconds.
fn beating(interval: u16) -> Peer {
    let config = quiet().heartbeat(Heartbeat::seconds(interval));
    Peer::open_with(config, connection::Tune { heartbeat: interval, ..TUNE })
}

fn beat(peer: &mut Peer) {
    peer.send_frame(FrameKind::Heartbeat, 0, b"");
}

#[test]
fn a13_an_idle_connection_sends_its_own_at_half_the_interval() {
    for interval in [1, 10, 60] {
        let mut peer = beating(interval);
        let half = seconds(interval.into()) / 2;
        for _ in 0..10 {
            peer.advance(half - MILLI);
            peer.expect_nothing();
            peer.advance(MILLI);
            assert_eq!(peer.names(), ["0 heartbeat"]);
            beat(&mut peer);
        }
    }
}

#[test]
fn a13_silence_is_a_time_out_error() {
    let mut peer = beating(10);
    let channel = peer.channel();
    let request = peer.connection.request(channel, basic::Qos::default(), Some(seconds(100))).unwrap().unwrap();
    let watch = peer.connection.watch_closed();
    peer.advance(seconds(20) - MILLI);
    peer.expect_waiting(watch);
    peer.advance(MILLI);
    for request in [request, watch] {
        let error = peer.error(request);
        assert_eq!(timed_out(&error), ("Heartbeat { interval: 10s }".to_owned(), false));
        assert!(error.is_retryable() && error.to_string().contains("10 s"), "{error}");
    }
    assert!(peer.connection.is_finished());
}

#[test]
fn any_byte_of_the_peer_is_a_sign_of_life() {
    let mut peer = beating(10);
    // A large frame that comes slowly is one, too.
    peer.send_bytes(&[3, 0, 1, 0, 0, 1, 0]);
    for _ in 0..20 {
        peer.advance(seconds(19));
        assert!(peer.connection.is_open());
        peer.send_bytes(b"x");
    }
}

#[test]
fn what_was_written_stands_for_a_heartbeat() {
    let mut peer = beating(10);
    let channel = peer.channel();
    for _ in 0..10 {
        peer.advance(seconds(4));
        peer.connection.request(channel, basic::RecoverAsync { requeue: true }, None).unwrap();
        assert_eq!(peer.names(), ["1 basic.recover-async"]);
        beat(&mut peer);
    }
    peer.advance(seconds(5));
    assert_eq!(peer.names(), ["0 heartbeat"]);
}

#[test]
fn what_is_queued_and_not_written_does_not_count() {
    let mut peer = beating(10);
    let channel = peer.channel();
    peer.advance(seconds(4));
    peer.stalled = true;
    peer.connection.request(channel, basic::RecoverAsync { requeue: true }, None).unwrap();
    peer.turn();
    beat(&mut peer);
    // It would be due at 5 s, but what waits will do as well once it is written.
    peer.advance(seconds(3));
    peer.stalled = false;
    assert_eq!(peer.names(), ["1 basic.recover-async"]);
    peer.advance(seconds(5) - MILLI);
    peer.expect_nothing();
    peer.advance(MILLI);
    assert_eq!(peer.names(), ["0 heartbeat"]);
}

#[test]
fn p16_heartbeats_pile_up_while_the_peer_does_not_read() {
    let mut peer = beating(2);
    peer.stalled = true;
    for _ in 0..1000 {
        peer.advance(seconds(1));
        beat(&mut peer);
    }
    assert!(peer.connection.outbound_len() <= 8, "{}", peer.connection.outbound_len());
    assert!(peer.connection.is_open());
}

#[test]
fn p18_a_heartbeat_of_1_spins() {
    let mut peer = beating(1);
    let mut beats = 0;
    for _ in 0..60 {
        peer.advance(seconds(1));
        beats += peer.names().len();
        beat(&mut peer);
    }
    assert_eq!(beats, 120);
    peer.advance(seconds(2));
    assert!(peer.connection.is_finished());
}

#[test]
fn f10_disabled_heartbeats_neither_send_nor_give_up() {
    let mut peer = Peer::open_with(quiet(), connection::Tune { heartbeat: 60, ..TUNE });
    assert_eq!(peer.connection.tuning().unwrap().heartbeat, None);
    peer.advance(seconds(1_000_000));
    peer.expect_nothing();
    assert!(peer.connection.is_open());
}

#[test]
fn heartbeats_are_independent_of_a_consumer_that_reads_slowly() {
    let mut peer = beating(10);
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    (1..=50).for_each(|tag| peer.deliver(1, "c", tag, b"x"));
    peer.sent();
    for _ in 0..100 {
        peer.advance(seconds(5));
        assert_eq!(peer.names(), ["0 heartbeat"]);
        beat(&mut peer);
    }
    assert_eq!(peer.connection.buffered_deliveries(consumer), 50);
}

#[test]
fn heartbeats_begin_with_tuning() {
    let mut peer = Peer::new(quiet().heartbeat(Heartbeat::seconds(4)).handshake_timeout(seconds(60)));
    peer.start();
    peer.advance(seconds(30));
    peer.send(0, connection::Tune { heartbeat: 4, ..TUNE });
    assert_eq!(peer.names(), ["0 connection.start-ok", "0 connection.tune-ok", "0 connection.open"]);
    peer.advance(seconds(2));
    assert_eq!(peer.names(), ["0 heartbeat"]);
    beat(&mut peer);
    peer.advance(seconds(8));
    let opened = peer.connection.opened();
    let error = peer.error(opened);
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}
