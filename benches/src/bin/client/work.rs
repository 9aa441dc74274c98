//! The workloads, through the client as a user writes them.

use amqp_tokio::{Connection, Consume, Message};

use crate::{Outcome, Taken};

pub(crate) const NAMES: [&str; 4] = ["publish", "confirm", "consume", "ack"];

/// Confirms outstanding at any time.
const WINDOW: usize = 100;

/// Deliveries outstanding at any time, where they are acked.
const PREFETCH: u16 = 500;

pub(crate) fn run(name: &str, port: u16, messages: u64, size: usize, multi_thread: bool) -> Outcome<Taken> {
    let mut runtime = if multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build()?;
    let connection = runtime.block_on(async { amqp_tokio::connect(format!("amqp://127.0.0.1:{port}")).await })?;
    Taken::of(|| {
        // Spawned, as an application's tasks are: on a multi-thread runtime `block_on` itself is a thread of its own.
        let name = name.to_owned();
        let task = runtime.spawn(async move {
            match name.as_str() {
                "publish" => publish(&connection, messages, size).await,
                "confirm" => confirm(&connection, messages, size).await,
                "consume" => consume(&connection, messages, size, false).await,
                _ => consume(&connection, messages, size, true).await,
            }
        });
        Ok(runtime.block_on(task)??)
    })
}

async fn publish(connection: &Connection, messages: u64, size: usize) -> Result<(), amqp_tokio::Error> {
    let channel = connection.channel().await?;
    let body = bytes::Bytes::from(vec![b'x'; size]);
    for _ in 0..messages {
        channel.publish("events", "order.created", Message::new(body.clone())).await?;
    }
    connection.close().await
}

async fn confirm(connection: &Connection, messages: u64, size: usize) -> Result<(), amqp_tokio::Error> {
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let body = bytes::Bytes::from(vec![b'x'; size]);
    let mut window = std::collections::VecDeque::with_capacity(WINDOW);
    for _ in 0..messages {
        if window.len() == WINDOW
            && let Some(confirm) = window.pop_front()
        {
            confirm.await?;
        }
        window.push_back(channel.send("events", "order.created", Message::new(body.clone())).await?);
    }
    for confirm in window {
        confirm.await?;
    }
    connection.close().await
}

async fn consume(connection: &Connection, messages: u64, size: usize, acks: bool) -> Result<(), amqp_tokio::Error> {
    let channel = connection.channel().await?;
    let consume = Consume::new(format!("{size}.{messages}")).prefetch(PREFETCH);
    let mut consumer = channel.consume(if acks { consume } else { consume.no_ack() }).await?;
    for _ in 0..messages {
        let Some(delivery) = consumer.next().await else { break };
        let delivery = delivery?;
        if acks {
            delivery.ack()?;
        }
    }
    consumer.cancel().await?;
    connection.abort();
    Ok(())
}
