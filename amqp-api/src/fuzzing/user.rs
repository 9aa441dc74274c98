//! The user of the fuzzed driver: what he holds, and what he may do with it.

use std::cell::RefCell;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use amqp_proto::config::Config;
use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::fuzzing::Input;

use super::A_WHILE;
use super::executor::Flag;
use crate::driver::{Runtime, connect};
use crate::{
    BodyWriter, Channel, Confirm, Connection, Consume, Consumer, Delivery, Exchange, Get, Handling, Message, Publisher,
    Queue, StreamedConsumer, StreamedDelivery, Subscription,
};

/// Futures that wait at a time, and things of a kind that are held.
const MOST: usize = 32;

pub(super) struct User {
    waiting: Vec<Waiting>,
    hands: Rc<RefCell<Hands>>,
    /// The broker keeps to the protocol.
    orderly: bool,
}

/// A future that was asked for.
struct Waiting {
    what: &'static str,
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

#[derive(Default)]
struct Hands {
    connection: Option<Connection>,
    channels: Vec<Channel>,
    publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
    streamed: Vec<StreamedConsumer>,
    subscriptions: Vec<Subscription>,
    deliveries: Vec<Delivery>,
    bodies: Vec<StreamedDelivery>,
    writers: Vec<BodyWriter>,
    confirms: Vec<Confirm>,
}

/// Something held, by what the input says: a clone of it.
fn one<T: Clone>(things: &[T], input: &mut Input<'_>) -> Option<T> {
    let at = input.below(things.len());
    things.get(at).cloned()
}

/// Something held, taken out of the hand.
fn take<T>(things: &mut Vec<T>, input: &mut Input<'_>) -> Option<T> {
    if things.is_empty() {
        return None;
    }
    let at = input.below(things.len());
    Some(things.swap_remove(at))
}

/// Takes something into the hand, which drops the oldest thing when it is full.
fn hold<T>(things: &mut Vec<T>, thing: T) {
    if things.len() >= MOST {
        things.remove(0);
    }
    things.push(thing);
}

impl User {
    pub(super) fn new(orderly: bool) -> Self {
        Self { waiting: Vec::new(), hands: Rc::default(), orderly }
    }

    pub(super) fn connect(&mut self, runtime: Arc<dyn Runtime>, config: Config) {
        self.call("connect", connect(runtime, config), |hands, connection| hands.connection = Some(connection));
    }

    /// Closes the connection and drops what he has of it.
    pub(super) fn close(&mut self) {
        let connection = self.hands.borrow().connection.clone();
        if let Some(connection) = connection {
            self.call("close", connection.close(), |_, ()| {});
        }
    }

    /// Gives up on something that he waits for, or drops something that he holds.
    pub(super) fn forget(&mut self, input: &mut Input<'_>) {
        let hands = &mut *self.hands.borrow_mut();
        match input.below(11) {
            0 | 1 => drop(take(&mut self.waiting, input)),
            2 => drop(take(&mut hands.channels, input)),
            3 => drop(take(&mut hands.publishers, input)),
            4 => drop(take(&mut hands.consumers, input)),
            5 => drop(take(&mut hands.streamed, input)),
            6 => drop(take(&mut hands.deliveries, input)),
            7 => drop(take(&mut hands.bodies, input)),
            8 => drop(take(&mut hands.writers, input)),
            9 => drop(take(&mut hands.confirms, input)),
            _ => drop(take(&mut hands.subscriptions, input)),
        }
    }

    /// Drops all that he holds; he waits on.
    pub(super) fn forget_all(&mut self) {
        drop(self.hands.take());
    }

    /// Polls one of the futures that were woken. `false`: there was none.
    pub(super) fn run_one(&mut self, pick: usize) -> bool {
        let woken: Vec<_> = (0..self.waiting.len()).filter(|at| self.waiting[*at].woken.is_set()).collect();
        if woken.is_empty() {
            return false;
        }
        let at = woken[pick % woken.len()];
        let waiting = &mut self.waiting[at];
        if waiting.woken.poll(waiting.future.as_mut()).is_some_and(|poll| poll.is_ready()) {
            drop(self.waiting.swap_remove(at));
        }
        true
    }

    /// # Panics
    /// If he waits for something.
    pub(super) fn assert_idle(&self) {
        let waiting: Vec<_> = self.waiting.iter().map(|waiting| waiting.what).collect();
        assert!(waiting.is_empty(), "{waiting:?} never end");
    }

    /// Waits for something.
    fn start(&mut self, what: &'static str, future: impl Future<Output = ()> + 'static) {
        if self.waiting.len() < MOST {
            self.waiting.push(Waiting { what, future: Box::pin(future), woken: Flag::new() });
        }
    }

    /// Waits for a result, and takes what it brings into his hands.
    fn call<T>(
        &mut self,
        what: &'static str,
        call: impl IntoFuture<Output = Result<T, Error>> + 'static,
        keep: impl FnOnce(&mut Hands, T) + 'static,
    ) {
        let (hands, check) = (Rc::clone(&self.hands), self.check());
        self.start(what, async move {
            match call.await {
                Ok(value) => keep(&mut hands.borrow_mut(), value),
                Err(error) => check(&error),
            }
        });
    }

    /// Looks at errors: none is this library's fault, or an orderly broker's.
    fn check(&self) -> impl Fn(&Error) + Copy + 'static {
        let orderly = self.orderly;
        move |error| match error.kind() {
            ErrorKind::Internal(_) => panic!("{error}"),
            ErrorKind::Protocol(_) => assert!(!orderly, "{error}"),
            _ => assert!(!error.to_string().is_empty()),
        }
    }

    /// Does something, if he holds what it takes.
    pub(super) fn act(&mut self, input: &mut Input<'_>) {
        let what = input.below(8);
        let (connection, channel, publisher) = {
            let hands = self.hands.borrow();
            (hands.connection.clone(), one(&hands.channels, input), one(&hands.publishers, input))
        };
        match (what, connection, channel, publisher) {
            (0, Some(connection), ..) => self.on_connection(input, connection),
            (1 | 2, _, Some(channel), _) => self.on_channel(input, channel),
            (3, _, Some(channel), _) => self.publish(input, channel),
            (4, _, _, Some(publisher)) => self.publish_confirmed(input, publisher),
            (5, ..) => self.consume(input),
            (6, ..) => self.settle(input),
            (7, ..) => self.stream(input),
            (_, Some(connection), ..) => {
                self.call("channel", connection.channel(), |hands, channel| hold(&mut hands.channels, channel));
            }
            _ => {}
        }
    }

    fn on_connection(&mut self, input: &mut Input<'_>, connection: Connection) {
        match input.below(10) {
            0..=2 => self.call("publisher", connection.publisher(), |hands, publisher| {
                hold(&mut hands.publishers, publisher);
            }),
            3 | 4 => {
                let size = [0, 1, 5000, 300_000][input.below(4)];
                let write = async move { connection.publish_streamed("", "q", "", size).await };
                self.call("publish_streamed", Box::pin(write), |hands, writer| hold(&mut hands.writers, writer));
            }
            5 => self.call("closed", connection.closed(), |_, ()| {}),
            6 => {
                let mut events = connection.events();
                self.start("events", async move { drop(events.next().await) });
            }
            7 => self.call("update_secret", connection.update_secret("secret", "expired"), |_, ()| {}),
            8 if input.byte() < 16 => self.call("close", connection.close(), |_, ()| {}),
            9 if input.byte() < 4 => connection.abort(),
            _ => drop((connection.stats(), connection.tuning(), connection.is_connected(), connection.blocked())),
        }
    }

    fn on_channel(&mut self, input: &mut Input<'_>, channel: Channel) {
        match input.below(16) {
            0 => self.call("exchange_declare", channel.exchange_declare(Exchange::topic("e")), |_, ()| {}),
            1 => self.call("queue_declare", channel.queue_declare("q"), |_, _| {}),
            2 => self.call("queue_declare", channel.queue_declare(Queue::new("q").nowait()), |_, _| {}),
            3 => self.call("queue_bind", channel.queue_bind("q", "e", "#"), |_, ()| {}),
            4 => self.call("queue_purge", channel.queue_purge("q"), |_, _| {}),
            5 => {
                let get = if input.flag() { Get::new("q") } else { Get::new("q").no_ack() };
                self.call("get", channel.get(get), |hands, delivery| hands.deliveries.extend(delivery));
            }
            6 => self.call("qos", channel.qos(3), |_, ()| {}),
            7 => self.call("recover", channel.recover(true), |_, ()| {}),
            8 => self.call("confirm_select", channel.confirm_select(), |_, ()| {}),
            9 => self.call("tx_select", channel.tx_select(), |_, ()| {}),
            10 => self.call("tx_commit", channel.tx_commit(), |_, ()| {}),
            11 => self.call("flow", channel.flow(true), |_, _| {}),
            12 => {
                let mut returns = channel.returns();
                self.start("returns", async move { drop(returns.next().await) });
            }
            13 if input.byte() < 32 => self.call("close", channel.close(), |_, ()| {}),
            14 => {
                let wait = async move { channel.wait_for_confirms().await };
                self.call("wait_for_confirms", Box::pin(wait), |_, ()| {});
            }
            _ => self.subscribe(input, channel),
        }
    }

    fn subscribe(&mut self, input: &mut Input<'_>, channel: Channel) {
        let prefetch = [0, 1, 3, 20][input.below(4)];
        let consume = Consume::new("q").prefetch(prefetch).tag(["", "a", "b"][input.below(3)]);
        let consume = if input.flag() { consume.no_ack() } else { consume };
        match input.below(3) {
            0 => self.call("consume", channel.consume(consume), |hands, consumer| hold(&mut hands.consumers, consumer)),
            1 => self.call("consume_streamed", channel.consume_streamed(consume), |hands, consumer| {
                hold(&mut hands.streamed, consumer);
            }),
            _ => {
                let handling = Handling::default().concurrency(1 + input.below(3));
                let handler = async |delivery: Delivery| drop(delivery.ack());
                let subscribe = async move { channel.consume_with(consume, handling, handler).await };
                self.call("consume_with", Box::pin(subscribe), |hands, subscription| {
                    hold(&mut hands.subscriptions, subscription);
                });
            }
        }
    }

    /// A message of some size.
    fn message(input: &mut Input<'_>) -> Message<'static> {
        let size = [0, 1, 100, 5000, 300_000][input.below(5)];
        Message::new(vec![7; size]).mandatory(input.flag())
    }

    fn publish(&mut self, input: &mut Input<'_>, channel: Channel) {
        let message = Self::message(input);
        let check = self.check();
        match input.below(3) {
            0 => {
                let publish = async move { channel.publish("", "q", message).await };
                self.call("publish", Box::pin(publish), |_, ()| {});
            }
            1 => drop(channel.try_publish("", "q", message).inspect_err(check)),
            _ => {
                let send = async move { channel.send("", "q", message).await };
                self.call("send", Box::pin(send), |hands, confirm| hold(&mut hands.confirms, confirm));
            }
        }
    }

    fn publish_confirmed(&mut self, input: &mut Input<'_>, publisher: Publisher) {
        let message = Self::message(input);
        match input.below(5) {
            0 => {
                let publish = async move { publisher.publish("", "q", message).await };
                self.call("publish", Box::pin(publish), |_, ()| {});
            }
            1 => {
                let send = async move { publisher.send("", "q", message).await };
                self.call("send", Box::pin(send), |hands, confirm| hold(&mut hands.confirms, confirm));
            }
            2 => {
                let batch = async move { publisher.publish_batch([("", "q", "one"), ("", "q", "two")]).await };
                self.call("publish_batch", Box::pin(batch), |_, ()| {});
            }
            3 => {
                let wait = async move { publisher.wait_for_confirms().await };
                self.call("wait_for_confirms", Box::pin(wait), |_, ()| {});
            }
            _ if input.flag() => drop(publisher.window(1 + input.below(4))),
            _ => drop(publisher.at_least_once(10_000)),
        }
    }

    fn consume(&mut self, input: &mut Input<'_>) {
        let hands = Rc::clone(&self.hands);
        let Some(mut consumer) = take(&mut hands.borrow_mut().consumers, input) else { return };
        let check = self.check();
        let keep = move |hands: &Rc<RefCell<Hands>>, consumer, got: Option<Result<Delivery, Error>>| {
            let hands = &mut *hands.borrow_mut();
            hold(&mut hands.consumers, consumer);
            match got {
                Some(Ok(delivery)) => hold(&mut hands.deliveries, delivery),
                Some(Err(error)) => check(&error),
                None => {}
            }
        };
        match input.below(7) {
            0 | 1 => self.start("next", async move {
                let got = consumer.next().await;
                keep(&hands, consumer, got);
            }),
            2 => self.start("recv_timeout", async move {
                let got = consumer.recv_timeout(A_WHILE).await;
                keep(&hands, consumer, got.ok().flatten());
            }),
            3 => self.start("next_batch", async move {
                match consumer.next_batch(3, A_WHILE).await {
                    Some(Ok(batch)) => drop(batch.ack()),
                    Some(Err(error)) => check(&error),
                    None => {}
                }
                keep(&hands, consumer, None);
            }),
            4 => {
                let got = consumer.try_next();
                keep(&hands, consumer, got);
            }
            5 => {
                self.call("set_prefetch", consumer.set_prefetch(2), |_, ()| {});
                keep(&hands, consumer, None);
            }
            _ => {
                self.call("cancel", consumer.cancel(), |_, ()| {});
                keep(&hands, consumer, None);
            }
        }
    }

    fn settle(&mut self, input: &mut Input<'_>) {
        let hands = Rc::clone(&self.hands);
        let hands = &mut *hands.borrow_mut();
        let check = self.check();
        match (input.below(8), take(&mut hands.deliveries, input)) {
            (0 | 1, Some(delivery)) => drop(delivery.ack().inspect_err(check)),
            (2, Some(delivery)) => drop(delivery.ack_multiple().inspect_err(check)),
            (3, Some(delivery)) => drop(delivery.nack(input.flag()).inspect_err(check)),
            (4, Some(delivery)) => drop(delivery.reject(input.flag()).inspect_err(check)),
            (5, Some(delivery)) => drop(delivery.republish("", "q").inspect_err(check)),
            (6, _) => {
                if let Some(subscription) = take(&mut hands.subscriptions, input) {
                    if input.flag() {
                        self.call("stop", subscription.stop(), |_, ()| {});
                    } else {
                        self.call("finished", Box::pin(async move { subscription.finished().await }), |_, ()| {});
                    }
                }
            }
            _ => {
                if let Some(confirm) = take(&mut hands.confirms, input) {
                    self.call("confirm", confirm, |_, ()| {});
                }
            }
        }
    }

    /// Something with a body that comes or goes in parts.
    fn stream(&mut self, input: &mut Input<'_>) {
        let shared = Rc::clone(&self.hands);
        let hands = &mut *shared.borrow_mut();
        let (kept, check) = (Rc::clone(&shared), self.check());
        match input.below(6) {
            0 => {
                let Some(mut consumer) = take(&mut hands.streamed, input) else { return };
                self.start("next, streamed", async move {
                    let got = consumer.next().await;
                    let hands = &mut *kept.borrow_mut();
                    hold(&mut hands.streamed, consumer);
                    match got {
                        Some(Ok(delivery)) => hold(&mut hands.bodies, delivery),
                        Some(Err(error)) => check(&error),
                        None => {}
                    }
                });
            }
            1 | 2 => {
                let Some(mut body) = take(&mut hands.bodies, input) else { return };
                self.start("chunk", async move {
                    if let Some(Err(error)) = body.chunk().await {
                        check(&error);
                    }
                    hold(&mut kept.borrow_mut().bodies, body);
                });
            }
            3 => drop(take(&mut hands.bodies, input).map(|body| body.ack().inspect_err(check))),
            4 => {
                let Some(mut writer) = take(&mut hands.writers, input) else { return };
                let size = [0, 1, 100, 5000, 300_000][input.below(5)];
                self.start("write", async move {
                    if let Err(error) = writer.write(vec![7; size].as_slice()).await {
                        check(&error);
                    }
                    hold(&mut kept.borrow_mut().writers, writer);
                });
            }
            _ => {
                let Some(writer) = take(&mut hands.writers, input) else { return };
                self.call("finish", Box::pin(writer.finish()), |_, ()| {});
            }
        }
    }
}
