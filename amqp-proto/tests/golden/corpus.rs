//! Seeds for the fuzz targets, cut out of the golden traces.
//!
//! `AMQP_WRITE_CORPUS=1 cargo test -p amqp-proto --test golden seed` writes them; without it the test compares them
//! with what is there. Their names begin with `client-` or `server-`; whatever else a target keeps is left alone.
//!
//! | folder | a seed |
//! |---|---|
//! | `frame` | what one side said after the handshake; of handshakes, all of it |
//! | `method` | the payload of one method frame |
//! | `table` | the entries of one table, without their length |
//! | `connection` | all that a server said on one connection |
//! | `broker` | all that a client said on one connection, as the broker's target reads it |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use amqp_proto::method::{Method, connection, exchange, queue};
use amqp_proto::wire::TableRef;

use crate::common::{Parts, frame_bytes};
use crate::trace::{Side, Trace, properties_of};

const FOLDERS: [&str; 5] = ["frame", "method", "table", "connection", "broker"];

/// Seeds for the broker that are longer than this cost more than they find, in bytes.
const LONG_FOR_A_BROKER: usize = 4096;

/// Seeds by folder and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

pub(crate) fn check_or_write(traces: &[Trace]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let write = std::env::var_os("AMQP_WRITE_CORPUS").is_some();
    // A packaged crate comes without it.
    if !write && !corpus.exists() {
        return;
    }
    let seeds = seeds(traces);
    for folder in FOLDERS {
        assert!(seeds.keys().filter(|(of, _)| *of == folder).count() >= 20, "too few seeds for {folder}");
    }
    if write {
        remove_old(&corpus);
    }
    for ((folder, name), bytes) in &seeds {
        let path = corpus.join(folder).join(name);
        if write {
            std::fs::write(path, bytes).unwrap();
        } else {
            let found = std::fs::read(&path).unwrap_or_default();
            assert!(found == *bytes, "{folder}/{name} is not what the traces say: write the corpora anew");
        }
    }
}

/// Removes what an earlier run has written.
fn remove_old(corpus: &Path) {
    for folder in FOLDERS {
        std::fs::create_dir_all(corpus.join(folder)).unwrap();
        for entry in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("client-") || name.starts_with("server-") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// Without those that are the same but for their name.
fn seeds(traces: &[Trace]) -> Seeds {
    let mut seeds = Seeds::new();
    let mut seen = BTreeSet::new();
    let mut add = |folder: &'static str, name: String, bytes: &[u8]| {
        if !bytes.is_empty() && seen.insert((folder, bytes.to_vec())) {
            // Numbered where several are of one kind.
            let taken = |seeds: &Seeds, name: &str| seeds.contains_key(&(folder, name.to_owned()));
            let mut free = name.clone();
            for number in 2.. {
                if !taken(&seeds, &free) {
                    break;
                }
                free = format!("{name}-{number}");
            }
            seeds.insert((folder, free), bytes.to_vec());
        }
    };
    for trace in traces {
        for side in [Side::Client, Side::Server] {
            let name = format!("{side}-{}", trace.name);
            let stream = trace.stream(side);
            let frames = trace.frames(side);
            add("frame", name.clone(), after_handshake(&trace.name, &stream.bytes, &frames));
            match side {
                Side::Server => add("connection", name, &stream.bytes),
                Side::Client if stream.bytes.len() <= LONG_FOR_A_BROKER => {
                    add("broker", name, &for_the_broker(&stream.bytes, &frames));
                }
                Side::Client => {}
            }
            for (_, _, payload) in frames.iter().filter(|(kind, ..)| *kind == 1) {
                let Ok(method) = Method::decode(payload) else {
                    add("method", format!("{side}-{}", trace.name), payload);
                    continue;
                };
                add("method", format!("{side}-{}", method.name()), payload);
                for (field, table) in tables(&method) {
                    add("table", format!("{side}-{}-{field}", method.name()), table.as_wire());
                }
            }
            for table in properties_of(&frames).filter_map(|properties| properties.headers) {
                add("table", format!("{side}-headers"), table.as_wire());
            }
        }
    }
    seeds
}

/// What a client said, as `amqp_broker::fuzzing` reads it: the version to be, and then, piece by piece, who speaks (the third
/// client, who has said nothing yet), a channel that does not count, that these are plain bytes, how many, and themselves.
fn for_the_broker(bytes: &[u8], frames: &[Parts]) -> Vec<u8> {
    let mut seed = vec![2];
    let mut rest = bytes;
    let header = std::iter::once(8);
    for length in header.chain(frames.iter().map(|(_, _, payload)| payload.len() + 8)).chain([usize::MAX]) {
        let (frame, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        for piece in frame.chunks(255) {
            seed.extend_from_slice(&[2, 0, 160, u8::try_from(piece.len()).unwrap()]);
            seed.extend_from_slice(piece);
        }
    }
    seed
}

/// The tables among a method's fields, with the fields' names.
pub(crate) fn tables<'a>(method: &Method<'a>) -> Vec<(&'static str, TableRef<'a>)> {
    let arguments = |table| vec![("arguments", table)];
    match method {
        Method::Connection(connection::Method::Start(start)) => vec![("server-properties", start.server_properties)],
        Method::Connection(connection::Method::StartOk(ok)) => vec![("client-properties", ok.client_properties)],
        Method::Exchange(exchange::Method::Declare(declare)) => arguments(declare.arguments),
        Method::Exchange(exchange::Method::Bind(bind)) => arguments(bind.arguments),
        Method::Exchange(exchange::Method::Unbind(unbind)) => arguments(unbind.arguments),
        Method::Queue(queue::Method::Declare(declare)) => arguments(declare.arguments),
        Method::Queue(queue::Method::Bind(bind)) => arguments(bind.arguments),
        Method::Queue(queue::Method::Unbind(unbind)) => arguments(unbind.arguments),
        Method::Basic(amqp_proto::method::basic::Method::Consume(consume)) => arguments(consume.arguments),
        _ => vec![],
    }
}

/// Handshakes are nearly alike: they stay in what is about them.
fn after_handshake<'a>(name: &str, bytes: &'a [u8], frames: &[Parts]) -> &'a [u8] {
    if name.contains("handshake") {
        return bytes;
    }
    let is_open = |(kind, _, payload): &Parts| *kind == 1 && matches!(payload.get(..4), Some([0, 10, 0, 40 | 41]));
    match frames.iter().position(is_open) {
        Some(index) => {
            let handshake = frames[..=index].iter();
            let length: usize =
                handshake.map(|(kind, channel, payload)| frame_bytes(*kind, *channel, payload).len()).sum();
            &bytes[length..]
        }
        None => bytes,
    }
}
