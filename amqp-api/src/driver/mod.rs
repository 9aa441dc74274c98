//! What carries a connection: for those who write an adapter to a runtime. Users of an adapter need nothing from here.
//!
//! An adapter implements two traits: [`Io`], a byte stream to read from and write to, and [`Runtime`], which connects,
//! sleeps, tells the time and spawns. [`connect`], [`attach`], [`pool`] and the rest do what remains:
//!
//! | file | job |
//! |---|---|
//! | `io`, `runtime` | the two traits |
//! | `dial` | hosts and their addresses one after the other, each with a deadline |
//! | `socket` | a socket with its options, for adapters that have sockets: by the feature `socket` |
//! | `tls` | a stream over a stream, by the feature `tls` |
//! | `renew` | credentials from a provider, and again before they expire |
//! | `supervise` | one connection over its transports: a session on each, and dialling in between |
//! | `session` | the loop over one transport: it reads, lets the core work, wakes and writes |
//! | `hooks` | what the application wants to be done on every connect |
//! | `reader`, `writer`, `timer` | its three sources of readiness |
//!
//! The session works on state (`shared`) that outlives it: handles know nothing of sockets.

mod dial;
pub(crate) mod hooks;
mod io;
mod reader;
pub(crate) mod renew;
mod runtime;
mod session;
#[cfg(feature = "socket")]
mod socket;
mod supervise;
mod timer;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod writer;

use std::sync::Arc;

use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::method::ReplyCode;

pub use self::dial::connect;
use self::hooks::Hooks;
pub use self::io::Io;
pub use self::runtime::{BoxFuture, Runtime};
#[cfg(feature = "socket")]
pub use self::socket::tcp_socket;
use self::supervise::Supervisor;
#[cfg(feature = "json")]
use crate::above::TaskQueue;
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

/// A task queue, whose connection is made now.
///
/// # Errors
///
/// [`ErrorKind::TaskQueueConnect`] if that fails; options that cannot be used.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
#[cfg(feature = "json")]
pub async fn task_queue(runtime: Arc<dyn Runtime>, options: impl IntoConnectOptions) -> Result<TaskQueue, Error> {
    TaskQueue::connect(runtime, options.into_connect_options()?).await
}

/// Makes a connection over a transport that is connected already: spawns its driver and waits for the handshake. As there
/// is no way to another transport, it does not come back when it is lost.
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
    let mut options = options.into();
    options.config.recovery = None;
    open(runtime, io, Arc::new(options)).await
}

/// The same for a connection that may be dialled again.
async fn open(runtime: Arc<dyn Runtime>, io: Box<dyn Io>, options: Arc<ConnectOptions>) -> Result<Connection, Error> {
    let mut config = options.config.clone();
    if let Some(credentials) = renew::ask(&*runtime, &options).await? {
        config.credentials = credentials;
    }
    config.validate().map_err(|error| Error::invalid(error.to_string()))?;
    let lifetime = config.credentials.lifetime();
    let shared = Shared::new(config, Arc::clone(&runtime));
    let link = Link::new(Arc::clone(&shared));
    let hooks = (!options.hooks.is_empty() || options.filter.is_some()).then(|| Hooks {
        hooks: options.hooks.as_slice().into(),
        filter: options.filter.clone(),
        link: link.downgrade(),
    });
    let opened = {
        let conn = &mut shared.lock().conn;
        if hooks.is_some() {
            conn.use_hooks();
        }
        conn.opened()
    };
    let end = EndOnDrop(Arc::clone(&shared));
    runtime.spawn(Box::pin(Supervisor::new(end, io, Arc::clone(&runtime), Arc::clone(&options), hooks)));
    let given_up = CloseOnDrop(Some(shared));
    Call::waiting(opened, Keep::Connection(link.clone()), done).await?;
    given_up.disarm();
    if let Some(lifeline) = runtime.lifeline() {
        link.tie(lifeline);
    }
    renew::logged_in(link.shared(), &runtime, &options, lifetime);
    let tuning = link.shared().lock().conn.tuning();
    tuning.map(|tuning| Connection::new(link, tuning)).ok_or_else(|| Error::new(ErrorKind::ConnectionNotOpen))
}

/// Closes a connection that nobody waits for any more, though a hook may hold it.
struct CloseOnDrop(Option<Arc<Shared>>);

impl CloseOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.visit(Touch::All, |state| {
                let id = state.conn.close(ReplyCode::REPLY_SUCCESS, "");
                state.abandon_request(id);
            });
        }
    }
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
