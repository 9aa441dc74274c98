//! A link between the client and the broker: it cuts what passes into pieces, takes its time, and fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amqp_broker::SessionId;
use bytes::BytesMut;
use fastrand::Rng;

/// What arrives at one end.
pub(crate) enum Arrived {
    Bytes(Vec<u8>),
    End,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Pipe {
    pieces: VecDeque<(Instant, Arrived)>,
    last: Option<Instant>,
    ended: bool,
}

impl Pipe {
    pub(crate) fn push(&mut self, now: Instant, mut bytes: &[u8], rng: &mut Rng) {
        if self.ended {
            return;
        }
        while !bytes.is_empty() {
            let most = if rng.u8(..8) == 0 { 7 } else { 4096 };
            let (piece, rest) = bytes.split_at(rng.usize(1..=most).min(bytes.len()));
            let at = self.time(now, rng);
            self.pieces.push_back((at, Arrived::Bytes(piece.to_vec())));
            bytes = rest;
        }
    }

    /// There will be nothing more.
    pub(crate) fn end(&mut self, now: Instant, rng: &mut Rng) {
        if !std::mem::replace(&mut self.ended, true) {
            let at = self.time(now, rng);
            self.pieces.push_back((at, Arrived::End));
        }
    }

    /// What is under way is lost.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.pieces.clear();
        self.pieces.push_back((now, Arrived::End));
        self.ended = true;
    }

    fn time(&mut self, now: Instant, rng: &mut Rng) -> Instant {
        let at = now + Duration::from_micros(rng.u64(10..2000));
        let at = self.last.map_or(at, |last| last.max(at));
        self.last = Some(at);
        at
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.pieces.front().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arrived> {
        if self.next()? > now {
            return None;
        }
        self.pieces.pop_front().map(|(_, arrived)| arrived)
    }
}

/// A connected socket, with the broker's end of it.
pub(crate) struct Link {
    pub(crate) session: SessionId,
    pub(crate) to_broker: Pipe,
    pub(crate) to_client: Pipe,
    /// What the broker has read and not cut.
    pub(crate) input: BytesMut,
    /// Nothing passes any more.
    pub(crate) stalled: bool,
    /// The client does not read it any more.
    pub(crate) left: bool,
    /// The broker has forgotten it.
    pub(crate) closed: bool,
}

impl Link {
    pub(crate) fn new(session: SessionId) -> Self {
        let (to_broker, to_client) = (Pipe::default(), Pipe::default());
        Self { session, to_broker, to_client, input: BytesMut::new(), stalled: false, left: false, closed: false }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        if self.stalled || self.closed {
            return None;
        }
        let to_client = self.to_client.next().filter(|_| !self.left);
        [self.to_broker.next(), to_client].into_iter().flatten().min()
    }
}
