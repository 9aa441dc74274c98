//! What a peer must not say on an open connection: nothing it says takes memory, the stack, or the process.

use std::fs;

use conformance::peer::Peer;
use conformance::raw::args::Args;
use conformance::raw::{Frame, PROTOCOL_HEADER, Tune, Wire, id};
use conformance::{Context, cases};

use crate::facade::{
    Connection, Consume, Consumer, ErrorKind, FieldTable, Message, ProtocolError, Queue, connect, spawn,
};
use crate::suite::support::{Result, named, open};

cases! {
    p38_p40_headers_that_do_not_decode_are_an_error_of_that_delivery_alone,
    p38_tables_without_end_in_the_handshake_are_an_error,
    p38_a_table_that_is_nested_too_deeply_is_not_sent,
    p39_no_length_on_the_wire_reserves_memory (alone),
    p40_a_frame_for_a_channel_that_is_not_open_ends_the_connection,
}

/// The property `headers`, with these bytes for its table.
fn headers(fields: &[u8]) -> Vec<u8> {
    Args::new().u16(1 << 13).long_string(fields).into_bytes()
}

/// A field whose value is of this type.
fn field(kind: u8, value: Args) -> Vec<u8> {
    Args::new().short_string("k").u8(kind).bytes(&value.into_bytes()).into_bytes()
}

/// Tables (`F`) or arrays (`A`) within each other.
fn nested(kind: u8, depth: usize) -> Vec<u8> {
    // From the inside, and turned round in the end: it would take the square of the time otherwise.
    let mut backwards: Vec<u8> = Vec::new();
    for level in (0..depth).rev() {
        backwards.extend(u32::try_from(backwards.len()).expect("short").to_le_bytes());
        backwards.push(kind);
        if kind == b'F' || level == 0 {
            backwards.extend([b'k', 1]);
        }
    }
    backwards.reverse();
    backwards
}

/// Lets a client consume.
fn welcome_consumer(wire: &mut Wire) -> conformance::Result<u16> {
    wire.welcome(Tune::default())?;
    let channel = wire.welcome_channel()?;
    wire.expect_method(id::BASIC_QOS)?;
    wire.send_method(channel, id::BASIC_QOS_OK, Args::new())?;
    wire.expect_method(id::BASIC_CONSUME)?;
    wire.send_method(channel, id::BASIC_CONSUME_OK, Args::new().short_string("tag"))?;
    Ok(channel)
}

fn deliver(channel: u16, tag: u64) -> Frame {
    let args = Args::new().short_string("tag").u64(tag).u8(0).short_string("exchange").short_string("key");
    Frame::method(channel, id::BASIC_DELIVER, args)
}

async fn consume(context: &Context, peer: &Peer) -> Result<(Connection, Consumer)> {
    let connection = connect(named(context, &peer.uri())).await?;
    let consumer = connection.channel().await?.consume(Consume::new("queue").tag("tag")).await?;
    Ok((connection, consumer))
}

async fn p38_p40_headers_that_do_not_decode_are_an_error_of_that_delivery_alone(context: Context) -> Result {
    // As deep as a frame is long.
    let bad = [
        (nested(b'F', 16_000), "nested"),
        (nested(b'A', 20_000), "nested"),
        (field(b'?', Args::new()), "0x3f"),
        (field(b'S', Args::new().u32(u32::MAX)), "ends inside"),
        (field(b'F', Args::new().u32(u32::MAX)), "ends inside"),
        (field(b'A', Args::new().u32(1 << 31)), "ends inside"),
    ];
    let count = bad.len();
    let tables = bad.clone().map(|(table, _)| table);
    let peer = Peer::start(move |server| {
        let mut wire = server.accept()?;
        let channel = welcome_consumer(&mut wire)?;
        for (tag, table) in (1..).zip(tables.iter().map(Vec::as_slice).chain([&[][..]])) {
            wire.send_frame(&deliver(channel, tag))?;
            wire.send_frame(&Frame::header(channel, 4, &headers(table)))?;
            wire.send_frame(&Frame::body(channel, b"body"))?;
        }
        for _ in 0..count {
            wire.expect_method(id::BASIC_REJECT)?;
        }
        wire.expect_method(id::BASIC_ACK)?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
    })?;
    let (connection, mut consumer) = consume(&context, &peer).await?;
    for (_, reason) in bad {
        let delivery = consumer.next().await.expect("a delivery")?;
        let error = delivery.properties().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Decode(_))), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(delivery.body(), "body");
        delivery.reject(false)?;
    }
    let good = consumer.next().await.expect("a delivery")?;
    assert!(good.properties()?.headers.is_some());
    good.ack()?;
    connection.close().await?;
    Ok(peer.finish()?)
}

async fn p38_tables_without_end_in_the_handshake_are_an_error(context: Context) -> Result {
    for (kind, depth) in [(b'F', 1100), (b'A', 1500)] {
        let peer = Peer::start(move |server| {
            let mut wire = server.accept()?;
            wire.expect(&PROTOCOL_HEADER)?;
            let properties = nested(kind, depth);
            let start = Args::new().u8(0).u8(9).long_string(&properties).long_string(b"PLAIN").long_string(b"en_US");
            wire.send_method(0, id::CONNECTION_START, start)?;
            wire.expect_end().map(|_| ())
        })?;
        let error = connect(named(&context, &peer.uri())).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Decode(_))), "{error}");
        assert!(error.to_string().contains("nested"), "{error}");
        peer.finish()?;
    }
    Ok(())
}

async fn p38_a_table_that_is_nested_too_deeply_is_not_sent(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let mut deepest = FieldTable::new();
    let mut levels = 0;
    let error = loop {
        let mut outer = FieldTable::new();
        match outer.insert("k", deepest.clone()) {
            Ok(()) => deepest = outer,
            Err(error) => break error,
        }
        levels += 1;
        assert!(levels < 1000, "it is nested {levels} times");
    };
    assert!(error.to_string().contains("nested"), "{error}");
    let error = channel.publish("", &queue, Message::new("lost").header("k", deepest.clone())).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Encode(_)) && error.to_string().contains("nested"), "{error}");
    channel.publish("", &queue, Message::new("found").headers(&deepest)).await?;
    let delivery = channel.get(&queue).await?.expect("a message");
    assert_eq!(delivery.body(), "found");
    assert_eq!(delivery.properties()?.headers.map(|headers| headers.to_owned()), Some(deepest));
    delivery.ack()?;
    Ok(connection.close().await?)
}

/// The most that this process has had of addresses so far, in bytes: what is reserved counts, used or not.
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("Linux says it");
    Ok(peak.trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

async fn p39_no_length_on_the_wire_reserves_memory(context: Context) -> Result {
    const GIGABYTE: u64 = 1 << 30;
    let before = peak()?;
    // Frames of four gigabytes: before any limit is agreed on, and where the peer offers none.
    for is_welcome in [false, true] {
        let peer = Peer::start(move |server| {
            let mut wire = server.accept()?;
            if is_welcome {
                wire.welcome(Tune { frame_max: u32::MAX, ..Tune::default() })?;
            } else {
                wire.expect(&PROTOCOL_HEADER)?;
            }
            wire.send(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0])?;
            wire.expect_end().map(|_| ())
        })?;
        let error = match connect(named(&context, &peer.uri()).frame_max(u32::MAX).no_recovery()).await {
            Ok(connection) => connection.closed().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Frame(_))), "{error}");
        peer.finish()?;
    }
    // A body that is announced as endless, where bodies may be that long.
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        let channel = welcome_consumer(&mut wire)?;
        wire.send_frame(&deliver(channel, 1))?;
        wire.send_frame(&Frame::header(channel, 1 << 46, &[0, 0]))?;
        wire.send_frame(&Frame::body(channel, &[7; 1000]))?;
        // What comes behind it has been seen when this is answered.
        let other = wire.welcome_channel()?;
        assert_ne!(other, channel);
        server.hold();
        Ok(())
    })?;
    let connection = connect(named(&context, &peer.uri()).max_body_size(u64::MAX)).await?;
    let mut consumer = connection.channel().await?.consume(Consume::new("queue").tag("tag")).await?;
    connection.channel().await?;
    assert!(consumer.try_next().is_none());
    let grown = peak()? - before;
    assert!(grown < GIGABYTE, "{grown} bytes were reserved");
    connection.abort();
    Ok(peer.finish()?)
}

async fn p40_a_frame_for_a_channel_that_is_not_open_ends_the_connection(context: Context) -> Result {
    let frames = [deliver(77, 1), Frame::header(77, 1, &[0, 0]), Frame::body(77, b"x")];
    for frame in frames {
        let peer = Peer::start(move |server| {
            let mut wire = server.accept()?;
            wire.welcome(Tune::default())?;
            wire.welcome_channel()?;
            wire.expect_method(id::QUEUE_DECLARE)?;
            wire.send_frame(&frame)?;
            let close = wire.expect_method(id::CONNECTION_CLOSE)?;
            assert_eq!(close.args()[..2], 504_u16.to_be_bytes());
            wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
        })?;
        let connection = connect(named(&context, &peer.uri()).no_recovery()).await?;
        let channel = connection.channel().await?;
        let call = spawn(async move { channel.queue_declare("queue").await });
        for error in [call.await.unwrap_err(), connection.closed().await.unwrap_err()] {
            let ErrorKind::Protocol(ProtocolError::Unexpected { channel, .. }) = error.kind() else {
                panic!("{error}")
            };
            assert_eq!(*channel, 77);
        }
        peer.finish()?;
    }
    Ok(())
}
