//! The broker as a program, for a demo or for tests in other languages. Not for production: it keeps everything in memory.

use std::io::{self, Write};
#[cfg(feature = "tls")]
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use amqp_broker::{Broker, Emulate};
use clap::{Parser, ValueEnum};

/// How long clients may take to answer that the broker ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// An in-memory AMQP 0-9-1 broker that behaves as RabbitMQ does, for tests and demos. NOT FOR PRODUCTION: nothing is kept.
///
/// It runs until it is interrupted, or told to end by SIGTERM or SIGHUP.
#[derive(Parser)]
struct Arguments {
    /// The port of 127.0.0.1 to listen on; 0 is a free one.
    #[arg(long, default_value_t = 5672)]
    port: u16,
    /// The RabbitMQ to behave like.
    #[arg(long, value_enum, default_value_t = Version::V4_3)]
    emulate: Version,
    /// Speak TLS: a PEM file with the certificate for `localhost`, and those that it hangs on.
    #[cfg(feature = "tls")]
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    #[cfg(feature = "tls")]
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "3.10")]
    V3_10,
    #[value(name = "4.0")]
    V4_0,
    #[value(name = "4.3")]
    V4_3,
}

impl From<Version> for Emulate {
    fn from(version: Version) -> Self {
        match version {
            Version::V3_10 => Self::V3_10,
            Version::V4_0 => Self::V4_0,
            Version::V4_3 => Self::V4_3,
        }
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let (told, end) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Told again while it ends, it ends no sooner.
        let _ = told.send(());
    })
    .map_err(io::Error::other)?;
    let builder = Broker::builder().port(arguments.port).emulate(arguments.emulate.into());
    #[cfg(feature = "tls")]
    let builder = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => builder.tls(identity(certificate, key)?),
        _ => builder,
    };
    let broker = builder.start()?;
    let mut output = io::stdout();
    writeln!(output, "listening on {}", broker.uri())?;
    writeln!(output, "This is a broker for tests and demos, not for production: it keeps everything in memory.")?;
    output.flush()?;
    // Fails only when nobody can tell it any more.
    let _ = end.recv();
    if !broker.shutdown(FAREWELL) {
        writeln!(output, "Some clients have not answered, and were disconnected.")?;
    }
    Ok(())
}

/// What is shown to clients.
#[cfg(feature = "tls")]
fn identity(certificate: &Path, key: &Path) -> io::Result<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let unusable =
        |file: &Path, error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    config.with_single_cert(chain, secret).map_err(|error| unusable(certificate, &error))
}
