//! The client's connection against a scripted broker, in virtual time: no socket, no thread, no waiting.
//!
//! `peer` is the broker's side; `watch` checks every frame that the client sends, in every test. Then a file for each
//! topic.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;
mod prefetch;
#[path = "../../src/fuzzing/watch.rs"]
mod watch;

mod calls;
mod closing;
mod confirms;
mod consume_streamed;
mod consumers;
mod handshake;
mod heartbeat;
mod malformed;
mod outcomes;
mod publish;
mod publish_streamed;
mod recovery;
mod room;
