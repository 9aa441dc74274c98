//! The broker itself, without I/O: bytes in, bytes out, and time from outside.
//!
//! [`Core`] owns everything: virtual hosts with their exchanges, all queues, all sessions with their channels. A session is
//! one client's connection. What comes in on it is cut into frames (`session`), put together to methods and messages
//! (`session::frames`), and carried out by the file of its class (`methods`). What that means for other sessions, deliveries
//! above all, is put to their channels as late events (`late`) and written at the end of the call, so that RabbitMQ's order of
//! replies comes about: a queue's words (`consume-ok`, deliveries, confirms) come after the channel's own.
//!
//! Nothing here panics on any input, reads a clock, or walks a hash map.

pub(crate) mod access;
mod ack_timeout;
pub(crate) mod alarm;
mod dead_letter;
mod death;
mod deliver;
mod erlang;
mod exchange;
mod faults;
mod late;
pub(crate) mod listing;
mod log;
mod message;
mod methods;
mod name;
mod operate;
mod publish;
mod queue;
pub(crate) mod record;
mod refusal;
mod reply;
mod route;
mod session;
mod settle;
mod timers;
mod vhost;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use amqp_proto::wire::Block;
use bytes::BytesMut;

use crate::{Emulate, Limits, Mechanism};
use access::Users;
use alarm::Alarms;
use faults::Faults;
pub use faults::{On, Reaction, Rule, Seen};
use name::Name;
pub use operate::NotThere;
use queue::{Dead, Queue, QueueId};
use session::Session;
use timers::{Timer, Timers};
use vhost::Vhost;

/// Microseconds since the broker's start.
type Micros = u64;

/// Names a session: a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// The broker without I/O.
///
/// In the order in which a driver calls:
///
/// 1. [`connect`](Self::connect) for a connection that was accepted.
/// 2. [`handle_input`](Self::handle_input) with what was read, as long as it [`wants_read`](Self::wants_read);
///    [`handle_eof`](Self::handle_eof) when there is no more; [`handle_timeout`](Self::handle_timeout) when the time of
///    [`poll_timeout`](Self::poll_timeout) has come.
/// 3. After each of these, [`poll_woken`](Self::poll_woken) until it is `None`: a session that it names has output to be
///    taken by [`take_outbound`](Self::take_outbound), wants to read again (call `handle_input` with what is in the buffer,
///    though nothing new was read), or [`is_over`](Self::is_over): write what is left, and hang up.
#[derive(Debug)]
pub struct Core {
    version: Emulate,
    limits: Limits,
    start: Instant,
    /// Since 1970, at the start.
    unix_start: Duration,
    now: Micros,
    random: Random,
    mechanisms: Vec<Mechanism>,
    users: Users,
    vhosts: BTreeMap<Name, Vhost>,
    queues: BTreeMap<QueueId, Queue>,
    sessions: BTreeMap<SessionId, Session>,
    /// Where direct replies go.
    reply_queues: BTreeMap<Name, (SessionId, u16)>,
    alarms: Alarms,
    faults: Faults,
    timers: Timers,
    log: log::Log,
    record: record::Record,
    /// Messages on their way out of queues.
    dead: Vec<Dead>,
    /// Channels that have late events.
    dirty: Vec<(SessionId, u16)>,
    woken: VecDeque<SessionId>,
    last_id: u64,
    /// Counts calls: what streams take in one of them is a chunk.
    turn: u64,
}

impl Core {
    /// A broker with the virtual host `/`, the user `guest` with the password `guest`, and nothing else. `unix_time` is the
    /// time of day at `now`, since 1970. The seed makes the names that the broker gives.
    #[must_use]
    pub fn new(version: Emulate, limits: Limits, now: Instant, unix_time: Duration, seed: u64) -> Self {
        let mut core = Self {
            version,
            limits,
            start: now,
            unix_start: unix_time,
            now: 0,
            random: Random(seed),
            mechanisms: Mechanism::of(version).to_vec(),
            users: Users::default(),
            vhosts: BTreeMap::new(),
            queues: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reply_queues: BTreeMap::new(),
            alarms: Alarms::default(),
            faults: Faults::default(),
            timers: Timers::default(),
            log: log::Log::default(),
            record: record::Record::default(),
            dead: Vec::new(),
            dirty: Vec::new(),
            woken: VecDeque::new(),
            last_id: 0,
            turn: 0,
        };
        core.vhosts.insert(Name::from("/"), Vhost::new());
        core.users.add("guest", "guest");
        core.users.allow_all("guest", "/");
        core
    }

    /// A client has connected from this port.
    pub fn connect(&mut self, now: Instant, peer_port: u16) -> SessionId {
        self.begin(now);
        let id = SessionId(self.next_id());
        let session = Session::new(peer_port, self.now);
        self.timers.arm(Timer::Session(id), session.deadline());
        self.sessions.insert(id, session);
        id
    }

    /// The session's connection is one over TLS.
    pub(crate) fn note_tls(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.tls = true;
        }
    }

    /// The client of the session has shown a certificate, which names this user.
    #[cfg(feature = "tls")]
    pub(crate) fn note_certificate(&mut self, session: SessionId, user: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.certified = Some(Name::from(user));
        }
    }

    /// Takes whole frames from `input`, and carries them out. A partial one stays in it, and so does everything while
    /// the session does not [want to read](Self::wants_read).
    pub fn handle_input(&mut self, now: Instant, session: SessionId, input: &mut BytesMut) {
        self.begin(now);
        self.note_input(session, input.len());
        self.read(session, input);
        self.note_input(session, input.len());
        self.finish();
    }

    fn note_input(&mut self, session: SessionId, bytes: usize) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&session) {
            session.note_input(now, bytes);
        }
    }

    /// Carries out whole frames. [`handle_input`](Self::handle_input) does this and the deframing.
    pub fn handle_block(&mut self, now: Instant, session: SessionId, block: &Block) {
        self.begin(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.last_read = self.now;
        }
        self.carry_out(session, block, 0);
        self.finish();
    }

    /// The client has hung up, or the connection broke: the session is over, and forgotten.
    pub fn handle_eof(&mut self, now: Instant, session: SessionId) {
        self.begin(now);
        if self.sessions.get(&session).is_some_and(Session::is_lost) {
            self.log(session, "warning", "client unexpectedly closed TCP connection: closing AMQP connection");
        }
        self.release_session(session);
        self.sessions.remove(&session);
        self.timers.arm(Timer::Session(session), None);
        self.timers.arm(Timer::Answer(session), None);
        self.finish();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Session(id) => self.session_timeout(id),
                Timer::Queue(id) => self.queue_timeout(id),
                Timer::Answer(id) => self.wake(id),
                Timer::Ack(session, channel) => self.look_for_overdue_acks(session, channel),
                Timer::Confirm(session, channel, sequence) => self.confirm_late(session, channel, sequence),
            }
        }
        self.finish();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|at| self.start + Duration::from_micros(at))
    }

    /// Appends what is to be written.
    pub fn take_outbound(&mut self, now: Instant, session: SessionId, out: &mut Vec<u8>) {
        self.begin(now);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.take_outbound(self.now, out);
        }
        self.uncongest(session);
        self.finish();
    }

    /// Whether input is wanted: a broker in alarm does not read from those who publish.
    #[must_use]
    pub fn wants_read(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(Session::wants_read)
    }

    /// Whether the connection is to be closed as soon as its output is written; nothing is read any more.
    #[must_use]
    pub fn is_over(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_none_or(Session::is_over)
    }

    /// Whether the connection is to be dropped at once, whatever is left to be written.
    #[must_use]
    pub fn is_cut(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(Session::is_cut)
    }

    /// Whether nothing is to be written for now, by a fault that somebody asked for.
    #[must_use]
    pub fn is_stalled(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(Session::is_stalled)
    }

    /// A session to look after; see [`Core`].
    pub fn poll_woken(&mut self) -> Option<SessionId> {
        loop {
            let id = self.woken.pop_front()?;
            if let Some(session) = self.sessions.get_mut(&id) {
                session.woken = false;
                return Some(id);
            }
        }
    }

    /// Starts a call.
    pub(crate) fn begin(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.start).as_micros();
        self.now = self.now.max(u64::try_from(micros).unwrap_or(Micros::MAX));
        self.turn += 1;
    }

    /// Ends a call: what it has caused elsewhere is written.
    pub(crate) fn finish(&mut self) {
        self.bury();
        self.flush();
    }

    /// A session is to be looked after.
    fn wake(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut session.woken, true)
        {
            self.woken.push_back(id);
        }
    }

    /// Milliseconds since 1970.
    fn unix_millis(&self) -> u64 {
        let passed = self.unix_start + Duration::from_micros(self.now);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A name that nobody guesses, such as `amq.gen-6Yb…`.
    fn generate_name(&mut self, prefix: &str) -> Name {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |number: u64, at: u32| char::from(LETTERS[(number >> (6 * at) & 63) as usize]);
        let mut name = format!("{prefix}-");
        for _ in 0..2 {
            let number = self.random.next();
            name.extend((0..10).map(|at| letter(number, at)));
        }
        let number = self.random.next();
        name.extend((0..2).map(|at| letter(number, at)));
        Name::from(name)
    }
}

/// A generator of numbers (splitmix64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
