//! Connecting: what can be set, what is agreed on, and what each failure looks like.

use std::io;
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use conformance::node::Connection as Seen;
use conformance::peer::refusing_address;
use conformance::proxy::Direction;
use conformance::raw::args::Args;
use conformance::raw::{Tune, Wire, id};
use conformance::recorder::Recorder;
use conformance::{Context, cases, wait};

use crate::facade::{
    Address, Config, ConnectOptions, Connection, ErrorKind, Heartbeat, Mechanism, Origin, ProtocolError, Queue,
    Recovery, ReplyCode, connect, sleep,
};
use crate::suite::support::{Result, SOON, assert_connection_closed, await_queue, config, named, open};

cases! {
    a1_host_port_and_virtual_host_are_set_one_by_one,
    a1_login_and_password_are_set_one_by_one,
    a1_the_login_method_is_the_one_that_was_chosen,
    a1_a_login_method_that_the_broker_does_not_offer_is_refused,
    a1_f13_tuning_of_131072_bytes_10_seconds_and_100_channels_is_honoured,
    a1_of_two_limits_the_smaller_one_is_used,
    a1_heartbeats_can_be_switched_off,
    a1_client_properties_are_seen_at_the_broker,
    a1_server_properties_can_be_read,
    a1_a_bad_virtual_host_is_an_error,
    a1_a_virtual_host_that_is_not_for_this_user_is_an_error,
    a1_c1_f19_p47_a_bad_login_is_an_error_without_the_password,
    a1_a_bad_scheme_is_an_error_that_reaches_nobody,
    a1_c18_f20_p28_no_channel_beyond_channel_max_and_numbers_are_used_again,
    c1_p15_a_refused_port_is_an_error,
    c1_an_unresolvable_host_is_an_error,
    c1_a_failed_connect_is_not_tried_again_behind_the_callers_back,
    f8_hosts_are_tried_in_their_order,
    f8_a_resolver_of_ones_own_finds_the_broker,
    c13_p29_the_last_handle_dropped_closes_the_connection,
    p43_an_ipv6_address_in_a_uri_is_that_address,
    p44_the_login_and_the_virtual_host_of_a_uri_arrive_byte_by_byte,
}

/// The broker's view of the case's only connection.
fn seen(context: &Context) -> Result<Seen> {
    let mut all = context.node().connections_named(context.case())?;
    assert_eq!(all.len(), 1, "{all:?}");
    Ok(all.remove(0))
}

async fn a1_host_port_and_virtual_host_are_set_one_by_one(context: Context) -> Result {
    let vhost = context.name("vhost/%");
    context.node().add_vhost(&vhost)?;
    let address = context.address();
    let config = Config::default()
        .host(address.ip().to_string())
        .port(address.port())
        .virtual_host(&vhost)
        .connection_name(context.case());
    let connection = connect(config).await?;
    assert_eq!(seen(&context)?.vhost, vhost);
    let channel = connection.channel().await?;
    channel.queue_declare(Queue::exclusive(context.name("queue"))).await?;
    assert_eq!(context.node().list_queues_in(&vhost)?.len(), 1);
    connection.close().await?;
    Ok(context.node().delete_vhost(&vhost)?)
}

async fn a1_login_and_password_are_set_one_by_one(context: Context) -> Result {
    let (user, password) = (context.name("user"), "p:a@s/s+w%0=ö");
    context.node().add_user(&user, password)?;
    let connection = connect(config(&context).credentials(&user, password)).await?;
    assert_eq!(seen(&context)?.user, user);
    Ok(connection.close().await?)
}

async fn a1_the_login_method_is_the_one_that_was_chosen(context: Context) -> Result {
    for mechanism in [Mechanism::Plain, Mechanism::AmqPlain] {
        let recorder = Recorder::start(context.address())?;
        let connection = connect(named(&context, &recorder.uri()).mechanism(mechanism.clone())).await?;
        let start_ok = recorder.frames_to(Direction::ToBroker).remove(0);
        assert_eq!(start_ok.method_id(), Some(id::CONNECTION_START_OK));
        // The client properties are a table, with its length ahead; the mechanism follows.
        let (length, rest) = start_ok.args().split_first_chunk().expect("a length");
        let rest = &rest[usize::try_from(u32::from_be_bytes(*length))?..];
        assert_eq!(&rest[1..][..usize::from(rest[0])], mechanism.name().as_bytes());
        connection.close().await?;
    }
    Ok(())
}

async fn a1_a_login_method_that_the_broker_does_not_offer_is_refused(context: Context) -> Result {
    let error = connect(config(&context).mechanism(Mechanism::External)).await.unwrap_err();
    let ErrorKind::Protocol(ProtocolError::Mechanisms(offered)) = error.kind() else { panic!("{error}") };
    assert!(offered.split(' ').any(|mechanism| mechanism == "PLAIN"), "{error}");
    Ok(())
}

async fn a1_f13_tuning_of_131072_bytes_10_seconds_and_100_channels_is_honoured(context: Context) -> Result {
    let config = config(&context).frame_max(131_072).heartbeat(Heartbeat::seconds(10)).channel_max(100);
    let connection = connect(config).await?;
    let tuning = connection.tuning();
    assert_eq!((tuning.frame_max, tuning.channel_max), (131_072, 100));
    assert_eq!(tuning.heartbeat.map(|interval| interval.as_secs()), Some(10));
    let seen = seen(&context)?;
    assert_eq!((seen.frame_max, seen.channel_max, seen.heartbeat), (131_072, 100, 10));
    Ok(connection.close().await?)
}

async fn a1_of_two_limits_the_smaller_one_is_used(context: Context) -> Result {
    let tuned = async |config: Config| -> Result<_> {
        let connection = connect(config).await?;
        let (tuning, seen) = (connection.tuning(), seen(&context)?);
        assert_eq!(seen.frame_max, u64::from(tuning.frame_max));
        assert_eq!(seen.channel_max, u64::from(tuning.channel_max));
        let heartbeat = tuning.heartbeat.map_or(0, |interval| interval.as_secs());
        assert_eq!(seen.heartbeat, heartbeat);
        connection.close().await?;
        wait::until_true(SOON, "the connection to go", || {
            context.node().connections_named(context.case()).is_ok_and(|all| all.is_empty())
        })?;
        Ok((tuning.frame_max, tuning.channel_max, heartbeat))
    };
    let ours = config(&context).frame_max(8192).channel_max(3).heartbeat(Heartbeat::seconds(7));
    assert_eq!(tuned(ours).await?, (8192, 3, 7));
    let theirs = config(&context).frame_max(1 << 20).channel_max(u16::MAX).heartbeat(Heartbeat::seconds(600));
    assert_eq!(tuned(theirs).await?, (131_072, 2047, 60));
    let no_limit = config(&context).frame_max(0).channel_max(0);
    assert_eq!(tuned(no_limit).await?, (131_072, 2047, 60));
    Ok(())
}

async fn a1_heartbeats_can_be_switched_off(context: Context) -> Result {
    let connection = connect(config(&context).heartbeat(Heartbeat::Disabled)).await?;
    assert_eq!(connection.tuning().heartbeat, None);
    assert_eq!(seen(&context)?.heartbeat, 0);
    Ok(connection.close().await?)
}

async fn a1_client_properties_are_seen_at_the_broker(context: Context) -> Result {
    let config = config(&context).client_property("team", "orders").client_property("product", "shop");
    let connection = connect(config).await?;
    let properties = seen(&context)?.client_properties;
    assert_eq!(properties["connection_name"], context.case());
    assert_eq!(properties["team"], "orders");
    assert_eq!(properties["product"], "shop");
    assert_eq!(properties["platform"], "Rust");
    for capability in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ] {
        assert!(properties["capabilities"].contains(capability), "{capability}: {}", properties["capabilities"]);
    }
    Ok(connection.close().await?)
}

async fn a1_server_properties_can_be_read(context: Context) -> Result {
    let connection = open(&context).await?;
    let properties = connection.server_properties();
    let text = |key: &str| properties.get(key).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(text("product").as_deref(), Some("RabbitMQ"));
    assert_eq!(text("version"), Some(context.node().version()?));
    let capabilities = properties.get("capabilities").and_then(|value| value.as_table()).expect("capabilities");
    assert_eq!(capabilities.get("publisher_confirms").and_then(|value| value.as_bool()), Some(true));
    Ok(connection.close().await?)
}

async fn a1_a_bad_virtual_host_is_an_error(context: Context) {
    let vhost = context.name("missing");
    let error = connect(config(&context).virtual_host(&vhost)).await.unwrap_err();
    assert_connection_closed(&error, 530);
    assert!(error.to_string().contains(&vhost), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(error.origin(), Origin::User);
}

async fn a1_a_virtual_host_that_is_not_for_this_user_is_an_error(context: Context) -> Result {
    let (user, vhost) = (context.name("user"), context.name("vhost"));
    context.node().add_user(&user, "secret")?;
    context.node().add_vhost(&vhost)?;
    let error = connect(config(&context).credentials(&user, "secret").virtual_host(&vhost)).await.unwrap_err();
    assert_connection_closed(&error, 530);
    assert!(error.to_string().contains(&user), "{error}");
    Ok(context.node().delete_vhost(&vhost)?)
}

async fn a1_c1_f19_p47_a_bad_login_is_an_error_without_the_password(context: Context) -> Result {
    for mechanism in [Mechanism::Plain, Mechanism::AmqPlain] {
        for user in ["guest", "nobody"] {
            let config = config(&context).mechanism(mechanism.clone()).credentials(user, "hush-hush");
            let error = connect(config).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
            assert_eq!(error.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
            assert_eq!(error.origin(), Origin::User);
            assert!(!error.is_retryable());
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
    Ok(())
}

async fn a1_a_bad_scheme_is_an_error_that_reaches_nobody(context: Context) -> Result {
    let proxy = context.proxy()?;
    for scheme in ["http", "amqpx", ""] {
        let uri = format!("{scheme}://guest:hush-hush@{}", proxy.address());
        let error = connect(&uri).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{error}");
        assert_eq!(error.origin(), Origin::User);
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
    connect(named(&context, &proxy.uri())).await?.close().await?;
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

async fn a1_c18_f20_p28_no_channel_beyond_channel_max_and_numbers_are_used_again(context: Context) -> Result {
    let connection = connect(config(&context).channel_max(3)).await?;
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(connection.channel().await?);
    }
    let error = connection.channel().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max: 3 }), "{error}");
    assert!(connection.publisher().await.is_err());
    // The others are unharmed, and a number is free again when its channel was closed.
    for _ in 0..100 {
        if let Some(channel) = channels.pop() {
            channel.close().await?;
        }
        channels.push(connection.channel().await?);
        for channel in &channels {
            channel.flow(true).await?;
        }
    }
    assert_eq!(seen(&context)?.channels, 3);
    // Or dropped, as soon as the broker has answered: nobody waits for that.
    drop(channels);
    let mut patience = 1000;
    while let Err(error) = connection.channel().await {
        assert!(matches!(error.kind(), ErrorKind::ChannelsExhausted { .. }), "{error}");
        sleep(Duration::from_millis(10)).await;
        patience -= 1;
        assert!(patience > 0, "the numbers of dropped channels do not come back");
    }
    Ok(connection.close().await?)
}

async fn c1_p15_a_refused_port_is_an_error(_: Context) -> Result {
    let address = refusing_address()?;
    let error = connect(format!("amqp://{address}")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionLost { kind: io::ErrorKind::ConnectionRefused, .. }),
        "{error}"
    );
    assert_eq!(error.origin(), Origin::Network);
    assert!(error.is_retryable());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    Ok(())
}

async fn c1_an_unresolvable_host_is_an_error(_: Context) {
    let error = connect("amqp://no-such-host.invalid").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
    assert_eq!(error.origin(), Origin::Network);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

async fn c1_a_failed_connect_is_not_tried_again_behind_the_callers_back(context: Context) -> Result {
    let proxy = context.proxy()?;
    // A host that does not resolve, a port where nobody listens, and a wrong password.
    let mut tries = Vec::new();
    for found in [None, Some(refusing_address()?), Some(proxy.address())] {
        let steps = Recovery::default().first_delay(Duration::from_millis(1)).max_delay(Duration::from_millis(1));
        let config = config(&context).host("broker.invalid").credentials("guest", "wrong").recovery(steps);
        let count = Arc::new(AtomicUsize::new(0));
        let options = ConnectOptions::new(config).resolver({
            let count = Arc::clone(&count);
            move |_: Address| {
                count.fetch_add(1, Ordering::SeqCst);
                async move { found.map(|address| vec![address]).ok_or_else(|| io::Error::other("no such host")) }
            }
        });
        assert!(connect(options).await.is_err());
        tries.push(count);
    }
    // What tried again would do so every millisecond, and has had the time of a login for it: the second that the proxy sees.
    let connection = connect(named(&context, &proxy.uri())).await?;
    wait::until_true(SOON, "the failed connection to go", || {
        context.node().connections_named(context.case()).is_ok_and(|all| all.len() == 1)
    })?;
    assert_eq!(proxy.accepted(), 2);
    assert_eq!(tries.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>(), [1, 1, 1]);
    Ok(connection.close().await?)
}

async fn f8_hosts_are_tried_in_their_order(context: Context) -> Result {
    let (dead, alive) = (refusing_address()?, context.address());
    let hosts = |addresses: [std::net::SocketAddr; 2]| {
        config(&context).hosts(addresses.map(|address| (address.ip().to_string(), address.port())))
    };
    connect(hosts([dead, alive])).await?.close().await?;
    // A broker that refuses ends it: the next one would refuse as well.
    let proxy = context.proxy()?;
    let error = connect(hosts([alive, proxy.address()]).credentials("guest", "wrong")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AuthenticationFailed(_)), "{error}");
    assert_eq!(proxy.accepted(), 0);
    Ok(())
}

async fn f8_a_resolver_of_ones_own_finds_the_broker(context: Context) -> Result {
    let (dead, alive) = (refusing_address()?, context.address());
    let options = ConnectOptions::new(config(&context).host("broker.invalid")).resolver(move |address: Address| {
        assert_eq!(address.host, "broker.invalid");
        async move { Ok(vec![dead, alive]) }
    });
    let connection = connect(&options).await?;
    assert_eq!(seen(&context)?.user, "guest");
    connection.close().await?;
    // Asked again for every connection.
    Ok(connect(options).await?.close().await?)
}

async fn c13_p29_the_last_handle_dropped_closes_the_connection(context: Context) -> Result {
    let exclusive = context.name("exclusive");
    let handles: Vec<Connection> = {
        let connection = open(&context).await?;
        let channel = connection.channel().await?;
        channel.queue_declare(Queue::exclusive(&exclusive)).await?;
        // What was queued before the last handle goes is not lost.
        let queue = context.name("queue");
        channel.queue_declare(&queue).await?;
        channel.publish("", &queue, "last words").await?;
        vec![connection.clone(), connection]
    };
    for connection in handles {
        assert!(connection.is_open());
        assert!(context.node().queue(&exclusive)?.is_some());
        drop(connection);
    }
    wait::until_true(SOON, "the connection to go", || {
        context.node().connections_named(context.case()).is_ok_and(|all| all.is_empty())
    })?;
    wait::until_true(SOON, "the exclusive queue to go", || {
        context.node().queue(&exclusive).is_ok_and(|q| q.is_none())
    })?;
    await_queue(context.node(), &context.name("queue"), "the message", |queue| queue.messages == 1);
    Ok(())
}

async fn p43_an_ipv6_address_in_a_uri_is_that_address(context: Context) -> Result {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        // The machine has no IPv6; but it was asked for.
        let error = connect(named(&context, "amqp://guest:guest@[::1]:1")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert!(error.to_string().contains("[::1]:1"), "{error}");
        return Ok(());
    };
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> conformance::Result<()> {
        let (stream, _) = listener.accept()?;
        let mut wire = Wire::new(stream)?;
        wire.welcome(Tune::default())?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
    });
    // `[::1]:port`
    connect(named(&context, &format!("amqp://guest:guest@{address}"))).await?.close().await?;
    Ok(server.join().expect("it does not panic")?)
}

/// Written for a URI: either only what must be, or all but letters and digits.
fn percent_encoded(text: &str, all: bool) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || (!all && b"-._~!$&'()*+,;=".contains(&byte));
    let byte = |byte: u8| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    text.bytes().map(byte).collect()
}

async fn p44_the_login_and_the_virtual_host_of_a_uri_arrive_byte_by_byte(context: Context) -> Result {
    let (user, password) = (context.name("a+b=c&d%41@e/ö"), "p+a=s&s?w#0:@/%41 ö");
    let vhost = context.name("a+b=c/%41@ö");
    context.node().add_user(&user, password)?;
    context.node().add_vhost(&vhost)?;
    let address = context.address();
    for all in [false, true] {
        let encoded = |text: &str| percent_encoded(text, all);
        let uri = format!("amqp://{}:{}@{address}/%2f", encoded(&user), encoded(password));
        let connection = connect(named(&context, &uri)).await?;
        let is_seen = |seen: &Seen| (&*seen.user, &*seen.vhost) == (&*user, "/");
        assert!(context.node().connections_named(context.case())?.iter().any(is_seen));
        connection.close().await?;
        let connection = connect(named(&context, &format!("amqp://{address}/{}", encoded(&vhost)))).await?;
        let is_seen = |seen: &Seen| (&*seen.user, &*seen.vhost) == ("guest", &*vhost);
        assert!(context.node().connections_named(context.case())?.iter().any(is_seen));
        connection.close().await?;
    }
    Ok(context.node().delete_vhost(&vhost)?)
}
