//! The life of a connection, and what the broker says on channel 0 (0-9-1 §2.2.4, §4.2.2).
//!
//! ```text
//!              start              tune             open-ok
//!   AwaitStart ────► AwaitTune ──────► AwaitOpenOk ──────► Open
//!                     │    ▲ secure                          │ close()
//!                     └────┘                                 ▼      all has left, confirms that are waited for came
//!                                                         Draining ─────────────────────────────────────► Closing
//!                                                                                                   close-ok │
//!   any state: close from the broker, end of the stream, broken protocol, time-out ──────────────────► Closed ◄
//! ```
//!
//! Where the connection is to come back it goes round by other states instead: see `recovering`.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Connection, Event, Tuning};
use crate::config::{Config, Heartbeat};
use crate::conn::inbound::Fault;
use crate::error::{Error, ErrorKind, ProtocolError, TimeoutReason};
use crate::method::reply_code::ReplyCode;
use crate::method::{MethodCodec, connection, put_method};
use crate::sasl::{Mechanism, SaslError, SaslExchange};
use crate::wire::{EncodeError, FRAME_MIN_SIZE, FieldTable, LongStr, ShortStr};

use super::timers::Heartbeats;

/// What a broker may send before the frame size is negotiated. 0-9-1 says 4096; RabbitMQ itself takes up to 8192 since
/// 4.1, and a start method with many server properties must not fail here.
pub(super) const FRAME_MAX_BEFORE_TUNING: u32 = 8192;

#[derive(Debug)]
pub(super) enum Phase {
    AwaitStart,
    /// Start-ok was sent.
    AwaitTune {
        login: Login,
    },
    AwaitOpenOk,
    /// What the application wants to be done first is being done.
    Hooks,
    /// What belongs to the connection is being restored.
    Restoring,
    Open,
    /// Closed by us; parts of large messages are still to go, or confirms to come.
    Draining {
        code: ReplyCode,
        text: String,
    },
    /// Connection.close was sent.
    Closing,
    /// It was lost and comes back: the next attempt is made after this delay.
    Lost {
        delay: Duration,
    },
    /// The driver is asked for another transport.
    Dialing,
    Closed(Result<(), Error>),
}

/// The authentication under way. It may hold secrets.
pub(super) struct Login {
    mechanism: Mechanism,
    exchange: Box<dyn SaslExchange>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Login {
    fn error(&self, error: &SaslError) -> Error {
        Error::new(ErrorKind::Sasl { mechanism: self.mechanism.name().to_owned(), reason: error.to_string() })
    }
}

impl Phase {
    /// The state's name, as it appears in errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AwaitStart => "AwaitStart",
            Self::AwaitTune { .. } => "AwaitTune",
            Self::AwaitOpenOk => "AwaitOpenOk",
            Self::Hooks => "Hooks",
            Self::Restoring => "Restoring",
            Self::Open => "Open",
            Self::Draining { .. } => "Draining",
            Self::Closing => "Closing",
            Self::Lost { .. } => "Lost",
            Self::Dialing => "Dialing",
            Self::Closed(_) => "Closed",
        }
    }

    pub(super) fn is_handshake(&self) -> bool {
        matches!(self, Self::AwaitStart | Self::AwaitTune { .. } | Self::AwaitOpenOk)
    }

    fn is_past_tuning(&self) -> bool {
        !matches!(self, Self::AwaitStart | Self::AwaitTune { .. } | Self::Closed(_))
    }

    /// How long it may last.
    pub(super) fn time_limit(&self, config: &Config) -> Option<Duration> {
        match self {
            Self::AwaitStart | Self::AwaitTune { .. } | Self::AwaitOpenOk => Some(config.timeouts.handshake),
            Self::Draining { .. } | Self::Closing => Some(config.timeouts.close),
            Self::Restoring => Some(config.timeouts.call),
            Self::Lost { delay } => Some(*delay),
            Self::Hooks | Self::Open | Self::Dialing | Self::Closed(_) => None,
        }
    }

    pub(super) fn timeout_reason(&self) -> TimeoutReason {
        match self {
            phase if phase.is_handshake() => TimeoutReason::Handshake { state: self.name() },
            Self::Restoring => TimeoutReason::Handshake { state: self.name() },
            Self::Lost { .. } => TimeoutReason::Reconnect,
            _ => TimeoutReason::Close,
        }
    }
}

impl Connection {
    /// A method on channel 0.
    pub(super) fn handle_connection_method(
        &mut self,
        now: Instant,
        method: &connection::Method<'_>,
    ) -> Result<(), Fault> {
        use connection::Method as M;
        let unexpected = || Fault::unexpected(method.info().name, 0);
        match (&self.phase, method) {
            (_, M::Close(close)) => self.closed_by_broker(close),
            (Phase::AwaitStart, M::Start(start)) => return self.started(start),
            (Phase::AwaitTune { .. }, M::Secure(secure)) => return self.challenged(secure),
            (Phase::AwaitTune { .. }, M::Tune(tune)) => return self.tuned(now, tune),
            (Phase::AwaitOpenOk, M::OpenOk(_)) => self.connected(),
            (Phase::Closing, M::CloseOk(_)) => self.end(Ok(())),
            (phase, M::Blocked(blocked)) if phase.is_past_tuning() => {
                let reason = blocked.reason.to_string_lossy().into_owned();
                self.blocked = Some(reason.clone());
                self.event(Event::Blocked(reason));
            }
            (phase, M::Unblocked(_)) if phase.is_past_tuning() => {
                self.blocked = None;
                self.event(Event::Unblocked);
                self.grant_room();
            }
            (
                Phase::Open | Phase::Hooks | Phase::Restoring | Phase::Draining { .. } | Phase::Closing,
                M::UpdateSecretOk(_),
            ) => return self.secret_updated(),
            // After connection.close everything but close and close-ok is to be ignored (0-9-1 §1.4.2.8).
            (Phase::Closing | Phase::Closed(_), _) => {}
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn started(&mut self, start: &connection::Start<'_>) -> Result<(), Fault> {
        if (start.version_major, start.version_minor) != (0, 9) {
            let version = format!("version {}-{}", start.version_major, start.version_minor);
            return Err(Fault::new(ReplyCode::NOT_IMPLEMENTED, ProtocolError::Version(version)));
        }
        self.server_properties = start.server_properties.to_owned();
        let Some(mechanism) = Mechanism::choose(&self.config.mechanisms, start.mechanisms.0).cloned() else {
            // There is no close before start-ok: the socket is all that can be closed.
            let offered = String::from_utf8_lossy(start.mechanisms.0).into_owned();
            self.end(Err(Error::from(ProtocolError::Mechanisms(offered))));
            return Ok(());
        };
        let mut login = Login { exchange: mechanism.start(&self.config.credentials), mechanism };
        let response = match login.exchange.initial_response() {
            Ok(response) => response,
            Err(error) => {
                self.end(Err(login.error(&error)));
                return Ok(());
            }
        };
        let properties = self.config.start_properties()?;
        let start_ok = connection::StartOk {
            client_properties: properties.as_ref(),
            mechanism: ShortStr::named("name of the mechanism", login.mechanism.name())?,
            response: LongStr(&response),
            locale: ShortStr::named("locale", &self.config.locale)?,
        };
        match put_login(self.out.tail(), login_limit(&self.server_properties), &start_ok)? {
            None => self.enter(Phase::AwaitTune { login }),
            Some(error) => self.end(Err(error)),
        }
        Ok(())
    }

    fn challenged(&mut self, secure: &connection::Secure<'_>) -> Result<(), Fault> {
        let Phase::AwaitTune { login } = &mut self.phase else { return Ok(()) };
        let response = login
            .exchange
            .respond(secure.challenge.0)
            .map_err(|error| Fault { code: ReplyCode::ACCESS_REFUSED, error: login.error(&error) })?;
        let secure_ok = connection::SecureOk { response: LongStr(&response) };
        if let Some(error) = put_login(self.out.tail(), login_limit(&self.server_properties), &secure_ok)? {
            self.end(Err(error));
        }
        Ok(())
    }

    fn tuned(&mut self, now: Instant, tune: &connection::Tune) -> Result<(), Fault> {
        if tune.frame_max != 0 && tune.frame_max < FRAME_MIN_SIZE {
            return Err(Fault::new(ReplyCode::NOT_ALLOWED, ProtocolError::Tuning(tune.frame_max)));
        }
        let tuning = negotiate(&self.config, tune);
        let seconds = tuning.heartbeat.map_or(0, |interval| u16::try_from(interval.as_secs()).unwrap_or(u16::MAX));
        let tune_ok =
            connection::TuneOk { channel_max: tuning.channel_max, frame_max: tuning.frame_max, heartbeat: seconds };
        put_method(self.out.tail(), 0, &tune_ok)?;
        let open = connection::Open { virtual_host: ShortStr::named("virtual host", &self.config.virtual_host)? };
        put_method(self.out.tail(), 0, &open)?;
        self.frame_max = tuning.frame_max;
        self.heartbeats = tuning.heartbeat.map(|interval| Heartbeats::new(interval, now));
        self.tuning = Some(tuning);
        self.enter(Phase::AwaitOpenOk);
        Ok(())
    }

    /// Each phase has its whole time limit, from the next turn on.
    pub(super) fn enter(&mut self, phase: Phase) {
        let same_limit = self.phase.is_handshake() && phase.is_handshake();
        self.phase = phase;
        if !same_limit {
            self.phase_deadline = None;
            self.turn = true;
        }
    }

    /// Connection.close from the broker, at any time (0-9-1 §1.4.2.8): answered, and everybody is told.
    fn closed_by_broker(&mut self, close: &connection::Close<'_>) {
        if self.is_finished() {
            return;
        }
        // A close-ok has no field that could fail to encode.
        let _ = put_method(self.out.tail(), 0, &connection::CloseOk {});
        let code = close.reply_code;
        let text = close.reply_text.to_string_lossy().into_owned();
        let kind = if self.phase.is_handshake() && code == ReplyCode::ACCESS_REFUSED {
            ErrorKind::AuthenticationFailed(text)
        } else {
            ErrorKind::ConnectionClosed(crate::error::CloseReason::new(code, text, close.class_id, close.method_id))
        };
        self.end(Err(Error::new(kind)));
    }
}

/// The largest frame that a broker takes before the tuning, in bytes: 4096 (0-9-1 §4.2.3), but for RabbitMQ since 4.1.
fn login_limit(server: &FieldTable) -> usize {
    let text = |key| server.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let mut version = text("version").split('.').map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
    if text("product") == "RabbitMQ" && version >= (4, 1) { 8192 } else { FRAME_MIN_SIZE as usize }
}

/// Queues a method of the login, unless it is over the limit: a broker would only hang up.
fn put_login<'a>(out: &mut Vec<u8>, limit: usize, method: &impl MethodCodec<'a>) -> Result<Option<Error>, EncodeError> {
    let start = out.len();
    put_method(out, 0, method)?;
    let size = out.len() - start;
    if size <= limit {
        return Ok(None);
    }
    out.truncate(start);
    Ok(Some(Error::new(ErrorKind::LoginTooLong { size, limit })))
}

/// What both sides can live with. 0 means no limit.
fn negotiate(config: &Config, tune: &connection::Tune) -> Tuning {
    let smaller = |ours: u32, theirs: u32| if ours == 0 || theirs == 0 { ours.max(theirs) } else { ours.min(theirs) };
    let channel_max = smaller(config.channel_max.into(), tune.channel_max.into());
    let heartbeat = match config.heartbeat {
        Heartbeat::Disabled => 0,
        wanted @ Heartbeat::Interval(_) => smaller(wanted.as_secs().into(), tune.heartbeat.into()),
    };
    Tuning {
        channel_max: match u16::try_from(channel_max) {
            Ok(0) | Err(_) => u16::MAX,
            Ok(channel_max) => channel_max,
        },
        // Ours was not validated; less than the minimum is no frame size.
        frame_max: smaller(
            if config.frame_max == 0 { 0 } else { config.frame_max.max(FRAME_MIN_SIZE) },
            tune.frame_max,
        ),
        heartbeat: (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into())),
    }
}
