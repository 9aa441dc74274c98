//! What the workers of a subscription share.
//!
//! There is one consumer, and whoever holds it leads: it alone waits for the next delivery. When that comes it lays the
//! consumer down, wakes another worker to take it up, or asks for a new one if all are busy and there may be more, and
//! handles the delivery. So there are as many workers as there were ever deliveries at a time, and up to the concurrency
//! that is wanted.
//!
//! Foreign code (wakers, handlers, and whatever dropping them runs) never runs under the lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amqp_proto::error::{Error, ErrorKind};
use slab::Slab;

use super::{Handled, Settlement};
use crate::acker::Acker;
use crate::call::Call;
use crate::channel::Channel;
use crate::consumer::Consumer;
use crate::delivery::Delivery;
use crate::driver::Runtime;
use crate::options::Handling;

pub(super) struct Crew {
    pub(super) tag: Box<str>,
    pub(super) handling: Handling,
    /// So that what the handlers settle can leave.
    channel: Channel,
    state: Mutex<State>,
}

struct State {
    /// Where nobody leads.
    consumer: Option<Consumer>,
    workers: Slab<Worker>,
    stopping: bool,
    /// Handlers that are still running are to be dropped.
    given_up: bool,
    /// Why the consumer has ended.
    cause: Option<Error>,
    handled: Handled,
    /// Those who wait for the end.
    waiting: Vec<Waker>,
}

#[derive(Default)]
struct Worker {
    waker: Option<Waker>,
    /// What settles the delivery that it handles.
    work: Option<Acker>,
    busy: bool,
}

/// What a worker does next.
pub(super) enum Next {
    /// It handles this delivery; first another worker is to be started, if one is wanted.
    Work(Box<Delivery>, Option<Seat>),
    /// It waits for the answer, if there is one to wait for, and ends.
    End(Option<Call<()>>),
}

impl Crew {
    pub(super) fn new(consumer: Consumer, handling: Handling) -> Arc<Self> {
        Arc::new(Self {
            tag: consumer.tag().into(),
            handling,
            channel: consumer.channel().clone(),
            state: Mutex::new(State {
                consumer: Some(consumer),
                workers: Slab::new(),
                stopping: false,
                given_up: false,
                cause: None,
                handled: Handled::default(),
                waiting: Vec::new(),
            }),
        })
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.channel.shared().runtime
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more deliveries are handled. The cancel that is under way by that, if it is for the caller to wait for.
    pub(super) fn stop(&self) -> Option<Call<()>> {
        let (consumer, wakers) = {
            let mut state = self.lock();
            state.stopping = true;
            (state.consumer.take(), state.take_wakers())
        };
        wakers.into_iter().for_each(Waker::wake);
        consumer.map(cancel)
    }

    /// The handlers have had their time: what they have goes back. `false` if there are none.
    pub(super) fn give_up(&self) -> bool {
        let (work, wakers) = {
            let mut state = self.lock();
            state.given_up = true;
            let work: Vec<_> = state.workers.iter_mut().filter_map(|(_, worker)| worker.work.take()).collect();
            state.handled.requeued += work.len() as u64;
            state.handled.in_progress -= work.len();
            (work, state.take_wakers())
        };
        let any = !work.is_empty();
        drop(work);
        wakers.into_iter().for_each(Waker::wake);
        any
    }

    /// Whether all is over.
    pub(super) fn poll_done(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.workers.is_empty() || state.given_up {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn cause(&self) -> Option<Error> {
        self.lock().cause.clone()
    }

    pub(super) fn handled(&self) -> Handled {
        self.lock().handled
    }
}

impl State {
    /// Everybody who waits, workers included.
    fn take_wakers(&mut self) -> Vec<Waker> {
        let workers = self.workers.iter_mut().filter_map(|(_, worker)| worker.waker.take());
        workers.chain(std::mem::take(&mut self.waiting)).collect()
    }

    /// One worker that has nothing to do.
    fn take_idle(&mut self) -> Option<Waker> {
        self.workers.iter_mut().filter(|(_, worker)| !worker.busy).find_map(|(_, worker)| worker.waker.take())
    }
}

/// A worker's place in its crew, and the consumer while it leads. Dropped wherever its task is dropped.
pub(super) struct Seat {
    crew: Arc<Crew>,
    key: usize,
    consumer: Option<Consumer>,
}

impl Seat {
    pub(super) fn new(crew: &Arc<Crew>) -> Self {
        let key = crew.lock().workers.insert(Worker::default());
        Self { crew: Arc::clone(crew), key, consumer: None }
    }

    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// Leaves the waker where it is looked for. `false`: stop at once.
    fn wait(&mut self, cx: &Context<'_>, until: impl FnOnce(&State) -> bool, leads: bool) -> bool {
        let (old, goes_on) = {
            let mut state = self.crew.lock();
            let goes_on = !until(&state);
            if leads && goes_on && self.consumer.is_none() {
                self.consumer = state.consumer.take();
            }
            let slot = state.workers.get_mut(self.key).map(|worker| &mut worker.waker);
            let old = match slot {
                Some(Some(known)) if known.will_wake(cx.waker()) => None,
                Some(slot) => slot.replace(cx.waker().clone()),
                None => None,
            };
            (old, goes_on)
        };
        drop(old);
        goes_on
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if !self.wait(cx, |state| state.stopping, true) {
            return Poll::Ready(Next::End(self.consumer.take().map(cancel)));
        }
        loop {
            // Somebody else leads.
            let Some(consumer) = &mut self.consumer else { return Poll::Pending };
            match consumer.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(delivery))) => return Poll::Ready(self.take(delivery)),
                Poll::Ready(Some(Err(error))) => self.heard(&error),
                Poll::Ready(None) => return Poll::Ready(self.ended()),
            }
        }
    }

    /// Lays the consumer down and takes a delivery.
    fn take(&mut self, delivery: Delivery) -> Next {
        let (delivery, acker) = delivery.lend();
        let (idle, more) = {
            let mut state = self.crew.lock();
            if state.stopping {
                drop(state);
                // The delivery goes back with its acker.
                drop(acker);
                return Next::End(self.consumer.take().map(cancel));
            }
            state.consumer = self.consumer.take();
            state.handled.in_progress += 1;
            if let Some(worker) = state.workers.get_mut(self.key) {
                worker.work = Some(acker);
                worker.busy = true;
            }
            let idle = state.take_idle();
            let more = idle.is_none() && state.workers.len() < self.crew.handling.concurrency;
            (idle, more)
        };
        if let Some(idle) = idle {
            idle.wake();
        }
        Next::Work(Box::new(delivery), more.then(|| Self::new(&self.crew)))
    }

    /// The consumer has something to say that is no delivery.
    fn heard(&mut self, error: &Error) {
        if let ErrorKind::BadDelivery { delivery_tag, .. } = error.kind() {
            self.crew.lock().handled.rejected += 1;
            // Where this fails the channel is gone, and the broker has put it back.
            let _ = self.crew.channel.reject(*delivery_tag, false);
        } else {
            self.crew.lock().cause = Some(error.clone());
        }
    }

    fn ended(&mut self) -> Next {
        // It has nothing to be cancelled.
        drop(self.consumer.take());
        drop(self.crew.stop());
        Next::End(None)
    }

    /// Whether the handler may go on; the waker is left where it is looked for.
    pub(super) fn may_work(&mut self, cx: &Context<'_>) -> bool {
        self.wait(cx, |state| state.given_up, false)
    }

    /// The handler is done, or has panicked: its delivery is settled, unless that has been done.
    pub(super) fn done(&mut self, outcome: Option<Settlement>, redelivered: bool) {
        let settlement = self.crew.handling.settlement(outcome, redelivered);
        let work = {
            let mut state = self.crew.lock();
            let worker = state.workers.get_mut(self.key);
            let work = worker.and_then(|worker| {
                worker.busy = false;
                worker.work.take()
            });
            let handled = &mut state.handled;
            handled.panicked += u64::from(outcome.is_none());
            if work.is_some() {
                handled.in_progress -= 1;
                *match settlement {
                    Settlement::Ack => &mut handled.acked,
                    Settlement::Requeue => &mut handled.requeued,
                    Settlement::Reject | Settlement::Failed => &mut handled.rejected,
                } += 1;
            }
            work
        };
        let Some(acker) = work else { return };
        // It fails where the handler has settled it, and where the broker has put it back with the channel.
        let _ = match settlement {
            Settlement::Ack => acker.ack(),
            Settlement::Requeue => acker.nack(true),
            Settlement::Reject | Settlement::Failed => acker.nack(false),
        };
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        let (worker, orphan, wakers) = {
            let mut state = self.crew.lock();
            let worker = state.workers.try_remove(self.key);
            if worker.as_ref().is_some_and(|worker| worker.work.is_some()) {
                state.handled.in_progress -= 1;
                state.handled.requeued += 1;
            }
            if (consumer.is_some() || state.workers.is_empty()) && !state.stopping {
                // The runtime has dropped its tasks: nobody is left to go on.
                state.stopping = true;
                state.cause.get_or_insert_with(|| Error::new(ErrorKind::ConnectionNotOpen));
            }
            let over = state.workers.is_empty() || state.stopping;
            let orphan = if over { state.consumer.take() } else { None };
            (worker, orphan, if over { state.take_wakers() } else { Vec::new() })
        };
        drop((consumer, worker, orphan));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Cancels a consumer; what it has received goes back at once.
#[expect(clippy::needless_pass_by_value, reason = "it is dropped here")]
fn cancel(consumer: Consumer) -> Call<()> {
    consumer.cancel()
}
