//! The world: tasks run in an order that the seed decides, the clock jumps to the next deadline when nothing else can happen,
//! and there is a panic when nothing can happen at all: then a wake-up was lost.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io, Runtime, attach};
use amqp_api::{Address, Config, ConnectOptions, Connection, Error, TcpOptions};

use crate::executor::{Executor, Flag};
use crate::peer::Peer;
use crate::tools::Rng;
use crate::wire::{FakeIo, Manners, WireHandle};

#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    seed: u64,
    start: Instant,
    executor: Executor,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    wires: Vec<WireHandle>,
    /// Every address of every host, and what dialling it gives.
    addresses: Vec<(IpAddr, String, Host)>,
    dialled: Vec<String>,
}

#[derive(Clone)]
pub(crate) enum Host {
    Answers(WireHandle),
    Refuses,
    /// Neither answers nor refuses.
    Unreachable,
    /// Each time the next of these; the last one stays.
    Each(Arc<Mutex<VecDeque<Host>>>),
}

impl Host {
    pub(crate) fn each(hosts: impl IntoIterator<Item = Self>) -> Self {
        Self::Each(Arc::new(Mutex::new(hosts.into_iter().collect())))
    }

    fn next(self) -> Self {
        match self {
            Self::Each(hosts) => {
                let mut hosts = hosts.lock().unwrap();
                if hosts.len() > 1 { hosts.pop_front().unwrap() } else { hosts[0].clone() }
            }
            host => host,
        }
    }
}

/// A future that is run in steps.
pub(crate) struct Stepped<'f, T> {
    future: Pin<Box<dyn Future<Output = T> + 'f>>,
    flag: Arc<Flag>,
}

impl<'f, T> Stepped<'f, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'f) -> Self {
        Self { future: Box::pin(future), flag: Flag::new() }
    }
}

/// What a step of the world brought.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// The future is done.
    Done(T),
    /// Something happened.
    Moved,
    /// Nothing can happen before the clock moves.
    Still,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        type Clock = Instant;
        let now = Clock::now();
        let state = State { rng: Rng::new(seed), wires: Vec::new(), addresses: Vec::new(), dialled: Vec::new() };
        Self(Arc::new(Inner { seed, start: now, executor: Executor::new(now), state: Mutex::new(state) }))
    }

    /// How much virtual time has passed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.executor.now() - self.0.start
    }

    /// A stream to a new peer.
    pub(crate) fn wire(&self, peer: Peer, manners: Manners) -> WireHandle {
        let wire = WireHandle::new(peer, manners, self.0.seed);
        self.0.state.lock().unwrap().wires.push(wire.clone());
        wire
    }

    /// What dialling this host gives; see [`Host`]. Called again for the same name, it adds an address to that host.
    pub(crate) fn host(&self, name: &str, host: Host) -> IpAddr {
        let addresses = &mut self.0.state.lock().unwrap().addresses;
        let ip = IpAddr::from([192, 0, 2, u8::try_from(addresses.len()).unwrap()]);
        addresses.push((ip, name.to_owned(), host));
        ip
    }

    /// The addresses that were tried, by the names of their hosts.
    pub(crate) fn dialled(&self) -> Vec<String> {
        self.0.state.lock().unwrap().dialled.clone()
    }

    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// A connection to a well-behaved peer, and the stream between.
    pub(crate) fn connect(&self, config: Config) -> (Connection, WireHandle) {
        self.connect_to(Peer::default(), Manners::Good, config)
    }

    pub(crate) fn connect_to(&self, peer: Peer, manners: Manners, config: Config) -> (Connection, WireHandle) {
        let wire = self.wire(peer, manners);
        (self.block_on(self.attach(&wire, config)).unwrap(), wire)
    }

    pub(crate) async fn attach(
        &self,
        wire: &WireHandle,
        options: impl Into<ConnectOptions>,
    ) -> Result<Connection, Error> {
        attach(self.runtime(), Box::new(FakeIo(wire.clone())), options).await
    }

    /// Runs a future to its end, and everything else meanwhile.
    pub(crate) fn block_on<'f, T>(&self, future: impl Future<Output = T> + 'f) -> T {
        let mut stepped = Stepped::new(future);
        for _ in 0..5_000_000 {
            match self.step(&mut stepped) {
                Step::Done(output) => return output,
                Step::Moved => {}
                Step::Still => {
                    assert!(
                        self.0.executor.jump(),
                        "nothing can happen any more: a wake-up was lost (seed {})",
                        self.0.seed
                    );
                }
            }
        }
        panic!("this never ends (seed {})", self.0.seed);
    }

    /// Does one thing: polls the future if it was woken, runs a task, or moves the network.
    pub(crate) fn step<T>(&self, stepped: &mut Stepped<'_, T>) -> Step<T> {
        let first = self.0.state.lock().unwrap().rng.below(4);
        if first == 0 && self.network() {
            return Step::Moved;
        }
        match stepped.flag.poll(stepped.future.as_mut()) {
            Some(Poll::Ready(output)) => return Step::Done(output),
            Some(Poll::Pending) => return Step::Moved,
            None => {}
        }
        if self.run_one() || stepped.flag.is_set() || self.network() { Step::Moved } else { Step::Still }
    }

    /// Runs a future and everything else until nothing can happen before the clock moves.
    pub(crate) fn settle_with<T>(&self, stepped: &mut Stepped<'_, T>) -> Option<T> {
        loop {
            match self.step(stepped) {
                Step::Done(output) => return Some(output),
                Step::Moved => {}
                Step::Still => return None,
            }
        }
    }

    /// Runs until nothing can happen before the clock moves.
    pub(crate) fn settle(&self) {
        while self.run_one() || self.network() {}
    }

    /// Lets this much time pass.
    pub(crate) fn sleep(&self, time: Duration) {
        let deadline = self.now() + time;
        self.block_on(self.sleep_until(deadline));
        self.settle();
    }

    /// The same, inside of a future: long enough for a loss to be noticed.
    pub(crate) async fn sleep_a_while(&self) {
        let deadline = self.now() + Duration::from_millis(1);
        self.sleep_until(deadline).await;
    }

    /// Drops every task, as a runtime does that is shut down.
    pub(crate) fn drop_tasks(&self) {
        self.0.executor.drop_tasks();
    }

    /// How many tasks have not ended.
    pub(crate) fn task_count(&self) -> usize {
        self.0.executor.task_count()
    }

    fn run_one(&self) -> bool {
        let pick = self.0.state.lock().unwrap().rng.below(1 << 20);
        self.0.executor.run_one(pick)
    }

    fn network(&self) -> bool {
        let wires = self.0.state.lock().unwrap().wires.clone();
        wires.iter().filter(|wire| wire.step()).count() > 0
    }
}

impl Runtime for World {
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
        let state = self.0.state.lock().unwrap();
        let addresses = state.addresses.iter().filter(|(_, name, _)| *name == address.host);
        let addresses = addresses.map(|(ip, ..)| SocketAddr::new(*ip, address.port)).collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }

    fn connect(&self, address: SocketAddr, _: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let mut state = self.0.state.lock().unwrap();
        let (_, name, host) = state.addresses.iter().find(|(ip, ..)| *ip == address.ip()).expect("a known address");
        let (dialled, host) = (format!("{name}:{}", address.port()), host.clone());
        state.dialled.push(dialled);
        let host = host.next();
        Box::pin(async move {
            match host {
                Host::Answers(wire) => {
                    let io: Box<dyn Io> = Box::new(FakeIo(wire));
                    Ok(io)
                }
                Host::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                Host::Unreachable | Host::Each(_) => std::future::pending().await,
            }
        })
    }

    fn seed(&self) -> u64 {
        self.0.seed
    }
}
