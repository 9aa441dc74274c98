//! A socket of mio's as a transport.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use amqp_api::driver::Io;
use bytes::BytesMut;
use mio::event::{Event, Source};

/// How much is read at once at most.
const LARGE: usize = 64 * 1024;

/// What the operating system has said of a socket. mio says it once, so it holds until the socket says otherwise. Only
/// the driver's thread reads and changes it.
pub(crate) struct Readiness {
    readable: AtomicBool,
    writable: AtomicBool,
}

impl Readiness {
    /// Nothing is known: trying tells.
    pub(crate) fn new() -> Self {
        Self { readable: AtomicBool::new(true), writable: AtomicBool::new(true) }
    }

    /// Takes notice. What has failed is to be tried: that tells how.
    pub(crate) fn note(&self, event: &Event) {
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable.store(true, Ordering::Relaxed);
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            self.writable.store(true, Ordering::Relaxed);
        }
    }
}

/// A socket of mio's.
pub(crate) trait Socket: Source + Read + Write + Send + 'static {
    /// Ends the writing side.
    fn end(&self) -> io::Result<()>;
}

impl Socket for mio::net::TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Socket for mio::net::UnixStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket that is registered with the driver's poll. Nothing here wakes the driver: its thread polls it again after
/// every event.
pub(crate) struct Stream<S> {
    socket: S,
    readiness: Arc<Readiness>,
    /// Where a read goes first: memory that was not written to cannot be read into without `unsafe`, and to zero the
    /// buffer each time costs more than to copy what came.
    scratch: Vec<u8>,
}

impl<S: Socket> Stream<S> {
    pub(crate) fn new(socket: S, readiness: Arc<Readiness>) -> Self {
        Self { socket, readiness, scratch: Vec::new() }
    }
}

/// Does what a socket is ready for, and remembers if it is so no longer.
fn attempt<T>(ready: &AtomicBool, operation: impl FnOnce() -> io::Result<T>) -> Poll<io::Result<T>> {
    if !ready.load(Ordering::Relaxed) {
        return Poll::Pending;
    }
    match operation() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            ready.store(false, Ordering::Relaxed);
            Poll::Pending
        }
        result => Poll::Ready(result),
    }
}

impl<S: Socket> Io for Stream<S> {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let Self { socket, readiness, scratch } = self;
        attempt(&readiness.readable, || {
            let room = (buffer.capacity() - buffer.len()).min(LARGE);
            if scratch.len() < room {
                scratch.resize(room, 0);
            }
            let scratch = scratch.get_mut(..room).unwrap_or_default();
            let count = socket.read(scratch)?;
            buffer.extend_from_slice(scratch.get(..count).unwrap_or_default());
            Ok(count)
        })
    }

    fn poll_write_vectored(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let socket = &mut self.socket;
        attempt(&self.readiness.writable, || match slices {
            [one] => socket.write(one),
            _ => socket.write_vectored(slices),
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.end())
    }
}
