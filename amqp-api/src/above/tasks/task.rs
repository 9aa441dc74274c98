//! A task that was taken out of its queue.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use amqp_proto::error::{CodecError, Error, ErrorKind};
use serde_json::{Map, Value};

use super::session::Session;
use crate::acker::Acker;
use crate::channel::Channel;
use crate::codec::Codec as _;
use crate::codec::Json;
use crate::content::Content;
use crate::delivery::Delivery;
use crate::message::Message;

/// A task, from [`TaskQueue::get`](super::TaskQueue::get): its [`Content`], to which it dereferences, and what can be done
/// with it.
///
/// It is leased: nobody else gets it before it is settled by [`done`](Self::done), [`requeue`](Self::requeue) or
/// [`reject`](Self::reject). Dropped unsettled it goes back to its queue, and so it does when the process ends or the
/// connection is lost. It keeps its connection open.
///
/// ```no_run
/// # async fn example(tasks: amqp_api::TaskQueue) -> Result<(), amqp_api::Error> {
/// if let Some(task) = tasks.get("mail").await? {
///     println!("{:?}", task.payload()?);
///     task.done()?;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a task goes back to its queue when it is dropped"]
pub struct Task {
    delivery: Delivery,
    /// Of what is to be settled; dropped after it was.
    _lease: Option<Lease>,
}

/// The channel that a task is leased on. There is nothing else on it, so nothing else can end the lease.
struct Lease {
    channel: Channel,
    session: Arc<Session>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.spare(self.channel.clone());
    }
}

impl Task {
    /// A task that is to be settled on this channel.
    pub(super) fn leased(delivery: Delivery, channel: Channel, session: Arc<Session>) -> Self {
        Self { delivery, _lease: Some(Lease { channel, session }) }
    }

    /// A task that is settled already.
    pub(super) fn settled(delivery: Delivery) -> Self {
        Self { delivery, _lease: None }
    }

    /// Its payload: an object in JSON; one without a body has an empty one.
    ///
    /// [`Content::json`] reads it as any type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] if it is none, because somebody else has put it there. The task can still be settled.
    pub fn payload(&self) -> Result<Map<String, Value>, Error> {
        let body = self.decoded_body()?;
        if body.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(&body).map_err(|cause| {
            let content_type = Json.content_type().to_owned();
            Error::new(ErrorKind::Codec(CodecError::Decode { content_type, cause: Arc::new(cause) }))
        })
    }

    /// It has been dealt with, and is gone.
    ///
    /// # Errors
    ///
    /// If its connection is lost: it is in its queue again then.
    pub fn done(self) -> Result<(), Error> {
        self.delivery.ack()
    }

    /// Puts it back, near its old place: somebody gets it again.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done).
    pub fn requeue(self) -> Result<(), Error> {
        self.delivery.nack(true)
    }

    /// It cannot be dealt with: it is dropped, or dead-lettered if a policy of the broker says so.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done).
    pub fn reject(self) -> Result<(), Error> {
        self.delivery.nack(false)
    }

    /// Keeps its settlement back, for a worker.
    pub(super) fn lend(self) -> (Self, Acker) {
        let Self { delivery, _lease } = self;
        let (delivery, acker) = delivery.lend();
        (Self { delivery, _lease }, acker)
    }
}

impl Deref for Task {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.delivery
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// The message that stands for a task: an object in JSON, persistent. What is nothing is an empty one.
pub(super) fn message(payload: &(impl serde::Serialize + ?Sized)) -> Result<Message<'static>, Error> {
    let found = match serde_json::to_value(payload) {
        Ok(Value::Null) => return Message::json(&Map::new()),
        Ok(object @ Value::Object(_)) => return Message::json(&object),
        Ok(Value::Bool(_)) => "a truth value",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Array(_)) => "a list",
        Err(cause) => {
            let content_type = Json.content_type().to_owned();
            return Err(Error::new(ErrorKind::Codec(CodecError::Encode { content_type, cause: Arc::new(cause) })));
        }
    };
    Err(Error::new(ErrorKind::TaskPayload { found }))
}
