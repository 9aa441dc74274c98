//! In place of `tls`, where the feature of that name is off.

use std::marker::PhantomData;

use amqp_proto::config::Address;
use amqp_proto::error::Error;

use super::Io;
use crate::connect::ConnectOptions;

/// No TLS.
pub(super) struct Tls<'a>(PhantomData<&'a ConnectOptions>);

impl<'a> Tls<'a> {
    pub(super) fn new(options: &'a ConnectOptions) -> Result<Self, Error> {
        match options.config.tls {
            Some(_) => Err(Error::invalid("amqps:// needs the cargo feature `tls` of this crate, which is off")),
            None => Ok(Self(PhantomData)),
        }
    }

    #[expect(clippy::unused_self, reason = "the other one has something to look at")]
    pub(super) fn over(&self, io: Box<dyn Io>, _: &Address) -> Result<Box<dyn Io>, Error> {
        Ok(io)
    }
}

#[cfg(test)]
mod tests {
    use amqp_proto::config::Config;

    use super::*;

    #[test]
    fn f18_tls_without_its_feature_is_an_error_that_names_the_feature() {
        let secure = ConnectOptions::new(Config::from_uri("amqps://broker").unwrap());
        let error = Tls::new(&secure).err().unwrap();
        assert!(error.to_string().contains("feature `tls`"), "{error}");
        assert!(Tls::new(&ConnectOptions::new(Config::new("broker"))).is_ok());
    }
}
