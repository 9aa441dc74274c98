//! The client properties of `connection.start-ok`.

use super::Config;
use crate::wire::{EncodeError, FieldTable, FieldValue};

/// Brokers send some methods only to clients that say they know them. We know them all.
const CAPABILITIES: [&str; 7] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
];

impl Config {
    /// The client properties as they go out: `product`, `version`, `platform`, `information`, then
    /// [`client_properties`](Config#structfield.client_properties), which replace those of the same name, then
    /// `connection_name` if one is set, and `capabilities`: what the user gave under that name with all of ours
    /// switched on.
    ///
    /// # Errors
    ///
    /// Capabilities nested too deeply to be sent.
    pub fn start_properties(&self) -> Result<FieldTable, EncodeError> {
        let mut properties = FieldTable::new();
        properties.insert("product", "amqp-proto")?;
        properties.insert("version", env!("CARGO_PKG_VERSION"))?;
        properties.insert("platform", "Rust")?;
        properties.insert("information", "An AMQP 0-9-1 client in Rust. Licensed under MIT or Apache-2.0.")?;
        let mut capabilities = FieldTable::new();
        for (key, value) in &self.client_properties {
            let key = key.to_string_lossy();
            match value.as_table() {
                Some(table) if key == "capabilities" => capabilities = table.to_owned(),
                _ => properties.insert(key, value.to_owned())?,
            }
        }
        if let Some(name) = &self.connection_name {
            properties.insert("connection_name", name.as_str())?;
        }
        for capability in CAPABILITIES {
            capabilities.insert(capability, true)?;
        }
        properties.insert("capabilities", FieldValue::Table(capabilities))?;
        Ok(properties)
    }
}
