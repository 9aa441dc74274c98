//! Random programs run on `amqp-broker` and on the RabbitMQ that it is to behave like: what can be seen is the same.
//!
//! A program is a list of operations, right and wrong ones ([`program`]). Each is followed by a wait until the broker has
//! done all that follows from it, so that what is seen does not hang on who is faster ([`settle_down`]). What was seen is kept as
//! text ([`words`]): replies, deliveries, returns, confirms, counts, and how channels and connections were closed.
//!
//! Malformed input, which no client sends, has a list of its own ([`malformed`]).
//!
//! `AMQP_DIFFERENTIAL_PROGRAMS` says how many programs (36), `AMQP_DIFFERENTIAL_SEED` which is the first (0): the seed of a
//! program that failed, with one program, runs it again. One that fails is made as short as it can be.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod malformed;
mod operations;
mod player;
mod program;
mod settle_down;
mod words;

use std::env;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use amqp_broker::{Broker, Emulate};
use conformance::{Node, Options};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use player::{Step, play};
use program::{Op, programs};

/// Programs at a time.
const THREADS: usize = 4;
/// How often queues are asked after an operation, in one run after the other: RabbitMQ's queues answer that question before
/// what they were sent earlier, when they are busy.
const PATIENCE: [usize; 3] = [2, 6, 24];
/// Runs that are spent on making one program shorter.
const SHORTENINGS: usize = 300;
/// Failures after which no more programs are started.
const FAILURES: usize = 5;

/// The two brokers, by their URIs.
struct Pair {
    rabbitmq: String,
    ours: String,
    /// Makes the names of each run its own.
    runs: AtomicU64,
}

impl Pair {
    /// What was seen of a program on both, if it is not the same, whatever patience one has.
    fn difference(&self, program: &[Op]) -> Option<(Vec<Step>, Vec<Step>)> {
        let mut difference = None;
        for patience in PATIENCE {
            let prefix = format!("d{}", self.runs.fetch_add(1, Ordering::Relaxed));
            let [theirs, ours] = [&self.rabbitmq, &self.ours].map(|uri| play(uri, &prefix, patience, program));
            if theirs == ours {
                return None;
            }
            difference = Some((theirs, ours));
        }
        difference
    }
}

#[test]
fn random_programs_have_the_same_results_on_amqp_broker_and_on_rabbitmq() {
    let (version, node, broker) = brokers();
    let pair = Pair { rabbitmq: node.uri(), ours: broker.uri(), runs: AtomicU64::new(0) };

    let number = |variable: &str, default: u64| {
        env::var(variable).map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    let (first, count) = (number("AMQP_DIFFERENTIAL_SEED", 0), number("AMQP_DIFFERENTIAL_PROGRAMS", 36));
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while failures.lock().unwrap().len() < FAILURES {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Some(report) = run(&pair, seed) {
                        failures.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "RabbitMQ {version}:\n{}", failures.join("\n"));
}

/// A RabbitMQ, which version it is, and ours as that.
pub(crate) fn brokers() -> (String, Node, Broker) {
    let node = Node::start(Options::new()).unwrap();
    let version = node.version().unwrap();
    let emulate = [Emulate::V3_10, Emulate::V4_0, Emulate::V4_3];
    let emulate = emulate.into_iter().find(|emulate| same_minor(emulate.version(), &version));
    let emulate = emulate.unwrap_or_else(|| panic!("no broker is like {version}"));
    (version, node, Broker::builder().emulate(emulate).start().unwrap())
}

fn same_minor(one: &str, other: &str) -> bool {
    one.split('.').take(2).eq(other.split('.').take(2))
}

/// The report about the program of this seed, if it fails.
fn run(pair: &Pair, seed: u64) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut tree = programs().new_tree(&mut runner).unwrap();
    let mut program = tree.current();
    let mut difference = pair.difference(&program)?;
    eprintln!("seed {seed} differs, and is being made shorter");
    for _ in 0..SHORTENINGS {
        let is_simpler = tree.simplify();
        if !is_simpler {
            break;
        }
        // Away from what has no difference any more, until there is one again.
        loop {
            let shorter = tree.current();
            if let Some(found) = pair.difference(&shorter) {
                (program, difference) = (shorter, found);
                break;
            }
            if !tree.complicate() {
                return Some(report(seed, &program, &difference));
            }
        }
    }
    Some(report(seed, &program, &difference))
}

fn report(seed: u64, program: &[Op], (theirs, ours): &(Vec<Step>, Vec<Step>)) -> String {
    let mut text = format!("seed {seed}:\n");
    for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        let op = program.get(index).map_or_else(|| "the end".to_owned(), |op| format!("{op:?}"));
        let _ = writeln!(text, "{index:>3} {op}");
        let seen = |text: &mut String, who: &str, step: &Step| {
            for line in step {
                let _ = writeln!(text, "    {who} {line}");
            }
        };
        if theirs == ours {
            seen(&mut text, "     both:", theirs);
        } else {
            seen(&mut text, " RabbitMQ:", theirs);
            seen(&mut text, "     ours:", ours);
            break;
        }
    }
    text
}
