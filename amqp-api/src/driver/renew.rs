//! Credentials from a provider: for the login, and again before they expire.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amqp_proto::error::{Error, TimeoutReason};
use amqp_proto::sasl::Credentials;

use super::{BoxFuture, Runtime};
use crate::call::{Call, Keep, done};
use crate::connect::ConnectOptions;
use crate::credentials::ProvideCredentials;
use crate::events::ConnectionEvent;
use crate::shared::{Shared, State, Touch};

/// They are renewed when this part of their lifetime is over, in percent.
const DUE: u32 = 80;

/// What is told to the broker, for its log.
const REASON: &str = "the secret expires soon";

/// The secret that was logged in with last. It stands in the connection's state.
#[derive(Default)]
pub(crate) struct Login {
    /// Which login it was.
    number: u64,
    /// None: it does not expire.
    lifetime: Option<Duration>,
    /// There is a task that renews it.
    renewed: bool,
    /// Wakes that task.
    waker: Option<Waker>,
}

/// Asks the provider, if there is one. It has as long as connecting a socket may take.
pub(super) async fn ask(runtime: &dyn Runtime, options: &ConnectOptions) -> Result<Option<Credentials>, Error> {
    let Some(provider) = &options.credentials else { return Ok(None) };
    ask_within(runtime, &**provider, options.config.timeouts.connect).await.map(Some)
}

async fn ask_within(
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

/// The connection logs in with a secret of this lifetime, which is counted from now: it is renewed as often as it has to be,
/// by a task that ends with the connection.
pub(super) fn logged_in(
    shared: &Arc<Shared>,
    runtime: &Arc<dyn Runtime>,
    options: &ConnectOptions,
    lifetime: Option<Duration>,
) {
    let Some(provider) = &options.credentials else { return };
    let (starts, waker) = shared.visit(Touch::Nothing, |state| {
        let login = &mut state.login;
        login.number += 1;
        login.lifetime = lifetime;
        let starts = lifetime.is_some() && !login.renewed;
        login.renewed |= starts;
        (starts, login.waker.take())
    });
    if let Some(waker) = waker {
        waker.wake();
    }
    if starts {
        let renewal = Renewal {
            shared: Arc::clone(shared),
            runtime: Arc::clone(runtime),
            provider: Arc::clone(provider),
            limit: options.config.timeouts.connect,
        };
        runtime.spawn(Box::pin(renewal.keep_renewed()));
    }
}

/// The task that renews the secret of a connection.
struct Renewal {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
    provider: Arc<dyn ProvideCredentials>,
    limit: Duration,
}

impl Renewal {
    async fn keep_renewed(self) {
        let watching = Keep::Memory(Arc::clone(&self.shared));
        let mut closed: Call<()> = Call::start(watching, done, |conn| Ok(Some(conn.watch_closed())));
        let mut renewing = pin!(self.renew());
        poll_fn(|cx| {
            if pin!(&mut closed).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            renewing.as_mut().poll(cx)
        })
        .await;
    }

    /// Ends when the secret does not expire any more.
    async fn renew(&self) {
        let mut again_in = None;
        loop {
            let current = self.shared.visit(Touch::Nothing, |state| {
                let login = &mut state.login;
                login.renewed = login.lifetime.is_some();
                login.lifetime.map(|lifetime| (login.number, lifetime))
            });
            let Some((number, lifetime)) = current else { return };
            let wait = again_in.take().unwrap_or(lifetime * DUE / 100);
            let mut due = self.runtime.now().checked_add(wait).map(|due| self.runtime.sleep_until(due));
            if poll_fn(|cx| self.poll_due(cx, number, due.as_mut())).await.is_another_login() {
                continue;
            }
            // Several times before it expires; and afterwards too, as the broker may be late or lenient.
            let soon = (lifetime / 20).clamp(Duration::from_secs(1), Duration::from_secs(60));
            if !self.shared.lock().conn.is_connected() {
                // When it comes back it logs in with another one.
                again_in = Some(soon);
                continue;
            }
            match self.try_once().await {
                Ok(next) => self.shared.visit(Touch::Nothing, |state| {
                    if state.login.number == number {
                        state.login.lifetime = next;
                    }
                    state.tell(ConnectionEvent::SecretRenewed);
                }),
                Err(error) => {
                    again_in = Some(soon);
                    self.shared.visit(Touch::Nothing, |state| {
                        state.tell(ConnectionEvent::SecretRenewalFailed { error });
                    });
                }
            }
        }
    }

    /// Until it is due, or there was another login.
    fn poll_due(&self, cx: &mut Context<'_>, number: u64, due: Option<&mut BoxFuture<()>>) -> Poll<Due> {
        let is_another = self.shared.visit(Touch::Nothing, |state| {
            let is_another = state.login.number != number;
            if !is_another {
                watch(state, cx.waker());
            }
            is_another
        });
        if is_another {
            return Poll::Ready(Due::AnotherLogin);
        }
        match due {
            Some(due) => due.as_mut().poll(cx).map(|()| Due::Now),
            None => Poll::Pending,
        }
    }

    /// The lifetime of the new secret.
    async fn try_once(&self) -> Result<Option<Duration>, Error> {
        let credentials = ask_within(&*self.runtime, &*self.provider, self.limit).await?;
        let keep = Keep::Memory(Arc::clone(&self.shared));
        Call::start(keep, done, |conn| conn.update_secret(credentials.password(), REASON).map(Some)).await?;
        Ok(credentials.lifetime())
    }
}

/// What a renewal waited for.
enum Due {
    Now,
    AnotherLogin,
}

impl Due {
    fn is_another_login(&self) -> bool {
        matches!(self, Self::AnotherLogin)
    }
}

fn watch(state: &mut State, waker: &Waker) {
    let old = state.login.waker.replace(waker.clone());
    state.discard(old);
}
