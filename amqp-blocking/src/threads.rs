//! The runtime: a thread per connection, which first connects the socket and then drives it.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io, Runtime};
use amqp_api::{Address, TcpOptions};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::Socket;
use crate::park::Sleep;
use crate::reactor::Reactor;

/// How long dropping the last handle waits.
const FLUSH: Duration = Duration::from_secs(5);

/// How much longer than its deadline a thread may try to connect.
const GRACE: Duration = Duration::from_secs(1);

/// What one call of `connect` has of threads.
pub(crate) struct Threads {
    connect_timeout: Duration,
    /// The thread of the address that is being tried.
    latest: Mutex<Option<Started>>,
}

struct Started {
    /// Where it gets its driver from.
    tasks: Sender<BoxFuture<()>>,
    driver: Driver,
}

impl Threads {
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, latest: Mutex::new(None) }
    }

    /// Starts a thread, which makes a transport, hands it out, and waits for its driver.
    pub(crate) fn start(
        &self,
        make: impl FnOnce() -> io::Result<(Reactor, Box<dyn Io>)> + Send + 'static,
    ) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let slot = Arc::new(Slot::default());
        let (tasks, task) = mpsc::channel();
        let (alive, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("amqp-connection".to_owned()).spawn({
            let slot = Arc::clone(&slot);
            move || {
                let _alive = alive;
                match make() {
                    Ok((reactor, io)) => {
                        slot.put(Ok(io));
                        // Nobody sends one if connecting was given up.
                        if let Ok(driver) = task.recv() {
                            reactor.run(driver);
                        }
                    }
                    Err(error) => slot.put(Err(error)),
                }
            }
        });
        match thread {
            Ok(thread) => *self.latest() = Some(Started { tasks, driver: Driver { ended, thread } }),
            Err(error) => slot.put(Err(error)),
        }
        Box::pin(poll_fn(move |cx| slot.poll(cx.waker())))
    }

    /// The thread that drives the connection that was made.
    pub(crate) fn driver(&self) -> Option<Driver> {
        self.latest().take().map(|started| started.driver)
    }

    fn latest(&self) -> MutexGuard<'_, Option<Started>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for Threads {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()> {
        Box::pin(Sleep(deadline))
    }

    fn spawn(&self, task: BoxFuture<()>) {
        if let Some(started) = &*self.latest() {
            // It waits for this, and for nothing else.
            let _ = started.tasks.send(task);
        }
    }

    fn connect(&self, address: &Address, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let (address, options) = (address.clone(), *options);
        // Whoever waits for it gives up before, and says so. This only ends the thread.
        let deadline = Instant::now().checked_add(self.connect_timeout.saturating_add(GRACE));
        self.start(move || Socket::Tcp(connect_tcp(&address, &options, deadline)?).register())
    }
}

type Transport = io::Result<Box<dyn Io>>;

/// A transport on its way from the thread that makes it.
#[derive(Default)]
struct Slot(Mutex<(Option<Transport>, Option<Waker>)>);

impl Slot {
    fn put(&self, result: Transport) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(result);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Transport> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.1 = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}

/// A driver's thread.
pub(crate) struct Driver {
    /// Says nothing, until the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

/// What every handle of a connection holds. The last one that is dropped, when the handles of amqp-api have queued the
/// close already, waits until the driver has carried it out: at the end of `main` its thread would end with the process.
pub(crate) struct Lifeline(Mutex<Option<Driver>>);

impl Lifeline {
    pub(crate) fn new(driver: Option<Driver>) -> Self {
        Self(Mutex::new(driver))
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let Some(driver) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if driver.ended.recv_timeout(FLUSH) == Err(mpsc::RecvTimeoutError::Disconnected) {
            // At most a few instructions away. If it has panicked, whoever waited for it has heard of that.
            let _ = driver.thread.join();
        }
    }
}

/// Tries the addresses of a host one after the other, all of them within the deadline.
fn connect_tcp(address: &Address, options: &TcpOptions, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for socket_address in (address.host.as_str(), address.port).to_socket_addrs()? {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match connect_address(socket_address, options, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_address(address: SocketAddr, options: &TcpOptions, within: Option<Duration>) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = options.send_buffer_size {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_size {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(idle) = options.keepalive {
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    match within {
        Some(limit) => socket.connect_timeout(&address.into(), limit)?,
        None => socket.connect(&address.into())?,
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(options.nodelay)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_small_writes_leave_at_once_unless_the_configuration_says_otherwise() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
        let mut options = TcpOptions::default();
        assert!(connect_tcp(&address, &options, None).unwrap().nodelay().unwrap());
        options.nodelay = false;
        let deadline = Instant::now().checked_add(Duration::from_secs(10));
        assert!(!connect_tcp(&address, &options, deadline).unwrap().nodelay().unwrap());
    }
}
