//! The configuration: its defaults, its setters, and what `validate` refuses.

use std::time::Duration;

use amqp_proto::config::{Address, Config, ConfigError, Heartbeat, Recovery, TlsInput, TlsOptions, Verify};
use amqp_proto::sasl::Mechanism;
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

#[test]
fn the_defaults_are_valid_and_as_documented() {
    let config = Config::default();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.hosts, [Address::new("localhost", 5672)]);
    assert_eq!((config.virtual_host.as_str(), config.locale.as_str()), ("/", "en_US"));
    assert_eq!((config.credentials.user(), config.credentials.password()), ("guest", "guest"));
    assert_eq!(config.mechanisms, [Mechanism::Plain, Mechanism::AmqPlain]);
    assert_eq!((config.channel_max, config.frame_max, config.prefetch), (2047, 131_072, 100));
    assert_eq!(config.heartbeat.as_secs(), 60);
    assert_eq!(config.recovery, Some(Recovery::default()));
    assert_eq!((config.tls, config.connection_name, config.tcp.nodelay), (None, None, true));
    assert_eq!(config.limits.max_body, 64 * 1024 * 1024);
    assert_eq!((config.limits.publish_buffer, config.limits.receive_buffer), (1024 * 1024, 4 * 1024 * 1024));
}

#[test]
fn f43_recovery_is_on_unless_it_is_switched_off() {
    let recovery = Config::new("broker").recovery.unwrap();
    assert_eq!((recovery.first_delay, recovery.max_delay), (Duration::from_millis(500), Duration::from_secs(30)));
    assert_eq!((recovery.max_attempts, recovery.retry_first_connect, recovery.topology), (None, false, true));
    assert_eq!(Config::from_uri("amqp://broker").unwrap().recovery, Some(Recovery::default()));
    assert_eq!(Config::new("broker").no_recovery().with_uri("amqp://broker").unwrap().recovery, None);
}

#[test]
fn f9_every_deadline_is_settable() {
    let seconds = Duration::from_secs;
    let defaults = Config::default().timeouts;
    let by_default =
        [defaults.connect, defaults.handshake, defaults.call, defaults.confirm, defaults.close, defaults.room];
    assert_eq!(by_default, [30, 10, 30, 60, 5, 30].map(seconds));

    let timeouts = Config::default()
        .connect_timeout(seconds(1))
        .handshake_timeout(seconds(2))
        .call_timeout(seconds(3))
        .confirm_timeout(seconds(4))
        .close_timeout(seconds(5))
        .room_timeout(seconds(6))
        .timeouts;
    let set = [timeouts.connect, timeouts.handshake, timeouts.call, timeouts.confirm, timeouts.close, timeouts.room];
    assert_eq!(set, [1, 2, 3, 4, 5, 6].map(seconds));
}

#[test]
fn f10_a_heartbeat_is_whole_seconds_on_the_wire_and_zero_only_if_disabled() {
    let as_secs = |milliseconds| Heartbeat::Interval(Duration::from_millis(milliseconds)).as_secs();
    assert_eq!([as_secs(0), as_secs(1), as_secs(1000), as_secs(1001)], [1, 1, 1, 2]);
    assert_eq!([as_secs(65_534_001), as_secs(65_535_001), as_secs(u64::MAX)], [u16::MAX; 3]);
    assert_eq!(Heartbeat::Interval(Duration::MAX).as_secs(), u16::MAX);
    assert_eq!(Heartbeat::Disabled.as_secs(), 0);
    assert_eq!(Heartbeat::seconds(0), Heartbeat::Disabled);
}

#[test]
fn f8_hosts_are_given_as_pairs_or_addresses_and_shown_with_brackets_where_needed() {
    let config = Config::default().hosts([("a", 1), ("::1", 2)]);
    let shown: Vec<String> = config.hosts.iter().map(Address::to_string).collect();
    assert_eq!(shown, ["a:1", "[::1]:2"]);
    assert_eq!(Config::default().port(7).host("b").hosts, [Address::new("b", 7)]);
}

#[test]
fn f18_tls_moves_the_default_port_and_no_other() {
    let config = Config::default().hosts([("a", 5672), ("b", 5673)]).tls(TlsOptions::default());
    assert_eq!(config.hosts, [Address::new("a", 5671), Address::new("b", 5673)]);
}

#[test]
fn f18_unverified_tls_set_as_a_field_is_refused_and_verified_all_the_same() {
    let config = Config::default().tls(TlsOptions::default().verify(Verify::None));
    assert_eq!(config.validate(), Err(ConfigError::UnverifiedNotAllowed));
    assert!(!config.accepts_any_certificate());

    let config = config.dangerous_allow_unverified();
    assert_eq!(config.validate(), Ok(()));
    assert!(config.accepts_any_certificate());
}

#[test]
fn what_cannot_be_sent_is_refused_before_connecting() {
    let no_hosts: [Address; 0] = [];
    let half = {
        let mut tls = TlsOptions::default();
        tls.key = Some(TlsInput::File("key.pem".into()));
        Config::default().tls(tls)
    };
    let refused = [
        (Config::default().hosts(no_hosts), ConfigError::NoHost),
        (Config::new(""), ConfigError::EmptyHost),
        (Config::default().virtual_host("v".repeat(256)), ConfigError::TooLong { field: "virtual_host", length: 256 }),
        (Config::default().locale("l".repeat(300)), ConfigError::TooLong { field: "locale", length: 300 }),
        (Config::default().mechanisms([]), ConfigError::NoMechanism),
        (Config::default().credentials("a\0b", ""), ConfigError::NulInCredentials),
        (Config::default().credentials("", "\0"), ConfigError::NulInCredentials),
        (Config::default().frame_max(1), ConfigError::FrameMax(1)),
        (Config::default().frame_max(4095), ConfigError::FrameMax(4095)),
        (half, ConfigError::HalfClientCertificate),
    ];
    for (config, expected) in refused {
        assert_eq!(config.validate(), Err(expected));
    }
    for frame_max in [0, 4096, u32::MAX] {
        assert_eq!(Config::default().frame_max(frame_max).validate(), Ok(()));
    }
    assert_eq!(Config::default().virtual_host("v".repeat(255)).validate(), Ok(()));
    assert_eq!(Config::default().credentials("\0", "").mechanism(Mechanism::AmqPlain).validate(), Ok(()));
}

#[test]
fn f11_the_client_says_what_it_is_and_what_it_knows() {
    let properties = Config::default().start_properties().unwrap();
    for key in ["product", "version", "platform", "information"] {
        assert!(properties.get(key).unwrap().as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    assert!(!properties.contains_key("connection_name"));
    let capabilities = properties.get("capabilities").unwrap().as_table().unwrap();
    for capability in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ] {
        assert_eq!(capabilities.get(capability).and_then(|value| value.as_bool()), Some(true), "{capability}");
    }
}

#[test]
fn f11_the_users_client_properties_win_but_our_capabilities_stay() {
    let mut capabilities = FieldTable::new();
    capabilities.insert("basic.nack", false).unwrap();
    capabilities.insert("something_new", true).unwrap();
    let properties = Config::default()
        .connection_name("importer")
        .client_property("product", "shop")
        .client_property("capabilities", capabilities)
        .start_properties()
        .unwrap();
    assert_eq!(properties.get("product").unwrap().as_str(), Some("shop"));
    assert_eq!(properties.get("connection_name").unwrap().as_str(), Some("importer"));
    let capabilities = properties.get("capabilities").unwrap().as_table().unwrap();
    assert_eq!(capabilities.get("basic.nack").unwrap().as_bool(), Some(true));
    assert_eq!(capabilities.get("something_new").unwrap().as_bool(), Some(true));

    let properties = Config::default().client_property("capabilities", 1).start_properties().unwrap();
    assert!(properties.get("capabilities").unwrap().as_table().is_some_and(|table| table.len() == 7));
}

#[test]
fn f11_a_client_property_that_cannot_be_sent_is_told_by_validate() {
    let told = |config: Config| match config.validate() {
        Err(error @ ConfigError::ClientProperty(_)) => error.to_string(),
        result => panic!("{result:?}"),
    };
    assert!(told(Config::default().client_property("k".repeat(256), 1)).contains("256"));
    assert!(told(Config::default().client_property("load", f64::NAN).client_property("fine", 1)).contains("\"load\""));
    assert!(told(Config::default().client_properties(table! { "load" => f32::INFINITY })).contains("\"load\""));
    let mended = Config::default().client_property("load", f64::NAN).client_properties(table! { "load" => 1.0 });
    assert!(mended.validate().is_ok());
}
