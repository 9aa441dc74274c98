//! What a case gets to work with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::lease::{Lease, Leases};
use super::subject::Subject;
use super::watch::Watch;
use super::{Case, alone};
use crate::node::Cluster;
use crate::proxy::Proxy;
use crate::{Failure, Options, Result};

/// The node that the cases of one test binary share. It is started when the first of them asks for it.
#[derive(Debug, Default)]
pub(super) struct Broker {
    node: OnceLock<Result<Subject>>,
    leases: Arc<Leases>,
}

impl Broker {
    fn node(&self) -> Result<&Subject> {
        self.node.get_or_init(|| Subject::start(Options::new())).as_ref().map_err(Clone::clone)
    }

    /// The node, if it was ever asked for and started.
    pub(super) fn started(&self) -> Option<&Subject> {
        self.node.get()?.as_ref().ok()
    }
}

/// A case's view of the run: the broker that it shares with other cases, names of its own, and more on demand.
///
/// What a case does must not disturb the others on the shared node: no alarm, no forced close of all connections, no
/// restart. One that needs these takes a [`private_node`](Self::private_node).
#[derive(Debug)]
pub struct Context {
    case: Case,
    broker: Arc<Broker>,
    watch: Arc<Watch>,
}

impl Context {
    pub(super) fn new(case: Case, broker: Arc<Broker>, watch: Arc<Watch>) -> Self {
        Self { case, broker, watch }
    }

    /// The shared node. It starts when the first case asks for it; that does not count against the case's time limit.
    ///
    /// # Panics
    /// If it does not start: that is a failure of the case.
    pub fn node(&self) -> &Subject {
        let _starting = self.watch.pause();
        #[expect(clippy::panic, reason = "a case fails by panicking, and without a broker so do all")]
        self.broker.node().unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The URI of the shared node's default virtual host, for `guest`.
    pub fn uri(&self) -> String {
        self.node().uri()
    }

    /// The address of the shared node.
    pub fn address(&self) -> SocketAddr {
        self.node().address()
    }

    /// The name of the case, a good name for its connections: [`Subject::connections_named`] finds them by it.
    pub fn case(&self) -> &'static str {
        self.case.name
    }

    /// A name for a queue, an exchange or anything else that no other case uses; the same for the same `what`.
    ///
    /// It is lowercase with single underscores where `what` is, so it also names task queues.
    pub fn name(&self, what: &str) -> String {
        format!("{}_{what}", self.case.name)
    }

    /// The file of certificate authorities that the platform trusts, as far as the process of an [`alone`](Case::alone) case
    /// is concerned. There is none before the case writes it.
    ///
    /// # Errors
    /// If the case has no process of its own: the platform is then what it is.
    pub fn platform_roots(&self) -> Result<PathBuf> {
        alone::trusted_roots().ok_or_else(|| Failure::new("this case has no process of its own"))
    }

    /// A proxy in front of the shared node, to make faults with.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn proxy(&self) -> Result<Proxy> {
        Proxy::start(self.address())
    }

    /// A node for this case alone, ended when the lease is dropped. It takes seconds to start, and few cases have one
    /// at a time; none of this counts against the case's time limit. It blocks the thread.
    ///
    /// # Errors
    /// If it does not start.
    pub fn private_node(&self, options: Options) -> Result<Lease<Subject>> {
        let _starting = self.watch.pause();
        self.broker.leases.lend(1, || Subject::start(options))
    }

    /// A cluster for this case alone, on the same terms as a [`private_node`](Self::private_node).
    ///
    /// # Errors
    /// If it does not start, or the suite is not on RabbitMQ.
    pub fn private_cluster(&self, size: u8, options: &Options) -> Result<Lease<Cluster>> {
        self.node().rabbitmq()?;
        let _starting = self.watch.pause();
        self.broker.leases.lend(usize::from(size), || Cluster::start(size, options))
    }
}
