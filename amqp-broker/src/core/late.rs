//! What is written to a channel when the call ends: the words of queues, which in RabbitMQ come from other processes than the
//! channel's replies, and so are overtaken by these.

use std::collections::VecDeque;
use std::sync::Arc;

use amqp_proto::method::basic;
use amqp_proto::wire::{FieldValue, ShortStr, ValueRef};

use super::message::{Message, table_of, with_headers};
use super::name::Name;
use super::queue::{ConsumerId, Entry, Kind, QueueId};
use super::route::short;
use super::session::{Channel, Session, Unacked};
use super::{Core, Micros, SessionId};
use crate::Emulate;

/// A late event.
#[derive(Debug)]
pub(super) enum Late {
    ConsumeOk(Name),
    CancelOk(Name),
    /// The broker cancels a consumer.
    Cancel(Name),
    Deliver(Box<Delivery>),
    /// A direct reply.
    Reply {
        tag: Name,
        message: Arc<Message>,
    },
}

/// A message on its way to a consumer.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) tag: Name,
    pub(super) queue: QueueId,
    pub(super) kind: Kind,
    pub(super) consumer: ConsumerId,
    pub(super) no_ack: bool,
    pub(super) entry: Entry,
    /// Its offset in a stream, where it stays.
    pub(super) offset: Option<u64>,
}

impl Core {
    /// Puts an event to a channel that exists.
    pub(super) fn later(&mut self, id: SessionId, number: u16, event: Late) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(channel) = session.channels.get_mut(&number) else { return };
        channel.late.push_back(event);
        mark(channel, &mut self.dirty, id, number);
    }

    /// A channel has something to be written.
    pub(super) fn mark_dirty(&mut self, id: SessionId, number: u16) {
        if let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) {
            mark(channel, &mut self.dirty, id, number);
        }
    }

    /// Writes what is late.
    pub(super) fn flush(&mut self) {
        let (version, now) = (self.version, self.now);
        for (id, number) in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let Some(channel) = session.channels.get_mut(&number) else { continue };
            channel.dirty = false;
            let late = std::mem::take(&mut channel.late);
            for event in late {
                write(version, now, session, number, event);
            }
            write_confirms(session, number);
            self.watch_acks(id, number);
            self.wake(id);
        }
    }

    /// The deliveries of a channel's late events, which will not be written: they are as good as delivered, and unsettled.
    pub(super) fn take_back(&mut self, id: SessionId, late: VecDeque<Late>) -> Vec<Unacked> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let mut unacked = Vec::new();
        for event in late {
            if let Late::Deliver(delivery) = event {
                let Delivery { queue, consumer, no_ack, entry, offset, .. } = *delivery;
                session.late_bytes = session.late_bytes.saturating_sub(entry.message.size());
                if !no_ack {
                    let entry = offset.is_none().then_some(entry);
                    unacked.push(Unacked { delivery_tag: 0, queue, consumer: Some(consumer), entry, since: self.now });
                }
            }
        }
        unacked
    }
}

fn mark(channel: &mut Channel, dirty: &mut Vec<(SessionId, u16)>, id: SessionId, number: u16) {
    if !std::mem::replace(&mut channel.dirty, true) {
        dirty.push((id, number));
    }
}

fn write(version: Emulate, now: Micros, session: &mut Session, number: u16, event: Late) {
    match event {
        Late::ConsumeOk(tag) => session.put(number, &basic::ConsumeOk { consumer_tag: short(tag.as_bytes()) }),
        Late::CancelOk(tag) => session.put(number, &basic::CancelOk { consumer_tag: short(tag.as_bytes()) }),
        Late::Cancel(tag) => {
            if session.capabilities.consumer_cancel_notify {
                session.put(number, &basic::Cancel { consumer_tag: short(tag.as_bytes()), nowait: true });
            }
        }
        Late::Reply { tag, message } => {
            let Some(delivery_tag) = next_tag(session, number) else { return };
            session.put(
                number,
                &basic::Deliver {
                    consumer_tag: short(tag.as_bytes()),
                    delivery_tag,
                    redelivered: false,
                    exchange: short(message.exchange().as_bytes()),
                    routing_key: short(message.routing_key()),
                },
            );
            session.put_content(number, message.header(), message.body());
        }
        Late::Deliver(delivery) => write_delivery(version, now, session, number, *delivery),
    }
}

fn next_tag(session: &mut Session, number: u16) -> Option<u64> {
    let channel = session.channels.get_mut(&number)?;
    channel.last_delivery_tag += 1;
    Some(channel.last_delivery_tag)
}

fn write_delivery(version: Emulate, now: Micros, session: &mut Session, number: u16, delivery: Delivery) {
    let Delivery { tag, queue, kind, consumer, no_ack, entry, offset } = delivery;
    let Some(delivery_tag) = next_tag(session, number) else { return };
    session.late_bytes = session.late_bytes.saturating_sub(entry.message.size());
    let message = Arc::clone(&entry.message);
    session.put(
        number,
        &basic::Deliver {
            consumer_tag: short(tag.as_bytes()),
            delivery_tag,
            redelivered: entry.redelivered,
            exchange: short(message.exchange().as_bytes()),
            routing_key: short(message.routing_key()),
        },
    );
    put_message(version, session, number, kind, &entry, offset, false);
    if !no_ack && let Some(channel) = session.channels.get_mut(&number) {
        let entry = offset.is_none().then_some(entry);
        channel.unacked.push_back(Unacked { delivery_tag, queue, consumer: Some(consumer), entry, since: now });
    }
}

/// Appends header and body of a message as a queue of this type shows it.
pub(super) fn put_message(
    version: Emulate,
    session: &mut Session,
    number: u16,
    kind: Kind,
    entry: &Entry,
    offset: Option<u64>,
    is_get: bool,
) {
    let message = &entry.message;
    let mut more = Vec::new();
    match kind {
        Kind::Classic => {}
        Kind::Stream => {
            let offset = FieldValue::I64(offset.unwrap_or_default().cast_signed());
            more.push(("x-stream-offset".into(), offset));
        }
        Kind::Quorum => {
            if entry.acquired_count > 0 && version.tells_acquired_count() {
                more.push(("x-acquired-count".into(), FieldValue::I64(entry.acquired_count.into())));
            }
            // 3.10 tells who asks for a message that it was never returned, too.
            if entry.delivery_count > 0 || is_get && version == Emulate::V3_10 {
                more.push(("x-delivery-count".into(), FieldValue::I64(entry.delivery_count.into())));
            }
        }
    }
    if more.is_empty() {
        return session.put_content(number, message.header(), message.body());
    }
    let mut properties = message.properties();
    let flat;
    if kind == Kind::Stream
        && let Some(headers) = properties.headers
    {
        // They are kept in a form that has no place for others; since 4.0 what the broker reads itself is kept beside it.
        let is_flat = |value: &ValueRef<'_>| !matches!(value, ValueRef::Array(_) | ValueRef::Table(_));
        let is_own = |key: &ShortStr<'_>| version >= Emulate::V4_0 && (*key == "CC" || *key == "x-death");
        flat = table_of(headers.iter().filter(|(key, value)| is_flat(value) || is_own(key)));
        properties.headers = Some(flat.as_ref());
    }
    let mut properties = with_headers(&properties, more);
    if kind == Kind::Stream && version.sorts_headers() && properties.view().delivery_mode.is_none() {
        properties.set_delivery_mode(1);
    }
    let mut frame = Vec::new();
    let size = message.body().len() as u64;
    // Fails for headers of more than 4 GiB only.
    let _ = amqp_proto::method::put_content_header(&mut frame, number, basic::CLASS_ID, size, &properties);
    let header = frame.get(7..frame.len().saturating_sub(1)).unwrap_or_default();
    session.put_content(number, header, message.body());
}

/// Writes confirms as RabbitMQ puts them together: all below the lowest unsettled one by one `multiple`.
fn write_confirms(session: &mut Session, number: u16) {
    let Some(channel) = session.channels.get_mut(&number) else { return };
    if channel.acks.is_empty() && channel.nacks.is_empty() || channel.closing {
        return;
    }
    let (mut acks, mut nacks) = (std::mem::take(&mut channel.acks), std::mem::take(&mut channel.nacks));
    acks.sort_unstable();
    nacks.sort_unstable();
    let held = channel.held.first().copied().unwrap_or(u64::MAX);
    // The acks go first, so that a nack of all that is left means what it says.
    let (ack_cutoff, nack_cutoff) = (held.min(nacks.first().copied().unwrap_or(u64::MAX)), held);
    coalesce(&acks, ack_cutoff, |delivery_tag, multiple| {
        session.put(number, &basic::Ack { delivery_tag, multiple });
    });
    coalesce(&nacks, nack_cutoff, |delivery_tag, multiple| {
        session.put(number, &basic::Nack { delivery_tag, multiple, requeue: true });
    });
}

fn coalesce(numbers: &[u64], cutoff: u64, mut send: impl FnMut(u64, bool)) {
    if let [only] = numbers {
        return send(*only, false);
    }
    let below = numbers.partition_point(|number| *number < cutoff);
    if let Some(last) = below.checked_sub(1).and_then(|last| numbers.get(last)) {
        send(*last, true);
    }
    numbers.iter().skip(below).for_each(|number| send(*number, false));
}
