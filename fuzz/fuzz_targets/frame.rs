//! A byte stream, cut into frames. The body stands in amqp-proto.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| amqp_proto::fuzzing::frame(data));
