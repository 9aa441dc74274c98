//! Publisher confirms: which publish has which outcome.

use conformance::peer::{Peer, Server};
use conformance::proxy::Direction;
use conformance::raw::args::Args;
use conformance::raw::{Frame, Tune, Wire, id};
use conformance::recorder::Recorder;
use conformance::{Context, Options, cases};

use crate::facade::{
    Channel, Confirm, Connection, Error, ErrorKind, Message, Outcome, Overflow, Queue, ReplyCode, TimeoutReason,
    connect, spawn,
};
use crate::suite::support::{Result, assert_channel_closed, named, open};

cases! {
    a14_p4_a_multiple_ack_resolves_every_tag_at_or_below,
    a14_p4_a_multiple_nack_resolves_every_tag_at_or_below,
    a14_single_confirms_in_any_order_resolve_their_own,
    a14_a_thousand_in_flight_all_resolve,
    p3_f27_a_return_before_a_multiple_ack_is_that_of_its_own_publish,
    messages_that_are_all_alike_are_each_returned,
    a_return_precedes_its_ack_on_the_wire,
    f22_f26_confirm_mode_without_the_brokers_answer,
    a_queue_that_is_full_nacks,
    p5_f26_a_lost_connection_is_unknown_and_never_a_nack,
    p9_f26_a_confirm_that_does_not_come_in_time_is_unknown,
    f31_p7_a_dropped_confirm_shifts_no_other,
    p1_f26_clones_that_publish_at_once_get_their_own_outcomes,
    p6_p8_unread_confirms_hold_nothing_up_and_are_kept,
    n13_publishes_behind_a_missing_exchange_are_unknown_and_the_next_one_works,
    sending_on_a_channel_that_is_not_in_confirm_mode_is_an_error,
    a_message_above_the_brokers_limit_is_406_and_unknown,
}

/// A broker that lets a client publish `count` messages on a channel in confirm mode, and then plays on.
fn broker(
    count: usize,
    then: impl FnOnce(&mut Server, &mut Wire, u16) -> conformance::Result<()> + Send + 'static,
) -> conformance::Result<Peer> {
    Peer::start(move |server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::CONFIRM_SELECT)?;
        wire.send_method(channel, id::CONFIRM_SELECT_OK, Args::new())?;
        for _ in 0..count {
            wire.expect_method(id::BASIC_PUBLISH)?;
            wire.read_frame()?;
            wire.read_frame()?;
        }
        then(server, &mut wire, channel)?;
        server.hold();
        Ok(())
    })
}

/// Publishes `count` numbered messages to such a broker.
async fn publish(context: &Context, peer: &Peer, count: usize) -> Result<(Connection, Channel, Vec<Confirm>)> {
    let connection = connect(named(context, &peer.uri()).no_recovery()).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let mut confirms = Vec::new();
    for number in 1..=count {
        confirms.push(channel.send("", "key", Message::new(number.to_string()).mandatory(true)).await?);
    }
    Ok((connection, channel, confirms))
}

fn confirm(tag: u64, multiple: bool) -> Args {
    Args::new().u64(tag).u8(multiple.into())
}

/// What became of each, in a word.
async fn words(confirms: Vec<Confirm>) -> Vec<&'static str> {
    let mut words = Vec::new();
    for confirm in confirms {
        words.push(match confirm.outcome().await {
            Outcome::Acked => "acked",
            Outcome::Nacked => "nacked",
            Outcome::Returned(_) => "returned",
            Outcome::Unknown(_) => "unknown",
        });
    }
    words
}

async fn a14_p4_a_multiple_ack_resolves_every_tag_at_or_below(context: Context) -> Result {
    let peer = broker(5, |_, wire, channel| {
        wire.send_method(channel, id::BASIC_ACK, confirm(3, true))?;
        wire.send_method(channel, id::BASIC_NACK, confirm(4, false))?;
        // Tag 0 is all that is left.
        wire.send_method(channel, id::BASIC_ACK, confirm(0, true))
    })?;
    let (connection, _channel, confirms) = publish(&context, &peer, 5).await?;
    assert_eq!(words(confirms).await, ["acked", "acked", "acked", "nacked", "acked"]);
    connection.abort();
    Ok(peer.finish()?)
}

async fn a14_p4_a_multiple_nack_resolves_every_tag_at_or_below(context: Context) -> Result {
    let peer = broker(5, |_, wire, channel| {
        wire.send_method(channel, id::BASIC_ACK, confirm(2, false))?;
        wire.send_method(channel, id::BASIC_NACK, confirm(4, true))?;
        wire.send_method(channel, id::BASIC_ACK, confirm(5, true))
    })?;
    let (connection, _channel, confirms) = publish(&context, &peer, 5).await?;
    let mut all = Vec::new();
    for confirm in confirms {
        all.push(confirm.await);
    }
    assert!(matches!(all[0].as_ref().unwrap_err().kind(), ErrorKind::Nacked));
    assert!(all[0].as_ref().unwrap_err().is_retryable());
    assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, false, true]);
    connection.abort();
    Ok(peer.finish()?)
}

async fn a14_single_confirms_in_any_order_resolve_their_own(context: Context) -> Result {
    let peer = broker(6, |_, wire, channel| {
        for (tag, method) in [
            (5, id::BASIC_NACK),
            (2, id::BASIC_ACK),
            (6, id::BASIC_ACK),
            (1, id::BASIC_NACK),
            (4, id::BASIC_ACK),
            (3, id::BASIC_NACK),
        ] {
            wire.send_method(channel, method, confirm(tag, false))?;
        }
        Ok(())
    })?;
    let (connection, _channel, mut confirms) = publish(&context, &peer, 6).await?;
    // Read in another order again.
    confirms.reverse();
    assert_eq!(words(confirms).await, ["acked", "nacked", "acked", "nacked", "acked", "nacked"]);
    connection.abort();
    Ok(peer.finish()?)
}

async fn a14_a_thousand_in_flight_all_resolve(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let mut confirms = Vec::new();
    for number in 0..1000 {
        confirms.push(publisher.send("", &queue, number.to_string()).await?);
    }
    assert!(words(confirms).await.iter().all(|word| *word == "acked"));
    Ok(connection.close().await?)
}

/// Sends a message of one byte back.
fn send_back(wire: &mut Wire, channel: u16, body: &str) -> conformance::Result<()> {
    let returned = Args::new().u16(312).short_string("NO_ROUTE").short_string("").short_string("key");
    wire.send_method(channel, id::BASIC_RETURN, returned)?;
    wire.send_frame(&Frame::header(channel, 1, &[0, 0]))?;
    wire.send_frame(&Frame::body(channel, body.as_bytes()))
}

async fn p3_f27_a_return_before_a_multiple_ack_is_that_of_its_own_publish(context: Context) -> Result {
    let peer = broker(4, |_, wire, channel| {
        for body in ["2", "3"] {
            send_back(wire, channel, body)?;
        }
        wire.send_method(channel, id::BASIC_ACK, confirm(4, true))
    })?;
    let (connection, _channel, confirms) = publish(&context, &peer, 4).await?;
    for (number, confirm) in (1..).zip(confirms) {
        match confirm.outcome().await {
            Outcome::Returned(message) => assert_eq!(message.body(), number.to_string().as_str()),
            outcome => assert!(matches!(outcome, Outcome::Acked) && [1, 4].contains(&number), "{number}: {outcome:?}"),
        }
    }
    connection.abort();
    Ok(peer.finish()?)
}

async fn messages_that_are_all_alike_are_each_returned(context: Context) -> Result {
    let peer = broker(5, |_, wire, channel| {
        for _ in 0..3 {
            send_back(wire, channel, "x")?;
        }
        wire.send_method(channel, id::BASIC_ACK, confirm(3, true))?;
        for _ in 0..2 {
            send_back(wire, channel, "x")?;
        }
        wire.send_method(channel, id::BASIC_ACK, confirm(5, true))
    })?;
    let (connection, channel, _) = publish(&context, &peer, 0).await?;
    let mut confirms = Vec::new();
    for _ in 0..5 {
        confirms.push(channel.send("", "key", Message::new("x").mandatory(true)).await?);
    }
    assert_eq!(words(confirms).await, ["returned"; 5]);
    connection.abort();
    Ok(peer.finish()?)
}

async fn a_return_precedes_its_ack_on_the_wire(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri())).await?;
    let publisher = connection.publisher().await?;
    for _ in 0..10 {
        let error = publisher.publish("", context.name("nowhere"), "body").await.unwrap_err();
        assert_eq!(error.reply_code(), Some(ReplyCode::NO_ROUTE));
    }
    let interesting = [id::BASIC_RETURN, id::BASIC_ACK];
    let order: Vec<_> = recorder.frames_to(Direction::ToClient).iter().filter_map(Frame::method_id).collect();
    let order: Vec<_> = order.into_iter().filter(|method| interesting.contains(method)).collect();
    assert_eq!(order, interesting.repeat(10));
    Ok(connection.close().await?)
}

async fn a_queue_that_is_full_nacks(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = Queue::exclusive(context.name("queue")).max_length(2).overflow(Overflow::RejectPublish);
    let queue = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, "one").await?;
    publisher.publish("", &queue, "two").await?;
    let error = publisher.publish("", &queue, "three").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Nacked), "{error}");
    channel.get(&queue).await?.expect("a message").ack()?;
    publisher.publish("", &queue, "four").await?;
    Ok(connection.close().await?)
}

async fn p5_f26_a_lost_connection_is_unknown_and_never_a_nack(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::CONFIRM_SELECT)?;
        wire.send_method(channel, id::CONFIRM_SELECT_OK, Args::new())?;
        for _ in 0..3 * 3 {
            wire.read_frame()?;
        }
        wire.send_method(channel, id::BASIC_ACK, confirm(1, false))?;
        wire.half_close()?;
        wire.expect_end().map(|_| ())
    })?;
    let (connection, channel, confirms) = publish(&context, &peer, 3).await?;
    for (number, confirm) in (1..).zip(confirms) {
        match confirm.await {
            Ok(()) => assert_eq!(number, 1),
            Err(error) => {
                let ErrorKind::Unknown(cause) = error.kind() else { panic!("{number}: {error}") };
                assert!(matches!(cause.kind(), ErrorKind::ConnectionLost { .. }), "{number}: {error}");
                assert!(error.is_retryable());
            }
        }
    }
    let error = channel.send("", "key", "late").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert!(connection.closed().await.is_err());
    Ok(peer.finish()?)
}

async fn p9_f26_a_confirm_that_does_not_come_in_time_is_unknown(context: Context) -> Result {
    let peer = broker(2, |_, wire, channel| wire.send_method(channel, id::BASIC_ACK, confirm(2, false)))?;
    let connection = connect(named(&context, &peer.uri()).confirm_timeout(std::time::Duration::from_secs(1))).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let (one, two) = (channel.send("", "key", "1").await?, channel.send("", "key", "2").await?);
    two.await?;
    let error = one.await.unwrap_err();
    let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
    assert!(matches!(cause.kind(), ErrorKind::Timeout { reason: TimeoutReason::Confirm, .. }), "{error}");
    assert!(channel.is_open());
    connection.abort();
    Ok(peer.finish()?)
}

async fn f31_p7_a_dropped_confirm_shifts_no_other(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let nowhere = context.name("nowhere");
    for _ in 0..50 {
        drop(publisher.send("", &nowhere, "dropped").await?);
        let routed = publisher.send("", &queue, "kept").await?;
        drop(publisher.send("", &queue, "dropped").await?);
        let unroutable = publisher.send("", &nowhere, "kept").await?;
        assert_eq!(words(vec![routed, unroutable]).await, ["acked", "returned"]);
    }
    Ok(connection.close().await?)
}

async fn p1_f26_clones_that_publish_at_once_get_their_own_outcomes(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (publisher, queue, nowhere) = (publisher.clone(), queue.clone(), context.name("nowhere"));
        tasks.push(spawn(async move {
            let mut confirms = Vec::new();
            for number in 0..250 {
                let key = if (number + task) % 3 == 0 { &nowhere } else { &queue };
                confirms.push((key, number, publisher.send("", key, format!("{task} {number}")).await.unwrap()));
            }
            for (key, number, confirm) in confirms {
                match confirm.outcome().await {
                    Outcome::Acked => assert_eq!(key, &queue),
                    Outcome::Returned(message) => {
                        assert_eq!(key, &nowhere);
                        assert_eq!(message.body(), format!("{task} {number}").as_str());
                    }
                    outcome => panic!("{outcome:?}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await;
    }
    Ok(connection.close().await?)
}

async fn p6_p8_unread_confirms_hold_nothing_up_and_are_kept(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let mut unread = Vec::new();
    for _ in 0..10_000 {
        unread.push(publisher.send("", &queue, "body").await?);
    }
    publisher.publish("", &queue, "last").await?;
    assert_eq!(channel.queue_declare(Queue::exclusive(&queue).passive()).await?.message_count, 10_001);
    connection.close().await?;
    // They can still be read, now that the connection has gone.
    assert!(words(unread).await.iter().all(|word| *word == "acked"));
    Ok(())
}

/// Whether a publish has such a cause for its outcome being unknown.
#[track_caller]
fn assert_unknown_by_404(error: &Error) {
    let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
    assert_channel_closed(cause, 404);
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
}

async fn n13_publishes_behind_a_missing_exchange_are_unknown_and_the_next_one_works(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(named(&context, &proxy.uri())).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    let (missing, nowhere) = (context.name("missing"), context.name("nowhere"));
    for _ in 0..10 {
        // The broker's close does not come before the third is out, which would else be on a new channel.
        proxy.stall(Direction::ToClient);
        let first = publisher.send("", &nowhere, Message::new("first").mandatory(false)).await?;
        let second = publisher.send(&missing, "key", "second").await?;
        let third = publisher.send("", &queue, "third").await?;
        proxy.resume();
        first.await?;
        assert_unknown_by_404(&second.await.unwrap_err());
        assert_unknown_by_404(&third.await.unwrap_err());
        publisher.publish("", &queue, "next").await?;
    }
    // Each channel that the broker closed is gone, and the publisher has one.
    assert_eq!(context.node().connections_named(context.case())?[0].channels, 1);
    Ok(connection.close().await?)
}

async fn sending_on_a_channel_that_is_not_in_confirm_mode_is_an_error(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let error = channel.send("", &queue, "body").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    assert!(channel.get(&queue).await?.is_none());
    channel.confirm_select().await?;
    channel.send("", &queue, "body").await?.await?;
    Ok(connection.close().await?)
}

async fn f22_f26_confirm_mode_without_the_brokers_answer(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    channel.confirm_select_nowait()?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.send("", &queue, "body").await?.await?;
    // It may be asked for again, and is refused where there are transactions.
    channel.confirm_select_nowait()?;
    channel.send("", &queue, "body").await?.await?;
    let transacting = connection.channel().await?;
    transacting.tx_select().await?;
    transacting.confirm_select_nowait()?;
    assert_channel_closed(&transacting.qos(1).await.unwrap_err(), 406);
    Ok(connection.close().await?)
}

async fn a_message_above_the_brokers_limit_is_406_and_unknown(context: Context) -> Result {
    let node = context.private_node(Options::new().config("max_message_size = 1048576"))?;
    let connection = connect(named(&context, &node.uri())).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let publisher = connection.publisher().await?;
    publisher.publish("", &queue, vec![0; 1 << 20]).await?;
    let error = publisher.publish("", &queue, vec![0; (1 << 20) + 1]).await.unwrap_err();
    let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
    assert_channel_closed(cause, 406);
    assert!(error.to_string().contains("larger than"), "{error}");
    publisher.publish("", &queue, "small").await?;
    Ok(connection.close().await?)
}
