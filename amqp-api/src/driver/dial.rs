//! From a configuration to a connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use amqp_proto::config::{Address, Config};
use amqp_proto::error::{Error, ErrorKind, Origin, TimeoutReason};

use super::{Runtime, attach};
use crate::connection::Connection;

/// Connects to the first of the configured hosts that answers.
///
/// Hosts are tried in their order. One that cannot be reached, or goes silent in the handshake, is followed by the next;
/// so is one that refuses for now (it is starting or stopping). A broker that refuses for good (wrong credentials, a
/// missing virtual host) ends it, as the next would refuse as well.
///
/// # Errors
///
/// A configuration that no connection can be made with; the broker's refusal; or why the last host could not be
/// reached.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
pub async fn connect(runtime: Arc<dyn Runtime>, config: Config) -> Result<Connection, Error> {
    config.validate().map_err(|error| Error::invalid(error.to_string()))?;
    if config.tls.is_some() {
        return Err(Error::invalid("amqps:// needs TLS, which this version cannot do yet"));
    }
    let mut last = Error::invalid("no host is configured");
    for address in &config.hosts {
        match try_address(&runtime, address, &config).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.origin() == Origin::Network || error.is_retryable() => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn try_address(runtime: &Arc<dyn Runtime>, address: &Address, config: &Config) -> Result<Connection, Error> {
    let connecting = runtime.connect(address, &config.tcp);
    let io = match within(&**runtime, config.timeouts.connect, connecting).await {
        Some(Ok(io)) => io,
        Some(Err(error)) => {
            let text = format!("cannot connect to {address}: {error}");
            return Err(Error::new(ErrorKind::ConnectionLost { kind: error.kind(), text }));
        }
        None => return Err(Error::timeout(TimeoutReason::Connect, false)),
    };
    attach(Arc::clone(runtime), io, config.clone()).await
}

/// The future's output, or `None` if it took too long.
async fn within<F: Future>(runtime: &dyn Runtime, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = runtime.now().checked_add(limit).map(|deadline| runtime.sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match sleep.as_mut().map(|sleep| sleep.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await
}
