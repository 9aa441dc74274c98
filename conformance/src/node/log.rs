//! What the node wrote into its log.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Node;
use super::control::Line;
use crate::{Result, wait};

/// A place in a node's log: what stands after it was written later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMark(usize);

impl LogMark {
    pub(crate) fn new(place: usize) -> Self {
        Self(place)
    }

    pub(crate) fn place(self) -> usize {
        self.0
    }
}

/// The levels that say that something was not as it should be.
const TROUBLE: [&str; 5] = ["[warning]", "[error]", "[critical]", "[alert]", "[emergency]"];

/// RabbitMQ writes its log a little after the fact, unless it is asked to.
const FLUSH: &str = "[Module:filesync(Id) || #{id := Id, module := Module} <- logger:get_handler_config(), \
                     erlang:function_exported(Module, filesync, 1)]";

/// A node that is frozen does not answer, and has nothing new to write either.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Has a node write out what it has logged so far, if it can.
pub(super) fn flush(line: &mut Line) {
    let _ = line.evaluate(FLUSH, FLUSH_TIMEOUT);
}

impl Node {
    /// Where its log is, for a person to read: a little late, and gone with the node.
    pub fn log_path(&self) -> PathBuf {
        self.place.log()
    }

    /// Its whole log so far, over all restarts.
    pub fn log(&self) -> String {
        if let Some(running) = self.running().as_mut() {
            flush(&mut running.line);
        }
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of the log as it is now.
    pub fn log_mark(&self) -> LogMark {
        LogMark(self.log().len())
    }

    /// What was logged since `mark`.
    pub fn log_since(&self, mark: LogMark) -> String {
        self.log().get(mark.0..).unwrap_or_default().to_owned()
    }

    /// The lines at `[warning]` or worse since it was last started: booting writes a few of its own.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings_since(LogMark(self.ready.load(Ordering::Relaxed)))
    }

    /// The lines at `[warning]` or worse since `mark`.
    pub fn warnings_since(&self, mark: LogMark) -> Vec<String> {
        let log = self.log_since(mark);
        log.lines().filter(|line| TROUBLE.iter().any(|level| line.contains(level))).map(str::to_owned).collect()
    }

    /// Waits until a line that contains `text` has been logged since `mark`, and returns it.
    ///
    /// # Errors
    /// If there is none within ten seconds.
    pub fn await_log(&self, mark: LogMark, text: &str) -> Result<String> {
        wait::until(Duration::from_secs(10), &format!("a line with {text:?} in the node's log"), || {
            self.log_since(mark).lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Notes that what was logged so far belongs to the start.
    pub(super) fn mark_ready(&self) {
        self.ready.store(self.log_mark().0, Ordering::Relaxed);
    }
}
