//! Credentials from a provider: for each login, and again before they expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amqp_api::{
    Config, ConnectOptions, Connection, ConnectionEvent, Credentials, Error, ErrorKind, Heartbeat, TimeoutReason,
};

use crate::peer::Peer;
use crate::wire::{Manners, WireHandle};
use crate::world::{Host, World};

fn quiet() -> Config {
    Config::default().heartbeat(Heartbeat::Disabled)
}

fn wire(world: &World, peer: Peer) -> WireHandle {
    world.wire(Peer { heartbeat: 0, ..peer }, Manners::Good)
}

/// A provider that counts, and what it has counted. `give` says what it gives the nth time, from 1.
fn counting(
    config: Config,
    give: impl Fn(usize) -> Result<Credentials, String> + Send + Sync + 'static,
) -> (ConnectOptions, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let options = ConnectOptions::new(config).credentials_provider({
        let asked = Arc::clone(&asked);
        move || {
            let given = give(asked.fetch_add(1, Ordering::SeqCst) + 1);
            async { given }
        }
    });
    (options, asked)
}

fn token(number: usize) -> Credentials {
    Credentials::new("", format!("token {number}"))
}

fn secrets(wire: &WireHandle) -> Vec<String> {
    wire.lock().peer.secrets.clone()
}

fn open(world: &World, wire: &WireHandle, options: &ConnectOptions) -> Result<Connection, Error> {
    world.block_on(world.attach(wire, options.clone()))
}

#[test]
fn f17_the_provider_is_asked_for_each_transport() {
    let world = World::new(1);
    let (options, asked) = counting(quiet().hosts([("one", 1), ("two", 2)]), |number| Ok(token(number)));
    let (silent, good) = (wire(&world, Peer::default().mute(&["connection.start-ok"])), wire(&world, Peer::default()));
    world.host("one", Host::Answers(silent.clone()));
    world.host("two", Host::Answers(good.clone()));
    let connection = world.block_on(amqp_api::driver::connect(world.runtime(), options)).unwrap();
    assert_eq!(secrets(&good), ["\0\0token 2"]);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // What does not expire is not renewed.
    world.sleep(Duration::from_secs(100_000));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(connection.is_open());
}

#[test]
fn f17_a_plain_function_provides_too_and_its_error_is_told() {
    let world = World::new(2);
    let good = wire(&world, Peer::default());
    let options = ConnectOptions::new(quiet()).credentials_from(|| Ok::<_, String>(Credentials::new("a", "b")));
    assert!(!format!("{options:?}").contains("token"));
    let connection = open(&world, &good, &options).unwrap();
    assert_eq!(secrets(&good), ["\0a\0b"]);
    drop(connection);

    let unused = wire(&world, Peer::default());
    let options = ConnectOptions::new(quiet()).credentials_from(|| Err::<Credentials, _>("the vault is sealed"));
    let error = open(&world, &unused, &options).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Credentials(text) if text == "the vault is sealed"), "{error}");
    // What the provider gives is checked like what is configured.
    let options = ConnectOptions::new(quiet()).credentials_from(|| Ok::<_, String>(Credentials::new("\0", "")));
    assert!(open(&world, &unused, &options).unwrap_err().to_string().contains("NUL"));
    assert!(secrets(&unused).is_empty());
}

#[test]
fn f17_a_provider_that_is_silent_has_a_deadline() {
    let world = World::new(3);
    let wire = wire(&world, Peer::default());
    let options = ConnectOptions::new(quiet().connect_timeout(Duration::from_secs(7)))
        .credentials_provider(std::future::pending::<Result<Credentials, String>>);
    let error = open(&world, &wire, &options).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Credentials, .. }), "{error}");
    assert_eq!(world.elapsed(), Duration::from_secs(7));
}

#[test]
fn f17_a_token_is_renewed_when_four_fifths_of_its_lifetime_are_over() {
    let world = World::new(4);
    let wire = wire(&world, Peer::default());
    let lifetimes = [100, 1000];
    let (options, asked) = counting(quiet(), move |number| {
        let lifetime = lifetimes.get(number - 1).copied().map(Duration::from_secs);
        Ok(lifetime.into_iter().fold(token(number), Credentials::expires_in))
    });
    let connection = open(&world, &wire, &options).unwrap();
    let mut events = connection.events();
    let start = world.elapsed();
    for seconds in [80, 880] {
        assert!(matches!(world.block_on(events.next()), Some(ConnectionEvent::SecretRenewed)));
        assert_eq!(world.elapsed() - start, Duration::from_secs(seconds));
    }
    // The third does not expire.
    world.sleep(Duration::from_secs(100_000));
    assert_eq!(secrets(&wire), ["\0\0token 1", "token 2", "token 3"]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(events.try_next().is_none());
}

#[test]
fn f17_a_renewal_that_fails_is_told_and_tried_again() {
    let world = World::new(5);
    let wire = wire(&world, Peer::default());
    let (options, _) = counting(quiet(), |number| match number {
        2 | 3 => Err("the vault is sealed".to_owned()),
        _ => Ok(token(number).expires_in(Duration::from_secs(100))),
    });
    let connection = open(&world, &wire, &options).unwrap();
    let mut events = connection.events();
    let start = world.elapsed();
    for seconds in [80, 85] {
        let event = world.block_on(events.next()).unwrap();
        let ConnectionEvent::SecretRenewalFailed { error } = event else { panic!("{event:?}") };
        assert!(error.to_string().contains("the vault is sealed"), "{error}");
        assert_eq!(world.elapsed() - start, Duration::from_secs(seconds));
    }
    assert!(matches!(world.block_on(events.next()), Some(ConnectionEvent::SecretRenewed)));
    assert_eq!(world.elapsed() - start, Duration::from_secs(90));
    assert_eq!(secrets(&wire), ["\0\0token 1", "token 4"]);
    // A broker that does not answer is a failure as well.
    wire.lock().peer.mute = vec!["connection.update-secret"];
    let event = world.block_on(events.next()).unwrap();
    let ConnectionEvent::SecretRenewalFailed { error } = event else { panic!("{event:?}") };
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}

#[test]
fn f17_nothing_is_renewed_after_the_end() {
    let world = World::new(6);
    let wire = wire(&world, Peer::default());
    let (options, asked) = counting(quiet(), |number| Ok(token(number).expires_in(Duration::from_secs(100))));
    let connection = open(&world, &wire, &options).unwrap();
    assert_eq!(world.task_count(), 2);
    world.block_on(connection.close()).unwrap();
    world.sleep(Duration::from_secs(2));
    assert_eq!(world.task_count(), 0, "the task has ended with the connection, not at its deadline");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn f17_a_connection_that_nobody_holds_is_not_kept_open_by_its_renewal() {
    let world = World::new(7);
    let wire = wire(&world, Peer::default());
    let (options, _) = counting(quiet(), |number| Ok(token(number).expires_in(Duration::from_secs(100))));
    drop(open(&world, &wire, &options).unwrap());
    world.sleep(Duration::from_secs(2));
    assert!(wire.lock().peer.has_seen("connection.close"));
    assert_eq!(world.task_count(), 0);
}

#[test]
fn f17_a_secret_can_be_updated_by_hand() {
    let world = World::new(8);
    let wire = wire(&world, Peer::default());
    let connection = open(&world, &wire, &ConnectOptions::new(quiet())).unwrap();
    world.block_on(connection.update_secret("new", "because")).unwrap();
    assert_eq!(secrets(&wire)[1], "new");
    world.block_on(connection.close()).unwrap();
    assert!(world.block_on(connection.update_secret("newer", "")).is_err());
}
