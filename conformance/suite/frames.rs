//! What goes over the wire: how long frames are, and in which order.

use std::time::Duration;

use conformance::proxy::{Direction, Proxy};
use conformance::raw::{Frame, id};
use conformance::recorder::Recorder;
use conformance::{Context, Options, cases};

use crate::facade::{Connection, ErrorKind, FieldValue, Get, Message, Queue, connect, sleep, spawn};
use crate::suite::support::{Result, await_queue, named, version};

cases! {
    a17_p42_every_frame_is_at_most_4096_bytes_where_that_was_agreed_on,
    a17_p42_every_frame_is_at_most_8192_bytes_where_that_was_agreed_on,
    a17_p42_every_frame_is_at_most_131072_bytes_where_that_was_agreed_on,
    c7_a_small_message_overtakes_one_of_40_megabytes_on_another_channel within 120,
    c7_two_bodies_of_40_megabytes_on_one_channel_are_not_garbled within 120,
    a_publish_is_not_interrupted_by_what_its_channel_sends_next,
}

/// A frame's length on the wire.
fn length(frame: &Frame) -> usize {
    frame.payload.len() + 8
}

async fn a17_p42_every_frame_is_at_most_4096_bytes_where_that_was_agreed_on(context: Context) -> Result {
    if version(context.node()) >= (4, 1) {
        // RabbitMQ wants 8192 at least since 4.1, and hangs up without a word.
        let error = connect(named(&context, &context.uri()).frame_max(4096)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert!(error.to_string().contains("frame_max of 4096"), "{error}");
        return Ok(());
    }
    frames_are_at_most(context, 4096).await
}

async fn a17_p42_every_frame_is_at_most_8192_bytes_where_that_was_agreed_on(context: Context) -> Result {
    frames_are_at_most(context, 8192).await
}

async fn a17_p42_every_frame_is_at_most_131072_bytes_where_that_was_agreed_on(context: Context) -> Result {
    frames_are_at_most(context, 131_072).await
}

async fn frames_are_at_most(context: Context, limit: usize) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri()).frame_max(u32::try_from(limit)?)).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let publisher = connection.publisher().await?;
    let body = |size: usize| -> Vec<u8> { (0..size).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect() };
    let chunk = limit - 8;
    let sizes = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 7, 1 << 20];
    let mut bodies_sent = 0;
    for size in sizes {
        // Borrowed, owned, and with a header that fills its frame as well.
        publisher.publish("", &queue, &body(size)).await?;
        publisher.publish("", &queue, body(size)).await?;
        let full = FieldValue::Bytes(vec![7; limit - 8 - 14 - 1 - 4 - 2 - 5]);
        publisher.publish("", &queue, Message::new(body(size)).header("k", full)).await?;
        for _ in 0..3 {
            let delivery = channel.get(Get::new(&queue).no_ack()).await?.expect("a message");
            assert!(delivery.body() == body(size).as_slice(), "a body of {size} bytes is garbled");
        }
        bodies_sent += 3 * size.div_ceil(chunk);
    }
    let sent = recorder.frames_to(Direction::ToBroker);
    for (direction, frame) in recorder.frames() {
        assert!(length(&frame) <= limit, "a frame of {} bytes {direction:?}", length(&frame));
    }
    assert_eq!(sent.iter().map(length).max(), Some(limit), "full frames are filled");
    // And no more of them than there have to be.
    assert_eq!(sent.iter().filter(|frame| frame.kind == 3).count(), bodies_sent);
    Ok(connection.close().await?)
}

/// More than RabbitMQ takes by default since 4.0.
const LARGE: usize = 40 << 20;

/// A node that takes large messages, a client's way through a proxy to it, and that way's record.
struct Way {
    node: conformance::suite::Lease<conformance::suite::Subject>,
    recorder: Recorder,
    proxy: Proxy,
}

impl Way {
    fn new(context: &Context) -> Result<Self> {
        let node = context.private_node(Options::new().config("max_message_size = 67108864"))?;
        let recorder = Recorder::start(node.address())?;
        let proxy = Proxy::start(recorder.address())?;
        Ok(Self { node, recorder, proxy })
    }

    async fn connect(&self, context: &Context) -> Result<Connection> {
        Ok(connect(named(context, &self.proxy.uri())).await?)
    }
}

/// Bytes that tell when some of them are missing or out of place: 251 is no divisor of a frame's length.
fn large(seed: u8) -> Vec<u8> {
    let block: Vec<u8> = (0..251_u8).map(|at| at.wrapping_add(seed)).collect();
    let mut body = block.repeat(LARGE / block.len() + 1);
    body.truncate(LARGE);
    body
}

async fn c7_a_small_message_overtakes_one_of_40_megabytes_on_another_channel(context: Context) -> Result {
    let way = Way::new(&context)?;
    let connection = way.connect(&context).await?;
    let channel = connection.channel().await?;
    let [slow, quick] = ["slow", "quick"].map(|name| context.name(name));
    for queue in [&slow, &quick] {
        channel.queue_declare(Queue::new(queue)).await?;
    }
    let (one, other) = (connection.publisher().await?, connection.publisher().await?);
    // The way to the broker is blocked until both are on it, so that it does not depend on who is faster.
    way.proxy.stall(Direction::ToBroker);
    let large_one = one.send("", &slow, large(1)).await?;
    let small_one = other.send("", &quick, "small").await?;
    way.proxy.resume();
    small_one.await?;
    large_one.await?;
    let sent = way.recorder.frames_to(Direction::ToBroker);
    let small_at = sent.iter().position(|frame| frame.payload == b"small").expect("the small body");
    let is_large = |frame: &Frame| frame.kind == 3 && frame.payload.len() > 1000;
    let bytes = |frames: &[Frame]| {
        frames.iter().filter(|frame| is_large(frame)).map(|frame| frame.payload.len()).sum::<usize>()
    };
    assert_eq!(bytes(&sent), LARGE);
    assert!(bytes(&sent[..small_at]) < LARGE / 4, "{} bytes went before it", bytes(&sent[..small_at]));

    // Calls on the other channel get on meanwhile, too, and what arrives is whole.
    await_queue(&way.node, &quick, "the small message", |queue| queue.messages == 1);
    let delivery = channel.get(Get::new(&slow).no_ack()).await?.expect("the message");
    assert!(delivery.to_bytes() == large(1), "the body is garbled");
    Ok(connection.close().await?)
}

async fn c7_two_bodies_of_40_megabytes_on_one_channel_are_not_garbled(context: Context) -> Result {
    let way = Way::new(&context)?;
    let connection = way.connect(&context).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(Queue::new(&queue)).await?;
    let publisher = connection.publisher().await?;
    let tasks = [1, 2].map(|seed| {
        let (publisher, queue) = (publisher.clone(), queue.clone());
        spawn(async move { publisher.publish("", &queue, large(seed)).await })
    });
    for task in tasks {
        task.await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let delivery = consumer.next().await.expect("a delivery")?;
        let body = delivery.to_bytes();
        assert!(body == large(body[0]), "a body is garbled");
        seeds.push(body[0]);
        delivery.ack()?;
    }
    seeds.sort_unstable();
    assert_eq!(seeds, [1, 2]);
    Ok(connection.close().await?)
}

async fn a_publish_is_not_interrupted_by_what_its_channel_sends_next(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let proxy = Proxy::start(recorder.address())?;
    let connection = connect(named(&context, &proxy.uri())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    channel.publish("", &queue, "to be acked").await?;
    let held = channel.consume(&queue).await?.next().await.expect("a delivery")?;
    let before = recorder.frames_to(Direction::ToBroker).len();
    proxy.stall(Direction::ToBroker);
    // A body that leaves in parts, and behind it an ack, a call and the channel's close. A blocking adapter's call waits
    // for its reply before the close is asked for, so somebody else lets it go on.
    channel.publish("", &queue, vec![1; 3 << 20]).await?;
    held.ack()?;
    let resuming = spawn(async move {
        sleep(Duration::from_millis(100)).await;
        proxy.resume();
        proxy
    });
    let call = channel.queue_declare(Queue::exclusive(&queue).passive());
    let close = channel.close();
    call.await?;
    close.await?;
    let _proxy = resuming.await;
    let sent = &recorder.frames_to(Direction::ToBroker)[before..];
    let start = sent.iter().position(|frame| frame.method_id() == Some(id::BASIC_PUBLISH)).expect("the publish");
    let content = &sent[start + 1..];
    let parts = (3_usize << 20).div_ceil(131_072 - 8);
    assert!(content[..=parts].iter().all(|frame| frame.kind != 1), "a method in the middle of the message");
    let methods: Vec<_> = content[parts + 1..].iter().filter_map(Frame::method_id).collect();
    assert_eq!(methods, [id::BASIC_ACK, id::QUEUE_DECLARE, id::CHANNEL_CLOSE]);
    Ok(connection.close().await?)
}
