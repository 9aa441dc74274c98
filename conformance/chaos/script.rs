//! What goes wrong, and when: drawn from a seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::Result;
use conformance::node::{Cluster, Node};
use conformance::proxy::{Direction, Fault, Proxy};
use fastrand::Rng;

/// How long what has gone wrong stays so, at most.
const LONGEST_OUTAGE: u64 = 4000;
/// How long there is peace between two of them, at most.
const LONGEST_PEACE: u64 = 2500;

/// One thing that goes wrong and is made good again. At most one node at a time is away: a quorum remains.
#[derive(Clone, Copy, Debug)]
enum Event {
    KillTheLeader,
    KillANode,
    RestartANode,
    FreezeANode,
    CloseAllConnections,
    Sever(Fault),
    /// After so many bytes in this direction, in the middle of a frame.
    SeverAfter(Direction, u64, Fault),
    HalfClose(Direction),
    Delay(Duration),
    Refuse,
}

impl Event {
    fn draw(rng: &mut Rng) -> Self {
        let fault = [Fault::Cut, Fault::Reset, Fault::Stall][rng.usize(..3)];
        let direction = Direction::BOTH[rng.usize(..2)];
        match rng.u8(..12) {
            0 | 1 => Self::KillTheLeader,
            2 => Self::KillANode,
            3 => Self::RestartANode,
            4 => Self::FreezeANode,
            5 => Self::CloseAllConnections,
            6 | 7 => Self::Sever(fault),
            8 => Self::SeverAfter(direction, rng.u64(1..20_000), fault),
            9 => Self::HalfClose(direction),
            10 => Self::Delay(Duration::from_millis(rng.u64(1..100))),
            _ => Self::Refuse,
        }
    }
}

/// A cluster, and a proxy before each of its nodes.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) proxies: &'a [Proxy],
    pub(crate) queue: &'a str,
}

impl Stage<'_> {
    /// Lets things go wrong, one after another, until it is told to stop; then all is well again. The number of things.
    pub(crate) fn perform(&self, seed: u64, stop: &AtomicBool) -> Result<usize> {
        let mut rng = Rng::with_seed(seed);
        let mut events = 0;
        while !stop.load(Ordering::Relaxed) {
            pause(rng.u64(LONGEST_PEACE / 5..LONGEST_PEACE), stop);
            let event = Event::draw(&mut rng);
            let outage = rng.u64(LONGEST_OUTAGE / 20..LONGEST_OUTAGE);
            let place = rng.usize(..self.proxies.len());
            println!("{events:3}: {event:?} at {place}, for {outage} ms");
            self.inflict(event, place, || pause(outage, stop))?;
            events += 1;
        }
        Ok(events)
    }

    /// Begins it, waits, and makes it good again.
    fn inflict(&self, event: Event, place: usize, wait: impl FnOnce()) -> Result<()> {
        let (node, proxy) = (&self.cluster[place], &self.proxies[place]);
        match event {
            Event::KillTheLeader => self.kill(self.cluster.leader_of(self.queue)?, wait)?,
            Event::KillANode => self.kill(node, wait)?,
            Event::RestartANode => {
                node.stop()?;
                wait();
                node.start_again()?;
                self.cluster.await_members()?;
            }
            Event::FreezeANode => {
                node.freeze()?;
                wait();
                node.thaw()?;
                self.cluster.await_members()?;
            }
            Event::CloseAllConnections => {
                node.close_all_connections("chaos")?;
                wait();
            }
            Event::Sever(fault) => {
                proxy.inflict(fault);
                wait();
                proxy.resume();
            }
            Event::SeverAfter(direction, bytes, fault) => {
                proxy.inflict_after(direction, bytes, fault);
                wait();
                proxy.resume();
            }
            Event::HalfClose(direction) => {
                proxy.half_close(direction);
                wait();
            }
            Event::Delay(delay) => {
                proxy.delay(delay);
                wait();
                proxy.delay(Duration::ZERO);
            }
            Event::Refuse => {
                proxy.refuse(true);
                proxy.inflict(Fault::Reset);
                wait();
                proxy.refuse(false);
            }
        }
        Ok(())
    }

    fn kill(&self, node: &Node, wait: impl FnOnce()) -> Result<()> {
        node.kill();
        wait();
        node.start_again()?;
        self.cluster.await_members()
    }
}

/// So many milliseconds, or until the end.
fn pause(millis: u64, stop: &AtomicBool) {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}
