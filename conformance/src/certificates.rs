//! Certificates for brokers and clients, made when a test wants them: good ones, and those with something wrong.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::{Failure, Result};

/// A certificate authority. Its own certificate is good for as long as a test may run.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, in DER.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key, in the form of PKCS #8.
    pub key: Vec<u8>,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From an hour ago for a day.
    Now,
    /// It ended an hour ago.
    Expired,
    /// It begins in an hour.
    NotYet,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Authority {
    /// An authority of this name.
    ///
    /// # Errors
    /// If there is no randomness to be had.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = named(name, &[], Validity::Now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, key()?).map_err(making)?))
    }

    /// Its certificate, in DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these host names and addresses; its subject is the first of them.
    ///
    /// # Errors
    /// If one of them cannot be in a certificate.
    pub fn identity(&self, names: &[&str]) -> Result<Identity> {
        self.identity_within(names, Validity::Now)
    }

    /// The same, with another validity.
    ///
    /// # Errors
    /// If one of the names cannot be in a certificate.
    pub fn identity_within(&self, names: &[&str], validity: Validity) -> Result<Identity> {
        let key = key()?;
        let params = named(names.first().unwrap_or(&"nobody"), names, validity)?;
        let certificate = params.signed_by(&key, &self.0).map_err(making)?;
        Ok(Identity { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }
}

fn named(subject: &str, names: &[&str], validity: Validity) -> Result<CertificateParams> {
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(making)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    let now = SystemTime::now();
    let (from, to) = match validity {
        Validity::Now => (now - HOUR, now + 24 * HOUR),
        Validity::Expired => (now - 24 * HOUR, now - HOUR),
        Validity::NotYet => (now + HOUR, now + 24 * HOUR),
    };
    (params.not_before, params.not_after) = (from.into(), to.into());
    Ok(params)
}

fn key() -> Result<KeyPair> {
    KeyPair::generate().map_err(making)
}

fn making(error: rcgen::Error) -> Failure {
    Failure::during("making a certificate")(error)
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
