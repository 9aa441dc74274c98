//! The broker without I/O: scripted methods in, frames out, in virtual time. What is expected was recorded from RabbitMQ.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod ack_timeouts;
mod alarms;
mod confirms;
mod consuming;
mod dead_letters;
mod expiry;
mod faults;
mod handshake;
mod malformed;
mod peer;
mod quorum;
mod routing;
mod settling;
mod streams;
mod texts;
mod transactions;
