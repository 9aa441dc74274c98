//! A message that is too large to be held in memory, on its way out.

use std::fmt;

use amqp_proto::conn::{Connection, PublishBody};
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::{Method, tx};
use bytes::Buf;

use crate::call::{Call, Keep, done};
use crate::channel::{Channel, in_turn};
use crate::message::{Message, Target};
use crate::shared::{State, Touch};

/// Writes the body of one message in parts, from
/// [`Connection::publish_streamed`](crate::Connection::publish_streamed).
///
/// What waits of it in memory is bounded by the write buffer ([`Limits::publish_buffer`](crate::Limits), by default
/// 1 MiB); [`write`](Self::write) waits for room. Messages of other channels go in between.
///
/// The message is published by [`finish`](Self::finish), or not at all. AMQP announces the size of a body before its first
/// byte and cannot break a body off: if the writer is dropped before that, zeros take the place of what is missing, and
/// the broker throws all of it away. They take their time on the socket, and no memory. Closing the connection does not
/// wait for them.
///
/// It keeps the connection open.
///
/// ```no_run
/// # async fn example(connection: amqp_api::Connection) -> Result<(), Box<dyn std::error::Error>> {
/// # use std::io::Read;
/// # use amqp_api::Message;
///
/// let mut file = std::fs::File::open("film.mkv")?;
/// let message = Message::new("").content_type("video/x-matroska");
/// let mut writer = connection.publish_streamed("", "films", message, file.metadata()?.len()).await?;
/// let mut part = vec![0; 64 * 1024];
/// while writer.missing() > 0 {
///     let count = file.read(&mut part)?;
///     writer.write(&part[..count]).await?;
/// }
/// writer.finish().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a message is only published when its writer has finished"]
pub struct BodyWriter {
    channel: Channel,
    size: u64,
    missing: u64,
}

/// The largest body that may be announced: RabbitMQ takes none that is larger, and 4.3 closes the connection for it.
const LARGEST: u64 = 512 << 20;

/// How much of a body asks for room at once.
const PART: usize = 256 * 1024;

impl BodyWriter {
    /// On a channel of its own. The message's body, if it has one, is the beginning of what is written.
    pub(crate) async fn open(
        channel: Call<Channel>,
        exchange: &str,
        routing_key: &str,
        message: Message<'_>,
        size: u64,
    ) -> Result<Self, Error> {
        let mut message = message.ready()?;
        message.default_delivery_mode(2);
        let to = Target::new(exchange, routing_key)?;
        let publish = message.publish(&to, true);
        if size > LARGEST {
            let text = format!("a body of {size} bytes is larger than any broker takes, which is {LARGEST}");
            return Err(Error::invalid(text).during("basic.publish"));
        }
        let channel = channel.await?;
        channel.tx_select().await?;
        let head = publish.head(size);
        let id = channel.id();
        in_turn(channel.shared(), 0, |state: &mut State| (id, state.conn.publish_streamed(id, &head))).await?;
        let mut writer = Self { channel, size, missing: size };
        match publish.body {
            PublishBody::Borrowed(body) => writer.write(body).await?,
            PublishBody::Shared(body) => writer.write(body).await?,
        }
        Ok(writer)
    }

    /// Writes the next part: when it returns, the part stands in the write buffer, or has left. It waits for room,
    /// by default for up to 30 s each time that some of the part has been taken.
    ///
    /// A part is anything that is a [`Buf`]: `&[u8]`, or `Bytes`, whose pieces of 4 KiB and more are not copied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodySize`] if the part is longer than what is [missing](Self::missing): nothing of it was taken, and
    /// the writer can be used on. A time-out: it can be tried again with the rest of the part, see below. A closed channel
    /// or connection, with its cause: nothing will be published.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it has returned, or fails, a part that was given as `&mut` of a [`Buf`] has been advanced
    /// by what was taken, and [`missing`](Self::missing) says so as well.
    pub async fn write(&mut self, mut part: impl Buf) -> Result<(), Error> {
        let id = self.channel.id();
        let given = part.remaining() as u64;
        if given > self.missing {
            return Err(Error::new(ErrorKind::BodySize { missing: self.missing, given }).during("basic.publish"));
        }
        while part.has_remaining() {
            let missing = &mut self.missing;
            let bytes = part.remaining().min(PART);
            let write = |state: &mut State| {
                let before = part.remaining();
                let result = state.conn.write_body(id, &mut part);
                *missing -= (before - part.remaining()) as u64;
                (id, result)
            };
            in_turn(self.channel.shared(), bytes, write).await?;
        }
        Ok(())
    }

    /// Publishes the message and waits until the broker has taken responsibility for it, by default for up to 60 s.
    ///
    /// The broker looks at a message when it has all of it. So it is now that it says that the exchange is missing (404),
    /// that it takes no message that large (406: `max_message_size`, by default 16 MiB on RabbitMQ 4 and 128 MiB on 3), or
    /// that a queue has refused it (406, partial tx completion).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodySize`] if some of the body is [missing](Self::missing), and [`ErrorKind::ChannelClosed`]: it was
    /// not published. [`ErrorKind::NoRoute`] if it was mandatory and no queue took it; it comes back without its body.
    /// [`ErrorKind::Unknown`], with the cause, if the connection went or the deadline passed before the broker answered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have published the message or not.
    pub async fn finish(self) -> Result<(), Error> {
        if self.missing > 0 {
            return Err(Error::new(ErrorKind::BodySize { missing: self.missing, given: 0 }).during("basic.publish"));
        }
        let id = self.channel.id();
        let commit = |conn: &mut Connection| {
            let timeout = conn.config().timeouts.confirm;
            conn.request(id, Method::from(tx::Commit {}), Some(timeout))
        };
        let Some(request) = self.channel.shared().visit(Touch::All, |state| commit(&mut state.conn))? else {
            return Ok(());
        };
        let committed: Call<()> = Call::waiting(request, Keep::Channel(self.channel.clone()), done);
        match committed.await {
            Ok(()) => match self.channel.shared().visit(Touch::Nothing, |state| state.conn.next_return(id)) {
                Ok(Some(message)) => Err(Error::new(ErrorKind::NoRoute(Box::new(message)))),
                _ => Ok(()),
            },
            Err(error) if matches!(error.kind(), ErrorKind::ChannelClosed(_)) => Err(error),
            Err(error) => Err(Error::new(ErrorKind::Unknown(error))),
        }
    }

    /// The size of the whole body in bytes, as it was announced.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are to be written yet.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").field("size", &self.size).field("missing", &self.missing).finish_non_exhaustive()
    }
}
