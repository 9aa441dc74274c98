//! Programs: operations on a few queues, exchanges and channels, right and wrong ones among them.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

/// A channel, by its number; two on the first connection, two on the second.
pub(crate) type Slot = usize;

pub(crate) const CHANNELS_PER_CONNECTION: usize = 2;
pub(crate) const CONNECTIONS: usize = 2;

/// An operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    DeclareExchange { on: Slot, exchange: Exchange, kind: &'static str, flags: Flags, alternate: Option<Exchange> },
    DeleteExchange { on: Slot, exchange: Exchange, if_unused: bool },
    BindExchange { on: Slot, destination: Exchange, source: Exchange, key: Key, unbind: bool },
    DeclareQueue { on: Slot, queue: Queue, flags: Flags, arguments: Vec<Argument> },
    DeleteQueue { on: Slot, queue: Queue, if_unused: bool, if_empty: bool },
    BindQueue { on: Slot, queue: Queue, exchange: Exchange, key: Key, header: Option<i64>, unbind: bool },
    PurgeQueue { on: Slot, queue: Queue },
    Publish { on: Slot, exchange: Exchange, key: Key, message: Message, times: usize },
    Get { on: Slot, queue: Queue, no_ack: bool },
    Consume { on: Slot, queue: Queue, how: Consume },
    Cancel { on: Slot, tag: &'static str },
    Settle { on: Slot, how: How, which: Which, multiple: bool },
    Recover { on: Slot, requeue: bool },
    Qos { on: Slot, count: u16, global: bool, size: u32 },
    Mode { on: Slot, mode: Mode },
    Close { on: Slot },
    CloseConnection { on: Slot },
}

/// A queue, by what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Named(u8),
    /// That of the broker's choice that was declared last on any channel.
    Generated,
    /// The one that was declared last on the channel, or a new one.
    Empty,
    Missing,
    /// One of the names that are the broker's own.
    Reserved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    Named(u8),
    Default,
    Missing,
    /// An exchange that is always there.
    Direct,
    /// One of the names that are the broker's own.
    Reserved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Text(&'static str),
    /// The name of this queue.
    Queue(Queue),
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) passive: bool,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// Of queues: exclusive; of exchanges: internal.
    pub(crate) special: bool,
}

/// An argument of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    DeadLetter(Exchange, Option<Key>),
    Number(&'static str, i64),
    Text(&'static str, &'static str),
    Flag(&'static str, bool),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    pub(crate) persistent: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) expiration: Option<&'static str>,
    pub(crate) header: Option<i64>,
    pub(crate) copy_to: Option<Key>,
    pub(crate) user: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Consume {
    pub(crate) tag: &'static str,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) prefetch: u16,
    pub(crate) priority: Option<i32>,
    /// Where a stream is to be read from.
    pub(crate) offset: Option<Offset>,
}

/// A place in a stream. There is no `last`, as it is that of a chunk: brokers put in one what they find at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Offset {
    First,
    Next,
    Number(u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Ack,
    Nack { requeue: bool },
    Reject { requeue: bool },
}

/// A delivery tag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// Of those that the channel holds.
    Held(usize),
    /// Any number, right or wrong.
    Number(u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    Confirm,
    Transaction,
    Commit,
    Rollback,
}

/// Programs: some topology first, so that there is something to work on, and then anything.
pub(crate) fn programs() -> impl Strategy<Value = Vec<Op>> {
    let queues = (first_queue(0), first_queue(1), proptest::option::of(first_queue(2)));
    let queues = queues.prop_map(|(one, two, three)| [Some(one), Some(two), three].into_iter().flatten());
    let opening = (queues, vec(declare_exchange(), 0..3), vec(bind_queue(), 0..4));
    (opening, vec(op(), 5..40))
        .prop_map(|((queues, exchanges, bindings), ops)| queues.chain(exchanges).chain(bindings).chain(ops).collect())
}

/// One that is mostly declared as it should be.
fn first_queue(number: u8) -> impl Strategy<Value = Op> {
    let any = prop_oneof![4 => declare_queue(), 3 => declare_quorum_queue(), 1 => declare_stream()];
    any.prop_map(move |declare| match declare {
        Op::DeclareQueue { on, flags, arguments, .. } => {
            let flags = Flags { passive: false, ..flags };
            Op::DeclareQueue { on, queue: Queue::Named(number), flags, arguments }
        }
        other => other,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let settle = (slot(), how(), which(), one_in(4));
    let consume = (slot(), queue(), consume());
    // To a queue, or to what may lead to some.
    let target = prop_oneof![
        1 => (0..3_u8).prop_map(|number| (Exchange::Default, Key::Queue(Queue::Named(number)))),
        1 => (exchange(), key()),
    ];
    let publish = (slot(), target, message(), 1..4_usize);
    prop_oneof![
        2 => declare_exchange(),
        1 => (slot(), exchange(), any::<bool>())
            .prop_map(|(on, exchange, if_unused)| Op::DeleteExchange { on, exchange, if_unused }),
        2 => (slot(), exchange(), exchange(), key(), one_in(4))
            .prop_map(|(on, destination, source, key, unbind)| Op::BindExchange { on, destination, source, key, unbind }),
        4 => declare_queue(),
        2 => declare_quorum_queue(),
        1 => declare_stream(),
        2 => (slot(), queue(), one_in(3), one_in(3))
            .prop_map(|(on, queue, if_unused, if_empty)| Op::DeleteQueue { on, queue, if_unused, if_empty }),
        5 => bind_queue(),
        1 => (slot(), queue()).prop_map(|(on, queue)| Op::PurgeQueue { on, queue }),
        14 => publish.prop_map(|(on, (exchange, key), message, times)| Op::Publish { on, exchange, key, message, times }),
        6 => (slot(), queue(), one_in(3)).prop_map(|(on, queue, no_ack)| Op::Get { on, queue, no_ack }),
        7 => consume.prop_map(|(on, queue, how)| Op::Consume { on, queue, how }),
        2 => (slot(), tag()).prop_map(|(on, tag)| Op::Cancel { on, tag }),
        10 => settle.prop_map(|(on, how, which, multiple)| Op::Settle { on, how, which, multiple }),
        1 => (slot(), not_one_in(12)).prop_map(|(on, requeue)| Op::Recover { on, requeue }),
        2 => (slot(), 0..4_u16, one_in(3), rarely(Just(1000)))
            .prop_map(|(on, count, global, size)| Op::Qos { on, count, global, size: size.unwrap_or_default() }),
        3 => (slot(), mode()).prop_map(|(on, mode)| Op::Mode { on, mode }),
        1 => slot().prop_map(|on| Op::Close { on }),
        1 => slot().prop_map(|on| Op::CloseConnection { on }),
    ]
}

fn declare_exchange() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        9 => select(vec!["direct", "fanout", "topic", "headers"]),
        1 => Just("x-none"),
    ];
    (slot(), exchange(), kind, flags(), rarely(exchange()))
        .prop_map(|(on, exchange, kind, flags, alternate)| Op::DeclareExchange { on, exchange, kind, flags, alternate })
}

fn declare_queue() -> impl Strategy<Value = Op> {
    (slot(), queue(), flags(), vec(argument(), 0..3)).prop_map(|(on, queue, flags, arguments)| Op::DeclareQueue {
        on,
        queue,
        flags,
        arguments,
    })
}

fn declare_quorum_queue() -> impl Strategy<Value = Op> {
    use Argument::{Flag, Number, Text};
    let right = select(vec![
        Number("x-delivery-limit", 0),
        Number("x-delivery-limit", 1),
        Number("x-delivery-limit", -1),
        Number("x-max-length", 2),
        Number("x-max-length-bytes", 20),
        Number("x-message-ttl", 60_000),
        Number("x-expires", 60_000),
        Text("x-overflow", "drop-head"),
        Text("x-dead-letter-strategy", "at-most-once"),
        Text("x-dead-letter-strategy", "at-least-once"),
        Flag("x-single-active-consumer", true),
        Number("x-quorum-initial-group-size", 1),
    ]);
    let wrong = select(vec![
        Number("x-max-priority", 3),
        Text("x-overflow", "reject-publish-dlx"),
        Text("x-dead-letter-strategy", "thrice"),
        Text("x-queue-mode", "lazy"),
        Text("x-max-age", "1h"),
        Number("x-quorum-initial-group-size", 0),
    ]);
    replicated("quorum", prop_oneof![4 => dead_letter(), 8 => right, 1 => wrong])
}

fn declare_stream() -> impl Strategy<Value = Op> {
    use Argument::{Number, Text};
    let right = select(vec![
        Number("x-max-length-bytes", 1_000_000),
        Text("x-max-age", "1h"),
        Number("x-stream-max-segment-size-bytes", 1_000_000),
        Number("x-initial-cluster-size", 1),
    ]);
    let wrong = select(vec![
        Number("x-max-length", 3),
        Number("x-message-ttl", 3),
        Number("x-max-age", 1),
        Number("x-max-length-bytes", -1),
        Number("x-stream-max-segment-size-bytes", 3_000_000_001),
        Text("x-dead-letter-strategy", "at-least-once"),
    ]);
    replicated("stream", prop_oneof![1 => dead_letter(), 8 => right, 4 => wrong])
}

/// A queue of a type that has to be durable, and mostly is.
fn replicated(kind: &'static str, argument: impl Strategy<Value = Argument>) -> impl Strategy<Value = Op> {
    let flags = (one_in(12), not_one_in(20), one_in(20), one_in(20))
        .prop_map(|(passive, durable, auto_delete, special)| Flags { passive, durable, auto_delete, special });
    let name = prop_oneof![12 => (0..3_u8).prop_map(Queue::Named), 1 => Just(Queue::Empty)];
    (slot(), name, flags, vec(argument, 0..3)).prop_map(move |(on, queue, flags, mut arguments)| {
        arguments.insert(0, Argument::Text("x-queue-type", kind));
        Op::DeclareQueue { on, queue, flags, arguments }
    })
}

fn dead_letter() -> impl Strategy<Value = Argument> {
    (exchange(), rarely(key())).prop_map(|(exchange, key)| Argument::DeadLetter(exchange, key))
}

fn bind_queue() -> impl Strategy<Value = Op> {
    (slot(), queue(), exchange(), key(), rarely(0..2_i64), one_in(6)).prop_map(
        |(on, queue, exchange, key, header, unbind)| Op::BindQueue { on, queue, exchange, key, header, unbind },
    )
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![4 => Just(0), 2 => Just(1), 2 => Just(2), 1 => Just(3)]
}

fn queue() -> impl Strategy<Value = Queue> {
    prop_oneof![
        20 => (0..3_u8).prop_map(Queue::Named),
        2 => Just(Queue::Generated),
        3 => Just(Queue::Empty),
        1 => Just(Queue::Missing),
        1 => Just(Queue::Reserved),
    ]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        16 => (0..3_u8).prop_map(Exchange::Named),
        6 => Just(Exchange::Default),
        1 => Just(Exchange::Missing),
        1 => Just(Exchange::Direct),
        1 => Just(Exchange::Reserved),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        1 => select(vec!["", "a", "a.b", "b", "a.*", "#", "*.b", "a.#.b", "a.b.c"]).prop_map(Key::Text),
        1 => queue().prop_map(Key::Queue),
    ]
}

fn flags() -> impl Strategy<Value = Flags> {
    (one_in(8), one_in(2), one_in(6), one_in(8)).prop_map(|(passive, durable, auto_delete, special)| Flags {
        passive,
        durable,
        auto_delete,
        special,
    })
}

fn argument() -> impl Strategy<Value = Argument> {
    use Argument::{Flag, Number, Text};
    let right = select(vec![
        Number("x-max-length", 2),
        Number("x-max-length", 0),
        Number("x-max-length-bytes", 20),
        Number("x-message-ttl", 0),
        Number("x-message-ttl", 60_000),
        Number("x-expires", 60_000),
        Number("x-max-priority", 3),
        Text("x-overflow", "drop-head"),
        Text("x-overflow", "reject-publish"),
        Text("x-overflow", "reject-publish-dlx"),
        Text("x-queue-type", "classic"),
        Flag("x-single-active-consumer", true),
        Flag("x-single-active-consumer", false),
        Text("x-own", "meaning nothing"),
    ]);
    let wrong = select(vec![
        Number("x-max-length", -1),
        Number("x-message-ttl", -1),
        Number("x-expires", 0),
        Number("x-max-priority", 300),
        Text("x-max-length", "2"),
        Text("x-overflow", "nowhere"),
        Text("x-queue-type", "none"),
        Text("x-single-active-consumer", "true"),
        Text("x-dead-letter-routing-key", "alone"),
        Number("x-dead-letter-exchange", 1),
        Text("x-queue-mode", "none"),
    ]);
    prop_oneof![
        6 => dead_letter(),
        10 => right,
        1 => wrong,
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let expiration = prop_oneof![9 => Just("0"), 3 => Just("60000"), 1 => Just("soon"), 1 => Just("-1")];
    let user = prop_oneof![3 => Just("guest"), 1 => Just("somebody")];
    (
        (one_in(3), one_in(60)),
        one_in(12),
        rarely(0..5_u8),
        rarely(expiration),
        rarely(0..2_i64),
        rarely(key()),
        proptest::option::weighted(0.04, user),
    )
        .prop_map(|((mandatory, immediate), persistent, priority, expiration, header, copy_to, user)| Message {
            mandatory,
            immediate,
            persistent,
            priority,
            expiration,
            header,
            copy_to,
            user,
        })
}

fn consume() -> impl Strategy<Value = Consume> {
    let priority = rarely(select(vec![-1, 1, 5]));
    (tag(), one_in(3), one_in(8), 0..4_u16, priority, proptest::option::weighted(0.3, offset())).prop_map(
        |(tag, no_ack, exclusive, prefetch, priority, offset)| Consume {
            tag,
            no_ack,
            exclusive,
            prefetch,
            priority,
            offset,
        },
    )
}

fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![3 => Just(Offset::First), 1 => Just(Offset::Next), 2 => (0..6_u64).prop_map(Offset::Number)]
}

/// A consumer tag; an empty one lets the broker choose.
fn tag() -> impl Strategy<Value = &'static str> {
    prop_oneof![1 => Just(""), 6 => select(vec!["one", "two", "three"])]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        3 => Just(How::Ack),
        2 => any::<bool>().prop_map(|requeue| How::Nack { requeue }),
        2 => any::<bool>().prop_map(|requeue| How::Reject { requeue }),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => (0..6_usize).prop_map(Which::Held),
        1 => (0..12_u64).prop_map(Which::Number),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![6 => Just(Mode::Confirm), 2 => Just(Mode::Transaction), 2 => Just(Mode::Commit), 1 => Just(Mode::Rollback)]
}

fn one_in(many: u32) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(1.0 / f64::from(many))
}

fn not_one_in(many: u32) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(1.0 - 1.0 / f64::from(many))
}

fn rarely<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::weighted(0.15, strategy)
}
