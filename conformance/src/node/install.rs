//! Where a RabbitMQ stands that nodes can be started from.
//!
//! Debian's package at the root of this machine is one; the same package of a newer Debian, unpacked into a folder
//! of its own, is another: its programs are then run by `chroot`, which needs root. `scripts/rabbitmq` makes both.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, Result};

/// The server's start script, below the installation's root.
const SERVER: &str = "usr/lib/rabbitmq/bin/rabbitmq-server";

/// Runs a program in another root as the process itself. Erlang looks into `/proc`, without which a broker knows no
/// memory alarm; it is mounted for this process and its children alone, so that the folder is as it was when they end.
const ENTER: &str = r#"mount --bind /proc "$0/proc" && exec chroot "$0" "$@""#;

/// An installation of RabbitMQ, by the root of the file system it lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    root: PathBuf,
}

impl Install {
    /// Environment variable that names the root of the installation to test against; `/` where it is unset.
    pub const ROOT_VARIABLE: &str = "RABBITMQ_ROOT";

    /// The installation that stands below `root`: `/` is this machine's own.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// This machine's own installation.
    pub fn system() -> Self {
        Self::at("/")
    }

    /// The one that [`Install::ROOT_VARIABLE`] names, else this machine's own.
    pub fn chosen() -> Self {
        Self::at(env::var_os(Self::ROOT_VARIABLE).unwrap_or_else(|| "/".into()))
    }

    /// Checks that the server is there.
    ///
    /// # Errors
    /// If not, with what to do about it.
    pub fn check(&self) -> Result<()> {
        let server = self.root.join(SERVER);
        if server.exists() {
            return Ok(());
        }
        Err(Failure::new(format!("RabbitMQ is not installed: no {}. Run scripts/rabbitmq", server.display())))
    }

    /// A folder for temporary files that the installation's programs can reach.
    pub(super) fn temp_dir(&self) -> PathBuf {
        if self.is_system() { env::temp_dir() } else { self.root.join("tmp") }
    }

    /// The same path as the installation's programs call it.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// A command that runs `program`, an absolute path inside of the installation, as the process it spawns.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.is_system() {
            return Command::new(program);
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ENTER]).arg(&self.root).arg(program);
        command
    }

    /// A command that starts the server. With `RABBITMQ_ALLOW_INPUT` set, every shell on the way replaces itself, so
    /// that the process spawned is the Erlang virtual machine itself.
    pub(super) fn server(&self) -> Command {
        self.command(Path::new("/").join(SERVER))
    }

    fn is_system(&self) -> bool {
        self.root == Path::new("/")
    }
}

impl Default for Install {
    fn default() -> Self {
        Self::chosen()
    }
}
