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
    /// What the method changes, if anything. An empty name is resolved when the change is made.
    pub(crate) fn of(method: &Method<'_>) -> Option<Self> {
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
            Method::Queue(queue::Method::Delete(delete)) => Self::RemoveQueue(text(delete.queue)),
            Method::Queue(queue::Method::Bind(bind)) => Self::Bind(binding(
                Destination::Queue(text(bind.queue)),
                bind.exchange,
                text(bind.routing_key),
                bind.arguments,
            )),
            Method::Queue(queue::Method::Unbind(unbind)) => Self::Unbind(binding(
                Destination::Queue(text(unbind.queue)),
                unbind.exchange,
                text(unbind.routing_key),
                unbind.arguments,
            )),
            _ => return None,
        })
    }

    /// Whether something is recorded by it, and not forgotten.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Self::AddExchange(_) | Self::AddQueue(_) | Self::Bind(_))
    }

    /// The broker has granted it. `queue` is the name in `queue.declare-ok`; an empty name means `last_queue`, the one that
    /// was declared last on the channel (0-9-1 §1.7.2).
    pub(crate) fn apply(mut self, last_queue: &str, queue: Option<&str>, topology: &mut Topology) {
        match &mut self {
            Self::RemoveQueue(name) if name.is_empty() => last_queue.clone_into(name),
            Self::Bind(binding) | Self::Unbind(binding) => {
                if let Destination::Queue(name) = &mut binding.destination
                    && name.is_empty()
                {
                    last_queue.clone_into(name);
                    // Where neither is given the routing key, too, is the name of that queue.
                    if binding.routing_key.is_empty() {
                        last_queue.clone_into(&mut binding.routing_key);
                    }
                }
            }
            _ => {}
        }
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
