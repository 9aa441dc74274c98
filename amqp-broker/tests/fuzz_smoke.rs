//! The body of the fuzz target on stable Rust: over the seed corpus, changed a little, and over random bytes. `AMQP_FUZZ_RUNS` says
//! how many inputs; the seed is fixed.

#![cfg(feature = "fuzzing")]

use std::path::Path;
use std::time::Instant;

use amqp_broker::fuzzing::broker;

/// Numbers that are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[2]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or_default()
    }
}

fn runs() -> u32 {
    std::env::var("AMQP_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5_000)
}

#[test]
fn f4_clients_that_send_anything_neither_break_nor_block_the_broker() {
    let mut random = Random(0x5DEE_CE66_D1CE_4E5B);
    for _ in 0..runs() {
        let len = usize::from(random.octet()) * 4;
        let input: Vec<u8> = (0..len).map(|_| random.octet()).collect();
        broker(Instant::now(), &input);
    }
}

#[test]
fn f4_recorded_clients_that_go_astray_neither_break_nor_block_the_broker() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/broker");
    // A packaged crate comes without it.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 20, "there are only {}", seeds.len());
    seeds.iter().for_each(|seed| broker(Instant::now(), seed));
    let mut random = Random(0x5DEE_CE66_D1CE_4E5B);
    for _ in 0..runs() {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(input.len());
            match random.below(4) {
                0 => input.insert(at, random.octet()),
                1 if input.len() > 1 => drop(input.remove(at)),
                2 => input.truncate(at.max(1)),
                _ => input[at] = random.octet(),
            }
        }
        broker(Instant::now(), &input);
    }
}
