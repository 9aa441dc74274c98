//! How a run went: a table for people, and lines for `scripts/suite`, which makes one table of many runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, iter};

use super::case::{Case, CaseResult};

/// Environment variable that names the file to which results are appended.
const RESULTS_VARIABLE: &str = "AMQP_SUITE_RESULTS";

/// The results, by group.
#[derive(Debug, Default)]
pub(super) struct Report {
    groups: Mutex<BTreeMap<&'static str, Group>>,
    left_out: Mutex<BTreeMap<&'static str, usize>>,
}

#[derive(Debug, Default)]
struct Group {
    passed: usize,
    failed: Vec<&'static str>,
    time: Duration,
}

impl Report {
    pub(super) fn note(&self, case: Case, result: &CaseResult, time: Duration) {
        let mut groups = self.groups();
        let group = groups.entry(case.group).or_default();
        match result {
            Ok(()) => group.passed += 1,
            Err(_) => group.failed.push(case.name),
        }
        group.time += time;
    }

    /// A case was not run, for what it needs of a broker.
    pub(super) fn leave_out(&self, need: &'static str) {
        *self.left_out().entry(need).or_default() += 1;
    }

    pub(super) fn table(&self, title: &str) -> String {
        let mut text = format!("{title:<36} {:>6} {:>6} {:>8}\n", "passed", "failed", "seconds");
        for (name, group) in &*self.groups() {
            let (seconds, failed) = (group.time.as_secs_f64(), group.failed.len());
            let _ = writeln!(text, "  {name:<34} {:>6} {failed:>6} {seconds:>8.1}", group.passed);
        }
        for (need, count) in &*self.left_out() {
            let cases = if *count == 1 { "case that needs" } else { "cases that need" };
            let _ = writeln!(text, "  left out: {count} {cases} {need}");
        }
        text
    }

    /// Appends the [`results`](Self::results) to the file that the environment names, if it does.
    pub(super) fn append_results(&self, adapter: &str, broker: &str) -> io::Result<()> {
        let Some(path) = env::var_os(RESULTS_VARIABLE) else { return Ok(()) };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // In one piece, so that runs at the same time do not mix theirs.
        file.write_all(self.results(adapter, broker).as_bytes())
    }

    /// `run ADAPTER BROKER PASSED FAILED LEFT_OUT`, and for each failed case `failed ADAPTER BROKER NAME`, separated by tabs.
    fn results(&self, adapter: &str, broker: &str) -> String {
        let groups = self.groups();
        let passed: usize = groups.values().map(|group| group.passed).sum();
        let failed: Vec<&str> = groups.values().flat_map(|group| group.failed.iter().copied()).collect();
        let left_out: usize = self.left_out().values().sum();
        let run = format!("run\t{adapter}\t{broker}\t{passed}\t{}\t{left_out}\n", failed.len());
        let failures = failed.into_iter().map(|name| format!("failed\t{adapter}\t{broker}\t{name}\n"));
        iter::once(run).chain(failures).collect()
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<&'static str, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let case = |name| Case::new("conformance::suite::tests", name, |_| Box::pin(async { Ok(()) }));
        let report = Report::default();
        report.note(case("good"), &Ok(()), Duration::from_millis(1500));
        report.note(case("bad"), &Err("no".to_owned()), Duration::ZERO);
        report.leave_out("a restart");
        report
    }

    #[test]
    fn the_table_counts_by_group_and_says_what_was_left_out() {
        let table = report().table("tokio on RabbitMQ 3.10");
        assert!(table.contains("tests                                   1      1      1.5"), "{table}");
        assert!(table.contains("left out: 1 case that needs a restart"), "{table}");
    }

    #[test]
    fn the_results_name_what_failed() {
        let results = report().results("amqp-tokio", "RabbitMQ 3.10.8");
        assert_eq!(results, "run\tamqp-tokio\tRabbitMQ 3.10.8\t1\t1\t1\nfailed\tamqp-tokio\tRabbitMQ 3.10.8\tbad\n");
    }
}
