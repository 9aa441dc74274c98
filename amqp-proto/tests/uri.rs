//! AMQP URIs: the vectors of RabbitMQ's specification, those that other clients get wrong, and properties.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

use std::time::Duration;

use amqp_proto::config::{Address, Config, Heartbeat, TlsOptions, Verify};
use amqp_proto::sasl::{Credentials, Mechanism};
use amqp_proto::uri::{UriError, UriPart};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

fn parse(uri: &str) -> Config {
    Config::from_uri(uri).unwrap_or_else(|error| panic!("{uri}: {error}"))
}

fn refusal(uri: &str) -> UriError {
    match Config::from_uri(uri) {
        Ok(config) => panic!("{uri} was taken for {config:?}"),
        Err(error) => error,
    }
}

/// URI, user, password, hosts, virtual host.
type Vector = (&'static str, &'static str, &'static str, &'static [(&'static str, u16)], &'static str);

const VECTORS: &[Vector] = &[
    // The table of RabbitMQ's URI specification. What it calls absent is a default of ours.
    ("amqp://user:pass@host:10000/vhost", "user", "pass", &[("host", 10000)], "vhost"),
    ("amqp://user%61:%61pass@ho%61st:10000/v%2fhost", "usera", "apass", &[("hoast", 10000)], "v/host"),
    ("amqp://", "guest", "guest", &[("localhost", 5672)], "/"),
    ("amqp://:@/", "", "", &[("localhost", 5672)], ""),
    ("amqp://user@", "user", "guest", &[("localhost", 5672)], "/"),
    ("amqp://user:pass@", "user", "pass", &[("localhost", 5672)], "/"),
    ("amqp://host", "guest", "guest", &[("host", 5672)], "/"),
    ("amqp://:10000", "guest", "guest", &[("localhost", 10000)], "/"),
    ("amqp:///vhost", "guest", "guest", &[("localhost", 5672)], "vhost"),
    ("amqp://host/", "guest", "guest", &[("host", 5672)], ""),
    ("amqp://host/%2f", "guest", "guest", &[("host", 5672)], "/"),
    ("amqp://[::1]", "guest", "guest", &[("::1", 5672)], "/"),
    // Absent and empty differ.
    ("amqp://user:@host", "user", "", &[("host", 5672)], "/"),
    ("amqp://:pass@host", "", "pass", &[("host", 5672)], "/"),
    ("amqp://@host", "", "guest", &[("host", 5672)], "/"),
    ("amqp:///", "guest", "guest", &[("localhost", 5672)], ""),
    ("amqp://host:/", "guest", "guest", &[("host", 5672)], ""),
    // What other clients garble.
    ("amqp://u:a+b@host", "u", "a+b", &[("host", 5672)], "/"),
    ("amqp://u:a=b@host", "u", "a=b", &[("host", 5672)], "/"),
    ("amqp://u:a%2Bb%3D@host", "u", "a+b=", &[("host", 5672)], "/"),
    ("amqp://u:a:b@host", "u", "a:b", &[("host", 5672)], "/"),
    ("amqp://u%3Av:a%3Ab@host", "u:v", "a:b", &[("host", 5672)], "/"),
    ("amqp://me@corp:p@ss@host", "me@corp", "p@ss", &[("host", 5672)], "/"),
    ("amqp://u:a%40b%2Fc%3Fd%23e%25f@host", "u", "a@b/c?d#e%f", &[("host", 5672)], "/"),
    ("amqp://u:a@b@host", "u", "a@b", &[("host", 5672)], "/"),
    ("amqp://u:a,b@host", "u", "a,b", &[("host", 5672)], "/"),
    ("amqp://host/%2F", "guest", "guest", &[("host", 5672)], "/"),
    ("amqp://host/a+b", "guest", "guest", &[("host", 5672)], "a+b"),
    ("amqp://host/%C3%A9t%c3%a9", "guest", "guest", &[("host", 5672)], "été"),
    ("amqp://host/été", "guest", "guest", &[("host", 5672)], "été"),
    // Schemes, addresses and lists of hosts.
    ("AMQP://host", "guest", "guest", &[("host", 5672)], "/"),
    ("amqps://host", "guest", "guest", &[("host", 5671)], "/"),
    ("amqps://", "guest", "guest", &[("localhost", 5671)], "/"),
    ("amqps://host:5672", "guest", "guest", &[("host", 5672)], "/"),
    ("amqp://127.0.0.1:5673", "guest", "guest", &[("127.0.0.1", 5673)], "/"),
    ("amqp://[::1]:10000/v", "guest", "guest", &[("::1", 10000)], "v"),
    ("amqp://u:p@[2001:db8::5]/", "u", "p", &[("2001:db8::5", 5672)], ""),
    ("amqp://[fe80::1%25eth0]", "guest", "guest", &[("fe80::1%eth0", 5672)], "/"),
    ("amqp://[::ffff:10.0.0.1]", "guest", "guest", &[("::ffff:10.0.0.1", 5672)], "/"),
    ("amqp://a,b:5673,[::1],[::2]:9/v", "guest", "guest", &[("a", 5672), ("b", 5673), ("::1", 5672), ("::2", 9)], "v"),
    ("amqps://u:p@a,b:1", "u", "p", &[("a", 5671), ("b", 1)], "/"),
    // A query ends the path or the authority, and may be empty.
    ("amqp://host?", "guest", "guest", &[("host", 5672)], "/"),
    ("amqp://host/?&", "guest", "guest", &[("host", 5672)], ""),
    ("amqp://host:1?heartbeat=5", "guest", "guest", &[("host", 1)], "/"),
];

#[test]
fn f7_p43_p44_every_vector_is_split_and_decoded() {
    for (uri, user, password, hosts, virtual_host) in VECTORS {
        let config = parse(uri);
        assert_eq!(config.credentials.user(), *user, "user of {uri}");
        assert_eq!(config.credentials.password(), *password, "password of {uri}");
        let expected: Vec<Address> = hosts.iter().copied().map(Address::from).collect();
        assert_eq!(config.hosts, expected, "hosts of {uri}");
        assert_eq!(config.virtual_host, *virtual_host, "virtual host of {uri}");
        assert_eq!(config.tls.is_some(), uri.starts_with("amqps"), "TLS of {uri}");
    }
}

#[test]
fn f7_what_is_no_uri_of_ours_is_refused_for_its_own_reason() {
    use UriError as E;
    let parameter = |name, expected| E::InvalidParameter { name, expected };
    let refused = [
        ("amqp://host:x", E::InvalidPort),
        ("amqp://host:0", E::InvalidPort),
        ("amqp://host:65536", E::InvalidPort),
        ("amqp://host:+80", E::InvalidPort),
        ("amqp://host:-1", E::InvalidPort),
        ("amqp://::1", E::InvalidHost),
        ("amqp://[::1", E::InvalidHost),
        ("amqp://[::1]x", E::InvalidHost),
        ("amqp://[localhost]", E::InvalidHost),
        ("amqp://[]", E::InvalidHost),
        ("amqp://[fe80::1%25]", E::InvalidHost),
        ("amqp://a,,b", E::InvalidHost),
        ("amqp://a,", E::InvalidHost),
        ("amqp://a,:5672", E::InvalidHost),
        ("amqp://%zz@h", E::InvalidEscape(UriPart::User)),
        ("amqp://u:p%4@h", E::InvalidEscape(UriPart::Password)),
        ("amqp://u:100%@h", E::InvalidEscape(UriPart::Password)),
        ("amqp://u:p%+1@h", E::InvalidEscape(UriPart::Password)),
        ("amqp://u:p%ff@h", E::InvalidUtf8(UriPart::Password)),
        ("amqp://h%", E::InvalidEscape(UriPart::Host)),
        ("amqp://h/%2", E::InvalidEscape(UriPart::VirtualHost)),
        ("amqp://h/%c3", E::InvalidUtf8(UriPart::VirtualHost)),
        ("amqp://h?name=%", E::InvalidEscape(UriPart::Query)),
        ("amqp://h//", E::SlashInVirtualHost),
        ("amqp://h/a/b", E::SlashInVirtualHost),
        ("amqp://h/v#x", E::Fragment),
        ("amqp://h?heartbeats=1", E::UnknownParameter { name: "heartbeats".to_owned() }),
        ("amqp://h?Heartbeat=1", E::UnknownParameter { name: "Heartbeat".to_owned() }),
        ("amqp://h?%68%69=1", E::UnknownParameter { name: "hi".to_owned() }),
        ("amqp://h?=1", E::UnknownParameter { name: String::new() }),
        ("amqp://h?heartbeat=1&heartbeat=2", E::RepeatedParameter { name: "heartbeat" }),
        ("amqp://h?heartbeat", parameter("heartbeat", "whole seconds from 0 to 65535")),
        ("amqp://h?heartbeat=65536", parameter("heartbeat", "whole seconds from 0 to 65535")),
        ("amqp://h?heartbeat=1.5", parameter("heartbeat", "whole seconds from 0 to 65535")),
        ("amqp://h?connection_timeout=0", parameter("connection_timeout", "whole milliseconds from 1 to 4294967295")),
        ("amqp://h?channel_max=-1", parameter("channel_max", "a number from 0 to 65535")),
        ("amqp://h?frame_max=4095", parameter("frame_max", "0 or a number of bytes from 4096 to 4294967295")),
        (
            "amqp://h?auth_mechanism=gssapi",
            parameter("auth_mechanism", "plain, amqplain, external, anonymous or rabbit-cr-demo"),
        ),
        ("amqp://h?cacertfile=/ca.pem", E::NeedsTls { name: "cacertfile" }),
        ("amqps://h?cacertfile=", parameter("cacertfile", "not empty")),
        ("amqps://h?certfile=/c.pem", E::HalfClientCertificate),
        ("amqps://h?keyfile=/k.pem", E::HalfClientCertificate),
        ("amqps://h?verify=none", parameter("verify", "verify_peer or verify_none")),
        ("amqps://h?verify=verify_none", E::UnverifiedNotAllowed),
    ];
    for (uri, expected) in refused {
        assert_eq!(refusal(uri), expected, "{uri}");
    }
}

#[test]
fn f7_an_unknown_parameter_is_named() {
    assert_eq!(refusal("amqp://h?heartbeet=3").to_string(), "unknown query parameter `heartbeet` in the URI");
}

#[test]
fn r9_an_unknown_scheme_quotes_the_uri_without_its_password() {
    let quoted = [
        ("http://user:hush@host:80/v", "http://user:***@host:80/v"),
        ("http://user:hu@sh@host", "http://user:***@host"),
        ("http://user:hu/s?h#@host", "http://user:***@host"),
        ("http://user@host", "http://user@host"),
        ("http://host/path?password=hush", "http://host/path?***"),
        ("user:hush@host", "user:***@host"),
        ("amqp:user:hush@host", "amqp:***@host"),
        (" amqp://user:hush@host", " amqp:***@host"),
        ("localhost:5672", "localhost:5672"),
        ("", ""),
    ];
    for (uri, expected) in quoted {
        let error = refusal(uri);
        assert_eq!(error, UriError::UnknownScheme { uri: expected.to_owned() });
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("hush"), "{text}");
    }
}

#[test]
fn f7_a_password_whose_delimiters_are_not_escaped_is_quoted_by_no_error() {
    for delimiter in ["/", "?", "#", "/?", "?/", ":", "?x=1&", "@?", "@/", "@?name="] {
        for before in ["", "12", "hush"] {
            let uri = format!("amqp://user:{before}{delimiter}hush@host/v?bogus=1");
            if let Err(error) = Config::from_uri(&uri) {
                assert!(!format!("{error} {error:?}").contains("hush"), "{uri}: {error:?}");
            }
        }
    }
    assert_eq!(refusal("amqp://user:12?hush@host"), UriError::UnescapedCredentials);
    assert_eq!(refusal("amqp://user:hush?hush@host"), UriError::InvalidPort);
}

#[test]
fn f7_every_parameter_reaches_its_field() {
    let config = parse(
        "amqps://h/v?heartbeat=10&connection_timeout=1500&channel_max=7&frame_max=8192&auth_mechanism=External\
         &auth_mechanism=PLAIN&name=my+app%20%26%20co&cacertfile=/etc/ca%2B.pem&certfile=c.pem&keyfile=k.pem\
         &verify=verify_peer&server_name_indication=broker.example",
    );
    assert_eq!(config.heartbeat, Heartbeat::seconds(10));
    assert_eq!(config.timeouts.connect, Duration::from_millis(1500));
    assert_eq!((config.channel_max, config.frame_max), (7, 8192));
    assert_eq!(config.mechanisms, [Mechanism::External, Mechanism::Plain]);
    assert_eq!(config.connection_name.as_deref(), Some("my+app & co"));
    let tls = TlsOptions::default()
        .ca_file("/etc/ca+.pem")
        .client_certificate("c.pem", "k.pem")
        .server_name("broker.example");
    assert_eq!(config.tls, Some(tls));
    assert!(config.validate().is_ok());
}

#[test]
fn f7_the_limits_of_parameters_are_taken() {
    let config = parse("amqp://h?heartbeat=0&channel_max=0&frame_max=0&connection_timeout=1&name=");
    assert_eq!(config.heartbeat, Heartbeat::Disabled);
    assert_eq!((config.channel_max, config.frame_max), (0, 0));
    assert_eq!(config.connection_name.as_deref(), Some(""));

    let config = parse("amqp://h?heartbeat=65535&channel_max=65535&frame_max=4294967295");
    assert_eq!(config.heartbeat.as_secs(), u16::MAX);
    assert_eq!((config.channel_max, config.frame_max), (u16::MAX, u32::MAX));
    assert_eq!(parse("amqp://h?frame_max=4096").frame_max, 4096);
}

#[test]
fn f7_what_the_uri_does_not_say_stays_as_it_was() {
    let before = Config::new("other")
        .virtual_host("v")
        .credentials("alice", "s3cret")
        .channel_max(9)
        .mechanism(Mechanism::AmqPlain)
        .tls(TlsOptions::default().ca_file("ca.pem"));
    let config = before.clone().with_uri("amqps://").unwrap();
    assert_eq!(config.hosts, [Address::new("localhost", 5671)]);
    assert_eq!(config.credentials, Credentials::new("alice", "s3cret"));
    assert_eq!((config.virtual_host.as_str(), config.channel_max), ("v", 9));
    assert_eq!(config.mechanisms, [Mechanism::AmqPlain]);
    assert_eq!(config.tls, before.tls);
    assert_eq!(before.with_uri("amqp://").unwrap().tls, None);
}

#[test]
fn f18_verification_is_switched_off_only_with_leave_and_on_demand() {
    let uri = "amqps://h?verify=verify_none";
    let config = Config::default().dangerous_allow_unverified().with_uri(uri).unwrap();
    assert!(config.accepts_any_certificate() && config.validate().is_ok());
    assert_eq!(config.tls.unwrap().verify, Verify::None);

    let config = Config::default().dangerous_allow_unverified().with_uri("amqps://h").unwrap();
    assert!(!config.accepts_any_certificate());
}

#[test]
fn r10_p47_debug_never_shows_the_password() {
    let config = parse("amqp://user:hush@host/v");
    let text = format!("{config:?} {config:#?}");
    assert!(text.contains("***") && !text.contains("hush"), "{text}");
}

/// Text made of what URIs are made of, so that more than the scheme is reached.
fn uri_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("amqp://".to_owned()),
        Just("amqps://".to_owned()),
        "[:/?#@,&=%\\[\\]]",
        "[a-z0-9]{1,4}",
        Just("%2f".to_owned()),
        Just("heartbeat=".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn f7_percent_encoded_parts_come_back_as_they_were(
        user in any::<String>(),
        password in any::<String>(),
        host in "\\PC{1,20}",
        virtual_host in any::<String>(),
        name in any::<String>(),
    ) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let uri = format!(
            "amqp://{}:{}@{}:99/{}?name={}",
            encoded(&user), encoded(&password), encoded(&host), encoded(&virtual_host), encoded(&name),
        );
        let config = Config::from_uri(&uri).unwrap();
        prop_assert_eq!(config.credentials, Credentials::new(user, password));
        prop_assert_eq!(config.hosts, [Address::new(host, 99)]);
        prop_assert_eq!(config.virtual_host, virtual_host);
        prop_assert_eq!(config.connection_name, Some(name));
    }

    #[test]
    fn f7_arbitrary_text_never_panics(text in any::<String>(), uri in uri_like()) {
        let _ = Config::from_uri(&text);
        let _ = Config::from_uri(&uri);
        let _ = Config::from_uri(&format!("amqp://{text}"));
        let _ = Config::from_uri(&format!("amqps://h?{text}"));
    }

    #[test]
    fn r9_p47_no_error_shows_what_stands_between_a_colon_and_an_at_sign(
        before in uri_like(),
        junk in "[:/?#,&=%a-z0-9\\[\\]]{0,6}",
        after in uri_like(),
        scheme in prop_oneof![Just(""), Just("amqp://"), Just("amqps://"), Just("http://")],
    ) {
        let uri = format!("{scheme}{before}:{junk}HUSH@{after}");
        if let Err(error) = Config::from_uri(&uri) {
            let text = format!("{error} {error:?}");
            prop_assert!(!text.contains("HUSH"), "{uri:?}: {text}");
        }
    }
}
