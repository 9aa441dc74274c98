//! Bodies by the traits of the standard library: a [`BodyWriter`] is written, a delivery that comes in is read.

use std::io;

use amqp_api::{Error, ErrorKind};

use crate::handles::{BodyStream, BodyWriter, StreamedDelivery};

/// Nothing is to be flushed. The [`Error`] is inside of the [`io::Error`].
impl io::Write for BodyWriter {
    /// Takes all of `part`, or fails: with `WriteZero` if it is longer than what is missing.
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let mut rest = part;
        match BodyWriter::write(self, &mut rest) {
            Ok(()) => Ok(part.len()),
            // What was taken comes first; the error comes again.
            Err(_) if rest.len() < part.len() => Ok(part.len() - rest.len()),
            Err(error) => Err(into_io(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that ends is whole. The [`Error`] is inside of the [`io::Error`].
impl io::Read for StreamedDelivery {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        StreamedDelivery::read(self, buffer).map_err(into_io)
    }
}

/// A body that ends is whole. The [`Error`] is inside of the [`io::Error`].
impl io::Read for BodyStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        BodyStream::read(self, buffer).map_err(into_io)
    }
}

/// An error as one of the standard library's traits; the error itself is inside.
fn into_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::BodySize { .. } => io::ErrorKind::WriteZero,
        ErrorKind::Timeout { .. } => io::ErrorKind::TimedOut,
        ErrorKind::ConnectionLost { kind, .. } => *kind,
        ErrorKind::ChannelNotOpen | ErrorKind::ConnectionNotOpen => io::ErrorKind::NotConnected,
        ErrorKind::ChannelClosed(_) | ErrorKind::ConnectionClosed(_) => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
