//! The ceiling: prebuilt bytes through a plain socket, a system call for each 64 KiB.

use std::io::{Read, Write};
use std::net::TcpStream;

use amqp_proto::method::{MethodCodec, Properties, basic, channel, connection, put_content_header, put_method};
use amqp_proto::wire::{FrameKind, LongStr, PROTOCOL_HEADER, ShortStr, TableRef, put_frame};

use crate::{Outcome, Taken};

const BLOCK: usize = 64 * 1024;

pub(crate) fn publish(port: u16, messages: u64, size: usize) -> Outcome<Taken> {
    let mut one = Vec::new();
    let publish = basic::Publish {
        exchange: ShortStr::new("events")?,
        routing_key: ShortStr::new("order.created")?,
        mandatory: false,
        immediate: false,
    };
    put_method(&mut one, 1, &publish)?;
    put_content_header(&mut one, 1, basic::Publish::CLASS_ID, size as u64, &Properties::new())?;
    put_frame(&mut one, FrameKind::Body, 1, &vec![b'x'; size])?;
    let each = one.len();
    let block = one.repeat((BLOCK / each).max(1));
    let mut stream = open(port)?;
    Taken::of(|| {
        let mut left = usize::try_from(messages)? * each;
        while left > 0 {
            let count = left.min(block.len());
            stream.write_all(&block[..count])?;
            left -= count;
        }
        let mut close = Vec::new();
        put_method(&mut close, 0, &connection::Close::default())?;
        stream.write_all(&close)?;
        // The answer to it is the peer's word that it has read everything.
        stream.read_exact(&mut [0; 12])?;
        Ok(())
    })
}

pub(crate) fn consume(port: u16, messages: u64, size: usize) -> Outcome<Taken> {
    let mut stream = open(port)?;
    let queue = size.to_string();
    let consume = basic::Consume {
        queue: ShortStr::new(&queue)?,
        consumer_tag: ShortStr::new("ctag-1.1")?,
        no_ack: true,
        ..basic::Consume::default()
    };
    let mut out = Vec::new();
    put_method(&mut out, 1, &consume)?;
    stream.write_all(&out)?;
    // Method, header and body frames as the peer builds them.
    let mut one = Vec::new();
    let deliver = basic::Deliver {
        consumer_tag: consume.consumer_tag,
        exchange: ShortStr::new("events")?,
        routing_key: ShortStr::new("order.created")?,
        ..basic::Deliver::default()
    };
    put_method(&mut one, 1, &deliver)?;
    let each = one.len() + (8 + 14 + 1) + (8 + size);
    let mut block = vec![0; BLOCK];
    Taken::of(|| {
        let mut left = usize::try_from(messages)? * each;
        while left > 0 {
            left = left.saturating_sub(stream.read(&mut block)?);
        }
        Ok(())
    })
}

/// Handshake and one channel, without looking at the answers.
fn open(port: u16) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut out = PROTOCOL_HEADER.to_vec();
    let start_ok = connection::StartOk {
        client_properties: TableRef::EMPTY,
        mechanism: ShortStr::new("PLAIN")?,
        response: LongStr(b"\0guest\0guest"),
        locale: ShortStr::new("en_US")?,
    };
    put_method(&mut out, 0, &start_ok)?;
    put_method(&mut out, 0, &connection::TuneOk { channel_max: 1, frame_max: 131_072, heartbeat: 0 })?;
    put_method(&mut out, 0, &connection::Open { virtual_host: ShortStr::new("/")? })?;
    put_method(&mut out, 1, &channel::Open {})?;
    stream.write_all(&out)?;
    // Channel.open-ok is the last of the answers: read until its four ids have come, then its empty long string.
    let mut seen = Vec::new();
    while !seen.windows(4).any(|ids| ids == [0, 20, 0, 11]) {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        seen.extend_from_slice(&octet);
    }
    stream.read_exact(&mut [0; 5])?;
    Ok(stream)
}
