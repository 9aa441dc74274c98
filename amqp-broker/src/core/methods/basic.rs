//! Class basic, without publishing and consuming.

use amqp_proto::method::basic;

use crate::Emulate;
use crate::core::Core;
use crate::core::SessionId;
use crate::core::access::Access;
use crate::core::late::put_message;
use crate::core::queue::{Kind, PutBack};
use crate::core::refusal::{Outcome, Refusal, queue_resource};
use crate::core::route::short;
use crate::core::session::Unacked;
use crate::core::settle::Settle;

impl Core {
    pub(super) fn basic_method(&mut self, id: SessionId, number: u16, method: &basic::Method<'_>) -> Outcome {
        match method {
            basic::Method::Qos(qos) => self.qos(id, number, qos),
            basic::Method::Consume(consume) => self.consume(id, number, consume),
            basic::Method::Cancel(cancel) => self.cancel(id, number, cancel),
            basic::Method::CancelOk(_) => Ok(()),
            basic::Method::Get(get) => self.get(id, number, get),
            basic::Method::Ack(ack) => self.settle_tag(id, number, ack.delivery_tag, ack.multiple, Settle::Ack),
            basic::Method::Nack(nack) => {
                let how = if nack.requeue { Settle::Requeue(PutBack::Nacked) } else { Settle::Discard };
                self.settle_tag(id, number, nack.delivery_tag, nack.multiple, how)
            }
            basic::Method::Reject(reject) => {
                let how = if reject.requeue { Settle::Requeue(PutBack::Rejected) } else { Settle::Discard };
                self.settle_tag(id, number, reject.delivery_tag, false, how)
            }
            basic::Method::Recover(recover) => {
                self.recover(id, number, recover.requeue)?;
                self.put(id, number, &basic::RecoverOk {});
                Ok(())
            }
            basic::Method::RecoverAsync(recover) => self.recover(id, number, recover.requeue),
            _ => Err(super::unimplemented()),
        }
    }

    fn qos(&mut self, id: SessionId, number: u16, qos: &basic::Qos) -> Outcome {
        if qos.prefetch_size != 0 {
            return Err(Refusal::not_implemented(format_args!("prefetch_size!=0 ({})", qos.prefetch_size)));
        }
        let is_global = qos.global && !self.version.ignores_global_prefetch();
        let Some(channel) = self.channel(id, number) else { return Ok(()) };
        if is_global {
            channel.global_prefetch = qos.prefetch_count;
        } else {
            channel.prefetch = qos.prefetch_count;
            channel.global_prefetch = 0;
        }
        self.put(id, number, &basic::QosOk {});
        self.unblock_consumers(id, number);
        Ok(())
    }

    fn get(&mut self, id: SessionId, number: u16, get: &basic::Get<'_>) -> Outcome {
        let (user, vhost) = self.place(id)?;
        let name = self.queue_name(id, number, get.queue)?;
        let resource = queue_resource(&name, &vhost);
        self.check_access(&user, Access::Read, &resource)?;
        let (queue_id, queue) = self.queue_of(&vhost, &name)?;
        super::queue::check_owner(queue, id)?;
        let kind = queue.kind;
        if kind == Kind::Stream {
            return Err(Refusal::not_implemented(format_args!("basic.get not supported by stream queues {resource}")));
        }
        if kind == Kind::Quorum && queue.consumers.is_single_active() {
            let code = amqp_proto::method::ReplyCode::RESOURCE_LOCKED;
            // As Erlang prints a binary.
            let kind = if self.version >= Emulate::V4_3 { "<<\"quorum\">>" } else { "quorum" };
            let text = format_args!(
                "cannot obtain access to locked {resource}. basic.get operations are not supported by {kind} queues with single active consumer"
            );
            return Err(Refusal::new(code, text));
        }
        self.use_queue(queue_id);
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&queue_id) else { return Ok(()) };
        queue.expire(queue_id, now, &mut self.dead);
        let got = queue.ready.pop();
        // What has expired behind it is not counted.
        queue.expire(queue_id, now, &mut self.dead);
        let message_count = queue.message_count();
        if got.is_some() && !get.no_ack {
            queue.unacked += 1;
            if kind == Kind::Quorum {
                queue.lingering.got();
            }
        }
        self.run_queue(queue_id);
        self.bury();
        let version = self.version;
        let Some(entry) = got else {
            self.put(id, number, &basic::GetEmpty {});
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let Some(channel) = session.channels.get_mut(&number) else { return Ok(()) };
        channel.last_delivery_tag += 1;
        let delivery_tag = channel.last_delivery_tag;
        session.put(
            number,
            &basic::GetOk {
                delivery_tag,
                redelivered: entry.redelivered,
                exchange: short(entry.message.exchange().as_bytes()),
                routing_key: short(entry.message.routing_key()),
                message_count,
            },
        );
        put_message(version, session, number, kind, &entry, None, true);
        if !get.no_ack
            && let Some(channel) = session.channels.get_mut(&number)
        {
            channel.unacked.push_back(Unacked {
                delivery_tag,
                queue: queue_id,
                consumer: None,
                entry: Some(entry),
                since: now,
            });
        }
        self.watch_acks(id, number);
        self.wake(id);
        Ok(())
    }
}
