//! The arguments table of a builder, with the error that its first bad argument left.

use std::time::Duration;

use amqp_proto::error::Error;
use amqp_proto::wire::{FieldTable, FieldValue, TableRef};

#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments {
    table: FieldTable,
    error: Option<Error>,
}

impl Arguments {
    pub(crate) fn set(&mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) {
        if let Err(error) = self.table.insert(key, value) {
            self.error.get_or_insert(error.into());
        }
    }

    /// The table, or what was wrong with it.
    pub(crate) fn get(&self) -> Result<TableRef<'_>, Error> {
        match &self.error {
            None => Ok(self.table.as_ref()),
            Some(error) => Err(error.clone()),
        }
    }
}

/// A time as brokers want it in arguments: whole milliseconds. More than 292 million years stay that many.
pub(crate) fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A time as brokers want it where they take ages: whole seconds.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// A count or size as brokers want it in arguments.
pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
