//! Several nodes that form one cluster.

use std::net::Ipv4Addr;
use std::ops::Index;
use std::slice::Iter;
use std::time::Duration;

use super::options::Distribution;
use super::place::token;
use super::{Node, Options, port};
use crate::{Failure, Result, wait};

/// How long a node may take to see the others.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// A RabbitMQ cluster on this machine. Its nodes share a cookie and a distribution port, and have each a loopback
/// address of their own for it (`127.0.0.1`, `127.0.0.2` and so on, which Linux has without being told). AMQP is
/// spoken on `127.0.0.1`, at another port for each.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `size` nodes, one after the other, each with `options`, and waits until all know each other.
    ///
    /// # Errors
    /// If `size` is not between 1 and 9, or a node does not start or join.
    pub fn start(size: u8, options: &Options) -> Result<Self> {
        if !(1..=9).contains(&size) {
            return Err(Failure::new(format!("a cluster of {size} nodes: 1 to 9 are possible")));
        }
        let hosts: Vec<Ipv4Addr> = (1..=size).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
        let (port, cookie) = (port::free_on_all(&hosts)?, token());
        let mut cluster = Self { nodes: Vec::with_capacity(hosts.len()) };
        for host in hosts {
            let distribution = Distribution { host, port: Some(port), cookie: cookie.clone() };
            let node = Node::start(options.clone().distribution(distribution))?;
            if let Some(first) = cluster.nodes.first() {
                node.join(first)?;
            }
            cluster.nodes.push(node);
        }
        cluster.await_members()?;
        Ok(cluster)
    }

    /// Its nodes, in the order in which they were started.
    pub fn iter(&self) -> Iter<'_, Node> {
        self.nodes.iter()
    }

    /// How many nodes it was started with.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// One URI for all nodes: the hosts are separated by commas.
    pub fn uri(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("amqp://guest:guest@{}", hosts.join(","))
    }

    /// Waits until every node that runs sees every other that runs.
    ///
    /// # Errors
    /// If they do not within a minute.
    pub fn await_members(&self) -> Result<()> {
        let running = self.nodes.iter().filter(|node| node.pid().is_some()).count();
        let members = "length([N || N <- [node() | nodes()], rabbit:is_running(N)])";
        wait::until_true(JOIN_TIMEOUT, &format!("{running} nodes to form a cluster"), || {
            let sees_all = |node: &Node| node.evaluate(members).is_ok_and(|count| count == running.to_string());
            self.nodes.iter().filter(|node| node.pid().is_some()).all(sees_all)
        })
    }

    /// The node on which the leader of a quorum queue of the default virtual host runs.
    ///
    /// # Errors
    /// If no node of this cluster knows one.
    pub fn leader_of(&self, queue: &str) -> Result<&Node> {
        let query = format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup({{resource, <<\"/\">>, queue, {}}}), \
             {{ok, _, {{_, Leader}}}} = ra:members(amqqueue:get_pid(Queue)), Leader",
            super::manage::binary(queue)
        );
        wait::until(JOIN_TIMEOUT, &format!("a leader of {queue}"), || {
            let answers = self.nodes.iter().filter_map(|node| node.evaluate(&query).ok());
            answers.filter_map(|leader| self.named(&leader)).next()
        })
    }

    /// The node of this Erlang name, with or without the quotes that Erlang prints it in.
    fn named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name.trim_matches('\'') && node.pid().is_some())
    }
}

impl Node {
    /// Joins the cluster of another node, as `rabbitmqctl join_cluster` does. What this one had is gone then.
    fn join(&self, other: &Self) -> Result<()> {
        self.stop_app()?;
        let other = other.name();
        // The function moved from one module to the other between RabbitMQ 3.10 and 4.0.
        let joined = self.evaluate(&format!(
            "case code:ensure_loaded(rabbit_db_cluster) of \
             {{module, _}} -> rabbit_db_cluster:join('{other}', disc); \
             _ -> rabbit_mnesia:join_cluster('{other}', disc) end"
        ))?;
        if joined != "ok" {
            return Err(Failure::new(format!("{} cannot join {other}: {joined}", self.name())));
        }
        self.start_app()
    }
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, index: usize) -> &Node {
        &self.nodes[index]
    }
}

impl<'a> IntoIterator for &'a Cluster {
    type Item = &'a Node;
    type IntoIter = Iter<'a, Node>;

    fn into_iter(self) -> Iter<'a, Node> {
        self.iter()
    }
}
