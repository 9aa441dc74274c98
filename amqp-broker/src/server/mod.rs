//! The broker on a port: a [`Broker`] is a handle on the thread of `event_loop`, which moves bytes between sockets
//! (`listener`, `connection`, `transport`, and `certificate` for whom a client's names) and the [`Core`]. Both share the core behind a mutex (`shared`); a handle that has changed
//! something wakes the thread. `inspect` is what tests ask of it, `operate` what they do to it.

#[cfg(feature = "tls")]
mod certificate;
mod connection;
mod event_loop;
mod inspect;
mod listener;
mod operate;
mod shared;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::Waker;

#[cfg(feature = "tls")]
use crate::CertificateName;
use crate::core::Core;
use crate::{Emulate, Limits, Mechanism};
use event_loop::EventLoop;
use listener::Listener;
use shared::Shared;
use transport::Security;

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
    security: Security,
    #[cfg(feature = "tls")]
    login_from: CertificateName,
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

    /// Speaks TLS, and nothing in clear: its URI begins with `amqps://`, and names the host `localhost`, for which the
    /// certificate should be. [`Broker::listen_tls`] adds TLS to what is spoken in clear.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<rustls::ServerConfig>>) -> Self {
        self.security = Security::Tls(config.into());
        self
    }

    /// Which name in a client's certificate is that of its user, for [`Mechanism::External`]. RabbitMQ's default is the whole
    /// of it.
    ///
    /// ```no_run
    /// # fn example(config: rustls::ServerConfig) -> std::io::Result<()> {
    /// use amqp_broker::{Broker, CertificateName, Mechanism};
    ///
    /// // The configuration asks for certificates of clients.
    /// let broker = Broker::builder().tls(config).mechanisms(&[Mechanism::External]).login_from(CertificateName::CommonName);
    /// let broker = broker.start()?;
    /// broker.add_user("alice", "a password that is not used");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn login_from(mut self, name: CertificateName) -> Self {
        self.login_from = name;
        self
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// If the port is taken, or there is no thread to be had.
    pub fn start(self) -> io::Result<Broker> {
        let listener = Listener::bind(self.port, self.security)?;
        let (address, is_secure) = (listener.address()?, listener.is_secure());
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = unix_time.as_nanos().to_le_bytes();
        let seed = self.seed.unwrap_or_else(|| u64::from_le_bytes(nanos.first_chunk().copied().unwrap_or_default()));
        let limits = self.limits.unwrap_or_else(|| Limits::of(self.version));
        let mut core = Core::new(self.version, limits, Instant::now(), unix_time, seed);
        if let Some(mechanisms) = self.mechanisms {
            core.set_mechanisms(mechanisms);
        }
        let shared = Shared::new(core);
        #[cfg(feature = "tls")]
        let shared = shared.with_login_from(self.login_from);
        let shared = Arc::new(shared);
        shared.add_listener(listener);
        let event_loop = EventLoop::new(Arc::clone(&shared))?;
        let waker = event_loop.waker();
        let thread = thread::Builder::new().name("amqp-broker".to_owned()).spawn(move || event_loop.run())?;
        waker.wake()?;
        Ok(Broker { shared, waker, address, is_secure, version: self.version, thread: Some(thread) })
    }
}

/// A running broker, on a port of 127.0.0.1. Dropping it ends it, and all its connections, without a word;
/// [`shutdown`](Self::shutdown) ends it in order.
///
/// There is the virtual host `/` and the user `guest` with the password `guest`.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    address: SocketAddr,
    is_secure: bool,
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
        Builder {
            version: Emulate::default(),
            limits: None,
            mechanisms: None,
            port: 0,
            seed: None,
            security: Security::default(),
            #[cfg(feature = "tls")]
            login_from: CertificateName::default(),
        }
    }

    /// The URI of its virtual host `/`, for `guest`.
    #[must_use]
    pub fn uri(&self) -> String {
        match self.is_secure {
            // A certificate is for a name.
            true => format!("amqps://guest:guest@localhost:{}", self.address.port()),
            false => format!("amqp://guest:guest@{}", self.address),
        }
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

    /// Listens on one more port of 127.0.0.1, for TLS, and returns its address.
    ///
    /// # Errors
    /// If there is no port to be had.
    #[cfg(feature = "tls")]
    pub fn listen_tls(&self, config: impl Into<Arc<rustls::ServerConfig>>) -> io::Result<SocketAddr> {
        let listener = Listener::bind(0, Security::Tls(config.into()))?;
        let address = listener.address()?;
        self.shared.add_listener(listener);
        self.waker.wake()?;
        Ok(address)
    }

    /// Waits until a condition holds, for so long at most, and says whether it does. It is looked at now, and whenever
    /// something has happened in the broker: it should ask the broker, and nothing else.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use amqp_broker::Broker;
    /// # fn example(broker: &Broker) {
    /// let is_empty = |broker: &Broker| broker.queue("orders").is_some_and(|queue| queue.messages() == 0);
    /// assert!(broker.wait_until(Duration::from_secs(5), is_empty), "the orders are not worked off");
    /// # }
    /// ```
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        self.shared.wait_until(timeout, || condition(self))
    }

    /// Ends as RabbitMQ does when it is shut down: no new client is let in, and those that are there are told by 320,
    /// `CONNECTION_FORCED`. Waits for so long at most until they have gone, and says whether they have.
    pub fn shutdown(self, timeout: Duration) -> bool {
        self.shared.close();
        self.close_all_connections(320, "broker forced connection closure with reason 'shutdown'");
        self.wait_until(timeout, |broker| broker.connections().is_empty())
    }

    /// Changes something, and has the thread write what follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        core.begin(Instant::now());
        let result = change(&mut core);
        core.finish();
        drop(core);
        self.shared.note_change();
        // If the thread has gone, nobody is connected.
        let _ = self.waker.wake();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.shared.core()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop();
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, the test has its own troubles.
            let _ = thread.join();
        }
    }
}
