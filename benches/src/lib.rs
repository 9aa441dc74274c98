//! Benchmarks. [`codec`] has the workloads of the codec, the same for criterion and for counting instructions.

pub mod codec;
