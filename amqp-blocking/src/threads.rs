//! The runtime: a thread per connection, which first connects the socket and then drives it.

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use amqp_api::driver::{BoxFuture, Io, Runtime, tcp_socket};
use amqp_api::{Address, TcpOptions};

use crate::Socket;
use crate::park::{Sleep, block_on};
use crate::reactor::{self, Reactor};

/// How long dropping the last handle waits.
const FLUSH: Duration = Duration::from_secs(5);

/// How much longer than its deadline a thread may try to connect.
const GRACE: Duration = Duration::from_secs(1);

/// What one call of `connect` has of threads. By default, what stands above connections has: they get others.
#[derive(Default)]
pub(crate) struct Threads {
    connect_timeout: Duration,
    /// The thread of the address that is being tried.
    latest: Mutex<Option<Started>>,
}

struct Started {
    /// Where it gets its driver from, until it has it.
    tasks: Option<Sender<BoxFuture<()>>>,
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
            Ok(thread) => *self.latest() = Some(Started { tasks: Some(tasks), driver: Driver { ended, thread } }),
            Err(error) => slot.put(Err(error)),
        }
        Box::pin(poll_fn(move |cx| slot.poll(cx.waker())))
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
        let driver = self.latest().as_mut().and_then(|started| started.tasks.take());
        match driver {
            // It waits for this, and for nothing else.
            Some(tasks) => drop(tasks.send(task)),
            // It may block, as hooks do. If there are no more threads to be had, the task is dropped.
            None => drop(thread::Builder::new().name("amqp-task".to_owned()).spawn(|| block_on(task))),
        }
    }

    fn resolve(&self, address: &Address) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let Address { host, port } = address.clone();
        let slot = Arc::new(Slot::default());
        // The system's resolver has deadlines of its own. When it is given up before, the thread ends by itself.
        let thread = thread::Builder::new().name("amqp-resolver".to_owned()).spawn({
            let slot = Arc::clone(&slot);
            move || slot.put((host.as_str(), port).to_socket_addrs().map(Iterator::collect))
        });
        if let Err(error) = thread {
            slot.put(Err(error));
        }
        Box::pin(poll_fn(move |cx| slot.poll(cx.waker())))
    }

    fn another(&self, connect_timeout: Duration) -> Option<Arc<dyn Runtime>> {
        Some(Arc::new(Self::new(connect_timeout)))
    }

    fn lifeline(&self) -> Option<Box<dyn Any + Send + Sync>> {
        let started = self.latest().take()?;
        Some(Box::new(Lifeline(Mutex::new(Some(started.driver)))))
    }

    fn connect(&self, address: SocketAddr, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        // Whoever waits for it gives up before, and says so. This only ends the thread.
        let limit = self.connect_timeout.saturating_add(GRACE);
        let socket = tcp_socket(address, options);
        if reactor::is_driver() {
            // A connection that was lost comes back on the thread that it has.
            let slot = Arc::new(Slot::default());
            let thread = thread::Builder::new().name("amqp-connect".to_owned()).spawn({
                let slot = Arc::clone(&slot);
                move || slot.put(socket.and_then(|socket| connected(socket, address, limit)))
            });
            if let Err(error) = thread {
                slot.put(Err(error));
            }
            return Box::pin(async move {
                let stream = poll_fn(|cx| slot.poll(cx.waker())).await?;
                reactor::register(mio::net::TcpStream::from_std(stream))
            });
        }
        self.start(move || Socket::Tcp(connected(socket?, address, limit)?).register())
    }
}

/// Connects, and lets it block no more.
fn connected(socket: socket2::Socket, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    socket.connect_timeout(&address.into(), limit)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A result on its way from the thread that makes it.
struct Slot<T>(Mutex<(Option<io::Result<T>>, Option<Waker>)>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Slot<T> {
    fn put(&self, result: io::Result<T>) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(result);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<io::Result<T>> {
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
struct Driver {
    /// Says nothing, until the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

/// What the handles of a connection hold together. When the last one is dropped, and the close has been queued, it waits
/// until the driver has carried that out: at the end of `main` its thread would end with the process.
struct Lifeline(Mutex<Option<Driver>>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        let Some(driver) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if driver.ended.recv_timeout(FLUSH) == Err(mpsc::RecvTimeoutError::Disconnected) {
            // At most a few instructions away. If it has panicked, whoever waited for it has heard of that.
            let _ = driver.thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn f15_p31_a_connected_socket_has_the_options_that_were_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut options = TcpOptions::default();
        options.keepalive = Some(Duration::from_secs(77));
        options.receive_buffer_size = Some(30_000);
        let socket = tcp_socket(address, &options).unwrap();
        let stream = connected(socket, address, Duration::from_secs(20)).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        // Linux doubles it, for its own needs.
        assert!([30_000, 60_000].contains(&socket.recv_buffer_size().unwrap()));
    }
}
