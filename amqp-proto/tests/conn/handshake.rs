//! From the protocol header to open-ok, and every way in which that fails.

use amqp_proto::config::{Config, Heartbeat};
use amqp_proto::conn::{Event, Reply, Tuning};
use amqp_proto::error::{Error, ErrorKind, ProtocolError, TlsFailure};
use amqp_proto::method::{Method, ReplyCode, connection};
use amqp_proto::sasl::{Credentials, Mechanism, SaslError, SaslExchange, SaslMechanism};
use amqp_proto::table;
use amqp_proto::wire::{LongStr, TableRef};

use crate::peer::{Peer, TUNE, protocol, quiet, seconds, short, timed_out};

/// How the handshake failed; the client must then have sent nothing more than this.
#[track_caller]
fn failed(peer: &mut Peer, sent: &[&str]) -> Error {
    assert_eq!(peer.names(), sent);
    assert!(peer.connection.is_finished() && !peer.connection.is_open());
    let opened = peer.connection.opened();
    let error = peer.error(opened);
    assert_eq!(error.operation(), Some("connecting"));
    assert!(peer.events.iter().any(|event| matches!(event, Event::Closed)));
    peer.advance(seconds(3600));
    peer.expect_nothing();
    error
}

/// A connection that waits for tune.
fn await_tune() -> Peer {
    let mut peer = Peer::new(quiet());
    peer.start();
    assert_eq!(peer.names(), ["0 connection.start-ok"]);
    peer
}

/// A connection that waits for open-ok.
fn await_open_ok() -> Peer {
    let mut peer = await_tune();
    peer.send(0, TUNE);
    assert_eq!(peer.names(), ["0 connection.tune-ok", "0 connection.open"]);
    peer
}

#[test]
fn a1_the_handshake_says_who_we_are_and_where_to() {
    let config = quiet().virtual_host("orders").credentials("alice", "s3cret").connection_name("importer");
    let mut peer = Peer::new(config);
    let opened = peer.connection.opened();
    peer.expect_waiting(opened);
    let server_properties = table! { "product" => "RabbitMQ", "version" => "4.3.6" };
    peer.send(
        0,
        connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties.as_ref(),
            mechanisms: LongStr(b"PLAIN AMQPLAIN"),
            locales: LongStr(b"en_US"),
        },
    );
    let sent = peer.sent();
    let Method::Connection(connection::Method::StartOk(start_ok)) = sent[0].method() else { panic!("{sent:?}") };
    assert_eq!((start_ok.mechanism, start_ok.locale), (short("PLAIN"), short("en_US")));
    assert_eq!(start_ok.response, LongStr(b"\0alice\0s3cret"));
    let name = start_ok.client_properties.get("connection_name").unwrap();
    assert_eq!(name.as_str(), Some("importer"));
    let capabilities = start_ok.client_properties.get("capabilities").unwrap().as_table().unwrap();
    assert_eq!(capabilities.get("authentication_failure_close").unwrap().as_bool(), Some(true));

    peer.send(0, connection::Tune { heartbeat: 60, ..TUNE });
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
    let open = connection::Open { virtual_host: short("orders") };
    peer.expect_all([(0, tune_ok.into()), (0, open.into())]);
    assert!(!peer.connection.is_open());
    peer.expect_waiting(opened);

    peer.send(0, connection::OpenOk {});
    assert!(peer.connection.is_open());
    assert!(matches!(peer.events[..], [Event::Resolved(id), Event::Connected] if id == opened));
    assert!(matches!(peer.reply(opened), Ok(Reply::Done)));
    assert_eq!(peer.connection.server_properties().get("product").unwrap().as_str(), Some("RabbitMQ"));
    peer.expect_nothing();
    peer.advance(seconds(24 * 3600));
    peer.expect_nothing();
    assert!(peer.connection.is_open(), "nothing is left of the handshake's deadline");
}

#[test]
fn a1_f13_what_both_sides_can_live_with_is_negotiated() {
    // ours, theirs, agreed on: frame_max
    for (ours, theirs, both) in [
        (131_072, 131_072, 131_072),
        (131_072, 4096, 4096),
        (131_072, 0, 131_072),
        (131_072, u32::MAX, 131_072),
        (0, 4096, 4096),
        (0, 0, 0),
        (0, u32::MAX, u32::MAX),
        (4096, 131_072, 4096),
        (8192, 131_072, 8192),
    ] {
        let tuned = negotiated(quiet().frame_max(ours), connection::Tune { frame_max: theirs, ..TUNE });
        assert_eq!((tuned.0.frame_max, tuned.1.frame_max), (both, both), "{ours} and {theirs}");
    }
    // What no configuration that was validated asks for.
    let tuned = negotiated(quiet().frame_max(7), TUNE);
    assert_eq!(tuned.1.frame_max, 4096);
    // channel_max; the highest number is what counts where neither side has a limit
    for (ours, theirs, both) in [(2047, 2047, 2047), (2047, 0, 2047), (0, 100, 100), (10, 100, 10), (0, 0, u16::MAX)] {
        let tuned = negotiated(quiet().channel_max(ours), connection::Tune { channel_max: theirs, ..TUNE });
        assert_eq!((tuned.0.channel_max, tuned.1.channel_max), (both, both), "{ours} and {theirs}");
    }
}

#[test]
fn f10_heartbeats_are_negotiated_and_disabled_sends_0() {
    let every = Heartbeat::seconds;
    for (ours, theirs, both) in [
        (every(60), 60, 60),
        (every(60), 0, 60),
        (every(60), 1, 1),
        (every(1), 60, 1),
        (every(10), 60, 10),
        (Heartbeat::Disabled, 60, 0),
        (Heartbeat::Disabled, 0, 0),
        // A fraction is rounded up, and is never taken for "none".
        (Heartbeat::Interval(std::time::Duration::from_millis(1500)), 60, 2),
        (Heartbeat::Interval(std::time::Duration::from_millis(500)), 60, 1),
        (Heartbeat::Interval(seconds(70_000)), 0, u16::MAX),
    ] {
        let (tune_ok, tuning) = negotiated(quiet().heartbeat(ours), connection::Tune { heartbeat: theirs, ..TUNE });
        assert_eq!(tune_ok.heartbeat, both, "{ours:?} and {theirs}");
        assert_eq!(tuning.heartbeat, (both > 0).then(|| seconds(both.into())), "{ours:?} and {theirs}");
    }
}

#[test]
fn f12_a_broker_may_be_in_alarm_when_the_connection_opens() {
    let mut peer = await_open_ok();
    peer.send(0, connection::Blocked { reason: short("low on memory") });
    peer.send(0, connection::OpenOk {});
    assert!(peer.connection.is_open());
    assert_eq!(peer.connection.blocked(), Some("low on memory"));
}

/// What tune-ok said, and what the connection says.
fn negotiated(config: Config, tune: connection::Tune) -> (connection::TuneOk, Tuning) {
    let mut peer = Peer::new(config);
    peer.start();
    peer.sent();
    peer.send(0, tune);
    let sent = peer.sent();
    let Method::Connection(connection::Method::TuneOk(tune_ok)) = sent[0].method() else { panic!("{sent:?}") };
    let tuning = peer.connection.tuning().unwrap();
    assert_eq!(peer.connection.frame_max(), tuning.frame_max);
    peer.send(0, connection::OpenOk {});
    assert!(peer.connection.is_open());
    // It works, and nothing is allocated from the limits.
    peer.channel();
    (tune_ok, tuning)
}

#[test]
fn tuning_below_what_the_protocol_allows_is_refused() {
    for frame_max in [1, 4095] {
        let mut peer = await_tune();
        peer.send(0, connection::Tune { frame_max, ..TUNE });
        let error = failed(&mut peer, &["0 connection.close"]);
        assert_eq!(*protocol(&error), ProtocolError::Tuning(frame_max));
    }
}

#[test]
fn p15_connect_hangs_on_a_peer_that_goes_silent_in_negotiation() {
    let silent = |mut peer: Peer, state: &str| {
        let start = peer.elapsed();
        peer.advance(seconds(10).checked_sub(start + std::time::Duration::from_millis(1)).unwrap());
        assert!(!peer.connection.is_finished(), "{state}: the deadline is never early");
        peer.advance(std::time::Duration::from_millis(1));
        let error = failed(&mut peer, &[]);
        assert_eq!(timed_out(&error), (format!("Handshake {{ state: {state:?} }}"), false));
        assert!(error.to_string().contains(state) && error.is_retryable());
    };
    silent(Peer::new(quiet()), "AwaitStart");
    silent(await_tune(), "AwaitTune");
    silent(await_open_ok(), "AwaitOpenOk");
}

#[test]
fn f9_the_handshakes_deadline_counts_over_all_its_states() {
    let mut peer = Peer::new(quiet().handshake_timeout(seconds(9)));
    peer.advance(seconds(4));
    peer.start();
    peer.advance(seconds(4));
    peer.send(0, TUNE);
    assert_eq!(peer.names().len(), 3);
    peer.advance(seconds(2));
    let error = failed(&mut peer, &[]);
    assert_eq!(timed_out(&error).0, "Handshake { state: \"AwaitOpenOk\" }");
}

#[test]
fn another_protocol_version_is_told_as_such() {
    let mut peer = Peer::new(quiet());
    peer.send_bytes(b"AMQP\x00\x00\x08\x00");
    let error = failed(&mut peer, &[]);
    assert!(matches!(protocol(&error), ProtocolError::Version(offered) if offered.contains("0 0 8 0")), "{error}");
    assert!(!error.is_retryable());

    let mut peer = Peer::new(quiet());
    peer.send(0, connection::Start { version_major: 8, version_minor: 0, ..connection::Start::default() });
    let error = failed(&mut peer, &[]);
    assert!(matches!(protocol(&error), ProtocolError::Version(offered) if offered.contains("8-0")), "{error}");
}

#[test]
fn a1_a_server_of_tls_that_is_spoken_to_in_clear_is_told_as_such() {
    let mut peer = Peer::new(quiet());
    peer.send_bytes(b"\x15\x03\x03\0\x02\x02\x0a");
    let error = failed(&mut peer, &[]);
    assert!(matches!(protocol(&error), ProtocolError::WantsTls), "{error}");
    assert!(error.to_string().contains("amqps://"), "{error}");

    // Later that is a frame type like any other that there is not.
    let mut peer = await_tune();
    peer.send_bytes(b"\x15\x03\x03\0\x02\x02\x0a");
    assert!(matches!(protocol(&failed(&mut peer, &["0 connection.close"])), ProtocolError::Frame(_)));
}

#[test]
fn f18_an_error_of_a_layer_below_is_the_connections_as_it_is() {
    let mut peer = await_tune();
    let kind = ErrorKind::Tls { reason: TlsFailure::ClientCertificateRequired, text: "no certificate".to_owned() };
    let below = std::io::Error::other(Error::new(kind));
    peer.connection.handle_io_error(peer.now, &below);
    let error = failed(&mut peer, &[]);
    let ErrorKind::Tls { reason, text } = error.kind() else { panic!("{error}") };
    assert_eq!((*reason, text.as_str()), (TlsFailure::ClientCertificateRequired, "no certificate"));
}

#[test]
fn a_protocol_header_in_pieces_is_read_as_one() {
    let mut peer = Peer::new(quiet());
    peer.send_in_pieces(b"AMQP\x00\x00\x09\x01", 1);
    assert!(matches!(protocol(&failed(&mut peer, &[])), ProtocolError::Version(_)));
}

#[test]
fn what_is_no_amqp_at_all_is_a_framing_error() {
    let mut peer = Peer::new(quiet());
    peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = failed(&mut peer, &[]);
    assert!(matches!(protocol(&error), ProtocolError::Frame(_)), "{error}");
}

#[test]
fn f19_refused_credentials_are_an_authentication_error() {
    let mut peer = await_tune();
    peer.close(403, "ACCESS_REFUSED - Login was refused");
    let error = failed(&mut peer, &["0 connection.close-ok"]);
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(text) if text.contains("Login")), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode(403)));
    assert!(!error.is_retryable());
}

#[test]
fn c1_a_socket_closed_during_authentication_hints_at_the_credentials() {
    let mut peer = await_tune();
    peer.eof();
    let error = failed(&mut peer, &[]);
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind: std::io::ErrorKind::UnexpectedEof, .. }));
    assert!(error.to_string().contains("credentials"), "{error}");
}

#[test]
fn the_end_of_the_stream_names_the_state_that_it_came_in() {
    for (mut peer, state) in [(Peer::new(quiet()), "AwaitStart"), (await_open_ok(), "AwaitOpenOk")] {
        peer.eof();
        let error = failed(&mut peer, &[]);
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }) && error.is_retryable());
        assert!(error.to_string().contains(state), "{error}");
    }
}

#[test]
fn a_failed_socket_is_told_in_the_systems_words() {
    let mut peer = await_tune();
    peer.connection.handle_io_error(peer.now, &std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    let error = failed(&mut peer, &[]);
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind: std::io::ErrorKind::ConnectionReset, .. }));
}

#[test]
fn p15_connect_hangs_when_the_broker_rejects_open() {
    let mut peer = await_open_ok();
    peer.close(530, "NOT_ALLOWED - vhost orders not found");
    let error = failed(&mut peer, &["0 connection.close-ok"]);
    let reason = error.close_reason().unwrap();
    assert_eq!((reason.code, reason.text.as_str()), (ReplyCode(530), "NOT_ALLOWED - vhost orders not found"));
    assert!(!error.is_retryable());
}

#[test]
fn without_a_common_mechanism_no_credentials_are_sent() {
    let mut peer = Peer::new(quiet().mechanism(Mechanism::External));
    peer.start();
    let error = failed(&mut peer, &[]);
    assert_eq!(*protocol(&error), ProtocolError::Mechanisms("AMQPLAIN PLAIN".to_owned()));
}

#[track_caller]
fn sasl(error: &Error) -> (&str, &str) {
    match error.kind() {
        ErrorKind::Sasl { mechanism, reason } => (mechanism, reason),
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn a_challenge_that_the_mechanism_does_not_know_is_a_typed_error() {
    let mut peer = await_tune();
    peer.send(0, connection::Secure { challenge: LongStr(b"Please tell me your password") });
    let error = failed(&mut peer, &["0 connection.close"]);
    let (mechanism, reason) = sasl(&error);
    assert_eq!(mechanism, "PLAIN");
    assert!(reason.contains("challenge"), "{error}");
    assert!(!error.is_retryable());
}

/// `connection.start` of a broker that offers these.
fn start_with(peer: &mut Peer, mechanisms: &[u8], server_properties: TableRef<'_>) {
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: LongStr(mechanisms),
        locales: LongStr(b"en_US"),
    };
    peer.send(0, start);
}

/// The mechanism and the response of start-ok.
fn start_ok(peer: &mut Peer) -> (String, Vec<u8>) {
    let sent = peer.sent();
    let Method::Connection(connection::Method::StartOk(start_ok)) = sent[0].method() else { panic!("{sent:?}") };
    (start_ok.mechanism.to_string(), start_ok.response.0.to_vec())
}

#[test]
fn f16_rabbit_cr_demo_is_answered() {
    let mut peer = Peer::new(quiet().credentials("alice", "s3cret").mechanism(Mechanism::RabbitCrDemo));
    start_with(&mut peer, b"PLAIN RABBIT-CR-DEMO", TableRef::EMPTY);
    assert_eq!(start_ok(&mut peer), ("RABBIT-CR-DEMO".to_owned(), b"alice".to_vec()));
    assert!(!format!("{:?}", peer.connection).contains("s3cret"));
    peer.send(0, connection::Secure { challenge: LongStr(b"Please tell me your password") });
    peer.expect(0, connection::SecureOk { response: LongStr(b"My password is s3cret") });
    peer.send(0, TUNE);
    assert_eq!(peer.names(), ["0 connection.tune-ok", "0 connection.open"]);
}

/// Counts the rounds, and knows three.
#[derive(Debug)]
struct Rounds;

struct Round(u8);

impl SaslMechanism for Rounds {
    fn name(&self) -> &'static str {
        "X-ROUNDS"
    }

    fn start(&self, _: &Credentials) -> Box<dyn SaslExchange> {
        Box::new(Round(0))
    }
}

impl SaslExchange for Round {
    fn initial_response(&mut self) -> Result<Vec<u8>, SaslError> {
        Ok(Vec::new())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        self.0 += 1;
        if self.0 > 3 { Err(SaslError::new("that is enough")) } else { Ok([challenge, &[self.0]].concat()) }
    }
}

#[test]
fn f16_a_mechanism_of_ones_own_has_as_many_rounds_as_it_likes() {
    let config = quiet().mechanisms([Mechanism::custom(Rounds), Mechanism::Plain]);
    let mut peer = Peer::new(config.clone());
    start_with(&mut peer, b"PLAIN x-rounds", TableRef::EMPTY);
    assert_eq!(start_ok(&mut peer), ("X-ROUNDS".to_owned(), Vec::new()));
    for round in 1..=3 {
        peer.send(0, connection::Secure { challenge: LongStr(b"round ") });
        peer.expect(0, connection::SecureOk { response: LongStr(&[b"round ", &[round][..]].concat()) });
    }
    peer.send(0, connection::Secure { challenge: LongStr(b"once more") });
    let error = failed(&mut peer, &["0 connection.close"]);
    assert_eq!(sasl(&error), ("X-ROUNDS", "that is enough"));

    // Each connection begins anew; where it is not offered the next one is taken.
    let mut peer = Peer::new(config);
    start_with(&mut peer, b"PLAIN", TableRef::EMPTY);
    assert_eq!(start_ok(&mut peer).0, "PLAIN");
}

#[test]
fn f16_a_login_that_brokers_do_not_take_is_an_error_before_it_is_sent() {
    let rabbitmq = |version: &str| table! { "product" => "RabbitMQ", "version" => version };
    let none = table! {};
    let cases = [(none, 4096), (rabbitmq("3.13.7"), 4096), (rabbitmq("4.0.9"), 4096), (rabbitmq("4.1.0"), 8192)];
    for (server, expected) in cases {
        let fits = |length: usize| {
            let mut peer = Peer::new(quiet().credentials("guest", "x".repeat(length)));
            start_with(&mut peer, b"PLAIN", server.as_ref());
            if peer.connection.is_finished() {
                Err(failed(&mut peer, &[]))
            } else {
                Ok(peer.sent()[0].payload.len() + 8)
            }
        };
        let small = fits(0).unwrap();
        assert_eq!(fits(expected - small).unwrap(), expected);
        let error = fits(expected - small + 1).unwrap_err();
        let ErrorKind::LoginTooLong { size, limit } = error.kind() else { panic!("{error}") };
        assert_eq!((*size, *limit), (expected + 1, expected));
        assert!(!error.to_string().contains("xxx"));
    }
}

#[test]
fn f3_open_ok_over_the_agreed_frame_size_is_refused() {
    let mut peer = await_tune();
    peer.send(0, connection::Tune { frame_max: 4096, ..TUNE });
    peer.sent();
    let mut frame = vec![1, 0, 0, 0, 0, 0x10, 0, 0, 10, 0, 41];
    frame.resize(7 + 4096, 0);
    frame.push(0xCE);
    peer.send_bytes(&frame);
    let error = failed(&mut peer, &["0 connection.close"]);
    assert!(matches!(protocol(&error), ProtocolError::Frame(_)), "{error}");
}

#[test]
fn f3_start_may_have_8192_bytes_and_no_more() {
    let start = |size: usize| {
        let filler = "x".repeat(size);
        let properties = table! { "filler" => filler.as_str() };
        let mut peer = Peer::new(quiet());
        peer.send(
            0,
            connection::Start {
                version_minor: 9,
                server_properties: properties.as_ref(),
                mechanisms: LongStr(b"PLAIN"),
                ..connection::Start::default()
            },
        );
        peer
    };
    // Frame 8, ids 4, version 2, table 4 + 7 + 1 + 4, mechanisms 4 + 5, locales 4
    assert_eq!(start(8192 - 43).names(), ["0 connection.start-ok"]);
    assert!(matches!(protocol(&failed(&mut start(8192 - 42), &[])), ProtocolError::Frame(_)));
}

#[test]
fn the_broker_may_keep_its_order_only() {
    let tune = TUNE.into();
    let out_of_order: [(Peer, Method<'_>); 5] = [
        (Peer::new(quiet()), tune),
        (Peer::new(quiet()), connection::OpenOk {}.into()),
        (await_tune(), connection::OpenOk {}.into()),
        (await_open_ok(), tune),
        (await_open_ok(), connection::CloseOk {}.into()),
    ];
    for (mut peer, method) in out_of_order {
        peer.send(0, method);
        let closes = peer.names();
        // Before start-ok there is no close.
        assert!(closes.is_empty() || closes == ["0 connection.close"], "{closes:?}");
        assert!(matches!(protocol(&failed(&mut peer, &[])), ProtocolError::Unexpected { .. }));
    }
}

#[test]
fn a_second_start_is_out_of_order() {
    let mut peer = await_tune();
    peer.start();
    assert!(matches!(protocol(&failed(&mut peer, &["0 connection.close"])), ProtocolError::Unexpected { .. }));
}

#[test]
fn a_method_on_another_channel_is_no_part_of_the_handshake() {
    let mut peer = await_open_ok();
    peer.send(1, amqp_proto::method::channel::OpenOk {});
    assert!(matches!(protocol(&failed(&mut peer, &["0 connection.close"])), ProtocolError::Unexpected { .. }));
}

#[test]
fn close_in_the_handshake_ends_it_without_a_word() {
    for mut peer in [Peer::new(quiet()), await_tune(), await_open_ok()] {
        let close = peer.connection.close(ReplyCode::REPLY_SUCCESS, "bye");
        assert!(matches!(peer.reply(close), Ok(Reply::Done)));
        let error = failed(&mut peer, &[]);
        assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen), "{error}");
    }
}

#[test]
fn nothing_can_be_asked_before_the_handshake_is_done() {
    let mut peer = await_open_ok();
    assert!(matches!(peer.connection.open_channel().unwrap_err().kind(), ErrorKind::ConnectionNotOpen));
    peer.send(0, connection::OpenOk {});
    peer.expect_nothing();
    peer.channel();
}

#[test]
fn f5_the_handshake_is_the_same_byte_by_byte() {
    let mut bytes = Vec::new();
    let start = connection::Start {
        version_minor: 9,
        server_properties: TableRef::EMPTY,
        mechanisms: LongStr(b"PLAIN"),
        ..connection::Start::default()
    };
    let mut peer = Peer::new(quiet());
    for method in [start.into(), TUNE.into(), connection::OpenOk {}.into()] {
        amqp_proto::method::put_any(&mut bytes, 0, &method).unwrap();
    }
    peer.send_in_pieces(&bytes, 1);
    assert_eq!(peer.names(), ["0 connection.start-ok", "0 connection.tune-ok", "0 connection.open"]);
    assert!(peer.connection.is_open());
}
