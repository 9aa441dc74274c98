//! From the protocol header to an open connection, and the other methods of class connection.

use amqp_proto::method::{Method, basic, connection, exchange, queue};
use amqp_proto::wire::{Deframer, FieldTable, FieldValue, LongStr, ShortStr, TableRef};

use super::fields::{Fields, fields};
use super::{Core, Phase, SessionId};
use crate::Mechanism;
use crate::core::erlang::{Binary, has_odd_numbers};
use crate::core::name::Name;
use crate::core::refusal::{Outcome, Refusal};

/// The limit on frames before it is negotiated, in bytes.
const FRAME_MAX_AT_FIRST: u32 = 8192;

impl Core {
    pub(super) fn start_handshake(&mut self, id: SessionId) {
        let properties = self.server_properties();
        let mechanisms = self.mechanisms_for(id).map(Mechanism::name).collect::<Vec<_>>().join(" ");
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.phase = Phase::Starting;
        session.deframer = Deframer::new(FRAME_MAX_AT_FIRST);
        session.put(
            0,
            &connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: properties.as_ref(),
                mechanisms: LongStr(mechanisms.as_bytes()),
                locales: LongStr(b"en_US"),
            },
        );
        self.wake(id);
    }

    fn server_properties(&self) -> FieldTable {
        let mut capabilities = FieldTable::new();
        for name in [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ] {
            // Names and values of a few bytes fit into a table.
            let _ = capabilities.insert(name, true);
        }
        let mut properties = FieldTable::new();
        let text = |text: &str| FieldValue::from(text);
        for (name, value) in [
            ("capabilities", FieldValue::Table(capabilities)),
            ("cluster_name", text("amqp-broker@localhost")),
            ("copyright", text("amqp-broker: behaves like RabbitMQ, for tests and demos, not for production")),
            ("information", text("Licensed under MIT OR Apache-2.0")),
            ("platform", text("Rust")),
            ("product", text("RabbitMQ")),
            ("version", text(self.version.version())),
        ] {
            let _ = properties.insert(name, value);
        }
        properties
    }

    /// A method on channel 0.
    pub(super) fn connection_method(&mut self, id: SessionId, payload: &[u8]) -> Outcome {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let phase = session.phase;
        if phase != Phase::Running && phase != Phase::Closing && self.is_refused_silently(phase, payload) {
            self.hush(id);
            return Ok(());
        }
        let method = match self.decode(payload) {
            Ok(method) => method,
            Err(_) if phase == Phase::Closing => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        let blamed = Some((method.class_id(), method.method_id()));
        let done = match method {
            Method::Connection(method) => self.connection_step(id, phase, &method),
            _ => Err(unexpected(phase)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(_) if phase == Phase::Closing => Ok(()),
            Err(refusal @ Refusal::Close { method: None, .. }) => Err(refusal.blaming(blamed)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Listens no more, and closes the socket after a while.
    pub(in crate::core) fn hush(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.fall_silent(self.now);
        }
        self.arm_session(id);
    }

    /// Whether a client in its handshake is not even told what was wrong.
    fn is_refused_silently(&self, phase: Phase, payload: &[u8]) -> bool {
        let Ok(Method::Connection(method)) = Method::decode(payload) else { return true };
        match (phase, method) {
            (Phase::Starting, connection::Method::StartOk(_))
            | (Phase::Securing, connection::Method::SecureOk(_))
            | (Phase::Opening, connection::Method::Open(_)) => false,
            (Phase::Tuning, connection::Method::TuneOk(tune)) => !self.accepts(&tune),
            _ => true,
        }
    }

    fn accepts(&self, tune: &connection::TuneOk) -> bool {
        let within = |value: u32, least: u32, most: u32| {
            (value == 0 || value >= least) && (most == 0 || value != 0 && value <= most)
        };
        within(tune.frame_max, self.version.frame_min(), self.limits.frame_max)
            && within(tune.channel_max.into(), 1, self.limits.channel_max.into())
    }

    fn connection_step(&mut self, id: SessionId, phase: Phase, method: &connection::Method<'_>) -> Outcome {
        match (phase, method) {
            (Phase::Starting, connection::Method::StartOk(start)) => {
                self.log_in(id, start);
                Ok(())
            }
            (Phase::Securing, connection::Method::SecureOk(secure)) => {
                self.answer_challenge(id, secure.response.0);
                Ok(())
            }
            (Phase::Tuning, connection::Method::TuneOk(tune)) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
                session.channel_max = tune.channel_max;
                session.frame_max = tune.frame_max;
                session.heartbeat = tune.heartbeat;
                // RabbitMQ lets clients be off by the size of an empty frame.
                let limit = if tune.frame_max == 0 { 0 } else { tune.frame_max.saturating_add(8) };
                session.deframer.set_frame_max(limit);
                session.phase = Phase::Opening;
                Ok(())
            }
            (Phase::Opening, connection::Method::Open(open)) => self.open(id, open.virtual_host),
            (Phase::Running, connection::Method::Close(_)) => {
                self.release_session(id);
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
                session.put(0, &connection::CloseOk {});
                self.log(id, "info", "closing AMQP connection");
                self.end_session(id);
                Ok(())
            }
            (Phase::Closing, connection::Method::Close(_)) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
                session.put(0, &connection::CloseOk {});
                self.wake(id);
                Ok(())
            }
            (Phase::Closing, connection::Method::CloseOk(_)) => {
                self.end_session(id);
                Ok(())
            }
            (Phase::Running, connection::Method::UpdateSecret(_)) => {
                let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
                session.put(0, &connection::UpdateSecretOk {});
                self.wake(id);
                Ok(())
            }
            _ => Err(unexpected(phase)),
        }
    }

    fn open(&mut self, id: SessionId, vhost: ShortStr<'_>) -> Outcome {
        let vhost = Name::from(vhost.as_bytes());
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if !self.vhosts.contains_key(vhost.as_bytes()) {
            return Err(Refusal::not_allowed(format_args!("vhost {vhost} not found")));
        }
        if !self.users.may_enter(&session.user, &vhost) {
            let user = &session.user;
            return Err(Refusal::not_allowed(format_args!("access to vhost '{vhost}' refused for user '{user}'")));
        }
        session.vhost = vhost;
        session.phase = Phase::Running;
        session.put(0, &connection::OpenOk {});
        self.log(id, "info", "authenticated and granted access: connection");
        self.wake(id);
        self.arm_session(id);
        Ok(())
    }

    /// Decodes a method.
    ///
    /// # Errors
    /// As RabbitMQ fails: with a frame error, or by crashing.
    pub(super) fn decode<'a>(&self, payload: &'a [u8]) -> Outcome<Method<'a>> {
        use amqp_proto::wire::DecodeErrorKind as Kind;

        let decoded = Method::decode(payload);
        match (&decoded, fields(payload)) {
            (_, Fields::NotUtf8) => Err(Refusal::frame_error("Malformed UTF-8 in shortstr").blaming(None)),
            (Ok(method), _) if table_of(method).is_some_and(has_odd_numbers) => Err(Refusal::Hangup),
            (Ok(_), _) => decoded.map_err(|_| Refusal::Hangup),
            (Err(error), Fields::Whole) if !matches!(error.kind, Kind::TooDeep | Kind::KeyNotUtf8) => {
                // Something in a table.
                Err(Refusal::Hangup)
            }
            (Err(error), _) => match error.kind {
                Kind::UnknownClass(_) | Kind::UnknownMethod(..) => Err(Refusal::Hangup),
                _ => {
                    let fields = payload.get(4..).unwrap_or_default();
                    Err(Refusal::frame_error(format_args!("cannot decode {}", Binary(fields)))
                        .blaming(Some((error.class_id, error.method_id))))
                }
            },
        }
    }
}

fn unexpected(phase: Phase) -> Refusal {
    let state = match phase {
        Phase::Header | Phase::Starting => "starting",
        Phase::Securing => "securing",
        Phase::Tuning => "tuning",
        Phase::Opening => "opening",
        _ => "running",
    };
    Refusal::channel_error(format_args!("unexpected method in connection state {state}"))
}

/// The table among a method's fields.
fn table_of<'a>(method: &Method<'a>) -> Option<TableRef<'a>> {
    match method {
        Method::Connection(connection::Method::StartOk(method)) => Some(method.client_properties),
        Method::Exchange(exchange::Method::Declare(method)) => Some(method.arguments),
        Method::Exchange(exchange::Method::Bind(method)) => Some(method.arguments),
        Method::Exchange(exchange::Method::Unbind(method)) => Some(method.arguments),
        Method::Queue(queue::Method::Declare(method)) => Some(method.arguments),
        Method::Queue(queue::Method::Bind(method)) => Some(method.arguments),
        Method::Queue(queue::Method::Unbind(method)) => Some(method.arguments),
        Method::Basic(basic::Method::Consume(method)) => Some(method.arguments),
        _ => None,
    }
}
