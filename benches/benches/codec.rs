//! The codec in time, ours beside amq-protocol's on the same bytes: `cargo bench -p benches --bench codec`.
//!
//! What is received is first copied into a buffer, on both sides, as a read does.

use std::hint::black_box;

use amqp_proto::wire::{Deframer, TableRef};
use benches::codec::{messages, ours, theirs};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Sizes of bodies, in bytes.
const SIZES: [usize; 4] = [messages::SMALL, 256, 4096, 65_536];

/// The largest frame; a body of 64 KiB goes into one.
const FRAME_MAX: u32 = 131_072;

/// Messages of this size that come with one read of about 64 KiB, up to 64.
fn per_read(message: &[u8]) -> u64 {
    (65_536 / message.len()).clamp(1, 64) as u64
}

fn deframing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deframe");
    for size in SIZES {
        let message = messages::delivery(&messages::body(size));
        let times = per_read(&message);
        group.throughput(Throughput::Elements(times));
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            let mut deframer = Deframer::new(FRAME_MAX);
            bencher.iter(|| ours::read_once(&mut deframer, &message, times, ours::handle_frames));
        });
        group.bench_function(BenchmarkId::new("amq-protocol", size), |bencher| {
            let mut buf = Vec::new();
            bencher.iter(|| {
                buf.clear();
                (0..times).for_each(|_| buf.extend_from_slice(black_box(&message)));
                theirs::parse_frames(&buf);
            });
        });
    }
    group.finish();
}

fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode-delivery");
    for size in SIZES {
        let message = messages::delivery(&messages::body(size));
        let times = per_read(&message);
        group.throughput(Throughput::Elements(times));
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            let mut deframer = Deframer::new(FRAME_MAX);
            bencher.iter(|| ours::read_once(&mut deframer, &message, times, ours::handle_delivery_block));
        });
        group.bench_function(BenchmarkId::new("ours-utf8", size), |bencher| {
            let mut deframer = Deframer::new(FRAME_MAX);
            bencher.iter(|| ours::read_once(&mut deframer, &message, times, ours::handle_delivery_block_utf8));
        });
        group.bench_function(BenchmarkId::new("ours-retained", size), |bencher| {
            let mut deframer = Deframer::new(FRAME_MAX);
            bencher.iter(|| ours::read_once(&mut deframer, &message, times, ours::handle_retained));
        });
        group.bench_function(BenchmarkId::new("amq-protocol", size), |bencher| {
            let mut buf = Vec::new();
            bencher.iter(|| theirs::read_once(&mut buf, &message, times, theirs::handle_delivery));
        });
    }
    group.finish();
}

fn publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode-publish");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let body = messages::body(size);
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            let properties = messages::properties();
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                ours::put_publish(&mut out, black_box(&properties), black_box(&body));
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("amq-protocol", size), |bencher| {
            let frames = theirs::publish(theirs::properties(), &body);
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                out = theirs::generate(std::mem::take(&mut out), black_box(&frames));
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn tables(criterion: &mut Criterion) {
    let bytes = messages::table_of_20();
    let mut group = criterion.benchmark_group("decode-table-of-20");
    group.throughput(Throughput::Elements(1));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| TableRef::from_wire(&black_box(&bytes)[4..]).map(ours::read_table));
    });
    group.bench_function("ours-owned", |bencher| {
        bencher.iter(|| {
            let table = TableRef::from_wire(&black_box(&bytes)[4..]).map(|table| table.to_owned());
            table.map(|table| ours::read_table(black_box(&table).as_ref()))
        });
    });
    group.bench_function("amq-protocol", |bencher| bencher.iter(|| theirs::read_table_of(black_box(&bytes))));
    group.finish();
}

fn small_frames(criterion: &mut Criterion) {
    const TIMES: u64 = 1024;
    let ack = messages::ack();
    let mut group = criterion.benchmark_group("decode-ack");
    group.throughput(Throughput::Elements(TIMES));
    group.bench_function("ours", |bencher| {
        let mut deframer = Deframer::new(FRAME_MAX);
        bencher.iter(|| ours::read_once(&mut deframer, &ack, TIMES, ours::handle_acks));
    });
    group.bench_function("amq-protocol", |bencher| {
        let mut buf = Vec::new();
        bencher.iter(|| theirs::read_once(&mut buf, &ack, TIMES, theirs::handle_ack));
    });
    group.finish();

    let heartbeat = messages::heartbeat();
    let mut group = criterion.benchmark_group("decode-heartbeat");
    group.throughput(Throughput::Elements(TIMES));
    group.bench_function("ours", |bencher| {
        let mut deframer = Deframer::new(FRAME_MAX);
        bencher.iter(|| ours::read_once(&mut deframer, &heartbeat, TIMES, ours::handle_frames));
    });
    group.bench_function("amq-protocol", |bencher| {
        let mut buf = Vec::new();
        bencher.iter(|| theirs::read_once(&mut buf, &heartbeat, TIMES, |frame| drop(black_box(frame))));
    });
    group.finish();
}

criterion_group! {
    name = codec;
    config = Criterion::default();
    targets = deframing, deliveries, publishes, tables, small_frames
}
criterion_main!(codec);
