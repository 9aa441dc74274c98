//! Exchanges: what they are, what is bound to them, and where they route a message to.
//!
//! `topic` and `headers` are the two routings that need more than a map.

mod headers;
mod topic;

use std::collections::{BTreeMap, BTreeSet};

use amqp_proto::wire::{FieldTable, TableRef};
use smallvec::SmallVec;

use super::message::Message;
use super::name::Name;
use super::queue::QueueId;
use headers::Match;
use topic::Topics;

pub(crate) use headers::check_arguments;

/// The four types of exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"direct" => Some(Self::Direct),
            b"fanout" => Some(Self::Fanout),
            b"topic" => Some(Self::Topic),
            b"headers" => Some(Self::Headers),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    Queue(QueueId),
    Exchange(Name),
}

/// A binding, without the exchange that it leads from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binding {
    pub(crate) routing_key: Name,
    pub(crate) destination: Destination,
    /// The arguments, sorted and on the wire, so that equal ones are equal.
    pub(crate) arguments: Vec<u8>,
}

impl Binding {
    pub(crate) fn new(routing_key: &[u8], destination: Destination, arguments: TableRef<'_>) -> Self {
        let mut entries: Vec<_> = arguments.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        let arguments = super::message::table_of(entries).as_ref().as_wire().to_vec();
        Self { routing_key: routing_key.into(), destination, arguments }
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        TableRef::from_wire(&self.arguments).map(|table| table.to_owned()).unwrap_or_default()
    }
}

/// An exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: FieldTable,
    pub(crate) alternate: Option<Name>,
    bindings: BTreeSet<Binding>,
    routes: Routes,
}

/// The bindings, as the exchange's type looks them up.
#[derive(Debug)]
enum Routes {
    /// By routing key. How many bindings of other arguments there are does not matter.
    Direct(BTreeMap<Name, Vec<Destination>>),
    Fanout(Vec<Destination>),
    Topic(Topics),
    Headers(Vec<(Match, Destination)>),
}

impl Exchange {
    pub(crate) fn new(name: Name, kind: Kind) -> Self {
        let routes = match kind {
            Kind::Direct => Routes::Direct(BTreeMap::new()),
            Kind::Fanout => Routes::Fanout(Vec::new()),
            Kind::Topic => Routes::Topic(Topics::default()),
            Kind::Headers => Routes::Headers(Vec::new()),
        };
        Self {
            name,
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::new(),
            alternate: None,
            bindings: BTreeSet::new(),
            routes,
        }
    }

    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    pub(crate) fn is_used(&self) -> bool {
        !self.bindings.is_empty()
    }

    /// Adds a binding; `false` if it was there.
    pub(crate) fn bind(&mut self, binding: Binding) -> bool {
        if self.bindings.contains(&binding) {
            return false;
        }
        let destination = binding.destination.clone();
        match &mut self.routes {
            Routes::Direct(routes) => routes.entry(binding.routing_key.clone()).or_default().push(destination),
            Routes::Fanout(routes) => routes.push(destination),
            Routes::Topic(topics) => topics.insert(binding.routing_key.as_bytes(), destination),
            Routes::Headers(routes) => routes.push((Match::new(&binding.arguments()), destination)),
        }
        self.bindings.insert(binding);
        true
    }

    /// Removes a binding; `false` if it was not there.
    pub(crate) fn unbind(&mut self, binding: &Binding) -> bool {
        if !self.bindings.remove(binding) {
            return false;
        }
        let destination = &binding.destination;
        match &mut self.routes {
            Routes::Direct(routes) => {
                if let Some(destinations) = routes.get_mut(binding.routing_key.as_bytes()) {
                    remove_one(destinations, |other| other == destination);
                    if destinations.is_empty() {
                        routes.remove(binding.routing_key.as_bytes());
                    }
                }
            }
            Routes::Fanout(routes) => remove_one(routes, |other| other == destination),
            Routes::Topic(topics) => topics.remove(binding.routing_key.as_bytes(), destination),
            Routes::Headers(routes) => {
                let wanted = Match::new(&binding.arguments());
                remove_one(routes, |(rule, other)| other == destination && *rule == wanted);
            }
        }
        true
    }

    /// Removes all bindings to `destination`, and gives how many they were.
    pub(crate) fn unbind_all(&mut self, destination: &Destination) -> usize {
        let all: Vec<_> = self.bindings.iter().filter(|binding| binding.destination == *destination).cloned().collect();
        all.iter().filter(|binding| self.unbind(binding)).count()
    }

    /// The destinations of a message, perhaps some of them more than once.
    pub(crate) fn destinations<'a>(&'a self, message: &Message) -> SmallVec<[&'a Destination; 8]> {
        match &self.routes {
            Routes::Direct(routes) => message.routing_keys().filter_map(|key| routes.get(key)).flatten().collect(),
            Routes::Fanout(routes) => routes.iter().collect(),
            Routes::Topic(topics) => {
                let mut found = SmallVec::new();
                message.routing_keys().for_each(|key| topics.find(key, &mut |destination| found.push(destination)));
                found
            }
            Routes::Headers(routes) => {
                let headers = message.headers();
                routes.iter().filter(|(rule, _)| rule.matches(headers)).map(|(_, destination)| destination).collect()
            }
        }
    }
}

fn remove_one<T>(all: &mut Vec<T>, is_it: impl FnMut(&T) -> bool) {
    if let Some(at) = all.iter().position(is_it) {
        all.remove(at);
    }
}
