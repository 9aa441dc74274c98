//! `amqp-broker` in this process, and what happens to it. It cannot be restarted; all else can be done to it, and more than to
//! a RabbitMQ.

use std::time::Duration;

use amqp_broker::{Alarm, Broker, On, Reaction, Rule};
use conformance::{Failure, Result};
use fastrand::Rng;

use crate::script::{Card, Target};

/// One thing that goes wrong and is made good again.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    CloseAllConnections,
    /// Of the clients whose names have this number.
    Cut(usize),
    Stall(usize),
    Alarm(Alarm),
    CancelConsumers,
    /// Of so many publishes one is in for this.
    Publishes(u32, Reaction),
}

/// A broker, the queue that all is about, and the names of its clients.
pub(crate) struct InProcess {
    pub(crate) broker: Broker,
    pub(crate) queue: &'static str,
    pub(crate) clients: Vec<String>,
}

impl Target for InProcess {
    type Event = Event;

    fn deck(&self) -> Vec<Card<Event>> {
        vec![
            |_| Event::CloseAllConnections,
            |rng| Event::Cut(rng.usize(..20)),
            |rng| Event::Stall(rng.usize(..20)),
            |_| Event::Alarm(Alarm::Memory),
            |_| Event::Alarm(Alarm::Disk),
            |_| Event::CancelConsumers,
            |rng| publishes(rng, Reaction::Nack),
            |rng| publishes(rng, Reaction::Reject),
            |rng| publishes(rng, Reaction::Cut),
            |rng| publishes(rng, Reaction::Delay(Duration::from_millis(50))),
            |rng| publishes(rng, Reaction::ConfirmWithin(Duration::from_millis(200))),
            |rng| publishes(rng, Reaction::CloseConnection(541, "INTERNAL_ERROR - chaos".to_owned())),
            |rng| publishes(rng, Reaction::CloseChannel(406, "PRECONDITION_FAILED - chaos".to_owned())),
        ]
    }

    fn suffer(&self, event: &Event, _: usize, wait: impl FnOnce()) -> Result<()> {
        let client = |number: usize| self.clients[number % self.clients.len()].as_str();
        match event {
            Event::CloseAllConnections => {
                self.broker.close_all_connections(320, "CONNECTION_FORCED - chaos");
                wait();
            }
            Event::Cut(number) => {
                self.broker.cut_connections(client(*number));
                wait();
            }
            Event::Stall(number) => {
                self.broker.stall_connections(client(*number));
                wait();
                self.broker.resume_connections(client(*number));
            }
            Event::Alarm(alarm) => {
                self.broker.set_alarm(*alarm, true);
                wait();
                self.broker.set_alarm(*alarm, false);
            }
            Event::CancelConsumers => {
                self.broker.cancel_consumers(self.queue).map_err(Failure::during("cancelling consumers"))?;
                wait();
            }
            Event::Publishes(every, reaction) => {
                for round in 1..=ROUNDS {
                    self.broker.add_rule(Rule::new(On::Publish, reaction.clone()).after(every * round).times(1));
                }
                wait();
                self.broker.clear_rules();
            }
        }
        Ok(())
    }
}

/// How many publishes such a thing happens to, at most.
const ROUNDS: u32 = 20;

fn publishes(rng: &mut Rng, reaction: Reaction) -> Event {
    Event::Publishes(rng.u32(3..30), reaction)
}
