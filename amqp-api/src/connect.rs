//! From what users have at hand to what a connection is made with.

use std::error;
use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;

use amqp_proto::config::Config;
use amqp_proto::error::Error;
use amqp_proto::recovery::Recorded;
use amqp_proto::sasl::Credentials;

use crate::connection::Connection;
use crate::credentials::ProvideCredentials;
use crate::driver::hooks::{Filter, Hook};
#[cfg(feature = "tls")]
use crate::driver::tls::Base;
use crate::resolver::Resolve;

/// What a connection is made with: a [`Config`], which is plain data, and what the program itself has to do meanwhile.
///
/// A URI and a [`Config`] are enough for most connections, and become this by [`IntoConnectOptions`].
///
/// ```no_run
/// # async fn connect(_: impl amqp_api::IntoConnectOptions) -> Result<(), amqp_api::Error> { Ok(()) }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_api::{Address, Config, ConnectOptions};
///
/// let config = Config::from_uri("amqp://broker.internal")?;
/// let options = ConnectOptions::new(config).resolver(|address: Address| async move {
///     println!("looking for {}", address.host);
///     Ok(vec![([192, 0, 2, 1], address.port).into()])
/// });
/// let connection = connect(options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) config: Config,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) credentials: Option<Arc<dyn ProvideCredentials>>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) filter: Option<Filter>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Base,
}

impl ConnectOptions {
    /// This configuration, and nothing else.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            resolver: None,
            credentials: None,
            hooks: Vec::new(),
            filter: None,
            #[cfg(feature = "tls")]
            tls: Base::default(),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Finds the addresses of hosts in this way, in place of the runtime's. It is asked anew for each host that is tried,
    /// and has [`Config::connect_timeout`] to answer.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Asks for the credentials each time that they are needed, in place of those of the configuration: whenever a transport
    /// is connected, and, if they [expire](Credentials::expires_in), when four fifths of their lifetime are over. The new
    /// password is then given to the broker by `connection.update-secret`. If that fails it is tried again, and
    /// [`Connection::events`](crate::Connection::events) tells. An answer has [`Config::connect_timeout`] to come.
    ///
    /// ```no_run
    /// # async fn connect(_: impl amqp_api::IntoConnectOptions) -> Result<(), amqp_api::Error> { Ok(()) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// use amqp_api::{Config, ConnectOptions, Credentials};
    ///
    /// async fn token() -> Result<(String, Duration), io::Error> {
    ///     Ok(("eyJhbGciOi...".to_owned(), Duration::from_secs(300)))
    /// }
    ///
    /// let options = ConnectOptions::new(Config::new("broker.example.org")).credentials_provider(|| async {
    ///     let (token, lifetime) = token().await?;
    ///     Ok::<_, io::Error>(Credentials::new("", token).expires_in(lifetime))
    /// });
    /// let connection = connect(options).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials_provider(mut self, provider: impl ProvideCredentials) -> Self {
        self.credentials = Some(Arc::new(provider));
        self
    }

    /// The same by a plain function, which is called where the connection is made, and for a renewal in a task of its own:
    /// in an async runtime it must not block.
    ///
    /// ```no_run
    /// # fn connect(_: impl amqp_api::IntoConnectOptions) -> Result<(), amqp_api::Error> { Ok(()) }
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use amqp_api::{Config, ConnectOptions, Credentials};
    ///
    /// let options = ConnectOptions::new(Config::new("broker.example.org"))
    ///     .credentials_from(|| std::env::var("AMQP_PASSWORD").map(|password| Credentials::new("importer", password)));
    /// let connection = connect(options)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials_from<F, E>(self, provider: F) -> Self
    where
        F: Fn() -> Result<Credentials, E> + Send + Sync + 'static,
        E: Into<Box<dyn error::Error + Send + Sync>> + Send + 'static,
    {
        self.credentials_provider(move || ready(provider()))
    }

    /// Runs this on every connect: the first time, and each time when a lost connection comes back. Hooks are run one after
    /// the other, in the order in which they were given, and all are done before the connection says that it is connected.
    /// They may open channels and declare, consume and publish; what they declare is not recorded by the connection, as they
    /// will be run again. A hook that fails fails the attempt: the first connect ends with its error, and a lost connection
    /// tries again later.
    ///
    /// A hook has no deadline of its own, but its calls have theirs.
    ///
    /// ```no_run
    /// # async fn connect(_: impl amqp_api::IntoConnectOptions) -> Result<(), amqp_api::Error> { Ok(()) }
    /// # async fn example() -> Result<(), amqp_api::Error> {
    /// use amqp_api::{Config, ConnectOptions, Connection, Exchange};
    ///
    /// let options = ConnectOptions::new(Config::new("localhost")).on_connect(|connection: Connection| async move {
    ///     let channel = connection.channel().await?;
    ///     channel.exchange_declare(Exchange::topic("events")).await?;
    ///     Ok(())
    /// });
    /// let connection = connect(options).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_connect<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.hooks.push(Arc::new(move |connection| Box::pin(hook(connection))));
        self
    }

    /// Asks before the exchanges, queues and bindings of a lost connection are declared again, each by itself: what this
    /// says no to is left out, now and later.
    ///
    /// ```
    /// use amqp_api::{Config, ConnectOptions, Recorded};
    ///
    /// let options = ConnectOptions::new(Config::default())
    ///     .topology_filter(|recorded| !matches!(recorded, Recorded::Queue(queue) if queue.exclusive));
    /// ```
    #[must_use]
    pub fn topology_filter(mut self, keeps: impl Fn(&Recorded) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(keeps));
        self
    }

    /// The cryptography that TLS is made of, in place of ring's; by the feature `tls`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn crypto_provider(mut self, provider: impl Into<Arc<rustls::crypto::CryptoProvider>>) -> Self {
        self.tls = Base::Provider(provider.into());
        self
    }

    /// A whole configuration of rustls, for what [`TlsOptions`](crate::TlsOptions) cannot say: a verifier of one's own, a
    /// key in hardware, ALPN. Of those options only the server name may be set beside it, and the connection has to be by
    /// `amqps://`. By the feature `tls`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn rustls_config(mut self, config: impl Into<Arc<rustls::ClientConfig>>) -> Self {
        self.tls = Base::Config(config.into());
        self
    }
}

impl From<Config> for ConnectOptions {
    fn from(config: Config) -> Self {
        Self::new(config)
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("config", &self.config)
            .field("resolver", &self.resolver.as_ref().map(|_| format_args!("..")))
            .field("credentials", &self.credentials.as_ref().map(|_| format_args!("..")))
            .finish()
    }
}

/// What a connection can be made from: a URI as text, a [`Config`], or [`ConnectOptions`].
pub trait IntoConnectOptions {
    /// The options.
    ///
    /// # Errors
    ///
    /// If the URI is wrong.
    fn into_connect_options(self) -> Result<ConnectOptions, Error>;
}

impl IntoConnectOptions for ConnectOptions {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        Ok(self)
    }
}

impl IntoConnectOptions for &ConnectOptions {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        Ok(self.clone())
    }
}

impl IntoConnectOptions for Config {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        Ok(ConnectOptions::new(self))
    }
}

impl IntoConnectOptions for &Config {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        self.clone().into_connect_options()
    }
}

impl IntoConnectOptions for &str {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        Config::from_uri(self)?.into_connect_options()
    }
}

impl IntoConnectOptions for String {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        self.as_str().into_connect_options()
    }
}

impl IntoConnectOptions for &String {
    fn into_connect_options(self) -> Result<ConnectOptions, Error> {
        self.as_str().into_connect_options()
    }
}
