//! A tour of the client, against a broker at `AMQP_URL` (default `amqp://localhost`): a queue, a thousand messages with
//! confirms, the same thousand consumed and acked, and a clean close.
//!
//! `cargo run --release -p amqp-tokio --example tour`, or `scripts/tour`, which brings a broker.

use amqp_tokio as client;

#[path = "../../amqp-api/examples/shared/tour.rs"]
mod tour;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), client::Error> {
    tour::tour().await
}
