//! Out of queues to dead-letter exchanges: once, come what may, or again and again until a queue has taken it.

use std::sync::Arc;

use super::death::{self, Reason};
use super::message::Message;
use super::queue::{Dead, Kind, Letter, QueueId};
use super::timers::Timer;
use super::{Core, Micros};

impl Core {
    /// A message leaves a queue with a reason, if it is to be dead-lettered at all.
    pub(super) fn kill(&mut self, queue: QueueId, message: Arc<Message>, reason: Reason) {
        self.dead.push(Dead { queue, message, reason });
    }

    /// Sends the dead where their queues want them.
    pub(super) fn bury(&mut self) {
        // The dead push others out of their way; a cycle ends by itself.
        while !self.dead.is_empty() {
            for Dead { queue, message, reason } in std::mem::take(&mut self.dead) {
                self.bury_one(queue, &message, reason);
            }
        }
    }

    fn bury_one(&mut self, id: QueueId, message: &Message, reason: Reason) {
        let (version, unix_seconds) = (self.version, self.unix_millis() / 1000);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let Some(exchange) = queue.policy.dead_letter_exchange.clone() else { return };
        let routing_key = queue.policy.dead_letter_routing_key.as_ref();
        let deaths = death::record(message, &queue.name, reason, unix_seconds);
        let properties = death::properties(version, &message.properties(), &deaths, routing_key.is_some());
        let rejected = reason == Reason::Rejected && version.tells_acquired_count();
        let reborn = Arc::new(message.reborn(exchange, routing_key, deaths, rejected, &properties));
        let mut letter = Letter::new(reborn, reason);
        if queue.policy.at_least_once {
            queue.dead_letters.push(letter);
            self.forward(id);
        } else {
            self.send_letter(id, &mut letter);
        }
    }

    /// Sends the dead letters of a queue that insists on them, as many as may be under way.
    fn forward(&mut self, id: QueueId) {
        while let Some(letter) = self.queues.get_mut(&id).and_then(|queue| queue.dead_letters.next()) {
            self.insist(id, letter);
        }
        self.arm_queue(id);
    }

    /// Sends those again that nobody has taken, if it is time.
    pub(super) fn forward_again(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else { return };
        for letter in queue.dead_letters.take_due(now) {
            self.insist(id, letter);
        }
        self.forward(id);
        self.bury();
    }

    fn insist(&mut self, id: QueueId, mut letter: Letter) {
        let is_done = self.send_letter(id, &mut letter);
        let now = self.now;
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.dead_letters.sent(letter, is_done, now);
        }
    }

    /// Sends a letter to those queues that have not taken it before, and says whether all there are have it now, and at least one
    /// ever had it.
    fn send_letter(&mut self, from: QueueId, letter: &mut Letter) -> bool {
        let Some(vhost) = self.queues.get(&from).map(|queue| queue.vhost.clone()) else { return true };
        let message = Arc::clone(&letter.message);
        let exchange = message.exchange().as_bytes();
        if !self.vhosts.get(vhost.as_bytes()).is_some_and(|it| it.exchanges.contains_key(exchange)) {
            return false;
        }
        let mut targets = self.route(&vhost, &message).queues;
        let is_nowhere = targets.is_empty();
        targets.retain(|target| !letter.taken_by.contains(target));
        if !self.version.dead_letters_reach_streams()
            && !self.queues.get(&from).is_some_and(|queue| queue.policy.at_least_once)
        {
            // A stream never gets to see it.
            targets.retain(|target| self.queues.get(target).is_none_or(|queue| queue.kind != Kind::Stream));
        }
        let cycles = |target: &QueueId| {
            let name = self.queues.get(target).map(|queue| &queue.name);
            letter.reason != Reason::Rejected && name.is_some_and(|name| death::is_cycle(message.deaths(), name))
        };
        let (cycles, targets): (Vec<_>, Vec<_>) = targets.into_iter().partition(cycles);
        let mut is_taken = cycles.is_empty();
        for target in targets {
            letter.last_sent = Some(self.now);
            if self.enqueue(target, Arc::clone(&message)) {
                letter.taken_by.push(target);
            } else {
                is_taken = false;
            }
        }
        if is_nowhere { !letter.taken_by.is_empty() } else { is_taken && !letter.taken_by.is_empty() }
    }

    /// Sets the timer of a queue.
    pub(super) fn arm_queue(&mut self, id: QueueId) {
        let deadline: Option<Micros> = self.queues.get(&id).and_then(super::queue::Queue::deadline);
        self.timers.arm(Timer::Queue(id), deadline);
    }
}
