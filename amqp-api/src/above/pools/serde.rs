//! Pools from whatever serde reads: a table per pool, with the keys of a connection's configuration beside `pool_size`, or the flat
//! keys `amqp_<name>_url` and `amqp_<name>_pool_size`.

use std::fmt;

use amqp_proto::config::Config;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

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
                (None, Value::Pool { config: None, .. }) => {
                    return Err(A::Error::custom(PoolsConfigError::Missing { key: format!("{key}.url") }));
                }
                (None, Value::Pool { config: Some(its), size }) => {
                    let size = size.map(|size| size.size(format!("{key}.pool_size"))).transpose();
                    config = config.insert(key, (*its).into(), size.map_err(A::Error::custom)?);
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
    /// A table.
    Pool {
        /// Unless it does not say where to connect to.
        config: Option<Box<Config>>,
        size: Option<Box<Value>>,
    },
    Other(&'static str),
}

impl Value {
    /// A pool's size: as a number, or, where all values are texts, as a text.
    fn size(&self, key: String) -> Result<usize, PoolsConfigError> {
        let (size, found) = match self {
            Self::Number(number) => (usize::try_from(*number).ok(), number.to_string()),
            Self::Text(text) => (text.trim().parse().ok(), format!("{text:?}")),
            Self::Pool { .. } => (None, "a table".to_owned()),
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

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let (mut size, mut says_where) = (None, false);
        let keys = PoolKeys { map, size: &mut size, says_where: &mut says_where };
        let config = Config::deserialize(MapAccessDeserializer::new(keys))?;
        Ok(Value::Pool { config: says_where.then(|| Box::new(config)), size: size.map(Box::new) })
    }
}

/// The keys of a pool, as those of a connection: the size is put aside.
struct PoolKeys<'a, A> {
    map: A,
    size: &'a mut Option<Value>,
    says_where: &'a mut bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for PoolKeys<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key == "pool_size" {
                *self.size = Some(self.map.next_value()?);
                continue;
            }
            *self.says_where |= ["uri", "url", "hosts"].contains(&key.as_str());
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
