//! The body of the fuzz target of the driver: it takes any bytes, and panics where something does not hold.
//!
//! The input decides what the broker sends, in which pieces it comes through, what the user does, in which order tasks run,
//! how time passes, and how it ends.
//!
//! Not part of the public API. `fuzz/` runs it under libFuzzer, `tests/fuzz_smoke.rs` on stable Rust.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a fuzz target says that something is wrong by panicking")]

mod executor;
mod user;
mod wire;

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amqp_proto::config::{Address, Config, Heartbeat, Recovery, TcpOptions};
use amqp_proto::fuzzing::Input;

use self::executor::Executor;
use self::user::User;
use self::wire::{End, Wire};
use crate::driver::{BoxFuture, Io, Runtime};

/// The frame size of the fuzzed connection: the least, so that there are many frames.
const FRAME_MAX: u32 = 4096;

/// Rounds of one run, whatever the input.
const ROUNDS: usize = 2000;

/// Carries a connection by the driver, between a broker and a user of whom `data` makes anything. Time begins at `start`,
/// whatever that is.
///
/// Whatever they do: what leaves are whole frames within the agreed size, content never interleaves within a channel,
/// nothing follows a close; no fault is found with a broker that keeps to the protocol; nothing panics. Once the transport
/// has ended and no other is to be had, or the tasks of the runtime were dropped, every future of the API ends, and so does
/// what is asked for afterwards.
///
/// # Panics
/// If one of these does not hold.
pub fn driver(start: Instant, data: &[u8]) {
    let mut input = Input::new(data);
    let net = Net::new(start, &mut input);
    let mut user = User::new(net.orderly);
    user.connect(net.runtime(), config(&mut input));
    for _ in 0..ROUNDS {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0 | 1 => net.with_wire(|wire| wire.speak(&mut input)),
            2 | 3 => user.act(&mut input),
            4 => drop(net.executor.run_one(input.below(256))),
            5 => drop(user.run_one(input.below(256))),
            6 => settle(&net, &mut user),
            _ => surroundings(&net, &mut user, &mut input),
        }
    }
    finish(&net, &mut user, &mut input);
}

fn config(input: &mut Input<'_>) -> Config {
    let config = Config::new("broker")
        .frame_max(FRAME_MAX)
        .heartbeat(Heartbeat::seconds(10))
        .publish_buffer(8 * 1024)
        .receive_buffer(16 * 1024)
        .max_body_size(8000);
    match input.below(3) {
        0 => config.recovery(Recovery::default().max_attempts(2)),
        _ => config.no_recovery(),
    }
}

/// Runs until nothing can happen before the clock moves.
fn settle(net: &Net, user: &mut User) {
    for _ in 0..1_000_000 {
        if !net.executor.run_one(0) && !user.run_one(0) {
            return;
        }
    }
    panic!("this never comes to rest");
}

/// The stream behaves otherwise, time passes, the user drops something.
fn surroundings(net: &Net, user: &mut User, input: &mut Input<'_>) {
    match input.below(9) {
        0 => net.with_wire(|wire| wire.set_portion([1, 2, 7, 30, 1000, usize::MAX][input.below(6)])),
        1 => net.with_wire(|wire| wire.set_room([0, 1, 100, 4000, usize::MAX, usize::MAX][input.below(6)])),
        2 => net.with_wire(|wire| wire.tease(input.flag())),
        3 => net.with_wire(|wire| wire.say(if net.orderly { &[] } else { input.bytes(32) })),
        4 | 5 => {
            settle(net, user);
            net.executor.jump();
        }
        6 => user.forget(input),
        7 if input.byte() < 16 => net.with_wire(|wire| wire.end(End::chosen(input))),
        8 if input.byte() < 8 => net.refuses.store(input.flag(), Ordering::Relaxed),
        _ => {}
    }
}

/// There is no broker any more, or no runtime: whoever waits is told.
fn finish(net: &Net, user: &mut User, input: &mut Input<'_>) {
    net.refuses.store(true, Ordering::Relaxed);
    if input.flag() {
        user.forget_all();
    }
    match input.below(4) {
        0 => net.executor.drop_tasks(),
        1 => user.close(),
        _ => {}
    }
    net.with_wire(|wire| wire.end(End::chosen(input)));
    come_to_an_end(net, user);
    // Whatever is asked for now ends as well.
    for choice in 0..=u8::MAX {
        user.act(&mut Input::new(&[choice; 8]));
    }
    come_to_an_end(net, user);
    user.forget_all();
    come_to_an_end(net, user);
    assert_eq!(net.executor.task_count(), 0, "tasks are left");
}

/// Lets time pass until nobody waits any more.
fn come_to_an_end(net: &Net, user: &mut User) {
    for _ in 0..10_000 {
        settle(net, user);
        if !net.executor.jump() {
            return user.assert_idle();
        }
    }
    panic!("this never ends");
}

/// The runtime, and the network behind it.
struct Net {
    executor: Executor,
    /// The broker keeps to the protocol.
    orderly: bool,
    /// It says hello.
    greets: bool,
    refuses: AtomicBool,
    wire: Mutex<Option<Wire>>,
    seeds: AtomicU64,
}

impl Net {
    fn new(now: Instant, input: &mut Input<'_>) -> Arc<Self> {
        let orderly = input.flag();
        Arc::new(Self {
            executor: Executor::new(now),
            orderly,
            greets: orderly || input.byte() < 240,
            refuses: AtomicBool::new(false),
            wire: Mutex::new(None),
            seeds: AtomicU64::new(1),
        })
    }

    fn runtime(self: &Arc<Self>) -> Arc<dyn Runtime> {
        Arc::new(Handle(Arc::clone(self)))
    }

    /// Does something to the present stream, if there is one.
    fn with_wire(&self, does: impl FnOnce(&Wire)) {
        let wire = self.wire.lock().unwrap().clone();
        if let Some(wire) = &wire {
            does(wire);
        }
    }
}

struct Handle(Arc<Net>);

impl Runtime for Handle {
    fn now(&self) -> Instant {
        self.0.executor.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()> {
        Box::pin(self.0.executor.sleep_until(deadline))
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.0.executor.spawn(task);
    }

    fn resolve(&self, address: &Address) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let address = SocketAddr::new(IpAddr::from([192, 0, 2, 1]), address.port);
        Box::pin(std::future::ready(Ok(vec![address])))
    }

    fn connect(&self, _: SocketAddr, _: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let net = &self.0;
        if net.refuses.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        }
        let wire = Wire::new(net.orderly, net.greets);
        *net.wire.lock().unwrap() = Some(wire.clone());
        Box::pin(std::future::ready(Ok(Box::new(wire) as Box<dyn Io>)))
    }

    fn seed(&self) -> u64 {
        self.0.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

/// How long the waits of a user last who waits for a time.
const A_WHILE: Duration = Duration::from_millis(100);
