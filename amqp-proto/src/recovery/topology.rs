//! What was declared over a connection, so that it can be declared again.
//!
//! Only what the broker has granted stands here. What goes by itself goes here too: an auto-delete exchange with the last
//! binding from it, an auto-delete queue with its last consumer, and with either all bindings to it.
//!
//! The maps are ordered by name: the same record is restored in the same order, whatever its history.

use std::collections::BTreeMap;
use std::fmt;

use crate::wire::FieldTable;

/// An exchange that was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// It outlives a restart of the broker.
    pub durable: bool,
    /// It goes with the last binding from it.
    pub auto_delete: bool,
    /// Only other exchanges may publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// A queue that was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The broker has chosen the name, and chooses another when the queue is declared again.
    pub server_named: bool,
    /// It outlives a restart of the broker.
    pub durable: bool,
    /// It belongs to the connection.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: FieldTable,
    /// How many consumers of this connection it has.
    pub(crate) consumers: u32,
}

/// A binding that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// What gets the messages.
    pub destination: Destination,
    /// The exchange that gives them.
    pub source: String,
    /// Which ones.
    pub routing_key: String,
    /// Which ones, for headers exchanges.
    pub arguments: FieldTable,
}

/// What a binding leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// An exchange of this name.
    Exchange(String),
    /// A queue of this name.
    Queue(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}

/// The record.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(super) exchanges: BTreeMap<String, Exchange>,
    pub(super) queues: BTreeMap<String, Queue>,
    /// By what they lead to; none is empty.
    pub(super) bindings: BTreeMap<Destination, Vec<Binding>>,
}

impl Topology {
    pub(crate) fn add_exchange(&mut self, exchange: Exchange) {
        self.exchanges.insert(exchange.name.clone(), exchange);
    }

    pub(crate) fn remove_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
        let from_it = self.unbind_where(|binding| binding.source == name);
        let to_it = self.bindings.remove(&Destination::Exchange(name.to_owned())).unwrap_or_default();
        self.sources_lost(from_it.into_iter().chain(to_it));
    }

    /// A queue that is declared once more keeps its consumers.
    pub(crate) fn add_queue(&mut self, mut queue: Queue) {
        if let Some(known) = self.queues.get(&queue.name) {
            queue.consumers = known.consumers;
            // To declare it again, by the name that the broker once chose, does not make that name one's own.
            queue.server_named |= known.server_named;
        }
        self.queues.insert(queue.name.clone(), queue);
    }

    pub(crate) fn remove_queue(&mut self, name: &str) {
        self.queues.remove(name);
        let to_it = self.bindings.remove(&Destination::Queue(name.to_owned())).unwrap_or_default();
        self.sources_lost(to_it);
    }

    pub(crate) fn bind(&mut self, binding: Binding) {
        let known = self.bindings.entry(binding.destination.clone()).or_default();
        if !known.contains(&binding) {
            known.push(binding);
        }
    }

    pub(crate) fn unbind(&mut self, binding: &Binding) {
        let Some(known) = self.bindings.get_mut(&binding.destination) else { return };
        let Some(at) = known.iter().position(|other| other == binding) else { return };
        let gone = known.remove(at);
        if known.is_empty() {
            self.bindings.remove(&binding.destination);
        }
        self.sources_lost([gone]);
    }

    pub(crate) fn consumer_added(&mut self, queue: &str) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.consumers += 1;
        }
    }

    pub(crate) fn consumer_removed(&mut self, queue: &str) {
        let Some(known) = self.queues.get_mut(queue) else { return };
        known.consumers = known.consumers.saturating_sub(1);
        if known.consumers == 0 && known.auto_delete {
            self.remove_queue(queue);
        }
    }

    /// The broker has chosen another name for a queue: its bindings follow.
    pub(crate) fn rename_queue(&mut self, old: &str, new: &str) {
        if old == new {
            return;
        }
        if let Some(mut queue) = self.queues.remove(old) {
            new.clone_into(&mut queue.name);
            self.queues.insert(new.to_owned(), queue);
        }
        if let Some(mut bindings) = self.bindings.remove(&Destination::Queue(old.to_owned())) {
            let destination = Destination::Queue(new.to_owned());
            for binding in &mut bindings {
                binding.destination = destination.clone();
                // What was bound by the queue's own name is meant to stay so.
                if binding.routing_key == old {
                    new.clone_into(&mut binding.routing_key);
                }
            }
            self.bindings.entry(destination).or_default().append(&mut bindings);
        }
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    fn unbind_where(&mut self, gone: impl Fn(&Binding) -> bool) -> Vec<Binding> {
        let mut removed = Vec::new();
        self.bindings.retain(|_, bindings| {
            removed.extend(bindings.extract_if(.., |binding| gone(binding)));
            !bindings.is_empty()
        });
        removed
    }

    /// These bindings are gone: an auto-delete exchange that was the source of the last of its kind goes as well, and
    /// what was bound to it may be the next.
    fn sources_lost(&mut self, gone: impl IntoIterator<Item = Binding>) {
        for binding in gone {
            let source = &binding.source;
            let goes = self.exchanges.get(source).is_some_and(|exchange| exchange.auto_delete)
                && !self.bindings.values().flatten().any(|binding| binding.source == *source);
            if goes {
                self.remove_exchange(source);
            }
        }
    }
}
