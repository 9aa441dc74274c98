//! A node's own folder: its configuration, its data, its log, its cookie. It is removed with the node.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::Options;
use crate::{Failure, Result, wait};

/// The folder of one node, removed on drop.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    pub(super) fn new(options: &Options, amqp_port: u16) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("amqp-node-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = options.install.temp_dir().join(name);
        // Left by a process of the same id that was killed together with its node.
        let _ = fs::remove_dir_all(&path);
        let place = Self { path };
        place.fill(options, amqp_port).map_err(Failure::during(format!("preparing {}", place.path.display())))?;
        Ok(place)
    }

    fn fill(&self, options: &Options, amqp_port: u16) -> Result<()> {
        fs::create_dir_all(self.home())?;
        fs::set_permissions(&self.path, Permissions::from_mode(0o700))?;
        fs::write(self.control(), include_str!("control.erl"))?;
        fs::write(self.plugins(), format!("[{}].\n", options.plugins.join(",")))?;

        let mut config = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp_port}\n\
             log.file = rabbit.log\n\
             log.file.level = info\n\
             log.console = false\n\
             disk_free_limit.absolute = 1MB\n"
        );
        for line in &options.config {
            config.push_str(line);
            config.push('\n');
        }
        fs::write(self.config(), config)?;

        let cookie = self.home().join(".erlang.cookie");
        fs::write(&cookie, &options.distribution.cookie)?;
        fs::set_permissions(&cookie, Permissions::from_mode(0o400))?;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The node's home, with its cookie.
    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The script that boots the node and answers the harness.
    pub(super) fn control(&self) -> PathBuf {
        self.path.join("control.erl")
    }

    /// The node's `rabbitmq.conf`.
    pub(super) fn config(&self) -> PathBuf {
        self.path.join("rabbitmq.conf")
    }

    /// The list of enabled plugins.
    pub(super) fn plugins(&self) -> PathBuf {
        self.path.join("enabled_plugins")
    }

    /// Queues, messages, users: what survives a restart.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The folder of log files.
    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The node's log.
    pub(super) fn log(&self) -> PathBuf {
        self.logs().join("rabbit.log")
    }

    /// What the virtual machine printed.
    pub(super) fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// A path where there is never a file: for the configurations that must not leak in from the system.
    pub(super) fn nothing(&self) -> PathBuf {
        self.path.join("nothing")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A child of the node may write its last just now.
        let _ = wait::until_true(Duration::from_secs(5), "the node's folder to go", || {
            let _ = fs::remove_dir_all(&self.path);
            !self.path.exists()
        });
    }
}

/// Twenty characters that other processes do not guess by accident. Nothing here defends against an attacker on the
/// same machine, who could read the broker's default password as well.
pub(super) fn token() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    format!("{:08X}{:08X}{:04X}", process::id(), nanos, COUNT.fetch_add(1, Ordering::Relaxed))
}
