//! A connection: where channels come from.

use std::fmt;
use std::sync::Arc;

use amqp_proto::conn::{self, ChannelId, RequestId, Stats, Tuning};
use amqp_proto::error::Error;
use amqp_proto::method::ReplyCode;
use amqp_proto::wire::FieldTable;

use crate::body_writer::BodyWriter;
use crate::call::{Call, Keep, done};
use crate::channel::Channel;
use crate::driver::Runtime;
use crate::events::Events;
use crate::link::Link;
use crate::message::Message;
use crate::publisher::Publisher;
use crate::shared::Touch;

/// A connection to a broker.
///
/// Clones are handles to the same connection. It is closed by [`close`](Self::close), and when the last handle to it, to
/// one of its channels, consumers and publishers is dropped; that is best effort, as nobody waits for it then.
/// Deliveries and confirms do not keep it open.
///
/// # Recovery
///
/// A connection that is lost comes back by itself, unless it was made with [`Config::no_recovery`](crate::Config::no_recovery)
/// or over a stream that was connected already; [`Config::recovery`](crate::Config::recovery) says how. Its handles stay what
/// they are: channels are opened again with their settings (prefetch, confirm or transaction mode), and consumers are the
/// same streams as before. The exchanges, queues and bindings that were declared over it are declared again first; queues
/// that the broker names get their new name in their bindings and consumers.
///
/// - What is asked for meanwhile waits, each call and publish until its own deadline; the error says that the connection did
///   not come back in time. Calls under way fail, and can be repeated; the outcomes of publishes under way are unknown, and
///   a transaction that was cut in two is not committed.
/// - Deliveries that were not settled come again. Settling one from before the loss does nothing, and is counted:
///   [`Stats::stale_settlements`](crate::Stats).
/// - [`close`](Self::close) ends it at any moment, and so does dropping the last handle. It ends for good when the
///   credentials were refused twice in a row, and when its virtual host is gone; then everybody is told.
/// - What the broker refuses for now (an exclusive queue or consumer that is still taken) is tried again. Something that is
///   refused for good is left out, or ends its consumer or channel with the broker's reason.
/// - [`ConnectOptions::on_connect`](crate::ConnectOptions::on_connect) runs hooks each time, before it is connected.
///
/// Publish and consume on separate connections where both are many: a broker in alarm stops reading from connections
/// that publish, and acks on them wait as well.
///
/// # Deadlines
///
/// | what | default | [`Config`](crate::Config) |
/// |---|---|---|
/// | finding the addresses of a host, connecting to each of them | 30 s | [`connect_timeout`](crate::Config::connect_timeout) |
/// | the handshake as a whole, that of TLS included | 10 s | [`handshake_timeout`](crate::Config::handshake_timeout) |
/// | the reply to a [`Call`] | 30 s | [`call_timeout`](crate::Config::call_timeout) |
/// | the [`Confirm`](crate::Confirm) of a publish | 60 s | [`confirm_timeout`](crate::Config::confirm_timeout) |
/// | room to publish | 30 s | [`room_timeout`](crate::Config::room_timeout) |
/// | the answer to [`close`](Self::close) | 5 s | [`close_timeout`](crate::Config::close_timeout) |
/// | the next delivery, the next returned message, the next event, [`closed`](Self::closed) | none | |
#[derive(Clone)]
pub struct Connection {
    link: Link,
    tuning: Tuning,
    /// Its channels are opened although the connection is not open yet.
    opens: OpenChannel,
}

/// How channels are opened.
pub(crate) type OpenChannel = fn(&mut conn::Connection) -> Result<(ChannelId, RequestId), Error>;

impl Connection {
    pub(crate) fn new(link: Link, tuning: Tuning) -> Self {
        Self { link, tuning, opens: conn::Connection::open_channel }
    }

    /// A handle for a hook.
    pub(crate) fn in_hook(link: Link, tuning: Tuning) -> Self {
        Self { link, tuning, opens: conn::Connection::open_channel_for_hook }
    }

    /// What was declared over it so far is no concern of its next user.
    pub(crate) fn forget_topology(&self) {
        self.link.visit(Touch::Nothing, |state| state.conn.forget_topology());
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.link.shared().runtime
    }

    /// Opens a channel.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) -> Result<(), amqp_api::Error> {
    /// let channel = connection.channel().await?;
    /// channel.queue_declare("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; [`ErrorKind::ChannelsExhausted`](crate::ErrorKind::ChannelsExhausted) if all numbers up to
    /// the negotiated `channel_max` are in use.
    pub fn channel(&self) -> Call<Channel> {
        Channel::open(&self.link, self.opens)
    }

    /// Opens a publisher: a channel of its own in confirm mode.
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel).
    pub fn publisher(&self) -> Call<Publisher> {
        Publisher::open(&self.link, self.opens)
    }

    /// Publishes a message whose body is written in parts, because it is too large to be held in memory. `size` is that
    /// of the whole body in bytes, at most 512 MiB; the message's own body, if it has one, is its beginning.
    ///
    /// It is published on a channel of its own, when [`BodyWriter::finish`] is called. It is mandatory and persistent,
    /// unless the [`Message`] says otherwise.
    ///
    /// # Errors
    ///
    /// As [`channel`](Self::channel); what is wrong with size, names and properties; a time-out.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has published nothing.
    pub async fn publish_streamed<'m>(
        &self,
        exchange: impl AsRef<str>,
        routing_key: impl AsRef<str>,
        message: impl Into<Message<'m>>,
        size: u64,
    ) -> Result<BodyWriter, Error> {
        BodyWriter::open(self.channel(), exchange.as_ref(), routing_key.as_ref(), message.into(), size).await
    }

    /// Closes the connection, for all its handles. What was accepted goes out first, [`Confirm`](crate::Confirm)s that
    /// somebody holds are awaited, then the broker is told, and its answer awaited. Calling it again waits for the same
    /// end, or tells that it has come.
    ///
    /// The deadline, by default 5 s, holds from the last byte that the socket took: once for the confirms, which end as
    /// unknown if they do not come, and once for the broker's answer. Deliveries that nobody has read are void, and the
    /// broker puts them back; those of consumers without acks are lost beyond what the consumer has buffered.
    ///
    /// A program that ends without it, by returning from `main` for example, may lose what it published last.
    ///
    /// # Errors
    ///
    /// If the connection ended in another way.
    ///
    /// # Cancel safety
    ///
    /// The close has been asked for when this returns; dropping the call does not stop it.
    pub fn close(&self) -> Call<()> {
        self.close_with(ReplyCode::REPLY_SUCCESS, "")
    }

    /// Closes the connection and tells the broker why: a code, and a text that is cut after 255 bytes.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn close_with(&self, code: ReplyCode, text: impl AsRef<str>) -> Call<()> {
        let keep = Keep::Memory(Arc::clone(self.link.shared()));
        Call::start(keep, done, |conn| Ok(Some(conn.close(code, text.as_ref()))))
    }

    /// Ends the connection now, without a word to the broker: what waits to be written is thrown away, but for what the
    /// driver is writing already.
    pub fn abort(&self) {
        self.link.visit(Touch::All, |state| state.conn.abort());
    }

    /// Waits until the connection has ended: `Ok` if this side closed it. It does not keep the connection open.
    ///
    /// # Errors
    ///
    /// Why it ended, if this side did not close it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub fn closed(&self) -> Call<()> {
        let keep = Keep::Memory(Arc::clone(self.link.shared()));
        Call::start(keep, done, |conn| Ok(Some(conn.watch_closed())))
    }

    /// Gives the broker a new secret in place of the one that was logged in with, an OAuth 2 token for example. The reason is
    /// for the broker's log; it is cut after 255 bytes. A
    /// [provider of credentials](crate::ConnectOptions::credentials_provider) does this by itself.
    ///
    /// RabbitMQ keeps the connection as it is where its users' secrets do not expire: it then takes any secret.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; a broker that does not accept the secret closes the connection.
    pub fn update_secret(&self, secret: impl AsRef<str>, reason: impl AsRef<str>) -> Call<()> {
        let keep = Keep::Connection(self.link.clone());
        Call::start(keep, done, |conn| conn.update_secret(secret.as_ref(), reason.as_ref()).map(Some))
    }

    /// What happens to the connection from now on: blocked, unblocked, lost, back, its secret renewed, closed. There may be any
    /// number of listeners; each gets every event.
    ///
    /// ```no_run
    /// # async fn example(connection: amqp_api::Connection) {
    /// use amqp_api::ConnectionEvent;
    ///
    /// let mut events = connection.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         ConnectionEvent::Blocked { reason } => eprintln!("the broker does not take publishes: {reason}"),
    ///         ConnectionEvent::Disconnected { cause } => eprintln!("the connection is lost, and will be back: {cause}"),
    ///         ConnectionEvent::Closed { cause: Some(error) } => eprintln!("the connection has ended: {error}"),
    ///         event => println!("{event:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(self.link.shared()))
    }

    /// Whether it takes new work. A connection that was lost and comes back does: what is asked of it waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.visit(Touch::Nothing, |state| state.conn.is_open())
    }

    /// Whether it is connected to a broker at present, with all that belongs to it. Not so while a connection that was lost
    /// is on its way back.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.visit(Touch::Nothing, |state| state.conn.is_connected())
    }

    /// What was agreed on in the handshake: `channel_max`, `frame_max` and heartbeat.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        self.link.visit(Touch::Nothing, |state| state.conn.tuning()).unwrap_or(self.tuning)
    }

    /// What the broker said of itself: `product`, `version`, `capabilities` …
    #[must_use]
    pub fn server_properties(&self) -> FieldTable {
        self.link.visit(Touch::Nothing, |state| state.conn.server_properties().clone())
    }

    /// What was dropped on purpose, counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.link.visit(Touch::Nothing, |state| state.conn.stats())
    }

    /// The reason for which the broker does not take publishes at present, if it said so.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        self.link.visit(Touch::Nothing, |state| state.conn.blocked().map(str::to_owned))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
