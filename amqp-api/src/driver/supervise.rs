//! One connection over its transports: a session on each, and in between the wait for the next.
//!
//! ```text
//!             lost                      dialled
//!   Session ───────► Down: back-off, dialling ───────► Session …
//!      │ ended        │ ended meanwhile
//!      ▼              ▼
//!     (the last transport is shut down) ──► done
//! ```
//!
//! The state machine decides when there is an attempt and when there is none; here it is carried out. While the connection
//! is down its deadlines go on: whoever waits for it waits no longer than he said. A transport that is done with shuts
//! down beside all that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::error::Error;

use super::dial::Redialed;
use super::hooks::Hooks;
use super::session::{Left, Session};
use super::timer::Timer;
use super::{BoxFuture, EndOnDrop, Io, Runtime, renew};
use crate::connect::ConnectOptions;
use crate::shared::{Rest, Shared, Touch};
use crate::wakers::Wakes;

/// The task that carries a connection from its first byte to its last.
pub(super) struct Supervisor {
    /// The guard comes from outside, so that it is there even if the task is dropped before it was ever polled.
    end: EndOnDrop,
    runtime: Arc<dyn Runtime>,
    options: Arc<ConnectOptions>,
    hooks: Option<Hooks>,
    now: Now,
    /// The last transport, as long as it takes to shut it down.
    old: Option<Box<Session>>,
}

enum Now {
    Up(Box<Session>),
    Down(Down),
    Over,
}

/// There is no transport.
#[derive(Default)]
struct Down {
    dialing: Option<BoxFuture<Result<Redialed, Error>>>,
    timer: Timer,
    wakes: Wakes,
}

/// How it goes on after that.
enum After {
    Up(Redialed),
    Ended,
}

impl Supervisor {
    pub(super) fn new(
        end: EndOnDrop,
        io: Box<dyn Io>,
        runtime: Arc<dyn Runtime>,
        options: Arc<ConnectOptions>,
        hooks: Option<Hooks>,
    ) -> Self {
        let now = Now::Up(Box::new(Session::new(Arc::clone(&end.0), io, Arc::clone(&runtime), hooks.clone())));
        Self { end, runtime, options, hooks, now, old: None }
    }
}

impl Future for Supervisor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(old) = &mut this.old
                && old.poll_turns(cx).is_ready()
            {
                this.old = None;
            }
            match &mut this.now {
                Now::Up(session) => match session.poll_turns(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Left::Everything) => this.now = Now::Over,
                    Poll::Ready(Left::Transport) => {
                        if let Now::Up(session) = std::mem::replace(&mut this.now, Now::Down(Down::default())) {
                            this.old = Some(session);
                        }
                    }
                },
                Now::Down(down) => match down.poll(cx, &this.end.0, &this.runtime, &this.options) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(After::Ended) => this.now = Now::Over,
                    Poll::Ready(After::Up(Redialed { io, credentials })) => {
                        if let Some(credentials) = credentials {
                            renew::logged_in(&this.end.0, &this.runtime, &this.options, credentials.lifetime());
                        }
                        let (shared, runtime) = (Arc::clone(&this.end.0), Arc::clone(&this.runtime));
                        this.now = Now::Up(Box::new(Session::new(shared, io, runtime, this.hooks.clone())));
                    }
                },
                Now::Over if this.old.is_none() => return Poll::Ready(()),
                Now::Over => return Poll::Pending,
            }
        }
    }
}

impl Down {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        runtime: &Arc<dyn Runtime>,
        options: &Arc<ConnectOptions>,
    ) -> Poll<After> {
        loop {
            let dialed = match self.dialing.as_mut().map(|dialing| dialing.as_mut().poll(cx)) {
                Some(Poll::Ready(dialed)) => {
                    self.dialing = None;
                    Some(dialed)
                }
                _ => None,
            };
            let now = runtime.now();
            let mut guard = shared.lock();
            let state = &mut *guard;
            let conn = &mut state.conn;
            let mut io = None;
            match dialed {
                // It may have been closed meanwhile.
                Some(Ok(dialed)) if conn.wants_transport() => {
                    if let Some(credentials) = &dialed.credentials {
                        conn.set_credentials(credentials.clone());
                    }
                    conn.restart(now);
                    io = Some(dialed);
                }
                Some(Err(error)) => conn.handle_dial_error(error),
                Some(Ok(_)) | None => {}
            }
            conn.arm(now);
            let mut deadline = conn.poll_timeout();
            if deadline.as_ref().is_some_and(|(at, _)| *at <= now) {
                conn.handle_timeout(now);
                deadline = conn.poll_timeout();
            }
            let ended = conn.is_finished();
            let dials = conn.wants_transport() && self.dialing.is_none();
            let attempt = conn.attempts();
            let waits = !ended && !dials && io.is_none();
            state.settle(Touch::Nothing, &mut self.wakes);
            if waits {
                state.park_driver(cx.waker(), Rest { drained: true, paused: false });
            }
            drop(guard);
            self.wakes.run();
            if ended {
                return Poll::Ready(After::Ended);
            }
            if let Some(io) = io {
                return Poll::Ready(After::Up(io));
            }
            if dials {
                self.dialing = Some(Box::pin(super::dial::redial(Arc::clone(runtime), Arc::clone(options), attempt)));
                continue;
            }
            if !self.timer.poll(cx, &**runtime, deadline.map(|(at, _)| at)) {
                return Poll::Pending;
            }
        }
    }
}
