//! Where credentials come from that are not the same for ever: a vault, an authorization server.

use std::error;
use std::future::Future;

use amqp_proto::error::{Error, ErrorKind};
use amqp_proto::sasl::Credentials;

use crate::driver::BoxFuture;

/// Gives the credentials of a connection, each time that they are needed.
///
/// Closures do it: `|| async { Ok::<_, io::Error>(Credentials::new("", token().await?)) }`. See
/// [`ConnectOptions::credentials_provider`](crate::ConnectOptions::credentials_provider).
pub trait ProvideCredentials: Send + Sync + 'static {
    /// The credentials to log in with now. If they [expire](Credentials::expires_in), they are asked for again before.
    ///
    /// # Errors
    ///
    /// If there are none to be had: [`ErrorKind::Credentials`], whose text must hold no secret.
    fn credentials(&self) -> BoxFuture<Result<Credentials, Error>>;
}

impl<F, R, E> ProvideCredentials for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Credentials, E>> + Send + 'static,
    E: Into<Box<dyn error::Error + Send + Sync>>,
{
    fn credentials(&self) -> BoxFuture<Result<Credentials, Error>> {
        let credentials = self();
        Box::pin(async move {
            credentials.await.map_err(|error| Error::new(ErrorKind::Credentials(error.into().to_string())))
        })
    }
}
