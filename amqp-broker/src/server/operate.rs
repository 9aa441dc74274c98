//! What an operator does to a running broker, and what a test does to make trouble.

use std::time::Instant;

use crate::core::{Core, NotThere, Rule, SessionId};
use crate::{Alarm, Broker, Permissions};

impl Broker {
    /// Sets or ends an alarm: while there is one, nothing is read from connections that publish.
    pub fn set_alarm(&self, alarm: Alarm, on: bool) {
        self.change(|core| core.set_alarm(Instant::now(), alarm, on));
    }

    /// Makes a fault, from now on.
    pub fn add_rule(&self, rule: Rule) {
        self.change(|core| core.add_rule(rule));
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        self.change(Core::clear_rules);
    }

    /// Closes the connections whose client property `connection_name` is `name`, and returns how many they were. An operator
    /// closes with 320.
    pub fn close_connections(&self, name: &str, code: u16, text: &str) -> usize {
        self.each(name, |core, id| core.force_close(id, code, text))
    }

    /// Closes all connections.
    pub fn close_all_connections(&self, code: u16, text: &str) -> usize {
        self.change(|core| {
            let all = core.everybody();
            all.iter().for_each(|id| core.force_close(*id, code, text));
            all.len()
        })
    }

    /// Closes all channels of the connections of this name, and returns how many they were.
    pub fn close_channels(&self, name: &str, code: u16, text: &str) -> usize {
        let mut count = 0;
        self.each(name, |core, id| count += core.force_close_channels(id, code, text));
        count
    }

    /// Drops the connections of this name without a word, and returns how many they were.
    pub fn cut_connections(&self, name: &str) -> usize {
        self.each(name, Core::operate_cut)
    }

    /// Neither reads from nor writes to the connections of this name any more, and returns how many they are.
    pub fn stall_connections(&self, name: &str) -> usize {
        self.each(name, |core, id| core.operate_stall(id, true))
    }

    /// Goes on with those that [`stall_connections`](Self::stall_connections) or a rule has stalled.
    pub fn resume_connections(&self, name: &str) -> usize {
        self.each(name, |core, id| core.operate_stall(id, false))
    }

    /// Cancels all consumers of a queue of the virtual host `/`, as RabbitMQ does when a queue's node goes, and returns how many
    /// they were.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn cancel_consumers(&self, queue: &str) -> Result<usize, NotThere> {
        self.change(|core| core.cancel_consumers("/", queue))
    }

    /// Deletes a queue of the virtual host `/`, whoever uses it.
    ///
    /// # Errors
    /// If there is no such queue.
    pub fn delete_queue(&self, queue: &str) -> Result<(), NotThere> {
        self.change(|core| core.operate_delete_queue("/", queue))
    }

    /// Adds a virtual host in which `guest` may do everything. `false` if there is one of that name.
    pub fn add_vhost(&self, name: &str) -> bool {
        self.change(|core| core.add_vhost(name))
    }

    /// Deletes a virtual host with all that is in it. Its connections are closed.
    ///
    /// # Errors
    /// If there is no such virtual host.
    pub fn delete_vhost(&self, name: &str) -> Result<(), NotThere> {
        self.change(|core| core.delete_vhost(name))
    }

    /// Adds a user who may do nothing yet, or gives one another password.
    pub fn add_user(&self, name: &str, password: &str) {
        self.change(|core| core.add_user(name, password));
    }

    /// Deletes a user. Connections that are open stay open, and may do nothing any more.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<(), NotThere> {
        self.change(|core| core.delete_user(name))
    }

    /// Lets a user do in a virtual host what the patterns say.
    ///
    /// # Errors
    /// If there is no such user or virtual host.
    pub fn set_permissions(&self, user: &str, vhost: &str, permissions: Permissions) -> Result<(), NotThere> {
        self.change(|core| core.set_permissions(user, vhost, permissions))
    }

    /// Lets a user do everything in a virtual host.
    ///
    /// # Errors
    /// If there is no such user or virtual host.
    pub fn allow_everything(&self, user: &str, vhost: &str) -> Result<(), NotThere> {
        self.change(|core| core.allow_everything(user, vhost))
    }

    fn each(&self, name: &str, mut act: impl FnMut(&mut Core, SessionId)) -> usize {
        self.change(|core| {
            let named = core.named(name);
            named.iter().for_each(|id| act(core, *id));
            named.len()
        })
    }
}
