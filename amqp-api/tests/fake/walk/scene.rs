//! A connection with one of everything, on which a method is walked, and the look at it afterwards.

use std::cell::RefCell;
use std::mem::take;
use std::rc::Rc;

use amqp_api::proto::method::connection;
use amqp_api::proto::wire::ShortStr;
use amqp_api::{
    BatchConfirm, BodyWriter, Channel, Config, Connection, Consumer, Content, Error, Events, Message, Outcome,
    Publisher, Returns, RpcClient, StreamedConsumer,
};

use super::Ends;
use crate::peer::Peer;
use crate::tools::both;
use crate::wire::{Manners, WireHandle};
use crate::world::World;

/// One of everything.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) wire: WireHandle,
    pub(super) connection: Connection,
    pub(super) events: Events,
    /// In neither mode.
    pub(super) channel: Channel,
    /// Of `channel`.
    pub(super) returns: Returns,
    /// In confirm mode.
    pub(super) confirming: Channel,
    /// In transaction mode.
    pub(super) transactional: Channel,
    pub(super) publisher: Publisher,
    pub(super) consumer: Consumer,
    /// A message that can be answered.
    pub(super) request: Content,
    /// It has a consumer as well.
    pub(super) rpc: RpcClient,
    channels: usize,
    consumers: usize,
    told: Rc<RefCell<Told>>,
}

/// What was sent to the client, and has to arrive.
#[derive(Default)]
struct Told {
    /// To the consumer, by body.
    delivered: Vec<String>,
    /// To the channel, by routing key.
    returned: Vec<String>,
}

/// What brings about the end of a future that borrows the scene.
pub(super) struct Hands {
    pub(super) world: World,
    pub(super) wire: WireHandle,
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    consumer_tag: String,
    told: Rc<RefCell<Told>>,
}

impl Hands {
    /// The consumer gets a message.
    pub(super) fn deliver(&self, body: &str) {
        self.told.borrow_mut().delivered.push(body.to_owned());
        self.wire.lock().peer.deliver_to(&self.consumer_tag, body.as_bytes());
    }

    /// The broker is in alarm, and at once no more.
    pub(super) fn alarm(&self) {
        let reason = ShortStr::new("low on memory").unwrap();
        self.wire.lock().peer.say(0, &connection::Blocked { reason });
        self.wire.lock().peer.say(0, &connection::Unblocked {});
    }

    /// A message comes back on the channel.
    pub(super) fn bring_back(&self, routing_key: &str) {
        self.told.borrow_mut().returned.push(routing_key.to_owned());
        let message = Message::new("back").mandatory(true);
        self.channel.try_publish("nowhere", routing_key, message).unwrap();
    }
}

impl Scene {
    pub(super) fn new(seed: u64) -> Self {
        let world = World::new(seed);
        let (connection, wire) = world.connect_to(Peer::default(), Manners::Good, Config::default());
        let open = || world.block_on(connection.channel()).unwrap();
        let (channel, confirming, transactional) = (open(), open(), open());
        world.block_on(confirming.confirm_select()).unwrap();
        world.block_on(transactional.tx_select()).unwrap();
        let publisher = world.block_on(connection.publisher()).unwrap();
        let consumer = world.block_on(open().consume("q")).unwrap();
        let returns = channel.returns();
        let (request, acker) = world.block_on(channel.get("q")).unwrap().unwrap().into_parts();
        acker.ack().unwrap();
        let rpc = world.block_on(connection.rpc_client()).unwrap();
        world.settle();
        let channels = wire.lock().peer.channels.len();
        let consumers = wire.lock().peer.consumers.len();
        let told = Rc::default();
        Self {
            world,
            wire,
            events: connection.events(),
            connection,
            channel,
            returns,
            confirming,
            transactional,
            publisher,
            consumer,
            request,
            rpc,
            channels,
            consumers,
            told,
        }
    }

    pub(super) fn hands(&self) -> Hands {
        Hands {
            world: self.world.clone(),
            wire: self.wire.clone(),
            connection: self.connection.clone(),
            channel: self.channel.clone(),
            consumer_tag: self.consumer.tag().to_owned(),
            told: Rc::clone(&self.told),
        }
    }

    /// Publishes what nobody asks for.
    pub(super) fn send_unread(&self) {
        drop(self.publisher.try_send("", "q", "unread").unwrap());
        self.confirming.try_publish("", "q", "unread").unwrap();
    }

    /// Publishes a batch and waits for its confirm in this way.
    pub(super) async fn send_batch<F: Future>(&self, wait: impl FnOnce(BatchConfirm) -> F) -> F::Output {
        wait(self.publisher.send_batch([("", "q", "one"), ("", "q", "two")]).await.unwrap()).await
    }

    /// Writes so much of a body in parts.
    pub(super) async fn write_body(&self, bytes: u64) -> Result<BodyWriter, Error> {
        let mut writer = self.connection.publish_streamed("", "q", "", 40_000).await?;
        writer.write(&vec![7; usize::try_from(bytes).unwrap()][..]).await?;
        Ok(writer)
    }

    /// A consumer that has a large delivery on its way.
    pub(super) async fn consume_streamed(&self) -> StreamedConsumer {
        let consumer = self.channel.consume_streamed("q").await.unwrap();
        self.wire.lock().peer.deliver_to(consumer.tag(), &[7; 40_000]);
        consumer
    }

    /// Publishes until there is no room. The peer does not read until it is told to.
    pub(super) fn fill(&self) {
        self.wire.lock().reading = false;
        self.world.settle();
        let body = vec![0; 100_000];
        while self.channel.try_publish("", "filler", &body).is_ok() {
            self.world.settle();
        }
    }

    /// Everything works, and nothing is left of what was dropped.
    pub(super) fn check(mut self, ended: Ends, is_done: bool, context: &str) {
        self.wire.lock().reading = true;
        let world = self.world.clone();
        if ended == Ends::Connection {
            assert!(world.block_on(self.connection.close()).is_ok(), "{context}");
            world.settle();
            assert_eq!(world.task_count(), 0, "{context}");
            return;
        }
        if ended == Ends::Channel {
            // Ended or not: the next one is another.
            self.channel = world.block_on(self.connection.channel()).unwrap();
            self.returns = self.channel.returns();
        }
        if is_done {
            // What it was told it has given.
            take(&mut *self.told.borrow_mut());
        }
        world.block_on(self.check_calls(context));
        world.block_on(self.check_confirms(context));
        world.block_on(self.check_rpc(context));
        if ended != Ends::Consumer {
            self.hands().deliver("last");
            world.block_on(self.check_deliveries(context));
        }
        self.hands().bring_back("last");
        world.block_on(self.check_returns(context));

        world.settle();
        let wire = self.wire.lock();
        assert_eq!(wire.peer.channels.len(), self.channels, "channels, {context}");
        let consumers = self.consumers - usize::from(ended == Ends::Consumer);
        assert_eq!(wire.peer.consumers.len(), consumers, "consumers, {context}");
        assert_eq!(wire.peer.settled.len(), wire.peer.given, "messages that were put back, {context}");
    }

    /// Each reply goes where it belongs.
    async fn check_calls(&self, context: &str) {
        let channel = &self.channel;
        let (one, two) = (channel.queue_declare("q101"), channel.queue_declare("q102"));
        let (purged, deleted) = (channel.queue_purge("q103"), channel.queue_delete("q104"));
        let flow = channel.flow(true);
        let (got, opened) = (channel.get("q105"), self.connection.channel());
        let (two, one) = both(two, one).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.name.as_str(), one.message_count), ("q101", 101), "{context}");
        assert_eq!((two.name.as_str(), two.message_count), ("q102", 102), "{context}");
        let (deleted, purged) = both(deleted, purged).await;
        assert_eq!((purged.unwrap(), deleted.unwrap()), (103, 104), "{context}");
        assert!(flow.await.unwrap(), "{context}");
        assert!(got.await.unwrap().is_some(), "{context}");
        let opened = opened.await.unwrap();
        assert_eq!(opened.queue_declare("q106").await.unwrap().name, "q106", "{context}");
        assert!(self.transactional.tx_commit().await.is_ok(), "{context}");
        assert_eq!(self.transactional.queue_declare("q107").await.unwrap().name, "q107", "{context}");
    }

    /// Each confirm goes to its publish.
    async fn check_confirms(&self, context: &str) {
        let routed = self.confirming.send("", "q", "routed").await.unwrap();
        let returned = self.confirming.send("nowhere", "q", Message::new("lost").mandatory(true)).await.unwrap();
        let (returned, routed) = both(returned.outcome(), routed.outcome()).await;
        assert!(matches!(routed, Outcome::Acked), "{routed:?}, {context}");
        assert!(matches!(&returned, Outcome::Returned(message) if message.body() == "lost"), "{returned:?}, {context}");
        assert!(self.publisher.publish("", "q", "published").await.is_ok(), "{context}");
    }

    /// Each remote call gets its own reply.
    async fn check_rpc(&self, context: &str) {
        let (one, two) = both(self.rpc.call("", "q", "one"), self.rpc.call("", "q", "two")).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.body() == "one" && two.body() == "two", "{one:?}, {two:?}, {context}");
    }

    /// No message is lost: what the dropped future did not give comes now.
    async fn check_deliveries(&mut self, context: &str) {
        let delivered = take(&mut self.told.borrow_mut().delivered);
        for expected in delivered {
            let delivery = self.consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.body(), expected.as_str(), "{context}");
        }
    }

    async fn check_returns(&mut self, context: &str) {
        let returned = take(&mut self.told.borrow_mut().returned);
        for expected in returned {
            assert_eq!(self.returns.next().await.unwrap().routing_key(), expected, "{context}");
        }
    }
}
