//! What a method does to the record of what was declared, once the broker has granted it.

use super::topology::{Binding, Destination, Exchange, Queue, Topology};
use crate::method::{Method, exchange, queue};
use crate::wire::{ShortStr, TableRef};

/// A change of the topology that was asked for. It is made when the broker has granted it.
#[derive(Debug)]
pub(crate) enum Change {
    AddExchange(Exchange),
    RemoveExchange(String),
    AddQueue(Queue),
    RemoveQueue(String),
    Bind(Binding),
    Unbind(Binding),
}

impl Change {
    /// What the method changes, if anything. `last_queue` is the one that its channel declared last: an empty name means
    /// it (0-9-1 §1.7.2).
    pub(crate) fn of(method: &Method<'_>, last_queue: &str) -> Option<Self> {
        let named = |name: ShortStr<'_>| if name.is_empty() { last_queue.to_owned() } else { text(name) };
        // Where neither is given the routing key, too, is the name of that queue.
        let key = |queue: ShortStr<'_>, routing_key: ShortStr<'_>| {
            if queue.is_empty() && routing_key.is_empty() { last_queue.to_owned() } else { text(routing_key) }
        };
        let binding = |destination, source: ShortStr<'_>, routing_key, arguments: TableRef<'_>| Binding {
            destination,
            source: text(source),
            routing_key,
            arguments: arguments.to_owned(),
        };
        Some(match method {
            Method::Exchange(exchange::Method::Declare(declare)) if !declare.passive => Self::AddExchange(Exchange {
                name: text(declare.exchange),
                kind: text(declare.kind),
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments.to_owned(),
            }),
            Method::Exchange(exchange::Method::Delete(delete)) => Self::RemoveExchange(text(delete.exchange)),
            Method::Exchange(exchange::Method::Bind(bind)) => Self::Bind(binding(
                Destination::Exchange(text(bind.destination)),
                bind.source,
                text(bind.routing_key),
                bind.arguments,
            )),
            Method::Exchange(exchange::Method::Unbind(unbind)) => Self::Unbind(binding(
                Destination::Exchange(text(unbind.destination)),
                unbind.source,
                text(unbind.routing_key),
                unbind.arguments,
            )),
            Method::Queue(queue::Method::Declare(declare)) if !declare.passive => Self::AddQueue(Queue {
                name: text(declare.queue),
                server_named: declare.queue.is_empty(),
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments.to_owned(),
                consumers: 0,
            }),
            Method::Queue(queue::Method::Delete(delete)) => Self::RemoveQueue(named(delete.queue)),
            Method::Queue(queue::Method::Bind(bind)) => Self::Bind(binding(
                Destination::Queue(named(bind.queue)),
                bind.exchange,
                key(bind.queue, bind.routing_key),
                bind.arguments,
            )),
            Method::Queue(queue::Method::Unbind(unbind)) => Self::Unbind(binding(
                Destination::Queue(named(unbind.queue)),
                unbind.exchange,
                key(unbind.queue, unbind.routing_key),
                unbind.arguments,
            )),
            _ => return None,
        })
    }

    /// The broker has granted it. `queue` is the name in `queue.declare-ok`.
    pub(crate) fn apply(self, queue: Option<&str>, topology: &mut Topology) {
        match self {
            Self::AddExchange(exchange) => topology.add_exchange(exchange),
            Self::RemoveExchange(name) => topology.remove_exchange(&name),
            Self::AddQueue(mut declared) => {
                if let Some(name) = queue.filter(|_| declared.server_named) {
                    name.clone_into(&mut declared.name);
                }
                topology.add_queue(declared);
            }
            Self::RemoveQueue(name) => topology.remove_queue(&name),
            Self::Bind(binding) => topology.bind(binding),
            Self::Unbind(binding) => topology.unbind(&binding),
        }
    }
}

fn text(name: ShortStr<'_>) -> String {
    name.to_string_lossy().into_owned()
}
