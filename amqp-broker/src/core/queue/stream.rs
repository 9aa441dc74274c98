//! Streams: a log that is read and stays, as far as it is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use amqp_proto::wire::{TableRef, ValueRef};

use crate::Emulate;
use crate::core::erlang::{Nested, type_name};
use crate::core::message::Message;
use crate::core::refusal::{Outcome, Refusal, Resource};

/// The log.
///
/// It is cut in segments. A segment that is full is followed by another; only then, and only whole ones but the last are given
/// up, by [`Retention`].
#[derive(Debug)]
pub(crate) struct Log {
    records: VecDeque<Record>,
    /// The offset of the first record.
    first: u64,
    /// The oldest first.
    segments: VecDeque<Segment>,
    retention: Retention,
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

#[derive(Debug)]
struct Segment {
    /// The offset of its first record.
    first: u64,
    bytes: u64,
    chunks: u64,
    /// Milliseconds since 1970, of its last record.
    last_time: u64,
}

/// How much of a stream is kept, at least.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) max_bytes: Option<u64>,
    /// Milliseconds.
    pub(crate) max_age: Option<u64>,
    /// A segment is full with so many bytes, or [`SEGMENT_CHUNKS`](Self::SEGMENT_CHUNKS).
    pub(crate) segment_bytes: u64,
}

impl Retention {
    /// RabbitMQ's default.
    pub(crate) const SEGMENT_BYTES: u64 = 500_000_000;
    const SEGMENT_CHUNKS: u64 = 256_000;
}

/// What a segment, a chunk and a record take in RabbitMQ's files, beside their content, in bytes.
const SEGMENT_HEADER: u64 = 8;
const CHUNK_HEADER: u64 = 48;
const RECORD_HEADER: u64 = 4;

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
    pub(crate) fn new(retention: Retention) -> Self {
        Self { records: VecDeque::new(), first: 0, segments: VecDeque::new(), retention }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.records.iter().map(|record| &record.message)
    }

    /// The offset of the next record.
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Appends a message to the chunk number `chunk`: those of one call into the broker belong together.
    pub(crate) fn append(&mut self, message: Arc<Message>, chunk: u64, time: u64) {
        let is_new_chunk = self.records.back().is_none_or(|last| last.chunk != chunk);
        let is_full = |segment: &Segment| {
            segment.bytes >= self.retention.segment_bytes || segment.chunks >= Retention::SEGMENT_CHUNKS
        };
        let is_new_segment = is_new_chunk && self.segments.back().is_none_or(is_full);
        let offset = self.end();
        if is_new_segment {
            self.segments.push_back(Segment { first: offset, bytes: SEGMENT_HEADER, chunks: 0, last_time: time });
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.chunks += u64::from(is_new_chunk);
            segment.bytes += RECORD_HEADER + message.size() as u64 + if is_new_chunk { CHUNK_HEADER } else { 0 };
            segment.last_time = time;
        }
        let filter = message.headers().get("x-stream-filter-value");
        let filter = filter.and_then(|value| value.as_bytes()).map(<[u8]>::to_vec);
        self.records.push_back(Record { message, chunk, time, filter });
        if is_new_segment {
            self.cut(time);
        }
    }

    /// Gives up what need not be kept. The last segment always is.
    fn cut(&mut self, now: u64) {
        if let Some(max) = self.retention.max_bytes {
            let mut bytes = 0;
            let fits = |segment: &&Segment| {
                bytes += segment.bytes;
                bytes <= max
            };
            let kept = self.segments.iter().rev().take_while(fits).count().max(1);
            self.segments.drain(..self.segments.len().saturating_sub(kept));
        }
        if let Some(age) = self.retention.max_age {
            let is_old = |segment: &Segment| segment.last_time < now.saturating_sub(age);
            while self.segments.len() > 1 && self.segments.front().is_some_and(is_old) {
                self.segments.pop_front();
            }
        }
        let first = self.segments.front().map_or(self.first, |segment| segment.first);
        let gone = usize::try_from(first - self.first).unwrap_or(usize::MAX).min(self.records.len());
        self.records.drain(..gone);
        self.first = first;
    }

    pub(crate) fn cursor(&self, offset: Offset, now: u64, arguments: TableRef<'_>) -> Cursor {
        let end = self.end();
        let at_time = |time: u64| {
            let found = self.records.iter().position(|record| record.time >= time);
            found.map_or(end, |at| self.chunk_start(at))
        };
        let next = match offset {
            Offset::First => self.first,
            Offset::Next => end,
            Offset::Last => self.records.len().checked_sub(1).map_or(end, |last| self.chunk_start(last)),
            // One that is not there yet is waited for.
            Offset::Number(number) => number.max(self.first),
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

    /// The offset of the first record of the chunk that the record at this index is in.
    fn chunk_start(&self, at: usize) -> u64 {
        let chunk = self.records.get(at).map(|record| record.chunk);
        let before = self.records.iter().take(at).rev().take_while(|record| Some(record.chunk) == chunk).count();
        self.first + (at - before) as u64
    }

    /// The next message for a consumer, with its offset.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<(u64, Arc<Message>)> {
        // What it was to read may be gone.
        cursor.next = cursor.next.max(self.first);
        loop {
            let offset = cursor.next;
            let at = usize::try_from(offset - self.first).ok()?;
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
        let before = self.records.iter().take(at).rev().take_while(|record| record.chunk == chunk).count();
        let mut records = self.records.iter().skip(at - before).take_while(|record| record.chunk == chunk);
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
