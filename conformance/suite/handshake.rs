//! What a peer may do before the connection is open, right or wrong: played from scripts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use conformance::peer::{Peer, Server};
use conformance::raw::args::Args;
use conformance::raw::{PROTOCOL_HEADER, Tune, Wire, id};
use conformance::{Context, cases};
use socket2::{Domain, Socket, Type};

use crate::facade::{
    Connection, Error, ErrorKind, Heartbeat, Mechanism, Origin, ProtocolError, ReplyCode, TimeoutReason, connect,
};
use crate::suite::support::{Result, assert_connection_closed, named};

cases! {
    p15_f9_a_peer_that_is_silent_before_start_is_a_time_out_that_names_the_state,
    p15_f9_a_peer_that_is_silent_after_start_ok_is_a_time_out_that_names_the_state,
    p15_f9_a_peer_that_is_silent_after_secure_ok_is_a_time_out_that_names_the_state,
    p15_f9_a_peer_that_is_silent_after_open_is_a_time_out_that_names_the_state,
    p15_f9_a_peer_that_does_not_accept_is_a_time_out_of_connecting,
    a_silent_host_is_followed_by_the_next,
    a_host_that_refuses_for_now_is_followed_by_the_next,
    another_version_of_the_protocol_is_an_error_that_says_so,
    another_protocol_altogether_is_an_error,
    p15_f19_a_peer_that_hangs_up_during_authentication_may_mean_the_credentials,
    p15_a_peer_that_hangs_up_at_open_is_a_lost_connection,
    p15_a_close_in_the_handshake_is_reported_and_answered,
    a_frame_limit_below_4096_is_refused,
    p39_odd_but_legal_tuning_works,
    a_start_with_eight_kilobytes_of_properties_is_taken,
}

/// How long the client waits for a peer that will never answer.
const BRIEF: Duration = Duration::from_secs(1);

/// Connects to a peer that plays this script.
async fn meet(
    context: &Context,
    script: impl FnOnce(&mut Server) -> conformance::Result<()> + Send + 'static,
) -> Result<Result<Connection, Error>> {
    meet_within(context, Duration::from_secs(20), script).await
}

async fn meet_within(
    context: &Context,
    limit: Duration,
    script: impl FnOnce(&mut Server) -> conformance::Result<()> + Send + 'static,
) -> Result<Result<Connection, Error>> {
    let peer = Peer::start(script)?;
    let outcome = connect(named(context, &peer.uri()).handshake_timeout(limit)).await;
    peer.finish()?;
    Ok(outcome)
}

fn start(wire: &mut Wire) -> conformance::Result<()> {
    wire.expect(&PROTOCOL_HEADER)?;
    let start = Args::new().u8(0).u8(9).empty_table().long_string(b"PLAIN").long_string(b"en_US");
    wire.send_method(0, id::CONNECTION_START, start)
}

fn tune(wire: &mut Wire, frame_max: u32) -> conformance::Result<()> {
    wire.expect_method(id::CONNECTION_START_OK)?;
    wire.send_method(0, id::CONNECTION_TUNE, Args::new().u16(2047).u32(frame_max).u16(60))
}

fn close(wire: &mut Wire, code: u16, text: &str) -> conformance::Result<()> {
    wire.send_method(0, id::CONNECTION_CLOSE, Args::new().u16(code).short_string(text).u32(0))
}

#[track_caller]
fn assert_silent_in(state: &str, outcome: Result<Connection, Error>) {
    let error = outcome.unwrap_err();
    let ErrorKind::Timeout { reason: TimeoutReason::Handshake { state: named }, blocked: false } = error.kind() else {
        panic!("{error}")
    };
    assert_eq!(*named, state);
    assert!(error.to_string().contains(state), "{error}");
    assert_eq!(error.origin(), Origin::Network);
    assert!(error.is_retryable());
}

async fn p15_f9_a_peer_that_is_silent_before_start_is_a_time_out_that_names_the_state(context: Context) -> Result {
    let outcome = meet_within(&context, BRIEF, |server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        // The client hangs up, and says nothing more to somebody who may speak anything.
        assert_eq!(wire.expect_end()?, b"");
        Ok(())
    });
    assert_silent_in("AwaitStart", outcome.await?);
    Ok(())
}

async fn p15_f9_a_peer_that_is_silent_after_start_ok_is_a_time_out_that_names_the_state(context: Context) -> Result {
    let outcome = meet_within(&context, BRIEF, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        wire.expect_method(id::CONNECTION_START_OK)?;
        wire.expect_end().map(|_| ())
    });
    assert_silent_in("AwaitTune", outcome.await?);
    Ok(())
}

async fn p15_f9_a_peer_that_is_silent_after_secure_ok_is_a_time_out_that_names_the_state(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        let start = Args::new().u8(0).u8(9).empty_table().long_string(b"RABBIT-CR-DEMO").long_string(b"en_US");
        wire.send_method(0, id::CONNECTION_START, start)?;
        wire.expect_method(id::CONNECTION_START_OK)?;
        let challenge = Args::new().long_string(b"Please tell me your password");
        wire.call(0, id::CONNECTION_SECURE, challenge, id::CONNECTION_SECURE_OK)?;
        wire.expect_end().map(|_| ())
    })?;
    let config = named(&context, &peer.uri()).mechanism(Mechanism::RabbitCrDemo).handshake_timeout(BRIEF);
    let outcome = connect(config).await;
    peer.finish()?;
    assert_silent_in("AwaitTune", outcome);
    Ok(())
}

async fn p15_f9_a_peer_that_is_silent_after_open_is_a_time_out_that_names_the_state(context: Context) -> Result {
    let outcome = meet_within(&context, BRIEF, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        tune(&mut wire, 131_072)?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN)?;
        wire.expect_end().map(|_| ())
    });
    assert_silent_in("AwaitOpenOk", outcome.await?);
    Ok(())
}

/// A listener whose queue is full: the system does not even answer who else wants in.
fn crowded() -> std::io::Result<(SocketAddr, Vec<Socket>)> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(0)?;
    let address = listener.local_addr()?.as_socket().expect("an IPv4 address");
    let mut crowd = vec![listener];
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let connected = socket.connect_timeout(&address.into(), BRIEF);
        crowd.push(socket);
        if connected.is_err() {
            return Ok((address, crowd));
        }
    }
}

async fn p15_f9_a_peer_that_does_not_accept_is_a_time_out_of_connecting(context: Context) -> Result {
    let (address, _crowd) = crowded()?;
    let config = named(&context, &format!("amqp://{address}")).connect_timeout(BRIEF);
    let error = connect(config).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Connect, .. }), "{error}");
    assert_eq!(error.origin(), Origin::Network);
    Ok(())
}

async fn a_silent_host_is_followed_by_the_next(context: Context) -> Result {
    let silent = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        wire.expect_end().map(|_| ())
    })?;
    // The brief time is the broker's, too, which may be busy: it gets more than one chance.
    let addresses = [silent.address()].into_iter().chain([context.address(); 8]);
    let hosts = addresses.map(|address| (address.ip().to_string(), address.port()));
    let connection = connect(named(&context, "amqp://localhost").hosts(hosts).handshake_timeout(BRIEF)).await?;
    silent.finish()?;
    Ok(connection.close().await?)
}

async fn a_host_that_refuses_for_now_is_followed_by_the_next(context: Context) -> Result {
    let starting = Peer::start(|server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        tune(&mut wire, 131_072)?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN)?;
        close(&mut wire, 541, "the virtual host is down")?;
        wire.expect_method(id::CONNECTION_CLOSE_OK)?;
        wire.expect_end().map(|_| ())
    })?;
    let addresses = [starting.address(), context.address()];
    let hosts = addresses.map(|address| (address.ip().to_string(), address.port()));
    let connection = connect(named(&context, "amqp://localhost").hosts(hosts)).await?;
    starting.finish()?;
    Ok(connection.close().await?)
}

async fn another_version_of_the_protocol_is_an_error_that_says_so(context: Context) -> Result {
    let by_header = meet(&context, |server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        wire.send(b"AMQP\x00\x01\x00\x00")
    });
    let by_start = meet(&context, |server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        let start = Args::new().u8(0).u8(8).empty_table().long_string(b"PLAIN").long_string(b"en_US");
        wire.send_method(0, id::CONNECTION_START, start)?;
        wire.expect_end().map(|_| ())
    });
    for (outcome, version) in [(by_header.await?, "0 1 0 0"), (by_start.await?, "0-8")] {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Version(_))), "{error}");
        assert!(error.to_string().contains(version), "{error}");
        assert!(!error.is_retryable());
    }
    Ok(())
}

async fn another_protocol_altogether_is_an_error(context: Context) -> Result {
    let error = meet(&context, |server| {
        let mut wire = server.accept()?;
        wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        wire.expect_end().map(|_| ())
    });
    let error = error.await?.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Frame(_))), "{error}");
    assert_eq!(error.origin(), Origin::Broker);
    Ok(())
}

async fn p15_f19_a_peer_that_hangs_up_during_authentication_may_mean_the_credentials(context: Context) -> Result {
    let outcome = meet(&context, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        wire.expect_method(id::CONNECTION_START_OK).map(|_| ())
    });
    let error = outcome.await?.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().contains("credentials"), "{error}");
    Ok(())
}

async fn p15_a_peer_that_hangs_up_at_open_is_a_lost_connection(context: Context) -> Result {
    let outcome = meet(&context, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        tune(&mut wire, 131_072)?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN).map(|_| ())
    });
    let error = outcome.await?.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().contains("AwaitOpenOk"), "{error}");
    Ok(())
}

async fn p15_a_close_in_the_handshake_is_reported_and_answered(context: Context) -> Result {
    let at_open = meet(&context, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        tune(&mut wire, 131_072)?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN)?;
        close(&mut wire, 530, "connection limit is reached")?;
        wire.expect_method(id::CONNECTION_CLOSE_OK)?;
        assert_eq!(wire.expect_end()?, b"");
        Ok(())
    });
    let error = at_open.await?.unwrap_err();
    assert_connection_closed(&error, 530);
    assert!(error.to_string().contains("connection limit is reached"), "{error}");

    let at_login = meet(&context, |server| {
        let mut wire = server.accept()?;
        start(&mut wire)?;
        wire.expect_method(id::CONNECTION_START_OK)?;
        close(&mut wire, 403, "no such user")?;
        wire.expect_method(id::CONNECTION_CLOSE_OK)?;
        assert_eq!(wire.expect_end()?, b"");
        Ok(())
    });
    let error = at_login.await?.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(text) if text == "no such user"), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
    Ok(())
}

async fn a_frame_limit_below_4096_is_refused(context: Context) -> Result {
    for frame_max in [1, 4095] {
        let outcome = meet(&context, move |server| {
            let mut wire = server.accept()?;
            start(&mut wire)?;
            tune(&mut wire, frame_max)?;
            wire.expect_method(id::CONNECTION_CLOSE).map(|_| ())
        });
        let error = outcome.await?.unwrap_err();
        let ErrorKind::Protocol(ProtocolError::Tuning(offered)) = error.kind() else { panic!("{error}") };
        assert_eq!(*offered, frame_max);
    }
    Ok(())
}

async fn p39_odd_but_legal_tuning_works(context: Context) -> Result {
    for (frame_max, agreed) in [(0, 131_072), (u32::MAX, 131_072), (4096, 4096)] {
        let peer = Peer::start(move |server| {
            let mut wire = server.accept()?;
            wire.welcome(Tune { frame_max, channel_max: 0, heartbeat: 1 })?;
            wire.expect_method(id::CONNECTION_CLOSE)?;
            wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
        })?;
        let connection = connect(named(&context, &peer.uri()).heartbeat(Heartbeat::seconds(60))).await?;
        let tuning = connection.tuning();
        assert_eq!((tuning.frame_max, tuning.channel_max), (agreed, 2047));
        assert_eq!(tuning.heartbeat, Some(Duration::from_secs(1)));
        connection.close().await?;
        peer.finish()?;
    }
    Ok(())
}

async fn a_start_with_eight_kilobytes_of_properties_is_taken(context: Context) -> Result {
    // The frame is 8192 bytes long: what RabbitMQ itself takes before the tuning since 4.1.
    let size = 8192 - 8 - "\0\x0a\0\x0a\0\x09\0\0\0\0\x04infoS\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US".len();
    let peer = Peer::start(move |server| {
        let mut wire = server.accept()?;
        wire.expect(&PROTOCOL_HEADER)?;
        let info = Args::new().short_string("info").u8(b'S').long_string(&vec![b'x'; size]).into_bytes();
        let start = Args::new().u8(0).u8(9).long_string(&info).long_string(b"PLAIN").long_string(b"en_US");
        wire.send_method(0, id::CONNECTION_START, start)?;
        tune(&mut wire, 131_072)?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN)?;
        wire.send_method(0, id::CONNECTION_OPEN_OK, Args::new().short_string(""))?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
    })?;
    let connection = connect(named(&context, &peer.uri())).await?;
    let info = connection.server_properties();
    assert_eq!(info.get("info").and_then(|value| value.as_bytes().map(<[u8]>::len)), Some(size));
    connection.close().await?;
    Ok(peer.finish()?)
}
