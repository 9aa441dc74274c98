//! What the handles promise: which futures may be dropped, what a drop undoes, what keeps a connection open, and that
//! nothing a user says can panic.

use std::time::Duration;

use amqp_api::proto::method::{ReplyCode, connection as wire_connection, queue as wire_queue};
use amqp_api::proto::wire::ShortStr;
use amqp_api::{
    Binding, Call, Channel, Config, Confirm, Connection, Consume, Consumer, Delivery, Error, ErrorKind, Exchange, Get,
    Message, Outcome, Publisher, Qos, Queue, Returns,
};

use crate::peer::{Peer, Settled};
use crate::tools::{both, poll_once};
use crate::wire::Manners;
use crate::world::World;

#[test]
fn f20_handles_are_clone_send_and_sync() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    fn future<T: Send>(_: T) {}
    shared::<Connection>();
    shared::<Channel>();
    shared::<Publisher>();
    shared::<Error>();
    shared::<Config>();
    sent::<Consumer>();
    sent::<Returns>();
    sent::<Delivery>();
    sent::<Confirm>();
    sent::<Call<Consumer>>();
    let _ = |channel: Channel, publisher: Publisher, mut consumer: Consumer| {
        future(channel.publish("", "", "x"));
        future(channel.send("", "", "x"));
        future(publisher.publish("", "", "x"));
        future(consumer.next());
    };
}

/// The example of the documentation, as it stands.
#[test]
fn the_documented_session_compiles_and_runs() {
    async fn session(connection: Connection, body: &[u8], id: u64) -> Result<(), Error> {
        let channel = connection.channel().await?;

        channel.exchange_declare(Exchange::topic("events")).await?;
        channel.queue_declare("hello").await?;
        channel.queue_declare(Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5)).await?;
        channel.queue_bind("orders", "events", "order.*").await?;

        channel.publish("events", "order.created", "hello").await?;
        let publisher = connection.publisher().await?;
        publisher
            .publish(
                "events",
                "order.created",
                Message::new(body).persistent().header("trace", i64::try_from(id).unwrap()),
            )
            .await?;
        let confirm = publisher.send("events", "order.created", body).await?;
        confirm.await?;

        let mut consumer = channel.consume("orders").await?;
        let mut seen = 0;
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            delivery.ack()?;
            seen += 1;
            if seen == 3 {
                break;
            }
        }
        connection.close().await?;
        Ok(())
    }
    let world = World::new(1);
    let peer = Peer { greeting: 3, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    world.block_on(session(connection, b"body", 17)).unwrap();
    let modes: Vec<_> = wire.lock().peer.published.iter().map(|(_, _, mode, _)| *mode).collect();
    assert_eq!(modes, [None, Some(2), Some(2)], "a publisher's messages are persistent, a channel's are as they are");
}

#[test]
fn p12_a_reply_never_goes_to_the_caller_after_the_one_that_gave_up() {
    for seed in 0..50 {
        let world = World::new(seed);
        let (connection, wire) = world.connect_to(Peer::default(), Manners::Bad, Config::default());
        let channel = world.block_on(connection.channel()).unwrap();
        drop(channel.queue_declare("unpolled"));
        let mut polled = channel.queue_declare("polled");
        assert!(poll_once(&mut polled).is_pending());
        let late = channel.queue_declare("late");
        drop(polled);
        let (late, last) = world.block_on(both(late, channel.queue_declare("last")));
        assert_eq!((late.unwrap().name, last.unwrap().name), ("late".to_owned(), "last".to_owned()));
        assert_eq!(wire.lock().peer.count("queue.declare"), 4, "what was asked for was sent");
    }
}

#[test]
fn p10_a_call_that_timed_out_does_not_shift_the_next_reply() {
    let world = World::new(2);
    let peer = Peer::default().mute(&["queue.declare"]);
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let error = world.block_on(channel.queue_declare("slow")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }));
    assert_eq!(world.elapsed(), Duration::from_secs(30));
    let call = channel.queue_declare("fast");
    for name in ["slow", "fast"] {
        let queue = ShortStr::new(name).unwrap();
        wire.lock().peer.say(1, &wire_queue::DeclareOk { queue, message_count: 0, consumer_count: 0 });
    }
    assert_eq!(world.block_on(call).unwrap().name, "fast");
}

#[test]
fn c8_p13_a_hundred_declares_at_once_on_one_channel_succeed() {
    let world = World::new(3);
    let (connection, _wire) = world.connect_to(Peer::default(), Manners::Bad, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let calls: Vec<_> = (0..100).map(|at| (at, channel.queue_declare(format!("q{at}")))).collect();
    for (at, call) in calls.into_iter().rev() {
        assert_eq!(world.block_on(call).unwrap().name, format!("q{at}"));
    }
}

#[test]
fn a_message_whose_get_was_dropped_goes_back() {
    let world = World::new(4);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    drop(channel.get("q"));
    world.settle();
    assert_eq!(wire.lock().peer.settled, [Settled::Nack { tag: 1, multiple: false, requeue: true }]);

    let got = world.block_on(channel.get(Get::new("q"))).unwrap().unwrap();
    assert_eq!((got.routing_key(), got.message_count(), got.consumer_tag()), ("got", Some(7), ""));
    got.ack().unwrap();
    world.settle();
    assert_eq!(wire.lock().peer.settled.last(), Some(&Settled::Ack { tag: 2, multiple: false }));
}

#[test]
fn a_consume_that_was_dropped_is_cancelled() {
    let world = World::new(5);
    let peer = Peer { greeting: 2, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    drop(channel.consume("q"));
    world.settle();
    let wire = wire.lock();
    assert!(wire.peer.has_seen("basic.cancel") && wire.peer.consumers.is_empty());
    assert_eq!(wire.peer.settled.len(), 2, "and what came is put back: {:?}", wire.peer.settled);
}

#[test]
fn an_unsettled_delivery_goes_back_when_it_is_dropped() {
    let world = World::new(6);
    let peer = Peer { greeting: 7, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut consumer = world.block_on(channel.consume("q")).unwrap();
    let mut next = || world.block_on(consumer.next()).unwrap().unwrap();
    drop(next());
    next().nack(false).unwrap();
    next().reject(true).unwrap();
    let (fourth, fifth) = (next(), next());
    fifth.ack_multiple().unwrap();
    drop(fourth); // Settled by the fifth: nothing more to say.
    let (content, acker) = next().into_parts();
    assert_eq!(content.body(), "greeting 5");
    drop(acker);
    world.settle();
    assert_eq!(
        wire.lock().peer.settled,
        [
            Settled::Nack { tag: 1, multiple: false, requeue: true },
            Settled::Nack { tag: 2, multiple: false, requeue: false },
            Settled::Reject { tag: 3, requeue: true },
            Settled::Ack { tag: 5, multiple: true },
            Settled::Nack { tag: 6, multiple: false, requeue: true },
        ]
    );
    // The seventh stands in the consumer, unread.
    drop(consumer);
    world.settle();
    let wire = wire.lock();
    assert!(wire.peer.has_seen("basic.cancel"));
    assert_eq!(wire.peer.settled.last(), Some(&Settled::Nack { tag: 7, multiple: false, requeue: true }));
}

#[test]
fn f36_acks_in_a_row_leave_as_one() {
    let world = World::new(7);
    let peer = Peer { greeting: 50, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut consumer = world.block_on(channel.consume("q")).unwrap();
    world.settle();
    while let Some(delivery) = consumer.try_next() {
        delivery.unwrap().ack().unwrap();
    }
    world.settle();
    assert_eq!(wire.lock().peer.settled, [Settled::Ack { tag: 50, multiple: true }]);
}

#[test]
fn a_delivery_without_acks_needs_no_settlement() {
    let world = World::new(8);
    let peer = Peer { greeting: 2, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut consumer = world.block_on(channel.consume(Consume::new("q").no_ack())).unwrap();
    drop(world.block_on(consumer.next()).unwrap().unwrap());
    world.block_on(consumer.next()).unwrap().unwrap().ack().unwrap();
    world.settle();
    assert!(wire.lock().peer.settled.is_empty());
}

#[test]
fn c13_p29_the_last_handle_closes_the_connection() {
    type Keep = fn(&World, &Connection) -> Box<dyn std::any::Any>;
    let keepers: [(&str, bool, Keep); 6] = [
        ("a channel", true, |world, connection| Box::new(world.block_on(connection.channel()).unwrap())),
        ("a publisher", true, |world, connection| Box::new(world.block_on(connection.publisher()).unwrap())),
        ("a consumer", true, |world, connection| {
            let channel = world.block_on(connection.channel()).unwrap();
            Box::new(world.block_on(channel.consume("q")).unwrap())
        }),
        ("a delivery", false, |world, connection| {
            let channel = world.block_on(connection.channel()).unwrap();
            let mut consumer = world.block_on(channel.consume("q")).unwrap();
            Box::new(world.block_on(consumer.next()).unwrap().unwrap())
        }),
        ("a confirm", false, |world, connection| {
            let publisher = world.block_on(connection.publisher()).unwrap();
            Box::new(world.block_on(publisher.send("", "q", "x")).unwrap())
        }),
        ("a watcher of the end", false, |_, connection| Box::new(connection.closed())),
    ];
    for (what, keeps_open, keep) in keepers {
        let world = World::new(9);
        let peer = Peer { greeting: 1, ..Peer::default() };
        let (connection, wire) = world.connect_to(peer, Manners::Good, Config::default());
        let kept = keep(&world, &connection);
        let clone = connection.clone();
        drop(connection);
        world.settle();
        assert!(!wire.lock().peer.has_seen("connection.close"));
        drop(clone);
        world.settle();
        assert_eq!(!wire.lock().peer.has_seen("connection.close"), keeps_open, "{what}");
        drop(kept);
        world.settle();
        let wire = wire.lock();
        assert!(wire.peer.has_seen("connection.close") && wire.shut_down && wire.dropped, "{what}");
        assert_eq!(world.task_count(), 0);
    }
}

#[test]
fn f20_p28_a_dropped_channel_is_closed_and_its_number_used_again() {
    let world = World::new(10);
    let (connection, wire) = world.connect(Config::default().channel_max(20));
    for _ in 0..500 {
        let channel = world.block_on(connection.channel()).unwrap();
        drop(channel);
        drop(connection.channel());
    }
    world.settle();
    assert_eq!(wire.lock().peer.count("channel.open"), 1000);
    assert_eq!(wire.lock().peer.count("channel.close"), 1000);
    let kept: Vec<_> = (0..20).map(|_| world.block_on(connection.channel()).unwrap()).collect();
    let error = world.block_on(connection.channel()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 20 }));
    drop(kept);
}

#[test]
fn n13_a_publisher_whose_channel_was_closed_goes_on_with_a_new_one() {
    for seed in 0..50 {
        let world = World::new(seed);
        let (connection, wire) = world.connect_to(Peer::default(), Manners::Bad, Config::default());
        let publisher = world.block_on(connection.publisher()).unwrap().mandatory(false);
        world.block_on(async {
            let first = publisher.send("nowhere", "k", "one").await.unwrap();
            let second = publisher.send("missing", "k", "two").await.unwrap();
            let third = publisher.send("", "q", "three").await.unwrap();
            assert!(matches!(first.outcome().await, Outcome::Acked));
            for unknown in [second, third] {
                let error = unknown.await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Unknown(_)), "{error}");
                assert_eq!(error.reply_code(), Some(ReplyCode(404)));
            }
            publisher.publish("", "q", "four").await.unwrap();
            publisher.clone().publish("", "q", "five").await.unwrap();
        });
        assert_eq!(world.elapsed(), Duration::ZERO);
        assert_eq!(wire.lock().peer.count("channel.open"), 2);
        drop(publisher);
        world.settle();
        assert_eq!(wire.lock().peer.count("channel.close"), 1, "only the second was open still");
    }
}

#[test]
fn c5_a_mandatory_message_without_a_route_comes_back_in_the_error() {
    let world = World::new(11);
    let (connection, _wire) = world.connect(Config::default());
    let publisher = world.block_on(connection.publisher()).unwrap();
    let error = world.block_on(publisher.publish("nowhere", "k", Message::new("body").app_id("me"))).unwrap_err();
    let ErrorKind::NoRoute(message) = error.kind() else { panic!("{error}") };
    assert_eq!((message.body().to_vec(), message.routing_key()), (b"body".to_vec(), "k"));
    let optional = Message::new("body").mandatory(false);
    world.block_on(publisher.publish("nowhere", "k", &optional)).unwrap();
    world.block_on(publisher.mandatory(false).publish("nowhere", "k", "body")).unwrap();
}

#[test]
fn a19_returned_messages_come_in_a_stream() {
    let world = World::new(12);
    let (connection, _wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut returns = channel.returns();
    assert!(returns.try_next().is_none());
    let publish = async {
        for key in ["a", "b"] {
            channel.publish("nowhere", key, Message::new("x").mandatory(true)).await.unwrap();
        }
    };
    let read = async {
        assert_eq!(returns.next().await.unwrap().routing_key(), "a");
        assert_eq!(returns.next().await.unwrap().routing_key(), "b");
        channel.close().await.unwrap();
        assert!(returns.next().await.is_none());
    };
    world.block_on(both(read, publish));
}

#[test]
fn p6_p7_p8_late_dropped_and_unread_confirms_hold_nothing_up() {
    let world = World::new(13);
    let peer = Peer { hold_confirms: true, ..Peer::default() };
    let (connection, wire) = world.connect_to(peer, Manners::Bad, Config::default());
    let publisher = world.block_on(connection.publisher()).unwrap();
    let mut confirms: Vec<_> =
        (0..10).map(|at| world.block_on(publisher.send("", "q", format!("{at}"))).unwrap()).collect();
    let mut last = confirms.pop().unwrap();
    assert!(poll_once(&mut last).is_pending());
    drop(confirms.remove(0));
    let mut polled = confirms.remove(0);
    assert!(poll_once(&mut polled).is_pending());
    drop(polled);
    wire.lock().peer.hold_confirms = false;
    // The next one makes the peer confirm all.
    world.block_on(publisher.publish("", "q", "x")).unwrap();
    world.block_on(last).unwrap();
    for confirm in confirms {
        world.block_on(confirm).unwrap();
    }
}

#[test]
fn what_is_polled_after_its_end_is_an_error_and_no_hang() {
    let world = World::new(20);
    let (connection, _wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut call = channel.queue_declare("q");
    world.block_on(&mut call).unwrap();
    let error = world.block_on(&mut call).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)) && error.to_string().contains("after its end"), "{error}");
    world.block_on(channel.confirm_select()).unwrap();
    let mut confirm = world.block_on(channel.send("", "q", "x")).unwrap();
    world.block_on(&mut confirm).unwrap();
    let error = world.block_on(&mut confirm).unwrap_err();
    assert!(error.to_string().contains("after its end"), "{error}");
}

#[test]
fn f30_publishers_get_room_in_the_order_in_which_they_came() {
    for seed in 0..20 {
        let world = World::new(seed);
        let (connection, wire) = world.connect(Config::default().publish_buffer(1000));
        let channels = [world.block_on(connection.channel()).unwrap(), world.block_on(connection.channel()).unwrap()];
        wire.lock().reading = false;
        while channels[0].try_publish("", "before", [0; 100].as_slice()).is_ok() {
            world.settle();
        }
        let mut waiting: Vec<_> = (0..60usize)
            .map(|at| (at, Box::pin(channels[at % 2].publish("", at.to_string(), [0; 100].as_slice()))))
            .collect();
        waiting.iter_mut().for_each(|(_, publish)| assert!(poll_once(publish).is_pending()));
        wire.lock().reading = true;
        while !waiting.is_empty() {
            world.settle();
            // In the worst order that an executor may choose.
            waiting.reverse();
            waiting.retain_mut(|(_, publish)| poll_once(publish).is_pending());
            waiting.reverse();
        }
        world.settle();
        let published = &wire.lock().peer.published;
        let order: Vec<usize> = published.iter().filter_map(|(_, name, ..)| name.parse().ok()).collect();
        assert_eq!(order.len(), 60);
        for (place, at) in order.into_iter().enumerate() {
            assert!(place.abs_diff(at) < 7, "room for seven at once: number {at} came as number {place} (seed {seed})");
        }
    }
}

#[test]
fn f12_publishers_wait_while_the_broker_blocks_and_say_so_when_they_give_up() {
    let world = World::new(14);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let reason = ShortStr::new("low on memory").unwrap();
    wire.lock().peer.say(0, &wire_connection::Blocked { reason });
    world.settle();
    assert_eq!(connection.blocked().as_deref(), Some("low on memory"));
    assert!(matches!(channel.try_publish("", "q", "x").unwrap_err().kind(), ErrorKind::Full));
    let error = world.block_on(channel.publish("", "q", "x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { blocked: true, .. }), "{error}");
    let publish = channel.publish("", "q", "waited");
    let unblock = async { wire.lock().peer.say(0, &wire_connection::Unblocked {}) };
    world.block_on(both(publish, unblock)).0.unwrap();
    world.settle();
    assert_eq!(connection.blocked(), None);
    assert_eq!(wire.lock().peer.published.len(), 1);
}

#[test]
fn p40_p41_names_that_are_too_long_are_errors_and_nothing_is_sent_for_them() {
    let world = World::new(15);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let publisher = world.block_on(connection.publisher()).unwrap();
    world.settle();
    let before = wire.lock().peer.seen.len();
    let long = "n".repeat(256);
    let name = long.as_str();
    let errors = [
        world.block_on(channel.exchange_declare(Exchange::direct(name))).unwrap_err(),
        world.block_on(channel.exchange_declare(Exchange::custom("x", name))).unwrap_err(),
        world.block_on(channel.exchange_delete(name)).unwrap_err(),
        world.block_on(channel.exchange_bind(name, "s", "k")).unwrap_err(),
        world.block_on(channel.exchange_unbind("d", name, "k")).unwrap_err(),
        world.block_on(channel.queue_declare(name)).unwrap_err(),
        world.block_on(channel.queue_declare(Queue::new("q").argument(name, 1))).unwrap_err(),
        world.block_on(channel.queue_bind("q", "x", name)).unwrap_err(),
        world.block_on(channel.queue_bind("q", "x", Binding::default().argument(name, true))).unwrap_err(),
        world.block_on(channel.queue_unbind("q", name, "k")).unwrap_err(),
        world.block_on(channel.queue_purge(name)).unwrap_err(),
        world.block_on(channel.queue_delete(name)).unwrap_err(),
        world.block_on(channel.publish(name, "k", "x")).unwrap_err(),
        world.block_on(channel.publish("", name, "x")).unwrap_err(),
        channel.try_publish("", name, "x").unwrap_err(),
        world.block_on(channel.publish("", "q", Message::new("x").content_type(name))).unwrap_err(),
        world.block_on(channel.publish("", "q", Message::new("x").header(name, 1))).unwrap_err(),
        world.block_on(publisher.publish("", name, "x")).unwrap_err(),
        world.block_on(channel.get(name)).unwrap_err(),
        world.block_on(channel.consume(name)).unwrap_err(),
        world.block_on(channel.consume(Consume::new("q").tag(name))).unwrap_err(),
        world.block_on(channel.cancel(name)).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::Encode(_)), "{error}");
        assert!(error.operation().is_some(), "{error}");
    }
    world.settle();
    assert_eq!(wire.lock().peer.seen.len(), before);
    assert!(channel.is_open());
}

#[test]
fn calls_without_a_reply_are_done_at_once() {
    let world = World::new(16);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut declared = channel.queue_declare(Queue::new("q").nowait());
    let std::task::Poll::Ready(Ok(declared)) = poll_once(&mut declared) else { panic!("it waits") };
    assert_eq!((declared.name.as_str(), declared.message_count), ("q", 0));
    assert!(poll_once(&mut channel.exchange_declare(Exchange::fanout("x").nowait())).is_ready());
    assert!(poll_once(&mut channel.queue_bind("q", "x", Binding::default().nowait())).is_ready());
    channel.recover_async(true).unwrap();
    world.block_on(channel.qos(Qos::new(5).global())).unwrap();
    assert!(wire.lock().peer.has_seen("queue.bind") && wire.lock().peer.has_seen("basic.recover-async"));
}

#[test]
fn a2_a_closed_channel_says_so_and_never_hangs() {
    let world = World::new(17);
    let (connection, _wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    world.block_on(channel.close()).unwrap();
    assert!(!channel.is_open());
    for error in [
        world.block_on(channel.close()).unwrap_err(),
        world.block_on(channel.queue_declare("q")).unwrap_err(),
        world.block_on(channel.publish("", "q", "x")).unwrap_err(),
        channel.ack(1_u64, false).unwrap_err(),
        channel.error().unwrap(),
    ] {
        assert!(matches!(error.kind(), ErrorKind::ChannelNotOpen), "{error}");
    }
    assert!(connection.is_open());
}

#[test]
fn c17_f24_a_channel_closed_by_the_broker_wakes_all_that_waits_on_it_and_says_why() {
    let world = World::new(18);
    let peer = Peer::default().mute(&["queue.declare"]);
    let (connection, _wire) = world.connect_to(peer, Manners::Bad, Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let mut consumer = world.block_on(channel.consume("q")).unwrap();
    let mut returns = channel.returns();
    let call = async { assert_eq!(channel.queue_declare("q").await.unwrap_err().reply_code(), Some(ReplyCode(404))) };
    let next = async {
        assert_eq!(consumer.next().await.unwrap().unwrap_err().reply_code(), Some(ReplyCode(404)));
        assert!(consumer.next().await.is_none());
    };
    let back = async { assert!(returns.next().await.is_none()) };
    let publish = async { channel.publish("missing", "k", "x").await.unwrap() };
    world.block_on(both(both(call, next), both(back, publish)));
    assert_eq!(world.elapsed(), Duration::ZERO);
    assert_eq!(channel.error().unwrap().reply_code(), Some(ReplyCode(404)));
    assert!(connection.is_open());
    assert!(world.block_on(connection.channel()).unwrap().is_open());
}

#[test]
fn several_tasks_close_one_connection() {
    let world = World::new(19);
    let (connection, wire) = world.connect_to(Peer::default(), Manners::Bad, Config::default());
    let (first, second) = (connection.close(), connection.close());
    let closed = connection.closed();
    let ((first, second), closed) = world.block_on(both(both(first, second), closed));
    assert!(first.is_ok() && second.is_ok() && closed.is_ok());
    assert_eq!(wire.lock().peer.count("connection.close"), 1);
    assert!(!connection.is_open());
    assert!(world.block_on(connection.closed()).is_ok());
}

#[test]
fn a_close_that_is_not_answered_ends_all_the_same() {
    let world = World::new(20);
    let peer = Peer::default().mute(&["connection.close"]);
    let (connection, _wire) = world.connect_to(peer, Manners::Good, Config::default());
    let error = world.block_on(connection.close()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(5));
}

#[test]
fn an_abort_is_the_end_at_once() {
    let world = World::new(21);
    let (connection, wire) = world.connect(Config::default());
    let channel = world.block_on(connection.channel()).unwrap();
    let call = channel.queue_declare("q");
    connection.abort();
    assert!(matches!(world.block_on(call).unwrap_err().kind(), ErrorKind::ConnectionNotOpen));
    world.block_on(connection.closed()).unwrap();
    world.sleep(Duration::from_secs(2));
    assert!(wire.lock().dropped && !wire.lock().peer.has_seen("connection.close"));
}

#[test]
fn a_task_that_is_never_kept_waiting_gives_way_to_others() {
    let world = World::new(22);
    let peer = Peer { greeting: 10_000, ..Peer::default() };
    let (connection, _wire) = world.connect_to(peer, Manners::Good, Config::default().publish_buffer(1 << 30));
    let channel = world.block_on(connection.channel()).unwrap();
    let publish = async {
        for _ in 0..10_000 {
            channel.publish("", "q", "x").await.unwrap();
        }
    };
    let mut publish = Box::pin(publish);
    assert!(poll_once(&mut publish).is_pending(), "there is room for all, and yet it pauses");
    world.block_on(publish);
    let mut consumer = world.block_on(channel.consume(Consume::new("q").no_ack())).unwrap();
    world.settle();
    let mut consume = Box::pin(async {
        for _ in 0..10_000 {
            consumer.next().await.unwrap().unwrap();
        }
    });
    assert!(poll_once(&mut consume).is_pending(), "all are there, and yet it pauses");
    world.block_on(consume);
    assert_eq!(world.elapsed(), Duration::ZERO);
}
