//! The driver between a broker and a user that do anything, over a stream that comes in any pieces. The body stands in
//! amqp-api.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| amqp_api::fuzzing::driver(Instant::now(), data));
