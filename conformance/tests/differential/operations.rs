//! Operations, as they are carried out on the client.

use amqp_blocking::{Binding, ExchangeDelete, Get, Outcome, Qos, QueueDelete, StreamOffset};

use crate::player::{Consuming, Player, Step};
use crate::program::{
    Argument, CHANNELS_PER_CONNECTION, Consume, Exchange, Flags, How, Key, Message, Mode, Offset, Op, Queue, Slot,
    Which,
};
use crate::words;

impl Player<'_> {
    /// Carries out an operation, and says what was seen of it.
    pub(crate) fn act(&mut self, op: &Op) -> Step {
        match *op {
            Op::DeclareExchange { on, exchange, kind, flags, alternate } => {
                let declared = self.exchange_to_declare(exchange, kind, flags, alternate);
                let result = self.channel(on).exchange_declare(declared);
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::DeleteExchange { on, exchange, if_unused } => {
                let mut delete = ExchangeDelete::new(self.exchange(exchange));
                if if_unused {
                    delete = delete.if_unused();
                }
                let result = self.channel(on).exchange_delete(delete);
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::BindExchange { on, destination, source, key, unbind } => {
                let key = self.key(source, key);
                let (destination, source) = (self.exchange(destination), self.exchange(source));
                let channel = self.channel(on);
                let result = if unbind {
                    channel.exchange_unbind(destination, source, key)
                } else {
                    channel.exchange_bind(destination, source, key)
                };
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::DeclareQueue { on, queue, flags, ref arguments } => self.declare_queue(on, queue, flags, arguments),
            Op::DeleteQueue { on, queue, if_unused, if_empty } => {
                let mut delete = QueueDelete::new(self.queue(queue));
                if if_unused {
                    delete = delete.if_unused();
                }
                if if_empty {
                    delete = delete.if_empty();
                }
                let result = self.channel(on).queue_delete(delete);
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::BindQueue { on, queue, exchange, key, header, unbind } => {
                let mut binding = Binding::new(self.key(exchange, key));
                if let Some(value) = header {
                    binding = binding.argument("kind", value);
                }
                let (queue, exchange) = (self.queue(queue), self.exchange(exchange));
                let channel = self.channel(on);
                let result = if unbind {
                    channel.queue_unbind(queue, exchange, binding)
                } else {
                    channel.queue_bind(queue, exchange, binding)
                };
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::PurgeQueue { on, queue } => {
                let queue = self.queue(queue);
                let result = self.channel(on).queue_purge(queue);
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::Publish { on, exchange, key, message, times } => self.publish(on, exchange, key, message, times),
            Op::Get { on, queue, no_ack } => {
                let mut get = Get::new(self.queue(queue));
                if no_ack {
                    get = get.no_ack();
                }
                match self.channel(on).get(get) {
                    Ok(Some(delivery)) => self.take(on, delivery, no_ack),
                    Ok(None) => self.see("empty"),
                    Err(error) => self.see(&words::error(&error)),
                }
                self.settle_down(on);
            }
            Op::Consume { on, queue, how } => self.consume(on, queue, how),
            Op::Cancel { on, tag } => {
                let result = self.channel(on).cancel(tag);
                self.see_result(&result);
                self.opened(on).consumers.retain(|consuming| consuming.consumer.tag() != tag);
                self.settle_down(on);
            }
            Op::Settle { on, how, which, multiple } => self.settle(on, how, which, multiple),
            Op::Recover { on, .. } | Op::Close { on } if self.returns_at_random(on, false) => {}
            Op::CloseConnection { on } if self.returns_at_random(on, true) => {}
            Op::Recover { on, requeue } => {
                let result = self.channel(on).recover(requeue);
                self.see_result(&result);
                self.opened(on).held.clear();
                self.settle_down(on);
            }
            Op::Qos { on, count, global, size } => {
                let mut qos = Qos::new(count).prefetch_size(size);
                if global {
                    qos = qos.global();
                }
                let result = self.channel(on).qos(qos);
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::Mode { on, mode } => {
                let channel = self.channel(on);
                let result = match mode {
                    Mode::Confirm => channel.confirm_select(),
                    Mode::Transaction => channel.tx_select(),
                    Mode::Commit => channel.tx_commit(),
                    Mode::Rollback => channel.tx_rollback(),
                };
                self.opened(on).confirms |= matches!(mode, Mode::Confirm) && result.is_ok();
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::Close { on } => {
                let result = self.channel(on).close();
                self.see_result(&result);
                self.settle_down(on);
            }
            Op::CloseConnection { on } => {
                self.channel(on);
                let result = self.sides[on / CHANNELS_PER_CONNECTION].connection.close();
                self.see_result(&result);
                self.settle_down(on);
            }
        }
        std::mem::take(&mut self.seen)
    }

    fn exchange_to_declare(
        &self,
        exchange: Exchange,
        kind: &str,
        flags: Flags,
        alternate: Option<Exchange>,
    ) -> amqp_blocking::Exchange {
        let mut declared = amqp_blocking::Exchange::custom(self.exchange(exchange), kind).durable(flags.durable);
        if flags.passive {
            declared = declared.passive();
        }
        if flags.auto_delete {
            declared = declared.auto_delete();
        }
        if flags.special {
            declared = declared.internal();
        }
        match alternate {
            Some(alternate) => declared.alternate_exchange(self.exchange(alternate)),
            None => declared,
        }
    }

    fn declare_queue(&mut self, on: Slot, queue: Queue, flags: Flags, arguments: &[Argument]) {
        let name = self.queue(queue);
        let declared =
            if flags.special { amqp_blocking::Queue::exclusive(name) } else { amqp_blocking::Queue::new(name) };
        let mut declared = declared.durable(flags.durable);
        if flags.passive {
            declared = declared.passive();
        }
        if flags.auto_delete {
            declared = declared.auto_delete();
        }
        for argument in arguments {
            declared = match *argument {
                Argument::DeadLetter(exchange, key) => {
                    let declared = declared.dead_letter_exchange(self.exchange(exchange));
                    match key {
                        Some(key) => declared.dead_letter_routing_key(self.key(exchange, key)),
                        None => declared,
                    }
                }
                Argument::Number(name, value) => declared.argument(name, value),
                Argument::Text(name, value) => declared.argument(name, value),
                Argument::Flag(name, value) => declared.argument(name, value),
            };
        }
        let result = self.channel(on).queue_declare(declared);
        if let Ok(declared) = &result {
            let owner = flags.special.then_some(on / CHANNELS_PER_CONNECTION);
            self.queues.entry(declared.name.clone()).or_insert(owner);
            for argument in arguments {
                match argument {
                    Argument::Text("x-queue-type", "quorum") => self.has_quorum_queues = true,
                    Argument::DeadLetter(..) => self.has_dead_letters = true,
                    Argument::Text("x-queue-type", "stream") => drop(self.streams.insert(declared.name.clone())),
                    _ => {}
                }
            }
            self.opened(on).last_declared.clone_from(&declared.name);
            if queue == Queue::Empty {
                self.generated = Some(declared.name.clone());
            }
        }
        self.see_result(&result);
        self.settle_down(on);
    }

    fn publish(&mut self, on: Slot, exchange: Exchange, key: Key, message: Message, times: usize) {
        // What follows a message may come before its dead letters, or behind them.
        if times > 1 && self.has_dead_letters {
            return (0..times).for_each(|_| self.publish(on, exchange, key, message, 1));
        }
        let key = self.key(exchange, key);
        let exchange = self.exchange(exchange);
        let channel = self.channel(on);
        let confirms = self.opened(on).confirms;
        let mut waiting = Vec::new();
        for _ in 0..times {
            self.published += 1;
            let content = self.content(message);
            if confirms {
                match channel.send(&exchange, &key, content) {
                    Ok(confirm) => waiting.push(confirm),
                    // It is the same, but that the broker was quicker.
                    Err(error) => self.see(&words::outcome(&Outcome::Unknown(error))),
                }
            } else {
                // What is wrong with it is told by the channel.
                let _ = channel.publish(&exchange, &key, content);
            }
        }
        for confirm in waiting {
            let outcome = confirm.outcome();
            self.see(&words::outcome(&outcome));
        }
        self.settle_down(on);
    }

    fn content(&self, message: Message) -> amqp_blocking::Message<'static> {
        let body = format!("message {}", self.published);
        let mut content = amqp_blocking::Message::new(body).mandatory(message.mandatory);
        if message.immediate {
            content = content.immediate();
        }
        if message.persistent {
            content = content.persistent();
        }
        if let Some(priority) = message.priority {
            content = content.priority(priority);
        }
        if let Some(expiration) = message.expiration {
            content = content.expiration(expiration);
        }
        if let Some(value) = message.header {
            content = content.header("kind", value);
        }
        if let Some(key) = message.copy_to {
            let key = self.key(Exchange::Default, key);
            content = content.header("CC", vec![amqp_blocking::FieldValue::from(key)]);
        }
        match message.user {
            Some(user) => content.user_id(user),
            None => content,
        }
    }

    fn consume(&mut self, on: Slot, queue: Queue, how: Consume) {
        let channel = self.channel(on);
        // RabbitMQ 3.10 crashes if a quorum queue's consumer comes back by its tag before it has settled all it had.
        if self.has_quorum_queues && self.opened(on).held.iter().any(|delivery| delivery.consumer_tag() == how.tag) {
            return;
        }
        let name = self.queue(queue);
        let known = if name.is_empty() { self.opened(on).last_declared.clone() } else { name.clone() };
        // How far beyond a prefetch a stream goes is a matter of chunks: brokers put in one what they find at a time.
        let prefetch = if how.prefetch > 0 && self.streams.contains(&known) { 1000 } else { how.prefetch };
        let mut consume = amqp_blocking::Consume::new(name).tag(how.tag).prefetch(prefetch);
        if how.no_ack {
            consume = consume.no_ack();
        }
        if how.exclusive {
            consume = consume.exclusive();
        }
        if let Some(priority) = how.priority {
            consume = consume.priority(priority);
        }
        consume = match how.offset {
            Some(Offset::First) => consume.stream_offset(StreamOffset::First),
            Some(Offset::Next) => consume.stream_offset(StreamOffset::Next),
            Some(Offset::Number(number)) => consume.stream_offset(StreamOffset::Offset(number)),
            None => consume,
        };
        match channel.consume(consume) {
            Ok(consumer) => {
                self.see(&format!("consumer {}", consumer.tag()));
                self.opened(on).consumers.push(Consuming { consumer, queue: known, no_ack: how.no_ack });
            }
            Err(error) => self.see(&words::error(&error)),
        }
        self.settle_down(on);
    }

    /// Whether it hangs on RabbitMQ's batches in which order a quorum queue's consumers get what a channel returns at once.
    ///
    /// `ends_all`: with its connection.
    fn returns_at_random(&mut self, on: Slot, ends_all: bool) -> bool {
        self.channel(on);
        if !self.has_quorum_queues {
            return false;
        }
        let side = &self.sides[on / CHANNELS_PER_CONNECTION];
        let holding = side.channels.iter().flatten().filter(|opened| !opened.held.is_empty()).count();
        let mut channels = self.sides.iter().flat_map(|side| side.channels.iter().flatten());
        let has_rivals = channels.any(|opened| opened.consumers.len() > 1);
        let held = &self.opened(on).held;
        let has_several = held.iter().any(|delivery| delivery.consumer_tag() != held[0].consumer_tag());
        ends_all && holding > 1 || held.len() > 1 && (has_rivals || has_several)
    }

    fn settle(&mut self, on: Slot, how: How, which: Which, multiple: bool) {
        let channel = self.channel(on);
        let returns = multiple && matches!(how, How::Nack { requeue: true });
        if returns && self.returns_at_random(on, false) {
            return;
        }
        let held = &self.opened(on).held;
        let tag = match which {
            Which::Number(tag) => tag,
            Which::Held(at) => match held.get(at % held.len().max(1)) {
                Some(delivery) => delivery.delivery_tag().value(),
                None => return,
            },
        };
        let result = match how {
            How::Ack => channel.ack(tag, multiple),
            How::Nack { requeue } => channel.nack(tag, multiple, requeue),
            How::Reject { requeue } => channel.reject(tag, requeue),
        };
        self.see_result(&result);
        let multiple = multiple && !matches!(how, How::Reject { .. });
        self.opened(on).held.retain(|delivery| {
            let other = delivery.delivery_tag().value();
            other != tag && !(multiple && (other < tag || tag == 0))
        });
        self.settle_down(on);
    }
}
