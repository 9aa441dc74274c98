//! When the next attempt is made, and when there is none.

use std::time::Duration;

use amqp_proto::config::Recovery;
use amqp_proto::conn::{Event, Reply};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{ReplyCode, connection, queue};
use amqp_proto::sasl::Credentials;

use super::{assert_lost, config, lose, open};
use crate::peer::{Peer, TUNE, quiet, seconds, short};

#[test]
fn f43_a_lost_connection_comes_back() {
    let mut peer = open();
    let watch = peer.connection.watch_closed();
    lose(&mut peer);
    assert!(peer.connection.is_open() && !peer.connection.is_connected());
    let [Event::Disconnected(cause)] = &peer.events[..] else { panic!("{:?}", peer.events) };
    assert_lost(cause);
    peer.reconnect();
    assert!(peer.connection.is_connected());
    assert!(matches!(peer.events[1..], [Event::Reconnecting { attempt: 1 }, Event::Recovered]), "{:?}", peer.events);
    peer.expect_nothing();
    peer.expect_waiting(watch);
    let channel = peer.channel();
    let request = peer.declare(channel, "q");
    peer.sent();
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
}

#[test]
fn f43_delays_grow_and_are_random_and_bounded() {
    let recovery = Recovery::default().first_delay(seconds(1)).max_delay(seconds(8));
    let mut peer = Peer::open_with(quiet().recovery(recovery), TUNE);
    lose(&mut peer);
    for step in [1, 2, 4, 8, 8] {
        let delay = peer.wait_for_attempt();
        assert!(seconds(step) / 10 <= delay && delay <= seconds(step), "{delay:?} of {step} s");
        peer.connection.handle_dial_error(refused());
    }
    peer.reconnect();
    // It was lost again at once: nothing begins anew.
    lose(&mut peer);
    assert!(peer.wait_for_attempt() >= seconds(8) / 10);
    assert_eq!(peer.connection.attempts(), 7);
    peer.connection.restart(peer.now);
    peer.eof();
    peer.reconnect();
    peer.advance(seconds(9));
    assert_eq!(peer.connection.attempts(), 0);
    lose(&mut peer);
    assert!(peer.wait_for_attempt() <= seconds(1));
}

#[test]
fn f43_five_hundred_connections_that_are_lost_at_once_come_back_one_after_the_other() {
    let (step, mut tenths) = (seconds(10), [0; 10]);
    for seed in 0..500 {
        let recovery = Recovery::default().first_delay(step).max_delay(step);
        let mut peer = Peer::open_seeded(quiet().recovery(recovery), TUNE, seed);
        lose(&mut peer);
        let at = peer.wait_for_attempt().as_secs();
        tenths[usize::try_from(at).unwrap().min(9)] += 1;
        peer.reconnect();
        assert!(peer.connection.is_connected());
    }
    println!("500 connections that are lost at once, by when they come back, within a back-off step of 10 s:");
    for (second, count) in tenths.iter().enumerate() {
        println!("{second:2} s to {:2} s {count:4} {}", second + 1, "#".repeat(count / 2));
    }
    assert_eq!(tenths[0], 0, "nobody comes back at once");
    // A fifth in no tenth of the step, and some in each.
    assert!(tenths[1..].iter().all(|count| (20..=100).contains(count)), "{tenths:?}");
}

fn refused() -> Error {
    let kind = std::io::ErrorKind::ConnectionRefused;
    Error::new(ErrorKind::ConnectionLost { kind, text: "cannot connect to here: refused".to_owned() })
}

#[test]
fn f43_a_connection_without_recovery_ends_with_the_first_loss() {
    let mut peer = Peer::open();
    let watch = peer.connection.watch_closed();
    peer.eof();
    assert!(peer.connection.is_finished() && !peer.connection.is_open());
    assert_lost(&peer.error(watch));
}

#[test]
fn c1_the_first_handshake_is_not_tried_again() {
    let mut peer = Peer::new(config());
    let opened = peer.connection.opened();
    peer.start();
    peer.close(403, "ACCESS_REFUSED");
    assert!(peer.connection.is_finished());
    assert!(matches!(peer.error(opened).kind(), ErrorKind::AuthenticationFailed(_)));
}

#[test]
fn c14_a_close_while_it_is_down_ends_it_and_there_is_no_further_attempt() {
    // In the back-off, while it dials, in the handshake.
    for stage in 0..3 {
        let mut peer = open();
        let channel = peer.channel();
        let watch = peer.connection.watch_closed();
        lose(&mut peer);
        let request = peer.declare(channel, "q");
        match stage {
            0 => peer.turn(),
            1 => drop(peer.wait_for_attempt()),
            _ => peer.redial(),
        }
        let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
        assert!(peer.connection.is_finished() && !peer.connection.wants_transport(), "stage {stage}");
        assert!(matches!(peer.reply(close), Ok(Reply::Done)));
        assert!(matches!(peer.reply(watch), Ok(Reply::Done)));
        assert!(matches!(peer.error(request).kind(), ErrorKind::ConnectionNotOpen));
        assert!(matches!(peer.events.last(), Some(Event::Closed)));
        peer.expect_nothing();
        peer.advance(seconds(100));
        assert!(!peer.connection.wants_transport());
    }
}

#[test]
fn c14_a_close_while_it_is_restored_says_so_to_the_broker() {
    let mut peer = open();
    let channel = peer.channel();
    let other = peer.channel();
    lose(&mut peer);
    let held = peer.declare(channel, "q");
    peer.reconnect();
    let sent = peer.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    assert_eq!(peer.names(), ["0 connection.close"]);
    assert_lost(&peer.error(held));
    sent.iter().for_each(|sent| peer.grant(sent));
    peer.send(0, connection::CloseOk {});
    assert!(matches!(peer.reply(close), Ok(Reply::Done)));
    assert!(peer.connection.is_finished());
    peer.connection.release_channel(other);
    assert_eq!(peer.connection.channel_count(), 2, "no number was freed after the end");
}

#[test]
fn f43_an_abort_while_it_is_down_is_final() {
    let mut peer = open();
    lose(&mut peer);
    peer.connection.abort();
    assert!(peer.connection.is_finished());
    peer.advance(seconds(100));
    assert!(!peer.connection.wants_transport());
}

#[test]
fn f43_a_driver_that_is_gone_is_final() {
    let mut peer = open();
    let watch = peer.connection.watch_closed();
    peer.connection.handle_driver_gone();
    assert!(peer.connection.is_finished());
    peer.error(watch);
}

#[test]
fn f43_wrong_credentials_are_final_when_the_broker_has_refused_them_twice() {
    let mut peer = open();
    let watch = peer.connection.watch_closed();
    lose(&mut peer);
    peer.redial();
    peer.connection.set_credentials(Credentials::new("guest", "old"));
    peer.start();
    peer.close(403, "ACCESS_REFUSED");
    assert!(!peer.connection.is_finished());
    assert!(matches!(peer.events.last(), Some(Event::AttemptFailed(_))));
    peer.redial();
    peer.start();
    peer.close(403, "ACCESS_REFUSED");
    assert!(peer.connection.is_finished());
    assert!(matches!(peer.error(watch).kind(), ErrorKind::AuthenticationFailed(_)));
}

#[test]
fn f43_a_missing_virtual_host_is_final_and_a_limit_is_not() {
    let mut peer = open();
    let watch = peer.connection.watch_closed();
    lose(&mut peer);
    for text in ["access to vhost '/' refused: connection limit (2) is reached", "vhost lost not found"] {
        assert!(!peer.connection.is_finished());
        peer.redial();
        peer.start();
        peer.send(0, TUNE);
        peer.close(530, text);
    }
    assert!(peer.connection.is_finished());
    assert_eq!(peer.error(watch).reply_code(), Some(ReplyCode::NOT_ALLOWED));
}

#[test]
fn f43_the_last_of_bounded_attempts_is_final() {
    let mut peer = Peer::open_with(quiet().recovery(Recovery::default().max_attempts(2)), TUNE);
    let watch = peer.connection.watch_closed();
    lose(&mut peer);
    for _ in 0..2 {
        peer.wait_for_attempt();
        peer.connection.handle_dial_error(refused());
    }
    assert!(peer.connection.is_finished());
    assert!(peer.error(watch).to_string().contains("refused"));
}

#[test]
fn c15_a_close_from_the_broker_is_answered_and_the_connection_comes_back() {
    let mut peer = open();
    let channel = peer.channel();
    let call = peer.declare(channel, "q");
    peer.sent();
    peer.close(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    assert_eq!(peer.names(), ["0 connection.close-ok"]);
    assert_eq!(peer.error(call).reply_code(), Some(ReplyCode::CONNECTION_FORCED));
    peer.reconnect();
    peer.grant_all();
    assert!(peer.connection.is_connected());
}

#[test]
fn f43_silence_in_the_handshake_of_an_attempt_is_followed_by_the_next() {
    let mut peer = open();
    lose(&mut peer);
    peer.redial();
    peer.advance(seconds(10));
    assert!(!peer.connection.is_finished() && peer.connection.is_disconnected());
    peer.reconnect();
    assert!(peer.connection.is_connected());
}

#[test]
fn f43_silence_while_it_is_restored_is_a_loss() {
    let mut peer = open();
    peer.channel();
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(peer.names(), ["1 channel.open"]);
    peer.advance(seconds(29));
    assert!(!peer.connection.is_disconnected());
    peer.advance(Duration::from_millis(1001));
    assert!(peer.connection.is_disconnected());
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open"]);
    assert!(peer.connection.is_connected());
}

#[test]
fn c2_the_connection_is_open_when_the_hooks_are_done_each_time() {
    let mut peer = Peer::new(config());
    peer.connection.use_hooks();
    let opened = peer.connection.opened();
    peer.start();
    peer.send(0, TUNE);
    peer.send(0, connection::OpenOk {});
    peer.expect_waiting(opened);
    let run = peer.connection.take_hooks().unwrap();
    assert!(peer.connection.take_hooks().is_none());
    peer.sent();
    // The hook's channel can be used at once.
    let (channel, request) = peer.connection.open_channel_for_hook().unwrap();
    assert_eq!(peer.grant_all(), ["1 channel.open"]);
    peer.reply(request).unwrap();
    let declared = peer.declare(channel, "q");
    assert_eq!(peer.grant_all(), ["1 queue.declare"]);
    assert_eq!(peer.declared(declared), "q");
    peer.connection.release_channel(channel);
    peer.grant_all();
    peer.expect_waiting(opened);
    peer.connection.hooks_done(run, Ok(()));
    assert!(matches!(peer.reply(opened), Ok(Reply::Done)));

    let mine = peer.channel();
    lose(&mut peer);
    let call = peer.declare(mine, "held");
    peer.reconnect();
    let late = peer.connection.open_channel().unwrap().1;
    peer.expect_nothing();
    peer.connection.hooks_done(run, Ok(()));
    peer.expect_nothing();
    let again = peer.connection.take_hooks().unwrap();
    assert!(!peer.connection.is_connected());
    peer.connection.hooks_done(again, Ok(()));
    // What the hook has declared is not recorded.
    assert_eq!(peer.grant_all().len(), 3, "two channels, and what was held");
    assert_eq!(peer.declared(call), "held");
    peer.reply(late).unwrap();
    assert!(peer.connection.is_connected());
}

#[test]
fn c2_a_hook_that_fails_fails_the_attempt() {
    let mut peer = open();
    peer.connection.use_hooks();
    lose(&mut peer);
    peer.reconnect();
    let run = peer.connection.take_hooks().unwrap();
    peer.connection.hooks_done(run, Err(Error::invalid("no")));
    assert!(peer.connection.is_disconnected() && !peer.connection.is_finished());
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.reconnect();
    let run = peer.connection.take_hooks().unwrap();
    peer.connection.hooks_done(run, Ok(()));
    assert!(peer.connection.is_connected());

    let mut peer = Peer::new(config());
    peer.connection.use_hooks();
    let opened = peer.connection.opened();
    peer.start();
    peer.send(0, TUNE);
    peer.send(0, connection::OpenOk {});
    let run = peer.connection.take_hooks().unwrap();
    peer.connection.hooks_done(run, Err(Error::invalid("not today")));
    assert!(peer.connection.is_finished());
    assert!(peer.error(opened).to_string().contains("not today"));
}

#[test]
fn f43_what_was_not_sent_is_counted() {
    let mut peer = open();
    let channel = peer.channel();
    peer.stalled = true;
    let none = amqp_proto::method::Properties::new();
    for _ in 0..3 {
        peer.connection.publish(channel, &crate::peer::publish("q", &none, b"x")).unwrap();
    }
    peer.events.clear();
    lose(&mut peer);
    assert!(peer.events.iter().any(|event| matches!(event, Event::PublishesLost { count: 3 })), "{:?}", peer.events);
    let declare = queue::Declare { queue: short("q"), ..queue::Declare::default() };
    peer.connection.request(channel, declare, None).unwrap();
}
