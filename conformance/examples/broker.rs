//! What `amqp-broker` does in a second and what a million messages cost it, and what RabbitMQ does in a second, in one run.
//!
//! ```sh
//! cargo run --release -p conformance --example broker             # prints the figures
//! cargo run --release -p conformance --example broker -- --check  # and fails if one is worse than its bound
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amqp_broker::{Broker, Core, Emulate, Limits, SessionId};
use amqp_tokio::Consume;
use amqp_tokio::proto::method::{Method, Properties, basic, channel, connection, put_any, put_content_header, queue};
use amqp_tokio::proto::wire::{FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;
use conformance::{Node, Options};

const MESSAGES: u32 = 1_000_000;
const BODY: [u8; 100] = [7; 100];
/// Messages that come with one read.
const BATCH: u32 = 200;

/// How many go over sockets.
const OVER_SOCKETS: usize = 300_000;

/// What a million messages may cost, in megabytes.
const MOST_MEMORY: f64 = 400.0;
/// Messages a second that one core has to route into a queue and out to its consumer, in thousands.
const LEAST_ROUTED: f64 = 300.0;
/// How many times as fast as RabbitMQ it has to be, over sockets and with the same client.
const LEAST_RATIO: f64 = 1.0;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let is_check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => return Err(format!("{other:?} is not --check, which is all there is").into()),
    };
    let mut missed = 0;
    let mut hold = |is_held: bool, bound: String| {
        println!("    {}, {bound}", if is_held { "as it has to be" } else { "MISSED" });
        missed += u32::from(!is_held);
    };

    let (memory, routed) = without_sockets()?;
    println!("a million messages of 100 bytes: {memory:.0} MB");
    hold(memory < MOST_MEMORY, format!("less than {MOST_MEMORY:.0} MB"));
    println!("into a queue and out to a consumer, on one core: {routed:.0} thousand messages a second");
    hold(routed >= LEAST_ROUTED, format!("at least {LEAST_ROUTED:.0} thousand"));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let broker = Broker::start()?;
    let ours = runtime.block_on(over_sockets(&broker.uri()))?;
    println!("amqp-broker over a socket, with its client: {ours:.0} thousand messages a second");
    drop(broker);
    let node = Node::start(Options::new())?;
    let (theirs, version) = (runtime.block_on(over_sockets(&node.uri()))?, node.version()?);
    println!("RabbitMQ {version}, with the same client: {theirs:.0} thousand messages a second");
    let ratio = ours / theirs;
    println!("that is {ratio:.1} times as fast as RabbitMQ");
    hold(ratio >= LEAST_RATIO, format!("at least {LEAST_RATIO:.1} times"));
    Ok(if is_check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a million messages cost in memory, in megabytes, and how fast they are routed, in thousands a second.
fn without_sockets() -> Result<(f64, f64), Box<dyn Error>> {
    let now = Instant::now();
    let mut core = Core::new(Emulate::default(), Limits::default(), now, Duration::ZERO, 1);
    let (publisher, consumer) = (open(&mut core, now)?, open(&mut core, now)?);
    let name = ShortStr::new("q")?;
    send(&mut core, now, publisher, queue::Declare { queue: name, ..Default::default() })?;
    let batch = publishes(name)?;

    let before = resident();
    publish(&mut core, now, publisher, &batch, |_| {});
    let memory = resident().saturating_sub(before) as f64 / 1e6;
    send(&mut core, now, publisher, queue::Purge { queue: name, nowait: false })?;

    send(&mut core, now, consumer, basic::Consume { queue: name, no_ack: true, ..Default::default() })?;
    let mut out = Vec::new();
    let started = Instant::now();
    publish(&mut core, now, publisher, &batch, |core| {
        out.clear();
        core.take_outbound(now, consumer, &mut out);
        while core.poll_woken().is_some() {}
    });
    Ok((memory, f64::from(MESSAGES) / started.elapsed().as_secs_f64() / 1e3))
}

/// Thousands of messages a second from a publisher to a consumer without acks, on a connection each.
async fn over_sockets(uri: &str) -> Result<f64, Box<dyn Error>> {
    let (out, back) = (amqp_tokio::connect(uri).await?, amqp_tokio::connect(uri).await?);
    let (publishing, consuming) = (out.channel().await?, back.channel().await?);
    consuming.queue_declare("measured").await?;
    let mut consumer = consuming.consume(Consume::new("measured").no_ack()).await?;
    let started = Instant::now();
    let publisher = tokio::spawn(async move {
        for _ in 0..OVER_SOCKETS {
            publishing.publish("", "measured", &BODY[..]).await?;
        }
        out.close().await
    });
    for _ in 0..OVER_SOCKETS {
        consumer.next().await.ok_or("the consumer has ended")??;
    }
    let elapsed = started.elapsed();
    publisher.await??;
    back.close().await?;
    Ok(OVER_SOCKETS as f64 / elapsed.as_secs_f64() / 1e3)
}

fn publish(core: &mut Core, now: Instant, id: SessionId, batch: &[u8], mut each: impl FnMut(&mut Core)) {
    let mut input = BytesMut::new();
    for _ in 0..MESSAGES / BATCH {
        input.extend_from_slice(batch);
        core.handle_input(now, id, &mut input);
        each(core);
    }
}

fn publishes(routing_key: ShortStr<'_>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::new();
    for _ in 0..BATCH {
        put(&mut out, 1, basic::Publish { routing_key, ..Default::default() })?;
        put_content_header(&mut out, 1, 60, BODY.len() as u64, &Properties::new())?;
        put_frame(&mut out, FrameKind::Body, 1, &BODY)?;
    }
    Ok(out)
}

fn open(core: &mut Core, now: Instant) -> Result<SessionId, Box<dyn Error>> {
    let id = core.connect(now, 1);
    let mut out = b"AMQP\0\0\x09\x01".to_vec();
    let (mechanism, response) = (ShortStr::new("PLAIN")?, LongStr(b"\0guest\0guest"));
    put(&mut out, 0, connection::StartOk { mechanism, response, ..Default::default() })?;
    put(&mut out, 0, connection::TuneOk { channel_max: 3, frame_max: 131_072, heartbeat: 0 })?;
    put(&mut out, 0, connection::Open { virtual_host: ShortStr::new("/")? })?;
    put(&mut out, 1, channel::Open {})?;
    core.handle_input(now, id, &mut BytesMut::from(&out[..]));
    Ok(id)
}

fn send<'a>(core: &mut Core, now: Instant, id: SessionId, method: impl Into<Method<'a>>) -> Result<(), Box<dyn Error>> {
    let mut out = Vec::new();
    put(&mut out, 1, method)?;
    core.handle_input(now, id, &mut BytesMut::from(&out[..]));
    Ok(())
}

fn put<'a>(out: &mut Vec<u8>, number: u16, method: impl Into<Method<'a>>) -> Result<(), Box<dyn Error>> {
    Ok(put_any(out, number, &method.into())?)
}

/// Resident memory in bytes; 0 where there is no `/proc`.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}
