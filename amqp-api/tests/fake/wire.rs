//! A byte stream between the driver and a peer.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use amqp_api::driver::Io;
use bytes::BytesMut;

use crate::peer::Peer;
use crate::tls_server::TlsServer;
use crate::tools::Rng;

/// How a stream behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Takes and gives all there is.
    Good,
    /// Takes and gives a few bytes at a time, and answers `Pending` where it need not.
    Bad,
    /// The same, with one byte at a time.
    Worst,
}

#[derive(Clone)]
pub(crate) struct WireHandle(Arc<Mutex<Wire>>);

pub(crate) struct Wire {
    pub(crate) peer: Peer,
    /// The peer reads what it is sent.
    pub(crate) reading: bool,
    /// How many bytes stand between until the peer reads.
    pub(crate) window: usize,
    /// The peer has closed its side.
    pub(crate) eof: bool,
    /// Reading fails with this, once everything has been read.
    pub(crate) read_error: Option<io::ErrorKind>,
    /// Writing fails.
    pub(crate) write_error: Option<io::ErrorKind>,
    /// The client has shut its side down.
    pub(crate) shut_down: bool,
    /// The client has dropped the stream.
    pub(crate) dropped: bool,
    /// TLS between the peer and the stream, if the peer speaks it.
    pub(crate) tls: Option<TlsServer>,
    to_peer: Vec<u8>,
    to_client: BytesMut,
    manners: Manners,
    rng: Rng,
    reader: Waiting,
    writer: Waiting,
}

#[derive(Default)]
struct Waiting {
    waker: Option<Waker>,
    /// It was answered `Pending` for nothing.
    teased: bool,
}

impl WireHandle {
    pub(crate) fn new(peer: Peer, manners: Manners, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            peer,
            reading: true,
            window: 64 * 1024,
            eof: false,
            read_error: None,
            write_error: None,
            shut_down: false,
            dropped: false,
            tls: None,
            to_peer: Vec::new(),
            to_client: BytesMut::new(),
            manners,
            rng: Rng::new(seed ^ 0xABCD),
            reader: Waiting::default(),
            writer: Waiting::default(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }

    /// The network moves: the peer reads and answers, and who waits for that is woken. `false`: nothing moved.
    pub(crate) fn step(&self) -> bool {
        let (moved, wakers) = self.lock().step();
        let woke = wakers.iter().any(Option::is_some);
        wakers.into_iter().flatten().for_each(Waker::wake);
        moved || woke
    }
}

impl Wire {
    fn step(&mut self) -> (bool, [Option<Waker>; 2]) {
        let mut moved = false;
        if self.reading && !self.to_peer.is_empty() {
            let received = std::mem::take(&mut self.to_peer);
            match &mut self.tls {
                Some(tls) => self.peer.feed(&tls.decrypt(&received)),
                None => self.peer.feed(&received),
            }
            moved = true;
        }
        let out = std::mem::take(&mut self.peer.out);
        let out = match &mut self.tls {
            Some(tls) => tls.encrypt(&out),
            None => out,
        };
        if !out.is_empty() {
            self.to_client.extend_from_slice(&out);
            moved = true;
        }
        self.eof |= self.peer.hung_up;
        let readable = !self.to_client.is_empty() || self.eof || self.read_error.is_some();
        let writable = self.to_peer.len() < self.window || self.write_error.is_some();
        (moved, [self.reader.wake_if(readable), self.writer.wake_if(writable)])
    }

    fn tease(&mut self) -> bool {
        self.manners != Manners::Good && self.rng.below(3) == 0
    }

    fn portion(&mut self, most: usize) -> usize {
        match self.manners {
            Manners::Good => most,
            Manners::Bad => most.min(1 + self.rng.below(40)),
            Manners::Worst => most.min(1),
        }
    }
}

impl Waiting {
    fn set(&mut self, cx: &Context<'_>, teased: bool) {
        self.waker = Some(cx.waker().clone());
        self.teased = teased;
    }

    fn wake_if(&mut self, ready: bool) -> Option<Waker> {
        if ready || std::mem::take(&mut self.teased) { self.waker.take() } else { None }
    }
}

/// The client's end.
pub(crate) struct FakeIo(pub WireHandle);

impl Io for FakeIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.lock();
        let spare = buffer.capacity() - buffer.len();
        assert!(spare > 0, "a read into no room would look like the end of the stream");
        if wire.tease() {
            wire.reader.set(cx, true);
            return Poll::Pending;
        }
        if wire.to_client.is_empty() {
            if let Some(kind) = wire.read_error {
                return Poll::Ready(Err(kind.into()));
            }
            if wire.eof {
                return Poll::Ready(Ok(0));
            }
            wire.reader.set(cx, false);
            return Poll::Pending;
        }
        let count = wire.portion(spare.min(wire.to_client.len()));
        buffer.extend_from_slice(&wire.to_client.split_to(count));
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.lock();
        if let Some(kind) = wire.write_error {
            return Poll::Ready(Err(kind.into()));
        }
        assert!(!wire.shut_down, "nothing is written after the end");
        assert!(slices.iter().all(|slice| !slice.is_empty()) && !slices.is_empty());
        let teased = wire.tease();
        let room = wire.window.saturating_sub(wire.to_peer.len());
        if room == 0 || teased {
            wire.writer.set(cx, teased);
            return Poll::Pending;
        }
        let mut left = wire.portion(room);
        let before = wire.to_peer.len();
        for slice in slices {
            let part = left.min(slice.len());
            wire.to_peer.extend_from_slice(&slice[..part]);
            left -= part;
        }
        Poll::Ready(Ok(wire.to_peer.len() - before))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.lock();
        wire.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for FakeIo {
    fn drop(&mut self) {
        self.0.lock().dropped = true;
    }
}
