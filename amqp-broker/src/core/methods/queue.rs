//! Class queue.

use amqp_proto::method::{ReplyCode, queue};
use amqp_proto::wire::ValueRef;

use super::check_name;
use super::exchange::Target;
use crate::Emulate;
use crate::core::access::Access;
use crate::core::erlang::type_name;
use crate::core::exchange::Destination;
use crate::core::late::Late;
use crate::core::name::Name;
use crate::core::queue::{self as queues, ConsumerId, Kind, Queue, QueueId};
use crate::core::refusal::{Outcome, Refusal, exchange_resource, queue_resource};
use crate::core::reply::{REPLY_TO, is_reply_queue};
use crate::core::route::short;
use crate::core::timers::Timer;
use crate::core::{Core, SessionId};

impl Core {
    pub(super) fn queue_method(&mut self, id: SessionId, number: u16, method: &queue::Method<'_>) -> Outcome {
        match method {
            queue::Method::Declare(declare) => self.declare_queue(id, number, declare),
            queue::Method::Bind(bind) => {
                let name = self.queue_name(id, number, bind.queue)?;
                // No name and no key: the last queue's name is the key.
                let key = match bind.queue.is_empty() && bind.routing_key.is_empty() {
                    true => short(name.as_bytes()),
                    false => bind.routing_key,
                };
                self.change_binding(id, true, bind.exchange, &Target::Queue(name.clone()), key, bind.arguments)?;
                if !bind.nowait {
                    self.put(id, number, &queue::BindOk {});
                }
                Ok(())
            }
            queue::Method::Unbind(unbind) => {
                let name = self.queue_name(id, number, unbind.queue)?;
                let key = match unbind.queue.is_empty() && unbind.routing_key.is_empty() {
                    true => short(name.as_bytes()),
                    false => unbind.routing_key,
                };
                self.change_binding(id, false, unbind.exchange, &Target::Queue(name.clone()), key, unbind.arguments)?;
                self.put(id, number, &queue::UnbindOk {});
                Ok(())
            }
            queue::Method::Purge(purge) => self.purge(id, number, purge),
            queue::Method::Delete(delete) => self.delete(id, number, delete),
            _ => Err(super::unimplemented()),
        }
    }

    fn declare_queue(&mut self, id: SessionId, number: u16, declare: &queue::Declare<'_>) -> Outcome {
        let (name, messages, consumers) = self.declared(id, number, declare)?;
        if let Some(channel) = self.channel(id, number) {
            channel.last_queue = Some(name.clone());
        }
        if !declare.nowait {
            let queue = short(name.as_bytes());
            self.put(id, number, &queue::DeclareOk { queue, message_count: messages, consumer_count: consumers });
        }
        Ok(())
    }

    /// The name of the queue that was declared, and its messages and consumers.
    fn declared(&mut self, id: SessionId, number: u16, declare: &queue::Declare<'_>) -> Outcome<(Name, u32, u32)> {
        let (user, vhost) = self.place(id)?;
        let name = Name::without_line_ends(declare.queue.as_bytes());
        if name.as_bytes() == REPLY_TO.as_bytes() || is_reply_queue(name.as_bytes()) {
            return self.declared_reply_queue(id, number, name, &vhost);
        }
        if declare.passive {
            let resource = queue_resource(&name, &vhost);
            self.check_any_access(&user, &resource)?;
            let (queue_id, queue) = self.queue_of(&vhost, &name)?;
            check_owner(queue, id)?;
            let found = (name.clone(), queue.message_count(), queue.consumer_count());
            self.use_queue(queue_id);
            return Ok(found);
        }
        let arguments = queues::completed(self.version, declare.arguments);
        let is_named = !name.is_empty();
        let name = match is_named {
            true => name,
            false => self.generated_queue_name(declare, &vhost)?,
        };
        let resource = queue_resource(&name, &vhost);
        if is_named {
            check_name("queue", &name)?;
        }
        self.check_access(&user, Access::Configure, &resource)?;
        // What belongs to one connection is not durable.
        let durable = declare.durable && !declare.exclusive;
        if let Ok((queue_id, queue)) = self.queue_of(&vhost, &name) {
            if declare.exclusive && queue.owner != Some(id)
                || queue.owner.is_some() && queue.owner != declare.exclusive.then_some(id)
            {
                return Err(locked(queue));
            }
            for (key, received, current) in
                [("durable", durable, queue.durable), ("auto_delete", declare.auto_delete, queue.auto_delete)]
            {
                if received != current {
                    let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                    return Err(queues::inequivalent(key, &resource, &received, &current));
                }
            }
            queues::assert_equivalent(self.version, queue.kind, &queue.arguments, arguments.as_ref(), &resource)?;
            let found = (name.clone(), queue.message_count(), queue.consumer_count());
            self.use_queue(queue_id);
            return Ok(found);
        }
        match declare.arguments.get("x-dead-letter-exchange") {
            None => {}
            Some(ValueRef::LongString(exchange)) => {
                self.check_access(&user, Access::Read, &resource)?;
                self.check_access(&user, Access::Write, &exchange_resource(&Name::from(exchange), &vhost))?;
            }
            Some(other) => {
                let kind = type_name(&other);
                let text = format_args!("invalid type '{kind}' for arg 'x-dead-letter-exchange' in {resource}");
                return Err(Refusal::precondition(text));
            }
        }
        let kind = queues::queue_type(declare.arguments, &resource)?;
        if self.version >= Emulate::V4_3 && declare.arguments.contains_key("x-queue-master-locator") {
            return Err(deprecated("queue_master_locator"));
        }
        queues::check(self.version, kind, declare.arguments, &resource)?;
        if kind != Kind::Classic {
            let odd = [
                (!declare.durable, "non-durable"),
                (declare.exclusive, "exclusive-owner"),
                (declare.auto_delete, "auto-delete"),
            ];
            // RabbitMQ looks at them in another order.
            let first = [2, 1, 0].into_iter().filter_map(|at| odd.get(at)).find(|(is_so, _)| *is_so);
            if let Some((_, property)) = first {
                return Err(Refusal::precondition(format_args!("invalid property '{property}' for {resource}")));
            }
        }
        queues::check_stream(self.version, kind, declare.arguments)?;
        let queue_id = QueueId(self.next_id());
        let mut queue = Queue::new(self.version, name.clone(), vhost.clone(), kind, arguments);
        queue.durable = durable;
        queue.auto_delete = declare.auto_delete;
        queue.owner = declare.exclusive.then_some(id);
        self.queues.insert(queue_id, queue);
        if let Some(vhost) = self.vhosts.get_mut(vhost.as_bytes()) {
            vhost.queues.insert(name.clone(), queue_id);
        }
        self.use_queue(queue_id);
        Ok((name, 0, 0))
    }

    fn generated_queue_name(&mut self, declare: &queue::Declare<'_>, vhost: &Name) -> Outcome<Name> {
        let nameless = Name::from("");
        match queues::queue_type(declare.arguments, &queue_resource(&nameless, vhost)) {
            Err(_) => Err(self.no_type_for_generated(declare)),
            Ok(Kind::Classic) => Ok(self.generate_name("amq.gen")),
            Ok(kind) => Err(Refusal::precondition(format_args!(
                "Cannot declare a server-named queue for type {}",
                kind.module()
            ))),
        }
    }

    /// Where the broker is to make up the name of a queue, RabbitMQ meets an unknown type in another place.
    fn no_type_for_generated(&self, declare: &queue::Declare<'_>) -> Refusal {
        match declare.arguments.get("x-queue-type") {
            Some(ValueRef::LongString(text)) if self.version >= Emulate::V4_3 => {
                Refusal::precondition(format_args!("unknown queue type '{}'", String::from_utf8_lossy(text)))
            }
            _ => Refusal::crash(),
        }
    }

    /// Direct replies have no queue, but one may ask whether somebody waits for them.
    fn declared_reply_queue(&self, id: SessionId, number: u16, name: Name, vhost: &Name) -> Outcome<(Name, u32, u32)> {
        if name.as_bytes() == REPLY_TO.as_bytes() {
            return Ok((name, 0, 1));
        }
        match self.reply_queues.get(name.as_bytes()) {
            // RabbitMQ's channel cannot ask itself.
            Some(place) if *place == (id, number) && self.version < Emulate::V4_3 => Err(Refusal::crash()),
            Some(place) if *place != (id, number) => Ok((name, 0, 1)),
            _ => Err(Refusal::not_found(queue_resource(&name, vhost))),
        }
    }

    /// A queue by its name.
    pub(super) fn queue_of(&self, vhost: &Name, name: &Name) -> Outcome<(QueueId, &Queue)> {
        let id = self.vhosts.get(vhost.as_bytes()).and_then(|vhost| vhost.queues.get(name.as_bytes()));
        let found = id.and_then(|id| Some((*id, self.queues.get(id)?)));
        found.ok_or_else(|| Refusal::not_found(queue_resource(name, vhost)))
    }

    /// Somebody uses a queue: it does not expire for now.
    pub(super) fn use_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.idle_since = self.now;
        let deadline = queue.deadline();
        self.timers.arm(Timer::Queue(id), deadline);
    }

    fn purge(&mut self, id: SessionId, number: u16, purge: &queue::Purge<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let name = self.queue_name(id, number, purge.queue)?;
        let resource = queue_resource(&name, &vhost);
        self.check_access(&user, Access::Read, &resource)?;
        let (queue_id, queue) = self.queue_of(&vhost, &name)?;
        check_owner(queue, id)?;
        if queue.kind == Kind::Stream {
            return Err(Refusal::not_implemented(format_args!(
                "queue.purge not supported by stream queues {resource}"
            )));
        }
        let with_dead_letters = self.version.purges_dead_letters();
        let count = self
            .queues
            .get_mut(&queue_id)
            .map_or(0, |queue| queue.ready.clear() + if with_dead_letters { queue.dead_letters.clear() } else { 0 });
        if !purge.nowait {
            self.put(id, number, &queue::PurgeOk { message_count: u32::try_from(count).unwrap_or(u32::MAX) });
        }
        Ok(())
    }

    fn delete(&mut self, id: SessionId, number: u16, delete: &queue::Delete<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let name = Name::without_line_ends(self.queue_name(id, number, delete.queue)?.as_bytes());
        let resource = queue_resource(&name, &vhost);
        self.check_access(&user, Access::Configure, &resource)?;
        let mut count = 0;
        // One that is not there is deleted already.
        if let Ok((queue_id, queue)) = self.queue_of(&vhost, &name) {
            check_owner(queue, id)?;
            count = queue.message_count();
            if queue.kind == Kind::Quorum && (delete.if_unused || delete.if_empty) {
                let flag = if delete.if_unused { "if-unused" } else { "if-empty" };
                return Err(Refusal::not_implemented(format_args!(
                    "cannot delete {resource}. queue.delete operations with {flag} flag set are not supported by quorum queues"
                )));
            }
            let is_stream = queue.kind == Kind::Stream;
            if delete.if_empty && queue.ready.len() > 0 && !is_stream {
                return Err(Refusal::precondition(format_args!("{resource} not empty")));
            }
            if delete.if_unused && !queue.consumers.is_empty() && !is_stream {
                return Err(Refusal::precondition(format_args!("{resource} in use")));
            }
            self.delete_queue(queue_id);
        }
        if !delete.nowait {
            self.put(id, number, &queue::DeleteOk { message_count: count });
        }
        Ok(())
    }

    /// Deletes a queue with all that hangs on it. Its consumers are told.
    pub(in crate::core) fn delete_queue(&mut self, id: QueueId) {
        // What died in it goes its way first.
        self.bury();
        let Some(queue) = self.queues.remove(&id) else { return };
        self.timers.arm(Timer::Queue(id), None);
        if let Some(vhost) = self.vhosts.get_mut(queue.vhost.as_bytes()) {
            vhost.queues.remove(queue.name.as_bytes());
        }
        for (_, consumer) in queue.consumers.iter() {
            let channel =
                self.sessions.get_mut(&consumer.session).and_then(|it| it.channels.get_mut(&consumer.channel));
            if channel.is_some_and(|channel| channel.consumers.remove(consumer.tag.as_bytes()).is_some()) {
                self.later(consumer.session, consumer.channel, Late::Cancel(consumer.tag.clone()));
            }
        }
        let destination = Destination::Queue(id);
        for source in queue.bound.keys() {
            let exchange =
                self.vhosts.get_mut(queue.vhost.as_bytes()).and_then(|it| it.exchanges.get_mut(source.as_bytes()));
            let Some(exchange) = exchange else { continue };
            exchange.unbind_all(&destination);
            if exchange.auto_delete && !exchange.is_used() {
                self.delete_exchange(&queue.vhost, source);
            }
        }
    }

    /// A consumer goes.
    pub(in crate::core) fn remove_consumer(&mut self, queue: QueueId, consumer: ConsumerId) {
        if let Some(found) = self.queues.get_mut(&queue) {
            if let Some(removed) = found.consumers.remove(consumer)
                && found.kind == Kind::Quorum
            {
                found.lingering.cancelled(consumer, removed);
            }
            found.idle_since = self.now;
            // Another may be the single active one now.
            self.run_queue(queue);
        }
    }

    /// Deletes a queue whose last consumer has gone, if it wants that.
    pub(in crate::core) fn delete_if_unused(&mut self, id: QueueId) {
        let is_done = |queue: &Queue| queue.auto_delete && queue.had_consumers && queue.consumers.is_empty();
        if self.queues.get(&id).is_some_and(is_done) {
            self.delete_queue(id);
        }
    }
}

/// Whether a session may use a queue.
pub(super) fn check_owner(queue: &Queue, id: SessionId) -> Outcome {
    if queue.owner.is_some_and(|owner| owner != id) { Err(locked(queue)) } else { Ok(()) }
}

fn locked(queue: &Queue) -> Refusal {
    let resource = queue.resource();
    let text = format_args!(
        "cannot obtain exclusive access to locked {resource}. It could be originally declared on another connection or \
         the exclusive property value does not match that of the original declaration."
    );
    Refusal::new(ReplyCode::RESOURCE_LOCKED, text)
}

fn deprecated(feature: &str) -> Refusal {
    let text = format_args!(
        "Feature `{feature}` is deprecated.\nBy default, this feature is not permitted anymore.\nThe feature will be removed \
         from a future major RabbitMQ version, regardless of the configuration; actual version to be determined.\nTo con..."
    );
    Refusal::new(ReplyCode::INTERNAL_ERROR, text)
}
