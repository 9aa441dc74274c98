//! What a broker would write into its log about connections, in RabbitMQ's words.

use std::collections::VecDeque;

use super::{Core, SessionId};

/// The most lines that are kept.
const LINES: usize = 1_000;

/// The log: the newest lines, and how many there were before them.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<String>,
    dropped: usize,
}

impl Core {
    /// Logs something about a session's connection. `[warning]` is for those that end without a close.
    pub(super) fn log(&mut self, id: SessionId, level: &str, text: &str) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (number, port, name) = (id.0, session.peer_port, session.name());
        let name = if name.is_empty() { String::new() } else { format!(" - {name}") };
        let (vhost, user) = (&session.vhost, &session.user);
        let line = format!(
            "[{level}] <0.{number}.0> {text} <0.{number}.0> (127.0.0.1:{port}{name}, vhost: '{vhost}', user: '{user}')"
        );
        self.log.lines.push_back(line);
        if self.log.lines.len() > LINES {
            self.log.lines.pop_front();
            self.log.dropped += 1;
        }
    }

    /// The lines from number `from` on, and the number of the next one.
    pub(crate) fn log_since(&self, from: usize) -> (Vec<String>, usize) {
        let skip = from.saturating_sub(self.log.dropped);
        let lines = self.log.lines.iter().skip(skip).cloned().collect();
        (lines, self.log.dropped + self.log.lines.len())
    }
}
