//! Bodies of the fuzz targets: each takes any bytes and panics where something is wrong. Not part of the public API.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

mod broker;
mod connection;
mod input;
mod watch;

pub use connection::connection;
