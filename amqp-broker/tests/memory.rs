//! What messages cost. Alone in its process, so that all memory is theirs; in Linux only, which tells how much that is.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use amqp_broker::{Core, Emulate, Limits};
use amqp_proto::method::{Method, Properties, basic, channel, connection, put_any, put_content_header, queue};
use amqp_proto::wire::{FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;

const MESSAGES: usize = 1_000_000;
const BODY: [u8; 100] = [7; 100];
/// Messages that come with one read.
const BATCH: usize = 200;
/// Bytes.
const MOST: usize = 400_000_000;

/// Memory of this process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn put<'a>(out: &mut Vec<u8>, number: u16, method: impl Into<Method<'a>>) {
    put_any(out, number, &method.into()).unwrap();
}

#[test]
fn f55_a_million_messages_of_100_bytes_take_less_than_400_megabytes() {
    let now = Instant::now();
    let mut core = Core::new(Emulate::default(), Limits::default(), now, Duration::ZERO, 1);
    let id = core.connect(now, 1);
    let mut out = b"AMQP\0\0\x09\x01".to_vec();
    let (mechanism, response) = (ShortStr::new("PLAIN").unwrap(), LongStr(b"\0guest\0guest"));
    put(&mut out, 0, connection::StartOk { mechanism, response, ..Default::default() });
    put(&mut out, 0, connection::TuneOk { channel_max: 3, frame_max: 131_072, heartbeat: 0 });
    put(&mut out, 0, connection::Open { virtual_host: ShortStr::new("/").unwrap() });
    put(&mut out, 1, channel::Open {});
    let name = ShortStr::new("q").unwrap();
    put(&mut out, 1, queue::Declare { queue: name, ..Default::default() });
    core.handle_input(now, id, &mut BytesMut::from(&out[..]));

    let mut batch = Vec::new();
    for _ in 0..BATCH {
        put(&mut batch, 1, basic::Publish { routing_key: name, ..Default::default() });
        put_content_header(&mut batch, 1, 60, BODY.len() as u64, &Properties::new()).unwrap();
        put_frame(&mut batch, FrameKind::Body, 1, &BODY).unwrap();
    }
    let before = resident();
    for _ in 0..MESSAGES / BATCH {
        core.handle_input(now, id, &mut BytesMut::from(&batch[..]));
    }
    let taken = resident().saturating_sub(before);

    // They are all there.
    let mut purge = Vec::new();
    put(&mut purge, 1, queue::Purge { queue: name, nowait: false });
    let mut heard = Vec::new();
    core.take_outbound(now, id, &mut heard);
    heard.clear();
    core.handle_input(now, id, &mut BytesMut::from(&purge[..]));
    core.take_outbound(now, id, &mut heard);
    assert!(heard.windows(8).any(|bytes| bytes == [0, 50, 0, 31, 0, 0x0F, 0x42, 0x40]), "{heard:?}");
    assert!(taken > MESSAGES * BODY.len(), "{taken} bytes is not what a million messages take");
    assert!(taken < MOST, "a million messages take {taken} bytes");
}
