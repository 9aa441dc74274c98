//! A broker that is low on something stops reading from those who publish.

use amqp_proto::method::connection;
use amqp_proto::wire::ShortStr;

use super::session::Phase;
use super::{Core, SessionId};

/// What a broker can be low on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Memory.
    Memory,
    /// Disk space.
    Disk,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Alarms {
    memory: bool,
    disk: bool,
}

impl Alarms {
    pub(super) fn any(self) -> bool {
        self.memory || self.disk
    }

    fn reason(self) -> &'static str {
        match (self.memory, self.disk) {
            (true, true) => "low on disk & memory",
            (true, false) => "low on memory",
            _ => "low on disk",
        }
    }
}

impl Core {
    pub(super) fn change_alarm(&mut self, alarm: Alarm, on: bool) {
        match alarm {
            Alarm::Memory => self.alarms.memory = on,
            Alarm::Disk => self.alarms.disk = on,
        }
        if self.alarms.any() {
            return;
        }
        let blocked: Vec<_> = self.sessions.iter().filter(|(_, session)| session.blocked).map(|(id, _)| *id).collect();
        for id in blocked {
            self.unblock(id);
        }
    }

    /// Somebody publishes: that is who an alarm is for.
    pub(super) fn note_publish(&mut self, id: SessionId) {
        if !self.alarms.any() {
            return;
        }
        let reason = self.alarms.reason();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.phase != Phase::Running || std::mem::replace(&mut session.blocked, true) {
            return;
        }
        if session.capabilities.blocked {
            session.put(0, &connection::Blocked { reason: ShortStr::truncated(reason) });
        }
        self.wake(id);
    }

    fn unblock(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.blocked = false;
        session.last_read = self.now;
        if session.capabilities.blocked {
            session.put(0, &connection::Unblocked {});
        }
        self.wake(id);
    }
}
