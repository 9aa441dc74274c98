//! The thread of a broker: it accepts, reads, has the core do its work, and writes.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::core::{Core, SessionId};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST: usize = 2;

/// What one connection may read before others get their turn, in bytes.
const READ_BUDGET: usize = 256 << 10;
/// The most that is read at once, in bytes. All connections share the room for it, so that an idle one has none.
const READ_SIZE: usize = 64 << 10;
/// Output that was larger than this leaves no empty buffer behind, in bytes.
const KEEP: usize = 4 << 10;
/// How long a connection that is over may take to be written, and to be closed by the client.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    session: SessionId,
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

#[derive(Debug)]
pub(super) struct EventLoop {
    poll: Poll,
    waker: Arc<Waker>,
    listener: TcpListener,
    core: Arc<Mutex<Core>>,
    stopping: Arc<AtomicBool>,
    connections: BTreeMap<usize, Connection>,
    by_session: BTreeMap<SessionId, usize>,
    next: usize,
    scratch: Vec<u8>,
    /// Connections that may have more to be read.
    eager: Vec<usize>,
}

impl EventLoop {
    pub(super) fn new(
        listener: std::net::TcpListener,
        core: Arc<Mutex<Core>>,
        stopping: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            waker,
            listener,
            core,
            stopping,
            connections: BTreeMap::new(),
            by_session: BTreeMap::new(),
            next: FIRST,
            scratch: vec![0; READ_SIZE],
            eager: Vec::new(),
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Runs until the broker is dropped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.stopping.load(Ordering::Acquire) {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Without events there is nothing that could be done.
                Err(_) => return,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(token) => {
                        if let Some(connection) = self.connections.get_mut(&token) {
                            connection.read_closed |= event.is_read_closed() || event.is_error();
                            connection.readable |= event.is_readable() || connection.read_closed;
                            connection.writable |= event.is_writable();
                            self.eager.push(token);
                        }
                    }
                }
            }
            self.turn();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.eager.is_empty() {
            return Some(Duration::ZERO);
        }
        let core = lock(&self.core).poll_timeout();
        let ending = self.connections.values().filter_map(|connection| connection.ending).min();
        let next = [core, ending].into_iter().flatten().min()?;
        // The poller counts in milliseconds, and cuts.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn accept(&mut self) {
        // An error is one client's, or passes: the listener stays.
        while let Ok((mut stream, peer)) = self.listener.accept() {
            let token = self.next;
            self.next += 1;
            let _ = stream.set_nodelay(true);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(token), interest).is_err() {
                continue;
            }
            let session = lock(&self.core).connect(Instant::now(), peer.port());
            self.by_session.insert(session, token);
            let connection = Connection {
                stream,
                session,
                input: BytesMut::new(),
                output: Vec::new(),
                written: 0,
                readable: true,
                read_closed: false,
                writable: true,
                ending: None,
            };
            self.connections.insert(token, connection);
            self.eager.push(token);
        }
    }

    /// Reads what can be read, does what is due, and writes what came of it.
    fn turn(&mut self) {
        let now = Instant::now();
        {
            let mut core = lock(&self.core);
            if core.poll_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now);
            }
        }
        let mut eager = std::mem::take(&mut self.eager);
        eager.sort_unstable();
        eager.dedup();
        for token in eager {
            if let Some(connection) = self.connections.get_mut(&token) {
                match connection.read(&self.core, &mut self.scratch) {
                    Progress::Waits => {}
                    Progress::More => self.eager.push(token),
                    Progress::Ended => self.hang_up(token),
                }
            }
            self.write(token);
        }
        loop {
            let woken = lock(&self.core).poll_woken();
            let Some(session) = woken else { break };
            if let Some(&token) = self.by_session.get(&session) {
                self.look_after(token);
            }
        }
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, it)| it.ending.is_some_and(|end| end <= now))
            .map(|(token, _)| *token)
            .collect();
        late.into_iter().for_each(|token| self.hang_up(token));
    }

    /// The core says that there is something about this connection.
    fn look_after(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let (is_cut, wants_read) = {
            let core = lock(&self.core);
            (core.is_cut(connection.session), core.wants_read(connection.session))
        };
        if is_cut {
            return self.hang_up(token);
        }
        if wants_read {
            // What waits in the buffer may go on now.
            lock(&self.core).handle_input(Instant::now(), connection.session, &mut connection.input);
            if connection.readable {
                self.eager.push(token);
            }
        }
        self.write(token);
    }

    fn write(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !connection.write(&self.core) {
            return self.hang_up(token);
        }
        let is_over = lock(&self.core).is_over(connection.session);
        if is_over && connection.written == connection.output.len() && connection.ending.is_none() {
            // The client sees all that was written, and then the end.
            let _ = connection.stream.shutdown(Shutdown::Write);
            connection.ending = Some(Instant::now() + LINGER);
            connection.readable = true;
            self.eager.push(token);
        }
    }

    fn hang_up(&mut self, token: usize) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        self.by_session.remove(&connection.session);
        let _ = self.poll.registry().deregister(&mut connection.stream);
        lock(&self.core).handle_eof(Instant::now(), connection.session);
    }
}

/// How far reading came.
enum Progress {
    /// There is nothing more, or nothing more is wanted.
    Waits,
    /// There may be more.
    More,
    /// The client has hung up.
    Ended,
}

impl Connection {
    fn read(&mut self, core: &Mutex<Core>, scratch: &mut [u8]) -> Progress {
        let mut budget = READ_BUDGET;
        while self.readable {
            if self.ending.is_some() {
                return self.drain();
            }
            if !lock(core).wants_read(self.session) {
                return Progress::Waits;
            }
            if budget == 0 {
                return Progress::More;
            }
            match self.stream.read(scratch) {
                Ok(0) => return Progress::Ended,
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    // Less than there was room for: the socket is empty.
                    self.readable = count == scratch.len() || self.read_closed;
                    self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    lock(core).handle_input(Instant::now(), self.session, &mut self.input);
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Ended,
            }
        }
        Progress::Waits
    }

    /// Reads and forgets, until the client hangs up: a socket that is closed with unread input would reset, and the client
    /// might miss what was written.
    fn drain(&mut self) -> Progress {
        let mut sink = [0; 4096];
        loop {
            match self.stream.read(&mut sink) {
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

    /// Writes what there is; `false` if the connection is broken.
    fn write(&mut self, core: &Mutex<Core>) -> bool {
        loop {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                if self.output.capacity() > KEEP {
                    self.output = Vec::new();
                }
                lock(core).take_outbound(Instant::now(), self.session, &mut self.output);
                if self.output.is_empty() {
                    return true;
                }
            }
            if !self.writable {
                return true;
            }
            match self.stream.write(self.output.get(self.written..).unwrap_or_default()) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}
