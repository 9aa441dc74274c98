//! A connection that is lost and comes back over another transport.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amqp_api::driver::connect;
use amqp_api::{Config, ConnectOptions, Connection, Consume, Error, ErrorKind, Exchange, Recovery, TimeoutReason};

use crate::peer::Peer;
use crate::tools::{both, poll_once};
use crate::wire::{Manners, WireHandle};
use crate::world::{Host, Stepped, World};

/// A host with these transports, one after the other, and a connection over the first.
fn connected(world: &World, manners: Manners, peers: Vec<Peer>) -> (Connection, Vec<WireHandle>) {
    let wires: Vec<_> = peers.into_iter().map(|peer| world.wire(peer, manners)).collect();
    world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
    (world.block_on(connect(world.runtime(), config())).unwrap(), wires)
}

fn config() -> Config {
    Config::new("broker").recovery(Recovery::default())
}

#[test]
fn c3_a_consumer_goes_on_over_another_transport() {
    for seed in 0..50 {
        let world = World::new(seed);
        let peers = (0..4).map(|_| Peer { greeting: 3, ..Peer::default() }).collect();
        let (connection, wires) = connected(&world, Manners::Bad, peers);
        world.block_on(async {
            let channel = connection.channel().await.unwrap();
            let mut consumer = channel.consume(Consume::new("q").tag("me")).await.unwrap();
            for wire in &wires {
                for at in 0..3 {
                    let delivery = consumer.next().await.unwrap().unwrap();
                    assert_eq!(delivery.body(), format!("greeting {at}").as_str(), "seed {seed}");
                    delivery.ack().unwrap();
                }
                assert_eq!(channel.queue_declare("q").await.unwrap().name, "q");
                wire.lock().eof = true;
            }
        });
    }
}

#[test]
fn f43_calls_and_publishes_wait_until_the_connection_is_back() {
    for seed in 0..50 {
        let world = World::new(seed);
        let (connection, wires) = connected(&world, Manners::Bad, vec![Peer::default(), Peer::default()]);
        world.block_on(async {
            let channel = connection.channel().await.unwrap();
            let publisher = connection.publisher().await.unwrap();
            wires[0].lock().eof = true;
            world.sleep_a_while().await;
            assert!(connection.is_open());
            let declare = async {
                for at in 0..5 {
                    channel.queue_declare(format!("q{at}")).await.unwrap();
                }
            };
            let publish = async {
                for _ in 0..5 {
                    publisher.publish("", "q", "x").await.unwrap();
                }
            };
            both(declare, publish).await;
            assert!(connection.is_connected());
            let other = connection.channel().await.unwrap();
            other.close().await.unwrap();
            connection.close().await.unwrap();
        });
        world.settle();
        assert_eq!(wires[1].lock().peer.published.len(), 5, "seed {seed}");
        assert!(wires.iter().all(|wire| wire.lock().shut_down));
        assert_eq!(world.task_count(), 0);
    }
}

#[test]
fn f43_a_call_waits_no_longer_than_its_deadline() {
    let world = World::new(1);
    let wire = world.wire(Peer::default(), Manners::Good);
    world.host("broker", Host::each([Host::Answers(wire.clone()), Host::Refuses]));
    let connection = world.block_on(connect(world.runtime(), config())).unwrap();
    world.block_on(async {
        let channel = connection.channel().await.unwrap();
        wire.lock().eof = true;
        let _ = channel.queue_declare("in flight").await;
        let before = world.elapsed();
        let call = channel.queue_declare("q").await.unwrap_err();
        assert_eq!(world.elapsed() - before, Duration::from_secs(30));
        let ErrorKind::Timeout { reason: TimeoutReason::Disconnected { cause }, .. } = call.kind() else {
            panic!("{call:?}")
        };
        assert!(cause.contains("refused"), "{cause}");
        let publish = channel.publish("", "q", "x").await.unwrap_err();
        assert!(publish.to_string().contains("did not come back"), "{publish}");
    });
}

#[test]
fn c14_a_close_in_the_back_off_or_while_it_dials_ends_it() {
    for (seed, host) in [Host::Refuses, Host::Unreachable].into_iter().cycle().take(40).enumerate() {
        let world = World::new(seed as u64);
        let wire = world.wire(Peer::default(), Manners::Good);
        world.host("broker", Host::each([Host::Answers(wire.clone()), host]));
        let connection = world.block_on(connect(world.runtime(), config())).unwrap();
        let closed = connection.closed();
        wire.lock().eof = true;
        world.sleep(Duration::from_millis(100 * seed as u64));
        assert!(connection.is_open() && !connection.is_connected());
        world.block_on(connection.close()).unwrap();
        world.block_on(closed).unwrap();
        world.settle();
        assert_eq!(world.task_count(), 0, "the driver has ended");
        let dialled = world.dialled().len();
        world.sleep(Duration::from_secs(100));
        assert_eq!(world.dialled().len(), dialled);
    }
}

#[test]
fn c13_the_last_handle_that_is_dropped_ends_it_while_it_is_down() {
    let world = World::new(1);
    let wire = world.wire(Peer::default(), Manners::Good);
    world.host("broker", Host::each([Host::Answers(wire.clone()), Host::Refuses]));
    let connection = world.block_on(connect(world.runtime(), config())).unwrap();
    let channel = world.block_on(connection.channel()).unwrap();
    wire.lock().eof = true;
    world.sleep(Duration::from_secs(10));
    drop(connection);
    world.sleep(Duration::from_secs(10));
    assert_eq!(world.task_count(), 1);
    drop(channel);
    world.settle();
    assert_eq!(world.task_count(), 0);
}

#[test]
fn a_driver_that_is_dropped_while_it_dials_wakes_everybody() {
    let world = World::new(1);
    let wire = world.wire(Peer::default(), Manners::Good);
    world.host("broker", Host::each([Host::Answers(wire.clone()), Host::Unreachable]));
    let connection = world.block_on(connect(world.runtime(), config())).unwrap();
    let channel = world.block_on(connection.channel()).unwrap();
    wire.lock().eof = true;
    world.sleep(Duration::from_secs(10));
    let (call, closed) = (channel.queue_declare("q"), connection.closed());
    world.drop_tasks();
    assert!(matches!(world.block_on(call).unwrap_err().kind(), ErrorKind::ConnectionLost { .. }));
    world.block_on(closed).unwrap_err();
    assert!(!connection.is_open());
}

#[test]
fn f43_every_host_has_its_turn() {
    let world = World::new(1);
    let good = world.wire(Peer::default(), Manners::Good);
    world.host("a", Host::each([Host::Answers(good.clone()), Host::Refuses]));
    world.host("b", Host::Answers(world.wire(Peer::default(), Manners::Good)));
    let config = Config::default().hosts([("a", 1), ("b", 2)]).recovery(Recovery::default());
    let connection = world.block_on(connect(world.runtime(), config)).unwrap();
    good.lock().eof = true;
    world.block_on(async {
        world.sleep_a_while().await;
        connection.channel().await.unwrap();
    });
    assert_eq!(world.dialled(), ["a:1", "a:1", "b:2"]);
}

#[test]
fn f43_a_host_whose_broker_lets_nobody_in_is_followed_by_the_next() {
    let world = World::new(1);
    let good = world.wire(Peer::default(), Manners::Good);
    let hangs_up = || {
        let wire = world.wire(Peer::default(), Manners::Good);
        wire.lock().eof = true;
        Host::Answers(wire)
    };
    world.host("a", Host::each([Host::Answers(good.clone()), hangs_up(), hangs_up()]));
    world.host("b", Host::Answers(world.wire(Peer::default(), Manners::Good)));
    let config = Config::default().hosts([("a", 1), ("b", 2)]).recovery(Recovery::default());
    let connection = world.block_on(connect(world.runtime(), config)).unwrap();
    good.lock().eof = true;
    world.block_on(async {
        world.sleep_a_while().await;
        connection.channel().await.unwrap();
    });
    assert_eq!(world.dialled(), ["a:1", "a:1", "b:2"]);
}

#[test]
fn c2_hooks_run_in_order_on_every_connect_and_are_awaited() {
    for seed in 0..20 {
        let world = World::new(seed);
        let wires: Vec<_> = (0..2).map(|_| world.wire(Peer::default(), Manners::Bad)).collect();
        world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
        let ran = Arc::new(Mutex::new(Vec::new()));
        let hook = |name: &'static str| {
            let ran = Arc::clone(&ran);
            move |connection: Connection| {
                let ran = Arc::clone(&ran);
                async move {
                    assert!(!connection.is_connected());
                    let channel = connection.channel().await?;
                    channel.exchange_declare(Exchange::topic(name)).await?;
                    ran.lock().unwrap().push(name);
                    Ok(())
                }
            }
        };
        let options = ConnectOptions::new(config()).on_connect(hook("first")).on_connect(hook("second"));
        let connection = world.block_on(connect(world.runtime(), options)).unwrap();
        assert_eq!(*ran.lock().unwrap(), ["first", "second"]);
        assert!(connection.is_connected());
        wires[0].lock().eof = true;
        world.block_on(async {
            world.sleep_a_while().await;
            connection.channel().await.unwrap();
        });
        assert_eq!(*ran.lock().unwrap(), ["first", "second", "first", "second"], "seed {seed}");
        let seen = wires[1].lock().peer.count("exchange.declare");
        assert_eq!(seen, 2, "the hooks declare, and nothing is declared beside");
        world.block_on(connection.close()).unwrap();
    }
}

#[test]
fn c2_a_hook_that_fails_fails_the_first_connect_and_later_the_attempt() {
    let world = World::new(1);
    let wires: Vec<_> = (0..4).map(|_| world.wire(Peer::default(), Manners::Good)).collect();
    world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
    let turns = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&turns);
    let options = ConnectOptions::new(config()).on_connect(move |_| {
        *counted.lock().unwrap() += 1;
        let turn = *counted.lock().unwrap();
        async move { if turn % 2 == 1 { Err(Error::invalid("not this time")) } else { Ok(()) } }
    });
    let error = world.block_on(connect(world.runtime(), options.clone())).unwrap_err();
    assert!(error.to_string().contains("not this time"));
    let connection = world.block_on(connect(world.runtime(), options)).unwrap();
    wires[1].lock().eof = true;
    world.settle();
    world.block_on(async {
        world.sleep_a_while().await;
        connection.channel().await.unwrap();
    });
    assert_eq!(*turns.lock().unwrap(), 4);
    assert!(wires[2].lock().peer.has_seen("connection.close"));
}

#[test]
fn c2_a_connect_that_is_dropped_while_a_hook_runs_leaves_nothing() {
    let world = World::new(1);
    let wire = world.wire(Peer::default().mute(&["queue.declare"]), Manners::Good);
    world.host("broker", Host::Answers(wire.clone()));
    let options = ConnectOptions::new(config()).on_connect(|connection: Connection| async move {
        connection.channel().await?.queue_declare("never").await?;
        Ok(())
    });
    let mut connecting = Box::pin(connect(world.runtime(), options));
    while !wire.lock().peer.has_seen("queue.declare") {
        assert!(poll_once(&mut connecting).is_pending());
        world.settle();
    }
    drop(connecting);
    world.settle();
    assert!(wire.lock().peer.has_seen("connection.close"));
    assert_eq!(world.task_count(), 0);
}

#[test]
fn f43_the_first_connect_is_tried_again_if_that_is_asked_for() {
    let world = World::new(1);
    let wire = world.wire(Peer::default(), Manners::Good);
    world.host("broker", Host::each([Host::Refuses, Host::Refuses, Host::Answers(wire)]));
    world.block_on(connect(world.runtime(), config())).unwrap_err();
    let config = Config::new("broker").recovery(Recovery::default().retry_first_connect(true));
    let connection = world.block_on(connect(world.runtime(), config.clone())).unwrap();
    assert!(connection.is_connected());
    assert_eq!(world.dialled().len(), 3);

    let world = World::new(1);
    world.host("broker", Host::Refuses);
    let few = Config::new("broker").recovery(Recovery::default().retry_first_connect(true).max_attempts(4));
    world.block_on(connect(world.runtime(), few)).unwrap_err();
    assert_eq!(world.dialled().len(), 5);
}

#[test]
fn f44_the_filter_says_what_is_declared_again() {
    let world = World::new(1);
    let wires: Vec<_> = (0..2).map(|_| world.wire(Peer::default(), Manners::Good)).collect();
    world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
    let options = ConnectOptions::new(config()).topology_filter(|recorded| recorded.to_string() != "queue b");
    let connection = world.block_on(connect(world.runtime(), options)).unwrap();
    world.block_on(async {
        let channel = connection.channel().await.unwrap();
        for queue in ["a", "b", "c"] {
            channel.queue_declare(queue).await.unwrap();
        }
        wires[0].lock().eof = true;
        world.sleep_a_while().await;
        channel.exchange_declare(Exchange::topic("e")).await.unwrap();
    });
    assert_eq!(wires[1].lock().peer.count("queue.declare"), 2);
}

#[test]
fn f43_f45_a_call_under_way_ends_with_the_loss_and_one_made_meanwhile_waits() {
    for confirmed in [true, false] {
        let world = World::new(1);
        let first = Peer { hold_confirms: !confirmed, ..Peer::default() };
        let (connection, wires) = connected(&world, Manners::Good, vec![first, Peer::default()]);
        let client = world.block_on(connection.rpc_client()).unwrap();
        let mut call = Stepped::new(client.call("", "unserved", "x"));
        let early = world.settle_with(&mut call);
        assert!(early.is_none(), "nobody answers: {early:?}");
        wires[0].lock().eof = true;
        // Without any time going by.
        let error = world.settle_with(&mut call).expect("it has ended").unwrap_err();
        let cause = match error.kind() {
            ErrorKind::Unknown(cause) if !confirmed => cause,
            _ => &error,
        };
        assert!(matches!(cause.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert_eq!(world.elapsed(), Duration::ZERO);
        // Not back yet: it waits, and then for its reply, until its own deadline.
        let patient = client.clone().call_timeout(Duration::from_secs(7));
        let error = world.block_on(patient.call("", "unserved", "y")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Reply, .. }), "{error}");
        assert_eq!(world.elapsed(), Duration::from_secs(7));
        assert_eq!(world.block_on(patient.call("", "q", "z")).unwrap().body(), "z");
        assert_eq!(wires[1].lock().peer.published.len(), 2);
    }
}
