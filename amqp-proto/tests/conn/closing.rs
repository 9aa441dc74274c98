//! How channels and connections end: from this side, from the other, from both at once, and what it means to those who
//! wait.

use std::collections::HashMap;

use amqp_proto::conn::{
    ChannelId, ConfirmId, Connection, Consume, ConsumerId, Event, Outcome, Publish, Reply, RequestId,
};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Method, Properties, ReplyCode, basic, channel, connection, queue};
use proptest::prelude::*;

use crate::peer::{
    Peer, TUNE, consume, consume_no_ack, deliver, message, publish, quiet, seconds, short, timed_out, unknown,
};

fn close(peer: &mut Peer) -> RequestId {
    peer.connection.close(ReplyCode::REPLY_SUCCESS, "bye")
}

#[track_caller]
fn done(peer: &mut Peer, request: RequestId) {
    let reply = peer.reply(request);
    assert!(matches!(reply, Ok(Reply::Done)), "{reply:?}");
}

#[track_caller]
fn not_open(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen | ErrorKind::ChannelNotOpen), "{error}");
}

// ---- the connection, by us -------------------------------------------------------------------------------------

#[test]
fn a18_a_close_is_said_answered_and_done() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let watch = peer.connection.watch_closed();
    let request = peer.declare(channel, "q");
    let close = peer.connection.close(ReplyCode::CONNECTION_FORCED, "bye");
    let method = connection::Close {
        reply_code: ReplyCode::CONNECTION_FORCED,
        reply_text: short("bye"),
        class_id: 0,
        method_id: 0,
    };
    let sent = peer.sent();
    assert_eq!(sent[1].method(), method.into());
    assert!(!peer.connection.is_open() && !peer.connection.is_finished());
    peer.expect_waiting(close);
    // Replies that were on their way still count.
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
    peer.send(0, connection::CloseOk {});
    assert!(peer.connection.is_finished());
    done(&mut peer, close);
    done(&mut peer, watch);
    let late = peer.connection.watch_closed();
    done(&mut peer, late);
    assert!(matches!(peer.events.last(), Some(Event::Closed)));
    peer.expect_nothing();
}

#[test]
fn a2_everything_after_close_is_an_error_and_nothing_hangs() {
    for answered in [false, true] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        let consumer = peer.consumer(channel, &consume("c"));
        peer.deliver(1, "c", 1, b"x");
        let delivery = peer.next(consumer);
        let closing = close(&mut peer);
        if answered {
            peer.send(0, connection::CloseOk {});
        }
        peer.sent();
        let none = Properties::new();
        let connection = &mut peer.connection;
        not_open(&connection.open_channel().unwrap_err());
        not_open(&connection.close_channel(channel).unwrap_err());
        not_open(&connection.request(channel, queue::Declare::default(), None).unwrap_err());
        not_open(&connection.consume(channel, &consume("d"), None).unwrap_err());
        not_open(&connection.cancel(consumer, None).unwrap_err());
        not_open(&connection.cancel_tag(channel, short("d"), None).unwrap_err());
        not_open(&connection.publish(channel, &publish("q", &none, b"x")).unwrap_err());
        not_open(&connection.publish_confirmed(channel, &publish("q", &none, b"x")).unwrap_err());
        not_open(&connection.ack(delivery.delivery_tag(), false).unwrap_err());
        not_open(&connection.nack(delivery.delivery_tag(), true, true).unwrap_err());
        not_open(&connection.raw_ack(channel, 1, false).unwrap_err());
        let room = connection.wait_room(channel, 1, None);
        not_open(&peer.error(room));
        peer.connection.release_consumer(consumer);
        peer.connection.release_channel(channel);
        let again = close(&mut peer);
        peer.expect_nothing();
        if answered {
            // It is as closed as was asked for.
            assert!(peer.reply(again).is_ok());
        } else {
            peer.expect_waiting(again);
            peer.send(0, connection::CloseOk {});
            done(&mut peer, again);
        }
        done(&mut peer, closing);
    }
}

#[test]
fn f9_close_has_a_deadline() {
    let mut peer = Peer::open();
    let watch = peer.connection.watch_closed();
    let closing = close(&mut peer);
    peer.advance(seconds(5) - std::time::Duration::from_millis(1));
    peer.expect_waiting(closing);
    peer.advance(std::time::Duration::from_millis(1));
    assert_eq!(timed_out(&peer.error(closing)), ("Close".to_owned(), false));
    timed_out(&peer.error(watch));
    assert!(peer.connection.is_finished());
}

#[test]
fn a_blocked_broker_that_never_reads_does_not_hold_up_close_for_ever() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.send(0, connection::Blocked { reason: short("disk") });
    peer.stalled = true;
    peer.declare(channel, "q");
    let closing = close(&mut peer);
    peer.advance(seconds(5));
    assert_eq!(timed_out(&peer.error(closing)), ("Close".to_owned(), true));
    assert!(!peer.connection.has_outbound(), "nothing is left to be written to nobody");
}

#[test]
fn the_end_of_the_stream_after_close_is_as_good_as_its_answer() {
    let mut peer = Peer::open();
    let closing = close(&mut peer);
    peer.turn();
    peer.eof();
    done(&mut peer, closing);

    let mut peer = Peer::open();
    let closing = close(&mut peer);
    peer.turn();
    peer.connection.handle_io_error(peer.now, &std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    done(&mut peer, closing);

    let mut peer = Peer::open();
    let closing = close(&mut peer);
    peer.turn();
    peer.send_bytes(b"garbage");
    done(&mut peer, closing);
}

#[test]
fn the_end_of_the_stream_before_close_was_written_is_a_loss() {
    for taken in [0, 1] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        peer.stalled = true;
        peer.connection.publish(channel, &publish("q", &Properties::new(), b"accepted, and never sent")).unwrap();
        let closing = close(&mut peer);
        peer.write(taken);
        peer.eof();
        let error = peer.error(closing);
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    }
}

#[test]
fn f14_abort_is_at_once_and_silent() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.declare(channel, "q");
    let watch = peer.connection.watch_closed();
    peer.connection.abort();
    assert!(peer.connection.is_finished() && !peer.connection.has_outbound());
    not_open(&peer.error(request));
    done(&mut peer, watch);
    peer.connection.abort();
    assert_eq!(peer.events.iter().filter(|event| matches!(event, Event::Closed)).count(), 1);
    peer.expect_nothing();
}

#[test]
fn heartbeats_do_not_follow_close() {
    let mut peer = Peer::open_with(
        quiet().heartbeat(amqp_proto::config::Heartbeat::seconds(1)),
        connection::Tune { heartbeat: 1, ..TUNE },
    );
    let closing = close(&mut peer);
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.advance(seconds(5));
    peer.expect_nothing();
    assert_eq!(timed_out(&peer.error(closing)).0, "Close");
}

// ---- the connection, by the broker -----------------------------------------------------------------------------

#[test]
fn c15_a_close_from_the_server_is_answered_and_everybody_is_told_once() {
    let mut peer = Peer::open();
    let (one, two) = (peer.channel(), peer.confirm_channel());
    let consumer = peer.consumer(one, &consume("c"));
    peer.expect_pending(consumer);
    let requests = [peer.declare(one, "a"), peer.declare(two, "b"), peer.connection.watch_closed()];
    requests.iter().for_each(|request| peer.expect_waiting(*request));
    let confirm = peer.publish_confirmed(two, "q", false);
    assert!(peer.connection.take_outcome(confirm).is_none());
    assert!(matches!(peer.connection.next_return(one), Ok(None)));
    peer.sent();
    peer.events.clear();
    let method = connection::Close {
        reply_code: ReplyCode(541),
        reply_text: short("INTERNAL_ERROR"),
        class_id: 50,
        method_id: 10,
    };
    peer.send(0, method);
    assert_eq!(peer.names(), ["0 connection.close-ok"]);
    assert!(peer.connection.is_finished());
    let mut told: Vec<String> = peer.events.iter().map(|event| format!("{event:?}")).collect();
    let all = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), all, "nobody is told twice: {:?}", peer.events);
    // Three requests, a confirm, a consumer, returns, two channels, and the connection.
    assert_eq!(all, 9, "{:?}", peer.events);
    for request in requests {
        let error = peer.error(request);
        let reason = error.close_reason().unwrap();
        assert_eq!((reason.code, reason.class_id, reason.method_id), (ReplyCode(541), 50, 10));
        assert!(error.to_string().contains("in queue.declare"), "{error}");
    }
    let outcome = peer.outcome(confirm);
    assert_eq!(unknown(&outcome).reply_code(), Some(ReplyCode(541)));
    assert_eq!(peer.next_error(consumer).reply_code(), Some(ReplyCode(541)));
    assert_eq!(peer.connection.channel_error(one).unwrap().reply_code(), Some(ReplyCode(541)));
    assert_eq!(peer.connection.open_channel().unwrap_err().reply_code(), Some(ReplyCode(541)));
    // What comes after that is not looked at.
    peer.close(320, "again");
    peer.send_bytes(b"garbage");
    peer.eof();
    peer.expect_nothing();
}

#[test]
fn crossing_closes_of_the_connection_are_answered() {
    let mut peer = Peer::open();
    let closing = close(&mut peer);
    assert_eq!(peer.names(), ["0 connection.close"]);
    peer.close(320, "CONNECTION_FORCED - broker shutting down");
    assert_eq!(peer.names(), ["0 connection.close-ok"]);
    assert!(peer.connection.is_finished());
    assert_eq!(peer.error(closing).reply_code(), Some(ReplyCode(320)));
}

#[test]
fn what_comes_after_our_close_is_ignored_whatever_it_is() {
    let mut peer = Peer::open();
    peer.channel();
    let closing = close(&mut peer);
    peer.sent();
    peer.send(1, queue::DeclareOk::default());
    peer.send(7, deliver("unknown", 1));
    peer.send(0, connection::OpenOk {});
    peer.send_frame(amqp_proto::wire::FrameKind::Body, 1, b"x");
    peer.close_channel(1, 404, "too late");
    peer.expect_nothing();
    peer.expect_waiting(closing);
    peer.send(0, connection::CloseOk {});
    done(&mut peer, closing);
}

#[test]
fn p9_p14_an_end_of_the_stream_leaves_calls_waiting() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.declare(channel, "q");
    let watch = peer.connection.watch_closed();
    peer.eof();
    for request in [request, watch] {
        let error = peer.error(request);
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind: std::io::ErrorKind::UnexpectedEof, .. }));
    }
    peer.expect_nothing();
}

// ---- a channel -------------------------------------------------------------------------------------------------

#[test]
fn a2_the_second_close_of_a_channel_and_any_use_after_it_are_errors() {
    for answered in [false, true] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        let other = peer.channel();
        let closing = peer.connection.close_channel(channel).unwrap();
        assert_eq!(peer.names(), ["1 channel.close"]);
        if answered {
            peer.send(1, channel::CloseOk {});
            done(&mut peer, closing);
        }
        not_open(&peer.connection.close_channel(channel).unwrap_err());
        not_open(&peer.connection.request(channel, queue::Declare::default(), None).unwrap_err());
        not_open(&peer.connection.publish(channel, &publish("q", &Properties::new(), b"")).unwrap_err());
        not_open(&peer.connection.channel_error(channel).unwrap());
        peer.connection.release_channel(channel);
        peer.expect_nothing();
        let request = peer.declare(other, "q");
        peer.declare_ok(2, "q");
        assert_eq!(peer.declared(request), "q");
    }
}

#[test]
fn c17_f24_a_channel_closed_by_the_broker_wakes_all_that_wait_and_says_why() {
    let mut peer = Peer::open();
    let channel = peer.confirm_channel();
    let other = peer.channel();
    let requests = [peer.declare(channel, "a"), peer.declare(channel, "b")];
    let unaffected = peer.declare(other, "c");
    let confirm = peer.publish_confirmed(channel, "q", false);
    peer.sent();
    let close = channel::Close {
        reply_code: ReplyCode(404),
        reply_text: short("NOT_FOUND - no queue 'a'"),
        class_id: 50,
        method_id: 10,
    };
    peer.send(1, close);
    peer.expect(1, channel::CloseOk {});
    for request in requests {
        let error = peer.error(request);
        assert!(matches!(error.kind(), ErrorKind::ChannelClosed(_)), "{error}");
        assert_eq!(error.operation(), Some("queue.declare"));
        assert!(error.to_string().contains("no queue 'a' (in queue.declare)"), "{error}");
    }
    assert!(matches!(peer.outcome(confirm), Outcome::Unknown(_)));
    assert!(peer.events.iter().any(|event| matches!(event, Event::ChannelClosed(id) if *id == channel)));
    assert_eq!(peer.connection.channel_error(channel).unwrap().reply_code(), Some(ReplyCode(404)));
    peer.expect_waiting(unaffected);
    // Never handed out again while somebody holds it; its number may be.
    let next = peer.channel();
    assert!(next != channel);
    assert_eq!(peer.connection.channel_error(channel).unwrap().reply_code(), Some(ReplyCode(404)));
    peer.connection.release_channel(channel);
    peer.expect_nothing();
}

#[test]
fn c4_f21_the_error_of_an_earlier_publish_comes_out_of_a_close_that_it_crosses() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let none = Properties::new();
    let missing = Publish { exchange: short("missing"), ..publish("q", &none, b"x") };
    peer.connection.publish(channel, &missing).unwrap();
    let closing = peer.connection.close_channel(channel).unwrap();
    assert_eq!(peer.names().last().unwrap(), "1 channel.close");
    peer.close_channel(1, 404, "NOT_FOUND - no exchange 'missing'");
    peer.expect(1, channel::CloseOk {});
    assert_eq!(peer.error(closing).reply_code(), Some(ReplyCode(404)));
    // The number is in use until the broker has answered ours too.
    assert_eq!(peer.connection.channel_count(), 1);
    peer.connection.release_channel(channel);
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.connection.channel_count(), 0);
    peer.expect_nothing();
    // And one close-ok is all that there is.
    peer.send(1, channel::CloseOk {});
    peer.expect_close(ReplyCode::CHANNEL_ERROR);
}

#[test]
fn nothing_follows_the_close_of_a_channel_whatever_the_broker_says() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    peer.connection.close_channel(channel).unwrap();
    peer.sent();
    // All of this was on its way; an answer to it would be for a channel that is not open.
    peer.send(1, channel::Flow { active: false });
    peer.send(1, channel::Flow { active: true });
    peer.deliver(1, "c", 1, b"x");
    peer.send(1, basic::Cancel { consumer_tag: short("c"), nowait: false });
    peer.connection.release_consumer(consumer);
    peer.expect_nothing();
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.connection.channel_count(), 0);
}

#[test]
fn a_channel_may_be_closed_in_the_middle_of_a_message() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.consumer(channel, &consume("c"));
    let bytes = message(1, deliver("c", 1), &Properties::new(), &[0; 100], 50);
    peer.send_bytes(&bytes[..bytes.len() - 58]);
    peer.close_channel(1, 406, "closed");
    peer.expect(1, channel::CloseOk {});
    assert!(peer.connection.is_open());
    // The next channel of the number starts afresh.
    let mut peer = Peer::open_with(quiet().channel_max(1), TUNE);
    let first = peer.channel();
    peer.send(1, basic::Return::default());
    peer.close_channel(1, 406, "closed");
    peer.sent();
    peer.connection.release_channel(first);
    let second = peer.channel();
    let consumer = peer.consumer(second, &consume("c"));
    peer.deliver(1, "c", 1, b"x");
    assert_eq!(peer.next(consumer).body(), "x");
}

#[test]
fn c18_channel_numbers_are_reused_and_exhaustion_is_typed() {
    let mut peer = Peer::open_with(quiet().channel_max(3), TUNE);
    let channels = [(); 3].map(|()| peer.channel());
    let error = peer.connection.open_channel().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 3 }), "{error}");
    peer.expect_nothing();
    let closing = peer.connection.close_channel(channels[1]).unwrap();
    peer.sent();
    peer.send(2, channel::CloseOk {});
    done(&mut peer, closing);
    let (again, _) = peer.connection.open_channel().unwrap();
    assert_eq!(peer.names(), ["2 channel.open"]);
    assert!(again != channels[1]);
    // The old handle does not name the new channel.
    not_open(&peer.connection.channel_error(channels[1]).unwrap());
    assert!(peer.connection.channel_error(again).is_none());
}

#[test]
fn c18_a_channel_waits_for_the_number_of_one_that_is_being_closed() {
    for crossing in [false, true] {
        let mut peer = Peer::open_with(quiet().channel_max(2), TUNE);
        let channels = [(); 2].map(|()| peer.channel());
        peer.connection.release_channel(channels[1]);
        assert_eq!(peer.names(), ["2 channel.close"]);
        let (next, opened) = peer.connection.open_channel().unwrap();
        // There is one for each number that will be free.
        let error = peer.connection.open_channel().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 2 }), "{error}");
        // It can be used at once, but nothing leaves; a publish has to wait.
        let declared = peer.declare(next, "q");
        assert!(!peer.connection.can_publish(next));
        let room = peer.connection.wait_room(next, 1, None);
        peer.expect_waiting(room);
        peer.expect_nothing();
        if crossing {
            peer.close_channel(2, 404, "something failed meanwhile");
            assert_eq!(peer.names(), ["2 channel.close-ok"]);
        }
        peer.send(2, channel::CloseOk {});
        assert_eq!(peer.names(), ["2 channel.open", "2 queue.declare"]);
        peer.send(2, channel::OpenOk {});
        done(&mut peer, opened);
        peer.declare_ok(2, "q");
        assert_eq!(peer.declared(declared), "q");
        done(&mut peer, room);
        peer.connection.publish(next, &publish("q", &Properties::new(), b"x")).unwrap();
        assert_eq!(peer.names(), ["2 basic.publish", "2 header", "2 body"]);
    }
}

#[test]
fn c18_a_channel_that_waits_for_a_number_may_be_given_up_and_has_a_deadline() {
    let mut peer = Peer::open_with(quiet().channel_max(1), TUNE);
    let first = peer.channel();
    peer.connection.release_channel(first);
    let (second, opened) = peer.connection.open_channel().unwrap();
    assert_eq!(peer.names(), ["1 channel.close"]);
    peer.advance(seconds(30));
    assert_eq!(timed_out(&peer.error(opened)).0, r#"Call { method: "channel.open" }"#);
    peer.connection.release_channel(second);
    let (third, opened) = peer.connection.open_channel().unwrap();
    peer.expect_nothing();
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.names(), ["1 channel.open", "1 channel.close"]);
    peer.send(1, channel::OpenOk {});
    peer.expect_nothing();
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.names(), ["1 channel.open"]);
    peer.send(1, channel::OpenOk {});
    done(&mut peer, opened);
    assert!(peer.connection.channel_error(third).is_none());
    assert_eq!(peer.connection.channel_count(), 1);
}

#[test]
fn a_channel_that_waits_for_a_number_is_told_when_the_connection_ends() {
    let mut peer = Peer::open_with(quiet().channel_max(1), TUNE);
    let first = peer.channel();
    peer.connection.release_channel(first);
    let (second, opened) = peer.connection.open_channel().unwrap();
    peer.close(320, "bye");
    assert_eq!(peer.error(opened).reply_code(), Some(ReplyCode(320)));
    peer.connection.release_channel(second);
}

#[test]
fn c18_p28_all_65535_channels_can_be_opened() {
    let mut peer = Peer::open_with(quiet().channel_max(0), connection::Tune { channel_max: 0, ..TUNE });
    for _ in 0..u16::MAX {
        peer.connection.open_channel().unwrap();
    }
    let error = peer.connection.open_channel().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: u16::MAX }), "{error}");
    let numbers: Vec<u16> = peer.sent().iter().map(|sent| sent.channel).collect();
    assert_eq!((numbers[0], numbers.len()), (1, 65_535));
}

/// How much there is to a connection: what leaks shows.
fn size(connection: &Connection) -> usize {
    format!("{connection:?}").len()
}

#[test]
fn c18_p28_channels_leak() {
    let mut peer = Peer::open();
    let cycle = |peer: &mut Peer, kind: u32| {
        let (id, opened) = peer.connection.open_channel().unwrap();
        let number = peer.sent()[0].channel;
        peer.send(number, channel::OpenOk {});
        assert!(peer.reply(opened).is_ok());
        let request = peer.connection.consume(id, &consume_no_ack("c"), None).unwrap();
        peer.send(number, basic::ConsumeOk { consumer_tag: short("c") });
        let Ok(Reply::Consuming(consumer)) = peer.reply(request) else { panic!() };
        match kind % 3 {
            // Closed by us, by the broker, dropped.
            0 => {
                let closing = peer.connection.close_channel(id).unwrap();
                peer.send(number, channel::CloseOk {});
                done(peer, closing);
            }
            1 => peer.close_channel(number, 404, "closed"),
            _ => {
                peer.connection.release_channel(id);
                peer.send(number, channel::CloseOk {});
            }
        }
        peer.connection.release_channel(id);
        peer.connection.release_consumer(consumer);
        peer.sent();
        peer.events.clear();
        number
    };
    (0..100).for_each(|kind| {
        cycle(&mut peer, kind);
    });
    let before = size(&peer.connection);
    let highest = (0..10_000).map(|kind| cycle(&mut peer, kind)).max();
    assert!(highest < Some(32), "numbers are used again: {highest:?}");
    assert_eq!(peer.connection.channel_count(), 0);
    assert!(size(&peer.connection) < before + 2000, "{before} before, {} after", size(&peer.connection));
}

// ---- whatever happens ------------------------------------------------------------------------------------------

/// All that an application of the model holds.
#[derive(Default)]
struct Held {
    channels: Vec<ChannelId>,
    consumers: Vec<ConsumerId>,
    requests: Vec<RequestId>,
    confirms: Vec<(ConfirmId, ChannelId)>,
    resolved: HashMap<String, usize>,
}

impl Held {
    /// Takes what is there.
    fn collect(&mut self, peer: &mut Peer) {
        let connection = &mut peer.connection;
        self.requests.retain(|request| match connection.take_reply(*request) {
            None => true,
            Some(reply) => {
                if let Ok(Reply::Consuming(consumer)) = reply {
                    self.consumers.push(consumer);
                }
                false
            }
        });
        self.confirms.retain(|(confirm, _)| connection.take_outcome(*confirm).is_none());
        for event in peer.events.drain(..) {
            if let Event::Resolved(_) | Event::ChannelClosed(_) | Event::Closed = event {
                *self.resolved.entry(format!("{event:?}")).or_default() += 1;
            }
        }
    }
}

/// What the broker does with the oldest thing that it has not answered.
fn answer(peer: &mut Peer, unanswered: &mut Vec<(u16, &'static str, String)>, pick: usize) {
    if unanswered.is_empty() {
        return;
    }
    let (number, name, tag) = unanswered.remove(pick % unanswered.len());
    let reply: Method<'_> = match name {
        "channel.open" => channel::OpenOk {}.into(),
        "channel.close" => channel::CloseOk {}.into(),
        "queue.declare" => queue::DeclareOk::default().into(),
        "basic.qos" => basic::QosOk {}.into(),
        "basic.consume" => basic::ConsumeOk { consumer_tag: short(&tag) }.into(),
        "basic.cancel" => basic::CancelOk { consumer_tag: short(&tag) }.into(),
        "basic.get" => basic::GetEmpty {}.into(),
        "confirm.select" => amqp_proto::method::confirm::SelectOk {}.into(),
        "connection.close" => connection::CloseOk {}.into(),
        _ => return,
    };
    peer.send(number, reply);
}

fn tag_of(method: Method<'_>) -> String {
    match method {
        Method::Basic(basic::Method::Consume(consume)) => consume.consumer_tag.to_string(),
        Method::Basic(basic::Method::Cancel(cancel)) => cancel.consumer_tag.to_string(),
        _ => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// A script of anything that application and broker may do: whatever it is, every request has one answer.
    #[test]
    fn f4_every_request_is_resolved_exactly_once_whatever_happens(
        steps in proptest::collection::vec((0u8..22, any::<u8>()), 1..60),
        ending in 0u8..4,
    ) {
        let mut peer = Peer::open_with(quiet().publish_buffer(2000), TUNE);
        let mut held = Held::default();
        let mut unanswered: Vec<(u16, &'static str, String)> = Vec::new();
        for (step, pick) in steps {
            let pick = usize::from(pick);
            let any = |len: usize| (len > 0).then(|| pick % len.max(1));
            let channel = any(held.channels.len()).map(|at| held.channels[at]);
            match (step, channel) {
                (0 | 1, _) => {
                    if let Ok((channel, request)) = peer.connection.open_channel() {
                        held.channels.push(channel);
                        held.requests.push(request);
                    }
                }
                (2, Some(channel)) => {
                    let declare = queue::Declare::default();
                    held.requests.extend(peer.connection.request(channel, declare, None).ok().flatten());
                }
                (3, Some(channel)) => {
                    let get = basic::Get { queue: short("q"), no_ack: pick % 2 == 0 };
                    held.requests.extend(peer.connection.request(channel, get, None).ok().flatten());
                }
                (4, Some(channel)) => {
                    let consume = Consume { no_ack: pick % 2 == 0, ..consume("") };
                    held.requests.extend(peer.connection.consume(channel, &consume, None).ok());
                }
                (5, Some(channel)) => {
                    let select = amqp_proto::method::confirm::Select { nowait: false };
                    held.requests.extend(peer.connection.request(channel, select, None).ok().flatten());
                }
                (6 | 7, Some(channel)) => {
                    let body = vec![0; pick * pick * 20];
                    let properties = Properties::new();
                    let publish = Publish { mandatory: pick % 3 == 0, ..publish("q", &properties, &body) };
                    match peer.connection.publish_confirmed(channel, &publish) {
                        Ok(confirm) => held.confirms.push((confirm, channel)),
                        Err(_) => held.requests.push(peer.connection.wait_room(channel, 1, None)),
                    }
                }
                (8, Some(channel)) => held.requests.extend(peer.connection.close_channel(channel).ok()),
                (9, Some(channel)) => {
                    peer.connection.release_channel(channel);
                    held.channels.retain(|id| *id != channel);
                }
                (10, _) => {
                    if let Some(at) = any(held.consumers.len()) {
                        let consumer = held.consumers[at];
                        if pick % 2 == 0 {
                            held.requests.extend(peer.connection.cancel(consumer, None).ok());
                        } else {
                            peer.connection.release_consumer(held.consumers.swap_remove(at));
                        }
                    }
                }
                (11, _) => {
                    if let Some(at) = any(held.requests.len()) {
                        peer.connection.abandon_request(held.requests.swap_remove(at));
                    }
                }
                (12, _) => {
                    if let Some(at) = any(held.confirms.len()) {
                        let (confirm, channel) = held.confirms.swap_remove(at);
                        peer.connection.abandon_confirm(confirm, channel);
                    }
                }
                (13, _) => held.requests.push(peer.connection.watch_closed()),
                (14, _) => peer.stalled = pick % 2 == 0,
                (15, _) => {
                    peer.write(pick * 50);
                }
                (16, _) => peer.advance(seconds(pick as u64 % 40)),
                (17, _) if pick < 30 => held.requests.push(close(&mut peer)),
                (18, _) if pick < 100 => {
                    // Channels that the broker knows, and has not been asked to close.
                    let open = unanswered.iter().find(|(_, name, _)| *name == "queue.declare").map(|open| open.0);
                    if let Some(number) = open {
                        peer.close_channel(number, 406, "closed");
                        // It answers nothing any more but a close that crosses.
                        unanswered.retain(|(on, name, _)| *on != number || *name == "channel.close");
                    }
                }
                _ => answer(&mut peer, &mut unanswered, if step == 21 { pick } else { 0 }),
            }
            peer.turn();
            for sent in peer.frames_written() {
                if sent.kind != amqp_proto::wire::FrameKind::Method {
                    continue;
                }
                let method = sent.method();
                unanswered.push((sent.channel, method.name(), tag_of(method)));
                if method.name() == "channel.close" {
                    unanswered.retain(|(on, name, _)| *on != sent.channel || *name == "channel.close");
                }
            }
            if pick % 2 == 0 {
                held.collect(&mut peer);
            }
        }
        match ending {
            0 => peer.eof(),
            1 => peer.close(320, "forced"),
            2 => peer.connection.abort(),
            _ => {
                // Once for the confirms that do not come, once for close-ok.
                close(&mut peer);
                peer.advance(seconds(5));
                peer.advance(seconds(5));
            }
        }
        peer.turn();
        held.collect(&mut peer);
        prop_assert!(peer.connection.is_finished());
        prop_assert!(held.requests.is_empty(), "{:?}", held.requests);
        prop_assert!(held.confirms.is_empty(), "{:?}", held.confirms);
        prop_assert!(held.resolved.values().all(|count| *count == 1), "{:?}", held.resolved);
        for consumer in held.consumers.drain(..) {
            peer.connection.release_consumer(consumer);
        }
        for channel in held.channels.drain(..) {
            peer.connection.release_channel(channel);
        }
        prop_assert_eq!(peer.connection.poll_event().map(|event| format!("{event:?}")), None);
    }
}
