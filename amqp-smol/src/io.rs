//! A stream of the futures traits as a transport.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use amqp_api::driver::Io;
use async_io::Async;
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

/// The most that is read at once. A read is asked for more only while a larger frame is on its way.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// What reads go through: `AsyncRead` takes initialised memory only, and to zero the spare room of the driver's
    /// buffer before each read would cost its whole size, however little comes. This is zeroed once, and a read costs a
    /// copy of what came. One per thread, not per connection: ten thousand idle connections hold nothing here.
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Any stream of the futures traits.
pub(crate) struct Stream<S> {
    stream: S,
    shut_down: fn(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<()>>,
}

impl<S: AsyncWrite> Stream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, shut_down: S::poll_close }
    }
}

impl Stream<Async<TcpStream>> {
    /// Closing an `Async` does nothing to its socket, so that is shut down here.
    pub(crate) fn tcp(stream: Async<TcpStream>) -> Self {
        Self { stream, shut_down: |stream, _| Poll::Ready(stream.get_ref().shutdown(Shutdown::Write)) }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = (buffer.capacity() - buffer.len()).min(SCRATCH);
        // Taken, not borrowed: a stream may be another connection's, and read through this in its turn.
        let mut scratch = READ.take();
        if scratch.is_empty() {
            scratch = vec![0; SCRATCH];
        }
        let polled = match scratch.get_mut(..room) {
            Some(spare) => Pin::new(&mut self.stream).poll_read(cx, spare),
            None => Poll::Ready(Ok(0)),
        };
        if let Poll::Ready(Ok(count)) = polled {
            buffer.extend_from_slice(scratch.get(..count).unwrap_or_default());
        }
        READ.set(scratch);
        polled
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        (self.shut_down)(Pin::new(&mut self.stream), cx)
    }
}
