//! The codec at work, ours beside amq-protocol's on the same bytes.
//!
//! `messages` are the bytes, `ours` and `theirs` the work on them. A workload is a function that does its work a
//! number of times; whatever it makes goes through a `black_box`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that fails says so by panicking")]

pub mod messages;
pub mod ours;
pub mod theirs;

/// A codec's way to do some work so many times.
pub type Work = fn(u64);

/// What is measured.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Our way.
    pub ours: Work,
    /// amq-protocol's way.
    pub theirs: Work,
    /// The most that ours may take, as a part of theirs.
    pub required: Option<f64>,
    /// Instructions per message that ours should take at most.
    pub aim: Option<u64>,
}

/// The workloads whose instructions are counted.
pub const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "decode-delivery",
        ours: ours::decode_delivery,
        theirs: theirs::decode_delivery,
        required: Some(0.25),
        aim: Some(1200),
    },
    Workload {
        name: "decode-delivery-utf8",
        ours: ours::decode_delivery_utf8,
        theirs: theirs::decode_delivery,
        required: None,
        aim: Some(2500),
    },
    Workload {
        name: "decode-delivery-retained",
        ours: ours::decode_delivery_retained,
        theirs: theirs::decode_delivery,
        required: Some(0.15),
        aim: None,
    },
    Workload {
        name: "encode-publish",
        ours: ours::encode_publish,
        theirs: theirs::encode_publish,
        required: Some(0.25),
        aim: Some(600),
    },
    Workload {
        name: "encode-publish-anew",
        ours: ours::encode_publish_anew,
        theirs: theirs::encode_publish_anew,
        required: None,
        aim: None,
    },
    Workload {
        name: "decode-table",
        ours: ours::decode_table,
        theirs: theirs::decode_table,
        required: None,
        aim: Some(5000),
    },
    Workload {
        name: "decode-table-owned",
        ours: ours::decode_table_owned,
        theirs: theirs::decode_table,
        required: None,
        aim: Some(5000),
    },
    Workload { name: "decode-ack", ours: ours::decode_ack, theirs: theirs::decode_ack, required: None, aim: None },
    Workload {
        name: "decode-heartbeat",
        ours: ours::decode_heartbeat,
        theirs: theirs::decode_heartbeat,
        required: None,
        aim: None,
    },
];

#[cfg(test)]
mod tests {
    use super::{messages, ours, theirs};

    #[test]
    fn both_write_the_same_publish() {
        for size in [0, messages::SMALL, 4096] {
            let body = messages::body(size);
            let mut out = b"before".to_vec();
            ours::put_publish(&mut out, &messages::properties(), &body);
            let frames = theirs::publish(theirs::properties(), &body);
            assert_eq!(theirs::generate(b"before".to_vec(), &frames), out);
        }
    }

    #[test]
    fn every_workload_runs() {
        for workload in super::WORKLOADS {
            (workload.ours)(64);
            (workload.theirs)(64);
        }
    }
}
