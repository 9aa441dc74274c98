//! Which names task queues may have.

use amqp_proto::error::{Error, ErrorKind};

/// A lowercase letter, then lowercase letters, digits and single underscores, and a letter or digit at the end; 2 to 255
/// bytes: a name that is safe everywhere, in files and in other brokers as well.
pub(super) fn check(name: &str) -> Result<&str, Error> {
    if is_well_formed(name.as_bytes()) { Ok(name) } else { Err(Error::new(ErrorKind::TaskQueueName(name.to_owned()))) }
}

fn is_well_formed(name: &[u8]) -> bool {
    let [first, .., last] = name else { return false };
    let is_end = |octet: &u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    name.len() <= 255
        && first.is_ascii_lowercase()
        && is_end(last)
        && name.iter().all(|octet| is_end(octet) || *octet == b'_')
        && !name.windows(2).any(|pair| pair == b"__")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r5_names_are_lowercase_letters_digits_and_single_underscores() {
        let longest = "a".repeat(255);
        for name in ["fo", "a1", "a_b", "a_b_c1", "z9", &longest] {
            assert_eq!(check(name).unwrap(), name);
        }
        let too_long = "a".repeat(256);
        for name in [
            "f", "", "a__b", "ab_", "_ab", "1ab", "foo-bar", "foo.bar", "foo\n", "Foo", "foO", "fo ", "\u{e4}b",
            &too_long,
        ] {
            let error = check(name).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TaskQueueName(bad) if bad == name), "{name:?}");
        }
    }

    #[test]
    fn r4_the_error_shows_the_name() {
        assert_eq!(check("BADNAME").unwrap_err().to_string(), r#""BADNAME" is not a properly-formatted queue name"#);
    }

    proptest! {
        /// By another way: cut at its underscores, a name is of parts that are not empty.
        #[test]
        fn r5_a_name_is_parts_between_underscores(name in "[a-c1_X.]{0,8}") {
            let is_part = |part: &str| {
                !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit())
            };
            let expected = name.len() > 1
                && name.split('_').all(is_part)
                && !name.starts_with(|first: char| first.is_ascii_digit());
            prop_assert_eq!(check(&name).is_ok(), expected);
        }
    }
}
