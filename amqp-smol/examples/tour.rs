//! A tour of the client, against a broker at `AMQP_URL` (default `amqp://localhost`): a queue, a thousand messages with
//! confirms, the same thousand consumed and acked, and a clean close.
//!
//! `cargo run --release -p amqp-smol --example tour-smol`

use amqp_smol as client;

#[path = "../../amqp-api/examples/shared/tour.rs"]
mod tour;

fn main() -> Result<(), client::Error> {
    smol::block_on(tour::tour())
}
