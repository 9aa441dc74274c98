//! Declaring again what was declared: first all exchanges, then all queues, then all bindings.
//!
//! The requests go out many at a time on a channel of their own, whose replies come in order. A refusal closes that channel;
//! it meant the oldest request without a reply, and those behind it have not been looked at: they are sent again on the
//! next channel. Some refusals are a matter of time: one's own old exclusive queue may still be there (405), a queue's
//! home node down (404), permissions not loaded (403). These are tried again, as often as [`ATTEMPTS`], when everything else
//! of their stage has been done. Any other is given up at once, and told to the application.

use std::collections::VecDeque;
use std::fmt;

use super::topology::{Binding, Destination, Exchange, Queue, Topology};
use crate::method::reply_code::ReplyCode;
use crate::method::{Method, exchange, queue};
use crate::wire::{EncodeError, ShortStr, TableRef};

/// How often one thing is tried before it is given up.
pub(crate) const ATTEMPTS: u32 = 10;

/// How many requests may be without a reply.
const WINDOW: usize = 128;

/// One thing to be declared, by what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Exchange(String),
    Queue(String),
    Binding(Binding),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Binding(binding) => Entity::Binding(binding).fmt(f),
        }
    }
}

/// Something that was declared, and is declared again when the connection comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// An exchange.
    Exchange(Exchange),
    /// A queue.
    Queue(Queue),
    /// A binding.
    Binding(Binding),
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(exchange) => Entity::Exchange(exchange).fmt(f),
            Self::Queue(queue) => Entity::Queue(queue).fmt(f),
            Self::Binding(binding) => Entity::Binding(binding).fmt(f),
        }
    }
}

/// What is recorded of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
    Binding(&'a Binding),
}

impl fmt::Display for Entity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(exchange) => write!(f, "exchange {}", exchange.name),
            Self::Queue(queue) => write!(f, "queue {}", queue.name),
            Self::Binding(Binding { destination, source, routing_key, .. }) => {
                write!(f, "binding of {destination} to {source} by {routing_key:?}")
            }
        }
    }
}

impl<'a> Entity<'a> {
    /// The request that declares it.
    ///
    /// # Errors
    /// Never, for what was declared once: its names fitted then.
    pub(crate) fn method(self) -> Result<Method<'a>, EncodeError> {
        Ok(match self {
            Self::Exchange(it) => exchange::Declare {
                exchange: ShortStr::new(&it.name)?,
                kind: ShortStr::new(&it.kind)?,
                passive: false,
                durable: it.durable,
                auto_delete: it.auto_delete,
                internal: it.internal,
                nowait: false,
                arguments: it.arguments.as_ref(),
            }
            .into(),
            Self::Queue(it) => queue::Declare {
                // Its old name is the broker's, and refused.
                queue: if it.server_named { ShortStr::EMPTY } else { ShortStr::new(&it.name)? },
                passive: false,
                durable: it.durable,
                exclusive: it.exclusive,
                auto_delete: it.auto_delete,
                nowait: false,
                arguments: it.arguments.as_ref(),
            }
            .into(),
            Self::Binding(it) => {
                let (source, routing_key) = (ShortStr::new(&it.source)?, ShortStr::new(&it.routing_key)?);
                let arguments: TableRef<'a> = it.arguments.as_ref();
                match &it.destination {
                    Destination::Exchange(name) => {
                        let destination = ShortStr::new(name)?;
                        exchange::Bind { destination, source, routing_key, nowait: false, arguments }.into()
                    }
                    Destination::Queue(name) => {
                        let queue = ShortStr::new(name)?;
                        queue::Bind { queue, exchange: source, routing_key, nowait: false, arguments }.into()
                    }
                }
            }
        })
    }
}

impl Topology {
    /// All of it, in the order in which it is restored.
    pub(crate) fn all(&self) -> Vec<Recorded> {
        let exchanges = self.exchanges.values().cloned().map(Recorded::Exchange);
        let queues = self.queues.values().cloned().map(Recorded::Queue);
        let bindings = self.bindings.values().flatten().cloned().map(Recorded::Binding);
        exchanges.chain(queues).chain(bindings).collect()
    }

    /// Forgets this alone, and nothing that depends on it.
    pub(crate) fn forget(&mut self, recorded: &Recorded) {
        match recorded {
            Recorded::Exchange(exchange) => {
                self.exchanges.remove(&exchange.name);
            }
            Recorded::Queue(queue) => {
                self.queues.remove(&queue.name);
            }
            Recorded::Binding(binding) => {
                if let Some(known) = self.bindings.get_mut(&binding.destination) {
                    known.retain(|other| other != binding);
                }
                self.bindings.retain(|_, known| !known.is_empty());
            }
        }
    }

    /// What is recorded of this thing, if it has not been deleted meanwhile.
    pub(crate) fn get(&self, item: &Item) -> Option<Entity<'_>> {
        match item {
            Item::Exchange(name) => self.exchanges.get(name).map(Entity::Exchange),
            Item::Queue(name) => self.queues.get(name).map(Entity::Queue),
            Item::Binding(binding) => self
                .bindings
                .get(&binding.destination)
                .and_then(|known| known.iter().find(|other| *other == binding))
                .map(Entity::Binding),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Exchanges,
    Queues,
    Bindings,
    Done,
}

#[derive(Debug)]
struct Work {
    item: Item,
    attempts: u32,
}

/// The restoring of a record, as far as it has come.
#[derive(Debug)]
pub(crate) struct Restore {
    stage: Stage,
    todo: VecDeque<Work>,
    /// Sent, in order; their replies are to come.
    sent: VecDeque<Work>,
    /// Refused for now.
    later: Vec<Work>,
    /// Nothing but this queue and what is bound to it.
    only: Option<String>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Declare this.
    Declare(Item),
    /// Wait for replies.
    Replies,
    /// Wait a while, then [`Restore::try_again`].
    Later,
    /// Nothing: all is there, or was given up.
    Done,
}

/// What becomes of a refused thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It will be tried again.
    Later,
    /// It is given up; the application is to be told.
    GivenUp(Item),
    /// Nothing was outstanding: it was not about a thing of ours.
    Nothing,
}

impl Restore {
    /// The whole record.
    pub(crate) fn new(topology: &Topology) -> Self {
        let mut restore = Self {
            stage: Stage::Exchanges,
            todo: VecDeque::new(),
            sent: VecDeque::new(),
            later: Vec::new(),
            only: None,
        };
        restore.collect(topology);
        restore
    }

    /// One queue, with its bindings.
    pub(crate) fn only(topology: &Topology, queue: &str) -> Self {
        let only = Some(queue.to_owned());
        let mut restore =
            Self { stage: Stage::Queues, todo: VecDeque::new(), sent: VecDeque::new(), later: Vec::new(), only };
        restore.collect(topology);
        restore
    }

    /// The queue that it is about has another name now.
    pub(crate) fn renamed(&mut self, old: &str, new: &str) {
        if self.only.as_deref() == Some(old) {
            self.only = Some(new.to_owned());
        }
    }

    /// What is to be done next. A thing that is handed out counts as sent: [`skip`](Self::skip) takes that back.
    pub(crate) fn next(&mut self, topology: &Topology) -> Next {
        loop {
            if self.sent.len() >= WINDOW {
                return Next::Replies;
            }
            if let Some(work) = self.todo.pop_front() {
                let item = work.item.clone();
                self.sent.push_back(work);
                return Next::Declare(item);
            }
            if !self.sent.is_empty() {
                return Next::Replies;
            }
            if !self.later.is_empty() {
                return Next::Later;
            }
            self.stage = match self.stage {
                Stage::Exchanges => Stage::Queues,
                Stage::Queues => Stage::Bindings,
                Stage::Bindings | Stage::Done => Stage::Done,
            };
            if self.stage == Stage::Done {
                return Next::Done;
            }
            self.collect(topology);
        }
    }

    /// What was handed out last is not sent after all.
    pub(crate) fn skip(&mut self) {
        self.sent.pop_back();
    }

    /// The oldest request was granted: this is what it was for.
    pub(crate) fn granted(&mut self) -> Option<Item> {
        self.sent.pop_front().map(|work| work.item)
    }

    /// The oldest request was refused, and the channel is closed: those behind it are to be sent again.
    pub(crate) fn refused(&mut self, code: ReplyCode) -> Refused {
        let Some(mut work) = self.sent.pop_front() else { return Refused::Nothing };
        self.unsend();
        work.attempts += 1;
        let in_time = [ReplyCode::ACCESS_REFUSED, ReplyCode::NOT_FOUND, ReplyCode::RESOURCE_LOCKED];
        if in_time.contains(&code) && work.attempts < ATTEMPTS {
            self.later.push(work);
            Refused::Later
        } else {
            Refused::GivenUp(work.item)
        }
    }

    /// The channel is gone for another reason: what was sent is to be sent again.
    pub(crate) fn unsend(&mut self) {
        while let Some(work) = self.sent.pop_back() {
            self.todo.push_front(work);
        }
    }

    /// What was refused has its next try.
    pub(crate) fn try_again(&mut self) {
        self.todo.extend(self.later.drain(..));
    }

    fn collect(&mut self, topology: &Topology) {
        let todo = &mut self.todo;
        let only = self.only.as_deref();
        let mut add = |item: Item| {
            let is_meant = match (only, &item) {
                (None, _) => true,
                (
                    Some(only),
                    Item::Queue(name) | Item::Binding(Binding { destination: Destination::Queue(name), .. }),
                ) => name == only,
                _ => false,
            };
            if is_meant {
                todo.push_back(Work { item, attempts: 0 });
            }
        };
        match self.stage {
            Stage::Exchanges => topology.exchanges.keys().cloned().map(Item::Exchange).for_each(&mut add),
            Stage::Queues => topology.queues.keys().cloned().map(Item::Queue).for_each(&mut add),
            Stage::Bindings => topology.bindings.values().flatten().cloned().map(Item::Binding).for_each(&mut add),
            Stage::Done => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;
    use crate::table;

    fn exchange(name: &str, auto_delete: bool) -> Exchange {
        Exchange {
            name: name.to_owned(),
            kind: "topic".to_owned(),
            durable: true,
            auto_delete,
            internal: false,
            arguments: table! { "alternate-exchange" => "other" },
        }
    }

    fn queue(name: &str) -> Queue {
        Queue {
            name: name.to_owned(),
            server_named: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: table! { "x-queue-type" => "quorum" },
            consumers: 0,
        }
    }

    fn binding(destination: Destination, source: &str) -> Binding {
        Binding { destination, source: source.to_owned(), routing_key: "key".to_owned(), arguments: table! {} }
    }

    fn to_queue(name: &str) -> Destination {
        Destination::Queue(name.to_owned())
    }

    /// Two exchanges, two queues, a binding each.
    fn record() -> Topology {
        let mut topology = Topology::default();
        topology.add_queue(queue("q2"));
        topology.add_queue(queue("q1"));
        topology.add_exchange(exchange("e2", false));
        topology.add_exchange(exchange("e1", false));
        topology.bind(binding(to_queue("q1"), "e1"));
        topology.bind(binding(to_queue("q2"), "e2"));
        topology
    }

    /// All that is handed out before something has to be waited for, as text.
    fn sent(restore: &mut Restore, topology: &Topology) -> (Vec<String>, Next) {
        let mut sent = Vec::new();
        loop {
            match restore.next(topology) {
                Next::Declare(item) => sent.push(topology.get(&item).unwrap().to_string()),
                next => return (sent, next),
            }
        }
    }

    fn grant(restore: &mut Restore, count: usize) {
        (0..count).for_each(|_| assert!(restore.granted().is_some()));
    }

    #[test]
    fn f43_exchanges_come_first_then_queues_then_bindings() {
        let topology = record();
        let mut restore = Restore::new(&topology);
        assert_eq!(sent(&mut restore, &topology), (vec!["exchange e1".into(), "exchange e2".into()], Next::Replies));
        grant(&mut restore, 2);
        assert_eq!(sent(&mut restore, &topology).0, ["queue q1", "queue q2"]);
        grant(&mut restore, 2);
        let bindings = [r#"binding of queue q1 to e1 by "key""#, r#"binding of queue q2 to e2 by "key""#];
        assert_eq!(sent(&mut restore, &topology).0, bindings);
        grant(&mut restore, 2);
        assert_eq!(sent(&mut restore, &topology), (vec![], Next::Done));
    }

    #[test]
    fn f43_what_stood_behind_a_refusal_is_sent_again_and_the_refused_comes_last() {
        let topology = record();
        let mut restore = Restore::new(&topology);
        sent(&mut restore, &topology);
        assert_eq!(restore.refused(ReplyCode::RESOURCE_LOCKED), Refused::Later);
        assert_eq!(sent(&mut restore, &topology), (vec!["exchange e2".into()], Next::Replies));
        grant(&mut restore, 1);
        assert_eq!(restore.next(&topology), Next::Later);
        restore.try_again();
        assert_eq!(sent(&mut restore, &topology), (vec!["exchange e1".into()], Next::Replies));
        grant(&mut restore, 1);
        assert_eq!(sent(&mut restore, &topology).0, ["queue q1", "queue q2"]);
    }

    #[test]
    fn f43_a_difference_is_given_up_at_once_and_a_lock_after_many_tries() {
        let topology = record();
        let mut restore = Restore::new(&topology);
        sent(&mut restore, &topology);
        let first = Item::Exchange("e1".to_owned());
        assert_eq!(restore.refused(ReplyCode::PRECONDITION_FAILED), Refused::GivenUp(first));
        for attempt in 1..=ATTEMPTS {
            restore.try_again();
            assert_eq!(sent(&mut restore, &topology).0, ["exchange e2"]);
            let refused = restore.refused(ReplyCode::RESOURCE_LOCKED);
            if attempt < ATTEMPTS {
                assert_eq!(refused, Refused::Later);
            } else {
                assert_eq!(refused, Refused::GivenUp(Item::Exchange("e2".to_owned())));
            }
        }
        assert_eq!(restore.refused(ReplyCode::NOT_FOUND), Refused::Nothing);
    }

    #[test]
    fn f43_a_queue_that_is_renamed_on_the_way_is_bound_by_its_new_name() {
        let mut topology = Topology::default();
        topology.add_exchange(exchange("e", false));
        let named = Queue { server_named: true, ..queue("amq.gen-old") };
        topology.add_queue(named);
        topology.bind(Binding { routing_key: "amq.gen-old".to_owned(), ..binding(to_queue("amq.gen-old"), "e") });
        let mut restore = Restore::new(&topology);
        sent(&mut restore, &topology);
        grant(&mut restore, 1);
        let Next::Declare(item) = restore.next(&topology) else { panic!() };
        let Method::Queue(queue::Method::Declare(declare)) = topology.get(&item).unwrap().method().unwrap() else {
            panic!()
        };
        assert!(declare.queue.is_empty(), "the broker refuses the names that it made");
        grant(&mut restore, 1);
        topology.rename_queue("amq.gen-old", "amq.gen-new");
        assert_eq!(sent(&mut restore, &topology).0, [r#"binding of queue amq.gen-new to e by "amq.gen-new""#]);
    }

    #[test]
    fn f43_a_deleted_queue_takes_its_bindings_and_the_exchanges_that_live_by_them() {
        let mut topology = Topology::default();
        topology.add_exchange(exchange("upper", true));
        topology.add_exchange(exchange("lower", true));
        topology.add_queue(queue("q"));
        topology.bind(binding(Destination::Exchange("lower".to_owned()), "upper"));
        topology.bind(binding(to_queue("q"), "lower"));
        topology.remove_queue("q");
        let mut restore = Restore::new(&topology);
        assert_eq!(sent(&mut restore, &topology), (vec![], Next::Done));
    }

    #[test]
    fn f43_an_auto_delete_queue_goes_with_its_last_consumer() {
        let mut topology = Topology::default();
        topology.add_queue(Queue { auto_delete: true, ..queue("q") });
        topology.consumer_added("q");
        topology.consumer_added("q");
        topology.add_queue(Queue { auto_delete: true, ..queue("q") });
        topology.consumer_removed("q");
        assert!(topology.queue("q").is_some());
        topology.consumer_removed("q");
        assert!(topology.queue("q").is_none());
    }

    #[test]
    fn f43_what_is_recorded_is_declared_as_it_was_and_an_empty_name_is_the_last_queue() {
        let arguments = table! { "x-queue-type" => "quorum" };
        let declare = queue::Declare {
            queue: ShortStr::new("q").unwrap(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: true,
            arguments: arguments.as_ref(),
        };
        let mut topology = Topology::default();
        Change::of(&declare.into()).unwrap().apply("", Some("q"), &mut topology);
        let entity = topology.get(&Item::Queue("q".to_owned())).unwrap();
        assert_eq!(entity.method().unwrap(), queue::Declare { nowait: false, ..declare }.into());
        assert!(Change::of(&queue::Declare { passive: true, ..declare }.into()).is_none());

        let bind = queue::Bind {
            queue: ShortStr::EMPTY,
            exchange: ShortStr::new("amq.direct").unwrap(),
            routing_key: ShortStr::EMPTY,
            nowait: false,
            arguments: TableRef::EMPTY,
        };
        Change::of(&bind.into()).unwrap().apply("q", None, &mut topology);
        let bound = &topology.bindings[&to_queue("q")][0];
        assert_eq!((bound.source.as_str(), bound.routing_key.as_str()), ("amq.direct", "q"));
        let name = ShortStr::new("q").unwrap();
        let unbind =
            queue::Unbind { queue: name, exchange: bind.exchange, routing_key: name, arguments: TableRef::EMPTY };
        Change::of(&unbind.into()).unwrap().apply("", None, &mut topology);
        assert!(topology.bindings.is_empty());
    }
}
