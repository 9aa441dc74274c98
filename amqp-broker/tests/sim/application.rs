//! The application on the connection: what it does at random, what it expects, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amqp_proto::conn::{
    ChannelId, ConfirmId, Consume, ConsumerId, Delivery, Event, Next, Outcome, Publish, PublishBody, Reply, RequestId,
};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Properties, ReplyCode, confirm, queue};
use amqp_proto::wire::ShortStr;

use crate::world::World;

const PREFETCH: u16 = 5;

/// How many things it does.
const STEPS: u32 = 25;

/// What a run was like.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) losses: u64,
    pub(crate) lost_while_restoring: u64,
    pub(crate) refused_dials: u64,
    pub(crate) published: u64,
    pub(crate) unknown: u64,
    pub(crate) sent_again: u64,
    pub(crate) stale: u64,
    pub(crate) delivered: u64,
    trace: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.losses += other.losses;
        self.lost_while_restoring += other.lost_while_restoring;
        self.refused_dials += other.refused_dials;
        self.published += other.published;
        self.unknown += other.unknown;
        self.sent_again += other.sent_again;
        self.stale += other.stale;
        self.delivered += other.delivered;
    }
}

/// A channel that publishes numbers, each with its confirm.
struct Publishing {
    channel: ChannelId,
    name: char,
    next: u32,
    open: BTreeMap<u32, ConfirmId>,
    acked: BTreeSet<u32>,
}

pub(crate) struct Application {
    world: World,
    /// What it publishes is sent again.
    kept: Publishing,
    plain: Publishing,
    calling: ChannelId,
    consuming: ChannelId,
    consumer: ConsumerId,
    held: Vec<Delivery>,
    requests: Vec<RequestId>,
    /// What was delivered, in the order of the first time.
    seen: BTreeMap<char, Vec<u32>>,
    report: Report,
}

impl Application {
    /// A run from the first byte to the last.
    pub(crate) fn run(seed: u64, tells: bool) -> Report {
        let mut application = Self::start(World::new(seed, tells));
        for _ in 0..STEPS {
            let pause = Duration::from_micros(application.world.rng.u64(1..150_000));
            application.world.run_until(application.world.now + pause);
            application.step();
        }
        application.finish()
    }

    fn start(mut world: World) -> Self {
        let opened = world.conn.opened();
        await_reply(&mut world, opened).unwrap();
        let [kept, plain, calling, consuming] = [(); 4].map(|()| {
            let (id, request) = world.conn.open_channel().unwrap();
            await_reply(&mut world, request).unwrap();
            id
        });
        let declare = queue::Declare { queue: short("work"), durable: true, ..queue::Declare::default() };
        let request = world.conn.request(calling, queue::Method::Declare(declare), None).unwrap().unwrap();
        await_reply(&mut world, request).unwrap();
        for channel in [kept, plain] {
            let select = confirm::Select { nowait: false };
            let request = world.conn.request(channel, select, None).unwrap().unwrap();
            await_reply(&mut world, request).unwrap();
        }
        world.conn.retain_publishes(kept, 1 << 20);
        let consume = Consume { queue: short("work"), prefetch: Some(PREFETCH), ..Consume::default() };
        let request = world.conn.consume(consuming, &consume, None).unwrap();
        let Reply::Consuming(consumer) = await_reply(&mut world, request).unwrap() else { panic!() };
        let publishing =
            |channel, name| Publishing { channel, name, next: 0, open: BTreeMap::new(), acked: BTreeSet::new() };
        Self {
            kept: publishing(kept, 'k'),
            plain: publishing(plain, 'p'),
            calling,
            consuming,
            consumer,
            world,
            held: Vec::new(),
            requests: Vec::new(),
            seen: BTreeMap::new(),
            report: Report::default(),
        }
    }

    // ---- what it does ------------------------------------------------------------------------------------------

    fn step(&mut self) {
        match self.world.rng.u8(..20) {
            0..=4 => self.publish(true),
            5..=7 => self.publish(false),
            8..=10 => self.settle(),
            11 => self.call(),
            12 => self.open_and_close(),
            13..=14 => self.world.fail(),
            _ => {}
        }
        self.take();
        self.look();
    }

    fn publish(&mut self, is_kept: bool) {
        let publishing = if is_kept { &mut self.kept } else { &mut self.plain };
        let mut properties = Properties::new();
        properties.set_delivery_mode(2);
        for _ in 0..self.world.rng.u32(1..4) {
            let filling = if self.world.rng.u8(..20) == 0 { 10_000 } else { 0 };
            let body = format!("{}{}{}", publishing.name, publishing.next, " ".repeat(filling));
            let publish = Publish {
                exchange: ShortStr::EMPTY,
                routing_key: short("work"),
                mandatory: self.world.rng.bool(),
                immediate: false,
                properties: &properties,
                body: PublishBody::Borrowed(body.as_bytes()),
            };
            match self.world.conn.publish_confirmed(publishing.channel, &publish) {
                Ok(confirm) => {
                    publishing.open.insert(publishing.next, confirm);
                    publishing.next += 1;
                    self.report.published += 1;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Full), "{error}");
                    return;
                }
            }
        }
    }

    /// Acks or requeues something that it has, which may be from before a loss.
    fn settle(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (at, multiple) = (self.world.rng.usize(..self.held.len()), self.world.rng.u8(..4) == 0);
        let tag = self.held.remove(at).delivery_tag();
        let conn = &mut self.world.conn;
        if self.world.rng.u8(..4) == 0 {
            conn.nack(tag, false, true).unwrap();
        } else if multiple {
            conn.ack(tag, true).unwrap();
            // Those before it are settled with it; they are of the same epoch or void.
            self.held.drain(..at);
        } else {
            conn.ack(tag, false).unwrap();
        }
    }

    fn call(&mut self) {
        let declare = if self.world.rng.bool() {
            queue::Declare { queue: short("work"), passive: true, ..queue::Declare::default() }
        } else {
            queue::Declare { exclusive: true, ..queue::Declare::default() }
        };
        let request = self.world.conn.request(self.calling, queue::Method::Declare(declare), None).unwrap().unwrap();
        if self.world.rng.u8(..5) == 0 {
            self.world.conn.abandon_request(request);
        } else {
            self.requests.push(request);
        }
    }

    fn open_and_close(&mut self) {
        let (id, request) = self.world.conn.open_channel().unwrap();
        self.requests.push(request);
        if self.world.rng.bool() {
            self.requests.push(self.world.conn.close_channel(id).unwrap());
        }
        self.world.conn.release_channel(id);
    }

    /// Takes what was delivered.
    fn take(&mut self) {
        loop {
            match self.world.conn.next_delivery(self.consumer) {
                Next::Delivery(delivery) => {
                    let text = String::from_utf8(delivery.body().to_vec()).unwrap();
                    let (name, number) = text.trim_end().split_at(1);
                    let (name, number) = (name.chars().next().unwrap(), number.parse().unwrap());
                    let seen = self.seen.entry(name).or_default();
                    if !seen.contains(&number) {
                        seen.push(number);
                    }
                    self.report.delivered += 1;
                    self.held.push(delivery);
                }
                Next::Pending => return,
                other => panic!("{other:?}"),
            }
        }
    }

    // ---- what must hold ----------------------------------------------------------------------------------------

    /// At every step.
    fn look(&mut self) {
        let conn = &mut self.world.conn;
        assert!(conn.unsettled(self.consuming) <= usize::from(PREFETCH), "more than the prefetch");
        for channel in [self.kept.channel, self.plain.channel, self.calling, self.consuming] {
            assert!(conn.channel_error(channel).is_none(), "{:?}", conn.channel_error(channel));
        }
        self.requests.retain(|request| conn.take_reply(*request).is_none());
        for publishing in [&mut self.kept, &mut self.plain] {
            publishing.open.retain(|number, confirm| match conn.take_outcome(*confirm) {
                None => true,
                Some(Outcome::Acked) => {
                    publishing.acked.insert(*number);
                    false
                }
                Some(Outcome::Unknown(cause)) if publishing.name == 'p' => {
                    assert!(!matches!(cause.kind(), ErrorKind::ChannelClosed(_)), "{cause}");
                    self.report.unknown += 1;
                    false
                }
                Some(outcome) => panic!("{}{number}: {outcome:?}", publishing.name),
            });
        }
    }

    /// When the faults are over.
    fn finish(mut self) -> Report {
        self.world.heal();
        self.world.tell(|| "healed".to_owned());
        let end = self.world.now + Duration::from_secs(600);
        while !self.is_quiet() {
            assert!(self.world.now < end, "it does not come to rest: {}", self.state());
            self.world.run_until(self.world.now + Duration::from_millis(50));
            self.take();
            while let Some(delivery) = self.held.pop() {
                self.world.conn.ack(delivery.delivery_tag(), false).unwrap();
            }
            self.look();
        }
        for publishing in [&self.kept, &self.plain] {
            let seen = self.seen.get(&publishing.name).cloned().unwrap_or_default();
            let lost: Vec<_> = publishing.acked.iter().filter(|number| !seen.contains(number)).collect();
            assert!(lost.is_empty(), "confirmed, and lost, of {}: {lost:?}", publishing.name);
            // What had been delivered to a connection that lingers comes after what is behind it.
            assert!(seen.is_sorted() || self.world.lingered, "{} came out of order: {seen:?}", publishing.name);
        }
        assert_eq!(self.kept.acked.len(), self.kept.next as usize);
        self.close()
    }

    fn is_quiet(&mut self) -> bool {
        let is_done = self.world.conn.is_connected()
            && self.kept.open.is_empty()
            && self.plain.open.is_empty()
            && self.requests.is_empty()
            && self.held.is_empty();
        if !is_done {
            return false;
        }
        // All that was sent has arrived, and the queue is empty: nobody else consumes from it.
        let declare = queue::Declare { queue: short("work"), passive: true, ..queue::Declare::default() };
        let request = self.world.conn.request(self.calling, queue::Method::Declare(declare), None).unwrap().unwrap();
        match await_reply(&mut self.world, request) {
            Ok(Reply::QueueDeclared { message_count: 0, consumer_count: 1, .. }) => {
                // The answer may have overtaken a delivery.
                self.world.run_until(self.world.now + Duration::from_secs(1));
                self.take();
                self.held.is_empty() && self.world.conn.unsettled(self.consuming) == 0
            }
            Ok(reply) => {
                self.world.tell(|| format!("{reply:?}"));
                false
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                false
            }
        }
    }

    fn state(&self) -> String {
        format!(
            "connected: {}, kept: {:?}, plain: {:?}, requests: {:?}, held: {}",
            self.world.conn.is_connected(),
            self.kept.open,
            self.plain.open,
            self.requests,
            self.held.len()
        )
    }

    fn close(mut self) -> Report {
        let closed = self.world.conn.close(ReplyCode::REPLY_SUCCESS, "");
        await_reply(&mut self.world, closed).unwrap();
        assert!(self.world.conn.is_finished());
        let after = self.world.now + Duration::from_secs(100);
        self.world.run_until(after);
        let events = &self.world.events;
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Closed)).count(), 1);
        let lost = events.iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
        let back = events.iter().filter(|event| matches!(event, Event::Recovered)).count();
        assert_eq!(lost, back, "each loss is followed by a return");
        let failed = events.iter().filter(|event| matches!(event, Event::AttemptFailed(_))).count() as u64;
        Report {
            losses: lost as u64,
            lost_while_restoring: failed - u64::from(self.world.refused_dials),
            refused_dials: u64::from(self.world.refused_dials),
            stale: self.world.conn.stats().stale_settlements,
            sent_again: self.world.conn.stats().publishes_sent_again,
            trace: self.world.trace,
            ..self.report
        }
    }
}

/// Runs until a request is answered.
fn await_reply(world: &mut World, request: RequestId) -> Result<Reply, Error> {
    let end = world.now + Duration::from_secs(200);
    loop {
        if let Some(reply) = world.conn.take_reply(request) {
            return reply;
        }
        assert!(world.now < end, "a request is never answered");
        world.run_until(world.now + Duration::from_millis(1));
    }
}

fn short(text: &str) -> ShortStr<'_> {
    ShortStr::new(text).unwrap()
}
