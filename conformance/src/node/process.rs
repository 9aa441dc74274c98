//! The life of the node's process: boot, stop, freeze, kill, end.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::control::Line;
use super::{Node, log};
use crate::{Failure, Result, wait};

/// Generous, since other work may keep the machine busy; usually it takes two or three seconds.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// After this a graceful stop becomes a kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The Erlang virtual machine and the line to it. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pub(super) line: Line,
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Node {
    /// Its process id: the Erlang virtual machine's, not a wrapper's. `None` while it is not running.
    pub fn pid(&self) -> Option<u32> {
        self.running().as_ref().map(|running| running.child.id())
    }

    /// Kills it as `kill -9` does, and waits until the process is gone. What the broker had not written to disk is
    /// lost; see [`Node::flush_declarations`].
    pub fn kill(&self) {
        self.running().take();
    }

    /// Stops it in an orderly way, and waits until the process is gone.
    ///
    /// # Errors
    /// If it is not running.
    pub fn stop(&self) -> Result<()> {
        self.evaluate("init:stop()")?;
        if let Some(mut running) = self.running().take() {
            let exited = wait::until(STOP_TIMEOUT, "the node to stop", || exit_status(&mut running.child));
            exited?;
        }
        Ok(())
    }

    /// Starts it again after [`Node::kill`] or [`Node::stop`], on the same port and with the data it had.
    ///
    /// # Errors
    /// If it does not come up, or is running.
    pub fn start_again(&self) -> Result<()> {
        if self.running().is_some() {
            return Err(Failure::new("the node is running already"));
        }
        self.boot()
    }

    /// [`Node::kill`] and [`Node::start_again`].
    ///
    /// # Errors
    /// If it does not come up.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        self.boot()
    }

    /// Freezes it (SIGSTOP): its sockets stay open, and nothing is read or answered, heartbeats included.
    ///
    /// # Errors
    /// If it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")?;
        wait::until_true(STOP_TIMEOUT, "the node to freeze", || self.pid().is_some_and(is_frozen))
    }

    /// Lets a frozen node go on (SIGCONT).
    ///
    /// # Errors
    /// If it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid().ok_or_else(|| Failure::new("the node is not running"))?;
        // The shell's own `kill`: the program of that name is not installed everywhere.
        let script = format!("kill -{signal} {pid}");
        let status = Command::new("sh").arg("-c").arg(&script).status().map_err(Failure::during(&script))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("{script}: {status}"))) }
    }

    /// Starts the process, and returns when RabbitMQ answers on its AMQP port.
    pub(super) fn boot(&self) -> Result<()> {
        self.try_boot().map_err(|failure| {
            let output = fs::read_to_string(self.place.output()).unwrap_or_default();
            Failure::new(format!("{} does not start: {failure}\n{}", self.name(), excerpt(&(output + &self.log()))))
        })
    }

    fn try_boot(&self) -> Result<()> {
        self.switchboard.clear();
        let mut child = self.command()?.spawn().map_err(Failure::during("running rabbitmq-server"))?;
        let mut line = match self.await_call(&mut child) {
            Ok(line) => line,
            Err(failure) => {
                end(&mut child);
                return Err(failure);
            }
        };
        let ready = line.await_ready(BOOT_TIMEOUT);
        let mut running = Running { child, line };
        if ready.is_err() {
            // What it says of the failure, before it is killed.
            log::flush(&mut running.line);
        }
        ready?;
        // It has said that it listens, so this is not waited for. A connection without a byte on it is not logged.
        TcpStream::connect(self.address()).map_err(Failure::during("connecting to the AMQP port"))?;
        *self.running() = Some(running);
        self.mark_ready();
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let place = &self.place;
        let inside = |path: &Path| self.options.install.inside(path);
        let output = File::create(place.output())?;
        let interface =
            format!("{{{}}}", self.options.distribution.host.octets().map(|octet| octet.to_string()).join(","));

        let mut command = self.options.install.server();
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", inside(&place.home()))
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_USE_LONGNAME", "true")
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", inside(&place.nothing()))
            .env("RABBITMQ_CONFIG_FILE", inside(&place.config()))
            .env("RABBITMQ_CONFIG_FILES", inside(&place.nothing()))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", inside(&place.nothing()))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside(&place.plugins()))
            .env("RABBITMQ_MNESIA_BASE", inside(&place.data()))
            .env("RABBITMQ_LOG_BASE", inside(&place.logs()))
            // The start script then becomes the virtual machine (`exec`), and leaves booting to control.erl.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_NODE_ONLY", "1")
            // For the helpers that a node may start: no epmd, and no dump of a killed machine.
            .env("ERL_AFLAGS", "-start_epmd false")
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("AMQP_HARNESS_PORT", self.switchboard.port()?.to_string())
            .env("AMQP_HARNESS_TOKEN", self.switchboard.token())
            .env("AMQP_HARNESS_DIRECTORY", inside(place.path()))
            .envs(self.options.env.iter().map(|(name, value)| (name, value)));
        command
            .arg("-noinput")
            .args(["-name", &self.name()])
            .args(["-erl_epmd_port", &self.distribution_port.to_string()])
            .args(["-kernel", "inet_dist_use_interface", &interface])
            .args(["-eval", &format!("ok = file:eval(\"{}\")", inside(&place.control()).display())]);
        command
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C in a terminal is for the test, not for its node: that one ends when the test has ended.
            .process_group(0);
        Ok(command)
    }

    fn await_call(&self, child: &mut Child) -> Result<Line> {
        wait::until(BOOT_TIMEOUT, "the node to call", || {
            if let Some(status) = exit_status(child) {
                return Some(Err(Failure::new(format!("it ended with {status}"))));
            }
            self.switchboard.answer().transpose()
        })?
    }
}

fn exit_status(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}

/// Whether every thread of a process is stopped.
fn is_frozen(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the program's name, which stands in parentheses.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// Kills a child and waits for its end, so that neither it nor a zombie remains.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The first lines that tell of an error, for a message about a node that did not start; the last lines if none does.
fn excerpt(log: &str) -> String {
    const LINES: usize = 25;
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("[error]")).take(LINES).collect();
    if !errors.is_empty() {
        return errors.join("\n");
    }
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
