//! From options to a connection: hosts one after the other, and the addresses of each.

use core::net::{IpAddr, SocketAddr};
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use amqp_proto::config::Address;
use amqp_proto::error::{Error, ErrorKind, Origin, TimeoutReason};
use amqp_proto::recovery::BackOff;
use amqp_proto::sasl::Credentials;

use super::tls::Tls;
use super::{Io, Runtime, open, renew};
use crate::connect::ConnectOptions;
use crate::connection::Connection;

/// Connects to the first of the configured hosts that answers.
///
/// Hosts are tried in their order, unless they are to be shuffled, and of each host its addresses, in the resolver's
/// order. One that cannot be reached, or goes silent in the handshake, is followed by the next; so is one that refuses
/// for now (it is starting or stopping), or whose certificate cannot be accepted. A broker that refuses for good (wrong credentials, a missing virtual host) ends
/// it, as the next would refuse as well.
///
/// # Errors
///
/// A configuration that no connection can be made with; the broker's refusal; or why the last address could not be
/// reached.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing behind.
pub async fn connect(runtime: Arc<dyn Runtime>, options: impl Into<ConnectOptions>) -> Result<Connection, Error> {
    let options = options.into();
    options.config.validate().map_err(|error| Error::invalid(error.to_string()))?;
    let options = Arc::new(options);
    let again = options.config.recovery.clone().filter(|recovery| recovery.retry_first_connect);
    let Some(again) = again else { return connect_once(&runtime, &options).await };
    let mut delays = BackOff::new(again.first_delay, again.max_delay, runtime.seed());
    let mut attempts = 0;
    loop {
        let error = match connect_once(&runtime, &options).await {
            Err(error) if another_may_do(&error) => error,
            result => return result,
        };
        attempts += 1;
        if again.max_attempts.is_some_and(|most| attempts > most) {
            return Err(error);
        }
        if let Some(later) = runtime.now().checked_add(delays.next_delay()) {
            runtime.sleep_until(later).await;
        }
    }
}

async fn connect_once(runtime: &Arc<dyn Runtime>, options: &Arc<ConnectOptions>) -> Result<Connection, Error> {
    let tls = Tls::new(options)?;
    let mut hosts: Vec<&Address> = options.config.hosts.iter().collect();
    if options.config.shuffle_hosts {
        shuffle(&mut hosts, runtime.seed());
    }
    let dial = Dial { runtime, options, tls };
    let mut last = Error::invalid("no host is configured");
    for host in hosts {
        match dial.host(host).await {
            Err(error) if another_may_do(&error) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// Another transport, and what to log in with.
pub(super) struct Redialed {
    pub(super) io: Box<dyn Io>,
    /// Those of a provider.
    pub(super) credentials: Option<Credentials>,
}

/// Another transport for a connection that was lost. An attempt takes the first address whose socket connects; if its broker
/// does not let us in, the next attempt begins with the next host.
pub(super) async fn redial(
    runtime: Arc<dyn Runtime>,
    options: Arc<ConnectOptions>,
    attempt: u32,
) -> Result<Redialed, Error> {
    let tls = Tls::new(&options)?;
    let mut hosts: Vec<&Address> = options.config.hosts.iter().collect();
    if options.config.shuffle_hosts {
        shuffle(&mut hosts, runtime.seed());
    }
    let skipped = usize::try_from(attempt.saturating_sub(1)).unwrap_or_default();
    rotate(&mut hosts, skipped);
    let dial = Dial { runtime: &runtime, options: &options, tls };
    let mut last = Error::invalid("no host is configured");
    for host in hosts {
        let mut addresses = match dial.resolve(host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = error;
                continue;
            }
        };
        rotate(&mut addresses, skipped);
        for address in addresses {
            match dial.socket(host, address).await.and_then(|io| dial.tls.over(io, host)) {
                Ok(io) => {
                    let credentials = renew::ask(&*runtime, &options).await?;
                    return Ok(Redialed { io, credentials });
                }
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

fn rotate<T>(all: &mut [T], by: usize) {
    if !all.is_empty() {
        all.rotate_left(by % all.len());
    }
}

/// Whether this may be the trouble of one host or address alone.
fn another_may_do(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Tls { reason, .. } => reason.is_about_the_host(),
        _ => error.origin() == Origin::Network || error.is_retryable(),
    }
}

struct Dial<'a> {
    runtime: &'a Arc<dyn Runtime>,
    options: &'a Arc<ConnectOptions>,
    tls: Tls<'a>,
}

impl Dial<'_> {
    async fn host(&self, host: &Address) -> Result<Connection, Error> {
        let mut last = cannot_connect(host, io::ErrorKind::NotFound, "the host has no address");
        for address in self.resolve(host).await? {
            match self.address(host, address).await {
                Err(error) if another_may_do(&error) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    async fn resolve(&self, host: &Address) -> Result<Vec<SocketAddr>, Error> {
        let addresses = match &self.options.resolver {
            Some(resolver) => self.within(resolver.resolve(host.clone())).await?,
            None => match host.host.parse::<IpAddr>() {
                Ok(address) => Ok(vec![SocketAddr::new(address, host.port)]),
                Err(_) => self.within(self.runtime.resolve(host)).await?,
            },
        };
        addresses.map_err(|error| cannot_connect(host, error.kind(), &error.to_string()))
    }

    async fn address(&self, host: &Address, address: SocketAddr) -> Result<Connection, Error> {
        let io = self.socket(host, address).await?;
        let io = self.tls.over(io, host)?;
        open(Arc::clone(self.runtime), io, Arc::clone(self.options)).await
    }

    async fn socket(&self, host: &Address, address: SocketAddr) -> Result<Box<dyn Io>, Error> {
        let connected = self.within(self.runtime.connect(address, &self.options.config.tcp)).await?;
        connected.map_err(|error| {
            let at =
                if host.to_string() == address.to_string() { host.to_string() } else { format!("{host} ({address})") };
            cannot_connect(at, error.kind(), &error.to_string())
        })
    }

    /// The future's output, unless that takes longer than connecting may.
    async fn within<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        let mut future = pin!(future);
        let deadline = self.runtime.now().checked_add(self.options.config.timeouts.connect);
        let mut sleep = deadline.map(|deadline| self.runtime.sleep_until(deadline));
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            match sleep.as_mut().map(|sleep| sleep.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(Err(Error::timeout(TimeoutReason::Connect, false))),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

fn cannot_connect(at: impl Display, kind: io::ErrorKind, why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost { kind, text: format!("cannot connect to {at}: {why}") })
}

/// Puts the hosts into an order that the seed decides: Fisher and Yates's shuffle, by numbers of SplitMix64.
fn shuffle<T>(hosts: &mut [T], mut seed: u64) {
    for last in (1..hosts.len()).rev() {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = seed;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^= number >> 31;
        // The remainder is less than the number of hosts.
        let chosen = usize::try_from(number % (last as u64 + 1)).unwrap_or_default();
        hosts.swap(last, chosen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_a_shuffle_keeps_every_host_gives_every_order_and_repeats_itself_for_a_seed() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            let mut hosts = [1, 2, 3];
            shuffle(&mut hosts, seed);
            let mut again = [1, 2, 3];
            shuffle(&mut again, seed);
            assert_eq!(hosts, again);
            *counts.entry(hosts).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6, "{counts:?}");
        assert!(counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn one_host_or_none_can_be_shuffled() {
        let (mut none, mut one) = ([0; 0], [1]);
        shuffle(&mut none, 7);
        shuffle(&mut one, 7);
        assert_eq!(one, [1]);
    }
}
