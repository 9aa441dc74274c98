//! Certificates and keys, from PEM files and from bytes. An error names the file and what is wrong with it, and shows
//! nothing that stands in it.

use std::fmt;

use amqp_proto::config::TlsInput;
use amqp_proto::error::{Error, TlsFailure};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::failed;

/// All certificates, of which there is at least one.
pub(super) fn certificates(input: &TlsInput, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, pem::Error> = match input {
        TlsInput::File(path) => CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
        TlsInput::Bytes(bytes) if is_pem(bytes) => CertificateDer::pem_slice_iter(bytes).collect(),
        TlsInput::Bytes(bytes) => Ok(vec![CertificateDer::from(bytes.clone())]),
        _ => Err(pem::Error::NoItemsFound),
    };
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(input, what, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(input, what, &problem(&error, "there is no certificate in it"))),
    }
}

/// The first private key.
pub(super) fn key(input: &TlsInput) -> Result<PrivateKeyDer<'static>, Error> {
    const NONE: &str = "there is no private key in it, or only an encrypted one";
    let what = "the client's key";
    match input {
        TlsInput::File(path) => {
            PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(input, what, &problem(&error, NONE)))
        }
        TlsInput::Bytes(bytes) if is_pem(bytes) => {
            PrivateKeyDer::from_pem_slice(bytes).map_err(|error| unusable(input, what, &problem(&error, NONE)))
        }
        TlsInput::Bytes(bytes) => PrivateKeyDer::try_from(bytes.clone())
            .map_err(|_| unusable(input, what, "it is neither PEM nor a private key in DER")),
        _ => Err(unusable(input, what, NONE)),
    }
}

/// What an input is called in an error.
pub(super) fn name(input: &TlsInput) -> impl fmt::Display {
    match input {
        TlsInput::File(path) => path.display().to_string(),
        _ => "given as bytes".to_owned(),
    }
}

pub(super) fn unusable(input: &TlsInput, what: &str, why: &str) -> Error {
    failed(TlsFailure::Options, format!("{what} ({}): {why}", name(input)))
}

/// DER begins with the tag of a sequence.
fn is_pem(bytes: &[u8]) -> bool {
    bytes.first() != Some(&0x30)
}

/// The crate's own texts quote lines.
fn problem(error: &pem::Error, none: &str) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => none.to_owned(),
        pem::Error::MissingSectionEnd { .. } => "a section of the PEM does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section of the PEM does not begin as it should".to_owned(),
        pem::Error::Base64Decode(_) => "a section of the PEM is no base64".to_owned(),
        _ => "it is no PEM that can be read".to_owned(),
    }
}
