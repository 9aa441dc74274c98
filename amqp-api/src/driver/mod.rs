//! What carries a connection: for those who write an adapter to a runtime. Users of an adapter need nothing from here.
//!
//! An adapter implements two traits: [`Io`], a byte stream to read from and write to, and [`Runtime`], which connects,
//! sleeps, tells the time and spawns. [`connect`], [`attach`], [`pool`] and [`pools`] do the rest:
//!
//! | file | job |
//! |---|---|
//! | `io`, `runtime` | the two traits |
//! | `dial` | hosts and their addresses one after the other, each with a deadline |
//! | `socket` | a socket with its options, for adapters that have sockets: by the feature `socket` |
//! | `tls` | a stream over a stream, by the feature `tls` |
//! | `renew` | credentials from a provider, and again before they expire |
//! | `session` | the loop over one transport: a future that reads, lets the core work, wakes and writes |
//! | `reader`, `writer`, `timer` | its three sources of readiness |
//!
//! The session works on state (`shared`) that outlives it: handles know nothing of sockets.

mod dial;
mod io;
mod reader;
mod renew;
mod runtime;
mod session;
#[cfg(feature = "socket")]
mod socket;
mod timer;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod writer;

use std::sync::Arc;

use amqp_proto::error::{Error, ErrorKind};

pub use self::dial::connect;
pub use self::io::Io;
pub use self::runtime::{BoxFuture, Runtime};
use self::session::Session;
#[cfg(feature = "socket")]
pub use self::socket::tcp_socket;
use crate::above::{Pool, PoolsConfig, PoolsSetup};
use crate::call::{Call, Keep, done};
use crate::connect::{ConnectOptions, IntoConnectOptions};
use crate::connection::Connection;
use crate::link::Link;
use crate::shared::{Shared, Touch};

/// A pool of at most `size` connections that are made with these options. It connects to nothing yet.
///
/// # Errors
///
/// If the options cannot be used, or the size is 0.
pub fn pool(runtime: Arc<dyn Runtime>, options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
    Pool::new(runtime, options.into_connect_options()?, size)
}

/// Pools by name, as they are configured. It connects to nothing yet.
///
/// # Errors
///
/// If the options of one cannot be used.
pub fn pools(runtime: Arc<dyn Runtime>, config: PoolsConfig) -> Result<PoolsSetup, Error> {
    PoolsSetup::new(runtime, config)
}

/// Makes a connection over a transport that is connected already: spawns its driver and waits for the handshake.
///
/// # Errors
///
/// What ended the handshake: the broker's refusal, a lost transport, a time-out; or why there are no credentials.
///
/// # Cancel safety
///
/// Dropped, it closes the connection.
pub async fn attach(
    runtime: Arc<dyn Runtime>,
    io: Box<dyn Io>,
    options: impl Into<ConnectOptions>,
) -> Result<Connection, Error> {
    let ConnectOptions { mut config, credentials: provider, .. } = options.into();
    let limit = config.timeouts.connect;
    if let Some(provider) = &provider {
        config.credentials = renew::ask(&*runtime, &**provider, limit).await?;
    }
    config.validate().map_err(|error| Error::invalid(error.to_string()))?;
    let lifetime = config.credentials.lifetime();
    let shared = Shared::new(config, Arc::clone(&runtime));
    let link = Link::new(Arc::clone(&shared));
    let opened = shared.lock().conn.opened();
    runtime.spawn(Box::pin(drive(EndOnDrop(shared), io, Arc::clone(&runtime))));
    Call::waiting(opened, Keep::Connection(link.clone()), done).await?;
    if let Some(lifeline) = runtime.lifeline() {
        link.tie(lifeline);
    }
    if let (Some(provider), Some(lifetime)) = (provider, lifetime) {
        let shared = Arc::clone(link.shared());
        let renewing = renew::keep_renewed(shared, Arc::clone(&runtime), provider, lifetime, limit);
        runtime.spawn(Box::pin(renewing));
    }
    let tuning = link.shared().lock().conn.tuning();
    tuning.map(|tuning| Connection::new(link, tuning)).ok_or_else(|| Error::new(ErrorKind::ConnectionNotOpen))
}

/// The task that carries a connection from its first byte to its last. The guard comes from outside, so that it is there
/// even if the task is dropped before it was ever polled.
async fn drive(end: EndOnDrop, io: Box<dyn Io>, runtime: Arc<dyn Runtime>) {
    Session::new(Arc::clone(&end.0), io, runtime).await;
}

/// Ends the connection for all its handles when the task is gone, also when the runtime was shut down below it or the
/// driver panicked. After a connection has ended this does nothing.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.visit(Touch::Nothing, |state| {
            state.conn.handle_driver_gone();
            state.forget_driver();
        });
    }
}
