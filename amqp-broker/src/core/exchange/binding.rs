//! A binding: that messages go on from an exchange to a queue or another exchange.

use amqp_proto::wire::{FieldTable, TableRef};

use crate::core::name::Name;
use crate::core::queue::QueueId;

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
        let arguments = crate::core::message::table_of(entries).as_ref().as_wire().to_vec();
        Self { routing_key: routing_key.into(), destination, arguments }
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        TableRef::from_wire(&self.arguments).map(|table| table.to_owned()).unwrap_or_default()
    }
}
