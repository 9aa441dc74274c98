//! Any method of any class.

use super::class::put_method_frame;
use super::info::{IDS_LEN, MethodInfo, explain};
use super::{access, basic, channel, confirm, connection, exchange, queue, tx};
use crate::wire::{DecodeError, EncodeError};

/// Any method, as a method frame carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// Class connection.
    Connection(connection::Method<'a>),
    /// Class channel.
    Channel(channel::Method<'a>),
    /// Class access.
    Access(access::Method<'a>),
    /// Class exchange.
    Exchange(exchange::Method<'a>),
    /// Class queue.
    Queue(queue::Method<'a>),
    /// Class basic.
    Basic(basic::Method<'a>),
    /// Class confirm.
    Confirm(confirm::Method),
    /// Class tx.
    Tx(tx::Method),
}

impl<'a> Method<'a> {
    /// Decodes the payload of a method frame, all of it.
    ///
    /// # Errors
    /// If there is no such class or method, or if its fields do not decode.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        match Self::read(payload) {
            Some(method) => Ok(method),
            None => Err(explain(payload)),
        }
    }

    #[inline(always)]
    fn read(payload: &'a [u8]) -> Option<Self> {
        let (class_id, method_id) = ids(payload)?;
        let fields = payload.get(IDS_LEN..)?;
        match class_id {
            basic::CLASS_ID => basic::Method::read_fields(method_id, fields).map(Self::Basic),
            connection::CLASS_ID => connection::Method::read_fields(method_id, fields).map(Self::Connection),
            channel::CLASS_ID => channel::Method::read_fields(method_id, fields).map(Self::Channel),
            access::CLASS_ID => access::Method::read_fields(method_id, fields).map(Self::Access),
            exchange::CLASS_ID => exchange::Method::read_fields(method_id, fields).map(Self::Exchange),
            queue::CLASS_ID => queue::Method::read_fields(method_id, fields).map(Self::Queue),
            confirm::CLASS_ID => confirm::Method::read_fields(method_id, fields).map(Self::Confirm),
            tx::CLASS_ID => tx::Method::read_fields(method_id, fields).map(Self::Tx),
            _ => None,
        }
    }

    /// Appends class, method and fields: the payload of a method frame.
    ///
    /// # Errors
    /// If a field cannot be encoded; `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&self.class_id().to_be_bytes());
        out.extend_from_slice(&self.method_id().to_be_bytes());
        let done = self.encode_fields(out);
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    #[inline]
    fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connection(method) => method.encode_fields(out),
            Self::Channel(method) => method.encode_fields(out),
            Self::Access(method) => method.encode_fields(out),
            Self::Exchange(method) => method.encode_fields(out),
            Self::Queue(method) => method.encode_fields(out),
            Self::Basic(method) => method.encode_fields(out),
            Self::Confirm(method) => method.encode_fields(out),
            Self::Tx(method) => method.encode_fields(out),
        }
    }

    /// Its row in the table of methods.
    #[inline]
    #[must_use]
    pub fn info(&self) -> &'static MethodInfo {
        match self {
            Self::Connection(method) => method.info(),
            Self::Channel(method) => method.info(),
            Self::Access(method) => method.info(),
            Self::Exchange(method) => method.info(),
            Self::Queue(method) => method.info(),
            Self::Basic(method) => method.info(),
            Self::Confirm(method) => method.info(),
            Self::Tx(method) => method.info(),
        }
    }

    /// Its name, such as `basic.deliver`.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.info().name
    }

    /// Its class.
    #[inline]
    #[must_use]
    pub fn class_id(&self) -> u16 {
        self.info().class_id
    }

    /// Its number in the class.
    #[inline]
    #[must_use]
    pub fn method_id(&self) -> u16 {
        self.info().method_id
    }
}

/// Class and method of a method frame's payload; `None` if it is shorter than 4 bytes.
#[inline]
#[must_use]
pub fn ids(payload: &[u8]) -> Option<(u16, u16)> {
    let &[c0, c1, m0, m1] = payload.first_chunk()?;
    Some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
}

/// Appends a whole frame with any method.
///
/// # Errors
/// If a field cannot be encoded; `out` is then as it was.
pub fn put_any(out: &mut Vec<u8>, channel: u16, method: &Method<'_>) -> Result<(), EncodeError> {
    put_method_frame(out, channel, method.class_id(), method.method_id(), |out| method.encode_fields(out))
}
