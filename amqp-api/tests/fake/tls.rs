//! TLS on transports that answer as badly as they may, with rustls as the server at their other end.

use std::time::Duration;

use amqp_api::driver::connect;
use amqp_api::rustls::{ClientConfig, RootCertStore};
use amqp_api::{
    Config, ConnectOptions, Connection, ConnectionEvent, Consume, Error, ErrorKind, Recovery, TimeoutReason,
    TlsFailure, TlsOptions,
};

use crate::peer::Peer;
use crate::tls_server::{Authority, TlsServer};
use crate::tools::{both, poll_once};
use crate::wire::{Manners, WireHandle};
use crate::world::{Host, World};

/// A host `broker` with this end of TLS.
fn broker(world: &World, peer: Peer, manners: Manners, server: TlsServer) -> WireHandle {
    let wire = world.wire(peer, manners);
    wire.lock().tls = Some(server);
    world.host("broker", Host::Answers(wire.clone()));
    wire
}

fn dial(world: &World, tls: TlsOptions) -> Result<Connection, Error> {
    world.block_on(connect(world.runtime(), Config::new("broker").tls(tls).no_recovery()))
}

#[track_caller]
fn reason(error: &Error) -> TlsFailure {
    let ErrorKind::Tls { reason, .. } = error.kind() else { panic!("{error}") };
    *reason
}

#[test]
fn f18_no_wake_up_is_lost_over_tls_however_the_bytes_come() {
    let authority = Authority::new();
    for seed in 0..40_usize {
        let world = World::new(seed as u64);
        let manners = [Manners::Worst, Manners::Bad, Manners::Bad, Manners::Good][seed % 4];
        let large = if manners == Manners::Good { 3000 } else { 12 };
        let peer = Peer { greeting: 12, ..Peer::default() };
        let wire = broker(&world, peer, manners, authority.server("broker"));
        let connection = dial(&world, authority.trusted()).unwrap();
        world.block_on(async {
            let channel = connection.channel().await.unwrap();
            let publisher = connection.publisher().await.unwrap();
            let publish = async {
                let mut confirms = Vec::new();
                for at in 0..20 {
                    let body = vec![b'x'; at * at * large];
                    confirms.push(publisher.send("", "q", body).await.unwrap());
                }
                wire.lock().tls.as_mut().unwrap().renew_keys();
                for confirm in confirms.into_iter().rev() {
                    confirm.await.unwrap();
                }
            };
            let consume = async {
                let mut consumer = channel.consume(Consume::new("q").tag("me")).await.unwrap();
                for at in 0..12 {
                    let delivery = consumer.next().await.unwrap().unwrap();
                    assert_eq!(delivery.body(), format!("greeting {at}").as_str());
                    delivery.ack().unwrap();
                }
                consumer.cancel().await.unwrap();
            };
            both(publish, consume).await;
            connection.close().await.unwrap();
        });
        assert!(world.elapsed() < Duration::from_secs(1), "a timer had to help out (seed {seed})");
        world.settle();
        let wire = wire.lock();
        assert_eq!(wire.peer.acked(), (1..=12).collect::<Vec<_>>(), "seed {seed}");
        let lengths: Vec<_> = wire.peer.published.iter().map(|(.., body)| body.len()).collect();
        assert_eq!(lengths, (0..20).map(|at| at * at * large).collect::<Vec<_>>());
        assert!(wire.tls.as_ref().unwrap().was_closed, "TLS is ended in an orderly way (seed {seed})");
        assert!(wire.shut_down);
    }
}

#[test]
fn f18_an_end_without_an_end_of_tls_is_a_lost_connection() {
    let authority = Authority::new();
    for orderly in [false, true] {
        let world = World::new(1);
        let wire = broker(&world, Peer::default(), Manners::Good, authority.server("broker"));
        let connection = dial(&world, authority.trusted()).unwrap();
        if orderly {
            wire.lock().tls.as_mut().unwrap().close();
        } else {
            wire.lock().eof = true;
        }
        let error = world.block_on(connection.closed()).unwrap_err();
        let ErrorKind::ConnectionLost { kind, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(*kind, std::io::ErrorKind::UnexpectedEof);
        assert_eq!(error.to_string().contains("TLS"), !orderly, "{error}");
        assert!(error.is_retryable());
    }
}

#[test]
fn f9_a_server_that_is_silent_in_the_handshake_of_tls_is_given_up_in_time() {
    let authority = Authority::new();
    let world = World::new(2);
    let wire = broker(&world, Peer::default(), Manners::Good, authority.server("broker"));
    wire.lock().reading = false;
    let error = dial(&world, authority.trusted()).unwrap_err();
    let ErrorKind::Timeout { reason: TimeoutReason::Handshake { state }, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*state, "TlsHandshake");
    assert_eq!(world.elapsed(), Duration::from_secs(10));
    // The time that TLS takes is that of the handshake as a whole.
    let world = World::new(3);
    let peer = Peer::default().mute(&["connection.open"]);
    broker(&world, peer, Manners::Good, authority.server("broker"));
    let error = dial(&world, authority.trusted()).unwrap_err();
    let ErrorKind::Timeout { reason: TimeoutReason::Handshake { state }, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*state, "AwaitOpenOk");
    assert_eq!(world.elapsed(), Duration::from_secs(10));
}

#[test]
fn f18_f43_what_is_wrong_with_tls_is_told_when_a_connection_comes_back_as_well() {
    let authority = Authority::new();
    let world = World::new(14);
    let wires = ["broker", "broker", "another"].map(|name| {
        let wire = world.wire(Peer::default(), Manners::Good);
        wire.lock().tls = Some(authority.server(name));
        wire
    });
    wires[1].lock().reading = false;
    world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
    let config = Config::new("broker").tls(authority.trusted()).recovery(Recovery::default().max_attempts(2));
    let connection = world.block_on(connect(world.runtime(), config)).unwrap();
    let mut events = connection.events();
    wires[0].lock().eof = true;
    let mut failures = Vec::new();
    while let Some(event) = world.block_on(events.next()) {
        if let ConnectionEvent::ReconnectFailed { error } = event {
            failures.push(error);
        }
    }
    let state = TimeoutReason::Handshake { state: "TlsHandshake" };
    assert!(matches!(failures[0].kind(), ErrorKind::Timeout { reason, .. } if *reason == state), "{}", failures[0]);
    let error = world.block_on(connection.closed()).unwrap_err();
    assert_eq!(reason(&error), TlsFailure::WrongHost);
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn f18_a_connect_that_is_given_up_in_the_handshake_of_tls_leaves_nothing_behind() {
    let authority = Authority::new();
    let world = World::new(4);
    let wire = broker(&world, Peer::default(), Manners::Good, authority.server("broker"));
    wire.lock().reading = false;
    {
        let config = Config::new("broker").tls(authority.trusted());
        let mut connecting = Box::pin(connect(world.runtime(), config));
        for _ in 0..3 {
            assert!(poll_once(&mut connecting).is_pending());
            world.settle();
        }
        assert_eq!(world.task_count(), 1);
    }
    world.sleep(Duration::from_secs(2));
    assert_eq!(world.task_count(), 0);
    assert!(wire.lock().dropped);
}

#[test]
fn f18_p45_the_certificate_is_for_the_host_or_for_the_name_that_was_set() {
    let authority = Authority::new();
    let world = World::new(5);
    let wire = broker(&world, Peer::default(), Manners::Bad, authority.server("other.example"));
    let error = dial(&world, authority.trusted()).unwrap_err();
    assert_eq!(reason(&error), TlsFailure::WrongHost);
    assert!(error.to_string().contains("other.example"), "{error}");
    assert!(wire.lock().peer.seen.is_empty(), "nothing was said to the wrong host");
    // And it was told.
    world.settle();
    assert!(wire.lock().tls.as_ref().unwrap().failure.as_ref().unwrap().contains("BadCertificate"));

    let world = World::new(5);
    broker(&world, Peer::default(), Manners::Bad, authority.server("other.example"));
    assert!(dial(&world, authority.trusted().server_name("other.example")).unwrap().is_open());
}

#[test]
fn f18_p45_an_authority_that_is_not_trusted_is_refused_unless_that_was_allowed_by_its_dangerous_name() {
    let (authority, stranger) = (Authority::new(), Authority::called("a stranger"));
    // Also if it bears the name of one that is.
    for impostor in [&stranger, &Authority::new()] {
        let world = World::new(6);
        broker(&world, Peer::default(), Manners::Good, impostor.server("broker"));
        let error = dial(&world, authority.trusted()).unwrap_err();
        assert_eq!(reason(&error), TlsFailure::UnknownAuthority, "{error}");
        assert!(!error.is_retryable());
    }

    let world = World::new(6);
    broker(&world, Peer::default(), Manners::Good, stranger.server("another"));
    let unverified = TlsOptions::default().verify(amqp_api::Verify::None);
    let config = Config::new("broker").tls(unverified);
    let error = world.block_on(connect(world.runtime(), config.clone())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    let config = config.dangerous_allow_unverified();
    assert!(world.block_on(connect(world.runtime(), config)).unwrap().is_open());
}

#[test]
fn f18_a_missing_client_certificate_is_told_though_tls_reports_it_only_after_the_handshake() {
    let authority = Authority::new();
    for (seed, manners) in [(7, Manners::Good), (8, Manners::Bad), (9, Manners::Worst)] {
        let world = World::new(seed);
        broker(&world, Peer::default(), manners, authority.server_that_asks("broker"));
        let error = dial(&world, authority.trusted()).unwrap_err();
        assert_eq!(reason(&error), TlsFailure::ClientCertificateRequired, "{error}");
    }
    let identity = authority.identity("client");
    let by_stranger = Authority::called("a stranger").identity("client");
    for (identity, accepted) in [(identity, true), (by_stranger, false)] {
        let world = World::new(10);
        broker(&world, Peer::default(), Manners::Bad, authority.server_that_asks("broker"));
        let tls = authority.trusted();
        let tls = tls.client_certificate_bytes(identity.certificate.to_vec(), identity.key.serialize_pem());
        match dial(&world, tls) {
            Ok(_) => assert!(accepted),
            Err(error) => {
                assert!(!accepted, "{error}");
                assert_eq!(reason(&error), TlsFailure::ClientCertificateRefused);
            }
        }
    }
}

#[test]
fn f18_a_peer_that_speaks_no_tls_is_told_apart_and_another_host_has_its_turn() {
    let authority = Authority::new();
    let world = World::new(11);
    let in_clear = world.wire(Peer::default(), Manners::Good);
    in_clear.lock().reading = false;
    in_clear.lock().peer.out.extend_from_slice(b"AMQP\0\0\x09\x01");
    world.host("in clear", Host::Answers(in_clear));
    let wrong = world.wire(Peer::default(), Manners::Good);
    wrong.lock().tls = Some(authority.server("another"));
    world.host("wrong", Host::Answers(wrong));
    let tls = authority.trusted().server_name("broker");
    let config = Config::default().hosts([("in clear", 1)]).tls(tls.clone());
    let error = world.block_on(connect(world.runtime(), config)).unwrap_err();
    assert_eq!(reason(&error), TlsFailure::NotTls);
    assert!(error.to_string().contains("amqp://"), "{error}");

    let world = World::new(12);
    let wrong = world.wire(Peer::default(), Manners::Good);
    wrong.lock().tls = Some(authority.server("another"));
    world.host("wrong", Host::Answers(wrong));
    broker(&world, Peer::default(), Manners::Good, authority.server("broker"));
    let config = Config::default().hosts([("wrong", 1), ("broker", 2)]).tls(tls);
    assert!(world.block_on(connect(world.runtime(), config)).unwrap().is_open());
}

#[test]
fn f18_a_configuration_of_rustls_can_be_given_whole_and_not_for_a_connection_in_clear() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    let amqp_api::TlsInput::Bytes(ca) = authority.trusted().ca.remove(0) else { unreachable!("it was given as bytes") };
    roots.add(ca.into()).unwrap();
    let rustls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

    let world = World::new(13);
    broker(&world, Peer::default(), Manners::Good, authority.server("broker"));
    let options = |config: Config| ConnectOptions::new(config).rustls_config(rustls.clone());
    let by = |config: Config| world.block_on(connect(world.runtime(), options(config)));
    assert!(by(Config::new("broker").tls(TlsOptions::default())).unwrap().is_open());
    assert_eq!(reason(&by(Config::new("broker")).unwrap_err()), TlsFailure::Options);
    assert_eq!(reason(&by(Config::new("broker").tls(authority.trusted())).unwrap_err()), TlsFailure::Options);
    assert_eq!(world.dialled().len(), 1);
}
