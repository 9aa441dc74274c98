//! Streams: a log that is read and stays.

use std::collections::VecDeque;
use std::sync::Arc;

use amqp_proto::wire::{TableRef, ValueRef};

use crate::Emulate;
use crate::core::erlang::{Nested, type_name};
use crate::core::message::Message;
use crate::core::refusal::{Outcome, Refusal, Resource};

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    records: VecDeque<Record>,
    /// The chunk that is being written.
    chunk: u64,
}

#[derive(Debug)]
struct Record {
    message: Arc<Message>,
    /// Records of one chunk were published together; filters and timestamps are those of chunks.
    chunk: u64,
    /// Milliseconds since 1970.
    time: u64,
    filter: Option<Vec<u8>>,
}

/// Where a consumer is in the log.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    next: u64,
    filters: Vec<Vec<u8>>,
    match_unfiltered: bool,
}

/// From where a consumer wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    First,
    Last,
    Next,
    Number(u64),
    /// Milliseconds since 1970.
    Time(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

impl Log {
    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.records.iter().map(|record| &record.message)
    }

    /// Appends a message to the chunk number `chunk`: those of one call into the broker belong together.
    pub(crate) fn append(&mut self, message: Arc<Message>, chunk: u64, time: u64) {
        self.chunk = chunk;
        let filter = message.headers().get("x-stream-filter-value");
        let filter = filter.and_then(|value| value.as_bytes()).map(<[u8]>::to_vec);
        self.records.push_back(Record { message, chunk, time, filter });
    }

    pub(crate) fn cursor(&self, offset: Offset, now: u64, arguments: TableRef<'_>) -> Cursor {
        let end = self.len();
        let at_time = |time: u64| {
            let found = self.records.iter().position(|record| record.time >= time);
            found.map_or(end, |at| self.chunk_start(at))
        };
        let next = match offset {
            Offset::First => 0,
            Offset::Next => end,
            Offset::Last => self.records.len().checked_sub(1).map_or(0, |last| self.chunk_start(last)),
            Offset::Number(number) => number.min(end),
            Offset::Time(time) => at_time(time),
            Offset::Ago(ago) => at_time(now.saturating_sub(ago)),
        };
        let filters = match arguments.get("x-stream-filter") {
            Some(ValueRef::LongString(filter)) => vec![filter.to_vec()],
            Some(ValueRef::Array(filters)) => {
                filters.iter().filter_map(|filter| filter.as_bytes().map(<[u8]>::to_vec)).collect()
            }
            _ => Vec::new(),
        };
        let match_unfiltered = arguments.get("x-stream-match-unfiltered").and_then(|value| value.as_bool());
        Cursor { next, filters, match_unfiltered: match_unfiltered.unwrap_or_default() }
    }

    fn chunk_start(&self, at: usize) -> u64 {
        let chunk = self.records.get(at).map(|record| record.chunk);
        let before = self.records.iter().take(at).rev().take_while(|record| Some(record.chunk) == chunk).count();
        (at - before) as u64
    }

    /// The next message for a consumer, with its offset.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<(u64, Arc<Message>)> {
        loop {
            let offset = cursor.next;
            let at = usize::try_from(offset).ok()?;
            let record = self.records.get(at)?;
            if cursor.filters.is_empty() || self.chunk_matches(at, record.chunk, cursor) {
                cursor.next += 1;
                return Some((offset, Arc::clone(&record.message)));
            }
            let rest = self.records.iter().skip(at).take_while(|other| other.chunk == record.chunk).count();
            cursor.next += rest as u64;
        }
    }

    /// The broker filters chunks: what is in one with a matching message comes along.
    fn chunk_matches(&self, at: usize, chunk: u64, cursor: &Cursor) -> bool {
        let start = usize::try_from(self.chunk_start(at)).unwrap_or_default();
        let mut records = self.records.iter().skip(start).take_while(|record| record.chunk == chunk);
        records.any(|record| match &record.filter {
            Some(filter) => cursor.filters.contains(filter),
            None => cursor.match_unfiltered,
        })
    }
}

/// Reads `x-stream-offset`.
///
/// # Errors
/// If it is nothing of that kind.
pub(crate) fn parse_offset(version: Emulate, arguments: TableRef<'_>, queue: &Resource<'_>) -> Outcome<Offset> {
    let Some(value) = arguments.get("x-stream-offset") else { return Ok(Offset::Next) };
    let parsed = match value {
        ValueRef::LongString(b"first") => Some(Offset::First),
        ValueRef::LongString(b"last") => Some(Offset::Last),
        ValueRef::LongString(b"next") => Some(Offset::Next),
        ValueRef::LongString(text) => parse_age(text).map(Offset::Ago),
        ValueRef::Timestamp(seconds) => Some(Offset::Time(seconds.saturating_mul(1000))),
        other => other.as_u64().map(Offset::Number),
    };
    parsed.ok_or_else(|| match version {
        Emulate::V3_10 | Emulate::V4_0 => Refusal::crash(),
        Emulate::V4_3 => Refusal::precondition(format_args!(
            "invalid arg 'x-stream-offset' for {queue}: {{invalid_stream_offset_arg,{{{},{}}}}}",
            type_name(&value),
            Nested(value)
        )),
    })
}

/// Milliseconds of an age such as `1h`: a number and one of `Y M D h m s`.
pub(crate) fn parse_age(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let seconds = match unit {
        b'Y' => 365 * 86_400,
        b'M' => 30 * 86_400,
        b'D' => 86_400,
        b'h' => 3600,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    };
    (number > 0).then(|| number.saturating_mul(seconds * 1000))
}
