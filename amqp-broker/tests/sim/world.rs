//! The client with its driver, the broker, the link between them, and the clock.

use std::time::{Duration, Instant};

use amqp_broker::{Core, Emulate, Limits, On, Reaction, Rule};
use amqp_proto::config::{Config, Heartbeat, Recovery};
use amqp_proto::conn::{Connection, Event, Outbound};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::wire::Deframer;
use bytes::BytesMut;
use fastrand::Rng;

use crate::link::{Arrived, Link};

pub(crate) struct World {
    pub(crate) conn: Connection,
    pub(crate) core: Core,
    pub(crate) rng: Rng,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    /// Nothing goes wrong any more.
    pub(crate) healed: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) refused_dials: u32,
    /// The broker may have held on to a connection that the client had given up.
    pub(crate) lingered: bool,
    /// The last one is the client's, if it has one.
    links: Vec<Link>,
    attached: bool,
    dialed_at: Option<Instant>,
    read: BytesMut,
    deframer: Deframer,
    outbound: Outbound,
    /// Of all bytes that have passed: the same for the same run.
    pub(crate) trace: u64,
    tells: bool,
}

impl World {
    pub(crate) fn new(seed: u64, tells: bool) -> Self {
        let now = Instant::now();
        let mut rng = Rng::with_seed(seed);
        let version = [Emulate::V3_10, Emulate::V4_0, Emulate::V4_3][rng.usize(..3)];
        let recovery = Recovery::default().max_delay(Duration::from_secs(3));
        let config = Config::new("broker")
            .heartbeat(Heartbeat::Interval(Duration::from_secs(5)))
            .handshake_timeout(Duration::from_secs(10))
            .confirm_timeout(Duration::from_secs(3600))
            .recovery(recovery);
        let mut core = Core::new(version, Limits::of(version), now, Duration::from_secs(1_000_000), seed);
        let session = core.connect(now, 40_000);
        Self {
            conn: Connection::new(config, now, seed),
            core,
            rng,
            start: now,
            now,
            healed: false,
            events: Vec::new(),
            refused_dials: 0,
            lingered: false,
            links: vec![Link::new(session)],
            attached: true,
            dialed_at: None,
            read: BytesMut::new(),
            deframer: Deframer::new(8192),
            outbound: Outbound::new(),
            trace: 0xCBF2_9CE4_8422_2325,
            tells,
        }
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>12?} {}", self.now - self.start, what());
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------

    /// When something happens by itself.
    fn next(&self) -> Option<Instant> {
        let client = self.conn.poll_timeout().map(|(at, _)| at);
        let links = self.links.iter().filter_map(Link::next).min();
        [client, self.core.poll_timeout(), links, self.dialed_at].into_iter().flatten().min()
    }

    /// Goes on until `deadline`, or until there is nothing more to happen before.
    pub(crate) fn run_until(&mut self, deadline: Instant) {
        self.settle();
        let mut idle = 0;
        while let Some(at) = self.next().filter(|at| *at <= deadline) {
            idle = if at > self.now { 0 } else { idle + 1 };
            assert!(idle < 1000, "time stands still: {:?}", self.conn.poll_timeout());
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = deadline;
    }

    /// Does all that can be done now.
    fn settle(&mut self) {
        self.deliver_to_broker();
        if self.core.poll_timeout().is_some_and(|at| at <= self.now) {
            self.core.handle_timeout(self.now);
        }
        self.collect_from_broker();
        self.drive_client();
        self.collect_from_broker();
    }

    // ---- the broker's side -------------------------------------------------------------------------------------

    fn deliver_to_broker(&mut self) {
        let Self { links, core, now, trace, .. } = self;
        for link in links.iter_mut().filter(|link| !link.stalled && !link.closed) {
            while let Some(arrived) = link.to_broker.pop(*now) {
                match arrived {
                    Arrived::Bytes(bytes) => {
                        hash(trace, &bytes);
                        link.input.extend_from_slice(&bytes);
                        core.handle_input(*now, link.session, &mut link.input);
                    }
                    Arrived::End => {
                        core.handle_eof(*now, link.session);
                        link.closed = true;
                        break;
                    }
                }
            }
        }
    }

    fn collect_from_broker(&mut self) {
        while let Some(session) = self.core.poll_woken() {
            let Self { links, core, now, rng, .. } = self;
            let Some(link) = links.iter_mut().find(|link| link.session == session && !link.closed) else { continue };
            if core.is_cut(session) {
                link.to_client.reset(*now);
                core.handle_eof(*now, session);
                continue;
            }
            if core.wants_read(session) && !link.input.is_empty() {
                core.handle_input(*now, session, &mut link.input);
            }
            let mut out = Vec::new();
            core.take_outbound(*now, session, &mut out);
            link.to_client.push(*now, &out, rng);
            if core.is_over(session) {
                link.to_client.end(*now, rng);
            }
        }
        let current = self.links.last().filter(|_| self.attached).map(|link| link.session);
        self.links.retain(|link| !link.closed || Some(link.session) == current);
    }

    // ---- the client's side -------------------------------------------------------------------------------------

    fn drive_client(&mut self) {
        self.read_as_client();
        let now = self.now;
        self.conn.arm(now);
        if self.conn.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.conn.handle_timeout(now);
        }
        self.write_as_client();
        while let Some(event) = self.conn.poll_event() {
            self.note(event);
        }
        if self.attached && self.conn.is_disconnected() {
            let mut farewell = self.outbound.to_vec();
            farewell.extend_from_slice(&self.conn.take_farewell().to_vec());
            self.outbound = Outbound::new();
            self.attached = false;
            if let Some(link) = self.links.last_mut() {
                link.to_broker.push(now, &farewell, &mut self.rng);
                link.to_broker.end(now, &mut self.rng);
                link.left = true;
            }
        }
        self.dial();
    }

    fn read_as_client(&mut self) {
        while self.attached
            && self.conn.wants_read()
            && let Some(link) = self.links.last_mut().filter(|link| !link.stalled)
            && let Some(arrived) = link.to_client.pop(self.now)
        {
            match arrived {
                Arrived::Bytes(bytes) => {
                    hash(&mut self.trace, &bytes);
                    self.read.extend_from_slice(&bytes);
                    self.conn.handle_received(self.now);
                    while let Some(block) =
                        self.deframer.next_block(&mut self.read).expect("the broker's frames are whole")
                    {
                        self.conn.handle_block(self.now, &block);
                        self.deframer.set_frame_max(self.conn.frame_max());
                    }
                }
                Arrived::End => self.conn.handle_eof(self.now),
            }
        }
    }

    fn write_as_client(&mut self) {
        while self.attached && !self.conn.is_disconnected() {
            if self.outbound.is_empty() {
                if !self.conn.has_outbound() {
                    return;
                }
                self.conn.take_outbound(&mut self.outbound);
            }
            let bytes = self.outbound.to_vec();
            let count = if self.rng.u8(..4) == 0 { self.rng.usize(1..=bytes.len()) } else { bytes.len() };
            if let Some(link) = self.links.last_mut() {
                link.to_broker.push(self.now, &bytes[..count], &mut self.rng);
            }
            self.outbound.advance(count);
            self.conn.handle_wrote(self.now, count);
        }
    }

    fn dial(&mut self) {
        if !self.conn.wants_transport() {
            self.dialed_at = None;
            return;
        }
        let now = self.now;
        match self.dialed_at {
            None => self.dialed_at = Some(now + Duration::from_micros(self.rng.u64(50..5000))),
            Some(at) if at > now => {}
            Some(_) if !self.healed && self.rng.u8(..4) == 0 => {
                self.dialed_at = None;
                self.refused_dials += 1;
                let kind = std::io::ErrorKind::ConnectionRefused;
                let text = "cannot connect: refused".to_owned();
                self.conn.handle_dial_error(Error::new(ErrorKind::ConnectionLost { kind, text }));
            }
            Some(_) => {
                self.dialed_at = None;
                self.conn.restart(now);
                let session = self.core.connect(now, 40_000);
                self.links.push(Link::new(session));
                self.attached = true;
                self.read.clear();
                self.deframer = Deframer::new(self.conn.frame_max());
                self.write_as_client();
            }
        }
    }

    fn note(&mut self, event: Event) {
        if let Event::Disconnected(cause) | Event::AttemptFailed(cause) = &event {
            // The broker has nothing against what it is sent.
            let is_fault = match cause.kind() {
                ErrorKind::ConnectionLost { .. } | ErrorKind::Timeout { .. } => true,
                ErrorKind::ConnectionClosed(reason) => reason.code.0 == 320,
                _ => false,
            };
            assert!(is_fault, "{cause}");
        }
        assert!(!matches!(event, Event::NotRestored { .. }), "{event:?}");
        self.tell(|| format!("{event:?}"));
        self.events.push(event);
    }

    // ---- faults ------------------------------------------------------------------------------------------------

    /// Something goes wrong with the client's link.
    pub(crate) fn fail(&mut self) {
        let (now, fault) = (self.now, self.rng.u8(..5));
        self.tell(|| format!("fault {fault}"));
        let Some(link) = self.links.last_mut().filter(|link| self.attached && !link.stalled) else { return };
        match fault {
            0 => {
                link.to_broker.reset(now);
                link.to_client.reset(now);
            }
            1 => link.to_client.reset(now),
            2 => link.to_broker.reset(now),
            3 => {
                link.stalled = true;
                self.lingered = true;
            }
            _ => {
                let close = Reaction::CloseConnection(320, "just so".to_owned());
                self.core.add_rule(Rule::new(On::Anything, close).times(1));
            }
        }
    }

    /// Faults are over: what hangs is cut off.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.core.clear_rules();
    }
}

fn hash(trace: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *trace = (*trace ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
}
