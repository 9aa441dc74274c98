//! Where a message goes: from an exchange over other exchanges to queues.

use amqp_proto::wire::ShortStr;

use super::exchange::Destination;
use super::message::Message;
use super::name::Name;
use super::queue::QueueId;
use super::reply::{is_reply_queue, is_well_formed};
use super::{Core, SessionId};

/// Where a message goes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Each once, in the order of their declaration.
    pub(super) queues: Vec<QueueId>,
    /// Channels that wait for it as a direct reply.
    pub(super) replies: Vec<(SessionId, u16)>,
    /// Whether it is one, even if nobody waits any more.
    pub(super) is_reply: bool,
}

impl Core {
    /// Where a message of this virtual host goes that was published to its exchange.
    pub(super) fn route(&self, vhost: &Name, message: &Message) -> Routes {
        let mut routes = Routes::default();
        let Some(vhost) = self.vhosts.get(vhost.as_bytes()) else { return routes };
        if message.exchange().is_empty() {
            for key in message.routing_keys() {
                match vhost.queues.get(key) {
                    Some(queue) => routes.queues.push(*queue),
                    None if is_reply_queue(key) => {
                        routes.replies.extend(self.reply_queues.get(key));
                        routes.is_reply |= is_well_formed(key);
                    }
                    None => {}
                }
            }
            once_each(&mut routes.queues);
            return routes;
        }
        let mut seen: Vec<&Name> = Vec::new();
        let mut waiting: Vec<&[u8]> = vec![message.exchange().as_bytes()];
        while let Some(exchange) = waiting.pop().and_then(|name| vhost.exchanges.get(name)) {
            if seen.contains(&&exchange.name) {
                continue;
            }
            seen.push(&exchange.name);
            let mut found_any = false;
            // What it borrows lives as long as the virtual host.
            for destination in exchange.destinations(message) {
                found_any = true;
                match destination {
                    Destination::Queue(queue) => routes.queues.push(*queue),
                    Destination::Exchange(name) => waiting.push(name.as_bytes()),
                }
            }
            if !found_any && let Some(alternate) = &exchange.alternate {
                waiting.push(alternate.as_bytes());
            }
            // One that does not exist ends nothing.
            while waiting.last().is_some_and(|name| !vhost.exchanges.contains_key(*name)) {
                waiting.pop();
            }
        }
        once_each(&mut routes.queues);
        routes
    }
}

fn once_each(queues: &mut Vec<QueueId>) {
    if queues.len() > 1 {
        queues.sort_unstable();
        queues.dedup();
    }
}

/// A short string of these bytes, which came from one.
pub(super) fn short(bytes: &[u8]) -> ShortStr<'_> {
    ShortStr::from_bytes(bytes).unwrap_or_default()
}
