//! Acks, nacks, rejects, recover, and messages that are got one by one.

use conformance::proxy::Direction;
use conformance::raw::{Frame, id};
use conformance::recorder::Recorder;
use conformance::{Context, cases};

use crate::facade::{Channel, Connection, Delivery, Error, ErrorKind, Get, Message, Queue, connect};
use crate::suite::support::{Result, assert_channel_closed, await_queue, named, open};

cases! {
    a5_a_message_that_is_got_has_all_its_fields,
    a5_an_empty_queue_gives_none,
    a5_a_message_that_is_got_without_acks_is_gone,
    a6_ack_settles_one_or_all_up_to_it,
    a6_nack_puts_back_or_drops_one_or_all_up_to_it,
    a6_reject_puts_back_or_drops_one,
    a11_f39_recover_and_recover_async_deliver_again,
    a_tag_from_before_recover_is_406_by_hand_and_harmless_by_its_delivery,
    f36_acks_in_a_row_leave_as_one_and_none_is_acked_along,
    f36_acks_leave_before_a_publish_that_follows_them,
    c11_an_ack_of_a_tag_that_is_settled_already_is_406,
    c11_an_ack_of_a_tag_that_never_was_is_406,
    settling_after_the_channel_has_closed_says_why,
}

/// A channel, an exclusive queue, and in it this many messages, whose bodies are their numbers from 1.
async fn filled(context: &Context, count: u64) -> Result<(Connection, Channel, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    fill(&connection, &queue, count).await?;
    Ok((connection, channel, queue))
}

async fn fill(connection: &Connection, queue: &str, count: u64) -> Result {
    let publisher = connection.publisher().await?;
    for number in 1..=count {
        publisher.publish("", queue, number.to_string()).await?;
    }
    Ok(())
}

async fn get(channel: &Channel, queue: &str) -> Result<Delivery> {
    Ok(channel.get(queue).await?.expect("a message"))
}

/// Gets this many messages without settling any.
async fn get_all(channel: &Channel, queue: &str, count: u64) -> Result<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(get(channel, queue).await?);
    }
    Ok(deliveries)
}

/// Waits until the queue has so many messages ready and so many out.
#[track_caller]
fn await_counts(context: &Context, queue: &str, ready: u64, unacknowledged: u64) {
    let what = format!("{ready} messages ready and {unacknowledged} unacknowledged");
    await_queue(context.node(), queue, &what, |queue| (queue.ready, queue.unacknowledged) == (ready, unacknowledged));
}

/// The bodies of the messages that are ready, which are left unsettled.
async fn bodies(channel: &Channel, queue: &str) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    let mut held = Vec::new();
    while let Some(delivery) = channel.get(queue).await? {
        bodies.push(String::from_utf8(delivery.body().to_vec())?);
        held.push(delivery);
    }
    Ok(bodies)
}

async fn a5_a_message_that_is_got_has_all_its_fields(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 2).await?;
    channel.queue_bind(&queue, "amq.direct", "a key").await?;
    channel.confirm_select().await?;
    channel.send("amq.direct", "a key", Message::new("three").message_id("m-3")).await?.await?;
    for (tag, exchange, key, body, left) in
        [(1, "", &*queue, "1", 2), (2, "", &*queue, "2", 1), (3, "amq.direct", "a key", "three", 0)]
    {
        let delivery = get(&channel, &queue).await?;
        assert_eq!(delivery.delivery_tag().value(), tag);
        assert_eq!((delivery.exchange(), delivery.routing_key()), (exchange, key));
        assert_eq!(delivery.body(), body);
        assert_eq!(delivery.message_count(), Some(left));
        assert_eq!(delivery.consumer_tag(), "");
        assert!(!delivery.redelivered());
        let id = delivery.properties()?.message_id.map(|id| id.to_string_lossy().into_owned());
        assert_eq!(id.as_deref(), (tag == 3).then_some("m-3"));
        delivery.ack()?;
    }
    await_counts(&context, &queue, 0, 0);
    Ok(connection.close().await?)
}

async fn a5_an_empty_queue_gives_none(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 1).await?;
    get(&channel, &queue).await?.ack()?;
    assert!(channel.get(&queue).await?.is_none());
    assert!(channel.get(Get::new(&queue).no_ack()).await?.is_none());
    Ok(connection.close().await?)
}

async fn a5_a_message_that_is_got_without_acks_is_gone(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 2).await?;
    let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
    await_counts(&context, &queue, 1, 0);
    // There is nothing to be settled, so this does nothing.
    delivery.ack()?;
    get(&channel, &queue).await?.ack()?;
    await_counts(&context, &queue, 0, 0);
    Ok(connection.close().await?)
}

async fn a6_ack_settles_one_or_all_up_to_it(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 5).await?;
    let mut deliveries = get_all(&channel, &queue, 5).await?;
    deliveries.remove(1).ack()?;
    await_counts(&context, &queue, 0, 4);
    // 1 and 3 of what is now 1, 3, 4, 5.
    deliveries.remove(1).ack_multiple()?;
    await_counts(&context, &queue, 0, 2);
    // What was acked along is settled on this side as well: dropping it puts nothing back.
    drop(deliveries.remove(0));
    drop(deliveries);
    await_counts(&context, &queue, 2, 0);
    assert_eq!(bodies(&channel, &queue).await?, ["4", "5"]);
    assert!(channel.is_open());
    Ok(connection.close().await?)
}

async fn a6_nack_puts_back_or_drops_one_or_all_up_to_it(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 5).await?;
    let mut deliveries = get_all(&channel, &queue, 5).await?;
    deliveries.remove(1).nack(true)?;
    await_counts(&context, &queue, 1, 4);
    let again = get(&channel, &queue).await?;
    assert_eq!(again.body(), "2");
    assert!(again.redelivered());
    again.nack(false)?;
    await_counts(&context, &queue, 0, 4);
    // 1 and 3 back to the queue.
    deliveries.remove(1).nack_multiple(true)?;
    await_counts(&context, &queue, 2, 2);
    // 4 and 5 away; what stands lower has been settled before.
    deliveries.remove(2).nack_multiple(false)?;
    await_counts(&context, &queue, 2, 0);
    drop(deliveries);
    assert_eq!(bodies(&channel, &queue).await?, ["1", "3"]);
    assert!(channel.is_open());
    Ok(connection.close().await?)
}

async fn a6_reject_puts_back_or_drops_one(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 3).await?;
    let mut deliveries = get_all(&channel, &queue, 3).await?;
    deliveries.remove(1).reject(true)?;
    deliveries.remove(1).reject(false)?;
    await_counts(&context, &queue, 1, 1);
    let again = get(&channel, &queue).await?;
    assert_eq!(again.body(), "2");
    assert!(again.redelivered());
    again.reject(false)?;
    deliveries.remove(0).ack()?;
    await_counts(&context, &queue, 0, 0);
    Ok(connection.close().await?)
}

async fn a11_f39_recover_and_recover_async_deliver_again(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 3).await?;
    let mut consumer = channel.consume(&queue).await?;
    for round in 0..3 {
        let mut held = Vec::new();
        for number in 1..=3 {
            let delivery = consumer.next().await.expect("a delivery")?;
            assert_eq!(delivery.body(), number.to_string().as_str());
            assert_eq!(delivery.redelivered(), round > 0);
            held.push(delivery);
        }
        match round {
            0 => channel.recover(true).await?,
            1 => channel.recover_async(true)?,
            _ => held.into_iter().try_for_each(Delivery::ack)?,
        }
    }
    await_counts(&context, &queue, 0, 0);
    assert!(consumer.try_next().is_none());
    Ok(connection.close().await?)
}

async fn a_tag_from_before_recover_is_406_by_hand_and_harmless_by_its_delivery(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 2).await?;
    let (one, two) = (get(&channel, &queue).await?, get(&channel, &queue).await?);
    let tag = one.delivery_tag().value();
    channel.recover(true).await?;
    // Neither settling nor dropping it says a word to the broker.
    one.ack()?;
    drop(two);
    await_counts(&context, &queue, 2, 0);
    assert_eq!(bodies(&channel, &queue).await?, ["1", "2"]);
    assert!(channel.is_open());

    channel.ack(tag, false)?;
    // The reply to this is the close.
    assert_channel_closed(&channel.queue_declare(Queue::server_named()).await.unwrap_err(), 406);
    Ok(connection.close().await?)
}

async fn f36_acks_in_a_row_leave_as_one_and_none_is_acked_along(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    fill(&connection, &queue, 100).await?;
    let mut consumer = channel.consume(&queue).await?;
    await_counts(&context, &queue, 0, 100);
    let mut kept = None;
    for number in 1..=100 {
        let delivery = consumer.next().await.expect("a delivery")?;
        match number {
            50 => kept = Some(delivery),
            _ => delivery.ack()?,
        }
    }
    await_counts(&context, &queue, 0, 1);
    drop((kept, consumer));
    await_counts(&context, &queue, 1, 0);
    assert_eq!(bodies(&channel, &queue).await?, ["50"]);
    // Those below the one that was kept may go together, those above it may not. How many go together depends on
    // when the driver has its turn; that not one of them goes for another is what matters.
    let acks: Vec<(u64, bool)> = recorder
        .frames_to(Direction::ToBroker)
        .iter()
        .filter(|frame| frame.method_id() == Some(id::BASIC_ACK))
        .map(|frame| (u64::from_be_bytes(frame.args()[..8].try_into().expect("a tag")), frame.args()[8] != 0))
        .collect();
    assert!(acks.iter().all(|(tag, multiple)| *tag != 50 && (*tag < 50 || !multiple)), "{acks:?}");
    Ok(connection.close().await?)
}

async fn f36_acks_leave_before_a_publish_that_follows_them(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    fill(&connection, &queue, 20).await?;
    let mut consumer = channel.consume(&queue).await?;
    let filled = recorder.frames_to(Direction::ToBroker).len();
    for _ in 0..20 {
        consumer.next().await.expect("a delivery")?.ack()?;
        channel.publish("", &queue, "reply").await?;
    }
    recorder.await_frames(Direction::ToBroker, 40, |frame| frame.method_id() == Some(id::BASIC_PUBLISH))?;
    let order: Vec<_> = recorder.frames_to(Direction::ToBroker)[filled..].iter().filter_map(Frame::method_id).collect();
    assert_eq!(order, [id::BASIC_ACK, id::BASIC_PUBLISH].repeat(20));
    Ok(connection.close().await?)
}

async fn c11_an_ack_of_a_tag_that_is_settled_already_is_406(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 1).await?;
    let delivery = get(&channel, &queue).await?;
    let tag = delivery.delivery_tag().value();
    // `ack` takes the delivery, so a second one does not compile. By hand it can be written.
    delivery.ack()?;
    channel.queue_declare(Queue::exclusive(&queue).passive()).await?;
    channel.ack(tag, false)?;
    let error = channel.queue_declare(Queue::exclusive(&queue).passive()).await.unwrap_err();
    assert_channel_closed(&error, 406);
    assert!(error.to_string().contains("unknown delivery tag"), "{error}");
    let reason = error.close_reason().expect("a reason");
    assert_eq!((reason.class_id, reason.method_id), (60, 80));
    Ok(connection.close().await?)
}

async fn c11_an_ack_of_a_tag_that_never_was_is_406(context: Context) -> Result {
    type Settle = fn(&Channel) -> Result<(), Error>;
    let connection = open(&context).await?;
    let ways: [Settle; 4] = [
        |channel| channel.ack(7_u64, false),
        |channel| channel.ack(7_u64, true),
        |channel| channel.nack(7_u64, false, true),
        |channel| channel.reject(7_u64, true),
    ];
    for settle in ways {
        let channel = connection.channel().await?;
        settle(&channel)?;
        assert_channel_closed(&channel.queue_declare(Queue::server_named()).await.unwrap_err(), 406);
        assert_channel_closed(&settle(&channel).unwrap_err(), 406);
    }
    Ok(connection.close().await?)
}

async fn settling_after_the_channel_has_closed_says_why(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, 3).await?;
    let mut deliveries = get_all(&channel, &queue, 3).await?;
    assert!(channel.get(context.name("missing")).await.is_err());
    assert_channel_closed(&deliveries.remove(0).ack().unwrap_err(), 404);
    assert_channel_closed(&deliveries.remove(0).nack(true).unwrap_err(), 404);
    connection.close().await?;
    // The channel's own end came first.
    let error = deliveries.remove(0).reject(true).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelClosed(_)), "{error}");
    Ok(())
}
