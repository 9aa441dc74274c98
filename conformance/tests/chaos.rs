//! Nothing that was confirmed is lost, whatever happens to a cluster of three nodes and to the ways to it.
//!
//! Publishers, every second of which sends again what was not confirmed, and consumers run against a quorum queue while a script, drawn from a seed, kills the leader, restarts and
//! freezes nodes, cuts, stalls and delays connections. `AMQP_CHAOS_SECONDS` says for how long (default: 20),
//! `AMQP_CHAOS_SEED` which script; both are printed. Time decides how a script and the clients meet, so a seed repeats the
//! script, not the run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use amqp_tokio::{
    Config, Connection, Consume, Error, ErrorKind, Heartbeat, Message, Outcome, Queue, Recovery, connect,
};
use conformance::node::{Cluster, Options};
use conformance::proxy::Proxy;
use conformance::wait;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

#[path = "../chaos/ledger.rs"]
mod ledger;
#[path = "../chaos/script.rs"]
mod script;

use ledger::{Ledger, Told};
use script::Stage;

const QUEUE: &str = "chaos";
const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 3;
/// How many bytes a publisher keeps to send them again.
const RETAINED: usize = 1 << 20;
/// Between two messages of a publisher.
const PACE: Duration = Duration::from_millis(2);
/// The deadlines of the client, and what a task may take beyond them on a machine that is busy: more is a hang.
const DEADLINE: Duration = Duration::from_secs(30);
const HANG: Duration = Duration::from_secs(90);
/// How much the memory may grow after the first third, in bytes: the ledger does, by some bytes a message.
const GROWTH: u64 = 64 << 20;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// All nodes, through their proxies.
fn config(proxies: &[Proxy], name: &str) -> Config {
    let hosts: Vec<String> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
    let recovery = Recovery::default()
        .first_delay(Duration::from_millis(50))
        .max_delay(Duration::from_secs(1))
        .retry_first_connect(true);
    Config::from_uri(&format!("amqp://guest:guest@{}", hosts.join(",")))
        .unwrap()
        .connection_name(name)
        .shuffle_hosts(true)
        .heartbeat(Heartbeat::Interval(Duration::from_secs(2)))
        .prefetch(50)
        .recovery(recovery)
}

/// Publishes until it is told to stop. Each publish has its outcome in time, and one that is known if it is sent again.
async fn publish(
    connection: Connection,
    at_least_once: bool,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
) -> Result<(), Error> {
    let mut publisher = connection.publisher().await?;
    if at_least_once {
        publisher = publisher.at_least_once(RETAINED);
    }
    let mut waiting = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        let number = ledger.begin();
        let sent = timeout(HANG, publisher.send("", QUEUE, Message::new(number.to_string()))).await;
        match sent.unwrap_or_else(|_| panic!("message {number} waits for room beyond its deadline")) {
            Ok(confirm) => {
                let ledger = Arc::clone(&ledger);
                waiting.spawn(async move {
                    let outcome = timeout(HANG, confirm.outcome()).await;
                    let told = match outcome.unwrap_or_else(|_| panic!("message {number} has no outcome in time")) {
                        Outcome::Acked => Told::Acked,
                        Outcome::Nacked => Told::Nacked,
                        Outcome::Unknown(cause) if at_least_once => panic!("message {number} is unknown: {cause}"),
                        Outcome::Unknown(_) => Told::Unknown,
                        Outcome::Returned(message) => panic!("the queue is there: {message:?}"),
                    };
                    ledger.told(number, told);
                });
            }
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::Unknown(_)), "nothing was sent yet: {error}");
                ledger.told(number, Told::NotSent);
            }
        }
        while let Some(done) = waiting.try_join_next() {
            done.unwrap();
        }
        sleep(PACE).await;
    }
    waiting.join_all().await;
    Ok(())
}

/// One stream from its beginning to the end, whatever becomes of the connection.
async fn consume(connection: Connection, ledger: Arc<Ledger>, acked: Arc<AtomicU64>) -> Result<(), Error> {
    let channel = connection.channel().await?;
    let mut consumer = channel.consume(Consume::new(QUEUE)).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let number = str::from_utf8(&delivery.to_bytes()).unwrap().parse().unwrap();
        ledger.consumed(number);
        delivery.ack()?;
        acked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn nothing_that_was_confirmed_is_lost() {
    let (seconds, seed) = (setting("AMQP_CHAOS_SECONDS", 20), setting("AMQP_CHAOS_SEED", 1));
    println!("AMQP_CHAOS_SECONDS={seconds} AMQP_CHAOS_SEED={seed}");
    let cluster = Cluster::start(3, &Options::new()).unwrap();
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::start(node.address()).unwrap()).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ledger = Arc::new(Ledger::default());
    let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));

    let (mut publishers, mut consumers, mut connections) = (Vec::new(), Vec::new(), Vec::new());
    runtime.block_on(async {
        let connection = connect(config(&proxies, "declares")).await.unwrap();
        connection.channel().await.unwrap().queue_declare(Queue::quorum(QUEUE)).await.unwrap();
        connection.close().await.unwrap();
        for number in 0..PUBLISHERS {
            let connection = connect(config(&proxies, &format!("publishes {number}"))).await.unwrap();
            let at_least_once = number % 2 == 0;
            publishers.push(tokio::spawn(publish(connection, at_least_once, Arc::clone(&ledger), Arc::clone(&stop))));
        }
        for number in 0..CONSUMERS {
            let connection = connect(config(&proxies, &format!("consumes {number}"))).await.unwrap();
            consumers.push(tokio::spawn(consume(connection.clone(), Arc::clone(&ledger), Arc::clone(&acked))));
            connections.push(connection);
        }
    });

    let warm = AtomicU64::new(0);
    let stage = Stage { cluster: &cluster, proxies: &proxies, queue: QUEUE };
    let events = thread::scope(|scope| {
        let chaos = scope.spawn(|| stage.perform(seed, &stop));
        thread::sleep(Duration::from_secs(seconds) / 3);
        warm.store(resident(), Ordering::Relaxed);
        thread::sleep(Duration::from_secs(seconds) * 2 / 3);
        stop.store(true, Ordering::Relaxed);
        chaos.join().unwrap().unwrap()
    });

    // All is well again: what waits is done in time, and then the queue is emptied.
    runtime.block_on(async {
        for publisher in publishers {
            timeout(HANG + DEADLINE, publisher).await.expect("a publisher hangs").unwrap().unwrap();
        }
    });
    let grown = resident().saturating_sub(warm.into_inner());
    for proxy in &proxies {
        proxy.resume();
    }
    let empty = wait::until_true(HANG, "an empty queue", || {
        cluster.iter().any(|node| matches!(node.queue(QUEUE), Ok(Some(queue)) if queue.messages == 0))
    });
    let balance = ledger.balance();
    println!("{events} things went wrong; {balance}; memory grew by {} KiB", grown >> 10);
    empty.unwrap();
    for connection in connections {
        runtime.block_on(async { timeout(HANG, connection.close()).await.expect("close hangs") }).unwrap();
    }
    for consumer in consumers {
        runtime.block_on(async { timeout(HANG, consumer).await.expect("a consumer hangs").unwrap() }).unwrap();
    }

    assert_eq!((balance.open, balance.lost.as_slice()), (0, &[][..]), "{balance}");
    assert!(balance.acked > 0 && events > 0, "nothing happened");
    assert!(grown < GROWTH, "{grown} bytes");
}
