//! A connection between a broker and an application that do anything. The body stands in amqp-proto.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| amqp_proto::fuzzing::connection(data));
