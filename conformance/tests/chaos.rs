//! Nothing that was confirmed is lost, whatever happens to a broker and to the ways to it.
//!
//! Publishers, every second of which sends again what was not confirmed, and consumers are at work on one queue while a script,
//! drawn from a seed, cuts, resets, stalls, delays and half-closes connections, also in the middle of a frame, and does to the
//! broker what can be done to it: of a cluster of three RabbitMQ nodes it kills the leader, restarts and freezes others; of
//! `amqp-broker` it has confirms fail and consumers cancelled.
//!
//! `AMQP_CHAOS_SECONDS` says for how long (default: 20; in process a quarter of it, and until each thing has happened once),
//! `AMQP_CHAOS_SEED` which script; both are printed. Time decides how a script and the clients meet, so a seed repeats the
//! script, not the run.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use amqp_broker::Broker;
use amqp_tokio::{
    Config, Connection, Consume, Error, ErrorKind, Heartbeat, Message, Outcome, Queue, Recovery, connect,
};
use conformance::node::{Cluster, Node, Options};
use conformance::proxy::Proxy;
use conformance::{Result, wait};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

#[path = "../chaos/cluster.rs"]
mod cluster;
#[path = "../chaos/in_process.rs"]
mod in_process;
#[path = "../chaos/ledger.rs"]
mod ledger;
#[path = "../chaos/script.rs"]
mod script;

use cluster::Clustered;
use in_process::InProcess;
use ledger::{Ledger, Told};
use script::{Pace, Stage, Target};

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
                        // A channel that the broker closes is an answer, and not sent again.
                        Outcome::Unknown(cause) if at_least_once && !is_channels(&cause) => {
                            panic!("message {number} is unknown: {cause}")
                        }
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

fn is_channels(cause: &Error) -> bool {
    matches!(cause.kind(), ErrorKind::ChannelClosed(_))
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

/// The names of the clients.
fn publisher(number: usize) -> String {
    format!("publishes {number}")
}

fn consumer(number: usize) -> String {
    format!("consumes {number}")
}

/// One run at a time: they measure memory.
static TURN: Mutex<()> = Mutex::new(());

/// How a run is done.
struct Run<'a, T> {
    target: &'a T,
    /// Where its nodes listen.
    nodes: Vec<SocketAddr>,
    queue: Queue,
    /// How many messages are in the queue, if anybody can say.
    messages: &'a dyn Fn() -> Option<u64>,
    pace: Pace,
    duration: Duration,
    /// How many things have to happen, however long that takes.
    at_least: usize,
}

impl<T: Target> Run<'_, T> {
    fn perform(self) {
        let seed = setting("AMQP_CHAOS_SEED", 1);
        println!("AMQP_CHAOS_SEED={seed}, for {:?}", self.duration);
        let proxies: Vec<Proxy> = self.nodes.iter().map(|node| Proxy::start(*node).unwrap()).collect();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ledger = Arc::new(Ledger::default());
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));

        let (mut publishers, mut consumers, mut connections) = (Vec::new(), Vec::new(), Vec::new());
        runtime.block_on(async {
            let connection = connect(config(&proxies, "declares")).await.unwrap();
            connection.channel().await.unwrap().queue_declare(self.queue).await.unwrap();
            connection.close().await.unwrap();
            for number in 0..PUBLISHERS {
                let connection = connect(config(&proxies, &publisher(number))).await.unwrap();
                let publishing = publish(connection, number % 2 == 0, Arc::clone(&ledger), Arc::clone(&stop));
                publishers.push(tokio::spawn(publishing));
            }
            for number in 0..CONSUMERS {
                let connection = connect(config(&proxies, &consumer(number))).await.unwrap();
                consumers.push(tokio::spawn(consume(connection.clone(), Arc::clone(&ledger), Arc::clone(&acked))));
                connections.push(connection);
            }
        });

        let (warm, happened) = (AtomicU64::new(0), AtomicU64::new(0));
        let stage = Stage { target: self.target, proxies: &proxies, pace: self.pace };
        thread::scope(|scope| {
            let chaos = scope.spawn(|| stage.perform(seed, &stop, &happened));
            thread::sleep(self.duration / 3);
            warm.store(resident(), Ordering::Relaxed);
            thread::sleep(self.duration * 2 / 3);
            while happened.load(Ordering::Relaxed) < self.at_least as u64 && !chaos.is_finished() {
                thread::sleep(PACE);
            }
            stop.store(true, Ordering::Relaxed);
            chaos.join().unwrap().unwrap();
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
        let empty = wait::until_true(HANG, "an empty queue", || (self.messages)() == Some(0));
        let (balance, happened) = (ledger.balance(), happened.into_inner());
        println!("{happened} things went wrong; {balance}; memory grew by {} KiB", grown >> 10);
        empty.unwrap();
        for connection in connections {
            runtime.block_on(async { timeout(HANG, connection.close()).await.expect("close hangs") }).unwrap();
        }
        for consumer in consumers {
            runtime.block_on(async { timeout(HANG, consumer).await.expect("a consumer hangs").unwrap() }).unwrap();
        }

        assert_eq!((balance.open, balance.lost.as_slice()), (0, &[][..]), "{balance}");
        assert!(balance.acked > 0 && happened > 0, "nothing happened");
        assert!(grown < GROWTH, "{grown} bytes");
    }
}

#[test]
fn nothing_that_was_confirmed_by_a_cluster_is_lost() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Clustered { cluster: Cluster::start(3, &Options::new())?, queue: QUEUE };
    let cluster = &target.cluster;
    let run = Run {
        target: &target,
        nodes: cluster.iter().map(Node::address).collect(),
        queue: Queue::quorum(QUEUE),
        messages: &|| cluster.iter().find_map(|node| node.queue(QUEUE).ok()?.map(|queue| queue.messages)),
        pace: Pace { outage: 4000, peace: 2500 },
        duration: Duration::from_secs(setting("AMQP_CHAOS_SECONDS", 20)),
        at_least: 1,
    };
    run.perform();
    Ok(())
}

#[test]
fn nothing_that_was_confirmed_in_process_is_lost() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let names = (0..PUBLISHERS).map(publisher).chain((0..CONSUMERS).map(consumer));
    let target = InProcess { broker: Broker::start()?, queue: QUEUE, clients: names.collect() };
    let run = Run {
        target: &target,
        nodes: vec![target.broker.address()],
        queue: Queue::new(QUEUE),
        messages: &|| target.broker.queue(QUEUE).map(|queue| queue.messages() as u64),
        pace: Pace { outage: 500, peace: 200 },
        duration: Duration::from_secs(setting("AMQP_CHAOS_SECONDS", 20)) / 4,
        at_least: script::ways() + target.deck().len(),
    };
    run.perform();
    Ok(())
}
