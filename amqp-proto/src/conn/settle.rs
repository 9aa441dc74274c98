//! Acks that have not left yet, and which deliveries of a channel are still to be settled.
//!
//! Acks wait for the end of the turn. What then is contiguous leaves as one `multiple`, but only where every lower tag
//! of the channel is settled: a tag that was got by hand, or stands unread in a consumer's queue, is not. They never
//! move across anything else that the channel sends, because whatever sends something flushes them first.

use std::collections::VecDeque;

/// The outstanding delivery tags of a channel, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    tags: VecDeque<Entry>,
    /// Acked and not yet sent.
    acks: Vec<u64>,
    /// How many of `tags` are settled.
    settled: usize,
    /// The last tag that is to be settled.
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u64,
    settled: bool,
}

/// An ack as it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AckFrame {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

impl Unsettled {
    /// Takes note of a delivery. `false`: the tag is not above all earlier ones, which no broker may do.
    ///
    /// Tags that nobody settles do not count: RabbitMQ gives all that comes over direct reply-to the tag of the delivery
    /// that is next.
    #[inline]
    pub(super) fn delivered(&mut self, tag: u64, no_ack: bool) -> bool {
        if no_ack {
            return true;
        }
        if tag <= self.last {
            return false;
        }
        self.last = tag;
        self.tags.push_back(Entry { tag, settled: false });
        true
    }

    /// Settles one tag; `false` if it is not outstanding.
    #[inline]
    pub(super) fn settle(&mut self, tag: u64) -> bool {
        let Some(index) = self.position(tag) else { return false };
        let Some(entry) = self.tags.get_mut(index) else { return false };
        if entry.settled {
            return false;
        }
        entry.settled = true;
        self.settled += 1;
        self.trim();
        true
    }

    /// Settles a tag and all below it.
    pub(super) fn settle_up_to(&mut self, tag: u64) {
        while let Some(front) = self.tags.front()
            && front.tag <= tag
        {
            self.settled -= usize::from(front.settled);
            self.tags.pop_front();
        }
        self.trim();
    }

    /// Whether this tag is outstanding.
    pub(super) fn is_outstanding(&self, tag: u64) -> bool {
        self.position(tag).and_then(|at| self.tags.get(at)).is_some_and(|entry| !entry.settled)
    }

    /// Whether anything at or below this tag is outstanding.
    pub(super) fn any_up_to(&self, tag: u64) -> bool {
        self.tags.iter().take_while(|entry| entry.tag <= tag).any(|entry| !entry.settled)
    }

    /// Settles a tag by an ack that leaves at the end of the turn; `false` if it is not outstanding.
    #[inline]
    pub(super) fn ack(&mut self, tag: u64) -> bool {
        let outstanding = self.settle(tag);
        if outstanding {
            self.acks.push(tag);
        }
        outstanding
    }

    /// The tags that are to be settled, in ascending order.
    pub(super) fn outstanding_tags(&self) -> impl Iterator<Item = u64> {
        self.tags.iter().filter(|entry| !entry.settled).map(|entry| entry.tag)
    }

    /// How many deliveries are to be settled.
    pub(super) fn outstanding(&self) -> usize {
        self.tags.len() - self.settled
    }

    pub(super) fn has_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Hands out the acks that wait, coalesced.
    pub(super) fn flush(&mut self, mut send: impl FnMut(AckFrame)) {
        let floor = self.tags.front().map_or(u64::MAX, |entry| entry.tag);
        let below = self.acks.iter().filter(|tag| **tag < floor);
        let (count, highest) = below.fold((0usize, 0), |(count, highest), tag| (count + 1, highest.max(*tag)));
        if count > 0 {
            send(AckFrame { tag: highest, multiple: count > 1 });
        }
        self.acks.iter().filter(|tag| **tag >= floor).for_each(|tag| send(AckFrame { tag: *tag, multiple: false }));
        self.acks.clear();
    }

    /// Forgets all: the broker has requeued everything that was outstanding.
    pub(super) fn invalidate(&mut self) {
        self.tags.clear();
        self.acks.clear();
        self.settled = 0;
    }

    #[inline]
    fn position(&self, tag: u64) -> Option<usize> {
        let first = self.tags.front()?.tag;
        // Nearly always the tags are consecutive.
        let guess = usize::try_from(tag.checked_sub(first)?).ok()?;
        if self.tags.get(guess).is_some_and(|entry| entry.tag == tag) {
            return Some(guess);
        }
        self.tags.binary_search_by_key(&tag, |entry| entry.tag).ok()
    }

    #[inline]
    fn trim(&mut self) {
        while self.tags.front().is_some_and(|entry| entry.settled) {
            self.tags.pop_front();
            self.settled -= 1;
        }
        // One old unsettled delivery must not keep the entries of all later ones.
        if self.settled > 64 && self.settled > self.tags.len() / 2 {
            self.tags.retain(|entry| !entry.settled);
            self.settled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn flushed(unsettled: &mut Unsettled) -> Vec<(u64, bool)> {
        let mut frames = Vec::new();
        unsettled.flush(|ack| frames.push((ack.tag, ack.multiple)));
        frames
    }

    fn delivered(count: u64) -> Unsettled {
        let mut unsettled = Unsettled::default();
        (1..=count).for_each(|tag| assert!(unsettled.delivered(tag, false)));
        unsettled
    }

    #[test]
    fn f36_contiguous_acks_leave_as_one_multiple() {
        let mut unsettled = delivered(5);
        [2, 1, 3].into_iter().for_each(|tag| assert!(unsettled.ack(tag)));
        assert_eq!(flushed(&mut unsettled), [(3, true)]);
        assert!(unsettled.ack(4));
        assert_eq!(flushed(&mut unsettled), [(4, false)]);
        assert_eq!(flushed(&mut unsettled), []);
    }

    #[test]
    fn f36_an_unsettled_lower_tag_is_never_acked_along() {
        let mut unsettled = delivered(5);
        [2, 3, 5].into_iter().for_each(|tag| assert!(unsettled.ack(tag)));
        assert_eq!(flushed(&mut unsettled), [(2, false), (3, false), (5, false)]);
        assert!(unsettled.ack(1));
        assert_eq!(flushed(&mut unsettled), [(1, false)]);
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut unsettled = delivered(2);
        assert!(unsettled.ack(2) && !unsettled.ack(2) && !unsettled.ack(3) && !unsettled.settle(2));
        assert_eq!(unsettled.outstanding(), 1);
        assert!(!unsettled.delivered(2, false));
    }

    #[test]
    fn what_comes_over_direct_reply_to_has_the_next_deliverys_tag() {
        let mut unsettled = delivered(1);
        assert!(unsettled.delivered(2, true) && unsettled.delivered(2, true) && unsettled.delivered(2, false));
        assert!(unsettled.ack(1) && unsettled.ack(2));
        assert_eq!(flushed(&mut unsettled), [(2, true)]);
    }

    #[test]
    fn an_old_unsettled_delivery_does_not_keep_the_later_ones() {
        let mut unsettled = delivered(1);
        for tag in 2..10_000 {
            assert!(unsettled.delivered(tag, false) && unsettled.ack(tag));
            flushed(&mut unsettled);
        }
        assert!(unsettled.tags.len() < 200);
        assert_eq!(unsettled.outstanding(), 1);
    }

    proptest! {
        /// A model of the broker: an ack of an unknown tag is an error, `multiple` settles all at or below.
        #[test]
        fn the_broker_settles_exactly_what_was_acked(
            steps in proptest::collection::vec((0u8..4, 0u64..12), 1..200),
        ) {
            let mut unsettled = Unsettled::default();
            let mut next = 1;
            let (mut broker, mut mine) = (BTreeSet::new(), BTreeSet::new());
            for (step, pick) in steps {
                match step {
                    0 => {
                        prop_assert!(unsettled.delivered(next, false));
                        broker.insert(next);
                        mine.insert(next);
                        next += 1;
                    }
                    1 | 2 => {
                        let Some(tag) = mine.iter().nth(usize::try_from(pick).unwrap()).copied() else { continue };
                        mine.remove(&tag);
                        prop_assert!(unsettled.ack(tag));
                    }
                    _ => {
                        for (tag, multiple) in flushed(&mut unsettled) {
                            prop_assert!(broker.contains(&tag), "unknown delivery tag {tag}");
                            broker.retain(|other| if multiple { *other > tag } else { *other != tag });
                        }
                        prop_assert_eq!(&broker, &mine);
                    }
                }
                prop_assert_eq!(unsettled.outstanding(), mine.len());
            }
        }
    }
}
