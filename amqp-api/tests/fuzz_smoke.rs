//! The body of the fuzz target on stable Rust: over its seeds and random bytes. `AMQP_FUZZ_RUNS` says how many inputs; the seed
//! is fixed.

#![cfg(feature = "fuzzing")]

use std::path::Path;
use std::time::Instant;

#[test]
fn f4_whatever_a_broker_and_a_user_do_the_driver_neither_panics_nor_hangs_and_every_future_ends() {
    let runs = std::env::var("AMQP_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_000u32);
    for (name, seed) in seeds() {
        println!("{name}");
        amqp_api::fuzzing::driver(Instant::now(), &seed);
    }
    let mut state = 0x5DEE_CE66_D1CE_4E5B_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[2]
    };
    for run in 0..runs {
        let len = usize::from(random()) * 4;
        let input: Vec<u8> = (0..len).map(|_| random()).collect();
        let result = std::panic::catch_unwind(|| amqp_api::fuzzing::driver(Instant::now(), &input));
        assert!(result.is_ok(), "run {run}: {input:?}");
    }
}

/// The seed inputs, none where the corpora are not there.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/driver");
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut seeds: Vec<_> =
        files.filter_map(|file| Some((file.path().display().to_string(), std::fs::read(file.path()).ok()?))).collect();
    seeds.sort();
    seeds
}
