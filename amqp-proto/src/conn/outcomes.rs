//! What became of publishes, for those who wait to know: of one, of a batch, of all.

use std::cmp::Reverse;
use std::time::Instant;

use super::channel::{Channel, Mode};
use super::confirms::{Waiter, Window};
use super::content::Returned;
use super::event::{BatchOutcome, Outcome};
use super::ids::{BatchId, ChannelId, ConfirmId, RequestId};
use super::{Connection, Event, Reply};
use crate::error::{Error, ErrorKind, TimeoutReason};

impl Connection {
    /// What became of a publish, if it is known: the id is void then. `None`: not yet, and
    /// [`Event::Confirmed`] will come.
    #[inline]
    pub fn take_outcome(&mut self, id: ConfirmId) -> Option<Outcome> {
        self.waiters.take(id)
    }

    /// Nobody wants to know any more what becomes of this publish.
    pub fn abandon_confirm(&mut self, id: ConfirmId, channel: ChannelId) {
        if let Some(message) = self.waiters.abandon(id) {
            self.queue_return(channel, *message);
        }
        self.send_close_if_drained();
    }

    /// What became of the messages of a batch, if it is known of all: the id is void then. `None`: not yet, and
    /// [`Event::BatchConfirmed`] will come.
    pub fn take_batch(&mut self, id: BatchId) -> Option<BatchOutcome> {
        self.batches.take(id)
    }

    /// Nobody wants to know any more what becomes of this batch.
    pub fn abandon_batch(&mut self, id: BatchId) {
        if let Some((channel, failures)) = self.batches.abandon(id) {
            for failure in failures {
                if let ErrorKind::NoRoute(message) = failure.error.kind() {
                    self.queue_return(channel, Returned::clone(message));
                }
            }
        }
        self.send_close_if_drained();
    }

    /// How many publishes of a channel in confirm mode wait for their outcome.
    #[must_use]
    pub fn unconfirmed(&self, id: ChannelId) -> usize {
        self.channels.get(id).and_then(Channel::window).map_or(0, Window::unconfirmed)
    }

    /// How many publishes of a channel in confirm mode may wait for their outcome, at least 1. While so many do there is
    /// no room for another. By default there is no limit.
    pub fn set_window(&mut self, id: ChannelId, max: usize) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Mode::Confirm(window) = &mut channel.mode else { return };
        window.set_limit(max);
        self.leave_turns(id);
        self.join_turns(id);
        self.grant_room();
    }

    /// The channel `id` takes the place of `old`, which has ended: it has the same window, and what failed on the old one
    /// still counts for [`wait_confirms`](Self::wait_confirms). Both are in confirm mode.
    pub fn inherit_confirms(&mut self, id: ChannelId, old: ChannelId) {
        let Some(channel) = self.channels.get_mut(old) else { return };
        let Mode::Confirm(old) = &mut channel.mode else { return };
        let mut old = std::mem::take(&mut **old);
        if let Some(channel) = self.channels.get_mut(id)
            && let Mode::Confirm(window) = &mut channel.mode
        {
            window.inherit(&mut old);
        }
    }

    /// Waits until all that has been published on this channel has its outcome. The reply, [`Reply::Confirmed`], counts
    /// all that has failed since the channel exists. It has no deadline of its own: each publish has one.
    ///
    /// # Errors
    /// If the channel is not in confirm mode, or was released.
    pub fn wait_confirms(&mut self, id: ChannelId) -> Result<RequestId, Error> {
        const NAME: &str = "basic.publish";
        let Some(channel) = self.channels.get_mut(id) else {
            return Err(Error::new(ErrorKind::ChannelNotOpen).during(NAME));
        };
        let Mode::Confirm(window) = &mut channel.mode else {
            return Err(Error::invalid("the channel is not in confirm mode").during(NAME));
        };
        let request = self.calls.insert(NAME, None);
        let calls = &self.calls;
        // Those who gave up must not pile up here.
        window.retain_barriers(|request| calls.is_waiting(request));
        window.wait(request);
        self.pass_barriers(id);
        Ok(request)
    }

    /// Whether somebody waits for the outcome of a publish.
    pub(super) fn awaits_outcomes(&self) -> bool {
        let barriers = || self.channels.iter().filter_map(Channel::window).flat_map(Window::barriers);
        self.waiters.any_waiting()
            || self.batches.any_waiting()
            || barriers().any(|request| self.calls.is_waiting(request))
    }

    // ---- what comes --------------------------------------------------------------------------------------------

    /// An ack or nack of publishes. `false`: of some that never were.
    #[inline]
    pub(super) fn resolve_publishes(&mut self, id: ChannelId, tag: u64, multiple: bool, acked: bool) -> Option<bool> {
        let channel = self.channels.get_mut(id)?;
        let Mode::Confirm(window) = &mut channel.mode else { return None };
        if !acked {
            window.count_nacked(tag, multiple);
        }
        let (waiters, batches, events) = (&mut self.waiters, &mut self.batches, &mut self.events);
        let known = window.resolve(tag, multiple, |waiter| match waiter {
            Waiter::Confirm(waiter) => {
                let outcome = || if acked { Outcome::Acked } else { Outcome::Nacked };
                if waiters.resolve(waiter, outcome) {
                    events.push_back(Event::Confirmed(waiter));
                }
            }
            Waiter::Batch(batch, index) => {
                let error = (!acked).then(|| Error::new(ErrorKind::Nacked));
                if batches.resolve(batch, index, error) {
                    events.push_back(Event::BatchConfirmed(batch));
                }
            }
            Waiter::Nobody => {}
        });
        if channel.awaits_confirms() {
            self.publishes_resolved(id);
        }
        Some(known)
    }

    /// Publishes whose confirms are overdue: whether the broker has them is unknown.
    pub(super) fn expire_confirms(&mut self, now: Instant) {
        while let Some(Reverse((deadline, id))) = self.confirm_deadlines.peek().copied()
            && deadline <= now
        {
            self.confirm_deadlines.pop();
            let error = Error::timeout(TimeoutReason::Confirm, self.blocked.is_some());
            self.lose_publishes(id, &error, |window, error, each| window.expire(now, error, each));
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let Mode::Confirm(window) = &mut channel.mode else { continue };
            match window.next_deadline() {
                Some(next) => self.confirm_deadlines.push(Reverse((next, id))),
                None => window.timed = false,
            }
            self.publishes_resolved(id);
        }
    }

    /// The channel has ended: nothing will be known of its publishes.
    pub(super) fn lose_all_publishes(&mut self, id: ChannelId, cause: &Error) {
        self.lose_publishes(id, cause, |window, cause, each| window.drain(cause, each));
        self.pass_barriers(id);
    }

    /// The connection is lost: of what is not sent again nothing will be known.
    pub(super) fn interrupt_publishes(&mut self, id: ChannelId, cause: &Error) {
        self.lose_publishes(id, cause, |window, cause, each| window.interrupt(cause, each));
        self.pass_barriers(id);
    }

    pub(super) fn lose_publishes(
        &mut self,
        id: ChannelId,
        cause: &Error,
        lose: impl FnOnce(&mut Window, &Error, &mut dyn FnMut(Waiter)),
    ) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let Mode::Confirm(window) = &mut channel.mode else { return };
        let (waiters, batches, events) = (&mut self.waiters, &mut self.batches, &mut self.events);
        lose(window, cause, &mut |waiter| match waiter {
            Waiter::Confirm(waiter) => {
                if waiters.resolve(waiter, || Outcome::Unknown(cause.clone())) {
                    events.push_back(Event::Confirmed(waiter));
                }
            }
            Waiter::Batch(batch, index) => {
                let error = Error::new(ErrorKind::Unknown(cause.clone()));
                if batches.resolve(batch, index, Some(error)) {
                    events.push_back(Event::BatchConfirmed(batch));
                }
            }
            Waiter::Nobody => {}
        });
    }

    /// Some publishes have their outcome: those who waited for a place in the window, for all of them, or for the end
    /// of the channel, may go on.
    #[cold]
    fn publishes_resolved(&mut self, id: ChannelId) {
        self.pass_barriers(id);
        self.join_turns(id);
        self.grant_room();
        self.close_if_released(id);
    }

    /// Answers those who have waited for all publishes so far.
    pub(super) fn pass_barriers(&mut self, id: ChannelId) {
        while let Some(channel) = self.channels.get_mut(id)
            && let Mode::Confirm(window) = &mut channel.mode
            && window.has_barriers()
            && let Some(request) = window.pop_barrier()
        {
            let failed = Box::new(window.failed().clone());
            self.resolve(request, Ok(Reply::Confirmed(failed)));
        }
    }

    // ---- deadlines ---------------------------------------------------------------------------------------------

    /// Sets the deadlines of what was published since the last turn.
    pub(super) fn arm_confirms(&mut self, now: Instant) {
        // A deadline beyond the end of time is none.
        let deadline = now.checked_add(self.config.timeouts.confirm);
        while let Some(id) = self.unarmed.pop() {
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let Mode::Confirm(window) = &mut channel.mode else { continue };
            let Some(deadline) = deadline else { continue };
            window.arm(deadline);
            if !std::mem::replace(&mut window.timed, true)
                && let Some(deadline) = window.next_deadline()
            {
                self.confirm_deadlines.push(Reverse((deadline, id)));
            }
        }
    }
}
