//! What all handles and the driver of one connection share: the state machine of amqp-proto under a mutex, and the
//! wakers of those who wait.
//!
//! Whoever changes something does it by [`Shared::visit`]. It runs a closure under the lock, turns the events that came
//! of it into wakers, takes the driver's waker if the driver has to hear of the change, and wakes them all when the
//! lock is free again. Events never outlive a visit.
//!
//! The driver's waker stands under the same lock that queues output, so it cannot be missed: the driver puts it there
//! only when it has found nothing left to do. It is taken when it is used, so that of a thousand publishes in a row
//! the first wakes the driver and the others pay nothing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use amqp_proto::config::Config;
use amqp_proto::conn::{BatchId, BatchOutcome, ChannelId, ConfirmId, Connection, Event, Outcome, Reply, RequestId};
use amqp_proto::error::Error;
use slab::Slab;

use crate::driver::Runtime;
use crate::driver::renew::Login;
use crate::events::{ConnectionEvent, Listeners};
use crate::wakers::{StreamWakers, Wakers, Wakes};

/// How often a task may be served without waiting, before it gives way to others.
pub(crate) const IN_A_ROW: u32 = 4096;

/// What a visit may have changed for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Nothing.
    Nothing,
    /// Output may have been queued.
    Output,
    /// Deliveries were taken: output may have been queued, and reading from the socket may go on.
    Deliveries,
    /// Anything, deadlines included.
    All,
}

/// The memory of a connection. It does not keep the connection open: a [`Link`](crate::link::Link) does.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// [`Limits::max_body`](crate::Limits), where no lock is needed to read it.
    pub(crate) max_body: u64,
    /// Where the tasks of the connection run.
    pub(crate) runtime: Arc<dyn Runtime>,
}

/// What stands under the lock.
pub(crate) struct State {
    pub(crate) conn: Connection,
    pub(crate) requests: Wakers,
    pub(crate) confirms: Wakers,
    pub(crate) batches: Wakers,
    pub(crate) consumers: Wakers,
    pub(crate) bodies: Wakers,
    pub(crate) returns: StreamWakers,
    pub(crate) listeners: Listeners,
    /// What listeners are to be told when the visit ends.
    told: Vec<ConnectionEvent>,
    /// The channel that each [`Publisher`](crate::Publisher) publishes on now.
    pub(crate) publishers: Slab<ChannelId>,
    /// Publishes since a publisher last gave way.
    published: u32,
    pub(crate) login: Login,
    driver: Option<Waker>,
    rest: Rest,
    /// Replaced wakers, to be dropped without the lock.
    discarded: Vec<Waker>,
}

/// What the driver waits for, besides its timer, when its waker stands in the state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rest {
    /// All output was taken and written. If not, it comes for more by itself when the socket takes more.
    pub(crate) drained: bool,
    /// It does not read, because the core does not want it to.
    pub(crate) paused: bool,
}

impl Shared {
    pub(crate) fn new(config: Config, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        let (now, seed) = (runtime.now(), runtime.seed());
        let max_body = config.limits.max_body;
        let state = State {
            conn: Connection::new(config, now, seed),
            requests: Wakers::default(),
            confirms: Wakers::default(),
            batches: Wakers::default(),
            consumers: Wakers::default(),
            bodies: Wakers::default(),
            returns: StreamWakers::default(),
            listeners: Listeners::default(),
            told: Vec::new(),
            publishers: Slab::new(),
            published: 0,
            login: Login::default(),
            driver: None,
            rest: Rest::default(),
            discarded: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), max_body, runtime })
    }

    /// The state, for the driver and for `visit`. A panic under the lock was a bug of the library; it must not turn
    /// every later call and destructor into a panic of its own.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` under the lock and wakes afterwards whoever has to hear of what it did.
    #[inline]
    pub(crate) fn visit<R>(&self, touch: Touch, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        if state.concerns_anybody(touch) {
            Self::wake(state, touch);
        }
        result
    }

    /// The end of a visit that others have to hear of.
    #[inline(never)]
    fn wake(mut state: MutexGuard<'_, State>, touch: Touch) {
        let mut wakes = Wakes::default();
        state.settle(touch, &mut wakes);
        drop(state);
        wakes.run();
    }
}

impl State {
    /// Ends a visit: collects everybody who is to be woken after it.
    pub(crate) fn settle(&mut self, touch: Touch, wakes: &mut Wakes) {
        for event in std::mem::take(&mut self.told) {
            self.listeners.tell(&event, wakes);
        }
        while let Some(event) = self.conn.poll_event() {
            self.dispatch(&event, wakes);
        }
        if self.driver.is_some() && self.concerns_driver(touch) {
            wakes.driver = self.driver.take();
        }
        if !self.discarded.is_empty() {
            wakes.discard(&mut self.discarded);
        }
    }

    /// The one place where events become wakers.
    fn dispatch(&mut self, event: &Event, wakes: &mut Wakes) {
        match event {
            Event::Resolved(id) => wakes.ready(self.requests.take(id.index())),
            Event::Confirmed(id) => wakes.ready(self.confirms.take(id.index())),
            Event::BatchConfirmed(id) => wakes.ready(self.batches.take(id.index())),
            Event::ConsumerReady(id) => wakes.ready(self.consumers.take(id.index())),
            Event::BodyReady(id) => wakes.ready(self.bodies.take(id.index())),
            Event::Returned(id) => {
                self.returns.take_all(id.index()).for_each(|waker| wakes.ready(Some(waker)));
            }
            Event::Blocked(reason) => {
                self.listeners.tell(&ConnectionEvent::Blocked { reason: reason.clone() }, wakes);
            }
            Event::Unblocked => self.listeners.tell(&ConnectionEvent::Unblocked, wakes),
            Event::Disconnected(cause) => {
                self.listeners.tell(&ConnectionEvent::Disconnected { cause: cause.clone() }, wakes);
            }
            Event::Reconnecting { attempt } => {
                self.listeners.tell(&ConnectionEvent::Reconnecting { attempt: *attempt }, wakes);
            }
            Event::AttemptFailed(error) => {
                self.listeners.tell(&ConnectionEvent::ReconnectFailed { error: error.clone() }, wakes);
            }
            Event::Recovered => self.listeners.tell(&ConnectionEvent::Recovered, wakes),
            Event::QueueRenamed { old, new } => {
                let event = ConnectionEvent::QueueRenamed { old: old.clone(), new: new.clone() };
                self.listeners.tell(&event, wakes);
            }
            Event::NotRestored { what, error } => {
                let event = ConnectionEvent::NotRestored { what: what.clone(), error: error.clone() };
                self.listeners.tell(&event, wakes);
            }
            Event::Resubscribed { consumer_tag, cause } => {
                let event = ConnectionEvent::Resubscribed { consumer_tag: consumer_tag.clone(), cause: cause.clone() };
                self.listeners.tell(&event, wakes);
            }
            Event::PublishesLost { count } => {
                self.listeners.tell(&ConnectionEvent::PublishesLost { count: *count }, wakes);
            }
            Event::Closed => {
                let cause = self.conn.result().and_then(Result::err);
                self.listeners.tell(&ConnectionEvent::Closed { cause }, wakes);
            }
            _ => {}
        }
    }

    /// Tells those who listen something that the core does not know of, when the visit ends.
    pub(crate) fn tell(&mut self, event: ConnectionEvent) {
        if !self.conn.is_finished() {
            self.told.push(event);
        }
    }

    #[inline]
    fn concerns_anybody(&self, touch: Touch) -> bool {
        self.conn.has_events()
            || !self.discarded.is_empty()
            || !self.told.is_empty()
            || (self.driver.is_some() && self.concerns_driver(touch))
    }

    #[inline]
    fn concerns_driver(&self, touch: Touch) -> bool {
        match touch {
            Touch::Nothing => false,
            Touch::Output => self.conn.wants_arming() || (self.rest.drained && self.conn.wants_turn()),
            Touch::Deliveries => {
                self.conn.wants_arming()
                    || (self.rest.drained && self.conn.wants_turn())
                    || (self.rest.paused && self.conn.wants_read())
            }
            Touch::All => self.conn.wants_turn(),
        }
    }

    /// Whether a publisher has to give way before its next publish. A driver on another thread may make room as fast as
    /// it is used up; then a task that publishes in a loop would never return to its runtime, nor to its own time-outs.
    #[inline]
    pub(crate) fn gives_way(&mut self) -> bool {
        self.published += 1;
        let due = self.published > IN_A_ROW;
        if due {
            self.published = 0;
        }
        due
    }

    /// So many publishes were made in one turn, besides the one that [`gives_way`](Self::gives_way) counts.
    pub(crate) fn has_published(&mut self, more: usize) {
        self.published = self.published.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }

    /// There is no driver any more.
    pub(crate) fn forget_driver(&mut self) {
        let driver = self.driver.take();
        self.discarded.extend(driver);
    }

    /// The driver has nothing left to do and wants to be woken.
    pub(crate) fn park_driver(&mut self, waker: &Waker, rest: Rest) {
        self.rest = rest;
        match &self.driver {
            Some(known) if known.will_wake(waker) => {}
            _ => {
                let old = self.driver.replace(waker.clone());
                self.discarded.extend(old);
            }
        }
    }

    /// The reply to a request, or, if it is not there, a place among those who wait for it.
    pub(crate) fn poll_reply(&mut self, id: RequestId, waker: &Waker) -> Option<Result<Reply, Error>> {
        let reply = self.conn.take_reply(id);
        let waker = if reply.is_none() { self.requests.set(id.index(), waker) } else { self.requests.take(id.index()) };
        self.discarded.extend(waker);
        reply
    }

    pub(crate) fn abandon_request(&mut self, id: RequestId) {
        self.conn.abandon_request(id);
        let waker = self.requests.take(id.index());
        self.discarded.extend(waker);
    }

    /// The outcome of a publish, or, if it is not there, a place among those who wait for it.
    #[inline]
    pub(crate) fn poll_outcome(&mut self, id: ConfirmId, waker: &Waker) -> Option<Outcome> {
        let outcome = self.conn.take_outcome(id);
        let waker =
            if outcome.is_none() { self.confirms.set(id.index(), waker) } else { self.confirms.take(id.index()) };
        self.discarded.extend(waker);
        outcome
    }

    /// The outcome of a batch, or, if it is not there, a place among those who wait for it.
    pub(crate) fn poll_batch(&mut self, id: BatchId, waker: &Waker) -> Option<BatchOutcome> {
        let outcome = self.conn.take_batch(id);
        let waker = if outcome.is_none() { self.batches.set(id.index(), waker) } else { self.batches.take(id.index()) };
        self.discarded.extend(waker);
        outcome
    }

    /// A waker to be dropped without the lock.
    #[inline]
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discarded.extend(waker);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
