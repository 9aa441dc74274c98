//! Whom a client's certificate names, in RabbitMQ's words.

use std::borrow::Cow;
use std::fmt::Write;

use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::name::Name;

use crate::CertificateName;

const COMMON_NAME: &str = "2.5.4.3";

/// The kinds of names that RabbitMQ has words for. Others are shown by their number, street addresses too.
const WORDS: [(&str, &str); 16] = [
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    (COMMON_NAME, "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.65", "PSEUDONYM"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
];

/// The user whom a certificate, in DER, names; `None` if it names nobody.
pub(super) fn user(certificate: &[u8], name: CertificateName) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    match name {
        CertificateName::DistinguishedName => Some(distinguished(subject).into_bytes()),
        CertificateName::CommonName => {
            let names: Vec<_> = subject.iter().filter(|it| it.oid.to_string() == COMMON_NAME).map(value).collect();
            (!names.is_empty()).then(|| names.join(&b','))
        }
    }
}

/// The last part comes first, as RFC 4514 has it.
fn distinguished(name: &Name) -> String {
    let mut parts: Vec<_> = name.iter_rdn().map(|part| part.iter().map(shown).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn shown(name: &AttributeTypeAndValue) -> String {
    let oid = name.oid.to_string();
    let kind = WORDS.iter().find(|(known, _)| *known == oid).map_or(&oid[..], |(_, word)| word);
    format!("{kind}={}", escaped(&value(name)))
}

fn value(name: &AttributeTypeAndValue) -> Cow<'_, [u8]> {
    match DirectoryString::try_from(&name.value) {
        Ok(text) => Cow::Owned(text.value().into_owned().into_bytes()),
        // Mostly text of a plainer kind.
        Err(_) => Cow::Borrowed(name.value.value()),
    }
}

/// RFC 4514 §2.4; but what is no printable ASCII is shown byte by byte.
fn escaped(value: &[u8]) -> String {
    let mut out = String::new();
    for (at, &byte) in value.iter().enumerate() {
        let (is_first, is_last) = (at == 0, at + 1 == value.len());
        match byte {
            b' ' if is_first || is_last => out.push_str("\\ "),
            b'#' if is_first => out.push_str("\\#"),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.extend(['\\', char::from(byte)]),
            // Writing to a string does not fail.
            0..32 | 126.. => drop(write!(out, "\\{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}
