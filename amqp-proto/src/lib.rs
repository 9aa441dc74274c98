//! The core of the AMQP 0-9-1 client: no I/O, no runtime, no threads, no clock.

pub mod config;
pub mod method;
pub mod sasl;
pub mod uri;
pub mod wire;
