//! TLS: what is verified, what is told when it fails, and that messages pass.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use conformance::certificates::{Authority, Identity, Validity};
use conformance::node::ClientCertificates;
use conformance::peer::Peer;
use conformance::proxy::Proxy;
use conformance::suite::Subject;
use conformance::{Context, Options, cases};

use crate::facade::{
    Config, Error, ErrorKind, Mechanism, Origin, ProtocolError, Queue, TimeoutReason, TlsFailure, TlsOptions, Verify,
    connect,
};
use crate::suite::support::{Result, assert_connection_closed, config, named};

cases! {
    a1_tls_is_spoken_where_the_uri_says_so,
    a1_p45_a_certificate_is_verified_unless_that_was_allowed_by_its_dangerous_name,
    a1_clear_text_to_a_port_of_tls_is_an_error_that_says_so,
    c1_a_refused_certificate_is_an_error_and_not_tried_again,
    f9_a_server_that_is_silent_in_the_handshake_of_tls_is_given_up,
    f16_external_takes_the_name_from_the_client_certificate,
    f18_p45_a_certificate_for_another_host_is_refused_unless_that_name_was_set,
    f18_a_certificate_out_of_its_time_is_refused,
    f18_p45_a_certificate_by_an_unknown_authority_is_refused,
    f18_p45_without_roots_the_platforms_authorities_are_trusted_and_no_others (alone),
    f18_a_missing_or_strange_client_certificate_is_told,
    f18_a_port_in_clear_is_told_apart,
    f18_sixteen_megabytes_pass_both_ways,
    f18_many_small_messages_pass_both_ways,
    f18_a_wrong_password_over_tls_is_told_as_in_clear,
}

/// An authority, and a listener of the shared node that shows a certificate of its.
struct Secure {
    authority: Authority,
    address: SocketAddr,
}

impl Secure {
    /// A certificate for this machine, and no question for the client's.
    fn new(context: &Context) -> Result<Self> {
        let authority = Authority::new(context.case())?;
        let identity = authority.identity(&["localhost", "127.0.0.1"])?;
        Self::with(context, authority, &identity)
    }

    fn with(context: &Context, authority: Authority, identity: &Identity) -> Result<Self> {
        let address = context.node().listen_tls(identity, ClientCertificates::Ignored)?;
        Ok(Self { authority, address })
    }

    /// Options that trust the authority and nobody else.
    fn trusted(&self) -> TlsOptions {
        TlsOptions::default().ca_bytes(self.authority.certificate())
    }

    fn config(&self, context: &Context, tls: TlsOptions) -> Config {
        over_tls(context, self.address, tls)
    }
}

fn over_tls(context: &Context, address: SocketAddr, tls: TlsOptions) -> Config {
    config(context).hosts([(address.ip().to_string(), address.port())]).tls(tls)
}

/// Why there is no TLS.
#[track_caller]
fn reason(error: &Error) -> TlsFailure {
    let ErrorKind::Tls { reason, text } = error.kind() else { panic!("not an error of TLS: {error}") };
    assert!(!text.is_empty() && !error.is_retryable(), "{error}");
    *reason
}

/// A file that goes with the case.
struct File(PathBuf);

impl File {
    fn new(name: &str, contents: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}.pem", std::process::id()));
        fs::write(&path, contents)?;
        Ok(Self(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn a1_tls_is_spoken_where_the_uri_says_so(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let file = File::new(context.case(), &secure.authority.pem())?;
    for host in ["127.0.0.1", "localhost"] {
        let (port, ca) = (secure.address.port(), file.0.display());
        let uri = format!("amqps://guest:guest@{host}:{port}/%2f?cacertfile={ca}&verify=verify_peer");
        let connection = connect(named(&context, &uri)).await?;
        let seen = context.node().connections_named(context.case())?;
        assert!(seen.iter().all(|seen| seen.tls), "{seen:?}");
        connection.channel().await?.queue_declare(Queue::exclusive("")).await?;
        connection.close().await?;
    }
    let connection = connect(config(&context)).await?;
    assert!(context.node().connections_named(context.case())?.iter().any(|seen| !seen.tls));
    Ok(connection.close().await?)
}

async fn a1_p45_a_certificate_is_verified_unless_that_was_allowed_by_its_dangerous_name(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let stranger = Authority::new("a stranger")?;
    let strange = TlsOptions::default().ca_bytes(stranger.certificate());
    // Allowing it is not asking for it, and asking for it is not allowing it.
    let allowed = secure.config(&context, strange.clone()).dangerous_allow_unverified();
    assert_eq!(reason(&connect(allowed).await.unwrap_err()), TlsFailure::UnknownAuthority);
    let asked = secure.config(&context, strange.verify(Verify::None));
    let error = connect(asked.clone()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    assert!(error.to_string().contains("dangerous_allow_unverified"), "{error}");
    // Both is both: whoever signed it, and for whatever host.
    for name in ["localhost", "elsewhere.example"] {
        let mut config = asked.clone().dangerous_allow_unverified();
        config.tls = config.tls.map(|tls| tls.server_name(name));
        connect(config).await?.close().await?;
    }
    Ok(())
}

async fn a1_clear_text_to_a_port_of_tls_is_an_error_that_says_so(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let error = connect(named(&context, &format!("amqp://{}", secure.address))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(ProtocolError::WantsTls)), "{error}");
    assert!(error.to_string().contains("amqps://"), "{error}");
    Ok(())
}

async fn c1_a_refused_certificate_is_an_error_and_not_tried_again(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let proxy = Proxy::start(secure.address)?;
    let strange = TlsOptions::default().ca_bytes(Authority::new("a stranger")?.certificate());
    let error = connect(over_tls(&context, proxy.address(), strange)).await.unwrap_err();
    assert_eq!(reason(&error), TlsFailure::UnknownAuthority);
    // This connection is the second.
    let connection = connect(over_tls(&context, proxy.address(), secure.trusted())).await?;
    assert_eq!(proxy.accepted(), 2);
    Ok(connection.close().await?)
}

async fn f9_a_server_that_is_silent_in_the_handshake_of_tls_is_given_up(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let _wire = server.accept()?;
        server.hold();
        Ok(())
    })?;
    let tls = TlsOptions::default().ca_bytes(Authority::new("anyone")?.certificate());
    let config = over_tls(&context, peer.address(), tls).handshake_timeout(Duration::from_millis(300));
    let error = connect(config).await.unwrap_err();
    let ErrorKind::Timeout { reason: TimeoutReason::Handshake { state }, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*state, "TlsHandshake");
    Ok(peer.finish()?)
}

async fn f16_external_takes_the_name_from_the_client_certificate(context: Context) -> Result {
    let options = Options::new().plugin("rabbitmq_auth_mechanism_ssl").config("ssl_cert_login_from = common_name");
    let options = options.config("auth_mechanisms.1 = PLAIN").config("auth_mechanisms.2 = EXTERNAL");
    // The mechanism looks here to see whether certificates are verified, and not at the listener.
    let node = context.private_node(options.config("ssl_options.verify = verify_peer"))?;
    let authority = Authority::new(context.case())?;
    let identity = authority.identity(&["127.0.0.1"])?;
    let address = node.listen_tls(&identity, ClientCertificates::Optional(&authority))?;
    let trusted = TlsOptions::default().ca_bytes(authority.certificate());
    let external = |name: &str| -> Result<Config> {
        let Identity { certificate, key } = authority.identity(&[name])?;
        let tls = trusted.clone().client_certificate_bytes(certificate, key);
        Ok(over_tls(&context, address, tls).mechanism(Mechanism::External))
    };
    node.add_user("alice", "a password that is not used")?;
    let connection = connect(external("alice")?).await?;
    assert_eq!(node.connections_named(context.case())?[0].user, "alice");
    connection.close().await?;

    let error = connect(external("nobody-knows-me")?).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    Ok(())
}

async fn f18_p45_a_certificate_for_another_host_is_refused_unless_that_name_was_set(context: Context) -> Result {
    let authority = Authority::new(context.case())?;
    let identity = authority.identity(&["broker.example"])?;
    let secure = Secure::with(&context, authority, &identity)?;
    for tls in [secure.trusted(), secure.trusted().server_name("other.example")] {
        let error = connect(secure.config(&context, tls)).await.unwrap_err();
        assert_eq!(reason(&error), TlsFailure::WrongHost);
        assert!(error.to_string().contains("broker.example"), "{error}");
        assert_eq!(error.origin(), Origin::User);
    }
    let connection = connect(secure.config(&context, secure.trusted().server_name("broker.example"))).await?;
    Ok(connection.close().await?)
}

async fn f18_a_certificate_out_of_its_time_is_refused(context: Context) -> Result {
    for (validity, expected) in [(Validity::Expired, TlsFailure::Expired), (Validity::NotYet, TlsFailure::NotYetValid)]
    {
        let authority = Authority::new(context.case())?;
        let identity = authority.identity_within(&["127.0.0.1"], validity)?;
        let secure = Secure::with(&context, authority, &identity)?;
        let error = connect(secure.config(&context, secure.trusted())).await.unwrap_err();
        assert_eq!(reason(&error), expected);
        assert_eq!(error.origin(), Origin::Broker);
    }
    Ok(())
}

async fn f18_p45_a_certificate_by_an_unknown_authority_is_refused(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    // Also by one who bears the same name as ours.
    for name in ["a stranger", context.case()] {
        let tls = TlsOptions::default().ca_bytes(Authority::new(name)?.pem());
        let error = connect(secure.config(&context, tls)).await.unwrap_err();
        assert_eq!(reason(&error), TlsFailure::UnknownAuthority, "{error}");
    }
    // One of several is enough.
    let several = secure.trusted().ca_bytes(Authority::new("a stranger")?.certificate());
    connect(secure.config(&context, several)).await?.close().await?;
    // The platform does not know it either; a machine may have no authorities at all, which is told as well.
    let error = connect(secure.config(&context, TlsOptions::default())).await.unwrap_err();
    assert!(matches!(reason(&error), TlsFailure::UnknownAuthority | TlsFailure::Options), "{error}");
    Ok(())
}

async fn f18_p45_without_roots_the_platforms_authorities_are_trusted_and_no_others(context: Context) -> Result {
    let (authority, stranger) = (Authority::new(context.case())?, Authority::new("a stranger")?);
    let broker = Subject::in_process()?;
    let address = broker.listen_tls(&authority.identity(&["127.0.0.1"])?, ClientCertificates::Ignored)?;
    let config = named(&context, &format!("amqps://guest:guest@{address}"));
    let roots = context.platform_roots()?;
    assert_eq!(reason(&connect(config.clone()).await.unwrap_err()), TlsFailure::Options);
    fs::write(&roots, stranger.pem())?;
    assert_eq!(reason(&connect(config.clone()).await.unwrap_err()), TlsFailure::UnknownAuthority);
    // They are read anew for each connection.
    fs::write(&roots, authority.pem() + &stranger.pem())?;
    let connection = connect(config).await?;
    assert!(broker.connections_named(context.case())?.iter().all(|seen| seen.tls));
    connection.channel().await?.queue_declare(Queue::exclusive("")).await?;
    Ok(connection.close().await?)
}

async fn f18_a_missing_or_strange_client_certificate_is_told(context: Context) -> Result {
    let authority = Authority::new(context.case())?;
    let identity = authority.identity(&["127.0.0.1"])?;
    let address = context.node().listen_tls(&identity, ClientCertificates::Required(&authority))?;
    let trusted = TlsOptions::default().ca_bytes(authority.certificate());

    // TLS 1.3 tells it only when the handshake is over on this side.
    let error = connect(over_tls(&context, address, trusted.clone())).await.unwrap_err();
    assert_eq!(reason(&error), TlsFailure::ClientCertificateRequired, "{error}");
    assert_eq!(error.origin(), Origin::User);

    let strange = Authority::new("a stranger")?.identity(&["client"])?;
    let with = |Identity { certificate, key }| trusted.clone().client_certificate_bytes(certificate, key);
    let error = connect(over_tls(&context, address, with(strange))).await.unwrap_err();
    assert_eq!(reason(&error), TlsFailure::ClientCertificateRefused, "{error}");

    let connection = connect(over_tls(&context, address, with(authority.identity(&["client"])?))).await?;
    Ok(connection.close().await?)
}

async fn f18_a_port_in_clear_is_told_apart(context: Context) -> Result {
    let tls = TlsOptions::default().ca_bytes(Authority::new("anyone")?.certificate());
    let error = connect(over_tls(&context, context.address(), tls)).await.unwrap_err();
    assert_eq!(reason(&error), TlsFailure::NotTls, "{error}");
    assert!(error.to_string().contains("amqp://"), "{error}");
    Ok(())
}

async fn f18_sixteen_megabytes_pass_both_ways(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let connection = connect(secure.config(&context, secure.trusted())).await?;
    let (channel, publisher) = (connection.channel().await?, connection.publisher().await?);
    let queue = channel.queue_declare(Queue::exclusive("")).await?.name;
    let body: Vec<u8> = (0..16_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    publisher.publish("", &queue, body.clone()).await?;
    let mut consumer = channel.consume(&queue).await?;
    let delivery = consumer.next().await.expect("the message")?;
    assert!(delivery.body().to_vec() == body, "another body came back");
    delivery.ack()?;
    Ok(connection.close().await?)
}

async fn f18_many_small_messages_pass_both_ways(context: Context) -> Result {
    const COUNT: usize = 2000;
    let secure = Secure::new(&context)?;
    let connection = connect(secure.config(&context, secure.trusted())).await?;
    let (channel, publisher) = (connection.channel().await?, connection.publisher().await?);
    let queue = channel.queue_declare(Queue::exclusive("")).await?.name;
    let mut confirms = Vec::new();
    for at in 0..COUNT {
        // Some are linked and some are copied into the buffer, so that records begin and end anywhere.
        let body = vec![at.to_string().as_bytes()[0]; at % 97 * 101];
        confirms.push(publisher.send("", &queue, body).await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    let mut consumer = channel.consume(&queue).await?;
    for at in 0..COUNT {
        let delivery = consumer.next().await.expect("a message")?;
        assert_eq!(delivery.body().len(), at % 97 * 101);
        delivery.ack()?;
    }
    Ok(connection.close().await?)
}

async fn f18_a_wrong_password_over_tls_is_told_as_in_clear(context: Context) -> Result {
    let secure = Secure::new(&context)?;
    let config = secure.config(&context, secure.trusted());
    let error = connect(config.clone().credentials("guest", "hush")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    let error = connect(config.virtual_host("missing")).await.unwrap_err();
    assert_connection_closed(&error, 530);
    Ok(())
}
