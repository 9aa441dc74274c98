//! Who a client is: what the SASL mechanisms ask, and what becomes of the answers.

use amqp_proto::method::{ReplyCode, connection};
use amqp_proto::wire::{LongStr, ShortStr, TableRef};

use super::{Capabilities, Core, Phase, SessionId};
use crate::Mechanism;
use crate::core::name::Name;

/// RABBIT-CR-DEMO's question, and what its answer begins with.
const CHALLENGE: &[u8] = b"Please tell me your password";
const ANSWER: &[u8] = b"My password is ";

/// What a response comes to.
enum Login {
    Granted(Name),
    /// Who they say they are is still to be proven.
    Challenged(Name),
    Refused,
    /// It makes no sense: nothing is said to who sent it.
    Nonsense,
}

impl Core {
    /// What is offered to this client.
    pub(super) fn mechanisms_for(&self, id: SessionId) -> impl Iterator<Item = Mechanism> {
        let is_secure = self.sessions.get(&id).is_some_and(|session| session.tls);
        self.mechanisms.iter().copied().filter(move |mechanism| is_secure || *mechanism != Mechanism::External)
    }

    pub(super) fn log_in(&mut self, id: SessionId, start: &connection::StartOk<'_>) {
        let flag = |capabilities: TableRef<'_>, name: &str| {
            capabilities.get(name).and_then(|value| value.as_bool()).unwrap_or_default()
        };
        let capabilities = start.client_properties.get("capabilities").and_then(|value| value.as_table());
        let capabilities = capabilities.unwrap_or_default();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.client_properties = start.client_properties.to_owned();
        session.capabilities = Capabilities {
            authentication_failure_close: flag(capabilities, "authentication_failure_close"),
            blocked: flag(capabilities, "connection.blocked"),
            consumer_cancel_notify: flag(capabilities, "consumer_cancel_notify"),
        };
        let asked_for = start.mechanism.as_bytes();
        let found = self.mechanisms_for(id).find(|mechanism| mechanism.name().as_bytes() == asked_for);
        match found {
            Some(mechanism) => {
                let login = self.authenticate(id, mechanism, start.response.0).unwrap_or(Login::Nonsense);
                self.decide(id, mechanism, login);
            }
            None => self.hush(id),
        }
    }

    pub(super) fn answer_challenge(&mut self, id: SessionId, response: &[u8]) {
        let Some(session) = self.sessions.get(&id) else { return };
        let login = match response.strip_prefix(ANSWER) {
            Some(password) => self.checked(session.user.as_bytes(), password),
            None => Login::Nonsense,
        };
        self.decide(id, Mechanism::RabbitCrDemo, login);
    }

    /// What a first response comes to; `None` if it makes no sense.
    fn authenticate(&self, id: SessionId, mechanism: Mechanism, response: &[u8]) -> Option<Login> {
        match mechanism {
            Mechanism::Plain => {
                let mut parts = response.splitn(3, |&byte| byte == 0);
                let (_authorize, user, password) = (parts.next()?, parts.next()?, parts.next()?);
                Some(self.checked(user, password))
            }
            Mechanism::AmqPlain => {
                let table = TableRef::from_wire(response).ok()?;
                let part = |name: &str| table.get(name).and_then(|value| value.as_bytes());
                Some(self.checked(part("LOGIN")?, part("PASSWORD")?))
            }
            // RabbitMQ lets these in as guest.
            Mechanism::Anonymous => Some(Login::Granted(Name::from("guest"))),
            // What the response says does not count.
            Mechanism::External => {
                let certified = self.sessions.get(&id)?.certified.clone();
                let known = certified.filter(|user| self.users.contains(user.as_bytes()));
                Some(known.map_or(Login::Refused, Login::Granted))
            }
            Mechanism::RabbitCrDemo => Some(Login::Challenged(Name::from(response))),
        }
    }

    fn checked(&self, user: &[u8], password: &[u8]) -> Login {
        if self.users.is_password(user, password) { Login::Granted(Name::from(user)) } else { Login::Refused }
    }

    fn decide(&mut self, id: SessionId, mechanism: Mechanism, login: Login) {
        let (channel_max, frame_max, heartbeat) =
            (self.limits.channel_max, self.limits.frame_max, self.limits.heartbeat_seconds());
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match login {
            Login::Granted(user) => {
                session.user = user;
                session.phase = Phase::Tuning;
                session.put(0, &connection::Tune { channel_max, frame_max, heartbeat });
            }
            Login::Challenged(user) => {
                session.user = user;
                session.phase = Phase::Securing;
                session.put(0, &connection::Secure { challenge: LongStr(CHALLENGE) });
            }
            // It is told, if it understands.
            Login::Refused if session.capabilities.authentication_failure_close => {
                let text = format!(
                    "ACCESS_REFUSED - Login was refused using authentication mechanism {}. \
                     For details see the broker logfile.",
                    mechanism.name()
                );
                session.put(
                    0,
                    &connection::Close {
                        reply_code: ReplyCode::ACCESS_REFUSED,
                        reply_text: ShortStr::truncated(&text),
                        class_id: 0,
                        method_id: 0,
                    },
                );
                session.fall_silent(self.now);
            }
            Login::Refused | Login::Nonsense => session.fall_silent(self.now),
        }
        self.wake(id);
        self.arm_session(id);
    }
}
