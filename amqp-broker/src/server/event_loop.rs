//! The thread of a broker: it accepts, reads, has the core do its work, and writes.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::connection::{Connection, Progress};
use super::listener::Listener;
use super::shared::Shared;
use super::transport::Transport;
use crate::core::SessionId;

const WAKER: Token = Token(0);
const FIRST: usize = 1;

/// The most that is read at once, in bytes. All connections share the room for it, so that an idle one has none.
const READ_SIZE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct EventLoop {
    poll: Poll,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
    listeners: BTreeMap<usize, Listener>,
    connections: BTreeMap<usize, Connection>,
    by_session: BTreeMap<SessionId, usize>,
    next: usize,
    scratch: Vec<u8>,
    /// Connections that may have more to be read.
    eager: Vec<usize>,
}

impl EventLoop {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            waker,
            shared,
            listeners: BTreeMap::new(),
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
        while !self.shared.is_stopping() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Without events there is nothing that could be done.
                Err(_) => return,
            }
            self.look_after_listeners();
            for event in &events {
                let Token(token) = event.token();
                if self.listeners.contains_key(&token) {
                    self.accept(token);
                } else if let Some(connection) = self.connections.get_mut(&token) {
                    connection.note(event);
                    self.eager.push(token);
                }
            }
            self.turn();
            self.shared.note_change();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.eager.is_empty() {
            return Some(Duration::ZERO);
        }
        let core = self.shared.core().poll_timeout();
        let ending = self.connections.values().filter_map(Connection::ending).min();
        let next = [core, ending].into_iter().flatten().min()?;
        // The poller counts in milliseconds, and cuts.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Takes on those that are new, or lets all of them go.
    fn look_after_listeners(&mut self) {
        for mut listener in self.shared.take_listeners() {
            let token = self.next;
            self.next += 1;
            // One that cannot be registered hears nobody: there is nothing better to be done.
            if listener.register(self.poll.registry(), Token(token)).is_ok() {
                self.listeners.insert(token, listener);
            }
        }
        if self.shared.is_closing() {
            self.listeners.clear();
        }
    }

    fn accept(&mut self, token: usize) {
        while let Some((stream, peer)) = self.listeners.get(&token).and_then(Listener::accept) {
            let transport = self.listeners.get(&token).map(|listener| listener.transport(stream));
            if let Some(Ok(transport)) = transport {
                self.welcome(transport, peer.port());
            }
        }
    }

    fn welcome(&mut self, mut transport: Transport, peer_port: u16) {
        let token = self.next;
        self.next += 1;
        let stream: &mut TcpStream = transport.socket();
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(stream, Token(token), interest).is_err() {
            return;
        }
        let mut core = self.shared.core();
        let session = core.connect(Instant::now(), peer_port);
        if transport.is_secure() {
            core.note_tls(session);
        }
        drop(core);
        self.by_session.insert(session, token);
        self.connections.insert(token, Connection::new(transport, session));
        self.eager.push(token);
    }

    /// Reads what can be read, does what is due, and writes what came of it.
    fn turn(&mut self) {
        let now = Instant::now();
        {
            let mut core = self.shared.core();
            if core.poll_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now);
            }
        }
        let mut eager = std::mem::take(&mut self.eager);
        eager.sort_unstable();
        eager.dedup();
        for token in eager {
            if let Some(connection) = self.connections.get_mut(&token) {
                match connection.read(&self.shared, &mut self.scratch) {
                    Progress::Waits => {}
                    Progress::More => self.eager.push(token),
                    Progress::Ended => self.hang_up(token),
                    Progress::Broken => self.give_up(token),
                }
            }
            self.write(token);
        }
        loop {
            let woken = self.shared.core().poll_woken();
            let Some(session) = woken else { break };
            if let Some(&token) = self.by_session.get(&session) {
                self.look_after(token);
            }
        }
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, it)| it.ending().is_some_and(|end| end <= now))
            .map(|(token, _)| *token)
            .collect();
        late.into_iter().for_each(|token| self.hang_up(token));
    }

    /// The core says that there is something about this connection.
    fn look_after(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let session = connection.session();
        let (is_cut, wants_read) = {
            let core = self.shared.core();
            (core.is_cut(session), core.wants_read(session))
        };
        if is_cut {
            return self.hang_up(token);
        }
        if wants_read && connection.go_on(&self.shared) {
            self.eager.push(token);
        }
        self.write(token);
    }

    fn write(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.ending().is_some() {
            return;
        }
        match connection.write(&self.shared) {
            Err(_) => self.hang_up(token),
            Ok(has_written_all) => {
                if has_written_all && self.shared.core().is_over(connection.session()) {
                    connection.end();
                    self.eager.push(token);
                }
            }
        }
    }

    /// What comes on this connection is not TLS, or does not satisfy it: the client may read the alert.
    fn give_up(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        self.by_session.remove(&connection.session());
        self.shared.core().handle_eof(Instant::now(), connection.session());
        connection.end();
        self.eager.push(token);
    }

    fn hang_up(&mut self, token: usize) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        self.by_session.remove(&connection.session());
        let _ = self.poll.registry().deregister(connection.socket());
        self.shared.core().handle_eof(Instant::now(), connection.session());
    }
}
