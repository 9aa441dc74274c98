//! What goes wrong, and when: drawn from a seed.
//!
//! Things come as from a deck of cards: each once before any comes again, in an order that the seed decides. Half of them
//! happen on the way to the broker, and are the same for all of them; the others are the broker's own.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::Result;
use conformance::proxy::{Direction, Fault, Proxy};
use fastrand::Rng;

/// A card: what is drawn, with whatever else is left to chance.
pub(crate) type Card<T> = fn(&mut Rng) -> T;

/// What the clients talk to.
pub(crate) trait Target: Sync {
    /// What can happen to it.
    type Event: Debug + 'static;

    /// All that can.
    fn deck(&self) -> Vec<Card<Self::Event>>;

    /// Lets it happen, waits, and makes it good again. `place` is that of one of its nodes.
    fn suffer(&self, event: &Self::Event, place: usize, wait: impl FnOnce()) -> Result<()>;
}

/// Something on the way to a node.
#[derive(Clone, Copy, Debug)]
enum Way {
    Sever(Fault),
    /// After so many bytes in this direction, in the middle of a frame.
    SeverAfter(Direction, u64, Fault),
    HalfClose(Direction),
    Delay(Duration),
    /// So many bytes at a time.
    Chop(usize),
    Refuse,
}

const WAYS: [Card<Way>; 9] = [
    |_| Way::Sever(Fault::Cut),
    |_| Way::Sever(Fault::Reset),
    |_| Way::Sever(Fault::Stall),
    |rng| Way::SeverAfter(Direction::ToBroker, rng.u64(1..20_000), fault(rng)),
    |rng| Way::SeverAfter(Direction::ToClient, rng.u64(1..20_000), fault(rng)),
    |rng| Way::HalfClose(Direction::BOTH[rng.usize(..2)]),
    |rng| Way::Delay(Duration::from_millis(rng.u64(1..100))),
    |rng| Way::Chop(rng.usize(10..100)),
    |_| Way::Refuse,
];

/// How many things happen on the way.
pub(crate) fn ways() -> usize {
    WAYS.len()
}

fn fault(rng: &mut Rng) -> Fault {
    [Fault::Cut, Fault::Reset, Fault::Stall][rng.usize(..3)]
}

#[derive(Clone, Copy, Debug)]
enum Drawn<E> {
    Way(Card<Way>),
    Target(Card<E>),
}

/// How long things last, in milliseconds and at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// What has gone wrong stays so.
    pub(crate) outage: u64,
    /// There is peace between two of them.
    pub(crate) peace: u64,
}

/// Clients' broker, and a proxy before each of its nodes.
pub(crate) struct Stage<'a, T> {
    pub(crate) target: &'a T,
    pub(crate) proxies: &'a [Proxy],
    pub(crate) pace: Pace,
}

impl<T: Target> Stage<'_, T> {
    /// Lets things go wrong, one after another, until it is told to stop; then all is well again. It counts them.
    pub(crate) fn perform(&self, seed: u64, stop: &AtomicBool, happened: &AtomicU64) -> Result<()> {
        let mut rng = Rng::with_seed(seed);
        let mut deck = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            pause(rng.u64(self.pace.peace / 5..self.pace.peace), stop);
            if deck.is_empty() {
                deck = self.deck();
                rng.shuffle(&mut deck);
            }
            let Some(card) = deck.pop() else { break };
            let outage = rng.u64(self.pace.outage / 20..self.pace.outage);
            let place = rng.usize(..self.proxies.len());
            let number = happened.load(Ordering::Relaxed);
            let told = |what: &dyn Debug| println!("{number:3}: {what:?} at {place}, for {outage} ms");
            let wait = || pause(outage, stop);
            match card {
                Drawn::Way(draw) => {
                    let way = draw(&mut rng);
                    told(&way);
                    bar(&self.proxies[place], way, wait);
                }
                Drawn::Target(draw) => {
                    let event = draw(&mut rng);
                    told(&event);
                    self.target.suffer(&event, place, wait)?;
                }
            }
            happened.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn deck(&self) -> Vec<Drawn<T::Event>> {
        let own = self.target.deck().into_iter().map(Drawn::Target);
        WAYS.into_iter().map(Drawn::Way).chain(own).collect()
    }
}

/// Begins it, waits, and makes it good again.
fn bar(proxy: &Proxy, way: Way, wait: impl FnOnce()) {
    match way {
        Way::Sever(fault) => {
            proxy.inflict(fault);
            wait();
            proxy.resume();
        }
        Way::SeverAfter(direction, bytes, fault) => {
            proxy.inflict_after(direction, bytes, fault);
            wait();
            proxy.resume();
        }
        Way::HalfClose(direction) => {
            proxy.half_close(direction);
            wait();
        }
        Way::Delay(delay) => {
            proxy.delay(delay);
            wait();
            proxy.delay(Duration::ZERO);
        }
        Way::Chop(bytes) => {
            proxy.chop(bytes);
            wait();
            proxy.chop(64 * 1024);
        }
        Way::Refuse => {
            proxy.refuse(true);
            proxy.inflict(Fault::Reset);
            wait();
            proxy.refuse(false);
        }
    }
}

/// So many milliseconds, or until the end.
fn pause(millis: u64, stop: &AtomicBool) {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}
