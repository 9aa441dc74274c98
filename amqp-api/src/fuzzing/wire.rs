//! The stream between the driver and the broker that the input speaks for.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use amqp_proto::fuzzing::{Input, Peer};
use bytes::BytesMut;

use super::FRAME_MAX;
use crate::driver::Io;

#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    peer: Peer,
    to_client: BytesMut,
    /// How many bytes are read, or written, at once at most; a larger part of much.
    portion: usize,
    /// How many bytes can be written before the socket is full.
    room: usize,
    /// Before each success it answers `Pending` for nothing.
    teases: bool,
    end: Option<End>,
    shut_down: bool,
    reader: Side,
    writer: Side,
}

/// Who waits in one direction.
#[derive(Default)]
struct Side {
    waker: Option<Waker>,
    /// It was answered `Pending` for nothing, and has got nowhere since.
    teased: bool,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The peer has closed its side, and still takes what it is sent.
    Eof,
    /// Neither side can do anything any more.
    Reset,
}

impl End {
    pub(super) fn chosen(input: &mut Input<'_>) -> Self {
        if input.flag() { Self::Reset } else { Self::Eof }
    }
}

impl Wire {
    pub(super) fn new(orderly: bool, greets: bool) -> Self {
        let peer = Peer::new(orderly, FRAME_MAX);
        let mut hello = Vec::new();
        if greets {
            peer.handshake(&mut hello);
        }
        Self(Arc::new(Mutex::new(Inner {
            peer,
            to_client: BytesMut::from(&hello[..]),
            portion: usize::MAX,
            room: usize::MAX,
            teases: false,
            end: None,
            shut_down: false,
            reader: Side::default(),
            writer: Side::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Changes something, and wakes whoever may get on by that.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let wakers = {
            let mut inner = self.lock();
            change(&mut inner);
            let readable = !inner.to_client.is_empty() || inner.end.is_some();
            let writable = inner.room > 0 || inner.end.is_some();
            let reader = if readable { inner.reader.waker.take() } else { None };
            let writer = if writable { inner.writer.waker.take() } else { None };
            [reader, writer]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The broker says something.
    pub(super) fn speak(&self, input: &mut Input<'_>) {
        self.change(|inner| {
            let mut said = Vec::new();
            inner.peer.speak(input, &mut said);
            inner.to_client.extend_from_slice(&said);
        });
    }

    /// The broker says this.
    pub(super) fn say(&self, bytes: &[u8]) {
        self.change(|inner| inner.to_client.extend_from_slice(bytes));
    }

    pub(super) fn set_portion(&self, portion: usize) {
        self.change(|inner| inner.portion = portion.max(1));
    }

    pub(super) fn set_room(&self, room: usize) {
        self.change(|inner| inner.room = room);
    }

    pub(super) fn tease(&self, teases: bool) {
        self.change(|inner| inner.teases = teases);
    }

    pub(super) fn end(&self, end: End) {
        self.change(|inner| inner.end = Some(end));
    }
}

impl Side {
    /// Whether this call is to answer `Pending` for nothing.
    fn is_teased(&mut self, teases: bool, cx: &Context<'_>) -> bool {
        let teases = teases && !self.teased;
        if teases {
            self.teased = true;
            cx.waker().wake_by_ref();
        }
        teases
    }
}

/// Of so many bytes: much goes through in larger pieces, so that it does not take for ever.
fn portion(most: usize, given: usize) -> usize {
    most.max(given / 200).min(given)
}

impl Io for Wire {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let inner = &mut *self.lock();
        let spare = buffer.capacity() - buffer.len();
        assert!(spare > 0, "a read into no room would look like the end of the stream");
        if inner.reader.is_teased(inner.teases, cx) {
            return Poll::Pending;
        }
        match inner.end {
            Some(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(End::Eof) if inner.to_client.is_empty() => return Poll::Ready(Ok(0)),
            _ => {}
        }
        if inner.to_client.is_empty() {
            inner.reader.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = portion(inner.portion, inner.to_client.len()).min(spare);
        inner.reader.teased = false;
        buffer.extend_from_slice(&inner.to_client.split_to(count));
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.lock();
        assert!(!inner.shut_down, "nothing is written after the end");
        assert!(slices.iter().all(|slice| !slice.is_empty()) && !slices.is_empty());
        if inner.writer.is_teased(inner.teases, cx) {
            return Poll::Pending;
        }
        if let Some(End::Reset) = inner.end {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if inner.room == 0 {
            inner.writer.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let given = slices.iter().map(|slice| slice.len()).sum();
        let most = portion(inner.portion, given).min(inner.room);
        let mut left = most;
        for slice in slices {
            let part = left.min(slice.len());
            inner.peer.hear(&slice[..part]);
            left -= part;
        }
        inner.writer.teased = false;
        let count = most - left;
        inner.room -= count;
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().shut_down = true;
        Poll::Ready(Ok(()))
    }
}
