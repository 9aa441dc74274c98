//! The loop of a driver's thread: it runs one future to its end, and waits in between for its socket, its waker and its
//! deadline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io};
use mio::{Events, Interest, Poll, Token};

use crate::io::{Readiness, Socket, Stream};
use crate::park;

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// A poll with one socket and one waker.
pub(crate) struct Reactor {
    poll: Poll,
    readiness: Arc<Readiness>,
    signal: Arc<Signal>,
}

impl Reactor {
    /// Registers a socket, which must not block.
    pub(crate) fn new<S: Socket>(mut socket: S) -> io::Result<(Self, Box<dyn Io>)> {
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let signal = Arc::new(Signal { waker, state: AtomicU8::new(RUNNING) });
        let readiness = Arc::new(Readiness::new());
        let io = Box::new(Stream::new(socket, Arc::clone(&readiness)));
        Ok((Self { poll, readiness, signal }, io))
    }

    /// Runs the driver. If the poll fails, which it does not, the driver is dropped, and that ends the connection.
    pub(crate) fn run(mut self, mut driver: BoxFuture<()>) {
        let waker = Waker::from(Arc::clone(&self.signal));
        let mut context = Context::from_waker(&waker);
        let mut events = Events::with_capacity(8);
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
                if event.token() == SOCKET {
                    self.readiness.note(event);
                }
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
