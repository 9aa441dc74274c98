//! A client's connection between an application and a broker that do anything.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::input::Input;
use super::peer::Peer;
use crate::config::{Config, Heartbeat};
use crate::conn::{
    BatchId, BodyId, ChannelId, ConfirmId, Connection, Consume, ConsumerId, DeliveryTag, Event, Next, NextChunk,
    Outbound, Publish, PublishBody, Reply, RequestId, StreamedPublish,
};
use crate::error::ErrorKind;
use crate::method::{Method, Properties, ReplyCode, basic, channel, confirm, queue, tx};
use crate::wire::{Deframer, ShortStr};

/// The frame size of the fuzzed connection: the least, so that there are many frames.
const FRAME_MAX: u32 = 4096;
const PUBLISH_BUFFER: usize = 8 * 1024;
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Feeds a client's connection with what `data` makes of its broker and its application. Data that begins like the
/// stream of a broker, as the recorded ones do, is fed as it is. Time begins at `start`, whatever that is.
///
/// Whatever they do: every request is resolved exactly once and every publish has one outcome; what leaves are whole
/// frames within the agreed size, content never interleaves within a channel, nothing follows a close; what is held is
/// bounded; deadlines make progress; no fault is found with a broker that keeps to the protocol; nothing panics.
///
/// # Panics
/// If one of these does not hold.
pub fn connection(start: Instant, data: &[u8]) {
    // The head of a method frame on channel 0.
    if data.starts_with(&[1, 0, 0]) { recorded(start, data) } else { scripted(start, data) }
}

/// A broker's stream, to an application that asks for a little of everything.
fn recorded(start: Instant, stream: &[u8]) {
    let mut world = World::new(start, &mut Input::new(&[0, u8::MAX]));
    for part in stream.chunks(97) {
        world.socket.extend_from_slice(part);
        world.turn();
        if world.connection.is_open() && world.channels.len() < 4 {
            let some = [[0, 0, 1, 0], [0, 4, 0, 1], [0, 1, 0, 0], [0, 5, 4, 1]];
            some.iter().for_each(|choices| world.application(&mut Input::new(choices)));
        }
        world.check();
    }
    world.finish(0);
}

fn scripted(start: Instant, data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(start, &mut input);
    for _ in 0..2000 {
        if input.is_empty() || world.connection.is_finished() {
            break;
        }
        match input.below(5) {
            0 | 1 => {
                let mut bytes = Vec::new();
                world.peer.speak(&mut input, &mut bytes);
                world.socket.extend_from_slice(&bytes);
            }
            2 | 3 => world.application(&mut input),
            _ => world.surroundings(&mut input),
        }
        world.turn();
        world.check();
    }
    world.finish(input.below(4));
}

/// The connection, its driver, and what its application holds.
struct World {
    connection: Connection,
    now: Instant,
    peer: Peer,
    /// From the broker: in the socket, then read but not cut.
    socket: BytesMut,
    read: BytesMut,
    deframer: Deframer,
    /// To the broker.
    stalled: bool,
    outbound: Outbound,

    channels: Vec<ChannelId>,
    consumers: Vec<ConsumerId>,
    requests: Vec<RequestId>,
    confirms: Vec<(ConfirmId, ChannelId)>,
    batches: Vec<BatchId>,
    deliveries: Vec<DeliveryTag>,
    /// Bodies that are read as they come, and how much of them was not read.
    bodies: Vec<(BodyId, u64)>,
    /// Those that an event has named; none is named twice.
    resolved: HashSet<RequestId>,
    /// Those for room, which may be lost again before it is taken.
    rooms: HashSet<RequestId>,
    large: Bytes,
}

impl World {
    fn new(now: Instant, input: &mut Input<'_>) -> Self {
        let config = Config::default()
            .no_recovery()
            .frame_max(FRAME_MAX)
            .heartbeat(Heartbeat::seconds(10))
            .publish_buffer(PUBLISH_BUFFER)
            .receive_buffer(RECEIVE_BUFFER)
            .close_timeout(Duration::from_secs(15))
            .max_body_size(8000);
        let connection = Connection::new(config, now, 1);
        let peer = Peer::new(input.flag(), FRAME_MAX);
        let mut socket = Vec::new();
        if peer.is_orderly() || input.byte() < 240 {
            peer.handshake(&mut socket);
        }
        let mut world = Self {
            requests: vec![connection.opened()],
            deframer: Deframer::new(connection.frame_max()),
            connection,
            now,
            peer,
            socket: BytesMut::from(&socket[..]),
            read: BytesMut::new(),
            stalled: false,
            outbound: Outbound::new(),
            channels: Vec::new(),
            consumers: Vec::new(),
            confirms: Vec::new(),
            batches: Vec::new(),
            deliveries: Vec::new(),
            bodies: Vec::new(),
            resolved: HashSet::new(),
            rooms: HashSet::new(),
            large: Bytes::from(vec![7; 300 * 1024]),
        };
        world.turn();
        world
    }

    /// A turn of the driver.
    fn turn(&mut self) {
        while !self.socket.is_empty() && self.connection.wants_read() {
            let chunk = self.socket.len().min(1500);
            self.read.extend_from_slice(&self.socket.split_to(chunk));
            self.connection.handle_received(self.now);
            self.cut();
        }
        self.connection.arm(self.now);
        if !self.stalled {
            while self.write(usize::MAX) > 0 {}
        }
        while let Some(event) = self.connection.poll_event() {
            if let Event::Resolved(request) = event {
                assert!(self.resolved.insert(request), "{request:?} is resolved twice");
            }
        }
    }

    fn cut(&mut self) {
        loop {
            match self.deframer.next_block(&mut self.read) {
                Ok(Some(block)) => self.connection.handle_block(self.now, &block),
                Ok(None) => return,
                Err(error) => {
                    self.connection.handle_frame_error(self.now, error);
                    self.read.clear();
                    assert!(self.connection.is_finished(), "a broken stream is the end");
                    return;
                }
            }
            self.deframer.set_frame_max(self.connection.frame_max());
        }
    }

    /// Writes up to so many bytes, and checks what they are.
    fn write(&mut self, most: usize) -> usize {
        if self.outbound.is_empty() {
            self.connection.take_outbound(&mut self.outbound);
        }
        let bytes = self.outbound.to_vec();
        let count = bytes.len().min(most);
        if count == 0 {
            return 0;
        }
        self.outbound.advance(count);
        self.connection.handle_wrote(self.now, count);
        self.peer.hear(&bytes[..count]);
        count
    }

    fn check(&mut self) {
        // One message for each of four channels, and what has no content.
        let limit = PUBLISH_BUFFER + 5 * 320 * 1024;
        assert!(self.connection.outbound_len() < limit, "{} bytes wait", self.connection.outbound_len());
        // A read, and what was read before and cut off there; and the word on a consumer's end costs something.
        let limit = RECEIVE_BUFFER + 1500 + 2 * FRAME_MAX as usize + 1000;
        let held = self.connection.buffered_bytes();
        assert!(held < limit || !self.connection.is_open(), "{held} bytes are held");
        for consumer in &self.consumers {
            // Each counts for 160 bytes at least, and a read is of 1500 bytes.
            let buffered = self.connection.buffered_deliveries(*consumer);
            assert!(buffered <= 2 * RECEIVE_BUFFER / 160 + 100, "{buffered} deliveries are held");
        }
        if self.connection.is_finished() {
            assert!(self.connection.open_channel().is_err());
        }
    }

    /// The application does something.
    fn application(&mut self, input: &mut Input<'_>) {
        let channel = input.one_of(&self.channels);
        match (input.below(21), channel) {
            (0, _) | (_, None) => {
                if let Ok((channel, request)) = self.connection.open_channel() {
                    self.channels.push(channel);
                    self.requests.push(request);
                    if input.flag() {
                        let select = self.connection.request(channel, confirm::Select { nowait: false }, None);
                        self.requests.extend(select.ok().flatten());
                    }
                }
            }
            (1..=3, Some(channel)) => self.request(input, channel),
            (4, Some(channel)) => {
                let consume = Consume {
                    consumer_tag: ShortStr::new(["", "a", "b"][input.below(3)]).unwrap(),
                    prefetch: [None, Some(0), Some(3)][input.below(3)],
                    no_ack: input.flag(),
                    streamed: input.flag(),
                    ..Consume::default()
                };
                self.requests.extend(self.connection.consume(channel, &consume, None).ok());
            }
            (5..=7, Some(channel)) => self.publish(input, channel),
            (8, _) => {
                if let Some(tag) = input.one_of(&self.deliveries) {
                    let _ = match input.below(4) {
                        0 => self.connection.nack(tag, input.flag(), input.flag()),
                        1 => self.connection.reject(tag, input.flag()),
                        _ => self.connection.ack(tag, input.flag()),
                    };
                }
            }
            (9, Some(channel)) => {
                let _ = self.connection.raw_ack(channel, input.number(), input.flag());
                let _ = self.connection.next_return(channel);
            }
            (10 | 11, _) => {
                if let Some(consumer) = input.one_of(&self.consumers) {
                    while let Next::Delivery(delivery) = self.connection.next_delivery(consumer) {
                        assert!(delivery.body().chunks().map(<[u8]>::len).sum::<usize>() <= 8000);
                        self.deliveries.push(delivery.delivery_tag());
                        if let Some(body) = delivery.streamed_body() {
                            self.bodies.push((body.id(), body.size()));
                            self.read_body(self.bodies.len() - 1);
                        }
                    }
                }
            }
            (12, _) if !self.consumers.is_empty() && input.byte() < 64 => {
                let at = input.below(self.consumers.len());
                if input.flag() {
                    self.connection.release_consumer(self.consumers.swap_remove(at));
                } else {
                    self.requests.extend(self.connection.cancel(self.consumers[at], None).ok());
                }
            }
            (13, Some(channel)) if input.byte() < 32 => {
                if input.flag() {
                    self.requests.extend(self.connection.close_channel(channel).ok());
                } else {
                    self.connection.release_channel(channel);
                    self.channels.retain(|id| *id != channel);
                }
            }
            (14, Some(channel)) => match input.below(4) {
                0 => self.requests.push(self.connection.watch_closed()),
                1 => {
                    let room = self.connection.wait_room(channel, 100, None);
                    self.requests.push(room);
                    self.rooms.insert(room);
                }
                2 if !self.requests.is_empty() => {
                    let at = input.below(self.requests.len());
                    self.connection.abandon_request(self.requests.swap_remove(at));
                }
                _ if !self.confirms.is_empty() => {
                    let at = input.below(self.confirms.len());
                    let (confirm, channel) = self.confirms.swap_remove(at);
                    self.connection.abandon_confirm(confirm, channel);
                }
                _ => {}
            },
            (15, Some(channel)) => self.publish_streamed(input, channel),
            (16, Some(channel)) => self.write_body(input, channel),
            (17, Some(channel)) => self.publish_batch(input, channel),
            (18 | 19, _) if !self.bodies.is_empty() => {
                let at = input.below(self.bodies.len());
                if input.byte() < 64 {
                    self.connection.release_body(self.bodies.swap_remove(at).0);
                } else {
                    self.read_body(at);
                }
            }
            _ => self.collect(),
        }
    }

    /// A batch of a few messages, or something else that is about all confirms of a channel.
    fn publish_batch(&mut self, input: &mut Input<'_>, channel: ChannelId) {
        match input.below(4) {
            0 => self.requests.extend(self.connection.wait_confirms(channel).ok()),
            1 => self.connection.set_window(channel, input.below(4)),
            _ => {
                let batch = self.connection.begin_batch();
                for index in 0..input.below(5) {
                    let publish = Publish {
                        exchange: ShortStr::EMPTY,
                        routing_key: ShortStr::new("q").unwrap(),
                        mandatory: input.flag(),
                        immediate: false,
                        properties: &Properties::new(),
                        body: PublishBody::Borrowed(b"batch"),
                    };
                    let _ = self.connection.publish_in_batch(channel, &publish, batch, index);
                }
                if input.flag() { self.batches.push(batch) } else { self.connection.abandon_batch(batch) }
            }
        }
    }

    fn publish_streamed(&mut self, input: &mut Input<'_>, channel: ChannelId) {
        if input.flag() {
            self.requests.extend(self.connection.request(channel, tx::Select {}, None).ok().flatten());
        }
        let publish = StreamedPublish {
            exchange: ShortStr::EMPTY,
            routing_key: ShortStr::new("q").unwrap(),
            mandatory: input.flag(),
            immediate: false,
            properties: &Properties::new(),
            body_size: [0, 1, 5000, 300_000][input.below(4)],
        };
        if self.connection.publish_streamed(channel, &publish).is_ok() && input.flag() {
            self.write_body(input, channel);
        }
    }

    fn write_body(&mut self, input: &mut Input<'_>, channel: ChannelId) {
        let missing = self.connection.missing_body(channel);
        let size = [0, 1, 100, 5000, self.large.len()][input.below(5)];
        let mut part = self.large.slice(..size);
        match self.connection.write_body(channel, &mut part) {
            Ok(()) => {
                assert!(size as u64 <= missing, "more than was announced");
                let taken = (size - part.len()) as u64;
                assert_eq!(self.connection.missing_body(channel), missing - taken);
                assert!(size == 0 || taken > 0);
            }
            Err(error) => {
                assert_eq!(part.len(), size, "{error}");
                let left = self.connection.missing_body(channel);
                assert!(left == missing || !self.connection.is_open(), "{error}");
            }
        }
    }

    /// Reads what there is of a body; a body never ends short.
    fn read_body(&mut self, at: usize) -> NextChunk {
        let (body, missing) = &mut self.bodies[at];
        loop {
            match self.connection.next_chunk(*body) {
                NextChunk::Chunk(chunk) => {
                    assert!(!chunk.is_empty());
                    *missing -= chunk.len() as u64;
                }
                last => {
                    assert!(*missing == 0 || !matches!(last, NextChunk::End), "{missing} bytes are missing");
                    return last;
                }
            }
        }
    }

    fn request(&mut self, input: &mut Input<'_>, channel: ChannelId) {
        let methods: [Method<'_>; 9] = [
            queue::Declare { nowait: input.flag(), ..queue::Declare::default() }.into(),
            basic::Get { no_ack: input.flag(), ..basic::Get::default() }.into(),
            confirm::Select { nowait: false }.into(),
            queue::Purge::default().into(),
            basic::Qos { prefetch_count: 2, global: input.flag(), ..basic::Qos::default() }.into(),
            basic::Recover { requeue: true }.into(),
            basic::RecoverAsync { requeue: true }.into(),
            tx::Select {}.into(),
            channel::Flow { active: true }.into(),
        ];
        let Some(method) = input.one_of(&methods) else { return };
        self.requests.extend(self.connection.request(channel, method, None).ok().flatten());
    }

    fn publish(&mut self, input: &mut Input<'_>, channel: ChannelId) {
        let kind = input.below(10);
        let size = [0, 1, 100, 5000, self.large.len()][kind % 5];
        let publish = Publish {
            exchange: ShortStr::EMPTY,
            routing_key: ShortStr::new("q").unwrap(),
            mandatory: input.flag(),
            immediate: kind >= 5,
            properties: &Properties::new(),
            body: PublishBody::Shared(self.large.slice(..size)),
        };
        if input.flag() {
            let _ = self.connection.publish(channel, &publish);
        } else {
            let confirm = self.connection.publish_confirmed(channel, &publish);
            self.confirms.extend(confirm.ok().map(|confirm| (confirm, channel)));
        }
    }

    /// Time passes, the socket fills or fails, the application gives up.
    fn surroundings(&mut self, input: &mut Input<'_>) {
        match input.below(10) {
            0..=2 => self.stalled = false,
            3 => self.stalled = true,
            4 | 5 => {
                self.write(usize::from(input.byte()) * 20);
            }
            6 | 7 => self.advance(Duration::from_millis(10 * u64::from(input.byte()))),
            8 => match input.byte() {
                0..8 => self.advance(Duration::from_millis(100 * u64::from(input.byte()))),
                8..12 => {
                    self.requests.push(self.connection.close(ReplyCode::REPLY_SUCCESS, "bye"));
                }
                12 => self.connection.handle_eof(self.now),
                _ => {}
            },
            _ => {}
        }
    }

    /// Lets every deadline of this time fire, in order.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut fired = 0;
        while let Some((at, reason)) = self.connection.poll_timeout().filter(|(at, _)| *at <= end) {
            if self.connection.is_finished() {
                break;
            }
            fired = if at > self.now { 0 } else { fired + 1 };
            assert!(fired < 1000, "the deadline {reason:?} fires again and again");
            self.now = self.now.max(at);
            self.connection.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
    }

    /// Takes the answers that are there.
    fn collect(&mut self) {
        let connection = &mut self.connection;
        self.requests.retain(|request| {
            let Some(reply) = connection.take_reply(*request) else {
                let was_resolved = self.resolved.remove(request);
                assert!(!was_resolved || self.rooms.contains(request), "{request:?} was resolved and has no reply");
                return true;
            };
            match reply {
                Ok(Reply::Consuming(consumer)) => self.consumers.push(consumer),
                Ok(Reply::Got(Some(delivery))) => self.deliveries.push(delivery.delivery_tag()),
                Err(error) => match error.kind() {
                    ErrorKind::Internal(_) => panic!("{error}"),
                    ErrorKind::Protocol(_) => assert!(!self.peer.is_orderly(), "{error}"),
                    _ => {}
                },
                Ok(_) => {}
            }
            let twice = connection.take_reply(*request);
            assert!(matches!(&twice, Some(Err(error)) if matches!(error.kind(), ErrorKind::Internal(_))), "{twice:?}");
            false
        });
        self.confirms.retain(|(confirm, _)| connection.take_outcome(*confirm).is_none());
        self.batches.retain(|batch| connection.take_batch(*batch).is_none());
    }

    /// The end: everybody who waits is told, and nothing is left.
    fn finish(&mut self, how: usize) {
        match how {
            0 => self.connection.abort(),
            1 => self.connection.handle_eof(self.now),
            _ => {
                self.requests.push(self.connection.close(ReplyCode::REPLY_SUCCESS, "bye"));
                // Its deadline, or that of the handshake.
                self.turn();
                self.advance(Duration::from_secs(60));
            }
        }
        self.turn();
        assert!(self.connection.is_finished());
        self.collect();
        assert!(self.requests.is_empty(), "{:?} are never resolved", self.requests);
        assert!(self.confirms.is_empty(), "{:?} have no outcome", self.confirms);
        assert!(self.batches.is_empty(), "{:?} have no outcome", self.batches);
        for at in 0..self.bodies.len() {
            let last = self.read_body(at);
            assert!(matches!(last, NextChunk::End | NextChunk::Failed(_)), "{last:?} after the end");
            self.connection.release_body(self.bodies[at].0);
        }
        let left = self.connection.outbound_len();
        for consumer in std::mem::take(&mut self.consumers) {
            while !matches!(self.connection.next_delivery(consumer), Next::Ended) {}
            self.connection.release_consumer(consumer);
        }
        for channel in std::mem::take(&mut self.channels) {
            self.connection.release_channel(channel);
        }
        assert_eq!(self.connection.outbound_len(), left, "nothing is sent after the end");
        assert_eq!(self.connection.buffered_bytes(), 0, "nothing is held for nobody");
    }
}

#[cfg(test)]
mod tests {
    /// A generator of numbers that are random enough (splitmix64).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = *state;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    #[test]
    fn f4_a_connection_survives_any_broker_and_any_application() {
        for seed in 0..4000 {
            let mut state = seed;
            let length = random(&mut state) % 600;
            let data: Vec<u8> = (0..length).map(|_| random(&mut state).to_le_bytes()[0]).collect();
            let result = std::panic::catch_unwind(|| super::connection(std::time::Instant::now(), &data));
            assert!(result.is_ok(), "seed {seed} fails");
        }
    }
}
