//! Which pools there are.

use std::collections::BTreeMap;
use std::fmt;

use amqp_proto::error::Error;

use crate::connect::{ConnectOptions, IntoConnectOptions};

/// The size of a pool whose configuration does not say one.
const SIZE: usize = 5;

/// Which pools an application has: the name of each, what its connections are made with, and how many these may be.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use amqp_api::PoolsConfig;
///
/// // By the program,
/// let config = PoolsConfig::default().pool("publish", "amqp://localhost", 5)?.pool("listen", "amqp://localhost", 2)?;
/// // or from the environment: AMQP_PUBLISH_URL, AMQP_PUBLISH_POOL_SIZE, and so on.
/// let config = PoolsConfig::from_vars(std::env::vars())?;
/// # Ok(())
/// # }
/// ```
///
/// By the feature `serde` it can be deserialized: from a table per pool, with all the keys of a [`Config`](crate::Config) beside
/// `pool_size`, and from the same keys as the environment's.
///
/// ```toml
/// [publish]
/// url = "amqp://localhost"
/// pool_size = 5
///
/// [listen]
/// hosts = ["one.example", "two.example"]
/// recovery = { max_delay = "5s" }
/// ```
///
/// ```toml
/// amqp_publish_url = "amqp://localhost"
/// amqp_publish_pool_size = 5
/// amqp_listen_url = "amqp://localhost"
/// ```
///
/// A pool without a size has 5 connections. Passwords are never shown.
#[derive(Clone, Default)]
pub struct PoolsConfig {
    pub(crate) pools: BTreeMap<String, PoolConfig>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct PoolConfig {
    pub(crate) options: ConnectOptions,
    pub(crate) size: usize,
}

/// What is wrong with the configuration of pools.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PoolsConfigError {
    /// A key is missing.
    Missing {
        /// The key: `amqp_publish_url`, for example, or `publish.url`.
        key: String,
    },
    /// A pool's size is no whole number of at least 1.
    Size {
        /// Its key.
        key: String,
        /// What stands there.
        found: String,
    },
    /// A URL cannot be used.
    Url {
        /// Its key.
        key: String,
        /// Why.
        error: Error,
    },
    /// There is no such key, or it stands for something else.
    Unknown {
        /// The key.
        key: String,
    },
}

impl fmt::Display for PoolsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "the key `{key}` is missing"),
            Self::Size { key, found } => {
                write!(f, "`{key}` has to be the size of a pool, a whole number of at least 1, and not {found}")
            }
            Self::Url { key, error } => write!(f, "`{key}` is no URL to connect to: {error}"),
            Self::Unknown { key } => write!(f, "`{key}` is not understood"),
        }
    }
}

impl std::error::Error for PoolsConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What stands in this error's own text is not said again.
            Self::Url { error, .. } => error.source(),
            _ => None,
        }
    }
}

impl PoolsConfig {
    /// Adds a pool, or replaces the one of this name.
    ///
    /// # Errors
    ///
    /// [`PoolsConfigError::Url`] if the options are a URL that is wrong; [`PoolsConfigError::Size`] for 0.
    pub fn pool(
        mut self,
        name: impl Into<String>,
        options: impl IntoConnectOptions,
        size: usize,
    ) -> Result<Self, PoolsConfigError> {
        let name = name.into();
        let options = options.into_connect_options();
        let options = options.map_err(|error| PoolsConfigError::Url { key: format!("{name}.url"), error })?;
        if size == 0 {
            return Err(PoolsConfigError::Size { key: format!("{name}.pool_size"), found: "0".to_owned() });
        }
        self.pools.insert(name, PoolConfig { options, size });
        Ok(self)
    }

    /// The pools that variables tell of, those of the environment for example: `AMQP_<NAME>_URL`, and, if one likes,
    /// `AMQP_<NAME>_POOL_SIZE`, in capitals or not. Other variables are left alone.
    ///
    /// ```
    /// # use amqp_api::{PoolsConfig, PoolsConfigError};
    /// let variables = [("AMQP_LISTEN_URL", "amqp://localhost"), ("AMQP_PUBLISH_POOL_SIZE", "5"), ("LANG", "C")];
    /// let error = PoolsConfig::from_vars(variables).unwrap_err();
    /// assert!(matches!(error, PoolsConfigError::Missing { key } if key == "amqp_publish_url"));
    /// ```
    ///
    /// # Errors
    ///
    /// A size without a URL, or one that is no number; a URL that is wrong.
    pub fn from_vars<K: AsRef<str>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, PoolsConfigError> {
        let mut flat = Flat::default();
        for (key, value) in variables {
            let key = key.as_ref().to_ascii_lowercase();
            if let Some((name, part)) = Part::of(&key) {
                match part {
                    Part::Url => flat.url(name, value.into()),
                    Part::Size => {
                        let value = value.into();
                        let size = value.trim().parse().ok().filter(|size| *size > 0);
                        flat.size(name, size.ok_or(PoolsConfigError::Size { key, found: format!("{value:?}") })?);
                    }
                }
            }
        }
        flat.finish(Self::default())
    }

    /// Adds a pool whose keys are given as they stand in the source.
    fn read(self, name: String, url: (String, Option<String>), size: Option<usize>) -> Result<Self, PoolsConfigError> {
        let (key, Some(url)) = url else { return Err(PoolsConfigError::Missing { key: url.0 }) };
        let options = url.into_connect_options().map_err(|error| PoolsConfigError::Url { key, error })?;
        Ok(self.insert(name, options, size))
    }

    /// Adds a pool of this size, or the usual one.
    pub(super) fn insert(mut self, name: String, options: ConnectOptions, size: Option<usize>) -> Self {
        self.pools.insert(name, PoolConfig { options, size: size.unwrap_or(SIZE) });
        self
    }
}

/// Which of a pool's two flat keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Url,
    Size,
}

impl Part {
    /// `amqp_<name>_url` or `amqp_<name>_pool_size`.
    pub(super) fn of(key: &str) -> Option<(String, Self)> {
        let rest = key.strip_prefix("amqp_")?;
        let url = rest.strip_suffix("_url").map(|name| (name, Self::Url));
        let (name, part) = url.or_else(|| Some((rest.strip_suffix("_pool_size")?, Self::Size)))?;
        (!name.is_empty()).then(|| (name.to_owned(), part))
    }
}

/// Pools by their flat keys, as far as they are known.
#[derive(Default)]
pub(super) struct Flat(BTreeMap<String, (Option<String>, Option<usize>)>);

impl Flat {
    pub(super) fn url(&mut self, name: String, url: String) {
        self.0.entry(name).or_default().0 = Some(url);
    }

    pub(super) fn size(&mut self, name: String, size: usize) {
        self.0.entry(name).or_default().1 = Some(size);
    }

    pub(super) fn finish(self, config: PoolsConfig) -> Result<PoolsConfig, PoolsConfigError> {
        self.0.into_iter().try_fold(config, |config, (name, (url, size))| {
            let key = format!("amqp_{name}_url");
            config.read(name, (key, url), size)
        })
    }
}

impl fmt::Debug for PoolsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.pools).finish()
    }
}
