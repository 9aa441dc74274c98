//! A scripted peer: a server on loopback that does what a test tells it, right or wrong.
//!
//! A script is a closure that runs on a thread of its own. It accepts connections, one after the other, and drives
//! each as a [`Wire`]: expects bytes or methods, sends what it likes, half-closes, resets, or holds still.
//!
//! ```
//! use conformance::peer::Peer;
//! use conformance::raw::Wire;
//!
//! # fn main() -> conformance::Result<()> {
//! let peer = Peer::start(|server| {
//!     let mut wire = server.accept()?;
//!     wire.expect(b"ping")?;
//!     wire.send(b"pong")
//! })?;
//!
//! let mut client = Wire::connect(peer.address())?;
//! client.send(b"ping")?;
//! client.expect(b"pong")?;
//! peer.finish()
//! # }
//! ```

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::raw::Wire;
use crate::{Failure, Result, wait};

/// How long a script waits for the client to connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running script and the address it listens on. Dropping it ends the script, wherever it is.
#[derive(Debug)]
#[must_use = "dropping it ends the script"]
pub struct Peer {
    address: SocketAddr,
    test: Arc<Test>,
    script: Option<JoinHandle<Result<()>>>,
}

impl Peer {
    /// Listens on a free port of 127.0.0.1 and runs `script` on a thread.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(script: impl FnOnce(&mut Server) -> Result<()> + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let test = Arc::new(Test::default());
        let mut server = Server { listener, test: Arc::clone(&test) };
        let script = thread::Builder::new().name("peer".to_owned()).spawn(move || script(&mut server))?;
        Ok(Self { address, test, script: Some(script) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URI for a client.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Waits for the script's end and says how it went. What it [holds](Server::hold) it then lets go.
    ///
    /// # Errors
    /// The script's own.
    ///
    /// # Panics
    /// If the script did.
    pub fn finish(mut self) -> Result<()> {
        self.test.end();
        match self.script.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(script) = self.script.take() else { return };
        self.test.end();
        self.test.cut();
        // How it went was for `finish` to ask.
        let _ = script.join();
    }
}

/// The script's side: it listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    test: Arc<Test>,
}

impl Server {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// If none comes within ten seconds, or the peer is dropped.
    pub fn accept(&mut self) -> Result<Wire> {
        let stream = wait::until(PATIENCE, "a connection", || match self.listener.accept() {
            Ok((stream, _)) => Some(Ok(stream)),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(Err(Failure::from(error))),
            Err(_) if self.test.state().is_cut => Some(Err(Failure::new("the peer was dropped"))),
            Err(_) => None,
        })??;
        let wire = Wire::new(stream)?;
        self.test.watch(&wire);
        Ok(wire)
    }

    /// Waits until the test calls [`Peer::finish`] or drops the peer. Connections that the script has stay open
    /// meanwhile, and nothing is read from or written to them.
    pub fn hold(&self) {
        let state = self.test.state();
        drop(self.test.ended.wait_while(state, |state| !state.is_over));
    }
}

/// An address on loopback where nothing listens: connections to it are refused.
///
/// # Errors
/// If there is no free port.
pub fn refusing_address() -> Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, crate::node::free_port()?).into())
}

/// What a script and the test that runs it know of each other.
#[derive(Debug, Default)]
struct Test {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    is_cut: bool,
    // Weak, so that it is the script that keeps a connection open: a reset happens when the last handle goes.
    wires: Vec<Weak<TcpStream>>,
}

impl Test {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.state().is_over = true;
        self.ended.notify_all();
    }

    /// Wakes a script that waits on any of its connections.
    fn cut(&self) {
        let mut state = self.state();
        state.is_cut = true;
        for stream in state.wires.drain(..).filter_map(|wire| wire.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn watch(&self, wire: &Wire) {
        let mut state = self.state();
        state.wires.push(wire.weak());
        if state.is_cut {
            drop(state);
            self.cut();
        }
    }
}
