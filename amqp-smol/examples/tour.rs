//! A tour of the client, against a broker at `AMQP_URL` (default `amqp://localhost`): a queue, a thousand messages with
//! confirms, the same thousand consumed and acked, and a clean close.
//!
//! `cargo run --release -p amqp-smol --example tour-smol`, or `scripts/tour amqp-smol`, which brings a broker.

use std::time::Instant;

use amqp_smol::{Error, Exchange, Queue};

const MESSAGES: usize = 1000;

fn main() -> Result<(), Error> {
    smol::block_on(tour())
}

/// A queue, a thousand messages with confirms, the same thousand consumed and acked, and a clean close.
async fn tour() -> Result<(), Error> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let connection = amqp_smol::connect(url).await?;
    let server = connection.server_properties();
    let said = |key: &str| server.get(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let tuning = connection.tuning();
    println!(
        "connected to {} {}: frames of up to {} bytes, up to {} channels",
        said("product"),
        said("version"),
        tuning.frame_max,
        tuning.channel_max
    );

    let channel = connection.channel().await?;
    channel.exchange_declare(Exchange::topic("tour").durable(false).auto_delete()).await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.queue_bind(&queue, "tour", "stop.*").await?;
    println!("declared the exchange tour and the queue {queue}, bound by stop.*");

    // Queue them all, then wait for each: they leave in a few writes, and the broker confirms them in batches.
    let publisher = connection.publisher().await?;
    let start = Instant::now();
    let mut confirms = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        confirms.push(publisher.send("tour", format!("stop.{number}"), format!("message {number}")).await?);
    }
    let published = confirms.len();
    let mut confirmed = 0;
    for confirm in confirms {
        confirm.wait().await?;
        confirmed += 1;
    }
    println!("published {published} messages, the broker has confirmed {confirmed}, in {:.1?}", start.elapsed());

    let start = Instant::now();
    let mut consumer = channel.consume(&queue).await?;
    let mut consumed = 0;
    while consumed < MESSAGES
        && let Some(delivery) = consumer.next().await
    {
        let delivery = delivery?;
        assert_eq!(delivery.body(), format!("message {consumed}").as_str(), "messages come in their order");
        delivery.ack()?;
        consumed += 1;
    }
    println!("consumed and acked {consumed} messages by the consumer {}, in {:.1?}", consumer.tag(), start.elapsed());

    consumer.cancel().await?;
    connection.close().await?;
    println!("closed the connection");
    println!("tour: published {published}, confirmed {confirmed}, consumed {consumed}");
    Ok(())
}
