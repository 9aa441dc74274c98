//! Runs the cases of one adapter, on libtest-mimic: the output and the options are those of `cargo test`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::case::{Case, CaseFuture, CaseResult, Verdict};
use super::context::{Broker, Context};
use super::panics;
use super::watch::Watch;

/// Runs `cases` against one RabbitMQ node, as many in parallel as the machine has cores, but at least four and at
/// most eight (`--test-threads` says otherwise). Prints what `cargo test` prints, and a table.
///
/// `adapter` is how the table is headed. `block_on` runs a case to its end on the thread that calls it; what the case
/// spawns must get on meanwhile, even while the case blocks this thread.
pub fn run(adapter: &str, block_on: fn(CaseFuture) -> CaseResult, cases: Vec<Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(thread::available_parallelism().map_or(4, |cores| cores.get().clamp(4, 8)));

    let mut names = BTreeSet::new();
    if let Some(twice) = cases.iter().find(|case| !names.insert(case.name)) {
        let _ =
            writeln!(io::stderr(), "two cases are named {}: names are made of it, so it must be unique", twice.name);
        return ExitCode::FAILURE;
    }

    let broker = Arc::new(Broker::default());
    let report = Arc::new(Report::default());
    let trials = cases.into_iter().map(|case| trial(case, &broker, &report, block_on)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);

    if let Some(node) = broker.started() {
        let mut text = report.table(&format!("{adapter} on RabbitMQ {}", node.version().unwrap_or_default()));
        if conclusion.has_failed() {
            let warnings = node.warnings();
            let _ = writeln!(text, "\nThe broker's log, from [warning] on, over all cases:\n{}", warnings.join("\n"));
        }
        let _ = io::stdout().write_all(text.as_bytes());
    }
    // A case that hangs may hold the node: it then ends with this process, which it notices.
    drop(broker);
    conclusion.exit_code()
}

fn trial(case: Case, broker: &Arc<Broker>, report: &Arc<Report>, block_on: fn(CaseFuture) -> CaseResult) -> Trial {
    let (broker, report) = (Arc::clone(broker), Arc::clone(report));
    Trial::ignorable_test(format!("{}::{}", case.group, case.name), move || {
        let watch = Arc::new(Watch::start());
        let result = supervise(case, &watch, {
            let watch = Arc::clone(&watch);
            move || match Context::new(case, broker, watch) {
                Ok(context) => block_on((case.run)(context)),
                Err(failure) => Err(failure.to_string()),
            }
        });
        report.note(case, &result, watch.elapsed());
        match result {
            Ok(Verdict::Passed) => Ok(Completion::Completed),
            Ok(Verdict::Skipped(reason)) => Ok(Completion::ignored_with(reason)),
            Err(message) => Err(Failed::from(message)),
        }
    })
}

/// Runs `body` on a thread of its own, catches its panic, and gives it up when the case's time is over.
fn supervise(case: Case, watch: &Watch, body: impl FnOnce() -> CaseResult + Send + 'static) -> CaseResult {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name(case.name.to_owned()).spawn(move || {
        let result = panics::catch(body).unwrap_or_else(Err);
        // Nobody listens any more if the case was given up.
        let _ = sender.send(result);
    });
    let thread = thread.map_err(|error| error.to_string())?;
    loop {
        let left = case.limit.saturating_sub(watch.elapsed());
        if left.is_zero() {
            return Err(format!("{} hangs: it has not ended after {:?}", case.name, case.limit));
        }
        match receiver.recv_timeout(left) {
            Ok(result) => {
                // What it holds in thread-local storage is dropped before the case counts as ended.
                let _ = thread.join();
                return result;
            }
            // Its time is over now, or has stood still meanwhile.
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(format!("{} ended without a result", case.name)),
        }
    }
}

/// The results by group.
#[derive(Debug, Default)]
struct Report {
    groups: Mutex<BTreeMap<&'static str, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    passed: usize,
    failed: usize,
    skipped: usize,
    time: Duration,
}

impl Report {
    fn note(&self, case: Case, result: &CaseResult, time: Duration) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry(case.group).or_default();
        match result {
            Ok(Verdict::Passed) => group.passed += 1,
            Ok(Verdict::Skipped(_)) => group.skipped += 1,
            Err(_) => group.failed += 1,
        }
        group.time += time;
    }

    fn table(&self, title: &str) -> String {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!("{title:<36} {:>6} {:>6} {:>7} {:>8}\n", "passed", "failed", "skipped", "seconds");
        for (name, group) in &*groups {
            let seconds = group.time.as_secs_f64();
            let Group { passed, failed, skipped, .. } = group;
            let _ = writeln!(text, "  {name:<34} {passed:>6} {failed:>6} {skipped:>7} {seconds:>8.1}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    fn case() -> Case {
        Case::new("conformance::suite::tests", "a_case", |_| Box::pin(async { Ok(Verdict::Passed) })).within(1)
    }

    #[test]
    fn a_panic_fails_the_case_with_its_message_and_place() {
        let message = supervise(case(), &Watch::start(), || panic!("seven is not {}", 8)).unwrap_err();
        assert!(message.contains("seven is not 8"), "{message}");
        assert!(message.contains("runner.rs:"), "{message}");
    }

    #[test]
    fn a_hang_fails_the_case_with_its_name() {
        let message = supervise(case(), &Watch::start(), || {
            loop {
                thread::park();
            }
        })
        .unwrap_err();
        assert_eq!(message, "a_case hangs: it has not ended after 1s");
    }

    #[test]
    fn the_time_of_a_case_stands_still_while_it_waits_for_a_node() {
        let watch = Watch::start();
        let starting = watch.pause();
        let before = watch.elapsed();
        let result = supervise(case(), &watch, || {
            thread::sleep(Duration::from_millis(1200));
            Ok(Verdict::Skipped("longer than its second".to_owned()))
        });
        assert_eq!(result, Ok(Verdict::Skipped("longer than its second".to_owned())));
        assert_eq!(watch.elapsed(), before);
        drop(starting);
        wait::until_true(Duration::from_secs(10), "the watch to go on", || watch.elapsed() > before).unwrap();
    }

    #[test]
    fn the_table_counts_by_group() {
        let report = Report::default();
        report.note(case(), &Ok(Verdict::Passed), Duration::from_millis(1500));
        report.note(case(), &Err("no".to_owned()), Duration::ZERO);
        let table = report.table("tokio on RabbitMQ 3.10");
        assert!(table.contains("tests                                   1      1       0      1.5"), "{table}");
    }
}
