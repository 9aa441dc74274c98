//! A frame as bytes: 0-9-1 §4.2.3.

use std::io::{self, Read};

use super::MethodId;
use super::args::Args;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// One frame, right or wrong: nothing is checked when it is made or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 1 method, 2 content header, 3 body, 8 heartbeat.
    pub kind: u8,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What stands between the seven bytes of the frame header and the end octet.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A method frame.
    pub fn method(channel: u16, (class, method): MethodId, args: Args) -> Self {
        let payload = Args::new().u16(class).u16(method).bytes(&args.into_bytes()).into_bytes();
        Self { kind: METHOD, channel, payload }
    }

    /// A content header of class `basic`. `properties` begins with the property flags; `&[0, 0]` is none at all.
    pub fn header(channel: u16, body_size: u64, properties: &[u8]) -> Self {
        let payload = Args::new().u16(60).u16(0).u64(body_size).bytes(properties).into_bytes();
        Self { kind: HEADER, channel, payload }
    }

    /// A body frame.
    pub fn body(channel: u16, bytes: &[u8]) -> Self {
        Self { kind: BODY, channel, payload: bytes.to_vec() }
    }

    /// A heartbeat.
    pub fn heartbeat() -> Self {
        Self { kind: HEARTBEAT, channel: 0, payload: Vec::new() }
    }

    /// Whether this is a heartbeat.
    pub fn is_heartbeat(&self) -> bool {
        self.kind == HEARTBEAT
    }

    /// The ids of the method it carries; `None` for other frames.
    pub fn method_id(&self) -> Option<MethodId> {
        match self.payload[..] {
            [c0, c1, m0, m1, ..] if self.kind == METHOD => {
                Some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
            }
            _ => None,
        }
    }

    /// The arguments of the method it carries, without the ids; empty for other frames.
    pub fn args(&self) -> &[u8] {
        if self.kind == METHOD { self.payload.get(4..).unwrap_or_default() } else { &[] }
    }

    /// The frame as it stands on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        Args::new().u8(self.kind).u16(self.channel).long_string(&self.payload).u8(END).into_bytes()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Of the reader; `UnexpectedEof` if it ends before the frame does; `InvalidData` if the end octet is wrong.
    pub fn read_from(reader: &mut impl Read) -> io::Result<Self> {
        let mut start = [0; 7];
        reader.read_exact(&mut start)?;
        let [kind, c0, c1, size @ ..] = start;
        let mut payload = Vec::new();
        reader.take(u64::from(u32::from_be_bytes(size))).read_to_end(&mut payload)?;
        let mut end = [0];
        reader.read_exact(&mut end)?;
        if end != [END] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame ends with {end:?}")));
        }
        Ok(Self { kind, channel: u16::from_be_bytes([c0, c1]), payload })
    }
}
