//! What the broker without its sockets does in a second, and what a million messages cost. On one core.
//!
//! ```sh
//! cargo run --release -p amqp-broker --example measure
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use amqp_broker::{Core, Emulate, Limits, SessionId};
use amqp_proto::method::{Method, Properties, basic, channel, connection, put_any, put_content_header, queue};
use amqp_proto::wire::{FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;

const MESSAGES: u32 = 1_000_000;
const BODY: [u8; 100] = [7; 100];
/// Messages that come with one read.
const BATCH: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let now = Instant::now();
    let mut core = Core::new(Emulate::default(), Limits::default(), now, Duration::ZERO, 1);
    let (publisher, consumer) = (open(&mut core, now)?, open(&mut core, now)?);
    let name = ShortStr::new("q")?;
    send(&mut core, now, publisher, queue::Declare { queue: name, ..Default::default() })?;
    let batch = publishes(name)?;

    let before = resident();
    publish(&mut core, now, publisher, &batch, |_| {});
    println!("a million messages of 100 bytes: {} MB", (resident() - before) / 1_000_000);
    send(&mut core, now, publisher, queue::Purge { queue: name, nowait: false })?;

    send(&mut core, now, consumer, basic::Consume { queue: name, no_ack: true, ..Default::default() })?;
    let mut out = Vec::new();
    let started = Instant::now();
    publish(&mut core, now, publisher, &batch, |core| {
        out.clear();
        core.take_outbound(now, consumer, &mut out);
        while core.poll_woken().is_some() {}
    });
    let rate = f64::from(MESSAGES) / started.elapsed().as_secs_f64();
    println!("into a queue and out to a consumer: {:.0} thousand messages a second", rate / 1000.0);
    Ok(())
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
