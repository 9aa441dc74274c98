//! Room to publish: who waits for it gets it in turn, once, and nobody overtakes.

use amqp_proto::conn::{ChannelId, Event, Reply, RequestId};
use amqp_proto::error::ErrorKind;
use amqp_proto::method::{Properties, ReplyCode, channel, connection};
use amqp_proto::table;

use crate::peer::{Peer, TUNE, publish, quiet, seconds, short, timed_out};

/// A connection that takes 1000 bytes, with two channels; the first has published 2000, and nothing leaves.
fn crowded() -> (Peer, [ChannelId; 2]) {
    let mut peer = Peer::open_with(quiet().publish_buffer(1000), TUNE);
    let channels = [peer.channel(), peer.channel()];
    peer.sent();
    peer.stalled = true;
    send(&mut peer, channels[0], 2000);
    (peer, channels)
}

/// Publishes a message of this many bytes.
#[track_caller]
fn send(peer: &mut Peer, channel: ChannelId, bytes: usize) {
    peer.connection.publish(channel, &publish("q", &Properties::new(), &vec![b'x'; bytes])).unwrap();
}

#[track_caller]
fn expect_full(peer: &mut Peer, channel: ChannelId) {
    assert!(!peer.connection.can_publish(channel));
    let error = peer.connection.publish(channel, &publish("q", &Properties::new(), b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
}

/// Waits for room, and for the event.
fn wait(peer: &mut Peer, channel: ChannelId, bytes: usize) -> RequestId {
    let request = peer.connection.wait_room(channel, bytes, None);
    peer.expect_waiting(request);
    request
}

/// Everything is written.
fn write_all(peer: &mut Peer) {
    while peer.write(usize::MAX) > 0 {}
    peer.turn();
}

/// Who has been told, since the last look.
fn told(peer: &mut Peer) -> Vec<RequestId> {
    peer.turn();
    let told = std::mem::take(&mut peer.events).into_iter();
    told.filter_map(|event| if let Event::Resolved(id) = event { Some(id) } else { None }).collect()
}

#[track_caller]
fn expect_room(peer: &mut Peer, request: RequestId) {
    assert!(matches!(peer.reply(request), Ok(Reply::Done)));
}

#[test]
fn f30_those_who_wait_for_room_are_told_in_their_order() {
    let (mut peer, [channel, _]) = crowded();
    let waiting = [(); 3].map(|()| wait(&mut peer, channel, 1));
    peer.connection.abandon_request(waiting[1]);
    peer.write(1000);
    assert_eq!(told(&mut peer), [], "more than half of the buffer waits to be written");
    peer.write(700);
    assert_eq!(told(&mut peer), [waiting[0], waiting[2]]);
    for request in [waiting[0], waiting[2]] {
        expect_room(&mut peer, request);
        send(&mut peer, channel, 1);
    }
    // Where there is room and nobody waits, it is told at once.
    let now = peer.connection.wait_room(channel, 1, None);
    expect_room(&mut peer, now);
}

#[test]
fn f30_nobody_overtakes_those_who_wait() {
    let (mut peer, [channel, other]) = crowded();
    let first = wait(&mut peer, channel, 1);
    peer.write(1400);
    // There would be room, but half of the buffer is not written yet.
    expect_full(&mut peer, channel);
    expect_full(&mut peer, other);
    let second = wait(&mut peer, other, 1);
    write_all(&mut peer);
    assert_eq!(told(&mut peer), [first, second]);
    expect_room(&mut peer, second);
    send(&mut peer, other, 1);
    expect_room(&mut peer, first);
    send(&mut peer, channel, 1);
    // Nobody waits any more.
    send(&mut peer, other, 1);
}

#[test]
fn f30_as_many_get_room_as_there_is_and_it_is_kept_for_them() {
    let (mut peer, [channel, other]) = crowded();
    let waiting = [(); 4].map(|()| wait(&mut peer, channel, 400));
    write_all(&mut peer);
    assert_eq!(told(&mut peer), waiting[..3], "three times 400 fill 1000");
    expect_full(&mut peer, other);
    peer.expect_waiting(waiting[3]);
    // One gives up, one is late: what they had goes to the next.
    peer.connection.abandon_request(waiting[1]);
    assert_eq!(told(&mut peer), [waiting[3]]);
    for request in [waiting[3], waiting[2], waiting[0]] {
        expect_room(&mut peer, request);
        send(&mut peer, channel, 400);
    }
    expect_full(&mut peer, channel);
    assert!(peer.connection.outbound_len() < 1500);
}

#[test]
fn room_that_nobody_takes_in_time_goes_to_the_next() {
    let (mut peer, [channel, other]) = crowded();
    let late = peer.connection.wait_room(channel, 1000, Some(seconds(1)));
    let next = peer.connection.wait_room(other, 1000, Some(seconds(5)));
    peer.expect_waiting(late);
    peer.expect_waiting(next);
    write_all(&mut peer);
    assert_eq!(told(&mut peer), [late]);
    peer.advance(seconds(1));
    assert_eq!(told(&mut peer), [next]);
    assert_eq!(timed_out(&peer.error(late)), ("Room".to_owned(), false));
    expect_room(&mut peer, next);
    send(&mut peer, other, 1);
}

#[test]
fn a_message_that_cannot_be_encoded_gives_its_room_to_the_next() {
    let (mut peer, [channel, _]) = crowded();
    let (bad, good) = (wait(&mut peer, channel, 1000), wait(&mut peer, channel, 1));
    write_all(&mut peer);
    assert_eq!(told(&mut peer), [bad]);
    expect_room(&mut peer, bad);
    let mut properties = Properties::new();
    properties.set_headers(table! { "x" => "y".repeat(200_000) }).unwrap();
    let error = peer.connection.publish(channel, &publish("q", &properties, b"")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
    assert_eq!(told(&mut peer), [good]);
}

#[test]
fn f12_room_is_not_taken_once_the_broker_has_blocked_the_connection_and_the_order_stays() {
    let (mut peer, [channel, _]) = crowded();
    let waiting = [(); 3].map(|()| wait(&mut peer, channel, 1));
    write_all(&mut peer);
    assert_eq!(told(&mut peer), waiting);
    peer.send(0, connection::Blocked { reason: short("low on memory") });
    // In whichever order they look.
    [1, 0, 2].into_iter().for_each(|at| peer.expect_waiting(waiting[at]));
    told(&mut peer);
    peer.send(0, connection::Unblocked {});
    assert_eq!(told(&mut peer), waiting);
    for request in waiting {
        expect_room(&mut peer, request);
        send(&mut peer, channel, 1);
    }
}

#[test]
fn c7_who_waits_behind_a_large_message_holds_up_no_other_channel() {
    let mut peer = Peer::open();
    let (large, other) = (peer.channel(), peer.channel());
    peer.sent();
    peer.stalled = true;
    send(&mut peer, large, 1_000_000);
    let behind = [(); 2].map(|()| wait(&mut peer, large, 1_000_000));
    send(&mut peer, other, 10);
    peer.stalled = false;
    assert_eq!(told(&mut peer), behind[..1], "the second would find the channel taken");
    send(&mut peer, other, 10);
    expect_room(&mut peer, behind[0]);
    peer.stalled = true;
    send(&mut peer, large, 1_000_000);
    send(&mut peer, other, 10);
    peer.expect_waiting(behind[1]);
    peer.stalled = false;
    assert_eq!(told(&mut peer), behind[1..]);
    expect_room(&mut peer, behind[1]);
    send(&mut peer, large, 10);
}

#[test]
fn channel_flow_moves_those_who_wait_out_of_the_way() {
    let (mut peer, [stopped, other]) = crowded();
    let request = wait(&mut peer, stopped, 1);
    peer.send(1, channel::Flow { active: false });
    write_all(&mut peer);
    peer.expect_waiting(request);
    send(&mut peer, other, 10);
    peer.send(1, channel::Flow { active: true });
    expect_room(&mut peer, request);
    send(&mut peer, stopped, 10);
}

#[test]
fn p27_those_who_give_up_while_the_broker_is_blocked_pile_up() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.send(0, connection::Blocked { reason: short("low on memory") });
    let first = wait(&mut peer, channel, 1);
    for _ in 0..10_000 {
        let request = peer.connection.wait_room(channel, 1, Some(seconds(3600)));
        peer.connection.abandon_request(request);
    }
    let last = wait(&mut peer, channel, 1);
    let held = format!("{:?}", peer.connection).matches("Waiter {").count();
    assert!(held < 10, "{held} are remembered");
    peer.send(0, connection::Unblocked {});
    assert_eq!(told(&mut peer), [first, last]);
}

#[test]
fn waiting_for_room_has_a_deadline() {
    let mut peer = Peer::open_with(quiet().publish_buffer(100), TUNE);
    let channel = peer.channel();
    send(&mut peer, channel, 200);
    peer.stalled = true;
    let (short_wait, long_wait) =
        (peer.connection.wait_room(channel, 1, Some(seconds(1))), peer.connection.wait_room(channel, 1, None));
    peer.advance(seconds(1));
    assert_eq!(timed_out(&peer.error(short_wait)), ("Room".to_owned(), false));
    peer.expect_waiting(long_wait);
    peer.advance(seconds(29));
    assert_eq!(timed_out(&peer.error(long_wait)), ("Room".to_owned(), false));
}

#[test]
fn waiting_for_room_on_what_is_closed_is_told_at_once() {
    let mut peer = Peer::open_with(quiet().publish_buffer(1000), TUNE);
    let (one, two) = (peer.channel(), peer.channel());
    peer.stalled = true;
    send(&mut peer, two, 2000);
    let waiting = peer.connection.wait_room(one, 1, None);
    peer.expect_waiting(waiting);
    // Part of it is with the driver, and will never be reported as written.
    peer.write(1);
    peer.close_channel(1, 406, "closed");
    assert_eq!(peer.error(waiting).reply_code(), Some(ReplyCode(406)));
    let after = peer.connection.wait_room(one, 1, None);
    assert_eq!(peer.error(after).reply_code(), Some(ReplyCode(406)));
    peer.eof();
    let after = peer.connection.wait_room(two, 1, None);
    assert!(matches!(peer.error(after).kind(), ErrorKind::ConnectionLost { .. }));
}
