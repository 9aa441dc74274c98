//! TLS for `amqp-broker`, as a RabbitMQ node would be configured for it.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::certificates::{Authority, Identity};
use crate::node::ClientCertificates;
use crate::{Failure, Result};

/// What a listener shows, and asks of its clients.
pub(super) fn server_config(identity: &Identity, clients: ClientCertificates<'_>) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(Failure::during("configuring TLS"))?;
    let verifier = |authority: &Authority| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate())).map_err(Failure::during("trusting an authority"))?;
        Ok::<_, Failure>(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider))
    };
    let builder = match clients {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Optional(authority) => {
            let verifier = verifier(authority)?.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(Failure::during("asking for certificates"))?)
        }
        ClientCertificates::Required(authority) => {
            let verifier = verifier(authority)?.build();
            builder.with_client_cert_verifier(verifier.map_err(Failure::during("asking for certificates"))?)
        }
    };
    let certificate = CertificateDer::from(identity.certificate.clone());
    let key = PrivateKeyDer::try_from(identity.key.clone()).map_err(Failure::new)?;
    builder.with_single_cert(vec![certificate], key).map_err(Failure::during("configuring TLS"))
}
