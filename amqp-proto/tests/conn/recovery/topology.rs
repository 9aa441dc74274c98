//! Declaring again what was declared.

use amqp_proto::conn::{ChannelId, Consume, Event, RequestId};
use amqp_proto::method::{Method, channel, exchange, queue};
use amqp_proto::wire::ShortStr;

use super::{lose, open};
use crate::peer::{Peer, TUNE, consume, quiet, seconds, short};
use amqp_proto::config::Recovery;

fn ask<'a>(peer: &mut Peer, channel: ChannelId, method: impl Into<Method<'a>>) -> RequestId {
    peer.connection.request(channel, method, None).unwrap().unwrap()
}

fn exchange(name: &str) -> exchange::Declare<'_> {
    exchange::Declare { exchange: short(name), kind: short("topic"), ..exchange::Declare::default() }
}

fn queue(name: &str) -> queue::Declare<'_> {
    queue::Declare { queue: short(name), ..queue::Declare::default() }
}

fn bind<'a>(queue: &'a str, exchange: &'a str) -> queue::Bind<'a> {
    queue::Bind { queue: short(queue), exchange: short(exchange), routing_key: short("key"), ..queue::Bind::default() }
}

/// The methods that are sent again, with what they are about.
fn restored(peer: &mut Peer) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let sent = peer.sent();
        if sent.is_empty() {
            return all;
        }
        for sent in &sent {
            all.push(match sent.method() {
                Method::Exchange(exchange::Method::Declare(it)) => format!("{} exchange {}", sent.channel, it.exchange),
                Method::Queue(queue::Method::Declare(it)) => format!("{} queue {}", sent.channel, it.queue),
                Method::Queue(queue::Method::Bind(it)) => {
                    format!("{} {} to {} by {}", sent.channel, it.queue, it.exchange, it.routing_key)
                }
                _ => sent.name(),
            });
            peer.grant(sent);
        }
    }
}

#[test]
fn f43_exchanges_queues_and_bindings_are_declared_again_before_channels_are_opened() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, exchange("e"));
    ask(&mut peer, channel, queue("q"));
    ask(&mut peer, channel, bind("q", "e"));
    peer.grant_all();
    let consumer = peer.consumer(channel, &consume("c"));
    lose(&mut peer);
    peer.reconnect();
    let all = restored(&mut peer);
    let expected = [
        "2 channel.open",
        "2 exchange e",
        "2 queue q",
        "2 q to e by key",
        "2 channel.close",
        "1 channel.open",
        "1 basic.qos",
        "1 basic.consume",
    ];
    assert_eq!(all, expected);
    assert!(peer.connection.is_connected());
    assert_eq!(peer.connection.channel_count(), 1);
    peer.deliver(1, "c", 1, b"x");
    peer.next(consumer);
}

#[test]
fn f43_only_what_was_granted_and_not_deleted_is_declared_again() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue("kept"));
    ask(&mut peer, channel, queue("deleted"));
    ask(&mut peer, channel, bind("deleted", "amq.topic"));
    peer.grant_all();
    ask(&mut peer, channel, queue::Delete { queue: short("deleted"), ..queue::Delete::default() });
    ask(&mut peer, channel, queue::Declare { passive: true, ..queue("passive") });
    peer.sent();
    peer.send(1, queue::DeleteOk { message_count: 0 });
    peer.declare_ok(1, "passive");
    ask(&mut peer, channel, queue("in flight"));
    peer.connection.request(channel, queue::Declare { nowait: true, ..queue("no wait") }, None).unwrap();
    peer.sent();
    lose(&mut peer);
    peer.reconnect();
    let all = restored(&mut peer);
    assert_eq!(all[..3], ["2 channel.open", "2 queue kept", "2 queue no wait"]);
    assert_eq!(all[3..], ["2 channel.close", "1 channel.open"]);
}

#[test]
fn f43_a_reply_that_nobody_waits_for_is_recorded_all_the_same() {
    let mut peer = open();
    let channel = peer.channel();
    let request = ask(&mut peer, channel, queue("q"));
    peer.connection.abandon_request(request);
    peer.grant_all();
    assert_eq!(peer.connection.recorded().len(), 1);
}

#[test]
fn f44_a_queue_named_by_the_broker_gets_its_new_name_everywhere() {
    let mut peer = open();
    let channel = peer.channel();
    // All at once: an empty name is the queue that was declared last.
    ask(&mut peer, channel, queue::Declare { exclusive: true, ..queue("") });
    ask(&mut peer, channel, bind("", "amq.topic"));
    ask(&mut peer, channel, queue::Bind { exchange: short("amq.direct"), ..queue::Bind::default() });
    let request = peer.connection.consume(channel, &Consume { queue: ShortStr::EMPTY, ..consume("c") }, None).unwrap();
    let other = ask(&mut peer, channel, queue("other"));
    peer.sent();
    peer.declare_ok(1, "amq.gen-old");
    peer.send(1, queue::BindOk {});
    peer.send(1, queue::BindOk {});
    // Consume-ok may be overtaken.
    peer.declare_ok(1, "other");
    peer.send(1, amqp_proto::method::basic::QosOk {});
    peer.send(1, amqp_proto::method::basic::ConsumeOk { consumer_tag: short("c") });
    peer.reply(request).unwrap();
    peer.declared(other);
    lose(&mut peer);
    peer.reconnect();
    let mut queues = Vec::new();
    let mut all = Vec::new();
    loop {
        let sent = peer.sent();
        if sent.is_empty() {
            break;
        }
        for sent in &sent {
            match sent.method() {
                Method::Basic(amqp_proto::method::basic::Method::Consume(it)) => queues.push(it.queue.to_string()),
                Method::Queue(queue::Method::Bind(it)) => all.push(format!("{} {}", it.queue, it.routing_key)),
                Method::Queue(queue::Method::Declare(it)) => all.push(format!("declare {:?}", it.queue.to_string())),
                _ => {}
            }
            peer.grant(sent);
        }
    }
    assert_eq!(all, ["declare \"\"", "declare \"other\"", "amq.gen-new key", "amq.gen-new amq.gen-new"]);
    assert_eq!(queues, ["amq.gen-new"]);
    let renamed = peer.events.iter().find_map(|event| match event {
        Event::QueueRenamed { old, new } => Some((old.as_str(), new.as_str())),
        _ => None,
    });
    assert_eq!(renamed, Some(("amq.gen-old", "amq.gen-new")));
}

#[test]
fn p26_an_exclusive_queue_that_is_still_locked_is_declared_a_little_later() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue::Declare { exclusive: true, ..queue("mine") });
    ask(&mut peer, channel, bind("mine", "amq.topic"));
    peer.grant_all();
    lose(&mut peer);
    peer.reconnect();
    for _ in 0..3 {
        let sent = peer.sent();
        peer.grant(&sent[0]);
        let number = sent[0].channel;
        peer.close_channel(number, 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine'");
        assert_eq!(peer.names(), [format!("{number} channel.close-ok")]);
        assert!(!peer.connection.is_connected());
        while peer.frames_written().is_empty() && !peer.connection.has_outbound() {
            let (at, _) = peer.connection.poll_timeout().unwrap();
            peer.now = at;
            peer.connection.handle_timeout(at);
        }
    }
    let all = restored(&mut peer);
    let expected =
        ["5 channel.open", "5 queue mine", "5 mine to amq.topic by key", "5 channel.close", "1 channel.open"];
    assert_eq!(all, expected);
    assert!(peer.connection.is_connected());
}

#[test]
fn f44_what_cannot_be_declared_again_is_told_and_the_rest_goes_on() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue("a"));
    ask(&mut peer, channel, queue("b"));
    peer.grant_all();
    lose(&mut peer);
    peer.reconnect();
    let sent = peer.sent();
    peer.grant(&sent[0]);
    peer.close_channel(2, 406, "PRECONDITION_FAILED - inequivalent arg 'durable'");
    let all = restored_after_close(&mut peer);
    assert_eq!(all, ["3 channel.open", "3 queue b", "3 channel.close", "1 channel.open"]);
    let told = peer.events.iter().find_map(|event| match event {
        Event::NotRestored { what, error } => Some((what.clone(), error.reply_code().unwrap().0)),
        _ => None,
    });
    assert_eq!(told, Some(("queue a".to_owned(), 406)));
    assert!(peer.connection.is_connected());
}

/// The same, behind the close-ok of a channel.
fn restored_after_close(peer: &mut Peer) -> Vec<String> {
    let sent = peer.sent();
    assert_eq!(sent[0].name(), "2 channel.close-ok");
    let mut all = Vec::new();
    for sent in &sent[1..] {
        all.push(match sent.method() {
            Method::Queue(queue::Method::Declare(it)) => format!("{} queue {}", sent.channel, it.queue),
            _ => sent.name(),
        });
        peer.grant(sent);
    }
    all.extend(restored(peer));
    all
}

#[test]
fn f44_what_the_filter_refuses_is_not_declared_again() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue("a"));
    ask(&mut peer, channel, queue("b"));
    peer.grant_all();
    let all = peer.connection.recorded();
    peer.connection.forget_recorded(&all[0]);
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(restored(&mut peer), ["2 channel.open", "2 queue b", "2 channel.close", "1 channel.open"]);
}

#[test]
fn f43_the_topology_can_be_left_alone() {
    let mut peer = Peer::open_with(quiet().recovery(Recovery::default().topology(false)), TUNE);
    let channel = peer.channel();
    ask(&mut peer, channel, queue("a"));
    peer.grant_all();
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(restored(&mut peer), ["1 channel.open"]);
}

#[test]
fn f43_the_topology_is_restored_though_all_numbers_are_in_use() {
    let tune = amqp_proto::method::connection::Tune { channel_max: 2, ..TUNE };
    let mut peer = Peer::open_with(super::config(), tune);
    let channel = peer.channel();
    let other = peer.channel();
    ask(&mut peer, channel, queue("a"));
    peer.grant_all();
    for closes in [false, true] {
        lose(&mut peer);
        peer.reconnect_with(tune);
        let sent = peer.sent();
        if closes {
            peer.connection.release_channel(channel);
            peer.connection.release_channel(other);
        }
        sent.iter().for_each(|sent| peer.grant(sent));
        let all = restored(&mut peer);
        if !closes {
            assert_eq!(all, ["1 channel.close", "1 channel.open", "2 channel.open"]);
        }
    }
    assert_eq!(peer.connection.channel_count(), 0);
    peer.channel();
    peer.channel();
}

#[test]
fn f43_a_loss_while_the_topology_is_restored_begins_from_the_start() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue("a"));
    ask(&mut peer, channel, queue("b"));
    peer.grant_all();
    lose(&mut peer);
    peer.reconnect();
    let sent = peer.sent();
    peer.grant(&sent[0]);
    peer.grant(&sent[1]);
    lose(&mut peer);
    peer.reconnect();
    let all = restored(&mut peer);
    assert_eq!(all, ["3 channel.open", "3 queue a", "3 queue b", "3 channel.close", "1 channel.open"]);
    peer.advance(seconds(100));
    assert!(peer.connection.is_connected());
}

#[test]
fn f43_an_auto_delete_queue_goes_from_the_record_with_its_last_consumer() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue::Declare { auto_delete: true, ..queue("q") });
    peer.grant_all();
    let consumer = peer.consumer(channel, &consume("c"));
    lose(&mut peer);
    peer.reconnect();
    restored(&mut peer);
    assert_eq!(peer.connection.recorded().len(), 1, "a consumer that is restored has not ended");
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.sent();
    peer.send(1, amqp_proto::method::basic::CancelOk { consumer_tag: short("c") });
    peer.reply(cancel).unwrap();
    assert!(peer.connection.recorded().is_empty());
}

#[test]
fn the_channel_that_things_are_declared_on_says_nothing_behind_its_close_and_is_not_opened_again_after_another_loss() {
    let mut peer = open();
    let channel = peer.channel();
    ask(&mut peer, channel, queue("q"));
    peer.grant_all();
    for number in 2..5 {
        lose(&mut peer);
        peer.reconnect();
        let sent = peer.sent();
        let names: Vec<_> = sent.iter().map(crate::peer::Sent::name).collect();
        assert_eq!(names, [format!("{number} channel.open"), format!("{number} queue.declare")]);
        sent.iter().for_each(|sent| peer.grant(sent));
        assert_eq!(peer.names(), [format!("{number} channel.close")]);
        peer.send(number, channel::Flow { active: true });
        peer.expect_nothing();
    }
    lose(&mut peer);
    peer.reconnect();
    assert_eq!(restored(&mut peer), ["5 channel.open", "5 queue q", "5 channel.close", "1 channel.open"]);
    assert_eq!(peer.connection.channel_count(), 1);
}
