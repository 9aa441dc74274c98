//! Bodies of the fuzz targets: they take any bytes, and panic where an invariant does not hold.
//!
//! Not part of the public API. `fuzz/` runs them under libFuzzer, `tests/fuzz_corpus.rs` on stable Rust. [`Input`] and [`Peer`]
//! serve the targets of other crates, too.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fuzz target says that something is wrong by panicking"
)]

mod broker;
mod connection;
mod input;
mod peer;
mod watch;

use std::collections::BTreeSet;

use bytes::BytesMut;

pub use self::connection::connection;
pub use self::input::Input;
pub use self::peer::Peer;
use crate::method::{ContentHeader, Method, PropertiesRef, put_any, put_content_header};
use crate::wire::{Deframer, EncodeError, FieldTable, Frame, FrameError, FrameKind, TableRef, put_frame};

/// A byte stream. The first byte chooses the limit on frames, the second how the stream is cut.
///
/// However it is cut, the same frames and the same error come out; the frames written again are the stream.
pub fn frame(data: &[u8]) {
    let [limit, cut, stream @ ..] = data else { return };
    let limit = [0, 1, 4096, 131_072, u32::MAX][usize::from(*limit) % 5];
    let (written, error, rest) = deframe(limit, [stream]);
    assert_eq!(written, stream[..stream.len() - rest], "frames written again are not the stream");
    let (cut_written, cut_error, cut_rest) = deframe(limit, stream.chunks(usize::from(*cut).max(1)));
    assert_eq!((&written, &error), (&cut_written, &cut_error), "the stream gives something else when it is cut");
    if error.is_none() {
        assert_eq!(rest, cut_rest);
    }
}

/// Feeds a deframer; gives the frames written again, the error, and how many bytes are left.
fn deframe<'a>(limit: u32, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<FrameError>, usize) {
    let mut deframer = Deframer::new(limit);
    let (mut buf, mut written) = (BytesMut::new(), Vec::new());
    let mut chunks = chunks.into_iter();
    loop {
        match deframer.next_block(&mut buf) {
            Ok(Some(block)) => {
                assert!(!block.is_empty());
                for frame in block.frames() {
                    put_frame(&mut written, frame.kind, frame.channel, frame.payload).unwrap();
                    assert_eq!(block.slice_ref(frame.payload), frame.payload);
                }
            }
            Ok(None) => {
                // A mebibyte ahead, and buffers grow by doubling.
                assert!(buf.capacity() <= 2 * (buf.len() + (1 << 20)) + 4096, "too much is reserved");
                match chunks.next() {
                    Some(chunk) => buf.extend_from_slice(chunk),
                    None => {
                        assert_eq!(deframer.check_end(&buf).is_ok(), buf.is_empty());
                        return (written, None, buf.len());
                    }
                }
            }
            Err(error) => {
                assert_eq!(deframer.next_block(&mut buf).unwrap_err(), error, "the error does not stay");
                let left = buf.len() + chunks.map(<[u8]>::len).sum::<usize>();
                return (written, Some(error), left);
            }
        }
    }
}

/// The payload of a method frame, and of a header frame.
///
/// What decodes, decodes to the same when written; what does not, says where.
pub fn method(data: &[u8]) {
    match Method::decode(data) {
        Ok(method) => {
            let mut payload = Vec::new();
            method.encode(&mut payload).unwrap();
            assert_eq!(Method::decode(&payload), Ok(method));
            let mut out = Vec::new();
            put_any(&mut out, 1, &method).unwrap();
            assert_frame(&out, FrameKind::Method, &payload);
            assert!(!format!("{method:?} {}", method.name()).is_empty());
        }
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
    match ContentHeader::decode(data) {
        Ok(header) => match header.properties.decode() {
            Ok(properties) => content_header(header, properties),
            Err(error) => assert!(error.offset <= data.len(), "{error}"),
        },
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
}

fn content_header(header: ContentHeader<'_>, properties: PropertiesRef<'_>) {
    let own = properties.to_owned();
    assert_eq!(own.view(), properties);
    assert!(own.view().same_content(&properties, &[]));
    let mut out = Vec::new();
    put_content_header(&mut out, 1, header.class_id, header.body_size, &own).unwrap();
    let block = Deframer::new(0).next_block(&mut BytesMut::from(&out[..])).unwrap().unwrap();
    let payload = block.frames().next().unwrap().payload;
    let again = ContentHeader::decode(payload).unwrap();
    assert_eq!((again.class_id, again.body_size), (header.class_id, header.body_size));
    assert_eq!(again.properties.decode(), Ok(properties));
    assert_eq!(payload.len(), 12 + own.wire_size());
    assert!(!format!("{own:?}").is_empty());
}

/// The bytes are one frame of this kind and payload.
fn assert_frame(bytes: &[u8], kind: FrameKind, payload: &[u8]) {
    let block = Deframer::new(0).next_block(&mut BytesMut::from(bytes)).unwrap().unwrap();
    let frames: Vec<_> = block.frames().collect();
    assert_eq!(frames, [Frame { kind, channel: 1, payload }]);
}

/// The entries of a field table.
///
/// A table and what is made of it, by copying or by building it anew, are equal; and what is made is canonical.
pub fn table(data: &[u8]) {
    let table = match TableRef::from_wire(data) {
        Ok(table) => table,
        Err(error) => return assert!(error.offset <= data.len(), "{error}"),
    };
    let own = table.to_owned();
    assert_eq!(own.as_ref(), table);
    assert_eq!(own.as_ref().as_wire().len(), data.len());
    let again = TableRef::from_wire(own.as_ref().as_wire()).unwrap();
    assert_eq!(again.to_owned().as_ref().as_wire(), own.as_ref().as_wire(), "it does not stay canonical");
    assert!(!format!("{table:?}").is_empty());

    let mut built = FieldTable::new();
    let mut keys = BTreeSet::new();
    for (key, value) in table {
        let key = key.to_str().unwrap();
        // The first entry of a key counts.
        if keys.insert(key) {
            assert_eq!(table.get(key), Some(value));
            match built.insert(key, value) {
                Err(EncodeError::NotFinite { .. }) => return,
                result => result.unwrap(),
            }
        }
    }
    assert_eq!(built.len(), keys.len());
    assert_eq!(built, own);
    if keys.len() == table.len() {
        assert_eq!(built.as_ref().as_wire(), own.as_ref().as_wire());
    }
    for key in keys {
        assert!(built.remove(key));
    }
    assert!(built.is_empty());
}
