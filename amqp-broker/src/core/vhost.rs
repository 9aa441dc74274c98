//! A virtual host: its exchanges, and the names of its queues.

use std::collections::BTreeMap;

use super::exchange::{Exchange, Kind};
use super::name::Name;
use super::queue::QueueId;

#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) exchanges: BTreeMap<Name, Exchange>,
    pub(super) queues: BTreeMap<Name, QueueId>,
}

impl Vhost {
    /// One with the exchanges that every virtual host has.
    pub(super) fn new() -> Self {
        let standard = [
            ("", Kind::Direct),
            ("amq.direct", Kind::Direct),
            ("amq.fanout", Kind::Fanout),
            ("amq.headers", Kind::Headers),
            ("amq.match", Kind::Headers),
            ("amq.topic", Kind::Topic),
        ];
        let exchanges = standard.map(|(name, kind)| (Name::from(name), Exchange::new(Name::from(name), kind)));
        let mut exchanges = BTreeMap::from(exchanges);
        let mut trace = Exchange::new(Name::from("amq.rabbitmq.trace"), Kind::Topic);
        trace.internal = true;
        exchanges.insert(trace.name.clone(), trace);
        Self { exchanges, queues: BTreeMap::new() }
    }
}
