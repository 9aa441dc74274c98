//! Pools from whatever serde reads: a table per pool, or the flat keys `amqp_<name>_url` and `amqp_<name>_pool_size`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::config::{Flat, Part, PoolsConfig, PoolsConfigError};

/// A key that begins with `amqp_` and is neither of the two is an error, because it is one that was misspelt. Other values
/// that are no tables are left alone: the configuration may be that of a whole application.
impl<'de> Deserialize<'de> for PoolsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pools)
    }
}

struct Pools;

impl<'de> Visitor<'de> for Pools {
    type Value = PoolsConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pools by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PoolsConfig, A::Error> {
        let (mut flat, mut config) = (Flat::default(), PoolsConfig::default());
        while let Some(key) = map.next_key::<String>()? {
            let part = Part::of(&key);
            match (part, map.next_value::<Value>()?) {
                (Some((name, Part::Url)), Value::Text(url)) => flat.url(name, url),
                (Some((name, Part::Size)), value) => flat.size(name, value.size(key).map_err(A::Error::custom)?),
                (None, Value::Pool(url, size)) => {
                    let size = size.map(|size| size.size(format!("{key}.pool_size"))).transpose();
                    let (url, size) = ((format!("{key}.url"), url), size.map_err(A::Error::custom)?);
                    config = config.read(key, url, size).map_err(A::Error::custom)?;
                }
                (None, _) if !key.starts_with("amqp_") => {}
                _ => return Err(A::Error::custom(PoolsConfigError::Unknown { key })),
            }
        }
        flat.finish(config).map_err(A::Error::custom)
    }
}

/// What stands behind a key.
enum Value {
    Text(String),
    Number(i128),
    /// A table: its URL and its size, if it has them.
    Pool(Option<String>, Option<Box<Value>>),
    Other(&'static str),
}

impl Value {
    /// A pool's size: as a number, or, where all values are texts, as a text.
    fn size(&self, key: String) -> Result<usize, PoolsConfigError> {
        let (size, found) = match self {
            Self::Number(number) => (usize::try_from(*number).ok(), number.to_string()),
            Self::Text(text) => (text.trim().parse().ok(), format!("{text:?}")),
            Self::Pool(..) => (None, "a table".to_owned()),
            Self::Other(found) => (None, (*found).to_owned()),
        };
        size.filter(|size| *size > 0).ok_or(PoolsConfigError::Size { key, found })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other("a fraction"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other("a truth value"))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Other("nothing"))
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut url, mut size) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), map.next_value::<Value>()?) {
                ("url", Value::Text(text)) => url = Some(text),
                ("pool_size", value) => size = Some(Box::new(value)),
                _ => return Err(A::Error::custom(PoolsConfigError::Unknown { key })),
            }
        }
        Ok(Value::Pool(url, size))
    }
}
