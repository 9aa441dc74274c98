//! The core of the AMQP 0-9-1 client: no I/O, no runtime, no threads, no clock.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod method;
pub mod wire;
