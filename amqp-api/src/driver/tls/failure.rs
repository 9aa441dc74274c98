//! rustls' errors in our words: whose fault it is, and what to change.

use amqp_proto::error::{Error, TlsFailure};
use rustls::Error as Tls;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::failed;

/// The error of a session.
pub(super) fn of(error: &Tls, in_handshake: bool) -> Error {
    let reason = match error {
        Tls::InvalidCertificate(problem) => of_certificate(problem),
        Tls::AlertReceived(alert) => of_alert(*alert),
        Tls::PeerIncompatible(_) => TlsFailure::Incompatible,
        // The first bytes make no record: a greeting in clear, most likely.
        Tls::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) if in_handshake => TlsFailure::NotTls,
        _ => TlsFailure::Protocol,
    };
    failed(reason, text(error, reason))
}

fn of_certificate(problem: &CertificateError) -> TlsFailure {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFailure::WrongHost,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFailure::NotYetValid,
        // A bad signature: by one who only bears the authority's name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownAuthority,
        _ => TlsFailure::BadCertificate,
    }
}

/// What the broker complains of (RFC 8446 §6.2). The only certificate that it sees is ours.
fn of_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::CertificateRequired => TlsFailure::ClientCertificateRequired,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => TlsFailure::ClientCertificateRefused,
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => TlsFailure::Incompatible,
        AlertDescription::UnrecognisedName => TlsFailure::WrongHost,
        _ => TlsFailure::Protocol,
    }
}

fn text(error: &Tls, reason: TlsFailure) -> String {
    match (error, reason) {
        (Tls::InvalidCertificate(problem), _) => problem.to_string(),
        (Tls::AlertReceived(alert), _) => {
            let mut text = format!("it sent the alert {alert:?}");
            // TLS 1.2 has no alert of its own for a missing certificate (RFC 5246 §7.4.6).
            if *alert == AlertDescription::HandshakeFailure {
                text.push_str("; over TLS 1.2 it may also want a client certificate");
            }
            text
        }
        (_, TlsFailure::NotTls) => "the port may be that of AMQP in clear, amqp://".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use amqp_proto::error::{ErrorKind, Origin};
    use rustls::PeerIncompatible;

    use super::*;

    fn reason(error: &Tls) -> TlsFailure {
        match *of(error, true).kind() {
            ErrorKind::Tls { reason, .. } => reason,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn f18_what_is_wrong_with_a_certificate_is_told_apart() {
        for (problem, expected) in [
            (CertificateError::NotValidForName, TlsFailure::WrongHost),
            (CertificateError::Expired, TlsFailure::Expired),
            (CertificateError::NotValidYet, TlsFailure::NotYetValid),
            (CertificateError::UnknownIssuer, TlsFailure::UnknownAuthority),
            (CertificateError::BadSignature, TlsFailure::UnknownAuthority),
            (CertificateError::Revoked, TlsFailure::BadCertificate),
            (CertificateError::InvalidPurpose, TlsFailure::BadCertificate),
        ] {
            assert_eq!(reason(&problem.into()), expected);
        }
    }

    #[test]
    fn f18_what_the_broker_says_of_our_certificate_is_told_apart() {
        for (alert, expected, origin) in [
            (AlertDescription::CertificateRequired, TlsFailure::ClientCertificateRequired, Origin::User),
            (AlertDescription::UnknownCA, TlsFailure::ClientCertificateRefused, Origin::User),
            (AlertDescription::CertificateExpired, TlsFailure::ClientCertificateRefused, Origin::User),
            (AlertDescription::ProtocolVersion, TlsFailure::Incompatible, Origin::Broker),
            (AlertDescription::InternalError, TlsFailure::Protocol, Origin::Broker),
        ] {
            let error = of(&Tls::AlertReceived(alert), true);
            assert_eq!(reason(&Tls::AlertReceived(alert)), expected);
            assert_eq!(error.origin(), origin, "{error}");
            assert!(error.to_string().contains(&format!("{alert:?}")), "{error}");
            assert!(!error.is_retryable());
        }
        assert_eq!(reason(&PeerIncompatible::NoCipherSuitesInCommon.into()), TlsFailure::Incompatible);
    }

    #[test]
    fn f18_garbage_is_no_tls_before_the_handshake_and_a_breach_of_it_afterwards() {
        let garbage = Tls::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(reason(&garbage), TlsFailure::NotTls);
        let later = of(&garbage, false);
        assert!(matches!(later.kind(), ErrorKind::Tls { reason: TlsFailure::Protocol, .. }), "{later}");
    }
}
