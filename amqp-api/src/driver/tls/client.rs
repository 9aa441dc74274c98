//! From options to a configuration of rustls.

use std::sync::Arc;

use amqp_proto::config::{TlsInput, TlsOptions, Verify};
use amqp_proto::error::{Error, TlsFailure};
use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::unverified::AcceptAny;
use super::{failed, pem};
use crate::connect::ConnectOptions;

/// What a configuration of rustls is made of, beside the options.
#[derive(Clone, Default)]
pub(crate) enum Base {
    /// ring.
    #[default]
    Ring,
    /// Somebody else's cryptography.
    Provider(Arc<CryptoProvider>),
    /// It is there already.
    Config(Arc<ClientConfig>),
}

/// `None`: TLS is not to be spoken.
pub(super) fn config(options: &ConnectOptions) -> Result<Option<Arc<ClientConfig>>, Error> {
    let Some(tls) = &options.config.tls else {
        return match options.tls {
            Base::Config(_) => {
                Err(unusable("a configuration of rustls was given, but the connection is to be in clear"))
            }
            _ => Ok(None),
        };
    };
    let provider = match &options.tls {
        Base::Config(config) => return if_alone(tls, config).map(Some),
        Base::Provider(provider) => Arc::clone(provider),
        Base::Ring => Arc::new(rustls::crypto::ring::default_provider()),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = if options.config.accepts_any_certificate() {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        builder.with_root_certificates(roots(&tls.ca)?)
    };
    with_client_certificate(builder, tls).map(|config| Some(Arc::new(config)))
}

/// Two places for one setting would be one too many.
fn if_alone(tls: &TlsOptions, config: &Arc<ClientConfig>) -> Result<Arc<ClientConfig>, Error> {
    let is_empty = tls.ca.is_empty() && tls.certificate.is_none() && tls.key.is_none() && tls.verify == Verify::Peer;
    if is_empty {
        return Ok(Arc::clone(config));
    }
    Err(unusable("a configuration of rustls was given, which has certificates and verification of its own"))
}

fn roots(inputs: &[TlsInput]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for input in inputs {
        for certificate in pem::certificates(input, "certificate authorities")? {
            roots.add(certificate).map_err(|error| {
                pem::unusable(input, "certificate authorities", &format!("one of the certificates is none: {error}"))
            })?;
        }
    }
    if inputs.is_empty() {
        let platform = rustls_native_certs::load_native_certs();
        // Of some hundreds a few may be too old to be understood.
        roots.add_parsable_certificates(platform.certs);
        if roots.is_empty() {
            let why = platform.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(unusable(format!("the platform's certificate authorities cannot be had: {why}")));
        }
    }
    Ok(roots)
}

fn with_client_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    tls: &TlsOptions,
) -> Result<ClientConfig, Error> {
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = pem::certificates(certificate, "the client's certificate")?;
    builder.with_client_auth_cert(chain, pem::key(key)?).map_err(|error| {
        let (certificate, key) = (pem::name(certificate), pem::name(key));
        unusable(format!("the client's certificate ({certificate}) and key ({key}) cannot be used: {error}"))
    })
}

fn unusable(text: impl Into<String>) -> Error {
    failed(TlsFailure::Options, text)
}

#[cfg(test)]
mod tests {
    use amqp_proto::config::Config;
    use amqp_proto::error::ErrorKind;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn client(tls: TlsOptions) -> Result<Option<Arc<ClientConfig>>, Error> {
        config(&ConnectOptions::new(Config::new("broker").tls(tls)))
    }

    #[track_caller]
    fn refused(tls: TlsOptions) -> String {
        let error = client(tls).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tls { reason: TlsFailure::Options, .. }), "{error}");
        error.to_string()
    }

    fn made() -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["broker".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.der().to_vec(), key.serialize_der())
    }

    #[test]
    fn f18_in_clear_there_is_no_configuration() {
        assert!(config(&ConnectOptions::new(Config::new("broker"))).unwrap().is_none());
    }

    #[test]
    fn f18_a_client_certificate_goes_with_its_key_and_with_no_other() {
        let ((certificate, key), (another, _)) = (made(), made());
        let trusted = TlsOptions::default().ca_bytes(certificate.clone());
        assert!(!client(trusted.clone()).unwrap().unwrap().client_auth_cert_resolver.has_certs());
        let good = client(trusted.clone().client_certificate_bytes(certificate, key.clone())).unwrap().unwrap();
        assert!(good.client_auth_cert_resolver.has_certs());
        let text = refused(trusted.clone().client_certificate_bytes(another.clone(), key));
        assert!(text.contains("the client's certificate (given as bytes) and key (given as bytes)"), "{text}");
        let text = refused(trusted.client_certificate_bytes(another, b"\x30\x03abc".to_vec()));
        assert!(text.contains("the client's key"), "{text}");
    }

    #[test]
    fn f18_an_authority_that_is_none_is_told() {
        let text = refused(TlsOptions::default().ca_bytes(b"\x30\x03abc".to_vec()));
        assert!(text.contains("certificate authorities (given as bytes)"), "{text}");
        let text = refused(TlsOptions::default().ca_file("/nowhere/ca.pem"));
        assert!(text.contains("/nowhere/ca.pem"), "{text}");
    }

    #[test]
    fn f18_another_provider_of_cryptography_is_used_where_it_is_given() {
        let (certificate, _) = made();
        let config = Config::new("broker").tls(TlsOptions::default().ca_bytes(certificate));
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.truncate(1);
        let options = ConnectOptions::new(config).crypto_provider(provider);
        let client = super::config(&options).unwrap().unwrap();
        assert_eq!(client.crypto_provider().cipher_suites.len(), 1);
    }

    #[test]
    fn f18_application_protocols_are_not_offered() {
        let (certificate, _) = made();
        assert!(client(TlsOptions::default().ca_bytes(certificate)).unwrap().unwrap().alpn_protocols.is_empty());
    }
}
