//! The program: what it prints, and how it ends.

#![cfg(all(unix, feature = "program"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use amqp_blocking::{Config, Error, ErrorKind};

/// Started, with its first lines: where it listens, and its warning.
fn start(arguments: &[&str]) -> (Child, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_amqp-broker"));
    let mut program = program.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (place, warning) = (lines.next().unwrap(), lines.next().unwrap());
    (program, place.strip_prefix("listening on ").unwrap().to_owned(), warning)
}

fn signal(program: &Child, name: &str) {
    let id = program.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
fn f54_the_program_says_where_it_listens_and_ends_in_order_when_it_is_told_to() {
    for name in ["-TERM", "-INT"] {
        let (mut program, uri, _) = start(&["--port", "0"]);
        assert!(uri.starts_with("amqp://guest:guest@127.0.0.1:"), "{uri}");
        let connection = amqp_blocking::connect(Config::from_uri(&uri).unwrap().no_recovery()).unwrap();
        let mut events = connection.events();
        connection.channel().unwrap().queue_declare("q").unwrap();
        signal(&program, name);
        assert!(program.wait().unwrap().success());
        // Its end is the last event.
        while events.next().is_some() {}
        let error = connection.channel().unwrap_err();
        assert_closed_by_shutdown(&error);
    }
}

fn assert_closed_by_shutdown(error: &Error) {
    let ErrorKind::ConnectionClosed(close) = error.kind() else { panic!("{error}") };
    assert_eq!(close.code.0, 320);
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(close.text, text);
}

#[test]
fn f54_the_program_warns_of_production_and_behaves_as_the_version_that_it_is_told() {
    let (mut program, uri, warning) = start(&["--port", "0", "--emulate", "3.10"]);
    assert!(warning.contains("not for production"), "{warning}");
    let connection = amqp_blocking::connect(uri).unwrap();
    let version = connection.server_properties().get("version").and_then(|it| it.as_str().map(str::to_owned));
    assert_eq!(version.as_deref(), Some("3.10.8"));
    connection.close().unwrap();
    signal(&program, "-TERM");
    assert!(program.wait().unwrap().success());
    let help = Command::new(env!("CARGO_BIN_EXE_amqp-broker")).arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("NOT FOR PRODUCTION"));
}

#[cfg(feature = "tls")]
#[test]
fn f54_the_program_speaks_tls_with_a_certificate_and_a_key() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("amqp-broker-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let (mut program, uri, _) = start(&["--port", "0", "--certificate", files[0], "--key", files[1]]);
    assert!(uri.starts_with("amqps://guest:guest@localhost:"), "{uri}");
    let tls = amqp_blocking::TlsOptions::default().ca_bytes(made.cert.der().to_vec());
    let config = Config::from_uri(&uri).unwrap().tls(tls);
    amqp_blocking::connect(config).unwrap().close().unwrap();
    signal(&program, "-TERM");
    assert!(program.wait().unwrap().success());
    std::fs::remove_dir_all(folder).unwrap();
}
