//! A TCP proxy that goes wrong on demand: it stands between a client and a broker and stalls, delays, chops, cuts or
//! resets what passes, at once or after a number of bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Result;
use crate::raw::reset_on_close;

/// How soon a thread that cannot write notices that its connection has ended.
const TICK: Duration = Duration::from_millis(20);

/// One of the two ways through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ToBroker,
    /// What the broker sends.
    ToClient,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToBroker, Self::ToClient];

    fn index(self) -> usize {
        match self {
            Self::ToBroker => 0,
            Self::ToClient => 1,
        }
    }
}

/// What can happen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Both sides see the connection end.
    Cut,
    /// Both sides see the connection reset.
    Reset,
    /// Nothing passes any more, in either direction, and both sides stay connected.
    Stall,
}

/// A proxy in front of a broker. Dropping it cuts its connections and ends its threads.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `broker`, for the time being without any fault.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(broker: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("proxy".to_owned()).spawn(move || shared.serve(&listener, broker))?
        };
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URI of the broker behind it.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// How many connections it was asked for so far, refused ones included.
    pub fn accepted(&self) -> usize {
        self.shared.state().accepted
    }

    /// How many bytes it has passed on so far, over all connections.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.state().passed[direction.index()]
    }

    /// Stops reading in a direction, until [`Proxy::resume`]: the sender finds its buffers filling up.
    pub fn stall(&self, direction: Direction) {
        self.shared.change(|state| state.stalled[direction.index()] = true);
    }

    /// Ends the stall of both directions.
    pub fn resume(&self) {
        self.shared.change(|state| state.stalled = [false; 2]);
    }

    /// Passes on at most `bytes` at a time, each as a segment of its own.
    pub fn chop(&self, bytes: usize) {
        self.shared.change(|state| state.chunk = bytes.max(1));
    }

    /// Holds every piece back for `delay` before it is passed on.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }

    /// Closes new connections at once, or no longer does.
    pub fn refuse(&self, refuse: bool) {
        self.shared.change(|state| state.refuses = refuse);
    }

    /// Lets all connections that are open suffer a fault now. Later ones are not affected, unless by a stall.
    pub fn inflict(&self, fault: Fault) {
        self.shared.inflict(fault);
    }

    /// Lets a fault happen as soon as `bytes` more have been passed on in `direction`, and not one more. A
    /// reset may overtake those that the receiver has not read yet.
    pub fn inflict_after(&self, direction: Direction, bytes: u64, fault: Fault) {
        self.shared.change(|state| state.planned[direction.index()] = Some((bytes, fault)));
    }

    /// Tells the receiver in a direction that nothing more will come, and keeps the other direction going.
    pub fn half_close(&self, direction: Direction) {
        for link in self.shared.links() {
            let _ = link.sink(direction).shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.is_over = true);
        self.shared.inflict(Fault::Cut);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    is_over: bool,
    refuses: bool,
    stalled: [bool; 2],
    planned: [Option<(u64, Fault)>; 2],
    chunk: usize,
    delay: Duration,
    accepted: usize,
    passed: [u64; 2],
    // Weak, so that a link ends when its two threads do: a reset happens when the last handle goes.
    links: Vec<Weak<Link>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            is_over: false,
            refuses: false,
            stalled: [false; 2],
            planned: [None; 2],
            chunk: 64 * 1024,
            delay: Duration::ZERO,
            accepted: 0,
            passed: [0; 2],
            links: Vec::new(),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.iter().filter_map(Weak::upgrade).collect()
    }

    fn serve(self: Arc<Self>, listener: &TcpListener, broker: SocketAddr) {
        let mut pumps = Vec::new();
        for client in listener.incoming() {
            let mut state = self.state();
            if state.is_over {
                break;
            }
            state.accepted += 1;
            if state.refuses {
                continue;
            }
            drop(state);
            // A broker that does not answer is a client that is hung up on.
            if let Some(link) = client.ok().and_then(|client| Link::new(client, broker).ok()) {
                let link = Arc::new(link);
                self.change(|state| state.links.push(Arc::downgrade(&link)));
                for direction in Direction::BOTH {
                    let (shared, link) = (Arc::clone(&self), Arc::clone(&link));
                    pumps.push(thread::spawn(move || shared.pump(&link, direction)));
                }
            }
        }
        self.inflict(Fault::Cut);
        for pump in pumps {
            let _ = pump.join();
        }
    }

    fn inflict(&self, fault: Fault) {
        if fault == Fault::Stall {
            self.change(|state| state.stalled = [true; 2]);
            return;
        }
        for link in self.links() {
            self.end(&link, fault);
        }
    }

    fn end(&self, link: &Link, fault: Fault) {
        link.end(fault);
        // Under the lock, so that no thread that has just seen the connection open goes to wait after this.
        self.change(|_| {});
    }

    /// Passes on what comes in one direction of one connection, until that ends.
    fn pump(&self, link: &Link, direction: Direction) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(limit) = self.gate(link, direction) {
            let limit = limit.min(buffer.len());
            match link.source(direction).read(&mut buffer[..limit]) {
                Ok(0) => {
                    // Unless it is ours, of a connection that is being ended.
                    if !link.has_ended() {
                        let _ = link.sink(direction).shutdown(Shutdown::Write);
                    }
                    return;
                }
                Ok(count) => {
                    if self.pass(link, direction, &buffer[..count]).is_none() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What one side did to its connection, the other one shall see.
                Err(_) => {
                    self.end(link, Fault::Reset);
                    return;
                }
            }
        }
    }

    /// Waits while the direction is stalled. `None` if the connection has ended, else how many bytes may be read.
    fn gate(&self, link: &Link, direction: Direction) -> Option<usize> {
        let stalled = |state: &mut State| state.stalled[direction.index()] && !link.has_ended();
        let state = self.changed.wait_while(self.state(), stalled).unwrap_or_else(PoisonError::into_inner);
        (!link.has_ended()).then_some(state.chunk)
    }

    /// Passes on a piece, as far as the faults that are planned allow. `None` if the connection has ended.
    fn pass(&self, link: &Link, direction: Direction, mut piece: &[u8]) -> Option<()> {
        let delay = self.state().delay;
        if !delay.is_zero() {
            let waits = |_: &mut State| !link.has_ended();
            drop(self.changed.wait_timeout_while(self.state(), delay, waits));
        }
        while !piece.is_empty() {
            // The stall may have begun while the piece was read.
            self.gate(link, direction)?;
            let (now, fault) = self.plan(direction, piece.len());
            // Before it is written, so that what a receiver has is always counted.
            self.state().passed[direction.index()] += now as u64;
            link.write(direction, &piece[..now])?;
            piece = &piece[now..];
            if let Some(fault) = fault {
                self.inflict(fault);
            }
        }
        Some(())
    }

    /// How many of `count` bytes may pass before a planned fault, and the fault.
    fn plan(&self, direction: Direction, count: usize) -> (usize, Option<Fault>) {
        let planned = &mut self.state().planned[direction.index()];
        match planned {
            Some((left, fault)) if *left <= count as u64 => {
                let (left, fault) = (*left, *fault);
                *planned = None;
                (usize::try_from(left).unwrap_or(count), Some(fault))
            }
            Some((left, _)) => {
                *left -= count as u64;
                (count, None)
            }
            None => (count, None),
        }
    }
}

/// One connection through the proxy.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    broker: TcpStream,
    ended: AtomicBool,
}

impl Link {
    fn new(client: TcpStream, broker: SocketAddr) -> Result<Self> {
        let broker = TcpStream::connect(broker)?;
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(TICK))?;
        }
        Ok(Self { client, broker, ended: AtomicBool::new(false) })
    }

    fn source(&self, direction: Direction) -> &TcpStream {
        match direction {
            Direction::ToBroker => &self.client,
            Direction::ToClient => &self.broker,
        }
    }

    fn sink(&self, direction: Direction) -> &TcpStream {
        match direction {
            Direction::ToBroker => &self.broker,
            Direction::ToClient => &self.client,
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Ends the connection and wakes its two threads, which close the sockets.
    fn end(&self, fault: Fault) {
        self.ended.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.broker] {
            let how =
                if fault == Fault::Reset && reset_on_close(stream).is_ok() { Shutdown::Read } else { Shutdown::Both };
            let _ = stream.shutdown(how);
        }
    }

    /// Writes everything, however slowly the receiver reads. `None` if the connection ended meanwhile.
    fn write(&self, direction: Direction, mut piece: &[u8]) -> Option<()> {
        while !piece.is_empty() {
            match self.sink(direction).write(piece) {
                Ok(count) => piece = &piece[count..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            if self.has_ended() {
                return None;
            }
        }
        Some(())
    }
}
