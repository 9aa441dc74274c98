//! The loop of a driver's thread: it runs one future to its end, and waits in between for its socket, its waker and its
//! deadline.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io};
use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::io::{Readiness, Socket, Stream};
use crate::park;

const WAKE: Token = Token(0);

thread_local! {
    /// The sockets of this thread, if it is a driver's.
    static SOCKETS: RefCell<Option<Sockets>> = const { RefCell::new(None) };
}

/// A poll with one waker, and a socket: another one, after that was lost.
pub(crate) struct Reactor {
    poll: Poll,
    sockets: Sockets,
    signal: Arc<Signal>,
}

/// The sockets of a poll, and what is known of them.
struct Sockets {
    registry: Registry,
    last: usize,
    known: Vec<(Token, Weak<Readiness>)>,
}

impl Sockets {
    fn register<S: Socket>(&mut self, mut socket: S) -> io::Result<Box<dyn Io>> {
        self.known.retain(|(_, readiness)| readiness.strong_count() > 0);
        self.last += 1;
        let token = Token(self.last);
        self.registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let readiness = Arc::new(Readiness::new());
        self.known.push((token, Arc::downgrade(&readiness)));
        Ok(Box::new(Stream::new(socket, readiness)))
    }

    fn note(&self, event: &Event) {
        let known = self.known.iter().find(|(token, _)| *token == event.token());
        if let Some(readiness) = known.and_then(|(_, readiness)| readiness.upgrade()) {
            readiness.note(event);
        }
    }
}

/// Whether this is the thread of a driver.
pub(crate) fn is_driver() -> bool {
    SOCKETS.with_borrow(Option::is_some)
}

/// Registers a socket, which must not block, with the driver whose thread this is.
pub(crate) fn register<S: Socket>(socket: S) -> io::Result<Box<dyn Io>> {
    SOCKETS.with_borrow_mut(|sockets| match sockets {
        Some(sockets) => sockets.register(socket),
        None => Err(io::Error::other("this is not the thread of a driver")),
    })
}

impl Reactor {
    /// Registers a socket, which must not block.
    pub(crate) fn new<S: Socket>(socket: S) -> io::Result<(Self, Box<dyn Io>)> {
        let poll = Poll::new()?;
        let mut sockets = Sockets { registry: poll.registry().try_clone()?, last: WAKE.0, known: Vec::new() };
        let io = sockets.register(socket)?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let signal = Arc::new(Signal { waker, state: AtomicU8::new(RUNNING) });
        Ok((Self { poll, sockets, signal }, io))
    }

    /// Runs the driver. If the poll fails, which it does not, the driver is dropped, and that ends the connection.
    pub(crate) fn run(mut self, mut driver: BoxFuture<()>) {
        let waker = Waker::from(Arc::clone(&self.signal));
        let mut context = Context::from_waker(&waker);
        let mut events = Events::with_capacity(8);
        SOCKETS.set(Some(self.sockets));
        loop {
            self.signal.begin();
            let (polled, deadline) = park::poll(driver.as_mut(), &mut context);
            if polled.is_ready() {
                return;
            }
            let left = if self.signal.rest() {
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                SOCKETS.with_borrow(|sockets| {
                    if let Some(sockets) = sockets {
                        sockets.note(event);
                    }
                });
            }
        }
    }
}

/// The driver is being polled: it will look once more before it waits.
const RUNNING: u8 = 0;
/// It was woken since.
const WOKEN: u8 = 1;
/// It waits, or is about to.
const RESTING: u8 = 2;

/// The driver's waker. It costs a system call only if the driver waits, and only the first time.
struct Signal {
    waker: mio::Waker,
    state: AtomicU8,
}

impl Signal {
    /// Before a poll: what was said until now is heard by it.
    fn begin(&self) {
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    /// After a poll: whether nobody has said anything since, so that there is something to wait for.
    fn rest(&self) -> bool {
        self.state.compare_exchange(RUNNING, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == RESTING {
            // It fails only for want of memory in the kernel; the next deadline, a heartbeat's at the latest, helps.
            let _ = self.waker.wake();
        }
    }
}
