//! The executor: tasks in an order that the seed decides, a clock that jumps to the next deadline when nothing else can
//! happen, and a panic when nothing can happen at all: then a wake-up was lost.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io, Runtime, attach};
use amqp_api::{Address, Config, ConnectOptions, Connection, Error, TcpOptions};

use crate::peer::Peer;
use crate::tools::Rng;
use crate::wire::{FakeIo, Manners, WireHandle};

#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    seed: u64,
    start: Instant,
    state: Mutex<State>,
    runnable: Mutex<VecDeque<Arc<Task>>>,
}

struct State {
    rng: Rng,
    now: Instant,
    timers: Vec<(Instant, u64, Waker)>,
    next_timer: u64,
    wires: Vec<WireHandle>,
    tasks: Vec<Arc<Task>>,
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

struct Task {
    future: Mutex<Option<BoxFuture<()>>>,
    queued: AtomicBool,
    world: Weak<Inner>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if let Some(world) = self.world.upgrade()
            && !self.queued.swap(true, Ordering::SeqCst)
        {
            world.runnable.lock().unwrap().push_back(self);
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future that is run in steps.
pub(crate) struct Stepped<'f, T> {
    future: Pin<Box<dyn Future<Output = T> + 'f>>,
    flag: Arc<Flag>,
}

impl<'f, T> Stepped<'f, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'f) -> Self {
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) }
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
        let state = State {
            rng: Rng::new(seed),
            now,
            timers: Vec::new(),
            next_timer: 0,
            wires: Vec::new(),
            tasks: Vec::new(),
            addresses: Vec::new(),
            dialled: Vec::new(),
        };
        Self(Arc::new(Inner { seed, start: now, state: Mutex::new(state), runnable: Mutex::default() }))
    }

    /// How much virtual time has passed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.state.lock().unwrap().now - self.0.start
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
                    assert!(self.jump(), "nothing can happen any more: a wake-up was lost (seed {})", self.0.seed);
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
        if stepped.flag.0.swap(false, Ordering::SeqCst) {
            let waker = Waker::from(Arc::clone(&stepped.flag));
            return match stepped.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => Step::Done(output),
                Poll::Pending => Step::Moved,
            };
        }
        if self.run_one() || stepped.flag.0.load(Ordering::SeqCst) || self.network() {
            Step::Moved
        } else {
            Step::Still
        }
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
        let deadline = self.0.state.lock().unwrap().now + time;
        self.block_on(self.sleep_until(deadline));
        self.settle();
    }

    /// The same, inside of a future: long enough for a loss to be noticed.
    pub(crate) async fn sleep_a_while(&self) {
        let deadline = self.0.state.lock().unwrap().now + Duration::from_millis(1);
        self.sleep_until(deadline).await;
    }

    /// Drops every task, as a runtime does that is shut down.
    pub(crate) fn drop_tasks(&self) {
        let tasks = std::mem::take(&mut self.0.state.lock().unwrap().tasks);
        for task in tasks {
            let future = task.future.lock().unwrap().take();
            drop(future);
        }
    }

    /// How many tasks have not ended.
    pub(crate) fn task_count(&self) -> usize {
        let tasks = self.0.state.lock().unwrap().tasks.clone();
        tasks.iter().filter(|task| task.future.lock().unwrap().is_some()).count()
    }

    fn run_one(&self) -> bool {
        let pick = self.0.state.lock().unwrap().rng.below(1 << 20);
        let task = {
            let mut runnable = self.0.runnable.lock().unwrap();
            if runnable.is_empty() {
                return false;
            }
            let at = pick % runnable.len();
            runnable.remove(at).unwrap()
        };
        task.queued.store(false, Ordering::SeqCst);
        let mut slot = task.future.lock().unwrap();
        if let Some(future) = &mut *slot {
            let waker = Waker::from(Arc::clone(&task));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *slot = None;
            }
        }
        true
    }

    fn network(&self) -> bool {
        let wires = self.0.state.lock().unwrap().wires.clone();
        wires.iter().filter(|wire| wire.step()).count() > 0
    }

    fn jump(&self) -> bool {
        let due = {
            let mut state = self.0.state.lock().unwrap();
            let Some(next) = state.timers.iter().map(|(at, ..)| *at).min() else { return false };
            state.now = state.now.max(next);
            let now = state.now;
            let (due, later) = std::mem::take(&mut state.timers).into_iter().partition(|(at, ..)| *at <= now);
            state.timers = later;
            let due: Vec<_> = due;
            due
        };
        due.into_iter().for_each(|(_, _, waker)| waker.wake());
        true
    }
}

impl Runtime for World {
    fn now(&self) -> Instant {
        self.0.state.lock().unwrap().now
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()> {
        let mut state = self.0.state.lock().unwrap();
        state.next_timer += 1;
        Box::pin(Sleep { world: self.clone(), deadline, key: state.next_timer })
    }

    fn spawn(&self, task: BoxFuture<()>) {
        let task = Arc::new(Task {
            future: Mutex::new(Some(task)),
            queued: AtomicBool::new(false),
            world: Arc::downgrade(&self.0),
        });
        self.0.state.lock().unwrap().tasks.push(Arc::clone(&task));
        task.wake();
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

struct Sleep {
    world: World,
    deadline: Instant,
    key: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.0.state.lock().unwrap();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        let key = self.key;
        state.timers.retain(|(_, other, _)| *other != key);
        state.timers.push((self.deadline, key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let key = self.key;
        self.world.0.state.lock().unwrap().timers.retain(|(_, other, _)| *other != key);
    }
}
