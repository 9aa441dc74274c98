//! A configuration from what serde reads.
#![cfg(feature = "serde")]

use std::time::Duration;

use amqp_proto::config::{Address, Config, Heartbeat, Recovery, Timeouts, TlsInput, TlsOptions, Verify};
use amqp_proto::sasl::Mechanism;

fn from_toml(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| error.message().to_owned())
}

#[test]
fn n12_everything_is_configured_by_tables() {
    let config = from_toml(
        r#"
        hosts = ["one.example", "two.example:5673", "[::1]"]
        shuffle_hosts = true
        virtual_host = "orders"
        user = "alice"
        password = "s3cret"
        mechanisms = ["plain", "EXTERNAL"]
        locale = "de_DE"
        connection_name = "importer"
        channel_max = 10
        frame_max = 8192
        heartbeat = "20s"
        prefetch = 7

        [client_properties]
        team = "orders"
        version = 3
        canary = true

        [tls]
        ca = ["/etc/ca.pem", "/etc/other.pem"]
        certificate = "/etc/client.pem"
        key = "/etc/client.key"
        verify = "peer"
        server_name = "broker.example"

        [timeouts]
        connect = "1s"
        handshake = "2s"
        call = "3s"
        confirm = "1m 4s"
        close = "500ms"
        room = "6s"

        [limits]
        max_body = 1000
        publish_buffer = 2000
        receive_buffer = 3000

        [tcp]
        nodelay = false
        keepalive = "2m"
        send_buffer_size = 4096
        receive_buffer_size = 8192

        [recovery]
        first_delay = "100ms"
        max_delay = "5s"
        max_attempts = 9
        retry_first_connect = true
        topology = false
        "#,
    )
    .unwrap();
    assert_eq!(config.validate(), Ok(()));
    let hosts = [Address::new("one.example", 5671), Address::new("two.example", 5673), Address::new("::1", 5671)];
    assert_eq!((config.hosts.as_slice(), config.shuffle_hosts), (&hosts[..], true));
    assert_eq!((config.virtual_host.as_str(), config.locale.as_str()), ("orders", "de_DE"));
    assert_eq!((config.credentials.user(), config.credentials.password()), ("alice", "s3cret"));
    assert_eq!(config.mechanisms, [Mechanism::Plain, Mechanism::External]);
    assert_eq!(config.connection_name.as_deref(), Some("importer"));
    assert_eq!((config.channel_max, config.frame_max, config.prefetch), (10, 8192, 7));
    assert_eq!(config.heartbeat, Heartbeat::seconds(20));
    let properties = config.start_properties().unwrap();
    assert_eq!(properties.get("team").unwrap().as_str(), Some("orders"));
    assert_eq!(properties.get("version").unwrap().as_i64(), Some(3));
    let tls = TlsOptions::default()
        .ca_file("/etc/ca.pem")
        .ca_file("/etc/other.pem")
        .client_certificate("/etc/client.pem", "/etc/client.key")
        .server_name("broker.example");
    assert_eq!(config.tls, Some(tls));
    let Timeouts { connect, handshake, call, confirm, close, room, .. } = config.timeouts;
    let milliseconds = [connect, handshake, call, confirm, close, room].map(|time| time.as_millis());
    assert_eq!(milliseconds, [1000, 2000, 3000, 64_000, 500, 6000]);
    let limits = config.limits;
    assert_eq!((limits.max_body, limits.publish_buffer, limits.receive_buffer), (1000, 2000, 3000));
    let tcp = config.tcp;
    assert_eq!((tcp.nodelay, tcp.keepalive), (false, Some(Duration::from_secs(120))));
    assert_eq!((tcp.send_buffer_size, tcp.receive_buffer_size), (Some(4096), Some(8192)));
    let recovery = Recovery::default()
        .first_delay(Duration::from_millis(100))
        .max_delay(Duration::from_secs(5))
        .max_attempts(9)
        .retry_first_connect(true)
        .topology(false);
    assert_eq!(config.recovery, Some(recovery));
}

#[test]
fn n12_what_is_left_out_is_the_default() {
    let (config, default) = (from_toml("").unwrap(), Config::default());
    assert_eq!(format!("{config:?}"), format!("{default:?}"));
    // Within a table too.
    let config = from_toml("timeouts = { call = '5s' }\nrecovery = { max_attempts = 3 }").unwrap();
    assert_eq!(config.timeouts.call, Duration::from_secs(5));
    assert_eq!(config.timeouts.confirm, default.timeouts.confirm);
    assert_eq!(config.recovery, Some(Recovery::default().max_attempts(3)));
}

#[test]
fn n12_a_uri_is_a_configuration_and_other_keys_stand_in_place_of_its_parts() {
    #[derive(serde::Deserialize)]
    struct Application {
        amqp: Config,
    }

    let application: Application = toml::from_str("amqp = 'amqps://bob:hush@broker/orders?heartbeat=5'").unwrap();
    assert_eq!(application.amqp.hosts, [Address::new("broker", 5671)]);
    assert_eq!(application.amqp.heartbeat, Heartbeat::seconds(5));

    let uri = "amqp://bob:hush@broker:5673/orders?heartbeat=5&connection_timeout=700&name=uri";
    let text = format!("uri = '{uri}'\npassword = 'other'\nheartbeat = '9s'\ntimeouts = {{ call = '1s' }}");
    let config = from_toml(&text).unwrap();
    assert_eq!(config.hosts, [Address::new("broker", 5673)]);
    assert_eq!((config.credentials.user(), config.credentials.password()), ("bob", "other"));
    assert_eq!((config.heartbeat, config.virtual_host.as_str()), (Heartbeat::seconds(9), "orders"));
    assert_eq!(config.timeouts.connect, Duration::from_millis(700));
    assert_eq!(config.connection_name.as_deref(), Some("uri"));
    let config = from_toml("url = 'amqps://broker'\nhosts = 'one, two:1'\ntls = { server_name = 'x' }").unwrap();
    assert_eq!(config.hosts, [Address::new("one", 5671), Address::new("two", 1)]);
    assert_eq!(config.tls, Some(TlsOptions::default().server_name("x")));
}

#[test]
fn n12_values_may_be_texts_as_in_variables() {
    let config: Config = serde_json::from_str(
        r#"{ "hosts": "one,two", "mechanisms": "PLAIN, external", "recovery": "false", "heartbeat": "off", "tls": true }"#,
    )
    .unwrap();
    assert_eq!(config.hosts, [Address::new("one", 5671), Address::new("two", 5671)]);
    assert_eq!((config.recovery, config.heartbeat), (None, Heartbeat::Disabled));
    assert_eq!(config.tls, Some(TlsOptions::default()));
    let config = from_toml("recovery = true\ntls = false\nheartbeat = '0s'\n[client_properties]").unwrap();
    assert_eq!((config.recovery, config.tls), (Some(Recovery::default()), None));
    assert_eq!(config.heartbeat, Heartbeat::Disabled);
    let config = from_toml("tls = { ca = '/ca.pem', verify = 'none' }").unwrap();
    let tls = config.tls.clone().unwrap();
    assert_eq!((tls.ca, tls.verify), (vec![TlsInput::File("/ca.pem".into())], Verify::None));
    // A file alone does not switch the verification off.
    assert!(config.validate().is_err() && config.dangerous_allow_unverified().validate().is_ok());
}

#[test]
fn n12_what_is_unknown_or_wrong_is_refused_by_a_clear_error() {
    for (text, expected) in [
        ("host = 'one'", "unknown field `host`, expected one of `uri`, `url`, `hosts`"),
        ("[timeouts]\nconect = '1s'", "unknown field `conect`, expected one of `connect`, `handshake`"),
        ("[recovery]\nenabled = true", "unknown field `enabled`"),
        ("[tls]\ncafile = 'x'", "unknown field `cafile`"),
        ("[timeouts]\ncall = 30", "expected a time with its unit, such as \"500ms\", \"30s\" or \"1m 30s\""),
        ("[timeouts]\ncall = '30'", "expected a time with its unit"),
        ("[timeouts]\ncall = '-1s'", "expected a time with its unit"),
        ("heartbeat = 30", "expected a time with its unit, such as \"30s\", or \"off\""),
        ("channel_max = 70000", "expected u16"),
        ("prefetch = -1", "expected u16"),
        ("mechanisms = ['GSSAPI']", "expected PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS or RABBIT-CR-DEMO"),
        ("hosts = ['one', 'two:x']", "`hosts` have to be names or addresses"),
        ("hosts = ['']", "`hosts` have to be names or addresses"),
        ("recovery = 'maybe'", "expected true, false or a table"),
        ("tls = { verify = 'no' }", "expected \"peer\" or \"none\""),
        ("uri = 'amqps://one'\ntls = false", "`tls` is off, and `uri` is of amqps"),
        ("uri = 'http://user:hush@one'", "`uri`: not an AMQP URI: `http://user:***@one`"),
        ("uri = 'amqp://one'\nurl = 'amqp://two'", "duplicate field `uri`"),
        ("client_properties = { list = [1] }", "expected a text, a whole number or a truth value"),
    ] {
        let error = from_toml(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn r10_no_error_and_no_debug_shows_a_secret() {
    let config = from_toml("uri = 'amqp://bob:hush@one'\npassword = 'hushhush'").unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    for text in [r#"{ "password": 4711 }"#, r#"{ "password": ["4711"] }"#, r#"{ "uri": "amqp://bob:4711@one:x" }"#] {
        let error = serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(!error.contains("4711"), "{error}");
    }
}
