//! What can go wrong in TLS, in words that say what to change.

use std::fmt;

use super::Origin;

/// Why there is no TLS with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The broker's certificate is for other names than the one that was connected to.
    WrongHost,
    /// The broker's certificate is not valid any more.
    Expired,
    /// The broker's certificate is not valid yet, or the clock of this machine is wrong.
    NotYetValid,
    /// No trusted authority has signed the broker's certificate.
    UnknownAuthority,
    /// There is something else about the broker's certificate: it was revoked, is for another purpose, is malformed.
    BadCertificate,
    /// The broker wants a client certificate and was given none.
    ClientCertificateRequired,
    /// The broker does not accept the client certificate.
    ClientCertificateRefused,
    /// What answers does not speak TLS: the port may be that of AMQP in clear.
    NotTls,
    /// The two sides have no version, cipher suite or signature scheme in common.
    Incompatible,
    /// The options cannot be used: a file cannot be read or does not hold what it should, a name cannot be verified.
    Options,
    /// The broker broke the protocol of TLS, or ended it for another reason.
    Protocol,
}

impl TlsFailure {
    pub(super) fn origin(self) -> Origin {
        match self {
            Self::WrongHost
            | Self::UnknownAuthority
            | Self::ClientCertificateRequired
            | Self::ClientCertificateRefused
            | Self::NotTls
            | Self::Options => Origin::User,
            Self::Expired | Self::NotYetValid | Self::BadCertificate | Self::Incompatible | Self::Protocol => {
                Origin::Broker
            }
        }
    }

    /// Whether it is about the broker that was met, so that another one of the same service may do.
    #[must_use]
    pub fn is_about_the_host(self) -> bool {
        !matches!(self, Self::ClientCertificateRequired | Self::ClientCertificateRefused | Self::Options)
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongHost => "the broker's certificate is for another host",
            Self::Expired => "the broker's certificate has expired",
            Self::NotYetValid => "the broker's certificate is not valid yet",
            Self::UnknownAuthority => "the broker's certificate is not signed by a trusted authority",
            Self::BadCertificate => "the broker's certificate cannot be accepted",
            Self::ClientCertificateRequired => "the broker wants a client certificate",
            Self::ClientCertificateRefused => "the broker does not accept the client certificate",
            Self::NotTls => "the peer does not speak TLS",
            Self::Incompatible => "the broker and this side have no way of speaking TLS in common",
            Self::Options => "the TLS options cannot be used",
            Self::Protocol => "TLS with the broker failed",
        })
    }
}
