//! A sans-IO core for AMQP 0-9-1 with RabbitMQ's extensions: no I/O, no runtime, no threads, no clock.
//!
//! From the wire up:
//!
//! | module | job |
//! |---|---|
//! | [`wire`] | bytes to frames and back; field tables and short strings |
//! | [`method`] | frames to typed methods, content headers and properties, and back; a file for each class |
//! | [`conn`] | a client's connection and its channels as a state machine: [`conn::Connection`] is the manual |
//! | [`recovery`] | how a lost connection comes back: delays, and what was declared |
//! | [`config`], [`uri`], [`sasl`] | where to connect, as whom, with which limits and deadlines |
//! | [`error`] | the one error type |
//!
//! Arrows only point down: `conn` knows `method`, `method` knows `wire`. Time and randomness come from outside, so that
//! a simulation can hold both.
//!
//! Most people want an adapter with handles instead: `amqp-tokio`.

// Helpers that tests share are found under the same name from inside.
#[cfg(any(test, feature = "fuzzing"))]
extern crate self as amqp_proto;

pub mod config;
pub mod conn;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod method;
pub mod recovery;
pub mod sasl;
pub mod uri;
pub mod wire;
