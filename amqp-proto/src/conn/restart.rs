//! The next attempt: another transport, the handshake on it, and the hooks.

use std::time::Instant;

use super::handshake::{FRAME_MAX_BEFORE_TUNING, Phase};
use super::held::Stage;
use super::{Connection, Event, Outbound, Reply};
use crate::error::{Error, ErrorKind};
use crate::method::reply_code::ReplyCode;
use crate::method::{connection, put_method};
use crate::sasl::Credentials;
use crate::wire::{PROTOCOL_HEADER, ShortStr};

/// The hooks of one attempt: see [`Connection::take_hooks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HooksRun(u32);

impl Connection {
    // ---- what the driver asks ----------------------------------------------------------------------------------

    /// Whether there is no use for the transport any more: what is left is to be written, then it is to be shut down. The
    /// connection has ended, or was lost and comes back on another one.
    #[must_use]
    #[inline]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.phase, Phase::Closed(_) | Phase::Lost { .. } | Phase::Dialing)
    }

    /// Whether it is time to dial: to be followed by [`restart`](Self::restart) or
    /// [`handle_dial_error`](Self::handle_dial_error).
    #[must_use]
    pub fn wants_transport(&self) -> bool {
        matches!(self.phase, Phase::Dialing)
    }

    /// What is left to be written of a transport that is done with. Taken once, behind what was taken before.
    pub fn take_farewell(&mut self) -> Outbound {
        std::mem::take(&mut self.out)
    }

    /// Another transport is there: the protocol header waits to be written, and the handshake's deadline begins.
    pub fn restart(&mut self, now: Instant) {
        if !self.wants_transport() {
            return;
        }
        self.out = Outbound::new();
        self.out.tail().extend_from_slice(&PROTOCOL_HEADER);
        self.in_flight = 0;
        self.frame_max = FRAME_MAX_BEFORE_TUNING;
        self.phase = Phase::AwaitStart;
        self.phase_deadline = now.checked_add(self.config.timeouts.handshake);
        self.turn = true;
    }

    /// No transport could be had. Unless that is final there will be another attempt.
    pub fn handle_dial_error(&mut self, error: Error) {
        if !self.wants_transport() {
            return;
        }
        if Self::is_final_dial_error(&error) {
            self.stop_recovering();
        }
        self.end(Err(error));
    }

    /// With whom the next handshakes connect.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.config.credentials = credentials;
    }

    /// How many attempts there were since the connection was last open for a while.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.recovering.as_ref().map_or(0, |recovering| recovering.attempts)
    }

    /// Whether it is connected to a broker, and all is restored.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    // ---- hooks -------------------------------------------------------------------------------------------------

    /// Each time when the handshake is done, the connection waits for [`hooks_done`](Self::hooks_done) before it is open.
    pub fn use_hooks(&mut self) {
        self.has_hooks = true;
    }

    /// The hooks are to be run now: `Some` once for each time.
    pub fn take_hooks(&mut self) -> Option<HooksRun> {
        let due = matches!(self.phase, Phase::Hooks) && std::mem::take(&mut self.hooks_due);
        due.then_some(HooksRun(self.hooks_run))
    }

    /// The hooks have been run. If one has failed, so has this attempt.
    pub fn hooks_done(&mut self, run: HooksRun, result: Result<(), Error>) {
        if !matches!(self.phase, Phase::Hooks) || run.0 != self.hooks_run {
            return;
        }
        match result {
            Ok(()) if self.is_coming_back() => self.restore_topology(),
            Ok(()) => self.open_first(),
            Err(error) => {
                let close = connection::Close {
                    reply_code: ReplyCode::REPLY_SUCCESS,
                    reply_text: ShortStr::EMPTY,
                    class_id: 0,
                    method_id: 0,
                };
                // A close has no field that could fail to encode.
                let _ = put_method(self.out.tail(), 0, &close);
                self.end(Err(error));
            }
        }
    }

    // ---- on the way --------------------------------------------------------------------------------------------

    /// The back-off is over.
    pub(super) fn dial(&mut self) {
        let Some(recovering) = &mut self.recovering else { return };
        recovering.attempts = recovering.attempts.saturating_add(1);
        let attempt = recovering.attempts;
        self.phase = Phase::Dialing;
        self.phase_deadline = None;
        self.turn = true;
        self.event(Event::Reconnecting { attempt });
    }

    /// The broker has let us in.
    pub(super) fn connected(&mut self) {
        if self.has_hooks {
            self.hooks_run = self.hooks_run.wrapping_add(1);
            self.hooks_due = true;
            self.enter(Phase::Hooks);
        } else if self.is_coming_back() {
            self.restore_topology();
        } else {
            self.open_first();
        }
    }

    /// The connection is being closed on its way back: nobody waits for what is not back yet.
    pub(super) fn restore_no_more(&mut self) {
        let Some(recovering) = &mut self.recovering else { return };
        recovering.restore = None;
        recovering.repairs.clear();
        recovering.later.clear();
        recovering.stopped = true;
        let cause = recovering.cause.clone().unwrap_or_else(|| Error::new(ErrorKind::ConnectionNotOpen));
        for id in self.channels.ids() {
            match self.stage_of(id) {
                Some(Stage::Reopening) => self.drop_all_held(id, &cause),
                Some(Stage::Waiting | Stage::Refused) => self.end_channel(id, &cause, true),
                None => {}
            }
        }
    }

    fn open_first(&mut self) {
        self.was_open = true;
        self.enter(Phase::Open);
        self.resolve(self.opened, Ok(Reply::Done));
        self.event(Event::Connected);
    }

    /// All is as it was before the loss.
    pub(super) fn restored(&mut self) {
        self.enter(Phase::Open);
        if let (Some(recovering), Some(config)) = (&mut self.recovering, &self.config.recovery) {
            recovering.restored(config.max_delay);
        }
        self.event(Event::Recovered);
        self.grant_room();
    }
}
