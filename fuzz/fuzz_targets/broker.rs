//! A broker and clients that send anything. The body stands in amqp-broker.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| amqp_broker::fuzzing::broker(Instant::now(), data));
