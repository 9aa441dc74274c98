//! Messages that are published at least once.

use amqp_proto::conn::{ChannelId, ConfirmId, Outcome, Publish, PublishBody, Reply};
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Method, Properties, basic};
use bytes::Bytes;

use super::{config, lose, open};
use crate::peer::{Peer, TUNE, publish, returned, seconds, unknown};

const PLENTY: usize = 1 << 20;

fn retaining(peer: &mut Peer) -> ChannelId {
    let channel = peer.confirm_channel();
    peer.connection.retain_publishes(channel, PLENTY);
    channel
}

fn send(peer: &mut Peer, channel: ChannelId, key: &str) -> ConfirmId {
    peer.publish_confirmed(channel, key, false)
}

/// The routing keys of what was published.
fn published(peer: &mut Peer) -> Vec<String> {
    let key = |sent: &crate::peer::Sent| match (sent.name().ends_with("basic.publish")).then(|| sent.method()) {
        Some(Method::Basic(basic::Method::Publish(publish))) => {
            Some(publish.routing_key.to_string_lossy().into_owned())
        }
        _ => None,
    };
    peer.sent().iter().filter_map(key).collect()
}

/// Comes back; gives what is published before anybody asks for it.
fn come_back(peer: &mut Peer) -> Vec<String> {
    peer.reconnect();
    let opened = peer.sent();
    opened.iter().for_each(|sent| peer.grant(sent));
    published(peer)
}

#[test]
fn f29_what_is_unconfirmed_is_sent_again_in_order_and_each_has_its_outcome_once() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let confirms: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| send(&mut peer, channel, key)).collect();
    assert_eq!(published(&mut peer), ["a", "b", "c", "d", "e"]);
    peer.ack(1, 1, false);
    peer.ack(1, 3, false);
    for _ in 0..2 {
        lose(&mut peer);
        assert_eq!(come_back(&mut peer), ["b", "d", "e"]);
    }
    assert_eq!(peer.connection.unconfirmed(channel), 3);
    let later = send(&mut peer, channel, "f");
    assert_eq!(published(&mut peer), ["f"]);
    peer.nack(1, 2, false);
    peer.ack(1, 4, true);
    for (confirm, acked) in confirms.into_iter().zip([true, true, true, false, true]) {
        assert_eq!(matches!(peer.outcome(confirm), Outcome::Acked), acked);
    }
    assert!(matches!(peer.outcome(later), Outcome::Acked));
    lose(&mut peer);
    assert!(come_back(&mut peer).is_empty());
}

#[test]
fn f22_f29_an_immediate_message_is_for_now_and_not_sent_again() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let before = send(&mut peer, channel, "a");
    let none = Properties::new();
    let immediate = Publish { immediate: true, ..publish("b", &none, b"x") };
    let immediate = peer.connection.publish_confirmed(channel, &immediate).unwrap();
    let after = send(&mut peer, channel, "c");
    assert_eq!(published(&mut peer), ["a", "b", "c"]);
    lose(&mut peer);
    unknown(&peer.outcome(immediate));
    assert_eq!(come_back(&mut peer), ["a", "c"]);
    peer.ack(1, 2, true);
    assert!([before, after].into_iter().all(|confirm| matches!(peer.outcome(confirm), Outcome::Acked)));
}

#[test]
fn f29_they_go_out_before_what_is_published_when_the_connection_is_back() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    send(&mut peer, channel, "a");
    lose(&mut peer);
    let none = Properties::new();
    assert!(peer.connection.publish_confirmed(channel, &publish("b", &none, b"x")).is_err());
    let room = peer.connection.wait_room(channel, 1, None);
    peer.reconnect();
    let opened = peer.sent();
    opened.iter().for_each(|sent| peer.grant(sent));
    peer.reply(room).unwrap();
    peer.connection.publish_confirmed(channel, &publish("b", &none, b"x")).unwrap();
    assert_eq!(published(&mut peer), ["a", "b"]);
}

#[test]
fn f29_the_time_of_a_publish_goes_on_and_then_it_is_unknown_and_not_sent_again() {
    let mut peer = Peer::open_with(config().confirm_timeout(seconds(3)), TUNE);
    let channel = retaining(&mut peer);
    let first = send(&mut peer, channel, "a");
    peer.advance(seconds(2));
    let second = send(&mut peer, channel, "b");
    lose(&mut peer);
    peer.connection.arm(peer.now);
    peer.now += seconds(1);
    peer.connection.handle_timeout(peer.now);
    assert!(matches!(unknown(&peer.outcome(first)).kind(), ErrorKind::Timeout { .. }));
    assert_eq!(come_back(&mut peer), ["b"]);
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(second), Outcome::Acked));
}

#[test]
fn f29_bytes_are_bounded() {
    let mut peer = open();
    let channel = peer.confirm_channel();
    peer.connection.retain_publishes(channel, 10_000);
    let (none, body) = (Properties::new(), vec![0; 6_000]);
    for _ in 0..2 {
        peer.connection.publish_confirmed(channel, &publish("q", &none, &body)).unwrap();
    }
    peer.sent();
    let full = peer.connection.publish_confirmed(channel, &publish("q", &none, b"x")).unwrap_err();
    assert!(matches!(full.kind(), ErrorKind::Full));
    let room = peer.connection.wait_room(channel, 1, None);
    peer.expect_waiting(room);
    peer.ack(1, 1, false);
    peer.reply(room).unwrap();
    peer.connection.publish_confirmed(channel, &publish("q", &none, b"x")).unwrap();
}

#[test]
fn f29_what_came_back_is_not_sent_again() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let (unroutable, other) = (peer.publish_confirmed(channel, "u", true), peer.publish_confirmed(channel, "o", true));
    peer.sent();
    peer.send_message(1, returned("", "u"), &Properties::new(), b"x");
    lose(&mut peer);
    assert!(matches!(peer.outcome(unroutable), Outcome::Returned(_)));
    assert_eq!(come_back(&mut peer), ["o"]);
    peer.send_message(1, returned("", "o"), &Properties::new(), b"x");
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(other), Outcome::Returned(_)));
}

#[test]
fn f29_a_large_body_is_sent_again_whole() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let (none, body) = (Properties::new(), Bytes::from(vec![7; 700_000]));
    let large = Publish { body: PublishBody::Shared(body), ..publish("large", &none, b"") };
    let confirm = peer.connection.publish_confirmed(channel, &large).unwrap();
    lose(&mut peer);
    peer.reconnect();
    let opened = peer.sent();
    opened.iter().for_each(|sent| peer.grant(sent));
    let sent = peer.sent();
    let bytes: usize = sent.iter().filter(|sent| sent.name() == "1 body").map(|sent| sent.payload.len()).sum();
    assert_eq!(bytes, 700_000);
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(confirm), Outcome::Acked));
}

#[test]
fn f29_waiting_for_all_waits_for_what_is_sent_again() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    send(&mut peer, channel, "a");
    send(&mut peer, channel, "b");
    let all = peer.connection.wait_confirms(channel).unwrap();
    peer.sent();
    peer.ack(1, 1, false);
    lose(&mut peer);
    peer.expect_waiting(all);
    come_back(&mut peer);
    send(&mut peer, channel, "c");
    peer.expect_waiting(all);
    peer.ack(1, 1, false);
    let Ok(Reply::Confirmed(failed)) = peer.reply(all) else { panic!() };
    assert_eq!(failed.count(), 0);
}

#[test]
fn f29_a_batch_has_one_outcome_though_half_of_it_is_sent_again() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let (batch, none) = (peer.connection.begin_batch(), Properties::new());
    for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
        peer.connection.publish_in_batch(channel, &publish(key, &none, b"x"), batch, index).unwrap();
    }
    peer.sent();
    peer.ack(1, 2, false);
    lose(&mut peer);
    assert!(peer.connection.take_batch(batch).is_none());
    assert_eq!(come_back(&mut peer), ["a", "c"]);
    peer.ack(1, 1, false);
    peer.nack(1, 2, false);
    let outcome = peer.connection.take_batch(batch).unwrap();
    assert_eq!((outcome.messages, outcome.failures.len(), outcome.failures[0].index), (3, 1, 2));
}

#[test]
fn f29_a_publisher_that_was_dropped_is_closed_when_all_was_sent_again_and_confirmed() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let confirm = send(&mut peer, channel, "a");
    peer.connection.release_channel(channel);
    lose(&mut peer);
    assert_eq!(come_back(&mut peer), ["a"]);
    peer.ack(1, 1, false);
    assert!(matches!(peer.outcome(confirm), Outcome::Acked));
    assert_eq!(peer.names(), ["1 channel.close"]);
}

#[test]
fn f29_a_channel_that_was_released_and_is_not_to_send_again_ends_with_the_connection() {
    let mut peer = open();
    let channel = peer.confirm_channel();
    let confirm = send(&mut peer, channel, "a");
    peer.connection.release_channel(channel);
    lose(&mut peer);
    unknown(&peer.outcome(confirm));
    assert!(come_back(&mut peer).is_empty());
    assert!(peer.connection.is_connected());
}

#[test]
fn f29_when_the_connection_ends_for_good_nothing_is_known_of_them() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let confirm = send(&mut peer, channel, "a");
    lose(&mut peer);
    peer.connection.abort();
    unknown(&peer.outcome(confirm));
}

#[test]
fn f29_a_channel_that_the_broker_closes_sends_nothing_again() {
    let mut peer = open();
    let channel = retaining(&mut peer);
    let confirm = send(&mut peer, channel, "a");
    peer.close_channel(1, 404, "NOT_FOUND");
    assert_eq!(unknown(&peer.outcome(confirm)).reply_code(), Some(amqp_proto::method::ReplyCode::NOT_FOUND));
    lose(&mut peer);
    assert!(come_back(&mut peer).is_empty());
}
