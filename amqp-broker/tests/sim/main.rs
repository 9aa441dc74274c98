//! Recovery in simulation: the client's state machine and the broker's, joined by a link that fails, in virtual time.
//!
//! A seed decides everything: what the application does and when, how bytes are cut and how long they take, which faults
//! come. What must hold whatever happens:
//!
//! - every request and every publish has its outcome, once;
//! - nothing that was confirmed is lost, and what is published at least once is confirmed in the end, and comes in its order;
//! - unsettled deliveries never exceed the prefetch;
//! - the broker never has anything against what the client sends, so that no ack from before a loss settles anything after it;
//! - when the faults are over the connection comes back, with all that belongs to it, and a close ends it.
//!
//! `AMQP_SIM_SEEDS=20000 cargo test -p amqp-broker --test sim` runs more seeds than usual, `AMQP_SIM_SEED=17` one, and says
//! what happens in it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod application;
mod link;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use application::Application;

/// How many seeds there are usually.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn f43_f29_whatever_the_link_does_nothing_confirmed_is_lost_and_everybody_is_answered() {
    if let Some(seed) = number("AMQP_SIM_SEED") {
        println!("{:?}", Application::run(seed, true));
        return;
    }
    let seeds = number("AMQP_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let failed = thread::scope(|scope| {
        let run = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return None;
                }
                if catch_unwind(|| Application::run(seed, false)).is_err() {
                    next.store(seeds, Ordering::Relaxed);
                    return Some(seed);
                }
            }
        };
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        runs.into_iter().find_map(|run| run.join().expect("panics are caught"))
    });
    assert_eq!(failed, None, "this seed fails: AMQP_SIM_SEED runs it again");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(Application::run(seed, false), Application::run(seed, false), "seed {seed}");
    }
}

#[test]
fn the_seeds_see_losses_of_every_kind() {
    let mut sum = application::Report::default();
    for seed in 0..300 {
        sum.add(&Application::run(seed, false));
    }
    println!("{sum:?}");
    assert!(sum.losses > 100 && sum.refused_dials > 20, "{sum:?}");
    assert!(sum.unknown > 20 && sum.stale > 20 && sum.sent_again > 50, "{sum:?}");
}
