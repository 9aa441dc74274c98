//! Exchanges: what they are, what is bound to them (`binding`), and where they route a message to: by one of the four routings
//! `direct`, `fanout`, `topic` and `headers`. What goes on from there, over other exchanges to queues, is in `core::route`.

mod binding;
mod direct;
mod fanout;
mod headers;
mod topic;

use std::collections::BTreeSet;

use amqp_proto::wire::FieldTable;
use smallvec::SmallVec;

use super::message::Message;
use super::name::Name;
use direct::Keys;
use fanout::Everywhere;
use headers::Matches;
use topic::Topics;

pub(crate) use binding::{Binding, Destination};
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
    Direct(Keys),
    Fanout(Everywhere),
    Topic(Topics),
    Headers(Matches),
}

impl Exchange {
    pub(crate) fn new(name: Name, kind: Kind) -> Self {
        let routes = match kind {
            Kind::Direct => Routes::Direct(Keys::default()),
            Kind::Fanout => Routes::Fanout(Everywhere::default()),
            Kind::Topic => Routes::Topic(Topics::default()),
            Kind::Headers => Routes::Headers(Matches::default()),
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
            Routes::Direct(keys) => keys.insert(&binding.routing_key, destination),
            Routes::Fanout(everywhere) => everywhere.insert(destination),
            Routes::Topic(topics) => topics.insert(binding.routing_key.as_bytes(), destination),
            Routes::Headers(matches) => matches.insert(&binding.arguments(), destination),
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
            Routes::Direct(keys) => keys.remove(binding.routing_key.as_bytes(), destination),
            Routes::Fanout(everywhere) => everywhere.remove(destination),
            Routes::Topic(topics) => topics.remove(binding.routing_key.as_bytes(), destination),
            Routes::Headers(matches) => matches.remove(&binding.arguments(), destination),
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
            Routes::Direct(keys) => message.routing_keys().flat_map(|key| keys.find(key)).collect(),
            Routes::Fanout(everywhere) => everywhere.all().iter().collect(),
            Routes::Topic(topics) => {
                let mut found = SmallVec::new();
                message.routing_keys().for_each(|key| topics.find(key, &mut |destination| found.push(destination)));
                found
            }
            Routes::Headers(matches) => matches.find(message.headers()).collect(),
        }
    }
}

fn remove_one<T>(all: &mut Vec<T>, is_it: impl FnMut(&T) -> bool) {
    if let Some(at) = all.iter().position(is_it) {
        all.remove(at);
    }
}
