//! A case in a process of its own: the same test binary, told to run nothing else.

use std::env;
use std::process::Command;

use super::case::CaseResult;

/// Environment variable that tells a process that it is that of one case.
const ALONE_VARIABLE: &str = "AMQP_SUITE_ALONE";

/// Whether this process is that of one case.
pub(super) fn is_alone() -> bool {
    env::var_os(ALONE_VARIABLE).is_some()
}

/// Runs the case with this name, group and all. Its failure is the process's output.
pub(super) fn run(name: &str) -> CaseResult {
    let program = env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let mut command = Command::new(program);
    command.args(["--exact", name]).env(ALONE_VARIABLE, "1");
    let output = command.output().map_err(|error| format!("running {name} alone: {error}"))?;
    // A name that is not found is no failure to the test harness.
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains(" 1 passed") {
        return Ok(());
    }
    Err(format!("{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
