//! The content encoding `gzip` (RFC 1952).

use std::io::{Read, Write};

use amqp_proto::conn::Body;
use amqp_proto::error::CodecError;
use bytes::Buf;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Its name in the property `content_encoding`.
pub(crate) const NAME: &str = "gzip";

/// A body, packed.
pub(crate) fn pack(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body)?;
    packer.finish()
}

/// A body, unpacked to at most `limit` bytes: a few kilobytes may stand for gigabytes.
pub(crate) fn unpack(body: Body<'_>, limit: u64) -> Result<Vec<u8>, CodecError> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(body.reader().reader())
        .take(limit.saturating_add(1))
        .read_to_end(&mut unpacked)
        .map_err(|error| CodecError::Unpack { encoding: NAME.to_owned(), cause: std::sync::Arc::new(error) })?;
    if unpacked.len() as u64 > limit {
        return Err(CodecError::TooLarge { limit });
    }
    Ok(unpacked)
}
