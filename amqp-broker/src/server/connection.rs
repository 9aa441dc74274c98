//! One client's connection: its socket, what was read and not yet carried out, and what is still to be written.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::event::Event;
use mio::net::TcpStream;

use super::shared::Shared;
use super::transport::Transport;
use crate::core::SessionId;

/// What one connection may read before others get their turn, in bytes.
const READ_BUDGET: usize = 256 << 10;
/// Output that was larger than this leaves no empty buffer behind, in bytes.
const KEEP: usize = 4 << 10;
/// How long a connection that is over may take to be closed by the client.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    session: SessionId,
    /// The core knows whom the client's certificate names.
    #[cfg(feature = "tls")]
    is_introduced: bool,
    input: BytesMut,
    output: Vec<u8>,
    written: usize,
    readable: bool,
    /// The client has sent its last byte: read until there is nothing.
    read_closed: bool,
    writable: bool,
    /// The session is over: until when the client may hang up by itself.
    ending: Option<Instant>,
}

/// How far reading came.
pub(super) enum Progress {
    /// There is nothing more, or nothing more is wanted.
    Waits,
    /// There may be more.
    More,
    /// The client has hung up.
    Ended,
    /// What comes cannot be read, and the client was told.
    Broken,
}

impl Connection {
    pub(super) fn new(transport: Transport, session: SessionId) -> Self {
        Self {
            transport,
            session,
            #[cfg(feature = "tls")]
            is_introduced: false,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            readable: true,
            read_closed: false,
            writable: true,
            ending: None,
        }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        self.transport.socket()
    }

    pub(super) fn ending(&self) -> Option<Instant> {
        self.ending
    }

    /// Notes what the poller says of its socket.
    pub(super) fn note(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        // TLS may have had to write before it could read on.
        self.readable |= event.is_readable() || self.read_closed || self.transport.is_secure();
        self.writable |= event.is_writable();
    }

    /// Reads as long as there is something, and the session wants it.
    pub(super) fn read(&mut self, shared: &Shared, scratch: &mut [u8]) -> Progress {
        let mut budget = READ_BUDGET;
        while self.readable {
            if self.ending.is_some() {
                return self.drain();
            }
            if !shared.core().wants_read(self.session) {
                return Progress::Waits;
            }
            if budget == 0 {
                return Progress::More;
            }
            match self.transport.read(scratch) {
                Ok(0) => return Progress::Ended,
                Ok(count) => {
                    #[cfg(feature = "tls")]
                    self.introduce(shared);
                    budget = budget.saturating_sub(count);
                    // Less than there was room for: the socket is empty. Of TLS that is not known.
                    self.readable = count == scratch.len() || self.read_closed || self.transport.is_secure();
                    self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    shared.core().handle_input(Instant::now(), self.session, &mut self.input);
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => return Progress::Broken,
                Err(_) => return Progress::Ended,
            }
        }
        Progress::Waits
    }

    /// Says whom the client's certificate names: the handshake of TLS is over.
    #[cfg(feature = "tls")]
    fn introduce(&mut self, shared: &Shared) {
        if std::mem::replace(&mut self.is_introduced, true) {
            return;
        }
        let certificate = self.transport.client_certificate();
        if let Some(user) = certificate.and_then(|it| super::certificate::user(it, shared.login_from())) {
            shared.core().note_certificate(self.session, &user);
        }
    }

    /// What waits in the buffer may go on now; `true` if there is more to be read.
    pub(super) fn go_on(&mut self, shared: &Shared) -> bool {
        shared.core().handle_input(Instant::now(), self.session, &mut self.input);
        self.readable
    }

    /// Reads and forgets, until the client hangs up: a socket that is closed with unread input would reset, and the client
    /// might miss what was written.
    fn drain(&mut self) -> Progress {
        let mut sink = [0; 4096];
        loop {
            match self.transport.socket().read(&mut sink) {
                Ok(0) => return Progress::Ended,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Progress::Waits;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Ended,
            }
        }
    }

    /// Writes what there is, and says whether that was all.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(super) fn write(&mut self, shared: &Shared) -> io::Result<bool> {
        loop {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                if self.output.capacity() > KEEP {
                    self.output = Vec::new();
                }
                shared.core().take_outbound(Instant::now(), self.session, &mut self.output);
            }
            if !self.writable {
                return Ok(false);
            }
            let done = match self.output.get(self.written..) {
                None | Some([]) => match self.transport.flush() {
                    Ok(()) => return Ok(true),
                    Err(error) => Err(error),
                },
                Some(rest) => self.transport.write(rest),
            };
            match done {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The session is over: the client sees all that was written, and then the end.
    pub(super) fn end(&mut self) {
        self.transport.finish();
        self.ending = Some(Instant::now() + LINGER);
        self.readable = true;
    }
}
