//! A sans-IO AMQP 0-9-1 core: codec, connection and channel state machine. No I/O, no runtime, no clock.

pub mod config;
pub mod sasl;
pub mod uri;
