//! What methods on channels do: a file for each class that has something to do.

mod basic;
mod consume;
mod exchange;
mod queue;

use amqp_proto::method::{Method, access, channel, confirm, tx};
use amqp_proto::wire::ShortStr;

use super::access::Access;
use super::name::Name;
use super::refusal::{Outcome, Refusal, Resource};
use super::session::{Channel, Transaction};
use super::{Core, SessionId};

impl Core {
    /// A method without content on an open channel.
    pub(super) fn handle_method(&mut self, id: SessionId, number: u16, method: &Method<'_>) -> Outcome {
        if self.judge_method(id, number, method) {
            return Ok(());
        }
        match method {
            Method::Access(access::Method::Request(_)) => {
                self.put(id, number, &access::RequestOk { ticket: 1 });
                Ok(())
            }
            Method::Exchange(method) => self.exchange_method(id, number, method),
            Method::Queue(method) => self.queue_method(id, number, method),
            Method::Basic(method) => self.basic_method(id, number, method),
            Method::Confirm(confirm::Method::Select(select)) => self.select_confirms(id, number, select.nowait),
            Method::Tx(tx::Method::Select(_)) => self.select_transactions(id, number),
            Method::Tx(tx::Method::Commit(_)) => self.commit(id, number),
            Method::Tx(tx::Method::Rollback(_)) => self.rollback(id, number),
            Method::Channel(channel::Method::Flow(flow)) if flow.active => {
                self.put(id, number, &channel::FlowOk { active: true });
                Ok(())
            }
            Method::Channel(channel::Method::Flow(_)) => Err(Refusal::not_implemented("active=false")),
            _ => Err(unimplemented()),
        }
    }

    fn select_confirms(&mut self, id: SessionId, number: u16, nowait: bool) -> Outcome {
        let Some(channel) = self.channel(id, number) else { return Ok(()) };
        if channel.transaction.is_some() {
            return Err(Refusal::precondition("cannot switch from tx to confirm mode"));
        }
        channel.confirms.get_or_insert(0);
        if !nowait {
            self.put(id, number, &confirm::SelectOk {});
        }
        Ok(())
    }

    fn select_transactions(&mut self, id: SessionId, number: u16) -> Outcome {
        let Some(channel) = self.channel(id, number) else { return Ok(()) };
        if channel.confirms.is_some() {
            return Err(Refusal::precondition("cannot switch from confirm to tx mode"));
        }
        channel.transaction.get_or_insert_with(Transaction::default);
        self.put(id, number, &tx::SelectOk {});
        Ok(())
    }

    fn channel(&mut self, id: SessionId, number: u16) -> Option<&mut Channel> {
        self.sessions.get_mut(&id)?.channels.get_mut(&number)
    }

    /// The user and the virtual host of a session.
    fn place(&self, id: SessionId) -> Outcome<(Name, Name)> {
        let session = self.sessions.get(&id).ok_or(Refusal::Hangup)?;
        Ok((session.user.clone(), session.vhost.clone()))
    }

    fn check_access(&self, user: &Name, access: Access, resource: &Resource<'_>) -> Outcome {
        self.users.check(user, access, resource)
    }

    /// Whether a user may do anything at all with a thing: enough to ask whether it is there.
    fn check_any_access(&self, user: &Name, resource: &Resource<'_>) -> Outcome {
        let may = |access| self.users.check(user, access, resource);
        may(Access::Read).or_else(|_| may(Access::Write)).or_else(|_| may(Access::Configure))
    }

    /// The queue's name, where an empty one stands for the last that was declared on the channel.
    fn queue_name(&mut self, id: SessionId, number: u16, name: ShortStr<'_>) -> Outcome<Name> {
        if !name.is_empty() {
            return Ok(Name::from(name.as_bytes()));
        }
        let last = self.channel(id, number).and_then(|channel| channel.last_queue.clone());
        last.ok_or_else(|| Refusal::new(amqp_proto::method::ReplyCode::NOT_FOUND, "no previously declared queue"))
    }
}

fn unimplemented() -> Refusal {
    Refusal::new(amqp_proto::method::ReplyCode::COMMAND_INVALID, "unimplemented method")
}

/// Names with this prefix are the broker's.
fn check_name(kind: &str, name: &Name) -> Outcome {
    if name.as_bytes().starts_with(b"amq.") {
        let text = format_args!("{kind} name '{name}' contains reserved prefix 'amq.*'");
        return Err(Refusal::access_refused(text));
    }
    Ok(())
}
