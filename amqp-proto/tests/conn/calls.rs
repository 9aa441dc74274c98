//! Requests and their replies: which reply is whose, deadlines, and what becomes of a reply that nobody waits for.

use amqp_proto::conn::{ChannelId, Event, Reply, RequestId};
use amqp_proto::error::{ErrorKind, ProtocolError};
use amqp_proto::method::{Method, Properties, ReplyCode, access, basic, channel, connection, exchange, queue, tx};
use amqp_proto::wire::{LongStr, ShortStr};

use crate::peer::{Peer, TUNE, consume, deliver, message, protocol, quiet, seconds, short, timed_out};

/// A `basic.get` that waits for its answer.
fn get(peer: &mut Peer, channel: ChannelId, no_ack: bool) -> RequestId {
    peer.connection.request(channel, basic::Get { queue: short("q"), no_ack }, None).unwrap().unwrap()
}

fn requeued(tag: u64) -> basic::Nack {
    basic::Nack { delivery_tag: tag, multiple: false, requeue: true }
}

#[test]
fn replies_overtake_each_other_as_rabbitmq_sends_them() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consuming = peer.connection.consume(channel, &consume("c"), None).unwrap();
    let first = peer.declare(channel, "one");
    let second = peer.declare(channel, "two");
    assert_eq!(peer.names(), ["1 basic.qos", "1 basic.consume", "1 queue.declare", "1 queue.declare"]);
    peer.declare_ok(1, "one");
    peer.declare_ok(1, "two");
    peer.send(1, basic::QosOk {});
    // Deliveries come right behind consume-ok, in the same read.
    let mut bytes = Vec::new();
    amqp_proto::method::put_any(&mut bytes, 1, &basic::ConsumeOk { consumer_tag: short("c") }.into()).unwrap();
    bytes.extend(message(1, deliver("c", 1), &Properties::new(), b"first", 100));
    bytes.extend(message(1, deliver("c", 2), &Properties::new(), b"second", 100));
    peer.send_bytes(&bytes);
    assert_eq!(peer.declared(second), "two");
    assert_eq!(peer.declared(first), "one");
    let Ok(Reply::Consuming(consumer)) = peer.reply(consuming) else { panic!() };
    assert_eq!(peer.next(consumer).body(), b"first");
    assert_eq!(peer.next(consumer).body(), b"second");
    peer.expect_pending(consumer);
}

#[test]
fn c8_a_hundred_parallel_declares_get_their_own_answers() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let names: Vec<String> = (0..100).map(|number| format!("queue-{number}")).collect();
    let requests: Vec<RequestId> = names.iter().map(|name| peer.declare(channel, name)).collect();
    assert_eq!(peer.names().len(), 100);
    names.iter().for_each(|name| peer.declare_ok(1, name));
    for (name, request) in names.iter().zip(requests).rev() {
        assert_eq!(peer.declared(request), *name);
    }
    peer.expect_nothing();
}

#[test]
fn p10_an_rpc_that_timed_out_shifts_every_later_reply() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let late = peer.declare(channel, "late");
    peer.advance(seconds(30));
    assert_eq!(timed_out(&peer.error(late)), ("Call { method: \"queue.declare\" }".to_owned(), false));
    let next = peer.declare(channel, "next");
    peer.declare_ok(1, "late");
    peer.expect_waiting(next);
    peer.declare_ok(1, "next");
    assert_eq!(peer.declared(next), "next");
}

#[test]
fn p12_dropping_a_call_shifts_every_later_reply() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let dropped = peer.declare(channel, "dropped");
    peer.connection.abandon_request(dropped);
    let next = peer.declare(channel, "next");
    peer.declare_ok(1, "dropped");
    peer.expect_waiting(next);
    peer.declare_ok(1, "next");
    assert_eq!(peer.declared(next), "next");
    // The broker answers a third time: nobody asked for that.
    peer.sent();
    peer.declare_ok(1, "again");
    peer.expect_close(ReplyCode::UNEXPECTED_FRAME);
}

#[test]
fn a_call_after_an_idle_hour_has_its_whole_time() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.advance(seconds(3600));
    // The call comes between two turns: nobody has looked at the clock for an hour more.
    peer.now += seconds(3600);
    let declare = queue::Declare { queue: short("q"), ..queue::Declare::default() };
    let request = peer.connection.request(channel, declare, Some(seconds(5))).unwrap().unwrap();
    peer.advance(seconds(5) - std::time::Duration::from_nanos(1));
    peer.expect_waiting(request);
    peer.advance(std::time::Duration::from_nanos(1));
    let error = peer.error(request);
    timed_out(&error);
    assert_eq!(error.operation(), Some("queue.declare"));
    assert!(error.is_retryable());
}

#[test]
fn deadlines_fire_in_their_order_and_not_in_that_of_the_calls() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let times = [7, 3, 5, 3];
    let requests = times.map(|time| {
        let declare = queue::Declare::default();
        peer.connection.request(channel, declare, Some(seconds(time))).unwrap().unwrap()
    });
    let mut expired = [0; 4];
    for second in 1..=8 {
        peer.advance(seconds(1));
        for (at, request) in requests.into_iter().enumerate() {
            if expired[at] == 0
                && let Some(reply) = peer.connection.take_reply(request)
            {
                timed_out(&reply.unwrap_err());
                expired[at] = second;
            }
        }
    }
    assert_eq!(expired, times);
}

#[test]
fn a_blocked_broker_is_named_in_the_time_out() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.send(0, connection::Blocked { reason: short("low on disk") });
    let request = peer.declare(channel, "q");
    peer.advance(seconds(30));
    let error = peer.error(request);
    assert!(timed_out(&error).1 && error.to_string().contains("blocked"), "{error}");
}

#[test]
fn an_event_comes_only_for_a_request_that_was_looked_at() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.events.clear();
    let (quiet, watched) = (peer.declare(channel, "a"), peer.declare(channel, "b"));
    peer.expect_waiting(watched);
    peer.declare_ok(1, "a");
    peer.declare_ok(1, "b");
    assert!(matches!(peer.events[..], [Event::Resolved(id)] if id == watched), "{:?}", peer.events);
    assert_eq!((peer.declared(quiet), peer.declared(watched)), ("a".to_owned(), "b".to_owned()));
    let twice = peer.connection.take_reply(quiet).unwrap().unwrap_err();
    assert!(matches!(twice.kind(), ErrorKind::Internal(_)), "{twice}");
}

#[test]
fn a5_get_gives_all_fields_or_none() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let (full, empty) = (get(&mut peer, channel, false), get(&mut peer, channel, true));
    peer.expect_all([
        (1, basic::Get { queue: short("q"), no_ack: false }.into()),
        (1, basic::Get { queue: short("q"), no_ack: true }.into()),
    ]);
    let mut properties = Properties::new();
    properties.set_message_id("m-1").unwrap();
    let got = basic::GetOk {
        delivery_tag: 1,
        redelivered: true,
        exchange: short("events"),
        routing_key: short("order.created"),
        message_count: 41,
    };
    peer.send_message(1, got, &properties, b"body");
    peer.send(1, basic::GetEmpty {});
    let Ok(Reply::Got(Some(delivery))) = peer.reply(full) else { panic!() };
    assert_eq!((delivery.exchange(), delivery.routing_key()), ("events", "order.created"));
    assert_eq!((delivery.consumer_tag(), delivery.message_count()), ("", Some(41)));
    assert_eq!((delivery.delivery_tag().value(), delivery.delivery_tag().channel()), (1, channel));
    assert!(delivery.redelivered() && delivery.needs_settling());
    assert_eq!(delivery.properties().unwrap().message_id, Some(short("m-1")));
    assert_eq!(delivery.body(), b"body");
    assert!(matches!(peer.reply(empty), Ok(Reply::Got(None))));
    peer.connection.ack(delivery.delivery_tag(), false).unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false });
}

#[test]
fn an_abandoned_get_puts_its_message_back() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    // Given up before the reply comes, and when it is there already.
    let (before, after) = (get(&mut peer, channel, false), get(&mut peer, channel, false));
    peer.connection.abandon_request(before);
    peer.sent();
    peer.get_ok(1, 1, b"one");
    peer.expect(1, requeued(1));
    peer.get_ok(1, 2, b"two");
    peer.expect_nothing();
    peer.connection.abandon_request(after);
    peer.expect(1, requeued(2));
    assert_eq!(peer.connection.unsettled(channel), 0);
}

#[test]
fn a_get_that_timed_out_puts_its_message_back() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let late = get(&mut peer, channel, false);
    let next = get(&mut peer, channel, false);
    peer.advance(seconds(30));
    timed_out(&peer.error(late));
    timed_out(&peer.error(next));
    let last = get(&mut peer, channel, false);
    peer.sent();
    peer.get_ok(1, 1, b"one");
    peer.send(1, basic::GetEmpty {});
    peer.expect(1, requeued(1));
    peer.expect_waiting(last);
    peer.get_ok(1, 2, b"two");
    assert!(matches!(peer.reply(last), Ok(Reply::Got(Some(delivery))) if delivery.body() == b"two"));
}

#[test]
fn an_abandoned_get_puts_back_what_cannot_be_read_too() {
    let mut peer = Peer::open_with(quiet().max_body_size(10), TUNE);
    let channel = peer.channel();
    let (before, after) = (get(&mut peer, channel, false), get(&mut peer, channel, false));
    peer.connection.abandon_request(before);
    peer.sent();
    peer.get_ok(1, 1, b"more than ten bytes");
    peer.expect(1, requeued(1));
    peer.get_ok(1, 2, b"more than ten bytes");
    peer.connection.abandon_request(after);
    peer.expect(1, requeued(2));
    assert_eq!(peer.connection.unsettled(channel), 0);
}

#[test]
fn an_abandoned_get_without_ack_cannot_be_undone() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = get(&mut peer, channel, true);
    peer.connection.abandon_request(request);
    peer.sent();
    peer.get_ok(1, 1, b"lost");
    peer.expect_nothing();
}

#[test]
fn an_abandoned_consume_is_cancelled_and_what_arrived_is_put_back() {
    for abandon_before_reply in [true, false] {
        let mut peer = Peer::open();
        let channel = peer.channel();
        let request = peer.connection.consume(channel, &consume("c"), None).unwrap();
        peer.sent();
        peer.send(1, basic::QosOk {});
        if abandon_before_reply {
            peer.connection.abandon_request(request);
            peer.expect_nothing();
        }
        peer.send(1, basic::ConsumeOk { consumer_tag: short("c") });
        peer.deliver(1, "c", 1, b"one");
        if !abandon_before_reply {
            peer.connection.abandon_request(request);
        }
        let cancel = basic::Cancel { consumer_tag: short("c"), nowait: false };
        peer.expect_all([(1, cancel.into()), (1, requeued(1).into())]);
        peer.deliver(1, "c", 2, b"two");
        peer.expect(1, requeued(2));
        peer.send(1, basic::CancelOk { consumer_tag: short("c") });
        peer.expect_nothing();
        // The tag is free again.
        peer.consumer(channel, &consume("c"));
    }
}

#[test]
fn a_consume_that_timed_out_is_cancelled_when_it_comes_after_all() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.connection.consume(channel, &consume("c"), None).unwrap();
    peer.advance(seconds(30));
    timed_out(&peer.error(request));
    peer.sent();
    peer.send(1, basic::QosOk {});
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") });
    peer.expect(1, basic::Cancel { consumer_tag: short("c"), nowait: false });
}

#[test]
fn an_abandoned_channel_open_is_closed_when_its_handle_goes() {
    let mut peer = Peer::open();
    let (channel, request) = peer.connection.open_channel().unwrap();
    assert_eq!(peer.names(), ["1 channel.open"]);
    peer.connection.abandon_request(request);
    peer.connection.release_channel(channel);
    assert_eq!(peer.names(), ["1 channel.close"]);
    assert_eq!(peer.connection.channel_count(), 1);
    peer.send(1, channel::OpenOk {});
    peer.send(1, channel::CloseOk {});
    peer.expect_nothing();
    assert_eq!(peer.connection.channel_count(), 0);
    assert!(peer.connection.channel_error(channel).is_some());
}

#[test]
fn a_channel_open_that_timed_out_can_still_be_closed() {
    let mut peer = Peer::open();
    let (channel, request) = peer.connection.open_channel().unwrap();
    peer.advance(seconds(30));
    let error = peer.error(request);
    assert_eq!(error.operation(), Some("channel.open"));
    timed_out(&error);
    peer.connection.release_channel(channel);
    peer.sent();
    peer.send(1, channel::OpenOk {});
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.connection.channel_count(), 0);
}

#[test]
fn nothing_is_lost_when_a_closing_channel_answers_late() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let request = peer.declare(channel, "q");
    let close = peer.connection.close_channel(channel).unwrap();
    peer.declare_ok(1, "q");
    peer.send(1, channel::CloseOk {});
    assert_eq!(peer.declared(request), "q");
    assert!(matches!(peer.reply(close), Ok(Reply::Done)));
}

#[test]
fn f22_nowait_forms_have_no_reply() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let methods: [Method<'_>; 10] = [
        exchange::Declare { exchange: short("e"), kind: short("topic"), nowait: true, ..exchange::Declare::default() }
            .into(),
        exchange::Bind { nowait: true, ..exchange::Bind::default() }.into(),
        exchange::Unbind { nowait: true, ..exchange::Unbind::default() }.into(),
        exchange::Delete { nowait: true, ..exchange::Delete::default() }.into(),
        queue::Declare { nowait: true, ..queue::Declare::default() }.into(),
        queue::Bind { nowait: true, ..queue::Bind::default() }.into(),
        queue::Purge { nowait: true, ..queue::Purge::default() }.into(),
        queue::Delete { nowait: true, ..queue::Delete::default() }.into(),
        basic::RecoverAsync { requeue: true }.into(),
        amqp_proto::method::confirm::Select { nowait: true }.into(),
    ];
    for method in methods {
        assert!(peer.connection.request(channel, method, None).unwrap().is_none(), "{}", method.name());
    }
    peer.expect_all(methods.map(|method| (1, method)));
    peer.advance(seconds(3600));
    peer.expect_nothing();
}

#[test]
fn f1_every_request_is_resolved_by_its_reply() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let pairs: [(Method<'_>, Method<'_>); 16] = [
        (access::Request::default().into(), access::RequestOk { ..access::RequestOk::default() }.into()),
        (channel::Flow { active: true }.into(), channel::FlowOk { active: true }.into()),
        (exchange::Declare::default().into(), exchange::DeclareOk {}.into()),
        (exchange::Bind::default().into(), exchange::BindOk {}.into()),
        (exchange::Unbind::default().into(), exchange::UnbindOk {}.into()),
        (exchange::Delete::default().into(), exchange::DeleteOk {}.into()),
        (queue::Declare::default().into(), queue::DeclareOk::default().into()),
        (queue::Bind::default().into(), queue::BindOk {}.into()),
        (queue::Unbind::default().into(), queue::UnbindOk {}.into()),
        (queue::Purge::default().into(), queue::PurgeOk { message_count: 3 }.into()),
        (queue::Delete::default().into(), queue::DeleteOk { message_count: 4 }.into()),
        (basic::Qos::default().into(), basic::QosOk {}.into()),
        (basic::Recover { requeue: true }.into(), basic::RecoverOk {}.into()),
        (tx::Select {}.into(), tx::SelectOk {}.into()),
        (tx::Commit {}.into(), tx::CommitOk {}.into()),
        (tx::Rollback {}.into(), tx::RollbackOk {}.into()),
    ];
    for (method, answer) in pairs {
        let request = peer.connection.request(channel, method, None).unwrap().unwrap();
        peer.expect(1, method);
        peer.expect_waiting(request);
        peer.send(1, answer);
        let reply = peer.reply(request).unwrap();
        let expected = match method.name() {
            "channel.flow" => matches!(reply, Reply::Flow(true)),
            "queue.declare" => matches!(reply, Reply::QueueDeclared { .. }),
            "queue.purge" => matches!(reply, Reply::MessageCount(3)),
            "queue.delete" => matches!(reply, Reply::MessageCount(4)),
            _ => matches!(reply, Reply::Done),
        };
        assert!(expected, "{}: {reply:?}", method.name());
    }
    // A2: twice is fine.
    let again = peer.connection.request(channel, channel::Flow { active: true }, None).unwrap().unwrap();
    peer.send(1, channel::FlowOk { active: true });
    assert!(matches!(peer.reply(again), Ok(Reply::Flow(true))));
}

#[test]
fn what_has_an_operation_of_its_own_is_no_request() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let methods: [Method<'_>; 5] = [
        channel::Open {}.into(),
        channel::Close::default().into(),
        basic::Publish::default().into(),
        basic::Consume::default().into(),
        basic::Ack::default().into(),
    ];
    for method in methods {
        let error = peer.connection.request(channel, method, None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Internal(_)), "{error}");
    }
    peer.expect_nothing();
}

#[test]
fn a_reply_that_nobody_asked_for_is_a_protocol_error() {
    let replies: [Method<'_>; 9] = [
        channel::OpenOk {}.into(),
        channel::CloseOk {}.into(),
        channel::FlowOk { active: true }.into(),
        queue::DeclareOk::default().into(),
        basic::ConsumeOk { consumer_tag: short("c") }.into(),
        basic::CancelOk { consumer_tag: short("c") }.into(),
        basic::GetEmpty {}.into(),
        basic::RecoverOk {}.into(),
        tx::CommitOk {}.into(),
    ];
    for reply in replies {
        let mut peer = Peer::open();
        let channel = peer.channel();
        // Another request is under way: it must not be taken for its reply.
        let request = peer.connection.request(channel, queue::Purge::default(), None).unwrap().unwrap();
        peer.sent();
        peer.send(1, reply);
        peer.expect_close(ReplyCode::UNEXPECTED_FRAME);
        let error = peer.error(request);
        let what = protocol(&error);
        assert!(
            matches!(what, ProtocolError::Unexpected { what, channel: 1 } if what == reply.name()),
            "{}: {what}",
            reply.name()
        );
    }
}

#[test]
fn a7_a_duplicate_consumer_tag_is_refused_here() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("c"));
    let error = peer.connection.consume(channel, &consume("c"), None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DuplicateConsumerTag(tag) if tag == "c"), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_ALLOWED));
    peer.expect_nothing();
    // Another channel may use it, and this one again when the consumer has gone.
    let other = peer.channel();
    peer.consumer(other, &consume("c"));
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    peer.sent();
    assert!(peer.connection.consume(channel, &consume("c"), None).is_err());
    peer.send(1, basic::CancelOk { consumer_tag: short("c") });
    assert!(peer.reply(cancel).is_ok());
    peer.consumer(channel, &consume("c"));
}

#[test]
fn a_tag_made_here_never_meets_one_of_the_applications() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let made = peer.consumer(channel, &consume(""));
    let made = peer.connection.consumer_tag(made).to_owned();
    // The application may well choose what would be made next.
    let (stem, number) = made.rsplit_once('.').unwrap();
    let next = format!("{stem}.{}", number.parse::<u32>().unwrap() + 1);
    peer.consumer(channel, &consume(&next));
    let other = peer.consumer(channel, &consume(""));
    let other = peer.connection.consumer_tag(other).to_owned();
    assert!(other != made && other != next, "{other}");
}

#[test]
fn cancel_ok_goes_to_the_cancel_of_its_tag() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let (first, second) = (peer.consumer(channel, &consume("a")), peer.consumer(channel, &consume("b")));
    let first_cancel = peer.connection.cancel(first, None).unwrap();
    let second_cancel = peer.connection.cancel(second, None).unwrap();
    assert_eq!(peer.names(), ["1 basic.cancel", "1 basic.cancel"]);
    peer.send(1, basic::CancelOk { consumer_tag: short("b") });
    assert!(matches!(peer.reply(second_cancel), Ok(Reply::Done)));
    peer.expect_waiting(first_cancel);
    peer.expect_ended(second);
    peer.expect_pending(first);
    peer.send(1, basic::CancelOk { consumer_tag: short("a") });
    assert!(matches!(peer.reply(first_cancel), Ok(Reply::Done)));
    peer.expect_ended(first);
}

#[test]
fn a4_cancel_of_an_unknown_tag_is_answered_and_ends_nobody_else() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("a"));
    let cancel = peer.connection.cancel(consumer, None).unwrap();
    let unknown = peer.connection.cancel_tag(channel, short("unknown"), None).unwrap();
    peer.sent();
    // Replies overtake each other.
    peer.send(1, basic::CancelOk { consumer_tag: short("unknown") });
    assert!(matches!(peer.reply(unknown), Ok(Reply::Done)));
    peer.expect_waiting(cancel);
    peer.deliver(1, "a", 1, b"one");
    assert_eq!(peer.next(consumer).body(), b"one");
    peer.send(1, basic::CancelOk { consumer_tag: short("a") });
    assert!(matches!(peer.reply(cancel), Ok(Reply::Done)));
    peer.expect_ended(consumer);
}

#[test]
fn an_empty_tag_in_cancel_ok_is_that_of_the_oldest_cancel() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let (first, second) = (peer.consumer(channel, &consume("a")), peer.consumer(channel, &consume("b")));
    let first_cancel = peer.connection.cancel(first, None).unwrap();
    let second_cancel = peer.connection.cancel_tag(channel, short("b"), None).unwrap();
    peer.sent();
    peer.send(1, basic::CancelOk { consumer_tag: ShortStr::EMPTY });
    assert!(peer.reply(first_cancel).is_ok());
    peer.expect_waiting(second_cancel);
    peer.send(1, basic::CancelOk { consumer_tag: short("b") });
    assert!(peer.reply(second_cancel).is_ok());
    peer.expect_ended(second);
}

#[test]
fn a_consumer_that_the_broker_cancelled_meanwhile_is_no_surprise_to_cancel_ok() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    let consumer = peer.consumer(channel, &consume("a"));
    peer.connection.release_consumer(consumer);
    assert_eq!(peer.names(), ["1 basic.cancel"]);
    peer.send(1, basic::Cancel { consumer_tag: short("a"), nowait: true });
    peer.send(1, basic::CancelOk { consumer_tag: short("a") });
    peer.expect_nothing();
    assert!(peer.connection.is_open());
}

#[test]
fn p41_a_method_over_the_frame_limit_is_refused_before_a_byte_is_queued() {
    let tune = connection::Tune { frame_max: 4096, ..TUNE };
    let mut peer = Peer::open_with(quiet(), tune);
    let channel = peer.channel();
    let text = "x".repeat(4096);
    let arguments = amqp_proto::table! { "x" => text.as_str() };
    let declare = queue::Declare { arguments: arguments.as_ref(), ..queue::Declare::default() };
    let error = peer.connection.request(channel, declare, None).unwrap_err();
    assert_eq!(error.operation(), Some("queue.declare"));
    assert!(error.to_string().contains("4096"), "{error}");
    peer.expect_nothing();
    let request = peer.declare(channel, "q");
    peer.declare_ok(1, "q");
    assert_eq!(peer.declared(request), "q");
}

#[test]
fn abandoned_requests_leave_nothing_behind() {
    let mut peer = Peer::open();
    let channel = peer.channel();
    peer.stalled = true;
    let first = peer.connection.watch_closed();
    peer.connection.abandon_request(first);
    for _ in 0..1000 {
        for request in [peer.connection.watch_closed(), peer.connection.wait_room(channel, 1, None)] {
            assert!(request.index() < 4, "slots are used again");
            peer.connection.abandon_request(request);
        }
        peer.turn();
    }
    let debug = format!("{:?}", peer.connection);
    assert!(debug.len() < 20_000, "{} bytes", debug.len());
}

#[test]
fn f17_update_secret_is_answered_in_turn_and_its_time_out_shifts_nothing() {
    let mut peer = Peer::open();
    let late = peer.connection.update_secret("first", "expires soon").unwrap();
    peer.expect(0, connection::UpdateSecret { new_secret: LongStr(b"first"), reason: short("expires soon") });
    peer.advance(seconds(30));
    let reason = timed_out(&peer.error(late)).0;
    assert!(reason.contains("connection.update-secret"), "{reason}");
    let next = peer.connection.update_secret("second", &"r".repeat(300)).unwrap();
    peer.expect(0, connection::UpdateSecret { new_secret: LongStr(b"second"), reason: short(&"r".repeat(255)) });
    peer.send(0, connection::UpdateSecretOk {});
    peer.expect_waiting(next);
    peer.send(0, connection::UpdateSecretOk {});
    assert!(matches!(peer.reply(next), Ok(Reply::Done)));

    let last = peer.connection.update_secret("third", "").unwrap();
    peer.close(530, "NOT_ALLOWED - refused");
    assert_eq!(peer.error(last).reply_code(), Some(ReplyCode(530)));
    assert!(peer.connection.update_secret("fourth", "").is_err());
}

#[test]
fn a_secret_that_does_not_fit_into_a_frame_is_an_error_and_not_a_byte_leaves() {
    let mut peer = Peer::open_with(quiet(), connection::Tune { frame_max: 4096, ..TUNE });
    let error = peer.connection.update_secret(&"s".repeat(5000), "").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
    peer.expect_nothing();
}
