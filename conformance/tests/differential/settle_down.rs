//! Waits until the broker has done all that follows from an operation.
//!
//! A call on the operation's channel tells that its messages have gone to the queues; a question to each queue that it has
//! dealt with them, and with what other queues sent it meanwhile; and a call on each channel that what the queues sent to it
//! is on the wire. Only what a process does when it hears of another's end is waited for by its effect.
//!
//! Quorum queues do nothing before it is on disk. They share one log: what they were told before something that another of them
//! has on disk is there as well. Streams cannot be asked for anything of that kind; they get a little time.

use std::thread;
use std::time::{Duration, Instant};

use amqp_blocking::{Channel, Error, ErrorKind, Exchange, Queue};

use crate::player::Player;
use crate::program::{CHANNELS_PER_CONNECTION, CONNECTIONS, Slot};
use crate::words;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call that changes nothing.
fn call(channel: &Channel) -> Result<(), Error> {
    channel.exchange_declare(Exchange::direct("amq.direct").passive())
}

impl Player<'_> {
    /// Waits, and says what came of the operation on this channel.
    pub(crate) fn settle_down(&mut self, on: Slot) {
        self.check(on);
        for side in 0..CONNECTIONS {
            if !self.sides[side].connection.is_open() {
                self.await_orphans(side);
            }
        }
        // More than once, for messages that go from one queue to another.
        for left in (0..self.patience).rev() {
            if self.has_quorum_queues {
                // Once to have them hear of it, once more as they put off what is not urgent.
                self.ask_queues(false);
                self.ask_queues(false);
                self.publish_a_probe();
            }
            if !self.streams.is_empty() {
                thread::sleep(Duration::from_millis(self.patience as u64));
            }
            self.ask_queues(left == 0);
        }
        for slot in 0..CONNECTIONS * CHANNELS_PER_CONNECTION {
            self.look_at(slot);
        }
    }

    /// Calls on a channel, and says why it was closed.
    fn check(&mut self, slot: Slot) {
        let opened = self.opened(slot);
        let called = call(&opened.channel);
        if called.is_err() && !opened.is_told {
            opened.is_told = true;
            let reason = opened.channel.error().map(|error| words::error(&error));
            self.see(&format!("{slot}: {}", reason.unwrap_or_else(|| "closed".to_owned())));
        }
    }

    fn ask_queues(&mut self, tell: bool) {
        for (queue, owner) in self.queues.clone() {
            let asked = match owner {
                Some(side) => &self.sides[side].insider,
                None => &self.outsider,
            };
            match asked.queue_declare(Queue::new(&queue).passive()) {
                Ok(declared) if tell => {
                    let (messages, consumers) = (declared.message_count, declared.consumer_count);
                    // What is said of streams is as old as RabbitMQ's statistics.
                    if (messages, consumers) != (0, 0) && !self.streams.contains(&queue) {
                        self.see(&format!("{queue}: {messages} messages, {consumers} consumers"));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.see(&format!("{queue}: {}", words::error(&error)));
                    self.queues.remove(&queue);
                    match owner {
                        Some(side) => {
                            let side = &mut self.sides[side];
                            side.insider = side.connection.channel().expect("a channel");
                        }
                        None => self.reopen_outsider(),
                    }
                }
            }
        }
    }

    /// What has come in on a channel.
    fn look_at(&mut self, slot: Slot) {
        let opened = &self.sides[slot / CHANNELS_PER_CONNECTION].channels[slot % CHANNELS_PER_CONNECTION];
        if opened.is_none() {
            return;
        }
        self.check(slot);
        let opened = self.opened(slot);
        let is_open = opened.channel.is_open();
        let mut consumers = std::mem::take(&mut opened.consumers);
        consumers.retain_mut(|consuming| {
            let no_ack = consuming.no_ack;
            loop {
                // Whose queue has gone is told so, soon.
                let is_ending = is_open && !self.queues.contains_key(&consuming.queue);
                let patience = if is_ending { PATIENCE } else { Duration::ZERO };
                match consuming.consumer.recv_timeout(patience) {
                    Ok(Some(Ok(delivery))) => self.take(slot, delivery, no_ack),
                    Ok(Some(Err(error))) => {
                        if is_open {
                            self.see(&format!("{slot}: consumer ends: {}", words::error(&error)));
                        }
                        return false;
                    }
                    Ok(None) => return false,
                    Err(_) => return true,
                }
            }
        });
        let opened = self.opened(slot);
        opened.consumers = consumers;
        if !is_open {
            opened.held.clear();
        }
        while let Some(returned) = self.opened(slot).returns.try_next() {
            self.see(&format!("{slot}: returned {}", words::returned(&returned)));
        }
    }

    /// Waits until the queues have gone that belonged to a connection.
    pub(crate) fn await_orphans(&mut self, side: usize) {
        let orphans: Vec<_> =
            self.queues.iter().filter(|(_, owner)| **owner == Some(side)).map(|(name, _)| name.clone()).collect();
        for queue in orphans {
            let start = Instant::now();
            loop {
                let result = self.outsider.queue_declare(Queue::new(&queue).passive());
                let Err(error) = result else { panic!("{queue} is not exclusive") };
                self.reopen_outsider();
                let is_locked = matches!(error.kind(), ErrorKind::ChannelClosed(reason) if reason.code.0 == 405);
                if !is_locked {
                    self.queues.remove(&queue);
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{queue} stays");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
