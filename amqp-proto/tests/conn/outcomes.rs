//! What became of publishes: of all at once, of a batch, within a window, and after the channel's owner has gone.

use amqp_proto::conn::{BatchId, BatchOutcome, ChannelId, Event, Publish, Reply, RequestId, Unconfirmed};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Properties, ReplyCode, channel, connection, tx};
use amqp_proto::table;
use amqp_proto::wire::EncodeError;

use crate::peer::{Peer, TUNE, publish, quiet, returned, seconds, timed_out};

fn send(peer: &mut Peer, channel: ChannelId, count: usize) {
    for _ in 0..count {
        let properties = Properties::new();
        peer.connection.publish(channel, &publish("q", &properties, b"x")).unwrap();
    }
}

fn wait(peer: &mut Peer, channel: ChannelId) -> RequestId {
    peer.connection.wait_confirms(channel).unwrap()
}

/// What has failed, told to one who waited for all.
#[track_caller]
fn failed(peer: &mut Peer, request: RequestId) -> Unconfirmed {
    match peer.reply(request) {
        Ok(Reply::Confirmed(failed)) => *failed,
        reply => panic!("{reply:?}"),
    }
}

/// The numbers of nacked, returned and unknown publishes.
#[track_caller]
fn counts(peer: &mut Peer, request: RequestId) -> [u64; 3] {
    let failed = failed(peer, request);
    [failed.nacked, failed.returned, failed.unknown]
}

/// A batch of mandatory messages whose bodies are their numbers.
#[track_caller]
fn batch(peer: &mut Peer, channel: ChannelId, count: u8) -> BatchId {
    let batch = peer.connection.begin_batch();
    (0..count).for_each(|index| in_batch(peer, channel, batch, index).unwrap());
    batch
}

fn in_batch(peer: &mut Peer, channel: ChannelId, batch: BatchId, index: u8) -> Result<(), Error> {
    let (properties, body) = (Properties::new(), [index]);
    let publish = Publish { mandatory: true, ..publish("key", &properties, &body) };
    peer.connection.publish_in_batch(channel, &publish, batch, index.into())
}

#[track_caller]
fn batch_outcome(peer: &mut Peer, batch: BatchId) -> BatchOutcome {
    peer.turn();
    peer.connection.take_batch(batch).expect("the outcome is there")
}

/// The failures of a batch, each by its index and a word.
#[track_caller]
fn words(peer: &mut Peer, batch: BatchId) -> Vec<(usize, String)> {
    let outcome = batch_outcome(peer, batch);
    let word = |error: &Error| match error.kind() {
        ErrorKind::Nacked => "nacked".to_owned(),
        ErrorKind::NoRoute(message) => format!("returned {}", message.body().to_vec()[0]),
        ErrorKind::Unknown(_) => "unknown".to_owned(),
        _ => panic!("{error}"),
    };
    outcome.failures.iter().map(|failure| (failure.index, word(&failure.error))).collect()
}

fn word(index: usize, word: &str) -> (usize, String) {
    (index, word.to_owned())
}

// ---- all at once -----------------------------------------------------------------------------------------------

#[test]
fn f26_pitfall_waiting_for_all_returns_early_when_only_the_last_was_acked() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 4);
    let all = wait(&mut peer, channel);
    peer.ack(1, 4, false);
    peer.ack(1, 2, false);
    peer.expect_waiting(all);
    peer.ack(1, 1, false);
    peer.expect_waiting(all);
    peer.events.clear();
    peer.ack(1, 3, false);
    assert!(matches!(peer.events[..], [Event::Resolved(id)] if id == all), "{:?}", peer.events);
    assert_eq!(counts(&mut peer, all), [0, 0, 0]);
    // Nothing is left to wait for.
    let all = wait(&mut peer, channel);
    assert_eq!(counts(&mut peer, all), [0, 0, 0]);
}

#[test]
fn f26_pitfall_waiting_for_all_hangs_when_a_clone_publishes_meanwhile() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 2);
    let first = wait(&mut peer, channel);
    for tag in 1..=2 {
        send(&mut peer, channel, 3);
        peer.expect_waiting(first);
        peer.ack(1, tag, false);
    }
    assert_eq!(counts(&mut peer, first), [0, 0, 0]);
    // Several wait, each for what was published before it asked.
    let second = wait(&mut peer, channel);
    send(&mut peer, channel, 1);
    let third = wait(&mut peer, channel);
    peer.nack(1, 9, false);
    peer.expect_waiting(second);
    peer.ack(1, 8, true);
    assert_eq!(counts(&mut peer, second), [1, 0, 0]);
    assert_eq!(counts(&mut peer, third), [1, 0, 0]);
}

#[test]
fn f26_waiting_for_all_counts_what_nobody_asked_for_and_what_was_given_up() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    send(&mut peer, channel, 1);
    let dropped = peer.publish_confirmed(channel, "q", false);
    peer.connection.abandon_confirm(dropped, channel);
    let held = peer.publish_confirmed(channel, "gone", true);
    peer.connection.publish(channel, &Publish { mandatory: true, ..publish("lost", &none, b"x") }).unwrap();
    send(&mut peer, channel, 2);
    let all = wait(&mut peer, channel);
    peer.turn();
    peer.send_message(1, returned("", "gone"), &none, b"x");
    peer.send_message(1, returned("", "lost"), &none, b"x");
    peer.nack(1, 2, true);
    // It came back before: that it was nacked as well says nothing new.
    peer.nack(1, 4, true);
    peer.ack(1, 5, false);
    peer.expect_waiting(all);
    peer.close_channel(1, 404, "gone");
    let failed = failed(&mut peer, all);
    assert_eq!([failed.nacked, failed.returned, failed.unknown], [2, 2, 1]);
    assert_eq!(failed.last_returned.as_ref().unwrap().routing_key(), "lost");
    assert_eq!(failed.last_cause.as_ref().unwrap().reply_code(), Some(ReplyCode::NOT_FOUND));
    assert_eq!(failed.count(), 5);
    let error = Error::new(ErrorKind::Unconfirmed(Box::new(failed.clone())));
    assert!(error.to_string().contains("2 nacked, 2 returned, 1 unknown") && error.to_string().contains("lost"));
    assert!(!error.is_retryable());
    assert!(peer.connection.take_outcome(held).is_some());
    // After the end of the channel it says the same, and what is new since then.
    let again = wait(&mut peer, channel);
    let again = self::failed(&mut peer, again).since(&failed.counts());
    assert_eq!((again.count(), again.last_cause.is_none()), (0, true));
}

#[test]
fn f26_waiting_for_all_ends_when_the_confirms_are_overdue() {
    let mut peer = Peer::open_with(quiet().confirm_timeout(seconds(10)), TUNE);
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 2);
    let all = wait(&mut peer, channel);
    peer.advance(seconds(5));
    send(&mut peer, channel, 1);
    let later = wait(&mut peer, channel);
    peer.ack(1, 2, false);
    peer.advance(seconds(5));
    let failed = failed(&mut peer, all);
    assert_eq!([failed.nacked, failed.returned, failed.unknown], [0, 0, 1]);
    assert_eq!(timed_out(failed.last_cause.as_ref().unwrap()).0, "Confirm");
    // The late answer changes nothing.
    peer.nack(1, 1, false);
    peer.expect_waiting(later);
    assert_eq!(peer.connection.unconfirmed(channel), 1);
    peer.ack(1, 3, false);
    assert_eq!(counts(&mut peer, later), [0, 0, 1]);
}

#[test]
fn f26_waiting_for_all_may_be_given_up() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 1);
    for _ in 0..1000 {
        let given_up = wait(&mut peer, channel);
        peer.connection.abandon_request(given_up);
    }
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    assert_eq!(peer.names()[3..], ["0 connection.close"], "nobody waits any more");
    peer.send(0, connection::CloseOk {});
    assert!(peer.reply(close).is_ok());
}

#[test]
fn n14_a_close_waits_for_those_who_wait_for_all() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 2);
    let all = wait(&mut peer, channel);
    let batch = batch(&mut peer, channel, 1);
    peer.sent();
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    peer.expect_nothing();
    peer.ack(1, 2, true);
    assert_eq!(counts(&mut peer, all), [0, 0, 0]);
    peer.expect_nothing();
    peer.ack(1, 3, false);
    assert_eq!(peer.names(), ["0 connection.close"]);
    assert!(batch_outcome(&mut peer, batch).is_acked());
    peer.send(0, connection::CloseOk {});
    assert!(peer.reply(close).is_ok());
}

#[test]
fn f26_only_a_channel_in_confirm_mode_has_confirms_to_wait_for() {
    let mut peer = Peer::open();
    let plain = peer.channel();
    assert!(matches!(peer.connection.wait_confirms(plain).unwrap_err().kind(), ErrorKind::Invalid(_)));
    peer.connection.request(plain, tx::Select {}, None).unwrap();
    assert!(matches!(peer.connection.wait_confirms(plain).unwrap_err().kind(), ErrorKind::Invalid(_)));
    let batch = peer.connection.begin_batch();
    assert!(matches!(in_batch(&mut peer, plain, batch, 0).unwrap_err().kind(), ErrorKind::Invalid(_)));
    assert_eq!(batch_outcome(&mut peer, batch).messages, 0);
}

#[test]
fn f26_a_channel_that_takes_anothers_place_counts_on_and_keeps_its_window() {
    let mut peer = Peer::open();
    let old = peer.confirm_channel();
    peer.connection.set_window(old, 2);
    send(&mut peer, old, 2);
    peer.turn();
    peer.ack(1, 1, false);
    peer.close_channel(1, 404, "gone");
    peer.sent();
    let new = peer.confirm_channel();
    peer.connection.inherit_confirms(new, old);
    peer.connection.release_channel(old);
    send(&mut peer, new, 2);
    assert!(!peer.connection.can_publish(new));
    let all = wait(&mut peer, new);
    peer.sent();
    peer.nack(2, 1, false);
    peer.ack(2, 2, false);
    assert_eq!(counts(&mut peer, all), [1, 0, 1]);
}

// ---- the window ------------------------------------------------------------------------------------------------

#[test]
fn f26_a_window_bounds_what_is_unconfirmed_and_gives_places_in_turn() {
    let mut peer = Peer::open_with(quiet().confirm_timeout(seconds(20)), TUNE);
    let channel = peer.confirm_channel();
    peer.connection.set_window(channel, 3);
    send(&mut peer, channel, 3);
    let none = Properties::new();
    let error = peer.connection.publish(channel, &publish("q", &none, b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
    let waiting = [(); 3].map(|()| peer.connection.wait_room(channel, 1, None));
    waiting.iter().for_each(|request| peer.expect_waiting(*request));
    // One answer, one place; who did not wait does not get it.
    peer.ack(1, 2, false);
    peer.expect_waiting(waiting[1]);
    assert!(!peer.connection.can_publish(channel));
    assert!(matches!(peer.reply(waiting[0]), Ok(Reply::Done)));
    send(&mut peer, channel, 1);
    peer.expect_waiting(waiting[1]);
    // A place that was promised and is given up goes to the next.
    peer.nack(1, 1, false);
    peer.connection.abandon_request(waiting[1]);
    assert!(matches!(peer.reply(waiting[2]), Ok(Reply::Done)));
    send(&mut peer, channel, 1);
    assert_eq!(peer.connection.unconfirmed(channel), 3);
    // What is overdue has its outcome and its place no more; a wider window has place at once.
    peer.connection.set_window(channel, 4);
    send(&mut peer, channel, 1);
    assert!(!peer.connection.can_publish(channel));
    peer.advance(seconds(20));
    assert_eq!(peer.connection.unconfirmed(channel), 0);
    assert!(peer.connection.can_publish(channel));
    // 0 would let nothing through.
    peer.connection.set_window(channel, 0);
    send(&mut peer, channel, 1);
    assert!(!peer.connection.can_publish(channel));
}

#[test]
fn f26_waiting_for_a_place_has_the_deadline_of_room_and_hears_of_the_channels_end() {
    let mut peer = Peer::open_with(quiet().room_timeout(seconds(3)), TUNE);
    let channel = peer.confirm_channel();
    peer.connection.set_window(channel, 1);
    send(&mut peer, channel, 1);
    let late = peer.connection.wait_room(channel, 1, None);
    peer.advance(seconds(3));
    assert_eq!(timed_out(&peer.error(late)).0, "Room");
    let ended = peer.connection.wait_room(channel, 1, None);
    peer.expect_waiting(ended);
    peer.close_channel(1, 404, "gone");
    assert_eq!(peer.error(ended).reply_code(), Some(ReplyCode::NOT_FOUND));
}

#[test]
fn f26_a_full_window_holds_up_no_other_channel() {
    let mut peer = Peer::open();
    let (narrow, other) = (peer.confirm_channel(), peer.confirm_channel());
    peer.connection.set_window(narrow, 1);
    send(&mut peer, narrow, 1);
    let waiting = peer.connection.wait_room(narrow, 1, None);
    peer.expect_waiting(waiting);
    assert!(peer.connection.can_publish(other));
    send(&mut peer, other, 100);
    let wider = peer.connection.wait_room(narrow, 1, None);
    peer.connection.set_window(narrow, 3);
    assert!(matches!(peer.reply(waiting), Ok(Reply::Done)));
    send(&mut peer, narrow, 1);
    assert!(matches!(peer.reply(wider), Ok(Reply::Done)));
}

// ---- batches ---------------------------------------------------------------------------------------------------

#[test]
fn f28_a_batch_has_one_outcome() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 1);
    let batch = batch(&mut peer, channel, 5);
    assert_eq!(peer.connection.unconfirmed(channel), 6);
    assert!(peer.connection.take_batch(batch).is_none());
    peer.ack(1, 6, false);
    peer.ack(1, 3, true);
    peer.ack(1, 4, false);
    peer.events.clear();
    peer.ack(1, 5, false);
    assert!(matches!(peer.events[..], [Event::BatchConfirmed(id)] if id == batch), "{:?}", peer.events);
    let outcome = batch_outcome(&mut peer, batch);
    assert!(outcome.is_acked() && outcome.messages == 5, "{outcome}");
    let empty = peer.connection.begin_batch();
    assert!(batch_outcome(&mut peer, empty).is_acked());
}

#[test]
fn f28_each_failure_of_a_batch_names_its_message() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    send(&mut peer, channel, 2);
    // In two parts, with another's message between them.
    let batch = batch(&mut peer, channel, 3);
    send(&mut peer, channel, 1);
    (3..6).for_each(|index| in_batch(&mut peer, channel, batch, index).unwrap());
    peer.turn();
    for index in [1, 3] {
        peer.send_message(1, returned("", "key"), &none, &[index]);
    }
    peer.nack(1, 9, false);
    peer.ack(1, 7, true);
    assert!(peer.connection.take_batch(batch).is_none());
    peer.close_channel(1, 404, "gone");
    let expected = [word(1, "returned 1"), word(3, "returned 3"), word(4, "unknown"), word(5, "nacked")];
    assert_eq!(words(&mut peer, batch), expected);
}

#[test]
fn f28_a_batch_may_go_on_on_another_channel() {
    let mut peer = Peer::open();
    let channels = [peer.confirm_channel(), peer.confirm_channel()];
    let batch = batch(&mut peer, channels[0], 2);
    peer.turn();
    peer.ack(1, 1, false);
    peer.close_channel(1, 404, "gone");
    assert!(in_batch(&mut peer, channels[0], batch, 2).is_err());
    (2..4).for_each(|index| in_batch(&mut peer, channels[1], batch, index).unwrap());
    peer.turn();
    peer.nack(2, 2, false);
    peer.ack(2, 1, false);
    assert_eq!(words(&mut peer, batch), [word(1, "unknown"), word(3, "nacked")]);
}

#[test]
fn f28_a_batch_that_is_given_up_shifts_nothing_and_its_returns_go_to_the_stream() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    let dropped = batch(&mut peer, channel, 3);
    let kept = batch(&mut peer, channel, 2);
    peer.turn();
    peer.send_message(1, returned("", "key"), &none, &[0]);
    peer.connection.abandon_batch(dropped);
    peer.send_message(1, returned("", "key"), &none, &[2]);
    peer.nack(1, 3, true);
    for body in [0, 2] {
        let message = peer.connection.next_return(channel).unwrap().expect("a message");
        assert_eq!(message.body(), &[body]);
    }
    // Its place may be another's by now.
    let next = batch(&mut peer, channel, 1);
    peer.turn();
    peer.nack(1, 5, false);
    peer.ack(1, 6, true);
    assert_eq!(words(&mut peer, kept), [word(1, "nacked")]);
    assert_eq!(words(&mut peer, next), []);
    // Given up when all is known.
    let known = batch(&mut peer, channel, 1);
    peer.turn();
    peer.send_message(1, returned("", "key"), &none, &[0]);
    peer.ack(1, 7, false);
    peer.connection.abandon_batch(known);
    assert!(peer.connection.next_return(channel).unwrap().is_some());
}

#[test]
fn f28_what_does_not_fit_into_a_frame_is_known_before() {
    let mut peer = Peer::open_with(quiet(), connection::Tune { frame_max: 4096, ..TUNE });
    let channel = peer.confirm_channel();
    for size in 4050..4080 {
        let text = "x".repeat(size);
        let mut properties = Properties::new();
        properties.set_headers(table! { "x" => text.as_str() }).unwrap();
        let publish = publish("q", &properties, b"x");
        let known = peer.connection.check_publish(&publish);
        let tried = peer.connection.publish(channel, &publish);
        match (&known, &tried) {
            (Ok(()), Ok(())) => {}
            (Err(known), Err(tried)) => {
                assert_eq!(known.to_string(), tried.to_string());
                assert!(matches!(known.kind(), ErrorKind::Encode(EncodeError::TooLong { limit: 4096, .. })));
            }
            _ => panic!("{size}: {known:?}, {tried:?}"),
        }
    }
}

// ---- after the owner -------------------------------------------------------------------------------------------

#[test]
fn n14_a_channel_that_nobody_holds_is_closed_when_its_publishes_are_confirmed() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let held = [peer.publish_confirmed(channel, "q", false), peer.publish_confirmed(channel, "q", false)];
    peer.sent();
    peer.connection.release_channel(channel);
    peer.expect_nothing();
    peer.ack(1, 2, false);
    peer.expect_nothing();
    peer.ack(1, 1, false);
    assert_eq!(peer.names(), ["1 channel.close"]);
    peer.send(1, channel::CloseOk {});
    for confirm in held {
        assert!(matches!(peer.outcome(confirm), amqp_proto::conn::Outcome::Acked));
    }
    assert_eq!(peer.connection.channel_count(), 0);
}

#[test]
fn n14_a_channel_that_nobody_holds_does_not_wait_for_confirms_for_ever() {
    let mut peer = Peer::open_with(quiet().confirm_timeout(seconds(10)), TUNE);
    let channel = peer.confirm_channel();
    send(&mut peer, channel, 1);
    peer.sent();
    peer.connection.release_channel(channel);
    peer.advance(seconds(9));
    peer.expect_nothing();
    peer.advance(seconds(1));
    assert_eq!(peer.names(), ["1 channel.close"]);
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.connection.channel_count(), 0);
    // The broker may close it meanwhile, and so may the connection's end.
    for by_broker in [true, false] {
        let channel = peer.confirm_channel();
        send(&mut peer, channel, 1);
        peer.sent();
        peer.connection.release_channel(channel);
        if by_broker {
            // Numbers are used again late.
            peer.close_channel(2, 404, "gone");
            assert_eq!(peer.names(), ["2 channel.close-ok"]);
        } else {
            peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
            assert_eq!(peer.names(), ["0 connection.close"], "nobody waits for the confirm");
        }
    }
}
