// What the handles can do: the names and arguments of amqp-api's, with what they return when they have waited.
//
// `[wait]` is a method that waits, `[wrap]` one that gives a handle, `[]` one that does neither. What differs here by
// more than that stands in `handles.rs`. This file is a list for a macro `handles!` and is included by its path, by
// the conformance suite as well.

handles! {
    /// A connection to a broker.
    ///
    /// Clones are handles to the same connection, and any thread may use them. It is closed by
    /// [`close`](Self::close), and when the last handle to it, to one of its channels, consumers and publishers is
    /// dropped; that waits up to 5 s until everything that was accepted has been sent, and the broker has been told.
    /// Deliveries and confirms do not keep it open.
    ///
    /// Publish and consume on separate connections where both are many: a broker in alarm stops reading from
    /// connections that publish, and acks on them wait as well.
    ///
    /// # Deadlines
    ///
    /// | what | default | [`Config`](crate::Config) |
    /// |---|---|---|
    /// | finding the addresses of a host, connecting to each of them | 30 s | [`connect_timeout`](crate::Config::connect_timeout) |
    /// | the handshake as a whole, that of TLS included | 10 s | [`handshake_timeout`](crate::Config::handshake_timeout) |
    /// | the reply to a call | 30 s | [`call_timeout`](crate::Config::call_timeout) |
    /// | the [`Confirm`] of a publish | 60 s | [`confirm_timeout`](crate::Config::confirm_timeout) |
    /// | room to publish | 30 s | [`room_timeout`](crate::Config::room_timeout) |
    /// | the answer to [`close`](Self::close) | 5 s | [`close_timeout`](crate::Config::close_timeout) |
    /// | the next delivery | none | |
    ///
    /// # Errors
    ///
    /// All calls may end with: the broker closing the channel or the connection
    /// ([`ErrorKind::ChannelClosed`](crate::ErrorKind::ChannelClosed), [`ErrorKind::ConnectionClosed`](crate::ErrorKind::ConnectionClosed)), the loss of the connection
    /// ([`ErrorKind::ConnectionLost`](crate::ErrorKind::ConnectionLost)), a deadline ([`ErrorKind::Timeout`](crate::ErrorKind::Timeout)) and a closed handle
    /// ([`ErrorKind::ChannelNotOpen`](crate::ErrorKind::ChannelNotOpen), [`ErrorKind::ConnectionNotOpen`](crate::ErrorKind::ConnectionNotOpen)).
    ///
    /// ```no_run
    /// # fn example() -> Result<(), amqp_blocking::Error> {
    /// let connection = amqp_blocking::connect("amqp://localhost")?;
    /// let other = connection.clone();
    /// let thread = std::thread::spawn(move || other.channel()?.queue_declare("hello"));
    /// connection.channel()?.queue_declare("world")?;
    /// thread.join().expect("it does not panic")?;
    /// connection.close()
    /// # }
    /// ```
    #[derive(Clone)]
    Connection {
        /// Opens a channel. [`ErrorKind::ChannelsExhausted`](crate::ErrorKind::ChannelsExhausted) if all numbers up to the negotiated `channel_max` are in
        /// use.
        [wait wrap] fn channel(&self) -> Result<Channel, Error>;
        /// Opens a publisher: a channel of its own in confirm mode.
        [wait wrap] fn publisher(&self) -> Result<Publisher, Error>;
        /// Opens a client for remote calls, on a channel of its own.
        [wait wrap] fn rpc_client(&self) -> Result<RpcClient, Error>;
        /// Publishes a message whose body is written in parts, because it is too large to be held in memory. `size` is
        /// that of the whole body in bytes, at most 512 MiB; the message's own body, if it has one, is its beginning.
        ///
        /// It is published on a channel of its own, when [`BodyWriter::finish`] is called. It is mandatory and
        /// persistent, unless the [`Message`](crate::Message) says otherwise.
        [wait wrap] fn publish_streamed<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>,
            size: u64
        ) -> Result<BodyWriter, Error>;
        /// Closes the connection, for all its handles: what was accepted goes out first, then the broker is told, and
        /// its answer awaited. Calling it again waits for the same end. It is an error if the connection ended in
        /// another way, or had ended before.
        [wait] fn close(&self) -> Result<(), Error>;
        /// Closes the connection and tells the broker why: a code, and a text that is cut after 255 bytes.
        [wait] fn close_with(&self, code: ReplyCode, text: impl AsRef<str>) -> Result<(), Error>;
        /// Ends the connection now, without a word to the broker; what waits to be written is thrown away.
        [] fn abort(&self) -> ();
        /// Waits until the connection has ended: `Ok` if this side closed it, else why it ended.
        [wait] fn closed(&self) -> Result<(), Error>;
        /// Gives the broker a new secret in place of the one that was logged in with, an OAuth 2 token for example. The
        /// reason is for the broker's log; it is cut after 255 bytes. A broker that does not accept the secret closes the
        /// connection. A [provider of credentials](crate::ConnectOptions::credentials_provider) does this by itself.
        [wait] fn update_secret(&self, secret: impl AsRef<str>, reason: impl AsRef<str>) -> Result<(), Error>;
        /// What happens to the connection from now on: blocked, unblocked, its secret renewed, closed. There may be any
        /// number of listeners; each gets every event.
        [wrap] fn events(&self) -> Events;
        /// Whether it takes new work.
        #[must_use]
        [] fn is_open(&self) -> bool;
        /// Whether it is connected to a broker at present, with all that belongs to it. Not so while a connection that was
        /// lost is on its way back.
        #[must_use]
        [] fn is_connected(&self) -> bool;
        /// What was agreed on in the handshake: `channel_max`, `frame_max` and heartbeat.
        #[must_use]
        [] fn tuning(&self) -> Tuning;
        /// What the broker said of itself: `product`, `version`, `capabilities` …
        #[must_use]
        [] fn server_properties(&self) -> FieldTable;
        /// What was dropped on purpose, counted.
        #[must_use]
        [] fn stats(&self) -> Stats;
        /// The reason for which the broker does not take publishes at present, if it said so.
        #[must_use]
        [] fn blocked(&self) -> Option<String>;
    }

    /// A channel of a connection: a conversation with the broker, whose replies and errors are its own.
    ///
    /// Clones are handles to the same channel, and any thread may use them; a call that waits for its reply does not
    /// keep others from calling. The channel is closed when the last handle and the last consumer on it are dropped. It
    /// keeps the connection open.
    ///
    /// The broker answers most errors by closing the channel: whatever waits on it ends with that error, everything
    /// later does so too, and [`error`](Self::error) keeps it. Other channels go on.
    ///
    /// # Errors
    ///
    /// Those of any call, see [`Connection`]. The codes below are the broker's.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// use amqp_blocking::{Exchange, Message, Queue};
    ///
    /// let channel = connection.channel()?;
    /// channel.exchange_declare(Exchange::topic("events"))?;
    /// channel.queue_declare(Queue::quorum("orders").delivery_limit(5))?;
    /// channel.queue_bind("orders", "events", "order.*")?;
    /// channel.publish("events", "order.created", Message::new("{}").persistent())?;
    /// for delivery in channel.consume("orders")? {
    ///     delivery?.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone)]
    Channel {
        /// Closes the channel, for all its handles. What was queued before goes out first; deliveries that are not
        /// settled go back; publishes whose confirms have not come are unknown, see
        /// [`wait_for_confirms`](Self::wait_for_confirms). [`ErrorKind::ChannelNotOpen`](crate::ErrorKind::ChannelNotOpen) if it was closed before.
        [wait] fn close(&self) -> Result<(), Error>;
        /// Why it is closed, if it is.
        #[must_use]
        [] fn error(&self) -> Option<Error>;
        /// Whether it takes new work.
        #[must_use]
        [] fn is_open(&self) -> bool;
        /// Puts the channel into confirm mode: from now on [`send`](Self::send) works. It cannot be left. The broker
        /// refuses it on a channel in transaction mode.
        [wait] fn confirm_select(&self) -> Result<(), Error>;
        /// Puts the channel into confirm mode without asking for the broker's answer: [`send`](Self::send) works at once. If
        /// the broker refuses it, it closes the channel.
        [] fn confirm_select_nowait(&self) -> Result<(), Error>;
        /// Waits until everything that was published on this channel, in confirm mode, has its outcome. What is published
        /// meanwhile is not waited for.
        ///
        /// [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed) says how many publishes were nacked, returned, or are
        /// unknown, and why. It counts all of which this handle has not told yet, also those whose [`Confirm`] was awaited,
        /// dropped or never asked for, and those of other handles to the channel.
        [wait] fn wait_for_confirms(&self) -> Result<(), Error>;
        /// Puts the channel into transaction mode: what is published and settled waits for
        /// [`tx_commit`](Self::tx_commit). It cannot be left. The broker refuses it on a channel in confirm mode.
        [wait] fn tx_select(&self) -> Result<(), Error>;
        /// Does what was published and settled since the last commit, and begins the next transaction. 404 if something
        /// was published to a missing exchange, 406 outside transaction mode.
        [wait] fn tx_commit(&self) -> Result<(), Error>;
        /// Forgets what was published and settled since the last commit. Deliveries are not sent again by that: see
        /// [`recover`](Self::recover). 406 outside transaction mode.
        [wait] fn tx_rollback(&self) -> Result<(), Error>;
        /// Stops or restarts the flow of deliveries on this channel, and says which it is now. RabbitMQ refuses to stop
        /// it, with 540: use prefetch.
        [wait] fn flow(&self, active: bool) -> Result<bool, Error>;

        /// Declares an exchange: makes it, or checks that it is there and the same. 406 if it is there and different,
        /// 404 if it was asked for passively and is not, 403 for names that begin with `amq.`.
        [wait] fn exchange_declare(&self, exchange: impl Into<Exchange>) -> Result<(), Error>;
        /// Deletes an exchange and its bindings. One that does not exist is no error, at RabbitMQ. 406 if it had to be
        /// unused and is not.
        [wait] fn exchange_delete(&self, exchange: impl Into<ExchangeDelete>) -> Result<(), Error>;
        /// Binds the exchange `destination` to the exchange `source`: what `source` routes by this binding goes on to
        /// `destination`. 404 if one of them is missing.
        [wait] fn exchange_bind(
            &self,
            destination: impl AsRef<str>,
            source: impl AsRef<str>,
            binding: impl Into<Binding>
        ) -> Result<(), Error>;
        /// Takes a binding between exchanges away. One that does not exist is no error, at RabbitMQ. 404 if one of the
        /// exchanges is missing.
        [wait] fn exchange_unbind(
            &self,
            destination: impl AsRef<str>,
            source: impl AsRef<str>,
            binding: impl Into<Binding>
        ) -> Result<(), Error>;
        /// Declares a queue: makes it, or checks that it is there and the same. 406 if it is there and different, 405 if
        /// it is another connection's exclusive queue, 404 if it was asked for passively and is not there, 403 for names
        /// that begin with `amq.`.
        [wait] fn queue_declare(&self, queue: impl Into<Queue>) -> Result<QueueDeclared, Error>;
        /// Binds a queue to an exchange: by a routing key, or by a [`Binding`](crate::Binding) with arguments. 404 if
        /// the queue or the exchange is missing.
        [wait] fn queue_bind(
            &self,
            queue: impl AsRef<str>,
            exchange: impl AsRef<str>,
            binding: impl Into<Binding>
        ) -> Result<(), Error>;
        /// Takes a queue's binding away. One that does not exist is no error, at RabbitMQ. 404 if the queue or the
        /// exchange is missing.
        [wait] fn queue_unbind(
            &self,
            queue: impl AsRef<str>,
            exchange: impl AsRef<str>,
            binding: impl Into<Binding>
        ) -> Result<(), Error>;
        /// Empties a queue of what is ready for delivery and says how many messages that were. 404 if it is missing.
        [wait] fn queue_purge(&self, queue: impl Into<QueuePurge>) -> Result<u32, Error>;
        /// Deletes a queue, its messages and its bindings, and says how many messages that were. One that does not exist
        /// is no error, at RabbitMQ. 406 if it had to be unused or empty and is not.
        [wait] fn queue_delete(&self, queue: impl Into<QueueDelete>) -> Result<u32, Error>;

        /// Publishes a message: when it returns, the message stands in the write buffer and leaves with what else stands
        /// there. Nothing is known then of what the broker does with it: see [`send`](Self::send), or a [`Publisher`].
        /// The empty exchange routes to the queue that the routing key names.
        ///
        /// It is neither mandatory nor persistent unless the [`Message`](crate::Message) says so. If the write buffer is
        /// full ([`Limits::publish_buffer`](crate::Limits), by default 1 MiB), because the broker does not read or has
        /// blocked publishing, it waits for room, by default for up to 30 s. A missing exchange closes the channel
        /// later.
        [wait] fn publish<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<(), Error>;
        /// Publishes a message now, or says that there is no room: [`ErrorKind::Full`](crate::ErrorKind::Full).
        [] fn try_publish<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<(), Error>;
        /// Publishes a message on a channel in confirm mode: when it returns, the message stands in the write buffer,
        /// and the [`Confirm`] will say what becomes of it. It waits for room as [`publish`](Self::publish) does.
        [wait wrap] fn send<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<Confirm, Error>;

        /// Answers what was received: publishes a message to the queue that it names in its property `reply_to`, with its
        /// `correlation_id`, if it has one. It waits for room as [`publish`](Self::publish) does;
        /// [`Delivery::reply`](crate::Delivery::reply) does not. [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it
        /// names no queue for replies.
        [wait] fn reply<'m>(&self, request: &Content, message: impl Into<Message<'m>>) -> Result<(), Error>;

        /// Starts a consumer on a queue: an iterator over deliveries. 404 if the queue is missing, 403 if it has an
        /// exclusive consumer. A tag that is in use on this channel is refused on this side, and so is a stream without
        /// acks or prefetch, where its arguments show that it is one.
        [wait wrap] fn consume(&self, consume: impl Into<Consume>) -> Result<Consumer, Error>;
        /// Starts a consumer whose deliveries are handed out as soon as their headers have come, and whose bodies are read
        /// while they come in: for messages that are too large to be held in memory. It fails as
        /// [`consume`](Self::consume) does.
        [wait wrap] fn consume_streamed(&self, consume: impl Into<Consume>) -> Result<StreamedConsumer, Error>;
        /// Cancels a consumer of this channel by its tag: [`Consumer::cancel`] does it by its handle. An unknown tag is
        /// no error, at RabbitMQ.
        [wait] fn cancel(&self, cancel: impl Into<Cancel>) -> Result<(), Error>;
        /// Gets one message from a queue; `None` if it is empty. A consumer is much faster. 404 if the queue is missing.
        [wait] fn get(&self, get: impl Into<Get>) -> Result<Option<Delivery>, Error>;
        /// Sets how many unsettled deliveries the consumers that are still to come get, or, with
        /// [`Qos::global`](crate::Qos::global), how many there may be on the channel.
        /// [`Consume::prefetch`](crate::Consume::prefetch) sets it for one consumer. RabbitMQ refuses a prefetch size
        /// with 540, which closes the connection.
        [wait] fn qos(&self, qos: impl Into<Qos>) -> Result<(), Error>;
        /// Acks by tag, and with `multiple` all deliveries up to it (tag 0: all).
        /// [`Delivery::ack`](crate::Delivery::ack) is the safe way: an unknown tag closes the channel with 406. It does
        /// not wait.
        [] fn ack(&self, delivery_tag: impl Into<Tag>, multiple: bool) -> Result<(), Error>;
        /// Refuses by tag, and with `multiple` all deliveries up to it (tag 0: all): see [`ack`](Self::ack).
        [] fn nack(&self, delivery_tag: impl Into<Tag>, multiple: bool, requeue: bool) -> Result<(), Error>;
        /// Rejects by tag: see [`ack`](Self::ack).
        [] fn reject(&self, delivery_tag: impl Into<Tag>, requeue: bool) -> Result<(), Error>;
        /// Asks for all unsettled deliveries again: they are requeued, and their tags are void. Without `requeue` they
        /// would come to the same consumers; RabbitMQ refuses that with 540.
        [wait] fn recover(&self, requeue: bool) -> Result<(), Error>;
        /// The same as [`recover`](Self::recover), without a reply. The protocol has deprecated it.
        [] fn recover_async(&self, requeue: bool) -> Result<(), Error>;
        /// The messages that were published as mandatory, taken by no queue and sent back, unless a [`Confirm`] that
        /// somebody holds gets them. While nobody reads them the latest are kept, up to
        /// [`Limits::receive_buffer`](crate::Limits) bytes on a channel; what goes is counted in
        /// [`Stats::returns_dropped`](crate::Stats).
        [wrap] fn returns(&self) -> Returns;
    }

    /// A publisher: a channel of its own in confirm mode, from [`Connection::publisher`].
    ///
    /// What it publishes is mandatory and persistent, unless the [`Message`](crate::Message) or
    /// [`mandatory`](Self::mandatory) and [`persistent`](Self::persistent) say otherwise. When the broker closes its
    /// channel, because of a publish to a missing exchange for example, the publishes under way end as
    /// [`ErrorKind::Unknown`](crate::ErrorKind::Unknown), and the next one opens a new channel.
    ///
    /// Clones publish on the same channel; it is closed when the last one is dropped. Many threads may use it at once.
    /// It keeps the connection open.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// let publisher = connection.publisher()?;
    /// publisher.publish("events", "order.created", "one")?;
    ///
    /// // Many at once: queue them all, then wait for each.
    /// let mut confirms = Vec::new();
    /// for body in ["two", "three"] {
    ///     confirms.push(publisher.send("events", "order.created", body)?);
    /// }
    /// for confirm in confirms {
    ///     confirm.wait()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone)]
    Publisher {
        /// A handle to the same channel, whose messages are mandatory or not if they do not say so themselves. Default:
        /// yes.
        #[must_use]
        [wrap] fn mandatory(self, mandatory: bool) -> Publisher;
        /// A handle to the same channel, whose messages are persistent if they have no delivery mode, or left without
        /// one. Default: yes.
        #[must_use]
        [wrap] fn persistent(self, persistent: bool) -> Publisher;
        /// Lets at most `max` publishes, and at least one, be without their outcome at a time, for all handles to this
        /// channel. While so many are, there is no room for the next: [`send`](Self::send) waits for a place, in the order
        /// of calls and with the deadline of room; [`try_send`](Self::try_send) says
        /// [`ErrorKind::Full`](crate::ErrorKind::Full). Whether anybody holds their [`Confirm`]s does not matter.
        /// Default: no limit.
        #[must_use]
        [wrap] fn window(self, max: usize) -> Publisher;
        /// Keeps what is published, until the broker has answered, and sends it again, in its order, when the connection was
        /// lost and is back: each publish has one outcome, once, within
        /// [`Config::confirm_timeout`](crate::Config::confirm_timeout) of when it was published. At most `max_bytes` are kept,
        /// and one message more; beyond that there is no room for the next. For all handles to this channel.
        ///
        /// The broker may have a message that it did not answer for, so that it comes twice: let messages be told apart, by
        /// their `message_id` for example. Nothing is sent again when the broker closes the channel, nor when the connection
        /// ends for good: that is [`ErrorKind::Unknown`](crate::ErrorKind::Unknown).
        #[must_use]
        [wrap] fn at_least_once(self, max_bytes: usize) -> Publisher;
        /// Waits until everything that was published before, by this handle or another to the same channel, has its
        /// outcome. What is published meanwhile is not waited for.
        ///
        /// [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed) says how many publishes were nacked, returned, or are
        /// unknown, and why. It counts all of which this handle has not told yet, also those whose [`Confirm`] was awaited
        /// or dropped, and those of other handles.
        [wait] fn wait_for_confirms(&self) -> Result<(), Error>;
        /// Publishes a batch and waits until the broker has taken responsibility for all of its messages. Its errors are
        /// those of [`send_batch`](Self::send_batch) and of [`BatchConfirm::wait`].
        [wait] fn publish_batch<'m>(
            &self,
            messages: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>, impl Into<Message<'m>>)>
        ) -> Result<(), Error>;
        /// Publishes a batch: messages, each with its exchange and its routing key. When it returns they stand in the
        /// write buffer, and the [`BatchConfirm`] will say what becomes of them. This costs less than as many single
        /// publishes.
        ///
        /// They are queued all at once, with nothing of the same channel between them, if there is room for all. If not, it
        /// waits for room as [`send`](Self::send) does, and queues the next as often as there is some: in their order, but
        /// others may publish between the parts.
        ///
        /// [`ErrorKind::InBatch`](crate::ErrorKind::InBatch) if a message cannot be sent, because of a name that is too
        /// long, for example: then none was queued. Once the first was, what keeps the others from being queued is told
        /// by the [`BatchConfirm`], as their failure.
        [wait wrap] fn send_batch<'m>(
            &self,
            messages: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>, impl Into<Message<'m>>)>
        ) -> Result<BatchConfirm, Error>;
        /// Publishes a message and waits until the broker has taken responsibility for it. Its errors are those of
        /// [`send`](Self::send) and of [`Confirm::wait`].
        [wait] fn publish<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<(), Error>;
        /// Answers what was received, and waits until the broker has taken responsibility for the answer: publishes a
        /// message to the queue that it names in its property `reply_to`, with its `correlation_id`, if it has one.
        /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it names no such queue,
        /// [`ErrorKind::NoRoute`](crate::ErrorKind::NoRoute) if that queue is gone.
        /// [`Delivery::reply`](crate::Delivery::reply) waits for nothing.
        [wait] fn reply<'m>(&self, request: &Content, message: impl Into<Message<'m>>) -> Result<(), Error>;
        /// Publishes a message: when it returns, the message stands in the write buffer, and the [`Confirm`] will say
        /// what becomes of it. It waits for room as [`Channel::publish`] does.
        [wait wrap] fn send<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<Confirm, Error>;
        /// Publishes a message now, or says that there is no room: [`ErrorKind::Full`](crate::ErrorKind::Full).
        [wrap] fn try_send<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<Confirm, Error>;
    }

    /// Writes the body of one message in parts, from [`Connection::publish_streamed`]. It is a [`Write`](std::io::Write)
    /// as well: a file is [copied](std::io::copy) into it.
    ///
    /// What waits of it in memory is bounded by the write buffer ([`Limits::publish_buffer`](crate::Limits), by default
    /// 1 MiB); [`write`](Self::write) waits for room. Messages of other channels go in between.
    ///
    /// The message is published by [`finish`](Self::finish), or not at all. AMQP announces the size of a body before its
    /// first byte and cannot break a body off: if the writer is dropped before that, zeros take the place of what is
    /// missing, and the broker throws all of it away. They take their time on the socket, and no memory. Closing the
    /// connection does not wait for them.
    ///
    /// It keeps the connection open.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// use amqp_blocking::Message;
    ///
    /// let mut file = std::fs::File::open("film.mkv")?;
    /// let message = Message::new("").content_type("video/x-matroska");
    /// let mut writer = connection.publish_streamed("", "films", message, file.metadata()?.len())?;
    /// std::io::copy(&mut file, &mut writer)?;
    /// writer.finish()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a message is only published when its writer has finished"]
    BodyWriter {
        /// Writes the next part: when it returns, the part stands in the write buffer, or has left. It waits for room,
        /// by default for up to 30 s each time that some of the part has been taken; a time-out can be tried again with
        /// the rest of the part.
        ///
        /// A part is anything that is a [`Buf`]: `&[u8]`, or `Bytes`, whose pieces of 4 KiB and more are not copied. If
        /// it fails, a part that was given as `&mut` of a [`Buf`] has been advanced by what was taken.
        /// [`ErrorKind::BodySize`](crate::ErrorKind::BodySize) if the part is longer than what is
        /// [missing](Self::missing): nothing of it was taken, and the writer can be used on.
        [wait] fn write(&mut self, part: impl Buf) -> Result<(), Error>;
        /// Publishes the message and waits until the broker has taken responsibility for it, by default for up to 60 s.
        ///
        /// The broker looks at a message when it has all of it. So it is now that it says that the exchange is missing
        /// (404), that it takes no message that large (406: `max_message_size`, by default 16 MiB on RabbitMQ 4 and 128
        /// MiB on 3), or that a queue has refused it (406, partial tx completion).
        ///
        /// [`ErrorKind::BodySize`](crate::ErrorKind::BodySize) if some of the body is [missing](Self::missing);
        /// [`ErrorKind::NoRoute`](crate::ErrorKind::NoRoute) if it was mandatory and no queue took it, without its body;
        /// [`ErrorKind::Unknown`](crate::ErrorKind::Unknown), with the cause, if the connection went or the deadline
        /// passed before the broker answered.
        [wait] fn finish(self) -> Result<(), Error>;
        /// The size of the whole body in bytes, as it was announced.
        #[must_use]
        [] fn size(&self) -> u64;
        /// How many bytes are to be written yet.
        #[must_use]
        [] fn missing(&self) -> u64;
    }

    /// A publish that has been queued and whose outcome is still to come.
    ///
    /// | [`outcome`](Self::outcome) | [`wait`](Self::wait) | meaning |
    /// |---|---|---|
    /// | [`Outcome::Acked`] | `Ok(())` | the broker has taken responsibility |
    /// | [`Outcome::Nacked`] | [`ErrorKind::Nacked`](crate::ErrorKind::Nacked) | the broker has refused responsibility |
    /// | [`Outcome::Returned`] | [`ErrorKind::NoRoute`](crate::ErrorKind::NoRoute), with the message | it was mandatory and no queue took it |
    /// | [`Outcome::Unknown`] | [`ErrorKind::Unknown`](crate::ErrorKind::Unknown), with the cause | the channel or the connection went, or the deadline passed, first |
    ///
    /// The deadline is [`Timeouts::confirm`](crate::Timeouts), by default 60 s.
    ///
    /// It may be read late, in any order, or not at all; that costs nothing and holds nothing up. It does not keep the
    /// connection open.
    ///
    /// ```no_run
    /// # fn example(publisher: amqp_blocking::Publisher) -> Result<(), amqp_blocking::Error> {
    /// let confirm = publisher.send("events", "order.created", "hello")?;
    /// // Something else meanwhile.
    /// confirm.wait()
    /// # }
    /// ```
    #[must_use = "whether the broker took the message is only known from the outcome"]
    Confirm {
        /// Waits for the outcome.
        [wait] fn outcome(self) -> Outcome;
        /// Waits until the broker has taken responsibility. Any other outcome is an error: see [`Confirm`].
        [wait] fn wait(self) -> Result<(), Error>;
    }

    /// The confirm of a batch, from [`Publisher::send_batch`]: one for all of its messages. It has the deadline of a
    /// [`Confirm`], and like that it may be read late, or not at all.
    ///
    /// ```no_run
    /// # fn example(publisher: amqp_blocking::Publisher) -> Result<(), amqp_blocking::Error> {
    /// let orders = ["one", "two", "three"];
    /// let confirm = publisher.send_batch(orders.map(|order| ("events", "order.created", order)))?;
    /// // Something else meanwhile.
    /// for failure in confirm.outcome().failures {
    ///     eprintln!("{}: {}", orders[failure.index], failure.error);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "whether the broker took the messages is only known from the outcome"]
    BatchConfirm {
        /// Waits until the outcome of all messages is known.
        [wait] fn outcome(self) -> BatchOutcome;
        /// Waits until the broker has taken responsibility for all messages;
        /// [`ErrorKind::Batch`](crate::ErrorKind::Batch) names those of which that is not so.
        [wait] fn wait(self) -> Result<(), Error>;
    }

    /// A consumer: an iterator over deliveries, from [`Channel::consume`].
    ///
    /// It gives an error and goes on when one delivery cannot be read
    /// ([`ErrorKind::BadDelivery`](crate::ErrorKind::BadDelivery): its tag is to be rejected by [`Channel::reject`]), and gives an error as its last
    /// item when the broker has cancelled it, or the channel or the connection has failed. It ends without an error when
    /// this side has cancelled it or closed the channel. [`next`](Iterator::next) has no deadline;
    /// [`recv_timeout`](Self::recv_timeout) has one.
    ///
    /// It keeps its channel, and by that the connection, open. Dropping it cancels it, and what it had received and not
    /// given out goes back to the queue.
    ///
    /// ```no_run
    /// # fn example(channel: amqp_blocking::Channel) -> Result<(), amqp_blocking::Error> {
    /// for delivery in channel.consume("orders")? {
    ///     let delivery = delivery?;
    ///     println!("{:?}", delivery.body());
    ///     delivery.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a consumer that is dropped is cancelled"]
    Consumer {
        /// Its tag, unique on its channel. [`set_prefetch`](Self::set_prefetch) changes it.
        #[must_use]
        [] fn tag(&self) -> &str;
        /// The next delivery, as [`next`](Iterator::next), if it comes in time. Nothing is lost by a time-out.
        ///
        /// ```no_run
        /// # fn example(mut consumer: amqp_blocking::Consumer) -> Result<(), amqp_blocking::Error> {
        /// use std::time::Duration;
        ///
        /// use amqp_blocking::Elapsed;
        ///
        /// loop {
        ///     match consumer.recv_timeout(Duration::from_secs(1)) {
        ///         Ok(Some(delivery)) => delivery?.ack()?,
        ///         Ok(None) => break, // it was cancelled
        ///         Err(Elapsed) => println!("nothing to do"),
        ///     }
        /// }
        /// # Ok(())
        /// # }
        /// ```
        [wait] fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Result<Delivery, Error>>, Elapsed>;
        /// The next deliveries together: at most `max`, and those that have come when `timeout` has passed since there
        /// was the first. For that one it waits without a deadline; `None` when there will be none.
        ///
        /// It does not wait for more than can come: the prefetch bounds a batch too, so choose it for as many batches as
        /// are to be under way. Without acks a batch is complete when [`Limits::receive_buffer`](crate::Limits) is full.
        /// What came before an error is given out before it.
        ///
        /// ```no_run
        /// # fn example(mut consumer: amqp_blocking::Consumer) -> Result<(), amqp_blocking::Error> {
        /// use std::time::Duration;
        ///
        /// while let Some(batch) = consumer.next_batch(100, Duration::from_millis(50)) {
        ///     let batch = batch?;
        ///     for delivery in &batch {
        ///         println!("{:?}", delivery.body());
        ///     }
        ///     batch.ack()?;
        /// }
        /// # Ok(())
        /// # }
        /// ```
        [wait] fn next_batch(&mut self, max: usize, timeout: Duration) -> Option<Result<Batch, Error>>;
        /// Changes how many deliveries the broker sends ahead of their acks, 0 for any number. Nothing is lost or comes
        /// twice: what is unsettled, and what was received and not read, stays, and the order too.
        ///
        /// The protocol cannot change the prefetch of a running consumer (by [`Qos::global`](crate::Qos::global) that of
        /// a channel, which RabbitMQ has deprecated). So it consumes anew with the same options. Therefore:
        ///
        /// - Its [`tag`](Self::tag) changes. Deliveries name the tag by which they came; [`Channel::cancel`] knows its first one
        ///   too.
        /// - What is unsettled already does not count against the new prefetch.
        /// - What is under way from a quorum queue meanwhile may come later, and marked as redelivered.
        /// - Another consumer may get the place of the active one at a queue with a single active consumer.
        /// - An exclusive consumer is cancelled first, and its queue goes if it is auto-deleted.
        ///
        /// It is an error if the consumer was started without acks, or without its queue's name, or has been cancelled.
        [wait] fn set_prefetch(&mut self, prefetch: u16) -> Result<(), Error>;
        /// The next delivery, if there is one now; `None` too when there will be none.
        [] fn try_next(&mut self) -> Option<Result<Delivery, Error>>;
        /// Cancels it: the broker delivers nothing more, and the iterator ends after what has been received. One that
        /// has ended already is cancelled.
        [wait] fn cancel(&self) -> Result<(), Error>;
        /// Cancels it and wants no answer: the iterator ends at once, after what has been received. What is still on its
        /// way is put back, or, without acks, lost.
        [] fn cancel_nowait(&self) -> Result<(), Error>;
    }

    /// A consumer of large messages: an iterator over [`StreamedDelivery`], from [`Channel::consume_streamed`].
    ///
    /// What has come of bodies and was not read is bounded by [`Limits::receive_buffer`](crate::Limits), by default 4 MiB:
    /// beyond that, reading from the socket pauses. Heartbeats go on, but everything else that comes on the connection
    /// waits as well, replies to calls included; so use a connection of its own, and read or drop each delivery before
    /// waiting for anything else. [`Limits::max_body`](crate::Limits) does not hold for these bodies. The broker sends the
    /// bodies of a channel one after the other: the next delivery comes when the body of the one before it has come, and
    /// may be read while that one is still being dealt with.
    ///
    /// It gives errors and ends as [`Consumer`] does. It keeps its channel, and by that the connection, open. Dropping it
    /// cancels it, and what it had received and not given out goes back to the queue.
    ///
    /// ```no_run
    /// # fn example(channel: amqp_blocking::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// use amqp_blocking::Consume;
    ///
    /// for film in channel.consume_streamed(Consume::new("films").prefetch(2))? {
    ///     let mut film = film?;
    ///     let mut file = std::fs::File::create(film.routing_key())?;
    ///     std::io::copy(&mut film, &mut file)?;
    ///     film.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "a consumer that is dropped is cancelled"]
    StreamedConsumer {
        /// Its tag, unique on its channel.
        #[must_use]
        [] fn tag(&self) -> &str;
        /// Cancels it: the broker delivers nothing more. What has come in full is still given out; a delivery that is
        /// coming in goes back to the queue, unless it was given out. The answer comes behind a body that is being read,
        /// so read that or drop it before. One that has ended already is cancelled.
        [wait] fn cancel(&self) -> Result<(), Error>;
        /// Cancels it and wants no answer: the iterator ends at once, after what has been received, and bodies that have been
        /// given out are read on. What is still on its way is put back, or, without acks, lost.
        [] fn cancel_nowait(&self) -> Result<(), Error>;
        /// Changes how many deliveries the broker sends ahead of their acks, as [`Consumer::set_prefetch`] does. The answer
        /// comes behind the bodies that have been sent before: as long as these are not read, and are more than
        /// [`Limits::receive_buffer`](crate::Limits), it does not come.
        [wait] fn set_prefetch(&mut self, prefetch: u16) -> Result<(), Error>;
    }

    /// A message whose body is read while it comes in, from a [`StreamedConsumer`]: by [`chunk`](Self::chunk), or as from
    /// any [`Read`](std::io::Read).
    ///
    /// If the channel or the connection ends before all of it has come, the cause comes as an error: a body that ends
    /// without one is whole.
    ///
    /// It is settled as a [`Delivery`] is, and best after the last chunk: it goes back to its queue if it is dropped
    /// unsettled, and the rest of its body is thrown away as it comes. Settling it before that is allowed.
    ///
    /// It does not keep the connection open.
    StreamedDelivery {
        /// The next bytes of its body, at least one, when they have come; `None` at its end. It has no deadline: the
        /// connection's heartbeats tell whether the broker lives.
        [wait] fn chunk(&mut self) -> Option<Result<Bytes, Error>>;
        /// Reads the next bytes of its body into `buffer`, as many as there are and fit, and says how many; 0 at its end.
        [wait] fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;
        /// The size of its body in bytes, as its header announced it.
        #[must_use]
        [] fn body_size(&self) -> u64;
        /// How many bytes of its body were not read.
        #[must_use]
        [] fn unread(&self) -> u64;
        /// Answers it, as [`Delivery::reply`] does: publishes a message to the queue that it names in its property `reply_to`,
        /// with its `correlation_id`, if it has one. Nothing waits, its own body neither.
        [] fn reply<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), Error>;
        /// The broker may forget it: it has been dealt with. What was not read of its body is thrown away.
        [] fn ack(self) -> Result<(), Error>;
        /// Acks this and all earlier deliveries of its channel that are not settled, those of other consumers included; what
        /// these still bring can be read. What was not read of its own body is thrown away.
        [] fn ack_multiple(self) -> Result<(), Error>;
        /// Refuses it. `requeue` puts it back, near its old place; otherwise it is dead-lettered or dropped. What was not
        /// read of its body is thrown away.
        [] fn nack(self, requeue: bool) -> Result<(), Error>;
        /// Refuses this and all earlier deliveries of its channel that are not settled, those of other consumers included.
        /// What was not read of its own body is thrown away.
        [] fn nack_multiple(self, requeue: bool) -> Result<(), Error>;
        /// Refuses it by `basic.reject`, which every AMQP 0-9-1 broker has; the same as [`nack`](Self::nack) otherwise.
        [] fn reject(self, requeue: bool) -> Result<(), Error>;
        /// Its tag: a number on its channel.
        #[must_use]
        [] fn delivery_tag(&self) -> DeliveryTag;
        /// The tag of the consumer it came to.
        #[must_use]
        [] fn consumer_tag(&self) -> &str;
        /// The exchange it was published to; empty for the default one.
        #[must_use]
        [] fn exchange(&self) -> &str;
        /// The routing key it was published with.
        #[must_use]
        [] fn routing_key(&self) -> &str;
        /// Whether it may have been delivered before.
        #[must_use]
        [] fn redelivered(&self) -> bool;
        /// Its properties, decoded now. If they are malformed it can still be settled.
        [] fn properties(&self) -> Result<PropertiesRef<'_>, Error>;
    }

    /// The body of a [`StreamedDelivery`], by itself: an iterator over its chunks, and a [`Read`](std::io::Read). Dropped,
    /// the rest is thrown away as it comes.
    #[must_use = "the rest of a body is thrown away when its stream is dropped"]
    BodyStream {
        /// See [`StreamedDelivery::chunk`].
        [wait] fn chunk(&mut self) -> Option<Result<Bytes, Error>>;
        /// See [`StreamedDelivery::read`].
        [wait] fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;
        /// The size of the body in bytes, as the header announced it.
        #[must_use]
        [] fn size(&self) -> u64;
        /// How many bytes were not read.
        #[must_use]
        [] fn unread(&self) -> u64;
    }

    /// A consumer whose deliveries go to a handler, from [`Channel::consume_with`].
    ///
    /// It ends by [`stop`](Self::stop), and when the broker cancels it, or its channel or connection ends:
    /// [`finished`](Self::finished) says why. Dropping it stops it too: it takes no more deliveries, and the handlers that
    /// are running finish, with nobody to wait for them.
    ///
    /// It keeps its channel, and by that the connection, open; so do handlers that are running.
    #[must_use = "a subscription that is dropped is stopped"]
    Subscription {
        /// Ends it in order: no more deliveries are handled, what was received and not handled goes back to the queue,
        /// and the handlers that are running finish. For that they have [`Handling::stop_timeout`](crate::Handling),
        /// by default 30 s; then they are left to themselves, what they had goes back to the queue, and it is an
        /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). It may be called again, and after the end.
        [wait] fn stop(&self) -> Result<(), Error>;
        /// Waits until it has ended and no handler is running any more: `Ok` if this side has stopped it, or has closed
        /// its channel; else why it ended, [`ErrorKind::ConsumerCancelled`](crate::ErrorKind::ConsumerCancelled) if the
        /// broker has cancelled it.
        [wait] fn finished(&self) -> Result<(), Error>;
        /// What became of its deliveries so far.
        #[must_use]
        [] fn handled(&self) -> Handled;
        /// Its consumer's tag, unique on its channel.
        #[must_use]
        [] fn tag(&self) -> &str;
    }

    /// A pool of connections to one broker: each is given to one user at a time and comes back when that drops it.
    ///
    /// Connections are made when they are needed and kept then. One that has broken, while it was out or while it lay in the
    /// pool, is replaced by the next checkout that would get it: the pool never shrinks. Whoever waits for a connection is
    /// served in the order of asking.
    ///
    /// Clones are handles to the same pool. When the last one is dropped, the connections in it are closed; those that are
    /// out are closed when they come back.
    ///
    /// ```no_run
    /// # fn example(pool: amqp_blocking::Pool) -> Result<(), amqp_blocking::Error> {
    /// let connection = pool.get()?;
    /// let publisher = connection.publisher()?;
    /// publisher.publish("events", "order.created", "hello")?;
    /// drop(connection); // it is free for others
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone)]
    Pool {
        /// A handle to the same pool, whose checkouts take at most this time: waiting for a connection to become free, and,
        /// if none is open, making one. Default: 30 s.
        #[must_use]
        [wrap] fn checkout_timeout(self, time: Duration) -> Pool;
        /// Checks a connection out; it comes back when it is dropped. If all are out it waits for its turn.
        /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if that takes longer than the
        /// [time-out](Self::checkout_timeout); why no connection could be made, as with [`connect`](crate::connect);
        /// [`ErrorKind::PoolClosed`](crate::ErrorKind::PoolClosed).
        [wait wrap] fn get(&self) -> Result<Pooled, Error>;
        /// The same with a time-out of its own.
        [wait wrap] fn get_timeout(&self, time: Duration) -> Result<Pooled, Error>;
        /// Checks a connection out if one is free: it does not wait for its turn. If none is open it makes one, within the
        /// [time-out](Self::checkout_timeout). [`ErrorKind::PoolExhausted`](crate::ErrorKind::PoolExhausted) if all are out.
        [wait wrap] fn try_get(&self) -> Result<Pooled, Error>;
        /// How many connections there may be.
        #[must_use]
        [] fn size(&self) -> usize;
        /// How many can be checked out now, be they connected already or not.
        #[must_use]
        [] fn available(&self) -> usize;
        /// How many wait for a connection to become free.
        #[must_use]
        [] fn waiting(&self) -> usize;
        /// Closes the pool, for all its handles: those who wait for a connection get an error, and the connections that are
        /// in the pool are closed. Those that are out stay as they are until they come back. The error is the first of a
        /// connection that could not be closed in order; all are closed nevertheless.
        [wait] fn close(&self) -> Result<(), Error>;
    }

    /// Pools by name, for different uses of one application: `publish` and `listen`, for example, because a broker in alarm
    /// stops reading from connections that publish.
    ///
    /// It comes out of [`PoolsSetup::start`]. Clones are handles to the same pools.
    ///
    /// ```no_run
    /// # fn example(pools: amqp_blocking::Pools) -> Result<(), amqp_blocking::Error> {
    /// let connection = pools.get("publish")?.get()?;
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone)]
    Pools {
        /// The pool of this name: the same one each time. [`ErrorKind::UnknownPool`](crate::ErrorKind::UnknownPool) if none
        /// of this name is configured.
        [wrap] fn get(&self, name: impl AsRef<str>) -> Result<Pool, Error>;
        /// The names of the pools, in alphabetical order.
        #[must_use]
        [] fn names(&self) -> Vec<String>;
        /// Closes all pools: see [`Pool::close`].
        [wait] fn close(&self) -> Result<(), Error>;
    }

    /// Pools that are not in use yet. What has to be there before they are, exchanges, queues and bindings, is made by the
    /// hooks of [`on_start`](Self::on_start): nobody can check a connection out before they have finished.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use amqp_blocking::{Connection, Exchange, PoolsConfig};
    ///
    /// let config = PoolsConfig::default().pool("publish", "amqp://localhost", 5)?.pool("listen", "amqp://localhost", 2)?;
    /// let pools = amqp_blocking::pools(config)?
    ///     .on_start("publish", |connection: Connection| {
    ///         let channel = connection.channel()?;
    ///         channel.exchange_declare(Exchange::topic("events"))?;
    ///         channel.queue_declare("orders")?;
    ///         channel.queue_bind("orders", "events", "order.*")
    ///     })
    ///     .start()?;
    /// let connection = pools.get("publish")?.get()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "there are no pools before it is started"]
    PoolsSetup {
        /// Runs the hooks and gives the pools. Without hooks it connects to nothing. Its errors are that of the first hook
        /// that fails, and those of checking out its connection.
        [wait wrap] fn start(self) -> Result<Pools, Error>;
    }

    /// A queue that is listened to with a connection of a [`Pool`], from [`Pool::listen`].
    ///
    /// It goes on until it is stopped: when its consumer, its channel or its connection ends, it starts again with whatever
    /// is missing, after a pause that grows from 0.1 s to 10 s. [`last_error`](Self::last_error) says why it had to.
    ///
    /// Dropping it stops it too: it takes no more deliveries, and the handlers that are running finish, with nobody to wait
    /// for them.
    #[must_use = "a listener that is dropped is stopped"]
    Listener {
        /// Stops it in order, and waits for that: no more deliveries are handled, what was received and not handled goes
        /// back to the queue, and the handlers that are running finish. For that they have
        /// [`Handling::stop_timeout`](crate::Handling), by default 30 s; then they are left to themselves, what they had
        /// goes back to the queue, and it is an [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). The connection goes back
        /// to its pool.
        ///
        /// It may be called again, and after the end. In a handler it would wait for itself: see
        /// [`request_stop`](Self::request_stop).
        [wait] fn stop(&self) -> Result<(), Error>;
        /// Stops it, and does not wait for that. No handler begins any more: called in the only handler at work, its delivery
        /// is the last.
        [] fn request_stop(&self) -> ();
        /// Waits until it has stopped. Its error is that of [`stop`](Self::stop).
        [wait] fn finished(&self) -> Result<(), Error>;
        /// What became of its deliveries so far.
        #[must_use]
        [] fn handled(&self) -> Handled;
        /// Whether it has a consumer at the broker now: if not, it is about to start again, or it has stopped.
        #[must_use]
        [] fn is_listening(&self) -> bool;
        /// Why it had to start again, or could not, the last time.
        #[must_use]
        [] fn last_error(&self) -> Option<Error>;
    }

    /// Calls somebody over the broker, from [`Connection::rpc_client`]: publishes requests, and awaits their replies.
    ///
    /// Replies come over [direct reply-to](https://www.rabbitmq.com/docs/direct-reply-to), without a queue of their own. Any
    /// number of calls may be under way at a time. Clones share one channel; when the broker closes it, the calls under way
    /// end with that error, and the next one opens another. It keeps the connection open.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) -> Result<(), amqp_blocking::Error> {
    /// let client = connection.rpc_client()?;
    /// let reply = client.call("", "sums", "1 + 1")?;
    /// assert_eq!(reply.body(), "2");
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone)]
    RpcClient {
        /// A handle to the same client, whose calls take at most this time. Default: 30 s.
        #[must_use]
        [wrap] fn call_timeout(self, time: Duration) -> RpcClient;
        /// Calls: publishes a request, and waits for its reply. The reply is told from others by the request's correlation
        /// id, which is set here.
        ///
        /// The request has to find a queue: if it does not, that is known at once, as
        /// [`ErrorKind::NoRoute`](crate::ErrorKind::NoRoute). It expires there when the time is over, unless it has an
        /// expiration already, so that nobody works for a caller who has gone. A reply that comes later is
        /// [discarded](Self::discarded).
        ///
        /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the reply does not come in [time](Self::call_timeout);
        /// [`ErrorKind::Unknown`](crate::ErrorKind::Unknown) with the cause, or the cause itself, if the channel or the
        /// connection ended before the reply.
        [wait] fn call<'m>(
            &self,
            exchange: impl AsRef<str>,
            routing_key: impl AsRef<str>,
            message: impl Into<Message<'m>>
        ) -> Result<Content, Error>;
        /// How many replies have come that nobody waited for: too late, or twice.
        #[must_use]
        [] fn discarded(&self) -> u64;
    }

    /// Messages that no queue took: an iterator, from [`Channel::returns`]. It ends with the channel:
    /// [`Channel::error`] says why.
    ///
    /// A channel may have several; each message goes to one of them. It keeps the channel open.
    ///
    /// ```no_run
    /// # fn example(channel: amqp_blocking::Channel) -> Result<(), amqp_blocking::Error> {
    /// let returns = channel.returns();
    /// std::thread::spawn(move || {
    ///     for message in returns {
    ///         eprintln!("nobody wanted {message:?}");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "messages that come back are only seen if they are asked for"]
    Returns {
        /// The next message that comes back, as [`next`](Iterator::next), if it does so in time. Nothing is lost by a
        /// time-out.
        [wait] fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Returned>, Elapsed>;
        /// The next message that came back, if there is one now.
        [] fn try_next(&mut self) -> Option<Returned>;
    }

    /// The events of a connection: an iterator, from [`Connection::events`]. It ends after
    /// [`ConnectionEvent::Closed`](crate::ConnectionEvent::Closed).
    ///
    /// Up to 256 events wait to be taken; then the oldest go, and
    /// [`ConnectionEvent::Missed`](crate::ConnectionEvent::Missed) counts them. It does not keep the connection open.
    ///
    /// ```no_run
    /// # fn example(connection: amqp_blocking::Connection) {
    /// let events = connection.events();
    /// std::thread::spawn(move || {
    ///     for event in events {
    ///         println!("{event:?}");
    ///     }
    /// });
    /// # }
    /// ```
    #[must_use = "events are only seen if they are asked for"]
    Events {
        /// The next event, as [`next`](Iterator::next), if it comes in time. Nothing is lost by a time-out:
        /// [`Elapsed`](crate::Elapsed).
        [wait] fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<ConnectionEvent>, Elapsed>;
        /// The next event, if there is one now.
        [] fn try_next(&mut self) -> Option<ConnectionEvent>;
    }
}
