//! From what users have at hand to a configuration.

use amqp_proto::config::Config;
use amqp_proto::error::Error;

/// What a connection can be made from: a URI as text, or a [`Config`].
pub trait IntoConfig {
    /// The configuration.
    ///
    /// # Errors
    ///
    /// If the URI is wrong.
    fn into_config(self) -> Result<Config, Error>;
}

impl IntoConfig for Config {
    fn into_config(self) -> Result<Config, Error> {
        Ok(self)
    }
}

impl IntoConfig for &Config {
    fn into_config(self) -> Result<Config, Error> {
        Ok(self.clone())
    }
}

impl IntoConfig for &str {
    fn into_config(self) -> Result<Config, Error> {
        Config::from_uri(self).map_err(Error::from)
    }
}

impl IntoConfig for String {
    fn into_config(self) -> Result<Config, Error> {
        self.as_str().into_config()
    }
}

impl IntoConfig for &String {
    fn into_config(self) -> Result<Config, Error> {
        self.as_str().into_config()
    }
}
