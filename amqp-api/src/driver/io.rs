//! The transport below a connection.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;

/// A byte stream to a broker, connected, and encrypted if it is to be.
///
/// As with any future, whoever answers `Pending` has to wake the task of the last call of that method. A call may be
/// repeated, or not, after `Pending`; nothing may be lost by that.
pub trait Io: Send + 'static {
    /// Appends what there is to `buffer`, which has spare capacity, and says how many bytes that were; 0 is the end of
    /// the stream. It should fill no more than the spare capacity.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes the start of these slices, which are not empty, and says how many bytes it took.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Sends what a layer in between holds back. A plain socket holds back nothing.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Whether a layer in between is still being set up, so that nobody behind it can have answered. A plain socket has none.
    fn is_setting_up(&self) -> bool {
        false
    }

    /// Ends the writing side.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
