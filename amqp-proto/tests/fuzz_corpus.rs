//! The bodies of the fuzz targets on stable Rust: over the seed corpora, changed a little, and over random bytes.
//!
//! `AMQP_FUZZ_RUNS` says how many random inputs each target gets. The seed is fixed, so that a failure comes again.

#![cfg(feature = "fuzzing")]

use std::path::{Path, PathBuf};

use amqp_proto::fuzzing;

/// A small generator of numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or_default()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[2]
    }
}

/// Runs a body over its corpus, over changed inputs of it, and over random bytes. One that does `work` times as much
/// as the others gets so much less random input.
fn run(target: &str, work: u32, body: fn(&[u8])) {
    let runs = std::env::var("AMQP_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(20_000u32) / work;
    let corpus = corpus(target);
    for (path, input) in &corpus {
        println!("{}", path.display());
        body(input);
        (0..input.len()).for_each(|cut| body(&input[..cut]));
    }
    let mut random = Random(0x5DEE_CE66_D1CE_4E5B);
    for _ in 0..runs {
        let mut input = match corpus.get(random.below(corpus.len())) {
            Some((_, input)) if random.below(4) > 0 => input.clone(),
            _ => (0..random.below(64)).map(|_| random.octet()).collect(),
        };
        for _ in 0..random.below(4) {
            change(&mut input, &mut random);
        }
        body(&input);
    }
}

/// Overwrites, inserts, removes or doubles something.
fn change(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len());
    match random.below(5) {
        0 => input.insert(at, random.octet()),
        1 if !input.is_empty() => drop(input.remove(at)),
        2 if input.len() < 4096 => input.extend_from_within(at..),
        3 => input.truncate(at),
        _ if !input.is_empty() => input[at] = random.octet(),
        _ => {}
    }
}

/// The seed inputs of a target, none where the corpora are not there.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut corpus: Vec<_> =
        files.filter_map(|file| std::fs::read(file.path()).ok().map(|input| (file.path(), input))).collect();
    corpus.sort();
    corpus
}

#[test]
fn connection() {
    run("connection", 50, fuzzing::connection);
}

#[test]
fn frame() {
    run("frame", 1, fuzzing::frame);
}

#[test]
fn method() {
    run("method", 1, fuzzing::method);
}

#[test]
fn table() {
    run("table", 1, fuzzing::table);
}
