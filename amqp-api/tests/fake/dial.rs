//! Hosts, their addresses, and how long each is waited for.

use std::io;
use std::time::Duration;

use amqp_api::driver::connect;
use amqp_api::{Address, Config, ConnectOptions, ErrorKind, TimeoutReason};

use crate::peer::Peer;
use crate::wire::Manners;
use crate::world::{Host, World};

/// A host that answers.
fn alive(world: &World) -> Host {
    Host::Answers(world.wire(Peer::default(), Manners::Good))
}

#[test]
fn f8_hosts_are_tried_in_order_and_a_silent_one_is_given_up() {
    let world = World::new(8);
    let silent = world.wire(Peer::default(), Manners::Good);
    silent.lock().reading = false;
    world.host("unreachable", Host::Unreachable);
    world.host("refuses", Host::Refuses);
    world.host("silent", Host::Answers(silent));
    world.host("answers", alive(&world));
    let hosts = [("nameless", 1), ("unreachable", 2), ("refuses", 3), ("silent", 4), ("answers", 5)];
    let connection = world.block_on(connect(world.runtime(), Config::default().hosts(hosts))).unwrap();
    assert_eq!(world.dialled(), ["unreachable:2", "refuses:3", "silent:4", "answers:5"]);
    assert_eq!(world.elapsed(), Duration::from_secs(40), "30 s to connect, 10 s of silence");
    assert!(connection.is_open());
}

#[test]
fn f9_each_address_of_a_host_has_its_own_deadline() {
    let world = World::new(8);
    world.host("broker", Host::Unreachable);
    world.host("broker", Host::Refuses);
    world.host("broker", Host::Unreachable);
    world.host("broker", alive(&world));
    let config = Config::new("broker").connect_timeout(Duration::from_secs(7));
    let connection = world.block_on(connect(world.runtime(), config)).unwrap();
    assert_eq!(world.dialled(), ["broker:5672"; 4]);
    assert_eq!(world.elapsed(), Duration::from_secs(14));
    assert!(connection.is_open());
}

#[test]
fn f8_hosts_are_shuffled_if_that_is_wanted_in_an_order_that_the_seed_decides() {
    let dialled = |seed, shuffle| {
        let world = World::new(seed);
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            world.host(name, Host::Refuses);
        }
        let config = Config::default().hosts(names.map(|name| (name, 1))).shuffle_hosts(shuffle);
        assert!(world.block_on(connect(world.runtime(), config)).is_err());
        world.dialled()
    };
    let in_order = dialled(1, false);
    assert_eq!(in_order, ["a:1", "b:1", "c:1", "d:1", "e:1"]);
    assert_ne!(dialled(1, true), in_order);
    assert_eq!(dialled(1, true), dialled(1, true));
    assert_ne!(dialled(1, true), dialled(2, true));
    let mut sorted = dialled(3, true);
    sorted.sort();
    assert_eq!(sorted, in_order, "each once");
}

#[test]
fn f8_a_resolver_of_ones_own_is_asked_in_place_of_the_runtimes() {
    let world = World::new(9);
    let (refuses, answers) = (world.host("by address only", Host::Refuses), world.host("too", alive(&world)));
    let options = ConnectOptions::new(Config::new("somewhere")).resolver(move |address: Address| async move {
        assert_eq!(address, Address::new("somewhere", 5672));
        Ok(vec![(refuses, 1).into(), (answers, 2).into()])
    });
    let connection = world.block_on(connect(world.runtime(), options)).unwrap();
    assert_eq!(world.dialled(), ["by address only:1", "too:2"]);
    assert!(connection.is_open());
}

#[test]
fn f8_a_resolver_that_fails_or_is_silent_is_an_error_of_that_host() {
    let world = World::new(10);
    let answers = world.host("answers", alive(&world));
    let options = ConnectOptions::new(Config::default().hosts([("fails", 1), ("silent", 2), ("works", 3)]));
    let options = options.resolver(move |address: Address| async move {
        match address.host.as_str() {
            "fails" => Err(io::Error::other("no such service")),
            "silent" => std::future::pending().await,
            _ => Ok(vec![(answers, address.port).into()]),
        }
    });
    assert!(world.block_on(connect(world.runtime(), options.clone())).unwrap().is_open());
    assert_eq!(world.elapsed(), Duration::from_secs(30));

    let fails = ConnectOptions::new(Config::new("fails"));
    let fails = fails.resolver(|_: Address| async { Err(io::Error::other("no such service")) });
    let error = world.block_on(connect(world.runtime(), fails)).unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to fails:5672: no such service");
    let silent = ConnectOptions::new(Config::new("silent")).resolver(|_: Address| std::future::pending());
    let error = world.block_on(connect(world.runtime(), silent)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Connect, .. }), "{error}");
}

#[test]
fn c1_a_host_that_cannot_be_reached_is_an_error_and_nothing_goes_on_behind_it() {
    let world = World::new(9);
    world.host("unreachable", Host::Unreachable);
    let error = world.block_on(connect(world.runtime(), Config::new("unreachable"))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Connect, .. }), "{error}");
    world.host("refuses", Host::Refuses);
    let error = world.block_on(connect(world.runtime(), Config::new("refuses"))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind: io::ErrorKind::ConnectionRefused, .. }));
    assert!(error.to_string().contains("refuses:5672 (192.0.2.1:5672)"), "{error}");
    let error = world.block_on(connect(world.runtime(), Config::new("nameless"))).unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to nameless:5672: the host has no address");
    assert_eq!(world.task_count(), 0);
}
