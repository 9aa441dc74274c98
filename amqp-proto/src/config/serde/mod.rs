//! A configuration from whatever serde reads, by the feature `serde`: see [`Config`], whose keys these are.
//!
//! Every key is that of a field, and may be left out. Values are as lenient as text is, because that is what variables of
//! the environment are made of: `values` has those that are more than a number or a text.

mod values;

use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use self::values::{Beat, Files, Hosts, Mechanisms, OneFile, Property, Secret, Span, Switch, VerifyName};
use super::{Config, Limits, Recovery, TcpOptions, Timeouts, TlsOptions};
use crate::sasl::Credentials;
use crate::wire::FieldTable;

/// For each type the keys that there are, and what they do to what was there before. A key that is unknown is an error.
macro_rules! keys {
    ($($keys:ident of $target:ident { $($key:ident: $value:ty),* $(,)? })*) => { $(
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $keys {
            $($key: Option<$value>),*
        }

        impl $keys {
            fn apply(self, target: &mut $target) {
                $(if let Some(value) = self.$key {
                    target.$key = value.into();
                })*
            }
        }

        /// What is left out is the default. By the feature `serde`.
        impl<'de> Deserialize<'de> for $target {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut target = Self::default();
                $keys::deserialize(deserializer)?.apply(&mut target);
                Ok(target)
            }
        }
    )* };
}

keys! {
    TimeoutKeys of Timeouts { connect: Span, handshake: Span, call: Span, confirm: Span, close: Span, room: Span }
    LimitKeys of Limits { max_body: u64, publish_buffer: usize, receive_buffer: usize }
    TcpKeys of TcpOptions { nodelay: bool, keepalive: Span, send_buffer_size: usize, receive_buffer_size: usize }
    RecoveryKeys of Recovery {
        first_delay: Span, max_delay: Span, max_attempts: u32, retry_first_connect: bool, topology: bool,
    }
    TlsKeys of TlsOptions { ca: Files, certificate: OneFile, key: OneFile, verify: VerifyName, server_name: String }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigKeys {
    #[serde(alias = "url")]
    uri: Option<String>,
    hosts: Option<Hosts>,
    shuffle_hosts: Option<bool>,
    tls: Option<Switch<TlsKeys>>,
    virtual_host: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    mechanisms: Option<Mechanisms>,
    locale: Option<String>,
    connection_name: Option<String>,
    client_properties: Option<BTreeMap<String, Property>>,
    channel_max: Option<u16>,
    frame_max: Option<u32>,
    heartbeat: Option<Beat>,
    timeouts: Option<TimeoutKeys>,
    limits: Option<LimitKeys>,
    prefetch: Option<u16>,
    tcp: Option<TcpKeys>,
    recovery: Option<Switch<RecoveryKeys>>,
}

impl ConfigKeys {
    /// The URI first, and then whatever the other keys say in place of it.
    fn config<E: Error>(self) -> Result<Config, E> {
        let mut config = match &self.uri {
            Some(uri) => Config::from_uri(uri).map_err(|error| E::custom(format_args!("`uri`: {error}")))?,
            None => Config::default(),
        };
        config = match self.tls {
            Some(Switch::Off) if config.tls.is_some() => return Err(E::custom("`tls` is off, and `uri` is of amqps")),
            None | Some(Switch::Off) => config,
            Some(Switch::On(keys)) => {
                let mut tls = config.tls.take().unwrap_or_default();
                if let Some(keys) = keys {
                    keys.apply(&mut tls);
                }
                config.tls(tls)
            }
        };
        if let Some(hosts) = self.hosts {
            config.hosts = hosts.addresses(config.tls.is_some()).map_err(|()| {
                E::custom(
                    "`hosts` have to be names or addresses, each with its port or without, such as \"[::1]:5672\"",
                )
            })?;
        }
        if self.user.is_some() || self.password.is_some() {
            let user = self.user.as_deref().unwrap_or(config.credentials.user());
            let password = self.password.as_ref().map_or(config.credentials.password(), Secret::reveal);
            config.credentials = Credentials::new(user, password);
        }
        if let Some(properties) = self.client_properties {
            let mut table = FieldTable::new();
            for (key, value) in properties {
                let inserted = table.insert(&key, value.0);
                inserted.map_err(|error| E::custom(format_args!("`client_properties`: {error}")))?;
            }
            config.client_properties = table;
        }
        match self.recovery {
            None => {}
            Some(Switch::Off) => config.recovery = None,
            Some(Switch::On(keys)) => {
                let recovery = config.recovery.get_or_insert_default();
                if let Some(keys) = keys {
                    keys.apply(recovery);
                }
            }
        }
        macro_rules! set {
            ($($key:ident),*) => { $(if let Some(value) = self.$key { config.$key = value.into(); })* };
        }
        set!(shuffle_hosts, virtual_host, mechanisms, locale, channel_max, frame_max, heartbeat, prefetch);
        config.connection_name = self.connection_name.or(config.connection_name);
        macro_rules! apply {
            ($($key:ident),*) => { $(if let Some(keys) = self.$key { keys.apply(&mut config.$key); })* };
        }
        apply!(timeouts, limits, tcp);
        Ok(config)
    }
}

/// A table of keys, or a URI as a text. By the feature `serde`; see [`Config`].
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UriOrKeys)
    }
}

struct UriOrKeys;

impl<'de> Visitor<'de> for UriOrKeys {
    type Value = Config;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the URI of a broker, or the keys of a connection's configuration")
    }

    fn visit_str<E: Error>(self, uri: &str) -> Result<Config, E> {
        Config::from_uri(uri).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Config, A::Error> {
        ConfigKeys::deserialize(MapAccessDeserializer::new(map))?.config()
    }
}
