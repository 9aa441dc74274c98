//! Plays programs on a broker, and says what is seen.

use std::collections::{BTreeMap, BTreeSet};

use amqp_blocking::{Channel, Config, Connection, Consumer, Delivery, Error, Get, Publisher, Returns, connect};

use crate::program::{CHANNELS_PER_CONNECTION, CONNECTIONS, Exchange, Key, Op, Queue, Slot};
use crate::words::{self, Names};

/// What was seen of one operation.
pub(crate) type Step = Vec<String>;

/// What is seen of each operation of the program, and at the end of what is left. Names of queues and exchanges begin with
/// `prefix`. After each operation, every queue is asked `patience` times.
pub(crate) fn play(uri: &str, prefix: &str, patience: usize, program: &[Op]) -> Vec<Step> {
    let mut player = Player::new(uri, prefix, patience);
    let mut steps: Vec<_> = program.iter().map(|op| player.act(op)).collect();
    steps.push(player.end());
    steps
}

pub(crate) struct Player<'a> {
    uri: &'a str,
    prefix: &'a str,
    pub(crate) patience: usize,
    pub(crate) sides: Vec<Side>,
    /// A connection beside those of the program, and a channel of it that looks at queues.
    outside: Connection,
    pub(crate) outsider: Channel,
    /// The queues that were declared and not seen to be gone, with the connection that alone may use them, if so.
    pub(crate) queues: BTreeMap<String, Option<usize>>,
    /// Those of them that are streams.
    pub(crate) streams: BTreeSet<String>,
    pub(crate) has_quorum_queues: bool,
    pub(crate) has_dead_letters: bool,
    /// A quorum queue beside those of the program, and who publishes to it.
    pub(crate) probe: Option<Publisher>,
    pub(crate) generated: Option<String>,
    pub(crate) published: usize,
    names: Names,
    pub(crate) seen: Step,
}

/// A connection of the program.
pub(crate) struct Side {
    pub(crate) connection: Connection,
    /// A channel beside those of the program, that looks at the connection's own queues.
    pub(crate) insider: Channel,
    pub(crate) channels: [Option<Opened>; CHANNELS_PER_CONNECTION],
}

/// A channel of the program.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    /// Why it was closed has been told.
    pub(crate) is_told: bool,
    pub(crate) confirms: bool,
    pub(crate) last_declared: String,
    pub(crate) returns: Returns,
    pub(crate) consumers: Vec<Consuming>,
    pub(crate) held: Vec<Delivery>,
}

pub(crate) struct Consuming {
    pub(crate) consumer: Consumer,
    pub(crate) queue: String,
    pub(crate) no_ack: bool,
}

impl<'a> Player<'a> {
    fn new(uri: &'a str, prefix: &'a str, patience: usize) -> Self {
        let outside = open(uri);
        let outsider = outside.channel().expect("a channel");
        Self {
            uri,
            prefix,
            patience,
            sides: (0..CONNECTIONS).map(|_| Side::new(uri)).collect(),
            outside,
            outsider,
            queues: BTreeMap::new(),
            streams: BTreeSet::new(),
            has_quorum_queues: false,
            has_dead_letters: false,
            probe: None,
            generated: None,
            published: 0,
            names: Names::default(),
            seen: Step::new(),
        }
    }

    pub(crate) fn see(&mut self, text: &str) {
        let text = self.names.plain(&text.replace(self.prefix, "~"));
        self.seen.push(text);
    }

    pub(crate) fn see_result<T: std::fmt::Debug>(&mut self, result: &Result<T, Error>) {
        match result {
            Ok(value) => self.see(&format!("{value:?}")),
            Err(error) => self.see(&words::error(error)),
        }
    }

    /// The channel; opened again if it was closed.
    pub(crate) fn channel(&mut self, slot: Slot) -> Channel {
        let side = slot / CHANNELS_PER_CONNECTION;
        if !self.sides[side].connection.is_open() {
            self.await_orphans(side);
            self.sides[side] = Side::new(self.uri);
        }
        let opened = &mut self.sides[side].channels[slot % CHANNELS_PER_CONNECTION];
        if let Some(open) = opened
            && open.channel.is_open()
        {
            return open.channel.clone();
        }
        let channel = self.sides[side].connection.channel().expect("a channel");
        self.sides[side].channels[slot % CHANNELS_PER_CONNECTION] = Some(Opened::new(channel.clone()));
        channel
    }

    pub(crate) fn opened(&mut self, slot: Slot) -> &mut Opened {
        let side = &mut self.sides[slot / CHANNELS_PER_CONNECTION];
        side.channels[slot % CHANNELS_PER_CONNECTION].as_mut().expect("it was opened")
    }

    /// Looks at queues from outside again, after a question that closed the channel.
    pub(crate) fn reopen_outsider(&mut self) {
        self.outsider = self.outside.channel().expect("a channel");
    }

    pub(crate) fn probe_name(&self) -> String {
        format!("{}probe", self.prefix)
    }

    /// Publishes to a quorum queue of its own, and waits for the confirm.
    pub(crate) fn publish_a_probe(&mut self) {
        let name = self.probe_name();
        if self.probe.is_none() {
            let probe = amqp_blocking::Queue::quorum(&name).max_length(1);
            self.outsider.queue_declare(probe).expect("a probe");
            self.probe = Some(self.outside.publisher().expect("a publisher"));
        }
        if let Some(probe) = &self.probe {
            probe.publish("", &name, "probe").expect("it is taken");
        }
    }

    pub(crate) fn queue(&self, queue: Queue) -> String {
        match queue {
            Queue::Named(number) => format!("{}q{number}", self.prefix),
            Queue::Generated => self.generated.clone().unwrap_or_else(|| format!("{}none", self.prefix)),
            Queue::Empty => String::new(),
            Queue::Missing => format!("{}missing", self.prefix),
            Queue::Reserved => format!("amq.{}q", self.prefix),
        }
    }

    pub(crate) fn exchange(&self, exchange: Exchange) -> String {
        match exchange {
            Exchange::Named(number) => format!("{}x{number}", self.prefix),
            Exchange::Default => String::new(),
            Exchange::Missing => format!("{}missing", self.prefix),
            Exchange::Direct => "amq.direct".to_owned(),
            Exchange::Reserved => format!("amq.{}x", self.prefix),
        }
    }

    /// A routing key; at an exchange that other programs use as well, one that they do not.
    pub(crate) fn key(&self, exchange: Exchange, key: Key) -> String {
        let key = match key {
            Key::Text(text) => text.to_owned(),
            Key::Queue(queue) => self.queue(queue),
        };
        if exchange == Exchange::Direct { format!("{}{key}", self.prefix) } else { key }
    }

    /// A delivery has come: it is held until it is settled.
    pub(crate) fn take(&mut self, on: Slot, delivery: Delivery, no_ack: bool) {
        self.see(&format!("{on}: {}", words::delivery(&delivery)));
        if !no_ack {
            self.opened(on).held.push(delivery);
        }
    }

    /// Puts back what quorum queues have handed out, one channel after the other: when a connection closes, they hear of its
    /// channels in any order.
    fn put_back_in_order(&mut self) {
        if !self.has_quorum_queues || !self.streams.is_empty() {
            return;
        }
        for slot in 0..CONNECTIONS * CHANNELS_PER_CONNECTION {
            let opened = &self.sides[slot / CHANNELS_PER_CONNECTION].channels[slot % CHANNELS_PER_CONNECTION];
            let holding = opened.as_ref().filter(|opened| !opened.held.is_empty() && opened.channel.is_open());
            if holding.is_some_and(|opened| opened.channel.nack(0, true, true).is_ok()) {
                self.opened(slot).held.clear();
                self.settle_down(slot);
            }
        }
    }

    /// Ends the program: says what is left in the queues, and deletes it all.
    fn end(mut self) -> Step {
        // Or else what comes back from one connection may, for a moment, go to the other.
        for opened in self.sides.iter().flat_map(|side| side.channels.iter().flatten()) {
            for consuming in &opened.consumers {
                // It may be closed already.
                let _ = opened.channel.cancel(consuming.consumer.tag());
            }
        }
        self.put_back_in_order();
        for side in 0..self.sides.len() {
            let _ = self.sides[side].connection.close();
            self.await_orphans(side);
        }
        self.reopen_outsider();
        for queue in self.queues.clone().into_keys() {
            // What is in a stream cannot be taken out.
            while !self.streams.contains(&queue) {
                match self.outsider.get(Get::new(&queue).no_ack()) {
                    Ok(Some(delivery)) => self.see(&format!("left: {}", words::delivery(&delivery))),
                    Ok(None) => break,
                    Err(error) => {
                        self.see(&format!("left: {}", words::error(&error)));
                        self.reopen_outsider();
                        break;
                    }
                }
            }
            // What is not there need not be deleted.
            let _ = self.outsider.queue_delete(&queue);
        }
        if self.probe.is_some() {
            let _ = self.outsider.queue_delete(self.probe_name());
        }
        for number in 0..3 {
            let _ = self.outsider.exchange_delete(self.exchange(Exchange::Named(number)));
        }
        self.seen
    }
}

/// A connection that does not come back when it is lost: that is seen, too.
fn open(uri: &str) -> Connection {
    let config = Config::from_uri(uri).expect("the broker's URI is good");
    connect(config.no_recovery()).expect("the broker is there")
}

impl Side {
    fn new(uri: &str) -> Self {
        let connection = open(uri);
        let insider = connection.channel().expect("a channel");
        Self { connection, insider, channels: [const { None }; CHANNELS_PER_CONNECTION] }
    }
}

impl Opened {
    fn new(channel: Channel) -> Self {
        let returns = channel.returns();
        Self {
            channel,
            is_told: false,
            confirms: false,
            last_declared: String::new(),
            returns,
            consumers: Vec::new(),
            held: Vec::new(),
        }
    }
}
