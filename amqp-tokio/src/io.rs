//! A tokio stream as a transport.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use amqp_api::driver::Io;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Any stream of tokio's.
pub(crate) struct Stream<S>(S);

impl<S> Stream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        // A future of one poll: it holds nothing of its own, and reads into the buffer's spare room without zeroing it.
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [one] => Pin::new(&mut self.0).poll_write(cx, one),
            _ => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
