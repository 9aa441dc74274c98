//! The peer of the client's benchmarks: a process of its own that costs as little as it can. It swallows publishes,
//! confirms them in batches, answers declares, and sends prebuilt deliveries as fast as the socket takes them.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use amqp_proto::method::{
    ContentHeader, Method, MethodCodec, Properties, basic, channel, confirm, connection, ids, put_content_header,
    put_method, queue,
};
use amqp_proto::wire::{Deframer, FrameKind, LongStr, ShortStr, TableRef, put_frame};
use bytes::BytesMut;

/// Serves on a free loopback port until standard input ends. The first line that it prints is the port.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || Session::new(stream).and_then(Session::run));
        }
    });
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Session {
    stream: TcpStream,
    /// Two threads write: whole frames each.
    writer: Arc<Mutex<TcpStream>>,
    out: Vec<u8>,
    confirms: bool,
    published: u64,
    confirmed: u64,
    body_left: u64,
    flow: Arc<Flow>,
    prefetch: u64,
}

/// How far deliveries may go.
#[derive(Default)]
struct Flow {
    acked: AtomicU64,
    stopped: AtomicBool,
    changed: Condvar,
    lock: Mutex<()>,
}

impl Flow {
    fn notify(&self) {
        drop(self.lock.lock());
        self.changed.notify_all();
    }
}

impl Session {
    fn new(mut stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.read_exact(&mut [0; 8])?;
        let mut out = Vec::new();
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: TableRef::EMPTY,
            mechanisms: LongStr(b"PLAIN"),
            locales: LongStr(b"en_US"),
        };
        put(&mut out, 0, &start);
        stream.write_all(&out)?;
        out.clear();
        Ok(Self {
            writer: Arc::new(Mutex::new(stream.try_clone()?)),
            stream,
            out,
            confirms: false,
            published: 0,
            confirmed: 0,
            body_left: 0,
            flow: Arc::default(),
            prefetch: 0,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut deframer = Deframer::new(131_072);
        let mut buffer = BytesMut::with_capacity(1 << 18);
        let mut chunk = vec![0; 1 << 18];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                self.flow.stopped.store(true, Ordering::Release);
                self.flow.notify();
                return Ok(());
            }
            buffer.extend_from_slice(&chunk[..count]);
            while let Some(block) = deframer.next_block(&mut buffer).map_err(io::Error::other)? {
                for frame in block.frames() {
                    match frame.kind {
                        FrameKind::Method => self.method(frame.channel, frame.payload)?,
                        FrameKind::Header => {
                            self.body_left = ContentHeader::decode(frame.payload).map_err(io::Error::other)?.body_size;
                            self.published += u64::from(self.body_left == 0);
                        }
                        FrameKind::Body => {
                            self.body_left -= frame.payload.len() as u64;
                            self.published += u64::from(self.body_left == 0);
                        }
                        FrameKind::Heartbeat => {}
                    }
                }
            }
            if self.confirms && self.published > self.confirmed {
                self.confirmed = self.published;
                put(&mut self.out, 1, &basic::Ack { delivery_tag: self.published, multiple: true });
            }
            self.flush()?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            write(&self.writer, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    fn method(&mut self, number: u16, payload: &[u8]) -> io::Result<()> {
        const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);
        if ids(payload) == Some(PUBLISH) {
            return Ok(());
        }
        let out = &mut self.out;
        match Method::decode(payload).map_err(io::Error::other)? {
            Method::Connection(connection::Method::StartOk(_)) => {
                put(out, 0, &connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
            }
            Method::Connection(connection::Method::Open(_)) => put(out, 0, &connection::OpenOk {}),
            Method::Connection(connection::Method::Close(_)) => put(out, 0, &connection::CloseOk {}),
            Method::Channel(channel::Method::Open(_)) => put(out, number, &channel::OpenOk {}),
            Method::Channel(channel::Method::Close(_)) => put(out, number, &channel::CloseOk {}),
            Method::Confirm(confirm::Method::Select(_)) => {
                self.confirms = true;
                put(out, number, &confirm::SelectOk {});
            }
            Method::Queue(queue::Method::Declare(declare)) => {
                put(out, number, &queue::DeclareOk { queue: declare.queue, message_count: 0, consumer_count: 0 });
            }
            Method::Basic(basic::Method::Qos(qos)) => {
                self.prefetch = qos.prefetch_count.into();
                put(out, number, &basic::QosOk {});
            }
            Method::Basic(basic::Method::Consume(consume)) => {
                put(out, number, &basic::ConsumeOk { consumer_tag: consume.consumer_tag });
                self.flush()?;
                self.blast(number, &consume)?;
            }
            Method::Basic(basic::Method::Ack(ack)) => {
                // Acks come in order here, so the tag counts them.
                self.flow.acked.store(ack.delivery_tag, Ordering::Release);
                self.flow.notify();
            }
            Method::Basic(basic::Method::Cancel(cancel)) => {
                self.flow.stopped.store(true, Ordering::Release);
                self.flow.notify();
                put(out, number, &basic::CancelOk { consumer_tag: cancel.consumer_tag });
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends deliveries until the consumer is cancelled. The queue's name is the size of their bodies, a dot, and their
    /// number: not one more, so that what comes after the last one that is read costs the client nothing.
    fn blast(&self, number: u16, consume: &basic::Consume<'_>) -> io::Result<()> {
        let name = consume.queue.to_str().ok().and_then(|name| name.split_once('.'));
        let parsed = name.and_then(|(size, messages)| Some((size.parse().ok()?, messages.parse().ok()?)));
        let (size, messages): (usize, u64) =
            parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a queue that is not SIZE.MESSAGES"))?;
        let mut batch = Batch::new(number, consume.consumer_tag, size);
        let writer = Arc::clone(&self.writer);
        let flow = Arc::clone(&self.flow);
        let window = if consume.no_ack { u64::MAX } else { self.prefetch };
        thread::spawn(move || -> io::Result<()> {
            let mut sent = 0u64;
            while sent < messages && !flow.stopped.load(Ordering::Acquire) {
                let room = flow.acked.load(Ordering::Acquire).saturating_add(window).saturating_sub(sent);
                if room == 0 {
                    let guard = flow.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if flow.acked.load(Ordering::Acquire).saturating_add(window) == sent
                        && !flow.stopped.load(Ordering::Acquire)
                    {
                        drop(flow.changed.wait(guard));
                    }
                    continue;
                }
                let count = usize::try_from(room.min(messages - sent)).unwrap_or(usize::MAX).min(batch.tags.len());
                write(&writer, batch.next(sent + 1, count))?;
                sent += count as u64;
            }
            Ok(())
        });
        Ok(())
    }
}

/// Prebuilt deliveries; only the tags change.
struct Batch {
    bytes: Vec<u8>,
    tags: Vec<usize>,
    each: usize,
}

impl Batch {
    fn new(number: u16, consumer_tag: ShortStr<'_>, size: usize) -> Self {
        let mut one = Vec::new();
        let deliver = basic::Deliver {
            consumer_tag,
            delivery_tag: u64::MAX,
            redelivered: false,
            exchange: ShortStr::new("events").unwrap_or_default(),
            routing_key: ShortStr::new("order.created").unwrap_or_default(),
        };
        put(&mut one, number, &deliver);
        let mut properties = Properties::new();
        properties.set_delivery_mode(2);
        // Both sizes are far below what could fail to encode.
        let _ = put_content_header(&mut one, number, basic::Deliver::CLASS_ID, size as u64, &properties);
        let _ = put_frame(&mut one, FrameKind::Body, number, &vec![b'x'; size]);
        // Frame header, class and method, consumer tag.
        let tag_at = 7 + 4 + 1 + consumer_tag.len();
        let count = (64 * 1024 / one.len()).max(1);
        let tags = (0..count).map(|at| at * one.len() + tag_at).collect();
        Self { bytes: one.repeat(count), tags, each: one.len() }
    }

    fn next(&mut self, first: u64, count: usize) -> &[u8] {
        for (at, tag) in self.tags.iter().take(count).zip(first..) {
            self.bytes[*at..*at + 8].copy_from_slice(&tag.to_be_bytes());
        }
        &self.bytes[..count * self.each]
    }
}

fn write(writer: &Mutex<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_all(bytes)
}

fn put<'a, M: MethodCodec<'a>>(out: &mut Vec<u8>, number: u16, method: &M) {
    // What is sent here is short.
    let _ = put_method(out, number, method);
}
