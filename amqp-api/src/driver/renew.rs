//! Credentials from a provider: for the login, and again before they expire.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use amqp_proto::error::{Error, TimeoutReason};
use amqp_proto::sasl::Credentials;

use super::Runtime;
use crate::call::{Call, Keep, done};
use crate::credentials::ProvideCredentials;
use crate::events::ConnectionEvent;
use crate::shared::{Shared, Touch};

/// They are renewed when this part of their lifetime is over, in percent.
const DUE: u32 = 80;

/// What is told to the broker, for its log.
const REASON: &str = "the secret expires soon";

/// Asks the provider. It has as long as connecting a socket may take.
pub(super) async fn ask(
    runtime: &dyn Runtime,
    provider: &dyn ProvideCredentials,
    limit: Duration,
) -> Result<Credentials, Error> {
    let mut asking = provider.credentials();
    let mut sleep = runtime.now().checked_add(limit).map(|deadline| runtime.sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(result) = asking.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        match sleep.as_mut().map(|sleep| sleep.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(Error::timeout(TimeoutReason::Credentials, false))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// Renews the secret of a connection as often as it has to be, until the connection has ended.
pub(super) async fn keep_renewed(
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
    provider: Arc<dyn ProvideCredentials>,
    lifetime: Duration,
    limit: Duration,
) {
    let watching = Keep::Memory(Arc::clone(&shared));
    let mut closed: Call<()> = Call::start(watching, done, |conn| Ok(Some(conn.watch_closed())));
    let mut renewing = pin!(renew(&shared, &*runtime, &*provider, lifetime, limit));
    poll_fn(|cx| {
        if pin!(&mut closed).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        renewing.as_mut().poll(cx)
    })
    .await;
}

/// Ends when the secret does not expire any more.
async fn renew(
    shared: &Arc<Shared>,
    runtime: &dyn Runtime,
    provider: &dyn ProvideCredentials,
    mut lifetime: Duration,
    limit: Duration,
) {
    let mut wait = lifetime * DUE / 100;
    loop {
        let Some(due) = runtime.now().checked_add(wait) else { return };
        runtime.sleep_until(due).await;
        match try_once(shared, runtime, provider, limit).await {
            Ok(next) => {
                tell(shared, ConnectionEvent::SecretRenewed);
                let Some(next) = next else { return };
                lifetime = next;
                wait = lifetime * DUE / 100;
            }
            Err(error) => {
                tell(shared, ConnectionEvent::SecretRenewalFailed { error });
                // Several times before it expires; and afterwards too, as the broker may be late or lenient.
                wait = (lifetime / 20).clamp(Duration::from_secs(1), Duration::from_secs(60));
            }
        }
    }
}

/// The lifetime of the new secret.
async fn try_once(
    shared: &Arc<Shared>,
    runtime: &dyn Runtime,
    provider: &dyn ProvideCredentials,
    limit: Duration,
) -> Result<Option<Duration>, Error> {
    let credentials = ask(runtime, provider, limit).await?;
    let keep = Keep::Memory(Arc::clone(shared));
    Call::start(keep, done, |conn| conn.update_secret(credentials.password(), REASON).map(Some)).await?;
    Ok(credentials.lifetime())
}

fn tell(shared: &Shared, event: ConnectionEvent) {
    shared.visit(Touch::Nothing, |state| state.tell(event));
}
