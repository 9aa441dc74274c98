//! What is asked for while the connection is down.

use amqp_proto::conn::Reply;
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Properties, basic, connection, queue, tx};

use super::{assert_lost, lose, open};
use crate::peer::{Peer, consume, publish, seconds, short, timed_out};

#[test]
fn f43_calls_wait_for_the_connection_and_go_out_in_their_order() {
    let mut peer = open();
    let channel = peer.channel();
    lose(&mut peer);
    let declared = peer.declare(channel, "one");
    let got =
        peer.connection.request(channel, basic::Get { queue: short("one"), no_ack: true }, None).unwrap().unwrap();
    peer.expect_nothing();
    peer.reconnect();
    let sent = peer.sent();
    assert_eq!(sent.iter().map(crate::peer::Sent::name).collect::<Vec<_>>(), ["1 channel.open"]);
    peer.grant(&sent[0]);
    assert_eq!(peer.names(), ["1 queue.declare", "1 basic.get"]);
    peer.declare_ok(1, "one");
    peer.send(1, basic::GetEmpty {});
    assert_eq!(peer.declared(declared), "one");
    assert!(matches!(peer.reply(got), Ok(Reply::Got(None))));
}

#[test]
fn f43_calls_in_flight_fail() {
    let mut peer = open();
    let channel = peer.channel();
    let call = peer.declare(channel, "q");
    peer.sent();
    lose(&mut peer);
    let error = peer.error(call);
    assert_lost(&error);
    assert_eq!(error.operation(), Some("queue.declare"));
}

#[test]
fn f43_a_call_whose_time_is_over_is_not_sent_and_says_that_the_connection_is_down() {
    let mut peer = open();
    let channel = peer.channel();
    lose(&mut peer);
    let call = peer.declare(channel, "q");
    let consume = peer.connection.consume(channel, &consume("c"), None).unwrap();
    let open = peer.connection.open_channel().unwrap().1;
    peer.wait_for_attempt();
    peer.now += seconds(31);
    peer.connection.handle_timeout(peer.now);
    for request in [call, consume, open] {
        let (reason, _) = timed_out(&peer.error(request));
        assert!(reason.starts_with("Disconnected"), "{reason}");
    }
    peer.reconnect();
    let names = peer.grant_all();
    assert!(!names.iter().any(|name| name.contains("declare") || name.contains("consume")), "{names:?}");
    assert_eq!(peer.connection.consumer_count(), 0);
}

#[test]
fn f43_a_publish_waits_for_the_connection_and_works() {
    let mut peer = open();
    let channel = peer.channel();
    let none = Properties::new();
    lose(&mut peer);
    let full = peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap_err();
    assert!(matches!(full.kind(), ErrorKind::Full));
    assert!(!peer.connection.can_publish(channel));
    let room = peer.connection.wait_room(channel, 1, None);
    peer.expect_waiting(room);
    peer.reconnect();
    peer.expect_waiting(room);
    peer.grant_all();
    peer.reply(room).unwrap();
    peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap();
    assert_eq!(peer.names(), ["1 basic.publish", "1 header", "1 body"]);
}

#[test]
fn f43_a_publish_that_finds_no_connection_in_time_says_so() {
    let mut peer = open();
    let channel = peer.channel();
    lose(&mut peer);
    let room = peer.connection.wait_room(channel, 1, Some(seconds(1)));
    peer.connection.arm(peer.now);
    peer.now += seconds(1);
    peer.connection.handle_timeout(peer.now);
    let (reason, _) = timed_out(&peer.error(room));
    assert!(reason.starts_with("Disconnected"), "{reason}");
}

#[test]
fn f43_room_that_was_granted_is_gone_with_the_connection_and_comes_back() {
    let mut peer = open();
    let channel = peer.channel();
    let none = Properties::new();
    peer.send(0, connection::Blocked { reason: short("memory") });
    let room = peer.connection.wait_room(channel, 1, None);
    peer.expect_waiting(room);
    peer.send(0, connection::Unblocked {});
    lose(&mut peer);
    peer.expect_waiting(room);
    peer.reconnect();
    peer.grant_all();
    peer.reply(room).unwrap();
    peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap();
}

#[test]
fn f43_a_channel_can_be_opened_while_the_connection_is_down() {
    let mut peer = open();
    lose(&mut peer);
    let (channel, opened) = peer.connection.open_channel().unwrap();
    let call = peer.declare(channel, "q");
    peer.reconnect();
    peer.expect_waiting(opened);
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 queue.declare"]);
    peer.reply(opened).unwrap();
    assert_eq!(peer.declared(call), "q");
    // And one whose open was on its way is opened again.
    let (_, opened) = peer.connection.open_channel().unwrap();
    assert_eq!(peer.names(), ["2 channel.open"]);
    lose(&mut peer);
    peer.reconnect();
    peer.grant_all();
    peer.reply(opened).unwrap();
}

#[test]
fn f43_a_channel_closed_while_the_connection_is_down_is_not_opened_again() {
    let mut peer = open();
    let channel = peer.channel();
    let other = peer.channel();
    peer.consumer(channel, &consume("c"));
    lose(&mut peer);
    let close = peer.connection.close_channel(channel).unwrap();
    peer.reply(close).unwrap();
    peer.connection.release_channel(channel);
    peer.connection.release_channel(other);
    assert_eq!(peer.connection.channel_count(), 0);
    peer.reconnect();
    peer.expect_nothing();
    assert!(peer.connection.is_connected());
}

#[test]
fn f43_a_channel_that_was_being_closed_is_closed() {
    let mut peer = open();
    let channel = peer.channel();
    let call = peer.declare(channel, "q");
    let close = peer.connection.close_channel(channel).unwrap();
    peer.sent();
    lose(&mut peer);
    assert_lost(&peer.error(call));
    peer.reply(close).unwrap();
    peer.connection.release_channel(channel);
    assert_eq!(peer.connection.channel_count(), 0);
    peer.reconnect();
    peer.expect_nothing();
}

#[test]
fn f43_what_was_held_survives_another_loss() {
    let mut peer = open();
    let channel = peer.channel();
    lose(&mut peer);
    let call = peer.declare(channel, "q");
    peer.reconnect();
    assert_eq!(peer.names(), ["1 channel.open"]);
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 queue.declare"]);
    assert_eq!(peer.declared(call), "q");
}

#[test]
fn f43_what_is_held_is_bounded() {
    let mut peer = Peer::open_with(super::config().publish_buffer(1000), crate::peer::TUNE);
    let channel = peer.channel();
    lose(&mut peer);
    let mut count = 0;
    let error = loop {
        let declare = queue::Declare { queue: short("a queue of some length"), ..queue::Declare::default() };
        match peer.connection.request(channel, declare, None) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind(), ErrorKind::Full) && error.is_retryable(), "{error}");
    assert!((10..100).contains(&count), "{count}");
}

#[test]
fn f43_a_transaction_that_was_cut_in_two_is_not_committed() {
    let mut peer = open();
    let channel = peer.channel();
    let none = Properties::new();
    let select = peer.connection.request(channel, tx::Select {}, None).unwrap().unwrap();
    peer.grant_all();
    peer.reply(select).unwrap();
    peer.connection.publish(channel, &publish("q", &none, b"first half")).unwrap();
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 tx.select"]);
    peer.connection.publish(channel, &publish("q", &none, b"second half")).unwrap();
    let commit = peer.connection.request(channel, tx::Commit {}, None).unwrap().unwrap();
    assert_eq!(peer.names(), ["1 basic.publish", "1 header", "1 body", "1 tx.rollback"]);
    peer.send(1, tx::RollbackOk {});
    assert_lost(&peer.error(commit));
    // The next one is whole.
    peer.connection.publish(channel, &publish("q", &none, b"whole")).unwrap();
    let commit = peer.connection.request(channel, tx::Commit {}, None).unwrap().unwrap();
    assert_eq!(peer.names().last().unwrap(), "1 tx.commit");
    peer.send(1, tx::CommitOk {});
    peer.reply(commit).unwrap();
    // An empty one is lost without loss.
    lose(&mut peer);
    peer.reconnect();
    peer.grant_all();
    let commit = peer.connection.request(channel, tx::Commit {}, None).unwrap().unwrap();
    assert_eq!(peer.names(), ["1 tx.commit"]);
    peer.send(1, tx::CommitOk {});
    peer.reply(commit).unwrap();
}

#[test]
fn f43_a_commit_while_the_connection_is_down_tells_that_the_transaction_is_gone() {
    let mut peer = open();
    let channel = peer.channel();
    peer.connection.request(channel, tx::Select {}, None).unwrap();
    peer.grant_all();
    peer.connection.publish(channel, &publish("q", &Properties::new(), b"x")).unwrap();
    lose(&mut peer);
    let commit = peer.connection.request(channel, tx::Commit {}, None).unwrap().unwrap();
    assert_lost(&peer.error(commit));
    peer.reconnect();
    assert_eq!(peer.grant_all(), ["1 channel.open", "1 tx.select"]);
}
