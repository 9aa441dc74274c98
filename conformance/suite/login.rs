//! Logging in: the mechanisms, where the credentials come from, and how a secret is renewed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conformance::peer::Peer;
use conformance::raw::args::Args;
use conformance::raw::{PROTOCOL_HEADER, Tune, Wire, id};
use conformance::suite::Subject;
use conformance::{Context, Options, cases};

use crate::facade::{
    ConnectOptions, ConnectionEvent, Credentials, ErrorKind, Mechanism, ProtocolError, Queue, SaslError, SaslExchange,
    SaslMechanism, connect,
};
use crate::suite::support::{Result, assert_connection_closed, config, named, version};

cases! {
    f16_anonymous_is_a_guest_where_the_broker_has_it,
    f16_rabbit_cr_demo_answers_the_challenge,
    f16_a_mechanism_of_ones_own_logs_in,
    f16_as_many_challenges_are_answered_as_the_broker_has,
    f16_a_challenge_that_cannot_be_answered_is_a_typed_error,
    f16_a_login_that_the_broker_would_not_take_is_an_error_before_it_is_sent,
    f17_the_credentials_are_asked_for_at_each_connect,
    f17_a_provider_that_fails_is_an_error_that_reaches_nobody,
    f17_a_secret_is_renewed_on_an_open_connection,
    f17_a_token_is_renewed_before_it_expires,
    f17_a_broker_that_refuses_a_secret_closes_the_connection,
}

/// Who a node's only connection of this case is.
fn user(context: &Context, node: &Subject) -> Result<String> {
    let mut all = node.connections_named(context.case())?;
    assert_eq!(all.len(), 1, "{all:?}");
    Ok(all.remove(0).user)
}

async fn f16_anonymous_is_a_guest_where_the_broker_has_it(context: Context) -> Result {
    let outcome = connect(config(&context).credentials("nobody", "knows").mechanism(Mechanism::Anonymous)).await;
    if version(context.node()) < (4, 0) {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::Mechanisms(_))), "{error}");
        return Ok(());
    }
    let connection = outcome?;
    assert_eq!(user(&context, context.node())?, "guest");
    connection.channel().await?.queue_declare(Queue::server_named()).await?;
    Ok(connection.close().await?)
}

fn cr_demo() -> Options {
    Options::new().config("auth_mechanisms.1 = PLAIN").config("auth_mechanisms.2 = RABBIT-CR-DEMO")
}

async fn f16_rabbit_cr_demo_answers_the_challenge(context: Context) -> Result {
    let node = context.private_node(cr_demo())?;
    node.add_user("alice", "s3cret")?;
    let config = named(&context, &node.uri()).mechanism(Mechanism::RabbitCrDemo);
    let connection = connect(config.clone().credentials("alice", "s3cret")).await?;
    assert_eq!(user(&context, &node)?, "alice");
    connection.close().await?;
    let error = connect(config.credentials("alice", "wrong")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    Ok(())
}

/// The same by hand, as an application would write it.
#[derive(Debug)]
struct Own;

struct Asked(Credentials);

impl SaslMechanism for Own {
    fn name(&self) -> &'static str {
        "RABBIT-CR-DEMO"
    }

    fn start(&self, credentials: &Credentials) -> Box<dyn SaslExchange> {
        Box::new(Asked(credentials.clone()))
    }
}

impl SaslExchange for Asked {
    fn initial_response(&mut self) -> Result<Vec<u8>, SaslError> {
        Ok(self.0.user().as_bytes().to_vec())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        if challenge.ends_with(b"password") {
            return Ok(format!("My password is {}", self.0.password()).into_bytes());
        }
        if challenge.starts_with(b"echo ") {
            return Ok(challenge[5..].to_vec());
        }
        Err(SaslError::new("that is none of the broker's business"))
    }
}

async fn f16_a_mechanism_of_ones_own_logs_in(context: Context) -> Result {
    let node = context.private_node(cr_demo())?;
    let config = named(&context, &node.uri()).mechanisms([Mechanism::custom(Own), Mechanism::Plain]);
    let connection = connect(config).await?;
    assert_eq!(user(&context, &node)?, "guest");
    Ok(connection.close().await?)
}

/// The start of a server that offers these mechanisms, and the response that it gets.
fn start(wire: &mut Wire, mechanisms: &str) -> conformance::Result<()> {
    wire.expect(&PROTOCOL_HEADER)?;
    let start = Args::new().u8(0).u8(9).empty_table().long_string(mechanisms.as_bytes()).long_string(b"en_US");
    wire.send_method(0, id::CONNECTION_START, start)?;
    wire.expect_method(id::CONNECTION_START_OK).map(|_| ())
}

/// Asks, and returns the answer.
fn ask(wire: &mut Wire, challenge: &str) -> conformance::Result<Vec<u8>> {
    let secure = Args::new().long_string(challenge.as_bytes());
    let answer = wire.call(0, id::CONNECTION_SECURE, secure, id::CONNECTION_SECURE_OK)?;
    Ok(answer.args()[4..].to_vec())
}

async fn f16_as_many_challenges_are_answered_as_the_broker_has(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        start(&mut wire, "PLAIN RABBIT-CR-DEMO")?;
        for round in ["echo one", "echo ", "echo three"] {
            assert_eq!(ask(&mut wire, round)?, round.as_bytes()[5..]);
        }
        assert_eq!(ask(&mut wire, "Tell me your password")?, b"My password is guest");
        wire.send_method(0, id::CONNECTION_TUNE, Args::new().u16(0).u32(0).u16(0))?;
        wire.expect_method(id::CONNECTION_TUNE_OK)?;
        wire.expect_method(id::CONNECTION_OPEN)?;
        wire.send_method(0, id::CONNECTION_OPEN_OK, Args::new().short_string(""))?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
    })?;
    let connection = connect(named(&context, &peer.uri()).mechanism(Mechanism::custom(Own))).await?;
    connection.close().await?;
    Ok(peer.finish()?)
}

async fn f16_a_challenge_that_cannot_be_answered_is_a_typed_error(context: Context) -> Result {
    for (mechanism, why) in [(Mechanism::custom(Own), "none of the broker's business"), (Mechanism::Plain, "challenge")]
    {
        let peer = Peer::start(|server| {
            let mut wire = server.accept()?;
            start(&mut wire, "PLAIN RABBIT-CR-DEMO")?;
            wire.send_method(0, id::CONNECTION_SECURE, Args::new().long_string(b"Who are your parents?"))?;
            wire.expect_method(id::CONNECTION_CLOSE)?;
            wire.expect_end().map(|_| ())
        })?;
        let name = mechanism.name().to_owned();
        let error = connect(named(&context, &peer.uri()).mechanism(mechanism)).await.unwrap_err();
        peer.finish()?;
        let ErrorKind::Sasl { mechanism, reason } = error.kind() else { panic!("{error}") };
        assert_eq!(*mechanism, name);
        assert!(reason.contains(why), "{error}");
    }
    Ok(())
}

async fn f16_a_login_that_the_broker_would_not_take_is_an_error_before_it_is_sent(context: Context) -> Result {
    let takes = if version(context.node()) >= (4, 1) { 8192 } else { 4096 };
    let error = connect(config(&context).credentials("guest", "x".repeat(takes))).await.unwrap_err();
    let ErrorKind::LoginTooLong { size, limit } = error.kind() else { panic!("{error}") };
    assert!(*limit == takes && *size > takes, "{error}");
    // What just fits is read by the broker, which knows no such password.
    let rest = takes - (size - takes);
    let error = connect(config(&context).credentials("guest", "x".repeat(rest))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    Ok(())
}

async fn f17_the_credentials_are_asked_for_at_each_connect(context: Context) -> Result {
    let asked = Arc::new(AtomicUsize::new(0));
    let names = [context.name("one"), context.name("two")];
    for name in &names {
        context.node().add_user(name, "secret")?;
    }
    let options = ConnectOptions::new(config(&context)).credentials_provider({
        let (asked, names) = (Arc::clone(&asked), names.clone());
        move || {
            let name = names[asked.fetch_add(1, Ordering::SeqCst)].clone();
            async { Ok::<_, String>(Credentials::new(name, "secret")) }
        }
    });
    let one = connect(&options).await?;
    assert_eq!(user(&context, context.node())?, names[0]);
    let two = connect(&options).await?;
    let mut users: Vec<_> =
        context.node().connections_named(context.case())?.into_iter().map(|connection| connection.user).collect();
    users.sort();
    assert_eq!(users, names);
    one.close().await?;
    Ok(two.close().await?)
}

async fn f17_a_provider_that_fails_is_an_error_that_reaches_nobody(context: Context) -> Result {
    let options =
        ConnectOptions::new(config(&context)).credentials_from(|| Err::<Credentials, _>("the vault is sealed"));
    let error = connect(options).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Credentials(text) if text == "the vault is sealed"), "{error}");
    assert!(context.node().connections_named(context.case())?.is_empty());
    Ok(())
}

async fn f17_a_secret_is_renewed_on_an_open_connection(context: Context) -> Result {
    let connection = connect(config(&context)).await?;
    // Where users are RabbitMQ's own their secrets do not expire: every version takes any new one, and keeps the user.
    connection.update_secret("another", "because I can").await?;
    connection.channel().await?.queue_declare(Queue::server_named()).await?;
    assert_eq!(user(&context, context.node())?, "guest");
    Ok(connection.close().await?)
}

async fn f17_a_token_is_renewed_before_it_expires(context: Context) -> Result {
    let asked = Arc::new(AtomicUsize::new(0));
    let options = ConnectOptions::new(config(&context)).credentials_from({
        let asked = Arc::clone(&asked);
        move || {
            let credentials = Credentials::new("guest", "guest").expires_in(Duration::from_secs(1));
            match asked.fetch_add(1, Ordering::SeqCst) {
                1 => Err("the vault is sealed"),
                _ => Ok(credentials),
            }
        }
    });
    let connection = connect(options).await?;
    let mut events = connection.events();
    let event = events.next().await;
    let Some(ConnectionEvent::SecretRenewalFailed { error }) = event else { panic!("{event:?}") };
    assert!(error.to_string().contains("the vault is sealed"), "{error}");
    for _ in 0..2 {
        let event = events.next().await;
        assert!(matches!(event, Some(ConnectionEvent::SecretRenewed)), "{event:?}");
    }
    assert!(asked.load(Ordering::SeqCst) >= 4);
    Ok(connection.close().await?)
}

async fn f17_a_broker_that_refuses_a_secret_closes_the_connection(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let update = wire.expect_method(id::CONNECTION_UPDATE_SECRET)?;
        assert_eq!(update.args(), b"\0\0\0\x05stale\x03why");
        let close = Args::new().u16(530).short_string("NOT_ALLOWED - the secret is stale").u16(10).u16(70);
        wire.send_method(0, id::CONNECTION_CLOSE, close)?;
        wire.expect_method(id::CONNECTION_CLOSE_OK).map(|_| ())
    })?;
    let connection = connect(named(&context, &peer.uri()).no_recovery()).await?;
    let error = connection.update_secret("stale", "why").await.unwrap_err();
    assert_connection_closed(&error, 530);
    assert_eq!(error.operation(), Some("connection.update-secret"));
    assert!(!connection.is_open());
    Ok(peer.finish()?)
}
