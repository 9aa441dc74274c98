//! A case in a process of its own: the same test binary, told to run nothing else.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

use super::case::CaseResult;

/// Environment variable that tells a process that it is that of one case.
const ALONE_VARIABLE: &str = "AMQP_SUITE_ALONE";

/// Environment variable that says which certificate authorities a program trusts, beside `SSL_CERT_DIR`.
const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";

/// Whether this process is that of one case.
pub(super) fn is_alone() -> bool {
    env::var_os(ALONE_VARIABLE).is_some()
}

/// The file with the authorities that this process trusts, if it is that of one case. At first there is none.
pub(super) fn trusted_roots() -> Option<PathBuf> {
    is_alone().then(|| env::var_os(ROOTS_VARIABLE).map(PathBuf::from)).flatten()
}

/// Runs the case with this name, group and all. Its failure is the process's output.
pub(super) fn run(name: &str) -> CaseResult {
    let program = env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let mut command = Command::new(program);
    let roots = env::temp_dir().join(format!("{}-{}.roots.pem", name.replace("::", "-"), process::id()));
    command.args(["--exact", name]).env(ALONE_VARIABLE, "1");
    command.env(ROOTS_VARIABLE, &roots).env_remove("SSL_CERT_DIR");
    let output = command.output();
    // Most cases have not made it.
    let _ = fs::remove_file(roots);
    let output = output.map_err(|error| format!("running {name} alone: {error}"))?;
    // A name that is not found is no failure to the test harness.
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains(" 1 passed") {
        return Ok(());
    }
    Err(format!("{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
