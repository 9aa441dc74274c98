//! A cluster of RabbitMQ nodes, and what happens to it.

use conformance::Result;
use conformance::node::{Cluster, Node};

use crate::script::{Card, Target};

/// One thing that goes wrong and is made good again. At most one node at a time is away: a quorum remains.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    KillTheLeader,
    KillANode,
    RestartANode,
    FreezeANode,
    CloseAllConnections,
    Alarm,
}

/// A cluster, and the queue that all is about.
pub(crate) struct Clustered {
    pub(crate) cluster: Cluster,
    pub(crate) queue: &'static str,
}

impl Target for Clustered {
    type Event = Event;

    fn deck(&self) -> Vec<Card<Event>> {
        vec![
            // Twice as often as anything else.
            |_| Event::KillTheLeader,
            |_| Event::KillTheLeader,
            |_| Event::KillANode,
            |_| Event::RestartANode,
            |_| Event::FreezeANode,
            |_| Event::CloseAllConnections,
            |_| Event::Alarm,
        ]
    }

    fn suffer(&self, event: &Event, place: usize, wait: impl FnOnce()) -> Result<()> {
        let node = &self.cluster[place];
        match event {
            Event::KillTheLeader => self.kill(self.cluster.leader_of(self.queue)?, wait),
            Event::KillANode => self.kill(node, wait),
            Event::RestartANode => {
                node.stop()?;
                wait();
                node.start_again()?;
                self.cluster.await_members()
            }
            Event::FreezeANode => {
                node.freeze()?;
                wait();
                node.thaw()?;
                self.cluster.await_members()
            }
            Event::CloseAllConnections => {
                node.close_all_connections("chaos")?;
                wait();
                Ok(())
            }
            Event::Alarm => {
                node.set_memory_alarm()?;
                wait();
                node.clear_memory_alarm()
            }
        }
    }
}

impl Clustered {
    fn kill(&self, node: &Node, wait: impl FnOnce()) -> Result<()> {
        node.kill();
        wait();
        node.start_again()?;
        self.cluster.await_members()
    }
}
