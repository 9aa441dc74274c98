//! Reading the golden traces.

use std::fmt;
use std::path::Path;

use amqp_proto::method::{ContentHeader, Method, PropertiesRef};
use amqp_proto::wire::{FrameError, PROTOCOL_HEADER};

use crate::common::{Parts, deframe};

/// Who sent a chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// What passed over one connection.
pub(crate) struct Trace {
    pub(crate) name: String,
    chunks: Vec<(Side, Vec<u8>)>,
}

/// One direction of a trace. The client's protocol header is cut off where it is ours.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<Vec<u8>>,
}

impl Trace {
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        assert!(text.starts_with("# RabbitMQ "), "{name} does not say of which broker it is");
        let chunk = |line: &str| match line.split_once(": ") {
            Some(("C", hex)) => (Side::Client, from_hex(hex)),
            Some(("S", hex)) => (Side::Server, from_hex(hex)),
            _ => panic!("{name}: {line}"),
        };
        let chunks = text.lines().filter(|line| !line.starts_with('#')).map(chunk).collect();
        Self { name: name.to_owned(), chunks }
    }

    pub(crate) fn stream(&self, side: Side) -> Stream {
        let chunks = self.chunks.iter().filter(|(from, _)| *from == side).map(|(_, chunk)| chunk.clone());
        let mut chunks: Vec<Vec<u8>> = chunks.collect();
        if side == Side::Client && chunks.first().is_some_and(|first| first.starts_with(&PROTOCOL_HEADER)) {
            chunks[0].drain(..PROTOCOL_HEADER.len());
        }
        Stream { name: format!("{side} in {}", self.name), side, bytes: chunks.concat(), chunks }
    }

    /// The methods of one side, with the channels that they came on.
    pub(crate) fn frames(&self, side: Side) -> Vec<Parts> {
        self.stream(side).frames().0
    }
}

impl Stream {
    /// The frames up to the first error.
    pub(crate) fn frames(&self) -> (Vec<Parts>, Option<FrameError>) {
        deframe(FRAME_MAX, [&self.bytes[..]])
    }
}

/// What all traces are within.
pub(crate) const FRAME_MAX: u32 = 131_072;

/// All of them, by name.
pub(crate) fn traces() -> Vec<Trace> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "trace")).collect();
    paths.sort();
    let parse = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        Trace::parse(name, &std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(parse).collect()
}

/// The trace of this name.
pub(crate) fn trace(name: &str) -> Trace {
    traces().into_iter().find(|trace| trace.name == name).unwrap_or_else(|| panic!("no trace {name}"))
}

/// Both directions of all traces.
pub(crate) fn streams() -> Vec<Stream> {
    traces().iter().flat_map(|trace| [Side::Client, Side::Server].map(|side| trace.stream(side))).collect()
}

/// The methods among frames that are known to decode.
pub(crate) fn methods_of(frames: &[Parts]) -> impl Iterator<Item = Method<'_>> {
    frames.iter().filter(|(kind, ..)| *kind == 1).map(|(_, _, payload)| Method::decode(payload).unwrap())
}

/// The properties of the content headers among frames.
pub(crate) fn properties_of(frames: &[Parts]) -> impl Iterator<Item = PropertiesRef<'_>> {
    let headers = frames.iter().filter(|(kind, ..)| *kind == 2);
    headers.map(|(_, _, payload)| ContentHeader::decode(payload).unwrap().properties.decode().unwrap())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |octet: u8| u8::try_from(char::from(octet).to_digit(16).unwrap()).unwrap();
    assert_eq!(hex.len() % 2, 0, "a digit is missing");
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
