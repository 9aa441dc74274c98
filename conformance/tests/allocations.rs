//! How often memory is allocated for a message, when all has its place: by the user's task and the driver together, which share
//! a thread.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;

use allocation_counter::measure;
use amqp_broker::Broker;
use amqp_tokio::{Connection, Consume, Message, Queue, connect};
use tokio::runtime::{Builder, Runtime};

/// Messages that are counted, after as many that are not.
const COUNT: u64 = 2000;

/// A runtime on this thread, whose allocations are counted, and a connection to a broker on threads of its own.
fn connected() -> (Runtime, Broker, Connection) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let broker = Broker::start().unwrap();
    let connection = runtime.block_on(connect(broker.uri())).unwrap();
    (runtime, broker, connection)
}

/// Allocations for each of `COUNT` messages, in hundredths: whole ones, as a buffer may still grow once.
fn hundredths(runtime: &Runtime, work: &mut impl AsyncFnMut(u64)) -> u64 {
    runtime.block_on(work(COUNT));
    let counted = measure(|| runtime.block_on(work(COUNT)));
    counted.count_total * 100 / COUNT
}

#[test]
fn a_publish_allocates_nothing() {
    let (runtime, _broker, connection) = connected();
    let channel = runtime.block_on(connection.channel()).unwrap();
    let mut publish = async |count| {
        for _ in 0..count {
            channel.publish("amq.topic", "order.created", Message::new("sixteen bytes...").persistent()).await.unwrap();
        }
    };
    assert_eq!(hundredths(&runtime, &mut publish), 0);
}

#[test]
fn a_confirmed_publish_allocates_nothing() {
    let (runtime, _broker, connection) = connected();
    let publisher = runtime.block_on(connection.publisher()).unwrap().mandatory(false);
    let mut one_by_one = async |count| {
        for _ in 0..count {
            publisher.publish("amq.topic", "order.created", "sixteen bytes...").await.unwrap();
        }
    };
    assert_eq!(hundredths(&runtime, &mut one_by_one), 0);
    let mut window = VecDeque::with_capacity(100);
    let mut pipelined = async |count| {
        for _ in 0..count {
            if window.len() == 100 {
                let confirm: amqp_tokio::Confirm = window.pop_front().unwrap();
                confirm.await.unwrap();
            }
            window.push_back(publisher.send("amq.topic", "order.created", "sixteen bytes...").await.unwrap());
        }
    };
    assert_eq!(hundredths(&runtime, &mut pipelined), 0);
}

#[test]
fn a_delivery_and_its_ack_allocate_once() {
    let (runtime, _broker, connection) = connected();
    let mut consumer = runtime.block_on(async {
        let channel = connection.channel().await.unwrap();
        let queue = channel.queue_declare(Queue::exclusive("orders")).await.unwrap().name;
        let publisher = connection.publisher().await.unwrap();
        for _ in 0..2 * COUNT {
            drop(publisher.send("", &queue, "sixteen bytes...").await.unwrap());
        }
        publisher.wait_for_confirms().await.unwrap();
        channel.consume(Consume::new(queue).prefetch(500)).await.unwrap()
    });
    let mut consume = async |count| {
        for _ in 0..count {
            consumer.next().await.unwrap().unwrap().ack().unwrap();
        }
    };
    assert_eq!(hundredths(&runtime, &mut consume), 100);
}
