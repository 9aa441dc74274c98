//! Renewing the secret of an open connection: `connection.update-secret`, RabbitMQ's.

use super::inbound::Fault;
use super::{Connection, Reply, RequestId};
use crate::error::Error;
use crate::method::{connection, put_method};
use crate::sasl::Credentials;
use crate::wire::{EncodeError, LongStr, ShortStr};

const NAME: &str = "connection.update-secret";

impl Connection {
    /// Gives the broker a new secret, an OAuth 2 token for example, in place of the one that was logged in with. The reason
    /// is for the broker's log; it is cut after 255 bytes. If the connection is lost it comes back with the new one; if it
    /// is lost now that is all that there is to do.
    ///
    /// # Errors
    /// If the connection is not open, or the secret does not fit into a frame.
    pub fn update_secret(&mut self, secret: &str, reason: &str) -> Result<RequestId, Error> {
        self.check_open().map_err(|error| error.during(NAME))?;
        if self.is_disconnected() || self.phase.is_handshake() {
            self.log_in_with(secret);
            let request = self.calls.insert(NAME, None);
            self.resolve(request, Ok(Reply::Done));
            return Ok(request);
        }
        let update =
            connection::UpdateSecret { new_secret: LongStr(secret.as_bytes()), reason: ShortStr::truncated(reason) };
        let (out, frame_max) = (self.out.tail(), self.frame_max as usize);
        let start = out.len();
        put_method(out, 0, &update).map_err(|error| Error::from(error).during(NAME))?;
        let size = out.len() - start;
        if frame_max != 0 && size > frame_max {
            out.truncate(start);
            return Err(Error::from(EncodeError::TooLong { size, limit: frame_max }).during(NAME));
        }
        let request = self.calls.insert(NAME, Some(self.config.timeouts.call));
        self.secrets.push_back(request);
        self.log_in_with(secret);
        Ok(request)
    }

    /// The next login is with this secret.
    fn log_in_with(&mut self, secret: &str) {
        if self.recovering.is_some() {
            self.config.credentials = Credentials::new(self.config.credentials.user(), secret);
        }
    }

    /// The connection is lost: whether the broker has taken them is not known.
    pub(super) fn lose_secrets(&mut self, cause: &Error) {
        while let Some(request) = self.secrets.pop_front() {
            self.resolve(request, Err(cause.clone()));
        }
    }

    /// The oldest update is answered, whether somebody still waits for it or not.
    pub(super) fn secret_updated(&mut self) -> Result<(), Fault> {
        let request = self.secrets.pop_front().ok_or_else(|| Fault::unexpected("connection.update-secret-ok", 0))?;
        self.resolve(request, Ok(Reply::Done));
        Ok(())
    }
}
