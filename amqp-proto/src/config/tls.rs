//! How to speak TLS, as data: files are read and certificates looked at when a connection is made.

use std::fmt;
use std::path::PathBuf;

use super::ConfigError;

/// How to speak TLS. The default verifies the broker against the platform's certificate authorities.
///
/// ```
/// use amqp_proto::config::{Config, TlsOptions};
///
/// let options = TlsOptions::default()
///     .ca_file("/etc/amqp/ca.pem")
///     .client_certificate("/etc/amqp/client.pem", "/etc/amqp/client.key");
/// let config = Config::new("broker").tls(options);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The certificate authorities to trust in place of the platform's. Default: none, so the platform's are trusted.
    pub ca: Vec<TlsInput>,
    /// The client's certificate, followed by those between it and an authority that the broker trusts; needs `key`.
    pub certificate: Option<TlsInput>,
    /// The client's private key, which must not be encrypted; needs `certificate`.
    pub key: Option<TlsInput>,
    /// Whether the broker's certificate is verified.
    pub verify: Verify,
    /// The name to send as server name indication and to verify the certificate against, in place of the host.
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// Adds a PEM file to [`ca`](TlsOptions#structfield.ca).
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca.push(TlsInput::File(path.into()));
        self
    }

    /// Adds certificates to [`ca`](TlsOptions#structfield.ca): PEM, or one in DER.
    #[must_use]
    pub fn ca_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.ca.push(TlsInput::Bytes(bytes.into()));
        self
    }

    /// Sets [`certificate`](TlsOptions#structfield.certificate) and [`key`](TlsOptions#structfield.key), by PEM files.
    #[must_use]
    pub fn client_certificate(mut self, cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        self.certificate = Some(TlsInput::File(cert_file.into()));
        self.key = Some(TlsInput::File(key_file.into()));
        self
    }

    /// Sets [`certificate`](TlsOptions#structfield.certificate) and [`key`](TlsOptions#structfield.key): each in PEM,
    /// or in DER, which holds a single certificate.
    #[must_use]
    pub fn client_certificate_bytes(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificate = Some(TlsInput::Bytes(certificate.into()));
        self.key = Some(TlsInput::Bytes(key.into()));
        self
    }

    /// Sets [`verify`](TlsOptions#structfield.verify).
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets [`server_name`](TlsOptions#structfield.server_name).
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Checks what concerns TLS alone.
    pub(super) fn validate(&self, allow_unverified: bool) -> Result<(), ConfigError> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(ConfigError::HalfClientCertificate);
        }
        if self.verify == Verify::None && !allow_unverified {
            return Err(ConfigError::UnverifiedNotAllowed);
        }
        Ok(())
    }
}

/// Certificates, or a private key. `Debug` shows a file's name, and of bytes how many they are.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsInput {
    /// A PEM file, which is read whenever a connection is made.
    File(PathBuf),
    /// PEM or DER.
    Bytes(Vec<u8>),
}

impl fmt::Debug for TlsInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&format_args!("*** of {} bytes", bytes.len())).finish(),
        }
    }
}

/// Whether the broker's certificate is verified. The names are those of RabbitMQ's `verify` option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// The chain and the host name are verified.
    #[default]
    Peer,
    /// Nothing is verified. Refused unless
    /// [`Config::dangerous_allow_unverified`](super::Config::dangerous_allow_unverified) was called.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_p47_debug_never_shows_a_key() {
        let options = TlsOptions::default().client_certificate_bytes("certificate", "hush");
        assert!(!format!("{options:?} {options:#?}").contains("hush"));
        assert!(format!("{options:?}").contains("4 bytes"));
    }
}
