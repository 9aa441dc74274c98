//! The client's connection as a state machine: bytes in, bytes out, no I/O.
//!
//! [`Connection`] is the thing to drive, and its documentation is the manual. Its parts, from the wire up:
//!
//! | file | job |
//! |---|---|
//! | `inbound` | frames to the handler that they are for |
//! | `handshake` | protocol header to open-ok, tuning, and the other methods of channel 0 |
//! | `content` | messages that come in: put together, held, read |
//! | `deliver` | complete messages to the consumer, caller or publish that they are for |
//! | `streamed` | deliveries that are handed out before their bodies are complete |
//! | `replies` | replies to their requests; what becomes of a reply that nobody waits for |
//! | `requests`, `consume` | what the application asks of a channel; of its consumers |
//! | `prefetch`, `batch` | another prefetch for a running consumer; many deliveries at a time |
//! | `publish`, `backlog` | messages that go out; bodies that leave in parts |
//! | `room` | room to publish, and those who wait for it |
//! | `acks`, `settle` | acks, nacks, rejects; what is outstanding, and coalescing |
//! | `confirms`, `fingerprint` | sequence numbers; returned messages to their publish |
//! | `waiters`, `publish_batches`, `outcomes` | what became of a publish, of a batch, of all, for those who wait for it |
//! | `channel`, `consumers`, `calls` | the state of one channel, one consumer, one request |
//! | `outbound` | bytes that wait to be written |
//! | `recovering` and those it lists | how a lost connection comes back |
//! | `timers` | heartbeats |
//! | `secret` | renewing the secret |
//! | `ending` | close, abort, failure, time-outs: everybody who waits is told |
//! | `ids`, `event` | the words spoken with those above |

mod acks;
mod backlog;
mod batch;
mod calls;
mod channel;
mod confirms;
mod consume;
mod consumers;
mod content;
mod deliver;
mod ending;
mod event;
mod fingerprint;
mod handshake;
mod held;
mod ids;
mod inbound;
mod lose;
mod outbound;
mod outcomes;
mod prefetch;
mod publish;
mod publish_batches;
mod record;
mod recovering;
mod reopen;
mod replies;
mod requests;
mod restart;
mod restoring;
mod resubscribe;
mod retained;
mod room;
mod secret;
mod settle;
mod streamed;
mod timers;
mod waiters;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use foldhash::fast::FixedState;
use slab::Slab;

pub use self::backlog::StreamedPublish;
pub use self::batch::NextBatch;
pub use self::consume::Consume;
pub use self::content::{Body, BodyReader, Delivery, DeliveryParts, NextChunk, Returned, StreamedBody};
pub use self::event::{BatchFailure, BatchOutcome, Event, Next, Outcome, Reply, Tuning, Unconfirmed};
pub use self::ids::{BatchId, BodyId, ChannelId, ConfirmId, ConsumerId, DeliveryTag, RequestId};
pub use self::outbound::Outbound;
pub use self::publish::{Publish, PublishBody};
pub use self::restart::HooksRun;

use self::calls::Calls;
use self::channel::Channels;
use self::consumers::Consumer;
use self::content::Inflow;
use self::handshake::Phase;
use self::lose::Unsent;
use self::publish_batches::Batches;
use self::recovering::Recovering;
use self::room::Room;
use self::timers::Heartbeats;
use self::waiters::Waiters;
use crate::config::Config;
use crate::error::{Error, TimeoutReason};
use crate::wire::{FieldTable, PROTOCOL_HEADER, put_heartbeat};

/// A client's connection: a state machine without I/O, clock or randomness of its own.
///
/// # How to drive it
///
/// ```text
///            socket                                      application
///              │ read into a BytesMut                        │ open_channel, request, publish, ack, close …
///              ▼                                             ▼
///   Deframer::next_block ──► handle_block ──► Connection ──► poll_event ──► take_reply, next_delivery …
///              ▲                                  │
///              │ write                            ▼
///              └──────────────── arm, take_outbound, handle_wrote
/// ```
///
/// A driver's turn, in this order:
///
/// 1. If [`wants_read`](Self::wants_read), read what the socket has; [`handle_received`](Self::handle_received) says that
///    something came. Cut it by [`Deframer::next_block`](crate::wire::Deframer::next_block), which needs no access to the
///    connection; then [`handle_block`](Self::handle_block). Set the deframer's limit to
///    [`frame_max`](Self::frame_max) after that. The end of the stream is [`handle_eof`](Self::handle_eof), a failed
///    socket [`handle_io_error`](Self::handle_io_error), a stream that does not fall into frames
///    [`handle_frame_error`](Self::handle_frame_error).
/// 2. [`arm`](Self::arm): the deadlines of what was asked for since the last turn begin now.
/// 3. When what was taken before is written: [`take_outbound`](Self::take_outbound); write it, and report what the
///    socket took by [`handle_wrote`](Self::handle_wrote).
/// 4. Empty [`poll_event`](Self::poll_event) and wake whom it names.
/// 5. If [`take_hooks`](Self::take_hooks) gives something: run the hooks beside this, then
///    [`hooks_done`](Self::hooks_done).
/// 6. If [`is_disconnected`](Self::is_disconnected): write what is left, [`take_farewell`](Self::take_farewell) included,
///    and shut the socket down. If [`is_finished`](Self::is_finished), stop. Otherwise the connection comes back (see
///    [`Config::recovery`](crate::config::Config#structfield.recovery)): go on with steps 2, 4 and the deadlines, and when
///    it [`wants_transport`](Self::wants_transport), dial, then [`restart`](Self::restart) with a new deframer, or
///    [`handle_dial_error`](Self::handle_dial_error).
/// 7. Otherwise wait for the socket, for the deadline of [`poll_timeout`](Self::poll_timeout) (then [`handle_timeout`](Self::handle_timeout)), or
///    until the application's calls leave [`wants_turn`](Self::wants_turn) true.
///
/// The application's calls take no time and never wait. Those that are answered return an id; its owner ends it, by
/// taking the answer or by abandoning it.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use amqp_proto::config::Config;
/// use amqp_proto::conn::{Connection, Outbound};
///
/// fn begin(now: Instant) {
///     let mut connection = Connection::new(Config::default(), now, 1);
///     let mut outbound = Outbound::new();
///     connection.arm(now);
///     connection.take_outbound(&mut outbound);
///     assert_eq!(outbound.to_vec(), *b"AMQP\x00\x00\x09\x01");
///     // Nobody answers: the handshake ends in an error that names its state.
///     let (deadline, _reason) = connection.poll_timeout().unwrap();
///     connection.handle_timeout(deadline);
///     assert!(connection.is_finished());
///     let error = connection.take_reply(connection.opened()).unwrap().unwrap_err();
///     assert!(error.to_string().contains("AwaitStart"));
/// }
/// ```
#[derive(Debug)]
pub struct Connection {
    config: Config,
    phase: Phase,
    /// When the phase must be over; `None` in phases without a limit, and until the first `arm`.
    phase_deadline: Option<Instant>,
    opened: RequestId,
    /// Those who wait for the end: closers, and watchers.
    closers: Vec<RequestId>,
    watchers: Vec<RequestId>,
    /// Updates of the secret that are not answered, the oldest first.
    secrets: VecDeque<RequestId>,
    tuning: Option<Tuning>,
    /// What the deframer enforces now.
    frame_max: u32,
    server_properties: FieldTable,
    blocked: Option<String>,
    heartbeats: Option<Heartbeats>,

    channels: Channels,
    calls: Calls,
    waiters: Waiters,
    batches: Batches,
    consumers: Slab<Consumer>,
    /// Bodies that are read while they come in.
    bodies: Slab<Inflow>,
    /// For the tags that are made here.
    next_consumer: u32,
    next_generation: u32,
    /// Bytes in the queues of consumers that nothing else bounds, and of bodies that are read while they come in.
    buffered: usize,

    out: Outbound,
    /// Taken by the driver and not written yet.
    in_flight: usize,
    /// Channels with a body leaving in parts, in turn; not those whose bodies the application is writing.
    bulk: VecDeque<ChannelId>,
    /// Channels with acks that wait for the end of the turn.
    dirty: Vec<ChannelId>,
    /// Channels with confirmed publishes since the last turn.
    unarmed: Vec<ChannelId>,
    /// One entry for each channel with confirms outstanding.
    confirm_deadlines: BinaryHeap<Reverse<(Instant, ChannelId)>>,
    room: Room,
    unsent: Unsent,

    /// The handshake was done once, and the connection handed out.
    was_open: bool,
    recovering: Option<Box<Recovering>>,
    has_hooks: bool,
    hooks_due: bool,
    /// How often hooks were to be run.
    hooks_run: u32,

    events: VecDeque<Event>,
    /// The driver has something to do that it does not know of.
    turn: bool,
    hasher: FixedState,
    stats: Stats,
}

/// Things that were dropped on purpose, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Settlements of deliveries of an earlier epoch: nothing was sent for them.
    pub stale_settlements: u64,
    /// Returned messages thrown away, the oldest first, because nobody reads them: more of them on a channel than
    /// [`Limits::receive_buffer`](crate::config::Limits) allows.
    pub returns_dropped: u64,
    /// Deliveries without acks that came for a consumer that was dropped, or was cancelled with more on the way than
    /// twice [`Limits::receive_buffer`](crate::config::Limits).
    pub deliveries_discarded: u64,
    /// Publishes that were sent again when the connection was back, each time that they were: see
    /// [`Connection::retain_publishes`].
    pub publishes_sent_again: u64,
}

impl Connection {
    /// A connection that is about to start; the protocol header waits to be written. The handshake's deadline counts
    /// from `now`. The same `seed` gives the same run.
    #[must_use]
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let mut calls = Calls::default();
        let opened = calls.insert("connecting", None);
        let mut out = Outbound::new();
        out.tail().extend_from_slice(&PROTOCOL_HEADER);
        Self {
            phase: Phase::AwaitStart,
            phase_deadline: now.checked_add(config.timeouts.handshake),
            opened,
            closers: Vec::new(),
            watchers: Vec::new(),
            secrets: VecDeque::new(),
            tuning: None,
            frame_max: handshake::FRAME_MAX_BEFORE_TUNING,
            server_properties: FieldTable::new(),
            blocked: None,
            heartbeats: None,
            channels: Channels::default(),
            calls,
            waiters: Waiters::default(),
            batches: Batches::default(),
            consumers: Slab::new(),
            bodies: Slab::new(),
            next_consumer: 0,
            next_generation: 0,
            buffered: 0,
            out,
            in_flight: 0,
            bulk: VecDeque::new(),
            dirty: Vec::new(),
            unarmed: Vec::new(),
            confirm_deadlines: BinaryHeap::new(),
            room: Room::default(),
            unsent: Unsent::default(),
            was_open: false,
            recovering: config.recovery.as_ref().map(|recovery| Box::new(Recovering::new(recovery, seed))),
            has_hooks: false,
            hooks_due: false,
            hooks_run: 0,
            events: VecDeque::new(),
            turn: true,
            hasher: FixedState::with_seed(seed),
            stats: Stats::default(),
            config,
        }
    }

    /// The request that resolves when the handshake is done, or with the error that ended it. It is taken once.
    #[must_use]
    pub fn opened(&self) -> RequestId {
        self.opened
    }

    // ---- in ----------------------------------------------------------------------------------------------------

    /// Something was read from the socket: the peer is alive.
    pub fn handle_received(&mut self, now: Instant) {
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.received(now);
        }
    }

    /// The socket took this many bytes of what [`take_outbound`](Self::take_outbound) gave.
    pub fn handle_wrote(&mut self, now: Instant, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if self.is_closing() {
            // What was accepted is still leaving: the time for close-ok has not begun.
            self.phase_deadline = now.checked_add(self.config.timeouts.close);
        }
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.sent(now);
        }
        self.grant_room();
    }

    // ---- out ---------------------------------------------------------------------------------------------------

    /// Begins the time of what was asked for since the last turn. Once a turn, before
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn arm(&mut self, now: Instant) {
        self.turn = false;
        self.calls.arm(now);
        self.arm_confirms(now);
        self.arm_recovery(now);
        let paused = !self.wants_read();
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.pause(paused, now);
        }
        if self.phase_deadline.is_none() {
            self.phase_deadline = self.phase.time_limit(&self.config).and_then(|limit| now.checked_add(limit));
        }
    }

    /// Whether there is something to take.
    #[must_use]
    #[inline]
    pub fn has_outbound(&self) -> bool {
        !self.out.is_empty() || !self.dirty.is_empty() || !self.bulk.is_empty()
    }

    /// Whether the driver has something to do, because of what was asked for since its last turn.
    #[must_use]
    #[inline]
    pub fn wants_turn(&self) -> bool {
        self.turn || self.has_outbound()
    }

    /// Whether the driver has something to do that is not output: deadlines to begin, for example.
    #[must_use]
    #[inline]
    pub fn wants_arming(&self) -> bool {
        self.turn
    }

    /// Swaps what waits to be written into `outbound`, which must be empty: write it, then take the next.
    pub fn take_outbound(&mut self, outbound: &mut Outbound) {
        if !outbound.is_empty() {
            return;
        }
        self.flush_all_acks();
        self.pump_bulk();
        self.send_close_if_drained();
        std::mem::swap(&mut self.out, outbound);
        self.in_flight = outbound.len();
        self.unsent = Unsent { queued: 0, leaving: self.unsent.queued };
        self.grant_room();
    }

    /// The next deadline, and what it is for, for people who read a log.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        let phase = self.phase_deadline.map(|at| (at, self.phase.timeout_reason()));
        let call = self.calls.next_deadline().map(|(at, id)| (at, self.call_reason(id)));
        let confirm = self.confirm_deadlines.peek().map(|Reverse((at, _))| (*at, TimeoutReason::Confirm));
        let heartbeat = self
            .heartbeats
            .as_ref()
            .map(|heartbeats| (heartbeats.next(), TimeoutReason::Heartbeat { interval: heartbeats.interval() }));
        let recovery = self.recovery_deadline().map(|at| (at, TimeoutReason::Reconnect));
        [phase, call, confirm, heartbeat, recovery].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// A deadline may have passed: looks at the clock, whichever timer it was.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase_deadline.is_some_and(|deadline| deadline <= now) {
            self.phase_timed_out();
        }
        self.expire_calls(now);
        self.expire_confirms(now);
        self.expire_recovery(now);
        let Some(heartbeats) = self.heartbeats else { return };
        if heartbeats.give_up_at().is_some_and(|at| at <= now) {
            let reason = TimeoutReason::Heartbeat { interval: heartbeats.interval() };
            self.end(Err(Error::timeout(reason, self.blocked.is_some())));
        } else if heartbeats.send_at() <= now && !self.is_finished() {
            // What waits to be written already will do as well as a heartbeat.
            if self.out.is_empty() && self.in_flight == 0 {
                put_heartbeat(self.out.tail());
            }
            if let Some(heartbeats) = &mut self.heartbeats {
                heartbeats.sent(now);
            }
        }
    }

    /// Whether there is an event to take.
    #[must_use]
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the socket should be read: not while bodies that are read while they come in, and
    /// consumers that nothing else bounds, hold more than
    /// [`Limits::receive_buffer`](crate::config::Limits).
    #[must_use]
    #[inline]
    pub fn wants_read(&self) -> bool {
        !self.is_disconnected() && (self.buffered < self.config.limits.receive_buffer.max(1) || self.is_closing())
    }

    /// Whether it has ended: what is left is to be written, then the socket shut down.
    #[must_use]
    #[inline]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// How it has ended, if it has: `Ok` if this side closed it, otherwise the cause.
    #[must_use]
    pub fn result(&self) -> Option<Result<(), Error>> {
        match &self.phase {
            Phase::Closed(result) => Some(result.clone()),
            _ => None,
        }
    }

    /// The largest frame that the peer may send now, in bytes; 0 is no limit. For the deframer.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    // ---- state -------------------------------------------------------------------------------------------------

    /// Whether it takes new work: the handshake is done and nobody has closed it. What is asked of a connection that was
    /// lost and comes back waits until then.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Hooks) || self.is_coming_back()
    }

    /// What was agreed on in the handshake.
    #[must_use]
    pub fn tuning(&self) -> Option<Tuning> {
        self.tuning
    }

    /// What the broker said of itself.
    #[must_use]
    pub fn server_properties(&self) -> &FieldTable {
        &self.server_properties
    }

    /// Why the broker does not read publishes, while it does not.
    #[must_use]
    pub fn blocked(&self) -> Option<&str> {
        self.blocked.as_deref()
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was dropped on purpose.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn outbound_len(&self) -> usize {
        self.out.len() + self.in_flight
    }

    /// How many consumers there are: those that have ended and are not released yet, too.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// How many channel numbers are in use.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.in_use()
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}
