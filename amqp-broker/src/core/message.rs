//! A message: what was published, once, however many queues it is in.

use std::borrow::Cow;
use std::sync::Arc;

use amqp_proto::method::{Properties, PropertiesRef, RawProperties, basic};
use amqp_proto::wire::{FieldTable, FieldValue, ShortStr, TableRef, ValueRef};

use super::death::Death;
use super::name::Name;
use super::refusal::{Outcome, Refusal};
use crate::Emulate;

/// Bytes of a content header before the property flags.
const HEADER_FIXED: usize = 12;

/// Bytes of a body up to which room is made before they come.
const BODY_AHEAD: usize = 128 << 10;

/// A message, immutable.
///
/// Routing key, content header and body lie in one allocation, so that a million small messages cost what they should.
#[derive(Debug)]
pub(crate) struct Message {
    exchange: Name,
    /// Routing key, payload of the content header, body.
    content: Box<[u8]>,
    routing_key_len: u8,
    priority: Option<u8>,
    persistent: bool,
    header_len: u32,
    /// Milliseconds that it lives in queues, as its publisher wants.
    expiration: Option<u64>,
    /// What few messages have.
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Default, Clone)]
struct Extra {
    /// Further routing keys: those of the headers `CC` and `BCC`, in this order.
    keys: Vec<Name>,
    /// How many of them are of `BCC`.
    hidden_keys: usize,
    /// The queues it died in, the last one first.
    deaths: Vec<Death>,
    /// Whether somebody has rejected it on its way here; RabbitMQ 4.3 calls it redelivered then.
    rejected: bool,
    /// Bytes of its properties as they were published, if it has died since.
    published_properties: Option<u32>,
}

impl Message {
    pub(crate) fn exchange(&self) -> &Name {
        &self.exchange
    }

    pub(crate) fn routing_key(&self) -> &[u8] {
        self.content.get(..usize::from(self.routing_key_len)).unwrap_or_default()
    }

    /// Its routing keys: that of the publish, and those of `CC` and `BCC`.
    pub(crate) fn routing_keys(&self) -> impl Iterator<Item = &[u8]> {
        let more = self.extra.iter().flat_map(|extra| extra.keys.iter().map(Name::as_bytes));
        std::iter::once(self.routing_key()).chain(more)
    }

    /// Those that its receivers may know of.
    pub(crate) fn shown_keys(&self) -> impl Iterator<Item = &[u8]> {
        let hidden = self.extra.as_ref().map_or(0, |extra| extra.hidden_keys);
        let all = 1 + self.extra.as_ref().map_or(0, |extra| extra.keys.len());
        self.routing_keys().take(all - hidden)
    }

    /// The payload of its content header.
    pub(crate) fn header(&self) -> &[u8] {
        let start = usize::from(self.routing_key_len);
        self.content.get(start..start + self.header_len as usize).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.content.get(usize::from(self.routing_key_len) + self.header_len as usize..).unwrap_or_default()
    }

    /// Bytes of its properties, flags included: of those that it was published with, whatever its deaths have added.
    pub(crate) fn properties_len(&self) -> usize {
        let published = self.extra.as_ref().and_then(|extra| extra.published_properties);
        published.map_or_else(|| self.header().len().saturating_sub(HEADER_FIXED), |len| len as usize)
    }

    pub(crate) fn properties(&self) -> PropertiesRef<'_> {
        // They were decoded before.
        RawProperties::new(self.header().get(HEADER_FIXED..).unwrap_or_default()).decode().unwrap_or_default()
    }

    pub(crate) fn headers(&self) -> TableRef<'_> {
        self.properties().headers.unwrap_or_default()
    }

    pub(crate) fn priority(&self) -> Option<u8> {
        self.priority
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent
    }

    pub(crate) fn expiration(&self) -> Option<u64> {
        self.expiration
    }

    pub(crate) fn deaths(&self) -> &[Death] {
        self.extra.as_ref().map_or(&[], |extra| &extra.deaths)
    }

    pub(crate) fn was_rejected(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.rejected)
    }

    /// Roughly what it takes on the wire, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.content.len() + 64
    }

    /// It again, as it is published to a dead-letter exchange.
    pub(crate) fn reborn(
        &self,
        exchange: Name,
        routing_key: Option<&Name>,
        deaths: Vec<Death>,
        rejected: bool,
        properties: &Properties,
    ) -> Self {
        let published_properties = u32::try_from(self.properties_len()).ok();
        let mut extra = Extra { deaths, rejected, published_properties, ..Extra::default() };
        if routing_key.is_none()
            && let Some(before) = &self.extra
        {
            extra.keys.clone_from(&before.keys);
            extra.hidden_keys = before.hidden_keys;
        }
        let key = routing_key.map_or(self.routing_key(), Name::as_bytes);
        let mut content = Vec::with_capacity(key.len() + HEADER_FIXED + properties.wire_size() + self.body().len());
        content.extend_from_slice(key);
        let header_len = put_header(&mut content, self.body().len(), properties);
        content.extend_from_slice(self.body());
        Self {
            exchange,
            content: content.into_boxed_slice(),
            routing_key_len: key_len(key),
            priority: self.priority,
            persistent: self.persistent,
            header_len,
            expiration: None,
            extra: Some(Box::new(extra)),
        }
    }
}

/// A message whose body is still coming in.
#[derive(Debug)]
pub(crate) struct Incoming {
    message: Message,
    content: Vec<u8>,
    missing: u64,
    has_overflowed: bool,
    pub(crate) user_id: Option<Name>,
    /// Whether it wants its `reply_to` to be the channel's own reply queue.
    pub(crate) wants_direct_reply: bool,
    /// What is wrong with its properties. RabbitMQ looks at them when the body is there and the exchange is known.
    pub(crate) wrong: Wrong,
}

/// What is wrong with the properties of a message, in RabbitMQ's words.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    /// They cannot be decoded at all.
    pub(crate) properties: Option<Refusal>,
    pub(crate) expiration: Option<Refusal>,
    /// The headers `CC` and `BCC`.
    pub(crate) keys: Option<Refusal>,
}

impl Incoming {
    /// Starts with the payload of a content header, which was checked to have one's fixed part.
    pub(crate) fn start(version: Emulate, exchange: Name, routing_key: &[u8], header: &[u8], body_size: u64) -> Self {
        let raw = header.get(HEADER_FIXED..).unwrap_or_default();
        let mut wrong = Wrong::default();
        // Flags that say that more flags follow are too much for RabbitMQ.
        let goes_on = raw.get(1).is_some_and(|flags| flags & 1 != 0);
        let properties = match RawProperties::new(raw).decode() {
            Ok(properties) if !goes_on && !properties.headers.is_some_and(super::erlang::has_odd_numbers) => properties,
            // RabbitMQ ignores flags that it does not know.
            Err(_) if raw == [0, 2] => PropertiesRef::default(),
            _ => {
                wrong.properties = Some(Refusal::crash());
                PropertiesRef::default()
            }
        };
        let expiration = properties.expiration.map(parse_expiration).transpose();
        let expiration = expiration.unwrap_or_else(|refusal| {
            wrong.expiration = Some(refusal);
            None
        });
        let mut extra = None;
        let mut rewritten = None;
        if let Some(headers) = properties.headers {
            extra = further_keys(headers).unwrap_or_else(|refusal| {
                wrong.keys = Some(refusal);
                None
            });
            rewritten = rewrite(version, &properties, headers);
        }
        let ahead = usize::try_from(body_size).unwrap_or(BODY_AHEAD).min(BODY_AHEAD);
        let mut content = Vec::with_capacity(routing_key.len() + header.len() + ahead);
        content.extend_from_slice(routing_key);
        let header_len = match &rewritten {
            Some(properties) => put_header(&mut content, usize::try_from(body_size).unwrap_or_default(), properties),
            None => {
                content.extend_from_slice(header);
                u32::try_from(header.len()).unwrap_or_default()
            }
        };
        let message = Message {
            exchange,
            content: Box::default(),
            routing_key_len: key_len(routing_key),
            priority: properties.priority,
            persistent: properties.delivery_mode == Some(2),
            header_len,
            expiration,
            extra: extra.map(Box::new),
        };
        let user_id = properties.user_id.map(|user| Name::from(user.as_bytes()));
        let wants_direct_reply = properties.reply_to.is_some_and(|queue| queue == super::reply::REPLY_TO);
        Self { message, content, missing: body_size, has_overflowed: false, user_id, wants_direct_reply, wrong }
    }

    /// Appends a piece of the body; `false` if it is more than was announced.
    pub(crate) fn append(&mut self, piece: &[u8]) -> bool {
        if self.has_overflowed {
            return true;
        }
        let Some(missing) = self.missing.checked_sub(piece.len() as u64) else { return false };
        self.missing = missing;
        self.content.extend_from_slice(piece);
        true
    }

    /// More than was announced has come: it is never complete.
    pub(crate) fn overflow(&mut self) {
        self.missing = u64::MAX;
        self.has_overflowed = true;
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Bytes of the body that came.
    pub(crate) fn body_len(&self) -> usize {
        self.content.len() - self.body_start()
    }

    /// What came of the body.
    pub(crate) fn body(&self) -> &[u8] {
        self.content.get(self.body_start()..).unwrap_or_default()
    }

    /// Its properties, as they are passed on.
    pub(crate) fn properties(&self) -> PropertiesRef<'_> {
        let start = usize::from(self.message.routing_key_len) + HEADER_FIXED;
        let raw = self.content.get(start..self.body_start()).unwrap_or_default();
        // They were decoded before.
        RawProperties::new(raw).decode().unwrap_or_default()
    }

    fn body_start(&self) -> usize {
        usize::from(self.message.routing_key_len) + self.message.header_len as usize
    }

    /// Sets the queue for direct replies.
    pub(crate) fn set_reply_to(&mut self, queue: &Name) {
        let key_len = usize::from(self.message.routing_key_len);
        let body_start = self.body_start();
        let mut properties = self.properties().to_owned();
        // It is shorter than 255 bytes.
        let _ = properties.set_reply_to(queue.to_string());
        let mut content = self.content.get(..key_len).unwrap_or_default().to_vec();
        let body = self.content.get(body_start..).unwrap_or_default();
        self.message.header_len = put_header(&mut content, body.len(), &properties);
        content.extend_from_slice(body);
        self.content = content;
    }

    pub(crate) fn finish(mut self) -> Arc<Message> {
        self.message.content = self.content.into_boxed_slice();
        Arc::new(self.message)
    }
}

/// A short string's length.
fn key_len(key: &[u8]) -> u8 {
    u8::try_from(key.len()).unwrap_or(u8::MAX)
}

/// Appends the payload of a content header, and gives its length.
fn put_header(out: &mut Vec<u8>, body_size: usize, properties: &Properties) -> u32 {
    let start = out.len();
    let mut frame = Vec::with_capacity(HEADER_FIXED + properties.wire_size() + 8);
    // Fails only for properties of more than 4 GiB, and those do not fit into frames.
    let _ = amqp_proto::method::put_content_header(&mut frame, 0, basic::CLASS_ID, body_size as u64, properties);
    out.extend_from_slice(frame.get(7..frame.len().saturating_sub(1)).unwrap_or_default());
    u32::try_from(out.len() - start).unwrap_or_default()
}

/// The longest that a message or a queue may be said to live: ten years, in milliseconds.
pub(crate) const MAX_EXPIRY: i64 = 315_360_000_000;

fn parse_expiration(text: ShortStr<'_>) -> Outcome<u64> {
    let text = text.to_string_lossy();
    let refuse = |reason: String| Err(Refusal::precondition(format_args!("invalid expiration '{text}': {reason}")));
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return refuse("no_integer".to_owned());
    }
    let (number, left) = text.split_at(sign + digits);
    if !left.is_empty() {
        return refuse(format!("{{leftover_string,{}}}", super::erlang::Quoted(left)));
    }
    match number.trim_start_matches('+').parse::<i64>() {
        Ok(number @ ..0) => refuse(format!("{{value_negative,{number}}}")),
        Ok(number @ ..=MAX_EXPIRY) => Ok(number.unsigned_abs()),
        _ => refuse(format!("{{value_too_large,{}}}", number.trim_start_matches(['+', '0']))),
    }
}

/// The routing keys of the headers `CC` and `BCC`.
fn further_keys(headers: TableRef<'_>) -> Outcome<Option<Extra>> {
    let mut extra = Extra::default();
    for (header, hidden) in [("CC", false), ("BCC", true)] {
        let Some(value) = headers.get(header) else { continue };
        let ValueRef::Array(keys) = value else {
            let kind = super::erlang::type_name(&value);
            let text = format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{kind}}}");
            return Err(Refusal::precondition(text));
        };
        for key in keys {
            if let ValueRef::LongString(key) = key {
                extra.keys.push(Name::from(key));
                extra.hidden_keys += usize::from(hidden);
            }
        }
    }
    Ok((!extra.keys.is_empty()).then_some(extra))
}

/// The properties as RabbitMQ passes them on, where these are others: without `BCC`, and sorted since 4.0.
fn rewrite(version: Emulate, properties: &PropertiesRef<'_>, headers: TableRef<'_>) -> Option<Properties> {
    let strips = headers.contains_key("BCC");
    let sorts = version.sorts_headers() && !is_sorted(headers);
    if !strips && !sorts {
        return None;
    }
    let mut entries: Vec<_> = headers.iter().filter(|(key, _)| key != "BCC").collect();
    if sorts {
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
    }
    let mut owned = PropertiesRef { headers: None, ..*properties }.to_owned();
    if !entries.is_empty() || !strips {
        let _ = owned.set_headers(table_of(entries));
    }
    Some(owned)
}

fn is_sorted(headers: TableRef<'_>) -> bool {
    headers.iter().map(|(key, _)| key).is_sorted_by(|one, other| one < other)
}

/// A table of these entries, which came from one.
pub(crate) fn table_of<'a>(entries: impl IntoIterator<Item = (ShortStr<'a>, ValueRef<'a>)>) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        // What came from a valid table fits into one.
        let _ = table.insert(key.to_string_lossy(), value);
    }
    table
}

/// Properties with more headers, all of them sorted as RabbitMQ does when it adds one.
pub(crate) fn with_headers(properties: &PropertiesRef<'_>, more: Vec<(Cow<'static, str>, FieldValue)>) -> Properties {
    let mut table = properties.headers.map(|headers| headers.to_owned()).unwrap_or_default();
    for (key, value) in more {
        let _ = table.insert(key, value);
    }
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut owned = PropertiesRef { headers: None, ..*properties }.to_owned();
    let _ = owned.set_headers(table_of(entries));
    owned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiration(text: &str) -> Result<u64, String> {
        parse_expiration(ShortStr::new(text).unwrap()).map_err(|refusal| match refusal {
            Refusal::Close { text, .. } => text,
            Refusal::Hangup => "hangup".to_owned(),
        })
    }

    #[test]
    fn an_expiration_is_refused_in_rabbitmqs_words() {
        assert_eq!(expiration("60000"), Ok(60_000));
        let refused = |text: &str| expiration(text).unwrap_err();
        assert_eq!(refused("abc"), "PRECONDITION_FAILED - invalid expiration 'abc': no_integer");
        assert_eq!(refused("-1"), "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}");
        assert_eq!(refused("1x"), "PRECONDITION_FAILED - invalid expiration '1x': {leftover_string,\"x\"}");
        assert_eq!(refused(""), "PRECONDITION_FAILED - invalid expiration '': no_integer");
        let text = "PRECONDITION_FAILED - invalid expiration '9999999999999': {value_too_large,9999999999999}";
        assert_eq!(refused("9999999999999"), text);
    }
}
