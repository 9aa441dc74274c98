//! Values that are more than a number or a text.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::super::{Address, Heartbeat, TlsInput, Verify};
use crate::sasl::Mechanism;
use crate::uri;
use crate::wire::FieldValue;

/// A value that is written as a text.
macro_rules! from_text {
    ($type:ident, $expected:literal, $parse:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        let parse: fn(&str) -> Option<$type> = $parse;
                        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

/// A time, with its unit.
pub(super) struct Span(Duration);

from_text!(Span, "a time with its unit, such as \"500ms\", \"30s\" or \"1m 30s\"", |text| {
    humantime::parse_duration(text).ok().map(Span)
});

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl From<Span> for Option<Duration> {
    fn from(span: Span) -> Self {
        Some(span.0)
    }
}

/// An interval of heartbeats; none at all is no heartbeats.
pub(super) struct Beat(Heartbeat);

from_text!(Beat, "a time with its unit, such as \"30s\", or \"off\"", |text| match text {
    "off" => Some(Beat(Heartbeat::Disabled)),
    _ => match humantime::parse_duration(text).ok()? {
        Duration::ZERO => Some(Beat(Heartbeat::Disabled)),
        interval => Some(Beat(Heartbeat::Interval(interval))),
    },
});

impl From<Beat> for Heartbeat {
    fn from(beat: Beat) -> Self {
        beat.0
    }
}

/// Whether the broker's certificate is verified, in the words of a URI or in short.
pub(super) struct VerifyName(Verify);

from_text!(VerifyName, "\"peer\" or \"none\"", |text| match text {
    "peer" | "verify_peer" => Some(VerifyName(Verify::Peer)),
    "none" | "verify_none" => Some(VerifyName(Verify::None)),
    _ => None,
});

impl From<VerifyName> for Verify {
    fn from(verify: VerifyName) -> Self {
        verify.0
    }
}

/// A password. What stands in its place is not quoted by any error.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Self).map_err(|_| D::Error::custom("the password has to be a text, in quotes where there are any"))
    }
}

/// A file by its path.
pub(super) struct OneFile(PathBuf);

from_text!(OneFile, "the path of a file", |text| (!text.is_empty()).then(|| OneFile(text.into())));

impl From<OneFile> for Option<TlsInput> {
    fn from(file: OneFile) -> Self {
        Some(TlsInput::File(file.0))
    }
}

/// Texts: a list of them, or one text in which they are separated by commas.
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Several;

        impl<'de> Visitor<'de> for Several {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts, or a text with commas")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(text.split(',').map(|part| part.trim().to_owned()).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(Several)
    }
}

/// Files by their paths.
pub(super) struct Files(Vec<TlsInput>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let paths = Texts::deserialize(deserializer)?.0;
        Ok(Self(paths.into_iter().map(|path| TlsInput::File(path.into())).collect()))
    }
}

impl From<Files> for Vec<TlsInput> {
    fn from(files: Files) -> Self {
        files.0
    }
}

/// Hosts, each with its port or without.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn addresses(&self, is_tls: bool) -> Result<Vec<Address>, ()> {
        let port = if is_tls { Address::TLS_PORT } else { Address::PORT };
        self.0.iter().map(|host| uri::host(host, port).ok_or(())).collect()
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Texts::deserialize(deserializer).map(|texts| Self(texts.0))
    }
}

/// Authentication mechanisms by their names.
pub(super) struct Mechanisms(Vec<Mechanism>);

impl<'de> Deserialize<'de> for Mechanisms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = |name: &String| {
            let expected = "PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS or RABBIT-CR-DEMO";
            Mechanism::from_name(name).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(name), &expected))
        };
        Texts::deserialize(deserializer)?.0.iter().map(named).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Mechanisms> for Vec<Mechanism> {
    fn from(mechanisms: Mechanisms) -> Self {
        mechanisms.0
    }
}

/// The value of a client property.
pub(super) struct Property(pub(super) FieldValue);

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Property;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or a truth value")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Property, E> {
                Ok(Property(text.into()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Property, E> {
                Ok(Property(value.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Property, E> {
                Ok(Property(number.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Property, E> {
                let signed = i64::try_from(number);
                signed
                    .map(|number| Property(number.into()))
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

/// Off, on as it is by default, or on with keys.
pub(super) enum Switch<K> {
    Off,
    On(Option<K>),
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Switch<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OffOrOn<K>(PhantomData<K>);

        impl<'de, K: Deserialize<'de>> Visitor<'de> for OffOrOn<K> {
            type Value = Switch<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Switch<K>, E> {
                Ok(if on { Switch::On(None) } else { Switch::Off })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Switch<K>, E> {
                match text {
                    "true" => self.visit_bool(true),
                    "false" => self.visit_bool(false),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<K>, A::Error> {
                K::deserialize(MapAccessDeserializer::new(map)).map(|keys| Switch::On(Some(keys)))
            }
        }

        deserializer.deserialize_any(OffOrOn(PhantomData))
    }
}
