//! The body of the fuzz target on stable Rust: over random bytes. `AMQP_FUZZ_RUNS` says how many inputs; the seed is fixed.

#![cfg(feature = "fuzzing")]

use std::time::Instant;

#[test]
fn f4_clients_that_send_anything_neither_break_nor_block_the_broker() {
    let runs = std::env::var("AMQP_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5_000u32);
    let mut state = 0x5DEE_CE66_D1CE_4E5B_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[2]
    };
    for _ in 0..runs {
        let len = usize::from(random()) * 4;
        let input: Vec<u8> = (0..len).map(|_| random()).collect();
        amqp_broker::fuzzing::broker(Instant::now(), &input);
    }
}
