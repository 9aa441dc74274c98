//! The stream of TLS.
//!
//! rustls works on our two buffers. What comes is decrypted where it was read, all whole records of it at once; a partial
//! record stays. What goes is encrypted in large portions, each of which leaves by one system call if the socket lets it:
//! as long as something of a portion is left, no more is taken. The handshake is nothing special: whoever reads drives
//! it, and a write waits until it is over.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker, ready};

use amqp_proto::error::{Error, TlsFailure};
use bytes::{Buf, BytesMut};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};

use super::super::Io;
use super::{failed, failure};

/// The most plaintext in one record (RFC 8446 §5.1), and more than encryption adds to it.
const RECORD: usize = 16 * 1024;
const RECORD_OVERHEAD: usize = 64;

/// How much plaintext is encrypted at once.
const PORTION: usize = 4 * RECORD;

/// The least that is read at once.
const LEAST_READ: usize = 4 * 1024;

/// A buffer that is larger is given back when it is empty: idle connections are many.
const KEPT: usize = RECORD;

/// TLS over another stream.
pub(super) struct Stream {
    io: Box<dyn Io>,
    session: UnbufferedClientConnection,
    /// Encrypted bytes that were read: a partial record, except while they are looked at.
    incoming: BytesMut,
    /// Encrypted bytes to be written, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Where small pieces become a record.
    scratch: Vec<u8>,
    phase: Phase,
    /// The peer has said that nothing follows.
    peer_closed: bool,
    failure: Option<Error>,
    /// A write that waits for the end of the handshake.
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// Our end was said, and may not have been sent.
    Closing,
    /// Nothing goes out any more.
    Closed,
}

impl Stream {
    pub(super) fn new(io: Box<dyn Io>, session: UnbufferedClientConnection) -> Self {
        Self {
            io,
            session,
            incoming: BytesMut::new(),
            outgoing: Vec::new(),
            sent: 0,
            scratch: Vec::new(),
            phase: Phase::Handshake,
            peer_closed: false,
            failure: None,
            writer: None,
        }
    }

    /// Goes through what was read, and through the handshake: plaintext is put into `plaintext`, answers into `outgoing`.
    fn process(&mut self, plaintext: &mut BytesMut) {
        loop {
            let UnbufferedStatus { mut discard, state, .. } = self.session.process_tls_records(&mut self.incoming);
            let mut more = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(Ok(record)) = records.next_record() {
                        plaintext.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, 0, |room| Ok(data.encode(room)?));
                }
                // It stands in `outgoing`, in its place; when it leaves is no business of the handshake.
                Ok(ConnectionState::TransmitTlsData(transmitted)) => transmitted.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    more = false;
                    self.phase = if self.phase == Phase::Handshake { Phase::Open } else { self.phase };
                    self.writer.take().into_iter().for_each(Waker::wake);
                }
                Ok(_) => more = false,
                Err(error) => {
                    self.incoming.advance(discard);
                    return self.fail(&error);
                }
            }
            self.incoming.advance(discard);
            if !more {
                return;
            }
        }
    }

    /// It goes no further. If the peer is to be told, by an alert, that comes before anything is read again.
    #[cold]
    fn fail(&mut self, error: &rustls::Error) {
        self.failure = Some(failure::of(error, self.phase == Phase::Handshake));
        let status = self.session.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::EncodeTlsData(mut alert)) = status.state {
            append(&mut self.outgoing, RECORD_OVERHEAD, |room| Ok(alert.encode(room)?));
        }
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Reads from below. `false`: that has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<bool>> {
        self.incoming.reserve(room.max(LEAST_READ));
        let polled = self.io.poll_read(cx, &mut self.incoming);
        if polled.is_pending() && self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        polled.map_ok(|count| count > 0)
    }

    /// Writes what is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(self.io.poll_write_vectored(cx, &[IoSlice::new(rest)])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.sent = 0;
        if self.outgoing.capacity() > KEPT {
            self.outgoing = Vec::new();
        }
        self.outgoing.clear();
        Poll::Ready(Ok(()))
    }

    /// Encrypts a portion from the start of these slices, and says how much it was.
    fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self { session, incoming, outgoing, scratch, .. } = self;
        // Whole records were taken out when they were read, so there is nothing to come before this.
        let status = session.process_tls_records(incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return Err(io::Error::other(failed(TlsFailure::Protocol, "the session does not take data any more")));
        };
        let mut slices = slices.iter().map(|slice| &**slice);
        let mut head = slices.next().unwrap_or_default();
        let mut taken = 0;
        while taken < PORTION && !head.is_empty() {
            let is_last = slices.len() == 0;
            if is_last || head.len() >= RECORD {
                let most = head.len().min(PORTION - taken);
                // What does not fill a record goes together with what follows.
                let count = if is_last { most } else { most - most % RECORD };
                let (piece, rest) = head.split_at(count);
                encrypt_piece(&mut traffic, piece, outgoing)?;
                taken += count;
                head = rest;
            } else {
                scratch.clear();
                while scratch.len() < RECORD && !head.is_empty() {
                    let (piece, rest) = head.split_at(head.len().min(RECORD - scratch.len()));
                    scratch.extend_from_slice(piece);
                    head = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
                }
                encrypt_piece(&mut traffic, scratch, outgoing)?;
                taken += scratch.len();
            }
            if head.is_empty() {
                head = slices.next().unwrap_or_default();
            }
        }
        Ok(taken)
    }

    fn check(&self) -> io::Result<()> {
        match &self.failure {
            Some(error) => Err(io::Error::other(error.clone())),
            None => Ok(()),
        }
    }
}

impl Io for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let (before, room) = (buffer.len(), buffer.capacity() - buffer.len());
        loop {
            if self.failure.is_none() && !self.peer_closed {
                self.process(buffer);
            }
            // An answer of the handshake, or an alert. If it cannot be sent, reading tells why: the peer may have.
            if self.phase != Phase::Closed {
                let _ = self.poll_send(cx);
            }
            if buffer.len() > before {
                return Poll::Ready(Ok(buffer.len() - before));
            }
            self.check()?;
            if self.peer_closed {
                return Poll::Ready(Ok(0));
            }
            if !ready!(self.poll_receive(cx, room))? {
                let text = match self.phase {
                    Phase::Handshake => "the peer closed the socket in the handshake of TLS",
                    _ => "the peer closed the socket without an end of TLS",
                };
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.phase == Phase::Handshake {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ready!(self.poll_send(cx))?;
        let taken = self.encrypt(slices)?;
        // What the socket does not take now leaves before the next write, or by a flush.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.io.poll_flush(cx)
    }

    fn is_setting_up(&self) -> bool {
        self.phase == Phase::Handshake
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Open
            && self.failure.is_none()
            && let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                self.session.process_tls_records(&mut self.incoming).state
        {
            append(&mut self.outgoing, RECORD_OVERHEAD, |room| Ok(traffic.queue_close_notify(room)?));
        }
        if self.phase != Phase::Closed {
            self.phase = Phase::Closing;
            ready!(self.poll_send(cx))?;
            ready!(self.io.poll_flush(cx))?;
            self.phase = Phase::Closed;
        }
        self.io.poll_shutdown(cx)
    }
}

fn encrypt_piece(
    traffic: &mut WriteTraffic<'_, ClientConnectionData>,
    piece: &[u8],
    outgoing: &mut Vec<u8>,
) -> io::Result<()> {
    let expected = piece.len() + (piece.len() / RECORD + 1) * RECORD_OVERHEAD;
    if append(outgoing, expected, |room| Ok(traffic.encrypt(piece, room)?)) {
        return Ok(());
    }
    // TLS 1.2 has no way of renewing them. A new connection helps.
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the keys of TLS have encrypted as much as they may"))
}

/// Why rustls has put nothing into the room that it was given.
enum NotEncoded {
    TooSmall(InsufficientSizeError),
    /// It will not.
    Never,
}

impl From<EncodeError> for NotEncoded {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::TooSmall(size),
            EncodeError::AlreadyEncoded => Self::Never,
        }
    }
}

impl From<EncryptError> for NotEncoded {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::TooSmall(size),
            EncryptError::EncryptExhausted => Self::Never,
        }
    }
}

/// Has something put at the end of `outgoing`, in as much room as is expected to do or is asked for then. `false`: there
/// was nothing to be had.
fn append(
    outgoing: &mut Vec<u8>,
    expected: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, NotEncoded>,
) -> bool {
    let start = outgoing.len();
    let mut room = expected;
    loop {
        outgoing.resize(start + room, 0);
        match encode(outgoing.get_mut(start..).unwrap_or_default()) {
            Ok(count) => {
                outgoing.truncate(start + count);
                return true;
            }
            Err(NotEncoded::TooSmall(InsufficientSizeError { required_size })) if required_size > room => {
                room = required_size;
            }
            Err(_) => {
                outgoing.truncate(start);
                return false;
            }
        }
    }
}
