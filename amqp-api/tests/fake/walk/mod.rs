//! Every future of the API is dropped wherever it may be, and the connection must be as good as before.
//!
//! `list` names each method that waits, with a way to start it; `above` does so for what has connections of its own; `source`
//! finds in this crate's sources that none is missing. Each is walked in two ways, those of `above` in the first of them:
//!
//! - It is dropped after no step of the world, after one, after two and so on until it ends by itself: before it was
//!   polled, between its polls, with its reply on the way, received, or not yet asked for.
//! - It is dropped while the peer keeps its answer, and made again. The answer to the dropped one must not end the second.
//!
//! After that every other call must get the reply that is its own, and what the dropped future would have brought must have
//! been put back: messages, consumers and channels.

mod above;
mod list;
mod scene;
mod source;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use amqp_api::{BatchOutcome, Elapsed, Error, Outcome};

use crate::world::{Step, Stepped};
use scene::{Hands, Scene};

/// Longer than anything takes.
const MINUTE: Duration = Duration::from_secs(60);

/// A future whose output is whether all went well.
type Walked<'s> = Pin<Box<dyn Future<Output = bool> + 's>>;

/// A method that waits, and how to walk it.
struct Walk {
    /// `Type::method`.
    method: &'static str,
    start: for<'s> fn(&'s mut Scene) -> Walked<'s>,
    /// What happens once it has been started, so that it ends.
    meanwhile: fn(&Hands),
    /// There is no room to publish when it is started.
    full: bool,
    /// Its answers cannot be counted: it goes on when it is dropped, so that the same once more asks for more, or for less.
    once: bool,
    ends: Ends,
}

/// What is no more when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Nothing,
    Consumer,
    Channel,
    Connection,
}

/// Something to walk. `start` is a closure that makes the future: `|scene| walked(scene.channel.queue_declare("q"))`.
fn walk(method: &'static str, start: for<'s> fn(&'s mut Scene) -> Walked<'s>) -> Walk {
    Walk { method, start, meanwhile: |_| {}, full: false, once: false, ends: Ends::Nothing }
}

impl Walk {
    /// What happens once it has been started, so that it ends.
    fn meanwhile(mut self, meanwhile: fn(&Hands)) -> Self {
        self.meanwhile = meanwhile;
        self
    }

    /// There is no room to publish when it is started.
    fn without_room(mut self) -> Self {
        self.full = true;
        self
    }

    /// Its answers cannot be counted: it goes on when it is dropped, so that the same once more asks for more, or for less.
    fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// What is no more when it is done.
    fn ends(mut self, ends: Ends) -> Self {
        self.ends = ends;
        self
    }
}

/// The future of a walk.
fn walked<'s, F: Future<Output: Fine> + 's>(future: F) -> Walked<'s> {
    Box::pin(async move { future.await.is_fine() })
}

/// Whether an output is the one that is wanted.
trait Fine {
    fn is_fine(&self) -> bool;
}

impl<T> Fine for Result<T, Error> {
    fn is_fine(&self) -> bool {
        self.is_ok()
    }
}

impl<T> Fine for Result<T, Elapsed> {
    fn is_fine(&self) -> bool {
        self.is_ok()
    }
}

impl<T> Fine for Option<T> {
    fn is_fine(&self) -> bool {
        self.is_some()
    }
}

impl Fine for Outcome {
    fn is_fine(&self) -> bool {
        matches!(self, Self::Acked)
    }
}

impl Fine for BatchOutcome {
    fn is_fine(&self) -> bool {
        self.is_acked()
    }
}

#[test]
fn every_method_that_waits_is_walked() {
    let walks = list::walks();
    let walked = walks.iter().map(|walk| walk.method).chain(above::methods());
    let walked: BTreeSet<String> = walked.map(str::to_owned).collect();
    assert_eq!(source::methods_that_wait(), walked, "left: in the sources; right: in walk/list.rs and walk/above.rs");
}

#[test]
fn f31_p12_a_future_may_be_dropped_wherever_it_waits() {
    for seed in 0..4 {
        for walk in list::walks() {
            let mut steps = 0;
            while !drop_after(&walk, steps, seed) {
                steps += 1;
                assert!(steps < 10_000, "{} does not end (seed {seed})", walk.method);
            }
            assert!(steps > 0, "{} was done before it began", walk.method);
        }
    }
}

/// Drops the future after so many steps of the world and looks at what is left. `true` if the future ended before.
fn drop_after(walk: &Walk, steps: usize, seed: u64) -> bool {
    let mut scene = Scene::new(seed);
    if walk.full {
        scene.fill();
    }
    let hands = scene.hands();
    let mut is_done = false;
    let mut future = Stepped::new((walk.start)(&mut scene));
    (walk.meanwhile)(&hands);
    for _ in 0..steps {
        match hands.world.step(&mut future) {
            Step::Done(is_fine) => {
                assert!(is_fine, "{} (seed {seed})", walk.method);
                is_done = true;
                break;
            }
            Step::Moved => hands.wire.lock().reading = true,
            Step::Still => panic!("{} waits for nothing (seed {seed})", walk.method),
        }
    }
    drop(future);
    drop(hands);
    let context = format!("{} dropped after {steps} steps (seed {seed})", walk.method);
    scene.check(walk.ends, is_done, &context);
    is_done
}

#[test]
fn p12_a_reply_to_a_dropped_future_is_never_given_to_the_same_method_called_again() {
    for walk in list::walks().into_iter().filter(|walk| walk.ends == Ends::Nothing && !walk.full && !walk.once) {
        let Some((last, replies)) = replies(&walk) else { continue };
        let mut scene = Scene::new(7);
        let hands = scene.hands();
        hands.wire.lock().peer.late = true;
        let mut dropped = Stepped::new((walk.start)(&mut scene));
        assert_eq!(hands.world.settle_with(&mut dropped), None, "{} needs its answer", walk.method);
        drop(dropped);
        hands.world.settle();
        let earlier = hands.wire.lock().peer.held.iter().filter(|(answers, _)| *answers == last).count();
        let mut again = Stepped::new((walk.start)(&mut scene));
        let mut released = 0;
        let is_fine = loop {
            if let Some(is_fine) = hands.world.settle_with(&mut again) {
                break is_fine;
            }
            let answers = hands.wire.lock().peer.release();
            released += usize::from(answers.expect("an answer that it waits for") == last);
        };
        assert!(is_fine, "{}", walk.method);
        assert_eq!(released, earlier + replies, "{} called again ends with its own {last}", walk.method);
    }
}

/// The method whose answer ends this one when nothing is dropped, and how many of these answers it needs. `None`: it ends
/// without one.
fn replies(walk: &Walk) -> Option<(&'static str, usize)> {
    let mut scene = Scene::new(7);
    let hands = scene.hands();
    hands.wire.lock().peer.late = true;
    let mut future = Stepped::new((walk.start)(&mut scene));
    let mut released = Vec::new();
    while hands.world.settle_with(&mut future).is_none() {
        let answers = hands.wire.lock().peer.release();
        // One that waits for the peer to say something by itself has no answer.
        released.push(answers?);
    }
    let last = *released.last()?;
    Some((last, released.into_iter().filter(|answers| *answers == last).count()))
}
