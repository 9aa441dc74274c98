//! Checkouts of a pool, in virtual time, and dropped wherever they wait.

use std::time::Duration;

use amqp_api::driver::pool;
use amqp_api::{Config, Connection, ErrorKind, Pool, Recovery, TimeoutReason};

use crate::peer::Peer;
use crate::wire::Manners;
use crate::world::{Host, Step, Stepped, World};

/// A pool whose host answers once.
fn answering(world: &World, size: usize) -> Pool {
    world.host("broker", Host::Answers(world.wire(Peer::default(), Manners::Good)));
    pool(world.runtime(), Config::new("broker"), size).unwrap()
}

#[test]
fn n3_f46_a_checkout_has_one_deadline_for_its_turn_and_for_connecting() {
    let world = World::new(46);
    let pool = answering(&world, 1);
    let out = world.block_on(pool.get()).unwrap();
    let error = world.block_on(pool.get()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Checkout, .. }), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(30), "the default");
    let error = world.block_on(pool.get_timeout(Duration::from_secs(5))).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(35));
    assert!(world.block_on(pool.try_get()).is_err());
    assert_eq!((world.elapsed(), pool.waiting()), (Duration::from_secs(35), 0));
    drop(out);
    assert_eq!(pool.available(), 1);

    world.host("nowhere", Host::Unreachable);
    let nowhere = amqp_api::driver::pool(world.runtime(), Config::new("nowhere"), 1).unwrap();
    let nowhere = nowhere.checkout_timeout(Duration::from_secs(3));
    for checkout in [world.block_on(nowhere.get()), world.block_on(nowhere.try_get())] {
        let error = checkout.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Checkout, .. }), "{error}");
    }
    assert_eq!((world.elapsed(), nowhere.available()), (Duration::from_secs(41), 1));
}

#[test]
fn p12_f46_a_checkout_may_be_dropped_wherever_it_waits() {
    for is_taken in [false, true] {
        for steps in 0.. {
            let world = World::new(steps);
            let pool = answering(&world, 1);
            let mut out = is_taken.then(|| world.block_on(pool.get()).unwrap());
            let mut checkout = Stepped::new(pool.get());
            let mut done = None;
            for _ in 0..steps {
                match world.step(&mut checkout) {
                    Step::Done(connection) => {
                        done = Some(connection.unwrap());
                        break;
                    }
                    Step::Moved => {}
                    // It waits until the other one comes back.
                    Step::Still => assert!(out.take().is_some(), "it waits for nothing"),
                }
            }
            let is_done = done.is_some();
            drop((checkout, done));
            drop(out);
            assert_eq!((pool.available(), pool.waiting()), (1, 0), "dropped after {steps} steps");
            if is_taken || is_done {
                // The one that was made is still there.
                assert!(world.block_on(pool.try_get()).unwrap().is_open());
            }
            if is_done {
                break;
            }
        }
    }
}

#[test]
fn n4_f43_f46_a_connection_that_is_away_is_replaced_and_not_waited_for() {
    for patient in [false, true] {
        let world = World::new(1);
        let wires = [(); 2].map(|()| world.wire(Peer::default(), Manners::Good));
        let [one, other] = wires.clone().map(Host::Answers);
        world.host("broker", Host::each([one, Host::Refuses, other]));
        let recovery = Recovery::default().retry_first_connect(patient);
        let pool = pool(world.runtime(), Config::new("broker").recovery(recovery), 1).unwrap();
        let connection = world.block_on(pool.get()).unwrap();
        let watch: Connection = connection.clone();
        drop(connection);
        wires[0].lock().eof = true;
        world.settle();
        assert!(watch.is_open() && !watch.is_connected(), "it is in its back-off");
        drop(watch);
        if !patient {
            let error = world.block_on(pool.get()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
            assert_eq!((world.elapsed(), pool.available()), (Duration::ZERO, 1));
        }
        let connection = world.block_on(pool.get()).unwrap();
        assert!(connection.is_connected());
        assert_eq!(world.dialled().len(), 3, "the one that was lost has not dialled any more");
    }
}
