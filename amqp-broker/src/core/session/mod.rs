//! A session: one client's connection, from its protocol header to its end.
//!
//! ```text
//! Header ─► Starting ─► Tuning ─► Opening ─► Running ─► Closing ─► Over
//!    │          │          │         │          │  (ours is sent)   ▲
//!    │          └──────────┴── Silent (no input any more) ─────────┤
//!    └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! `input` cuts frames and finds what is wrong with them, `handshake` opens the connection, `login` asks who it is, `frames` puts the frames of
//! channels together, `closing` ends channels and connections, `channel` is what a channel holds.

mod channel;
mod closing;
mod fields;
mod frames;
mod handshake;
mod input;
mod login;

use std::collections::BTreeMap;

use amqp_proto::method::{MethodCodec, put_method};
use amqp_proto::wire::{Block, Deframer, FRAME_END, FieldTable, FrameKind, put_body_frame_header, put_heartbeat};

pub(super) use channel::{Channel, Publish, Transaction, Unacked};

use super::name::Name;
use super::timers::Timer;
use super::{Core, Micros, SessionId};

/// How long a client may take for its handshake.
const HANDSHAKE_PATIENCE: Micros = 10_000_000;
/// How long a client has to answer `connection.close`.
const CLOSE_PATIENCE: Micros = 30_000_000;
/// How long RabbitMQ lets clients wait that it does not trust.
const SILENT_CLOSE_DELAY: Micros = 3_000_000;
/// With more output than this a session gets no deliveries, in bytes.
const CONGESTED: usize = 1 << 20;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the protocol header.
    Header,
    /// Waits for `connection.start-ok`.
    Starting,
    /// Waits for `connection.secure-ok`, with the password.
    Securing,
    /// Waits for `connection.tune-ok`.
    Tuning,
    /// Waits for `connection.open`.
    Opening,
    /// Open.
    Running,
    /// Our close is sent: waits for `close-ok`.
    Closing,
    /// Nothing is read any more; the socket closes when the time is over.
    Silent,
    /// The socket closes.
    Over,
}

/// What a client understands of RabbitMQ's extensions.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Capabilities {
    pub(super) authentication_failure_close: bool,
    pub(super) blocked: bool,
    pub(super) consumer_cancel_notify: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) phase: Phase,
    pub(super) peer_port: u16,
    deframer: Deframer,
    /// Frames that wait while the broker does not read, and how many of them are done.
    held: Option<(Block, usize)>,
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) client_properties: FieldTable,
    pub(super) capabilities: Capabilities,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    /// Seconds.
    pub(super) heartbeat: u16,
    pub(super) channels: BTreeMap<u16, Channel>,
    outbound: Vec<u8>,
    /// Bytes of deliveries that are not written yet.
    pub(super) late_bytes: usize,
    /// Consumers were passed by for too much output.
    pub(super) congested: bool,
    /// By an alarm.
    pub(super) blocked: bool,
    pub(super) last_read: Micros,
    /// Bytes of a frame that has not come whole yet.
    unread: usize,
    last_written: Micros,
    patience: Micros,
    pub(super) woken: bool,
    pub(super) cut: bool,
    pub(super) stalled: bool,
    /// Until when nothing is written, by a fault.
    pub(super) silent_until: Micros,
    pub(super) tls: bool,
    /// Whom the client's certificate names.
    pub(super) certified: Option<Name>,
}

impl Session {
    pub(super) fn new(peer_port: u16, now: Micros) -> Self {
        Self {
            phase: Phase::Header,
            peer_port,
            deframer: Deframer::new(0),
            held: None,
            user: Name::from(""),
            vhost: Name::from(""),
            client_properties: FieldTable::new(),
            capabilities: Capabilities::default(),
            channel_max: 0,
            frame_max: 131_072,
            heartbeat: 0,
            channels: BTreeMap::new(),
            outbound: Vec::new(),
            late_bytes: 0,
            congested: false,
            blocked: false,
            last_read: now,
            unread: 0,
            last_written: now,
            patience: now + HANDSHAKE_PATIENCE,
            woken: false,
            cut: false,
            stalled: false,
            silent_until: 0,
            tls: false,
            certified: None,
        }
    }

    /// The client property `connection_name`.
    pub(super) fn name(&self) -> String {
        let name = self.client_properties.get("connection_name").and_then(|name| name.as_bytes());
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    pub(super) fn wants_read(&self) -> bool {
        !self.blocked && !self.stalled && !matches!(self.phase, Phase::Over)
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether its end is one that nobody has announced.
    pub(super) fn is_lost(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether it has more output than it takes.
    pub(super) fn is_full(&self) -> bool {
        self.outbound.len() + self.late_bytes > CONGESTED
    }

    /// Appends a method.
    pub(super) fn put<'a, M: MethodCodec<'a>>(&mut self, channel: u16, method: &M) {
        // What the broker sends can be encoded: its strings were short before, and its tables small.
        let _ = put_method(&mut self.outbound, channel, method);
    }

    /// Appends raw bytes: a protocol header.
    pub(super) fn put_raw(&mut self, bytes: &[u8]) {
        self.outbound.extend_from_slice(bytes);
    }

    /// Appends a content header, by its payload, and a body.
    pub(super) fn put_content(&mut self, channel: u16, header: &[u8], body: &[u8]) {
        let out = &mut self.outbound;
        let [c0, c1] = channel.to_be_bytes();
        let [s0, s1, s2, s3] = u32::try_from(header.len()).unwrap_or_default().to_be_bytes();
        out.reserve(header.len() + body.len() + 24);
        out.extend_from_slice(&[FrameKind::Header as u8, c0, c1, s0, s1, s2, s3]);
        out.extend_from_slice(header);
        out.push(FRAME_END);
        let chunk = usize::try_from(self.frame_max).unwrap_or_default().saturating_sub(8).max(1);
        for part in body.chunks(if self.frame_max == 0 { usize::MAX } else { chunk }) {
            put_body_frame_header(out, channel, u32::try_from(part.len()).unwrap_or_default());
            out.extend_from_slice(part);
            out.push(FRAME_END);
        }
    }

    pub(super) fn take_outbound(&mut self, now: Micros, out: &mut Vec<u8>) {
        if self.outbound.is_empty() || self.stalled || now < self.silent_until {
            return;
        }
        self.last_written = now;
        if out.is_empty() {
            std::mem::swap(out, &mut self.outbound);
        } else {
            out.append(&mut self.outbound);
        }
    }

    /// There is so much input: the client was heard, unless it is what was left the last time.
    pub(super) fn note_input(&mut self, now: Micros, bytes: usize) {
        if bytes > self.unread {
            self.last_read = now;
        }
        self.unread = bytes;
    }

    /// When the session has to be looked at.
    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.phase {
            Phase::Over => None,
            Phase::Running => {
                let interval = Micros::from(self.heartbeat) * 1_000_000;
                let silence = self.last_read + 2 * interval;
                let next = if self.wants_read() { silence } else { Micros::MAX };
                (interval > 0).then(|| next.min(self.last_written + interval / 2))
            }
            _ => Some(self.patience),
        }
    }

    /// Nothing is read any more, and the socket will close.
    fn fall_silent(&mut self, now: Micros) {
        self.phase = Phase::Silent;
        self.held = None;
        self.patience = now + SILENT_CLOSE_DELAY;
    }
}

impl Core {
    pub(super) fn session_timeout(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.phase {
            Phase::Running => {
                let interval = Micros::from(session.heartbeat) * 1_000_000;
                if interval > 0 && session.wants_read() && now >= session.last_read + 2 * interval {
                    // RabbitMQ says nothing to those who are gone.
                    self.end_session(id);
                } else if interval > 0 && now >= session.last_written + interval / 2 {
                    put_heartbeat(&mut session.outbound);
                    session.last_written = now;
                    self.wake(id);
                }
            }
            Phase::Over => {}
            _ if now >= session.patience => self.end_session(id),
            _ => {}
        }
        self.arm_session(id);
    }

    /// Sets the session's timer.
    pub(super) fn arm_session(&mut self, id: SessionId) {
        let deadline = self.sessions.get(&id).and_then(Session::deadline);
        self.timers.arm(Timer::Session(id), deadline);
    }

    /// Room was made: consumers that were passed by for too much output come again.
    pub(super) fn uncongest(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.congested || session.is_full() {
            return;
        }
        session.congested = false;
        let numbers: Vec<_> = session.channels.keys().copied().collect();
        for number in numbers {
            self.unblock_consumers(id, number);
        }
    }
}
