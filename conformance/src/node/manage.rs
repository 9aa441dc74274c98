//! Management calls: what an operator would do to a broker while clients are at work.

use std::time::Duration;

use super::Node;
use crate::{Failure, Result, wait};

/// Who does it, as the broker's log names it.
const ACTOR: &str = "<<\"conformance\">>";

/// How long the effects of a call may take that are not there when it returns.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(30);

impl Node {
    /// Closes every connection with code 320 and `reason`, as an operator does before maintenance.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn close_all_connections(&self, reason: &str) -> Result<()> {
        self.close("[P || P <- rabbit_networking:connections()]", reason).map(|_| ())
    }

    /// Closes with code 320 the connections whose client property `connection_name` is `name`, and returns how many
    /// they were. Unlike [`Node::close_all_connections`] it leaves the other cases on a shared node alone.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn close_connections(&self, name: &str, reason: &str) -> Result<usize> {
        let pids = format!(
            "[P || [{{pid, P}}, {{client_properties, C}}] <- \
             rabbit_networking:connection_info_all([pid, client_properties]), is_list(C), \
             lists:keymember({}, 3, [{{N, T, V}} || {{<<\"connection_name\">> = N, T, V}} <- C])]",
            binary(name)
        );
        self.close(&pids, reason)
    }

    fn close(&self, pids: &str, reason: &str) -> Result<usize> {
        let close = format!(
            "Pids = {pids}, lists:foreach(fun(P) -> rabbit_networking:close_connection(P, {}) end, Pids), length(Pids)",
            // As text, not as a binary: this is how rabbitmqctl passes it.
            format_args!("binary_to_list({})", binary(reason)),
        );
        self.evaluate(&close)?.parse().map_err(Failure::during("counting closed connections"))
    }

    /// Puts the broker into the memory alarm: publishing connections are blocked. Returns when it is in force.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn set_memory_alarm(&self) -> Result<()> {
        self.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0)")?;
        self.await_alarm(true)
    }

    /// Ends the memory alarm. Returns when it is no longer in force.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn clear_memory_alarm(&self) -> Result<()> {
        self.evaluate(
            "{ok, Configured} = application:get_env(rabbit, vm_memory_high_watermark), \
             vm_memory_monitor:set_vm_memory_high_watermark(Configured)",
        )?;
        self.await_alarm(false)
    }

    fn await_alarm(&self, wanted: bool) -> Result<()> {
        let what = if wanted { "the memory alarm" } else { "the end of the memory alarm" };
        let alarms = "[memory || {{resource_limit, memory, N}, _} <- rabbit_alarm:get_alarms(), N =:= node()] =/= []";
        wait::until_true(EFFECT_TIMEOUT, what, || {
            self.evaluate(alarms).is_ok_and(|answer| answer == wanted.to_string())
        })
    }

    /// Adds a virtual host in which `guest` may do everything.
    ///
    /// # Errors
    /// If it exists.
    pub fn add_vhost(&self, name: &str) -> Result<()> {
        let name = binary(name);
        self.expect_ok(&format!("rabbit_vhost:add({name}, {ACTOR})"))?;
        self.set_permissions("guest", &name)
    }

    /// Deletes a virtual host and all that is in it. Its connections are closed.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_vhost(&self, name: &str) -> Result<()> {
        self.expect_ok(&format!("rabbit_vhost:delete({}, {ACTOR})", binary(name)))
    }

    /// Adds a user who may do everything in the default virtual host.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn add_user(&self, name: &str, password: &str) -> Result<()> {
        let add = format!("rabbit_auth_backend_internal:add_user({}, {}, {ACTOR})", binary(name), binary(password));
        self.expect_ok(&add)?;
        self.set_permissions(name, "<<\"/\">>")
    }

    /// Gives a user another password. Connections that are open stay open.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn change_password(&self, name: &str, password: &str) -> Result<()> {
        let (name, password) = (binary(name), binary(password));
        self.expect_ok(&format!("rabbit_auth_backend_internal:change_password({name}, {password}, {ACTOR})"))
    }

    fn set_permissions(&self, user: &str, vhost: &str) -> Result<()> {
        let (user, all) = (binary(user), "<<\".*\">>");
        self.expect_ok(&format!(
            "rabbit_auth_backend_internal:set_permissions({user}, {vhost}, {all}, {all}, {all}, {ACTOR})"
        ))
    }

    /// Deletes a queue of the default virtual host, whoever uses it. Its consumers are cancelled.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_queue(&self, name: &str) -> Result<()> {
        let delete = format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup({{resource, <<\"/\">>, queue, {}}}), \
             {{ok, _}} = rabbit_amqqueue:delete(Queue, false, false, {ACTOR}), ok",
            binary(name)
        );
        self.expect_ok(&delete)
    }

    /// Stops RabbitMQ within the virtual machine, as `rabbitmqctl stop_app` does: connections are closed with 320.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn stop_app(&self) -> Result<()> {
        self.expect_ok("rabbit:stop()")
    }

    /// Starts RabbitMQ within the virtual machine, as `rabbitmqctl start_app` does.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn start_app(&self) -> Result<()> {
        self.expect_ok("rabbit:start(), rabbit:await_startup()")?;
        // As control.erl does after the first start.
        self.expect_ok("supervisor:terminate_child(rabbit_sup, rabbit_epmd_monitor_sup)")
    }

    /// Has it write to disk what was declared so far. RabbitMQ 3.10 does so within two seconds, and a [`Node::kill`]
    /// before that loses queues, exchanges and bindings, however durable they are.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn flush_declarations(&self) -> Result<()> {
        self.expect_ok("case mnesia:system_info(is_running) of yes -> mnesia:sync_log(); _ -> ok end")
    }

    pub(super) fn expect_ok(&self, expressions: &str) -> Result<()> {
        match self.evaluate(expressions)?.as_str() {
            "ok" => Ok(()),
            other => Err(Failure::new(format!("the node answered {other} to {expressions}"))),
        }
    }
}

/// An Erlang binary with the bytes of `text`, whatever they are.
pub(super) fn binary(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}
