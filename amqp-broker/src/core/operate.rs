//! What an operator does to a broker while clients are at work, and what a test does to make trouble.

use std::time::Instant;

use amqp_proto::method::ReplyCode;

use super::access::Permissions;
use super::alarm::Alarm;
use super::faults::Rule;
use super::name::Name;
use super::refusal::Refusal;
use super::session::Phase;
use super::vhost::Vhost;
use super::{Core, SessionId};
use crate::Mechanism;

/// Something that was to be operated on is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {0}")]
pub struct NotThere(String);

impl NotThere {
    pub(super) fn queue(name: &str) -> Self {
        Self(format!("queue '{name}'"))
    }
}

impl Core {
    /// Sets or ends an alarm: while there is one, nothing is read from connections that publish.
    pub fn set_alarm(&mut self, now: Instant, alarm: Alarm, on: bool) {
        self.begin(now);
        self.change_alarm(alarm, on);
        self.finish();
    }

    /// Makes a fault, from now on.
    pub fn add_rule(&mut self, rule: Rule) {
        self.faults.add(rule);
    }

    /// Forgets all rules.
    pub fn clear_rules(&mut self) {
        self.faults.clear();
    }

    /// Offers these mechanisms to who connects from now on.
    pub(crate) fn set_mechanisms(&mut self, mechanisms: Vec<Mechanism>) {
        self.mechanisms = mechanisms;
    }

    pub(crate) fn add_user(&mut self, name: &str, password: &str) {
        self.users.add(name, password);
    }

    pub(crate) fn delete_user(&mut self, name: &str) -> Result<(), NotThere> {
        if self.users.remove(name) { Ok(()) } else { Err(NotThere(format!("user '{name}'"))) }
    }

    pub(crate) fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), NotThere> {
        self.vhost_of(vhost)?;
        if self.users.allow(user, vhost, permissions) { Ok(()) } else { Err(NotThere(format!("user '{user}'"))) }
    }

    pub(crate) fn allow_everything(&mut self, user: &str, vhost: &str) -> Result<(), NotThere> {
        self.vhost_of(vhost)?;
        if !self.users.contains(user.as_bytes()) {
            return Err(NotThere(format!("user '{user}'")));
        }
        self.users.allow_all(user, vhost);
        Ok(())
    }

    /// Adds a virtual host in which `guest` may do everything. `false` if there is one of that name.
    pub(crate) fn add_vhost(&mut self, name: &str) -> bool {
        if self.vhosts.contains_key(name.as_bytes()) {
            return false;
        }
        self.vhosts.insert(Name::from(name), Vhost::new());
        self.users.allow_all("guest", name);
        true
    }

    pub(crate) fn delete_vhost(&mut self, name: &str) -> Result<(), NotThere> {
        let vhost = self.vhost_of(name)?;
        let text = format!("vhost '{name}' is down");
        for id in self.sessions_where(|session| session.vhost == vhost) {
            self.force_close(id, ReplyCode::CONNECTION_FORCED.0, &text);
        }
        let queues: Vec<_> =
            self.vhosts.get(vhost.as_bytes()).map(|vhost| vhost.queues.values().copied().collect()).unwrap_or_default();
        for queue in queues {
            self.delete_queue(queue);
        }
        self.vhosts.remove(vhost.as_bytes());
        self.users.forget_vhost(&vhost);
        Ok(())
    }

    pub(crate) fn operate_delete_queue(&mut self, vhost: &str, queue: &str) -> Result<(), NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let id = self.vhosts.get(vhost.as_bytes()).and_then(|vhost| vhost.queues.get(queue.as_bytes())).copied();
        let id = id.ok_or_else(|| NotThere::queue(queue))?;
        self.delete_queue(id);
        Ok(())
    }

    /// The open connections of that name.
    pub(crate) fn named(&self, name: &str) -> Vec<SessionId> {
        self.sessions_where(|session| session.name() == name)
    }

    pub(crate) fn everybody(&self) -> Vec<SessionId> {
        self.sessions_where(|_| true)
    }

    fn sessions_where(&self, is_so: impl Fn(&super::session::Session) -> bool) -> Vec<SessionId> {
        let running = self.sessions.iter().filter(|(_, session)| session.phase == Phase::Running);
        running.filter(|(_, session)| is_so(session)).map(|(id, _)| *id).collect()
    }

    /// Closes a connection with a code, as an operator does with 320.
    pub(crate) fn force_close(&mut self, id: SessionId, code: u16, text: &str) {
        let code = ReplyCode(code);
        let name = code.name().unwrap_or("INTERNAL_ERROR");
        let text = format!("{name} - {text}");
        self.refuse(id, 0, Refusal::Close { code, text, method: Some((0, 0)) });
    }

    /// Closes all channels of a connection with a code.
    pub(crate) fn force_close_channels(&mut self, id: SessionId, code: u16, text: &str) -> usize {
        let Some(session) = self.sessions.get(&id) else { return 0 };
        let numbers: Vec<_> =
            session.channels.iter().filter(|(_, channel)| !channel.closing).map(|(number, _)| *number).collect();
        let name = ReplyCode(code).name().unwrap_or("INTERNAL_ERROR");
        let text = format!("{name} - {text}");
        for number in &numbers {
            self.close_channel(id, *number, code, &text, (0, 0));
        }
        numbers.len()
    }

    /// Cancels all consumers of a queue, and gives how many there were.
    pub(crate) fn cancel_consumers(&mut self, vhost: &str, queue: &str) -> Result<usize, NotThere> {
        let vhost = self.vhost_of(vhost)?;
        let (_, found) = self.queue_by_name(&vhost, queue)?;
        let consumers: Vec<_> =
            found.consumers.iter().map(|(_, it)| (it.session, it.channel, it.tag.clone())).collect();
        for (session, channel, tag) in &consumers {
            self.cancel_consumer(*session, *channel, tag);
        }
        Ok(consumers.len())
    }

    pub(crate) fn operate_cut(&mut self, id: SessionId) {
        self.cut(id);
    }

    pub(crate) fn operate_stall(&mut self, id: SessionId, stalled: bool) {
        self.stall(id, stalled);
    }

    pub(super) fn vhost_of(&self, name: &str) -> Result<Name, NotThere> {
        let found = self.vhosts.get_key_value(name.as_bytes()).map(|(name, _)| name.clone());
        found.ok_or_else(|| NotThere(format!("vhost '{name}'")))
    }
}
