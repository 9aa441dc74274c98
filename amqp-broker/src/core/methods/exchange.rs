//! Class exchange.

use amqp_proto::method::ReplyCode;
use amqp_proto::method::exchange;
use amqp_proto::wire::{ShortStr, TableRef, ValueRef};

use super::check_name;
use crate::core::access::Access;
use crate::core::erlang::type_name;
use crate::core::exchange::{Binding, Destination, Exchange, Kind, check_arguments};
use crate::core::name::Name;
use crate::core::queue::{assert_same_argument, inequivalent};
use crate::core::refusal::{Outcome, Refusal, exchange_resource, queue_resource};
use crate::core::reply::is_reply_queue;
use crate::core::{Core, SessionId};

impl Core {
    pub(super) fn exchange_method(&mut self, id: SessionId, number: u16, method: &exchange::Method<'_>) -> Outcome {
        match method {
            exchange::Method::Declare(declare) => {
                self.declare_exchange(id, declare)?;
                if !declare.nowait {
                    self.put(id, number, &exchange::DeclareOk {});
                }
            }
            exchange::Method::Delete(delete) => {
                self.delete_exchange_for(id, delete)?;
                if !delete.nowait {
                    self.put(id, number, &exchange::DeleteOk {});
                }
            }
            exchange::Method::Bind(bind) => {
                let destination = Target::Exchange(bind.destination);
                self.change_binding(id, true, bind.source, &destination, bind.routing_key, bind.arguments)?;
                if !bind.nowait {
                    self.put(id, number, &exchange::BindOk {});
                }
            }
            exchange::Method::Unbind(unbind) => {
                let destination = Target::Exchange(unbind.destination);
                self.change_binding(id, false, unbind.source, &destination, unbind.routing_key, unbind.arguments)?;
                if !unbind.nowait {
                    self.put(id, number, &exchange::UnbindOk {});
                }
            }
            _ => return Err(super::unimplemented()),
        }
        Ok(())
    }

    fn declare_exchange(&mut self, id: SessionId, declare: &exchange::Declare<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let kind = if declare.passive { None } else { Some(self.check_kind(declare.kind)?) };
        let name = Name::without_line_ends(declare.exchange.as_bytes());
        let resource = exchange_resource(&name, &vhost);
        check_not_default(&name)?;
        match kind {
            None => self.check_any_access(&user, &resource)?,
            Some(_) => self.check_access(&user, Access::Configure, &resource)?,
        }
        let found = self.vhosts.get(vhost.as_bytes()).and_then(|it| it.exchanges.get(name.as_bytes()));
        match (found, kind) {
            (None, None) => Err(Refusal::not_found(resource)),
            (Some(_), None) => Ok(()),
            (Some(exchange), Some(kind)) => assert_equivalent(exchange, kind, declare, &vhost),
            (None, Some(kind)) => {
                check_name("exchange", &name)?;
                let alternate = match declare.arguments.get("alternate-exchange") {
                    None => None,
                    Some(ValueRef::LongString(alternate)) => {
                        let alternate = Name::from(alternate);
                        self.check_access(&user, Access::Read, &resource)?;
                        self.check_access(&user, Access::Write, &exchange_resource(&alternate, &vhost))?;
                        Some(alternate)
                    }
                    Some(other) => {
                        let kind = type_name(&other);
                        let text = format_args!("invalid type '{kind}' for arg 'alternate-exchange' in {resource}");
                        return Err(Refusal::precondition(text));
                    }
                };
                let mut exchange = Exchange::new(name.clone(), kind);
                exchange.durable = declare.durable;
                exchange.auto_delete = declare.auto_delete;
                exchange.internal = declare.internal;
                exchange.arguments = declare.arguments.to_owned();
                exchange.alternate = alternate;
                if let Some(vhost) = self.vhosts.get_mut(vhost.as_bytes()) {
                    vhost.exchanges.insert(name, exchange);
                }
                Ok(())
            }
        }
    }

    fn check_kind(&self, kind: ShortStr<'_>) -> Outcome<Kind> {
        let found = Kind::of(kind.as_bytes());
        found.ok_or_else(|| {
            // Words that RabbitMQ has other uses for are known, and invalid.
            let is_word = matches!(kind.as_bytes(), b"" | b"queue" | b"exchange" | b"binding" | b"default" | b"system");
            let text = format!("{} exchange type '{kind}'", if is_word { "invalid" } else { "unknown" });
            match self.version.unknown_exchange_type_is_soft() {
                true => Refusal::precondition(text),
                false => Refusal::new(ReplyCode::COMMAND_INVALID, text),
            }
        })
    }

    fn delete_exchange_for(&mut self, id: SessionId, delete: &exchange::Delete<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let name = Name::without_line_ends(delete.exchange.as_bytes());
        let resource = exchange_resource(&name, &vhost);
        check_not_default(&name)?;
        if name.as_bytes().starts_with(b"amq.") {
            return Err(Refusal::access_refused(format_args!("deletion of system {resource} not allowed")));
        }
        self.check_access(&user, Access::Configure, &resource)?;
        let found = self.vhosts.get(vhost.as_bytes()).and_then(|it| it.exchanges.get(name.as_bytes()));
        if delete.if_unused && found.is_some_and(Exchange::is_used) {
            return Err(Refusal::precondition(format_args!("{resource} in use")));
        }
        self.delete_exchange(&vhost, &name);
        Ok(())
    }

    /// Deletes an exchange with the bindings to it, and those that go with them.
    pub(in crate::core) fn delete_exchange(&mut self, vhost: &Name, name: &Name) {
        let mut doomed = vec![name.clone()];
        while let Some(name) = doomed.pop() {
            let Some(place) = self.vhosts.get_mut(vhost.as_bytes()) else { return };
            let Some(exchange) = place.exchanges.remove(name.as_bytes()) else { continue };
            for binding in exchange.bindings() {
                if let Destination::Queue(queue) = binding.destination
                    && let Some(queue) = self.queues.get_mut(&queue)
                {
                    queue.bound.remove(name.as_bytes());
                }
            }
            let destination = Destination::Exchange(name);
            for (other, exchange) in &mut place.exchanges {
                if exchange.unbind_all(&destination) > 0 && exchange.auto_delete && !exchange.is_used() {
                    doomed.push(other.clone());
                }
            }
        }
    }

    /// Adds or removes a binding.
    pub(super) fn change_binding(
        &mut self,
        id: SessionId,
        add: bool,
        source: ShortStr<'_>,
        target: &Target<'_>,
        routing_key: ShortStr<'_>,
        arguments: TableRef<'_>,
    ) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let source = Name::without_line_ends(source.as_bytes());
        let (name, is_queue) = match target {
            Target::Queue(name) => (Name::without_line_ends(name.as_bytes()), true),
            Target::Exchange(name) => (Name::without_line_ends(name.as_bytes()), false),
        };
        if is_queue && is_reply_queue(name.as_bytes()) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Refusal::access_refused(text));
        }
        let resource = if is_queue { queue_resource(&name, &vhost) } else { exchange_resource(&name, &vhost) };
        self.check_access(&user, Access::Write, &resource)?;
        if !is_queue {
            check_not_default(&name)?;
        }
        check_not_default(&source)?;
        let source_resource = exchange_resource(&source, &vhost);
        self.check_access(&user, Access::Read, &source_resource)?;
        let Some(place) = self.vhosts.get_mut(vhost.as_bytes()) else { return Ok(()) };
        let queue_id = place.queues.get(name.as_bytes()).copied().filter(|_| is_queue);
        let is_there = if is_queue { queue_id.is_some() } else { place.exchanges.contains_key(name.as_bytes()) };
        let Some(exchange) = place.exchanges.get_mut(source.as_bytes()) else {
            // What is not there is not bound.
            return if add { Err(Refusal::not_found(source_resource)) } else { Ok(()) };
        };
        if !is_there {
            return if add { Err(Refusal::not_found(resource)) } else { Ok(()) };
        }
        let destination = queue_id.map_or_else(|| Destination::Exchange(name.clone()), Destination::Queue);
        let binding = Binding::new(routing_key.as_bytes(), destination, arguments);
        if let Some(queue) = queue_id.and_then(|queue| self.queues.get(&queue))
            && (add || exchange.bindings().any(|other| *other == binding))
        {
            super::queue::check_owner(queue, id)?;
        }
        if add {
            if exchange.kind == Kind::Headers {
                check_arguments(arguments)?;
            }
            if exchange.bind(binding)
                && let Some(queue) = queue_id.and_then(|queue| self.queues.get_mut(&queue))
            {
                *queue.bound.entry(source).or_default() += 1;
            }
        } else if exchange.unbind(&binding) {
            let is_unused = exchange.auto_delete && !exchange.is_used();
            if let Some(queue) = queue_id.and_then(|queue| self.queues.get_mut(&queue)) {
                let count = queue.bound.get(source.as_bytes()).copied().unwrap_or_default();
                match count {
                    0 | 1 => queue.bound.remove(source.as_bytes()),
                    more => queue.bound.insert(source.clone(), more - 1),
                };
            }
            if is_unused {
                self.delete_exchange(&vhost, &source);
            }
        }
        Ok(())
    }
}

/// What a binding is to lead to.
pub(super) enum Target<'a> {
    Queue(Name),
    Exchange(ShortStr<'a>),
}

fn check_not_default(name: &Name) -> Outcome {
    if name.is_empty() {
        return Err(Refusal::access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

fn assert_equivalent(exchange: &Exchange, kind: Kind, declare: &exchange::Declare<'_>, vhost: &Name) -> Outcome {
    let resource = exchange_resource(&exchange.name, vhost);
    if exchange.kind != kind {
        let (received, current) = (format!("'{}'", kind.name()), format!("'{}'", exchange.kind.name()));
        return Err(inequivalent("type", &resource, &received, &current));
    }
    for (key, received, current) in [
        ("durable", declare.durable, exchange.durable),
        ("auto_delete", declare.auto_delete, exchange.auto_delete),
        ("internal", declare.internal, exchange.internal),
    ] {
        if received != current {
            return Err(inequivalent(key, &resource, &format!("'{received}'"), &format!("'{current}'")));
        }
    }
    let key = "alternate-exchange";
    assert_same_argument(key, exchange.arguments.get(key), declare.arguments.get(key), &resource)
}
