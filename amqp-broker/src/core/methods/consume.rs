//! Consuming, and its end.

use amqp_proto::method::basic;
use amqp_proto::wire::TableRef;

use crate::Emulate;
use crate::core::access::Access;
use crate::core::erlang::{Quoted, type_name};
use crate::core::late::Late;
use crate::core::name::Name;
use crate::core::queue::{Consumer, ConsumerId, Kind, parse_offset};
use crate::core::refusal::{Outcome, Refusal, Resource, queue_resource};
use crate::core::reply::{OUR_PREFIX, REPLY_TO, ReplyConsumer};
use crate::core::{Core, SessionId};

impl Core {
    pub(super) fn consume(&mut self, id: SessionId, number: u16, consume: &basic::Consume<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let name = self.queue_name(id, number, consume.queue)?;
        let Some(channel) = self.channel(id, number) else { return Ok(()) };
        let tag = Name::from(consume.consumer_tag.as_bytes());
        if !tag.is_empty() && channel.consumers.contains_key(tag.as_bytes()) {
            return Err(Refusal::not_allowed(format_args!("attempt to reuse consumer tag '{tag}'")));
        }
        let (prefetch, is_limited) = (channel.prefetch, channel.global_prefetch > 0);
        if name.as_bytes() == REPLY_TO.as_bytes() {
            return self.consume_replies(id, number, consume, tag);
        }
        let resource = queue_resource(&name, &vhost);
        self.check_access(&user, Access::Read, &resource)?;
        let tag = if tag.is_empty() { self.generate_name("amq.ctag") } else { tag };
        let (queue_id, queue) = self.queue_of(&vhost, &name)?;
        super::queue::check_owner(queue, id)?;
        let kind = queue.kind;
        check_arguments(self.version, kind, consume.arguments, &resource)?;
        // Queues of the other types take any number of them.
        let is_exclusive = consume.exclusive && kind == Kind::Classic;
        if queue.consumers.has_exclusive()
            || is_exclusive && (!queue.consumers.is_empty() || queue.consumers.is_single_active())
        {
            return Err(Refusal::access_refused(format_args!("{resource} in exclusive use")));
        }
        let mut consumer = Consumer::new(id, number, tag.clone());
        match kind {
            Kind::Quorum if is_limited => {
                return Err(Refusal::not_implemented(format_args!("{resource} does not support global qos")));
            }
            Kind::Classic | Kind::Quorum => {}
            Kind::Stream => {
                self.check_stream_consumer(&resource, prefetch, consume.no_ack, is_limited)?;
                let offset = parse_offset(self.version, consume.arguments, &resource)?;
                let filters = if self.version.filters_streams() { consume.arguments } else { TableRef::EMPTY };
                consumer.cursor = Some(queue.log.cursor(offset, self.unix_millis(), filters));
            }
        }
        consumer.no_ack = consume.no_ack;
        consumer.exclusive = is_exclusive;
        consumer.prefetch = prefetch.into();
        consumer.priority = consume.arguments.get("x-priority").and_then(|value| value.as_i64()).unwrap_or_default();
        consumer.arguments = consume.arguments.to_owned();
        let new_id = ConsumerId(self.next_id());
        let Some(queue) = self.queues.get_mut(&queue_id) else { return Ok(()) };
        let consumer_id = queue.lingering.revive(&mut consumer).unwrap_or(new_id);
        queue.consumers.add(consumer_id, consumer);
        queue.had_consumers = true;
        if let Some(channel) = self.channel(id, number) {
            channel.consumers.insert(tag.clone(), (queue_id, consumer_id));
        }
        if !consume.nowait {
            self.later(id, number, Late::ConsumeOk(tag));
        }
        self.run_queue(queue_id);
        Ok(())
    }

    fn check_stream_consumer(&self, resource: &Resource<'_>, prefetch: u16, no_ack: bool, is_limited: bool) -> Outcome {
        let is_old = self.version == Emulate::V3_10;
        if prefetch == 0 {
            return Err(match is_old {
                true => Refusal::precondition(format_args!("consumer prefetch count is not set for '{resource}'")),
                false => {
                    Refusal::precondition(format_args!("consumer prefetch count is not set for stream {resource}"))
                }
            });
        }
        if no_ack {
            let queues = if is_old { " queues" } else { "" };
            let text = format_args!("automatic acknowledgement not supported by stream{queues} {resource}");
            return Err(Refusal::not_implemented(text));
        }
        if is_limited {
            return Err(Refusal::not_implemented(format_args!("{resource} does not support global qos")));
        }
        Ok(())
    }

    fn consume_replies(&mut self, id: SessionId, number: u16, consume: &basic::Consume<'_>, tag: Name) -> Outcome {
        let has_one = self.channel(id, number).is_some_and(|channel| channel.reply_consumer.is_some());
        if !consume.no_ack {
            return Err(Refusal::precondition("reply consumer cannot acknowledge"));
        }
        if has_one {
            return Err(Refusal::precondition("reply consumer already set"));
        }
        let tag = if tag.is_empty() { self.generate_name("amq.ctag") } else { tag };
        let queue = self.generate_name(OUR_PREFIX);
        self.reply_queues.insert(queue.clone(), (id, number));
        if let Some(channel) = self.channel(id, number) {
            channel.reply_consumer = Some(ReplyConsumer { tag: tag.clone(), queue });
        }
        if !consume.nowait {
            // The channel itself answers here.
            self.put(id, number, &basic::ConsumeOk { consumer_tag: crate::core::route::short(tag.as_bytes()) });
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: SessionId, number: u16, cancel: &basic::Cancel<'_>) -> Outcome {
        let Some(channel) = self.channel(id, number) else { return Ok(()) };
        let tag = cancel.consumer_tag;
        if channel.reply_consumer.as_ref().is_some_and(|reply| reply.tag.as_bytes() == tag.as_bytes()) {
            let reply = channel.reply_consumer.take();
            if let Some(reply) = reply {
                self.reply_queues.remove(reply.queue.as_bytes());
            }
            if !cancel.nowait {
                self.put(id, number, &basic::CancelOk { consumer_tag: tag });
            }
            return Ok(());
        }
        let Some((queue, consumer)) = channel.consumers.remove(tag.as_bytes()) else {
            // RabbitMQ says ok to what it does not know.
            if !cancel.nowait {
                self.put(id, number, &basic::CancelOk { consumer_tag: tag });
            }
            return Ok(());
        };
        if !cancel.nowait {
            self.later(id, number, Late::CancelOk(Name::from(tag.as_bytes())));
        }
        self.remove_consumer(queue, consumer);
        self.delete_if_unused(queue);
        Ok(())
    }

    /// Cancels a consumer from the broker's side.
    pub(in crate::core) fn cancel_consumer(&mut self, id: SessionId, number: u16, tag: &Name) {
        let found = self.channel(id, number).and_then(|channel| channel.consumers.remove(tag.as_bytes()));
        if let Some((queue, consumer)) = found {
            self.later(id, number, Late::Cancel(tag.clone()));
            self.remove_consumer(queue, consumer);
            self.delete_if_unused(queue);
        }
    }
}

/// Checks a consumer's arguments.
fn check_arguments(version: Emulate, kind: Kind, arguments: TableRef<'_>, queue: &Resource<'_>) -> Outcome {
    let is_known = |name: &str| match name {
        "x-priority" => kind != Kind::Stream,
        "x-stream-offset" => kind == Kind::Stream,
        "x-stream-filter" | "x-stream-match-unfiltered" => kind == Kind::Stream || version == Emulate::V3_10,
        "x-consumer-timeout" => kind == Kind::Quorum || version < Emulate::V4_3,
        _ => true,
    };
    if let Some(value) = arguments.get("x-priority").filter(|_| kind != Kind::Stream)
        && value.as_i64().is_none()
    {
        let reason = format!("expected integer, got {}", type_name(&value));
        return Err(Refusal::precondition(format_args!("invalid arg 'x-priority' for {queue}: {}", Quoted(&reason))));
    }
    if kind == Kind::Stream {
        parse_offset(version, arguments, queue)?;
    }
    for (key, _) in arguments {
        let key = key.to_string_lossy();
        if !is_known(&key) {
            let kind = kind.module();
            let text = format_args!("invalid arg '{key}' for {queue} of queue type {kind}");
            return Err(Refusal::precondition(text));
        }
    }
    Ok(())
}
