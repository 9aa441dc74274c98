//! Publisher confirms: every publish has one outcome, the right one, and a returned message finds its publish.

use amqp_proto::conn::{ChannelId, ConfirmId, Event, Outcome, Publish, PublishBody, Reply};
use amqp_proto::error::{ErrorKind, ProtocolError};
use amqp_proto::method::{Properties, ReplyCode, confirm, connection, tx};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;
use proptest::prelude::*;

use crate::peer::{Peer, TUNE, protocol, publish, quiet, returned, seconds, short, timed_out, unknown};

/// Publishes a mandatory message.
fn mandatory(peer: &mut Peer, channel: ChannelId, properties: &Properties, body: &[u8]) -> ConfirmId {
    let publish = Publish { mandatory: true, ..publish("key", properties, body) };
    peer.connection.publish_confirmed(channel, &publish).unwrap()
}

/// The broker gives a message back.
fn give_back(peer: &mut Peer, properties: &Properties, body: &[u8]) {
    peer.send_message(1, returned("", "key"), properties, body);
}

/// The body of a message that came back.
#[track_caller]
fn came_back(peer: &mut Peer, confirm: ConfirmId) -> Vec<u8> {
    match peer.outcome(confirm) {
        Outcome::Returned(message) => message.body().to_vec(),
        outcome => panic!("{outcome:?}"),
    }
}

#[track_caller]
fn acked(peer: &mut Peer, confirm: ConfirmId) {
    let outcome = peer.outcome(confirm);
    assert!(matches!(outcome, Outcome::Acked), "{outcome:?}");
}

#[track_caller]
fn nacked(peer: &mut Peer, confirm: ConfirmId) {
    let outcome = peer.outcome(confirm);
    assert!(matches!(outcome, Outcome::Nacked), "{outcome:?}");
}

#[track_caller]
fn waiting(peer: &mut Peer, confirm: ConfirmId) {
    let outcome = peer.connection.take_outcome(confirm);
    assert!(outcome.is_none(), "{outcome:?}");
}

fn headers(table: &FieldTable) -> Properties {
    let mut properties = Properties::new();
    properties.set_headers(table).unwrap();
    properties
}

#[test]
fn p4_multiple_is_ignored() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let ids: Vec<ConfirmId> = (0..9).map(|_| peer.publish_confirmed(channel, "q", false)).collect();
    assert_eq!(peer.connection.unconfirmed(channel), 9);
    // Single and in order; out of order; multiple over what is resolved already; nacks.
    peer.ack(1, 1, false);
    acked(&mut peer, ids[0]);
    peer.ack(1, 4, false);
    peer.nack(1, 3, false);
    acked(&mut peer, ids[3]);
    nacked(&mut peer, ids[2]);
    waiting(&mut peer, ids[1]);
    assert_eq!(peer.connection.unconfirmed(channel), 6);
    peer.ack(1, 5, true);
    acked(&mut peer, ids[1]);
    acked(&mut peer, ids[4]);
    waiting(&mut peer, ids[5]);
    peer.nack(1, 7, true);
    nacked(&mut peer, ids[5]);
    nacked(&mut peer, ids[6]);
    // A14: tag 0 with multiple is all that is outstanding.
    peer.ack(1, 0, true);
    acked(&mut peer, ids[7]);
    acked(&mut peer, ids[8]);
    assert_eq!(peer.connection.unconfirmed(channel), 0);
    // Once more is no harm: brokers do not, but nothing is wrong with it.
    peer.ack(1, 9, true);
    peer.ack(1, 0, true);
    peer.ack(1, 3, false);
    let next = peer.publish_confirmed(channel, "q", false);
    peer.ack(1, 10, false);
    acked(&mut peer, next);
    peer.sent();
    peer.expect_nothing();
}

#[test]
fn p8_a_confirm_that_comes_before_anybody_asked_is_lost() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    peer.events.clear();
    let (early, late) = (peer.publish_confirmed(channel, "q", false), peer.publish_confirmed(channel, "q", false));
    peer.ack(1, 1, false);
    waiting(&mut peer, late);
    peer.ack(1, 2, false);
    assert!(matches!(peer.events[..], [Event::Confirmed(id)] if id == late), "{:?}", peer.events);
    acked(&mut peer, late);
    // Long after the channel and the connection have gone, too.
    peer.close_channel(1, 404, "gone");
    peer.eof();
    acked(&mut peer, early);
}

#[test]
fn p6_an_unread_confirm_blocks_the_reader() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let ids: Vec<ConfirmId> = (0..10_000).map(|_| peer.publish_confirmed(channel, "q", false)).collect();
    peer.turn();
    peer.ack(1, 10_000, true);
    let request = peer.declare(channel, "q");
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
    ids.into_iter().for_each(|id| acked(&mut peer, id));
}

#[test]
fn p7_giving_up_on_a_publish_shifts_all_later_confirms() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let [before, gone, after] = [(); 3].map(|()| peer.publish_confirmed(channel, "q", false));
    peer.connection.abandon_confirm(gone, channel);
    peer.nack(1, 2, false);
    waiting(&mut peer, before);
    waiting(&mut peer, after);
    peer.ack(1, 1, false);
    peer.nack(1, 3, false);
    acked(&mut peer, before);
    nacked(&mut peer, after);
    // Given up when it is known already; its place is used again.
    let known = peer.publish_confirmed(channel, "q", false);
    peer.ack(1, 4, false);
    peer.connection.abandon_confirm(known, channel);
    assert!(peer.publish_confirmed(channel, "q", false).index() < 3);
}

#[test]
fn publishes_that_nobody_watches_count_too() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let properties = Properties::new();
    peer.connection.publish(channel, &publish("q", &properties, b"x")).unwrap();
    let watched = peer.publish_confirmed(channel, "q", false);
    assert_eq!(peer.connection.unconfirmed(channel), 2);
    peer.ack(1, 1, false);
    waiting(&mut peer, watched);
    peer.ack(1, 2, false);
    acked(&mut peer, watched);
}

#[test]
fn n13_a_publish_to_a_missing_exchange_leaves_it_and_the_next_unknown() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let properties = Properties::new();
    let to = |exchange: &'static str| Publish { exchange: short(exchange), ..publish("nowhere", &properties, b"x") };
    let ids = ["events", "missing", "events"]
        .map(|exchange| peer.connection.publish_confirmed(channel, &to(exchange)).unwrap());
    peer.turn();
    peer.ack(1, 1, false);
    peer.close_channel(1, 404, "NOT_FOUND - no exchange 'missing'");
    acked(&mut peer, ids[0]);
    for id in &ids[1..] {
        let outcome = peer.outcome(*id);
        let cause = unknown(&outcome);
        let reason = cause.close_reason().unwrap();
        assert_eq!((reason.code, reason.class_id, reason.method_id), (ReplyCode::NOT_FOUND, 60, 40));
        assert!(matches!(cause.kind(), ErrorKind::ChannelClosed(_)) && cause.to_string().contains("missing"));
    }
    let error = peer.connection.publish_confirmed(channel, &to("events")).unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert_eq!(peer.names().pop().unwrap(), "1 channel.close-ok");
    // The next publish works, on a new channel.
    let channel = peer.confirm_channel();
    let next = peer.publish_confirmed(channel, "q", false);
    peer.turn();
    peer.ack(2, 1, false);
    acked(&mut peer, next);
}

#[test]
fn p5_a_lost_connection_is_reported_as_a_nack() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let ids = [(); 3].map(|()| peer.publish_confirmed(channel, "q", false));
    peer.events.clear();
    waiting(&mut peer, ids[1]);
    peer.ack(1, 1, false);
    peer.eof();
    acked(&mut peer, ids[0]);
    assert!(peer.events.iter().any(|event| matches!(event, Event::Confirmed(id) if *id == ids[1])));
    for id in &ids[1..] {
        let outcome = peer.outcome(*id);
        assert!(matches!(unknown(&outcome).kind(), ErrorKind::ConnectionLost { .. }), "{outcome:?}");
    }
}

#[test]
fn n14_a_close_waits_for_confirms_that_somebody_waits_for() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let ids: Vec<_> = (0..3).map(|_| peer.publish_confirmed(channel, "q", false)).collect();
    peer.sent();
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    peer.expect_nothing();
    peer.ack(1, 1, false);
    peer.expect_nothing();
    // Nobody waits for this one any more.
    peer.connection.abandon_confirm(ids[1], channel);
    peer.expect_nothing();
    peer.ack(1, 3, false);
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.send(0, connection::CloseOk {});
    assert!(peer.reply(close).is_ok());
    acked(&mut peer, ids[0]);
    acked(&mut peer, ids[2]);
}

#[test]
fn confirms_that_do_not_come_hold_a_close_up_until_its_deadline_and_end_unknown() {
    let mut peer = Peer::open_with(quiet().close_timeout(seconds(5)), TUNE);
    let channel = peer.confirm_channel();
    let confirm = peer.publish_confirmed(channel, "q", false);
    peer.sent();
    let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "");
    peer.expect_nothing();
    peer.advance(seconds(5));
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.send(0, connection::CloseOk {});
    assert!(peer.reply(close).is_ok());
    let outcome = peer.outcome(confirm);
    assert!(matches!(unknown(&outcome).kind(), ErrorKind::ConnectionNotOpen), "{outcome:?}");
}

#[test]
fn c5_a_returned_message_is_the_outcome_when_its_ack_comes() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let mut properties = Properties::new();
    properties.set_delivery_mode(2);
    let confirm = mandatory(&mut peer, channel, &properties, b"body");
    peer.turn();
    give_back(&mut peer, &properties, b"body");
    waiting(&mut peer, confirm);
    peer.ack(1, 1, false);
    let Outcome::Returned(message) = peer.outcome(confirm) else { panic!() };
    assert_eq!((message.reply_code(), message.reply_text()), (ReplyCode::NO_ROUTE, "NO_ROUTE"));
    assert_eq!((message.exchange(), message.routing_key()), ("", "key"));
    assert_eq!(message.properties().unwrap().delivery_mode, Some(2));
    assert_eq!(message.body(), b"body");
    assert!(matches!(peer.connection.next_return(channel), Ok(None)));
}

#[test]
fn p3_a_return_is_pinned_on_the_wrong_publish_after_ack_multiple() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    let ids = [b"0", b"1", b"2", b"3"].map(|body| mandatory(&mut peer, channel, &none, body));
    peer.turn();
    give_back(&mut peer, &none, b"1");
    give_back(&mut peer, &none, b"3");
    peer.ack(1, 4, true);
    acked(&mut peer, ids[0]);
    assert_eq!(came_back(&mut peer, ids[1]), b"1");
    acked(&mut peer, ids[2]);
    assert_eq!(came_back(&mut peer, ids[3]), b"3");
}

#[test]
fn a_return_finds_its_publish_by_body_and_by_properties() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let (mut first, mut second) = (Properties::new(), Properties::new());
    first.set_message_id("1").unwrap();
    second.set_message_id("2").unwrap();
    let none = Properties::new();
    let ids = [(&first, b"x"), (&second, b"x"), (&none, b"x"), (&second, b"y")]
        .map(|(properties, body)| mandatory(&mut peer, channel, properties, body));
    peer.turn();
    // Nothing but its lack of properties tells the third from the two before it.
    give_back(&mut peer, &none, b"x");
    give_back(&mut peer, &second, b"y");
    peer.ack(1, 0, true);
    acked(&mut peer, ids[0]);
    acked(&mut peer, ids[1]);
    assert_eq!(came_back(&mut peer, ids[2]), b"x");
    assert_eq!(came_back(&mut peer, ids[3]), b"y");
}

#[test]
fn a_return_is_recognised_as_rabbitmq_4_encodes_it_anew() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    // Headers come back sorted, their integers at another width, and without BCC.
    let sent = table! { "z" => 1, "BCC" => "secret", "a" => table! { "y" => 2, "b" => "text" }, "m" => true };
    let back = table! { "a" => table! { "b" => "text", "y" => 2i64 }, "m" => true, "z" => 1i64 };
    let other = table! { "a" => table! { "b" => "text", "y" => 3 }, "m" => true, "z" => 1 };
    let (first, second) = (headers(&other), headers(&sent));
    let ids = [&first, &second].map(|properties| mandatory(&mut peer, channel, properties, b"x"));
    peer.turn();
    give_back(&mut peer, &headers(&back), b"x");
    peer.ack(1, 2, true);
    acked(&mut peer, ids[0]);
    let Outcome::Returned(message) = peer.outcome(ids[1]) else { panic!() };
    assert!(message.properties().unwrap().headers.unwrap().get("BCC").is_none());
}

#[test]
fn headers_that_were_all_stripped_are_like_none() {
    for back in [headers(&FieldTable::new()), Properties::new()] {
        let mut peer = Peer::open();
        let channel = peer.confirm_channel();
        let (other, sent) = (headers(&table! { "a" => 1 }), headers(&table! { "BCC" => "secret" }));
        let ids = [&other, &sent].map(|properties| mandatory(&mut peer, channel, properties, b"x"));
        peer.turn();
        give_back(&mut peer, &back, b"x");
        peer.ack(1, 2, true);
        acked(&mut peer, ids[0]);
        assert_eq!(came_back(&mut peer, ids[1]), b"x");
    }
}

#[test]
fn a_large_body_is_compared_in_any_division_into_frames() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    let bodies: Vec<Vec<u8>> = (0..3u8).map(|last| [vec![7; 5000], vec![last]].concat()).collect();
    let ids: Vec<ConfirmId> = bodies.iter().map(|body| mandatory(&mut peer, channel, &none, body)).collect();
    peer.turn();
    for (body, chunk) in [(&bodies[1], 1), (&bodies[2], 4093)] {
        peer.send_bytes(&crate::peer::message(1, returned("", "key"), &none, body, chunk));
    }
    peer.ack(1, 3, true);
    acked(&mut peer, ids[0]);
    assert_eq!(came_back(&mut peer, ids[1]), bodies[1]);
    assert_eq!(came_back(&mut peer, ids[2]), bodies[2]);
}

#[test]
fn identical_messages_come_back_in_their_order() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    let ids = [(); 3].map(|()| mandatory(&mut peer, channel, &none, b"same"));
    peer.turn();
    give_back(&mut peer, &none, b"same");
    peer.ack(1, 1, false);
    give_back(&mut peer, &none, b"same");
    give_back(&mut peer, &none, b"same");
    peer.ack(1, 3, true);
    for id in ids {
        assert_eq!(came_back(&mut peer, id), b"same");
    }
}

#[test]
fn a_return_that_is_alike_in_names_only_still_finds_a_publish() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let (none, mut changed) = (Properties::new(), Properties::new());
    changed.set_app_id("plugin").unwrap();
    let ids = [b"0", b"1", b"2"].map(|body| mandatory(&mut peer, channel, &none, body));
    peer.turn();
    // Its properties were changed on the way: the body decides. Then all was: the next one it is.
    give_back(&mut peer, &changed, b"1");
    give_back(&mut peer, &changed, b"changed as well");
    // Of another exchange it cannot be.
    peer.send_message(1, returned("other", "key"), &none, b"0");
    peer.ack(1, 3, true);
    acked(&mut peer, ids[0]);
    assert_eq!(came_back(&mut peer, ids[1]), b"1");
    assert_eq!(came_back(&mut peer, ids[2]), b"changed as well");
    assert_eq!(peer.connection.next_return(channel).unwrap().unwrap().exchange(), "other");
}

#[test]
fn a19_a_return_that_nobody_waits_for_goes_to_the_stream() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    assert!(matches!(peer.connection.next_return(channel), Ok(None)));
    peer.events.clear();
    // Not watched; given up before it came back; given up after it came back; given up when all is known.
    let unwatched = Publish { mandatory: true, ..publish("key", &none, b"0") };
    peer.connection.publish(channel, &unwatched).unwrap();
    let ids = [b"1", b"2", b"3"].map(|body| mandatory(&mut peer, channel, &none, body));
    peer.turn();
    give_back(&mut peer, &none, b"0");
    assert!(matches!(peer.events[..], [Event::Returned(id)] if id == channel), "{:?}", peer.events);
    peer.connection.abandon_confirm(ids[0], channel);
    give_back(&mut peer, &none, b"1");
    give_back(&mut peer, &none, b"2");
    peer.connection.abandon_confirm(ids[1], channel);
    give_back(&mut peer, &none, b"3");
    peer.ack(1, 4, true);
    peer.connection.abandon_confirm(ids[2], channel);
    for body in [b"0", b"1", b"2", b"3"] {
        assert_eq!(peer.connection.next_return(channel).unwrap().unwrap().body(), body);
    }
    // What is there can be read after the channel has closed; then comes why.
    peer.connection.publish(channel, &unwatched).unwrap();
    peer.turn();
    give_back(&mut peer, &none, b"0");
    peer.close_channel(1, 406, "closed");
    assert!(peer.connection.next_return(channel).unwrap().is_some());
    assert_eq!(peer.connection.next_return(channel).unwrap_err().reply_code(), Some(ReplyCode(406)));
}

#[test]
fn a19_without_confirms_returns_are_a_stream() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let none = Properties::new();
    peer.connection.publish(channel, &Publish { mandatory: true, ..publish("key", &none, b"x") }).unwrap();
    peer.turn();
    give_back(&mut peer, &none, b"x");
    assert_eq!(peer.connection.next_return(channel).unwrap().unwrap().body(), b"x");
}

#[test]
fn unread_returns_are_bounded_and_what_goes_is_counted() {
    let mut peer = Peer::open_with(quiet().receive_buffer(10_000), TUNE);
    let channel = peer.channel();
    // Also after somebody has looked once.
    assert!(peer.connection.next_return(channel).unwrap().is_none());
    let body = [0; 2000];
    for number in 0..100u8 {
        peer.send_message(1, returned("", "key"), &Properties::new(), &[&[number], &body[..]].concat());
    }
    let dropped = peer.connection.stats().returns_dropped;
    assert_eq!(dropped, 96);
    for number in 96..100 {
        let message = peer.connection.next_return(channel).unwrap().unwrap();
        assert_eq!(message.body().to_vec()[0], number);
    }
    assert!(peer.connection.next_return(channel).unwrap().is_none());
    // A single one larger than the bound is not lost.
    peer.send_message(1, returned("", "key"), &Properties::new(), &[0; 20_000]);
    assert_eq!(peer.connection.next_return(channel).unwrap().unwrap().body().len(), 20_000);
}

#[test]
fn f9_a_confirm_that_is_overdue_is_unknown_and_its_late_ack_disturbs_nobody() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let overdue = peer.publish_confirmed(channel, "q", false);
    peer.advance(seconds(30));
    let later = peer.publish_confirmed(channel, "q", false);
    peer.advance(seconds(30) - std::time::Duration::from_nanos(1));
    waiting(&mut peer, overdue);
    peer.advance(std::time::Duration::from_nanos(1));
    let outcome = peer.outcome(overdue);
    assert_eq!(timed_out(unknown(&outcome)), ("Confirm".to_owned(), false));
    waiting(&mut peer, later);
    let last = peer.publish_confirmed(channel, "q", false);
    peer.ack(1, 1, false);
    waiting(&mut peer, later);
    waiting(&mut peer, last);
    peer.nack(1, 2, false);
    nacked(&mut peer, later);
    peer.advance(seconds(59));
    waiting(&mut peer, last);
    peer.advance(seconds(1));
    let outcome = peer.outcome(last);
    timed_out(unknown(&outcome));
    peer.ack(1, 3, true);
    assert_eq!(peer.connection.unconfirmed(channel), 0);
}

#[test]
fn a_returned_message_is_the_outcome_even_if_its_ack_never_comes() {
    for lost in [false, true] {
        let mut peer = Peer::open();
        let channel = peer.confirm_channel();
        let confirm = mandatory(&mut peer, channel, &Properties::new(), b"x");
        peer.turn();
        give_back(&mut peer, &Properties::new(), b"x");
        if lost {
            peer.eof();
        } else {
            peer.advance(seconds(60));
        }
        assert_eq!(came_back(&mut peer, confirm), b"x");
    }
}

#[test]
fn a_confirm_of_what_was_never_published_is_a_protocol_error() {
    for (tag, multiple) in [(3, false), (3, true), (u64::MAX, false), (u64::MAX, true), (0, false)] {
        let mut peer = Peer::open();
        let channel = peer.confirm_channel();
        let [known, other] = [(); 2].map(|()| peer.publish_confirmed(channel, "q", false));
        peer.sent();
        peer.ack(1, 1, false);
        peer.ack(1, tag, multiple);
        peer.expect_close(ReplyCode::UNEXPECTED_FRAME);
        acked(&mut peer, known);
        let outcome = peer.outcome(other);
        assert!(matches!(protocol(unknown(&outcome)), ProtocolError::Unexpected { channel: 1, .. }));
    }
}

#[test]
fn a_confirm_without_confirm_mode_is_a_protocol_error() {
    let mut peer = Peer::open();
    peer.channel();
    peer.ack(1, 1, false);
    peer.expect_close(ReplyCode::UNEXPECTED_FRAME);
}

#[test]
fn a_channel_that_is_not_in_confirm_mode_takes_no_confirmed_publish() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let none = Properties::new();
    let error = peer.connection.publish_confirmed(channel, &publish("q", &none, b"x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    peer.expect_nothing();
}

#[test]
fn selecting_transactions_on_a_confirm_channel_leaves_no_confirm_hanging() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let confirm = peer.publish_confirmed(channel, "q", false);
    let select = peer.connection.request(channel, tx::Select {}, None).unwrap().unwrap();
    peer.close_channel(1, 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode");
    assert_eq!(peer.error(select).reply_code(), Some(ReplyCode(406)));
    let outcome = peer.outcome(confirm);
    assert_eq!(unknown(&outcome).reply_code(), Some(ReplyCode(406)));
}

#[test]
fn selecting_confirms_twice_keeps_count() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let confirm = peer.publish_confirmed(channel, "q", false);
    peer.connection.request(channel, confirm::Select { nowait: true }, None).unwrap();
    let next = peer.publish_confirmed(channel, "q", false);
    peer.turn();
    peer.ack(1, 2, true);
    acked(&mut peer, confirm);
    acked(&mut peer, next);
}

#[test]
fn returns_of_a_large_window_are_found_in_no_time() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let none = Properties::new();
    let mut ids = Vec::new();
    for number in 0..20_000u32 {
        ids.push(mandatory(&mut peer, channel, &none, &number.to_be_bytes()));
        if number % 1000 == 0 {
            peer.turn();
        }
    }
    peer.turn();
    let mut bytes = Vec::new();
    for number in 0..20_000u32 {
        bytes.extend(crate::peer::message(1, returned("", "key"), &none, &number.to_be_bytes(), 4088));
    }
    peer.send_bytes(&bytes);
    peer.ack(1, 20_000, true);
    for (number, id) in (0..).zip(ids) {
        assert_eq!(came_back(&mut peer, id), u32::to_be_bytes(number));
    }
}

/// A publish as the model knows it: routed or not is a matter of what is published.
#[derive(Debug, Clone, Copy)]
struct Published {
    confirm: ConfirmId,
    mandatory: bool,
    variant: u8,
    abandoned: bool,
    /// The broker has taken it from the wire, and sent it back if it had to.
    handled: bool,
    /// Acked or nacked.
    answer: Option<bool>,
}

impl Published {
    fn is_returned(self) -> bool {
        self.mandatory && self.handled && self.variant % 2 == 1
    }
}

/// The message of a variant: same names, bodies and properties in all combinations.
fn variant(variant: u8) -> (Properties, Vec<u8>) {
    let mut properties = Properties::new();
    if variant & 2 != 0 {
        properties.insert_header("variant", i32::from(variant)).unwrap();
    }
    (properties, vec![variant; usize::from(variant % 4) * 700])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// A broker that answers in any legal order: every publish has one outcome, the right one.
    #[test]
    fn f26_every_publish_has_its_own_outcome_whatever_the_broker_does(
        steps in proptest::collection::vec((0u8..10, any::<u8>(), any::<bool>(), any::<bool>()), 1..80),
        lost in any::<bool>(),
    ) {
        let mut peer = Peer::open();
        let channel = peer.confirm_channel();
        let mut published: Vec<Published> = Vec::new();
        for (step, pick, yes, watched) in steps {
            let handled = published.iter().filter(|publish| publish.handled).count();
            match step {
                0..=3 => {
                    let variant_of = pick % 8;
                    let (properties, body) = variant(variant_of);
                    let publish = Publish {
                        mandatory: yes,
                        body: PublishBody::Borrowed(&body),
                        ..publish("key", &properties, b"")
                    };
                    let confirm = peer.connection.publish_confirmed(channel, &publish).unwrap();
                    published.push(Published {
                        confirm, mandatory: yes, variant: variant_of, abandoned: false, handled: false, answer: None,
                    });
                    if watched {
                        prop_assert!(peer.connection.take_outcome(confirm).is_none());
                    }
                }
                // The broker handles the next publish.
                4 | 5 => {
                    peer.turn();
                    if let Some(publish) = published.get_mut(handled) {
                        publish.handled = true;
                        if publish.is_returned() {
                            let (properties, body) = variant(publish.variant);
                            give_back(&mut peer, &properties, &body);
                        }
                    }
                }
                // It confirms one of those that it has handled, or all up to it.
                6..=8 if handled > 0 => {
                    let at = usize::from(pick) % handled;
                    let from = if watched { 0 } else { at };
                    if watched || published[at].answer.is_none() {
                        for publish in &mut published[from..=at] {
                            publish.answer.get_or_insert(yes);
                        }
                        let tag = at as u64 + 1;
                        if yes { peer.ack(1, tag, watched) } else { peer.nack(1, tag, watched) }
                    }
                }
                9 if !published.is_empty() => {
                    let at = usize::from(pick) % published.len();
                    if published[at].answer.is_none() && !published[at].abandoned {
                        published[at].abandoned = true;
                        peer.connection.abandon_confirm(published[at].confirm, channel);
                    }
                }
                _ => {}
            }
        }
        let open = published.iter().filter(|publish| publish.answer.is_none()).count();
        prop_assert_eq!(peer.connection.unconfirmed(channel), open);
        let all = peer.connection.wait_confirms(channel).unwrap();
        if lost { peer.eof() } else { peer.close_channel(1, 404, "gone") }
        let Ok(Reply::Confirmed(failed)) = peer.reply(all) else { panic!("no answer") };
        let count = |is: fn(&Published) -> bool| published.iter().filter(|publish| is(publish)).count() as u64;
        prop_assert_eq!(failed.returned, count(|publish| publish.is_returned()));
        prop_assert_eq!(failed.nacked, count(|publish| !publish.is_returned() && publish.answer == Some(false)));
        prop_assert_eq!(failed.unknown, count(|publish| !publish.is_returned() && publish.answer.is_none()));
        for publish in published.iter().filter(|publish| !publish.abandoned) {
            let outcome = peer.connection.take_outcome(publish.confirm);
            let right = match (&outcome, publish.answer) {
                (Some(Outcome::Returned(message)), _) => {
                    publish.is_returned() && message.body() == variant(publish.variant).1[..]
                }
                (Some(Outcome::Acked), Some(true)) | (Some(Outcome::Nacked), Some(false))
                | (Some(Outcome::Unknown(_)), None) => !publish.is_returned(),
                _ => false,
            };
            prop_assert!(right, "{publish:?} has {outcome:?}");
        }
        let unread = published.iter().filter(|publish| publish.abandoned && publish.is_returned()).count();
        let mut read = 0;
        while let Ok(Some(_)) = peer.connection.next_return(channel) {
            read += 1;
        }
        prop_assert_eq!(read, unread);
    }
}
