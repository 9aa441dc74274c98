//! The broker on a port: a [`Broker`] is a handle on the thread of `event_loop`, which moves bytes between sockets and the
//! [`Core`]. Both share the core behind a mutex; a handle that has changed something wakes the thread.

mod event_loop;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::Waker;

use crate::core::{Core, NotThere, Rule, SessionId};
use crate::{
    Alarm, BindingInfo, ChannelInfo, ConnectionInfo, ConsumerInfo, Emulate, ExchangeInfo, Limits, Mechanism,
    MessageInfo, Permissions, QueueInfo,
};
use event_loop::EventLoop;

/// How a broker is to be started.
///
/// ```
/// use amqp_broker::{Broker, Emulate};
///
/// # fn main() -> std::io::Result<()> {
/// let broker = Broker::builder().emulate(Emulate::V3_10).start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    version: Emulate,
    limits: Option<Limits>,
    mechanisms: Option<Vec<Mechanism>>,
    port: u16,
    seed: Option<u64>,
}

impl Builder {
    /// Behaves like this RabbitMQ.
    #[must_use]
    pub fn emulate(mut self, version: Emulate) -> Self {
        self.version = version;
        self
    }

    /// Offers and enforces these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Offers these SASL mechanisms, in this order, instead of what that RabbitMQ does by default.
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: &[Mechanism]) -> Self {
        self.mechanisms = Some(mechanisms.to_vec());
        self
    }

    /// Listens on this port of 127.0.0.1; 0, the default, is a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Makes the names that the broker gives (queues, consumers) from this seed: the same for the same order of events.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// If the port is taken, or there is no thread to be had.
    pub fn start(self) -> io::Result<Broker> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = unix_time.as_nanos().to_le_bytes();
        let seed = self.seed.unwrap_or_else(|| u64::from_le_bytes(nanos.first_chunk().copied().unwrap_or_default()));
        let limits = self.limits.unwrap_or_else(|| Limits::of(self.version));
        let mut core = Core::new(self.version, limits, Instant::now(), unix_time, seed);
        if let Some(mechanisms) = self.mechanisms {
            core.set_mechanisms(mechanisms);
        }
        let core = Arc::new(Mutex::new(core));
        let stopping = Arc::new(AtomicBool::new(false));
        let event_loop = EventLoop::new(listener, Arc::clone(&core), Arc::clone(&stopping))?;
        let waker = event_loop.waker();
        let thread = thread::Builder::new().name("amqp-broker".to_owned()).spawn(move || event_loop.run())?;
        Ok(Broker { core, waker, stopping, address, version: self.version, thread: Some(thread) })
    }
}

/// A running broker, on a port of 127.0.0.1. Dropping it ends it, and all its connections.
///
/// There is the virtual host `/` and the user `guest` with the password `guest`.
#[derive(Debug)]
pub struct Broker {
    core: Arc<Mutex<Core>>,
    waker: Arc<Waker>,
    stopping: Arc<AtomicBool>,
    address: SocketAddr,
    version: Emulate,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker that behaves like the newest RabbitMQ it knows, on a free port.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// To start one with other settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { version: Emulate::default(), limits: None, mechanisms: None, port: 0, seed: None }
    }

    /// The URI of its virtual host `/`, for `guest`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which RabbitMQ it behaves like.
    #[must_use]
    pub fn version(&self) -> Emulate {
        self.version
    }

    /// The queues of the virtual host `/`, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueInfo> {
        self.queues_in("/").unwrap_or_default()
    }

    /// The queues of a virtual host, by name.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn queues_in(&self, vhost: &str) -> Result<Vec<QueueInfo>, NotThere> {
        self.lock().list_queues(vhost)
    }

    /// A queue of the virtual host `/`; `None` if there is none of that name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueInfo> {
        self.queues().into_iter().find(|queue| queue.name == name)
    }

    /// The exchanges of the virtual host `/`, by name.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ExchangeInfo> {
        self.lock().list_exchanges("/").unwrap_or_default()
    }

    /// The bindings of the virtual host `/`, those of the default exchange included.
    #[must_use]
    pub fn bindings(&self) -> Vec<BindingInfo> {
        self.lock().list_bindings("/").unwrap_or_default()
    }

    /// The consumers of a queue of the virtual host `/`, oldest first.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn consumers(&self, queue: &str) -> Result<Vec<ConsumerInfo>, NotThere> {
        self.lock().list_consumers("/", queue)
    }

    /// The messages that wait in a queue of the virtual host `/`, in their order, or that are in the stream.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn messages(&self, queue: &str) -> Result<Vec<MessageInfo>, NotThere> {
        self.lock().list_messages("/", queue)
    }

    /// The open connections, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.lock().list_connections()
    }

    /// The open channels.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelInfo> {
        self.lock().list_channels()
    }

    /// What the broker would have logged about connections, from line number `from` on, and the number of the line that comes
    /// next. A connection that ends without a close is a `[warning]`, one that the broker closes an `[error]`.
    #[must_use]
    pub fn log_since(&self, from: usize) -> (Vec<String>, usize) {
        self.lock().log_since(from)
    }

    /// Sets or ends an alarm: while there is one, nothing is read from connections that publish.
    pub fn set_alarm(&self, alarm: Alarm, on: bool) {
        self.change(|core| core.set_alarm(Instant::now(), alarm, on));
    }

    /// Makes a fault, from now on.
    pub fn add_rule(&self, rule: Rule) {
        self.change(|core| core.add_rule(rule));
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.change(Core::clear_rules);
    }

    /// Closes the connections whose client property `connection_name` is `name`, and returns how many they were. An operator
    /// closes with 320.
    pub fn close_connections(&self, name: &str, code: u16, text: &str) -> usize {
        self.each(name, |core, id| core.force_close(id, code, text))
    }

    /// Closes all connections.
    pub fn close_all_connections(&self, code: u16, text: &str) -> usize {
        self.change(|core| {
            let all = core.everybody();
            all.iter().for_each(|id| core.force_close(*id, code, text));
            all.len()
        })
    }

    /// Closes all channels of the connections of this name, and returns how many they were.
    pub fn close_channels(&self, name: &str, code: u16, text: &str) -> usize {
        let mut count = 0;
        self.each(name, |core, id| count += core.force_close_channels(id, code, text));
        count
    }

    /// Drops the connections of this name without a word, and returns how many they were.
    pub fn cut_connections(&self, name: &str) -> usize {
        self.each(name, Core::operate_cut)
    }

    /// Neither reads from nor writes to the connections of this name any more, and returns how many they are.
    pub fn stall_connections(&self, name: &str) -> usize {
        self.each(name, |core, id| core.operate_stall(id, true))
    }

    /// Goes on with those that [`stall_connections`](Self::stall_connections) or a rule has stalled.
    pub fn resume_connections(&self, name: &str) -> usize {
        self.each(name, |core, id| core.operate_stall(id, false))
    }

    /// Cancels all consumers of a queue of the virtual host `/`, as RabbitMQ does when a queue's node goes, and returns how many
    /// they were.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn cancel_consumers(&self, queue: &str) -> Result<usize, NotThere> {
        self.change(|core| core.cancel_consumers("/", queue))
    }

    /// Deletes a queue of the virtual host `/`, whoever uses it.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn delete_queue(&self, queue: &str) -> Result<(), NotThere> {
        self.change(|core| core.operate_delete_queue("/", queue))
    }

    /// Adds a virtual host in which `guest` may do everything. `false` if there is one of that name.
    pub fn add_vhost(&self, name: &str) -> bool {
        self.change(|core| core.add_vhost(name))
    }

    /// Deletes a virtual host with all that is in it. Its connections are closed.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn delete_vhost(&self, name: &str) -> Result<(), NotThere> {
        self.change(|core| core.delete_vhost(name))
    }

    /// Adds a user who may do nothing yet, or gives one another password.
    pub fn add_user(&self, name: &str, password: &str) {
        self.change(|core| core.add_user(name, password));
    }

    /// Deletes a user. Connections that are open stay open, and may do nothing any more.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<(), NotThere> {
        self.change(|core| core.delete_user(name))
    }

    /// Lets a user do in a virtual host what the patterns say.
    ///
    /// # Errors
    /// If there is no such user or virtual host.
    pub fn set_permissions(&self, user: &str, vhost: &str, permissions: Permissions) -> Result<(), NotThere> {
        self.change(|core| core.set_permissions(user, vhost, permissions))
    }

    /// Lets a user do everything in a virtual host.
    ///
    /// # Errors
    /// If there is no such user or virtual host.
    pub fn allow_everything(&self, user: &str, vhost: &str) -> Result<(), NotThere> {
        self.change(|core| core.allow_everything(user, vhost))
    }

    fn each(&self, name: &str, mut act: impl FnMut(&mut Core, SessionId)) -> usize {
        self.change(|core| {
            let named = core.named(name);
            named.iter().for_each(|id| act(core, *id));
            named.len()
        })
    }

    /// Changes something, and has the thread write what follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        core.begin(Instant::now());
        let result = change(&mut core);
        core.finish();
        drop(core);
        // If the thread has gone, nobody is connected.
        let _ = self.waker.wake();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, the test has its own troubles.
            let _ = thread.join();
        }
    }
}
