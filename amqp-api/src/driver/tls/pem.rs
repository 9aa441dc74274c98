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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::{env, fs, process};

    use amqp_proto::error::{ErrorKind, Origin};
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A file in a folder of its own, gone when this is dropped.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, contents: impl AsRef<[u8]>) -> Self {
            let folder = env::temp_dir().join(format!("amqp-pem-{}", process::id()));
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(name);
            fs::write(&path, contents).unwrap();
            Self(path)
        }

        fn input(&self) -> TlsInput {
            TlsInput::File(self.0.clone())
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
            // The last one is let do it.
            let _ = fs::remove_dir(self.0.parent().unwrap());
        }
    }

    fn made() -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["broker".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate, key)
    }

    #[track_caller]
    fn text(error: &Error) -> String {
        assert!(matches!(error.kind(), ErrorKind::Tls { reason: TlsFailure::Options, .. }), "{error}");
        assert_eq!(error.origin(), Origin::User);
        assert!(!error.is_retryable());
        format!("{error} {error:?}")
    }

    #[test]
    fn f18_certificates_and_keys_come_from_files_and_bytes_in_pem_and_der() {
        let ((one, key), (two, _)) = (made(), made());
        let (both, key_file) = (one.pem() + "\n" + &two.pem(), File::new("good.key", key.serialize_pem()));
        let file = File::new("good.pem", &both);
        let expected = vec![one.der().clone(), two.der().clone()];
        assert_eq!(certificates(&file.input(), "them").unwrap(), expected);
        assert_eq!(certificates(&TlsInput::Bytes(both.into_bytes()), "them").unwrap(), expected);
        assert_eq!(certificates(&TlsInput::Bytes(one.der().to_vec()), "it").unwrap(), expected[..1]);
        for input in [
            key_file.input(),
            TlsInput::Bytes(key.serialize_pem().into_bytes()),
            TlsInput::Bytes(key.serialize_der()),
            // Both in one, as is usual.
            TlsInput::Bytes((one.pem() + &key.serialize_pem()).into_bytes()),
        ] {
            assert_eq!(super::key(&input).unwrap().secret_der(), key.serialize_der());
        }
    }

    #[test]
    fn f18_a_bad_file_is_named_with_what_is_wrong_in_it_and_its_contents_are_not_shown() {
        let (certificate, key) = made();
        let secret = key.serialize_pem();
        let inside = secret.lines().nth(1).unwrap().to_owned();
        let cut = secret.replace("-----END PRIVATE KEY-----", "");
        let garbled = secret.replace(&inside, &format!("{}?", &inside[1..]));
        let encrypted = secret.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (name, contents, why) in [
            ("none.key", certificate.pem(), "no private key"),
            ("encrypted.key", encrypted, "encrypted"),
            ("cut.key", cut, "does not end"),
            ("garbled.key", garbled, "base64"),
            ("empty.key", String::new(), "no private key"),
        ] {
            let file = File::new(name, contents);
            let text = text(&super::key(&file.input()).unwrap_err());
            assert!(text.contains(name) && text.contains(why), "{text}");
            assert!(!text.contains(&inside[1..20]), "{text}");
        }
        let missing = text(&super::key(&TlsInput::File("/nowhere/missing.key".into())).unwrap_err());
        assert!(missing.contains("/nowhere/missing.key") && missing.contains("os error 2"), "{missing}");

        let file = File::new("no-certificate.pem", &secret);
        let text_of = |input: &TlsInput| text(&certificates(input, "certificate authorities").unwrap_err());
        let text = text_of(&file.input());
        assert!(text.contains("no-certificate.pem") && text.contains("no certificate in it"), "{text}");
        assert!(!text.contains(&inside), "{text}");
        assert!(text_of(&TlsInput::Bytes(b"hush".to_vec())).contains("given as bytes"));
        assert!(!text_of(&TlsInput::Bytes(b"hush".to_vec())).contains("hush"));
    }
}
