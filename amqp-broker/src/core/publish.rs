//! Publishing: from a whole message to its queues, its return and its confirm; and transactions.

use std::sync::Arc;

use amqp_proto::method::{ReplyCode, basic, tx};
use amqp_proto::wire::ShortStr;

use super::access::Access;
use super::faults::Verdict;
use super::late::Late;
use super::message::{Incoming, Message};
use super::name::Name;
use super::queue::{Kind, PutBack};
use super::refusal::{Outcome, Refusal, exchange_resource};
use super::route::{Routes, short};
use super::session::{Publish, Transaction, Unacked};
use super::settle::Settle;
use super::timers::Timer;
use super::{Core, SessionId};

impl Core {
    /// A message was published.
    pub(super) fn publish(&mut self, id: SessionId, number: u16, publish: &Publish, incoming: Incoming) -> Outcome {
        let verdict = self.judge_publish(id, number, publish, &incoming);
        if let Verdict::Done = verdict {
            return Ok(());
        }
        let Some(session) = self.sessions.get(&id) else { return Ok(()) };
        let (user, vhost) = (session.user.clone(), session.vhost.clone());
        if publish.immediate {
            return Err(Refusal::not_implemented("immediate=true"));
        }
        let (size, max) = (incoming.body_len(), self.limits.max_message_size);
        if size > max {
            let configured = if self.limits.max_message_size_is_configured { "configured " } else { "" };
            let text = format_args!("message size {size} is larger than {configured}max size {max}");
            return Err(Refusal::precondition(text));
        }
        let resource = exchange_resource(&publish.exchange, &vhost);
        self.users.check(&user, Access::Write, &resource)?;
        let exchange = self.vhosts.get(vhost.as_bytes()).and_then(|it| it.exchanges.get(publish.exchange.as_bytes()));
        let Some(exchange) = exchange else { return Err(Refusal::not_found(resource)) };
        if exchange.internal {
            return Err(Refusal::access_refused(format_args!("cannot publish to internal {resource}")));
        }
        let incoming = self.inspect(id, number, &user, incoming)?;
        let message = incoming.finish();
        let routes = self.route(&vhost, &message);
        self.record(id, number, publish, &message, &routes);
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let Some(channel) = session.channels.get_mut(&number) else { return Ok(()) };
        if let Some(transaction) = &mut channel.transaction {
            transaction.publishes.push((message, routes, publish.mandatory));
            return Ok(());
        }
        let sequence = channel.confirms.as_mut().map(|last| {
            *last += 1;
            *last
        });
        let outcome = match verdict {
            Verdict::Reject => Fate::Rejected,
            _ => self.distribute(id, number, &message, routes, publish.mandatory),
        };
        if let Some(sequence) = sequence {
            self.confirm(id, number, sequence, outcome, verdict);
        }
        Ok(())
    }

    /// Looks at the properties, in RabbitMQ's order.
    fn inspect(&self, id: SessionId, number: u16, user: &Name, mut incoming: Incoming) -> Outcome<Incoming> {
        let wrong = std::mem::take(&mut incoming.wrong);
        wrong.properties.map_or(Ok(()), Err)?;
        let incoming = self.address(id, number, incoming)?;
        let impostor = incoming.user_id.as_ref().filter(|claimed| *claimed != user).map(|claimed| {
            let text = format_args!("user_id property set to '{claimed}' but authenticated user was '{user}'");
            Refusal::precondition(text)
        });
        let in_order = if self.version.asks_for_the_user_first() {
            [impostor, wrong.expiration, wrong.keys]
        } else {
            [wrong.expiration, wrong.keys, impostor]
        };
        match in_order.into_iter().flatten().next() {
            Some(refusal) => Err(refusal),
            None => Ok(incoming),
        }
    }

    /// Puts the channel's reply queue in, if the message wants it.
    fn address(&self, id: SessionId, number: u16, mut incoming: Incoming) -> Outcome<Incoming> {
        if incoming.wants_direct_reply {
            let channel = self.sessions.get(&id).and_then(|session| session.channels.get(&number));
            match channel.and_then(|channel| channel.reply_consumer.as_ref()) {
                Some(reply) => incoming.set_reply_to(&reply.queue),
                None => return Err(Refusal::precondition("fast reply consumer does not exist")),
            }
        }
        Ok(incoming)
    }

    /// Gives a message to its queues, or back.
    fn distribute(
        &mut self,
        id: SessionId,
        number: u16,
        message: &Arc<Message>,
        routes: Routes,
        mandatory: bool,
    ) -> Fate {
        let is_routed = !routes.queues.is_empty() || self.version.routes_direct_replies() && routes.is_reply;
        if mandatory && !is_routed {
            self.give_back(id, number, message);
        }
        for (session, number) in routes.replies {
            let channel = self.sessions.get(&session).and_then(|session| session.channels.get(&number));
            if let Some(reply) = channel.and_then(|channel| channel.reply_consumer.clone()) {
                self.later(session, number, Late::Reply { tag: reply.tag, message: Arc::clone(message) });
            }
        }
        let is_nowhere = routes.queues.is_empty();
        let mut fate = if is_nowhere { Fate::Unrouted } else { Fate::Taken };
        for queue in routes.queues {
            if !self.enqueue(queue, Arc::clone(message)) {
                fate = Fate::Rejected;
            }
        }
        self.bury();
        fate
    }

    fn give_back(&mut self, id: SessionId, number: u16, message: &Message) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.put(
            number,
            &basic::Return {
                reply_code: ReplyCode::NO_ROUTE,
                reply_text: ShortStr::truncated("NO_ROUTE"),
                exchange: short(message.exchange().as_bytes()),
                routing_key: short(message.routing_key()),
            },
        );
        session.put_content(number, message.header(), message.body());
        self.wake(id);
    }

    /// Confirms a publish: at once if it went nowhere, and otherwise with the others of this call.
    fn confirm(&mut self, id: SessionId, number: u16, sequence: u64, fate: Fate, verdict: Verdict) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(channel) = session.channels.get_mut(&number) else { return };
        match (verdict, fate) {
            (Verdict::NoConfirm, _) => {
                channel.held.insert(sequence);
            }
            (Verdict::ConfirmAfter(delay), _) => {
                channel.held.insert(sequence);
                self.timers.arm(Timer::Confirm(id, number, sequence), Some(now + delay));
            }
            (Verdict::Nack, _) | (_, Fate::Rejected) => {
                channel.nacks.push(sequence);
                self.mark_dirty(id, number);
            }
            (_, Fate::Unrouted) => {
                session.put(number, &basic::Ack { delivery_tag: sequence, multiple: false });
                self.wake(id);
            }
            (_, Fate::Taken) => {
                channel.acks.push(sequence);
                self.mark_dirty(id, number);
            }
        }
    }

    /// A confirm that was held back comes now.
    pub(super) fn confirm_late(&mut self, id: SessionId, number: u16, sequence: u64) {
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return;
        };
        if channel.held.remove(&sequence) {
            channel.acks.push(sequence);
            self.mark_dirty(id, number);
        }
    }

    pub(super) fn commit(&mut self, id: SessionId, number: u16) -> Outcome {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let vhost = session.vhost.clone();
        let Some(channel) = session.channels.get_mut(&number) else { return Ok(()) };
        let Some(transaction) = channel.transaction.replace(Transaction::default()) else {
            channel.transaction = None;
            return Err(Refusal::precondition("channel is not transactional"));
        };
        let mut is_partial = false;
        for (message, mut routes, mandatory) in transaction.publishes {
            // A queue that is named directly need not have been there before.
            if message.exchange().is_empty() {
                routes = self.route(&vhost, &message);
            }
            is_partial |= self.distribute(id, number, &message, routes, mandatory) == Fate::Rejected;
        }
        for (how, settled) in transaction.settled {
            self.settle(id, number, settled, how);
        }
        if is_partial {
            return Err(Refusal::precondition("partial tx completion"));
        }
        self.put(id, number, &tx::CommitOk {});
        Ok(())
    }

    pub(super) fn rollback(&mut self, id: SessionId, number: u16) -> Outcome {
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return Ok(());
        };
        let Some(transaction) = channel.transaction.take() else {
            return Err(Refusal::precondition("channel is not transactional"));
        };
        channel.transaction = Some(Transaction::default());
        let mut unacked: Vec<_> = std::mem::take(&mut channel.unacked).into();
        unacked.extend(transaction.settled.into_iter().flat_map(|(_, settled)| settled));
        unacked.sort_by_key(|unacked| unacked.delivery_tag);
        channel.unacked = unacked.into();
        self.put(id, number, &tx::RollbackOk {});
        Ok(())
    }

    /// Puts everything unsettled of a channel back.
    pub(super) fn recover(&mut self, id: SessionId, number: u16, requeue: bool) -> Outcome {
        if !requeue {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        let Some(channel) = self.sessions.get_mut(&id).and_then(|session| session.channels.get_mut(&number)) else {
            return Ok(());
        };
        let is_stream = |it: &Unacked| self.queues.get(&it.queue).is_some_and(|queue| queue.kind == Kind::Stream);
        if !self.version.streams_take_nacks() && channel.unacked.iter().any(is_stream) {
            // Nothing is taken out before: the channel puts it back as it ends.
            return Err(Refusal::crash());
        }
        let unacked = std::mem::take(&mut channel.unacked).into();
        self.settle(id, number, unacked, Settle::Requeue(PutBack::Nacked));
        Ok(())
    }
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    Unrouted,
    Rejected,
}
