//! Runs the cases of one adapter, on libtest-mimic: the output and the options are those of `cargo test`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};

use super::alone;
use super::case::{Case, CaseFuture, CaseResult};
use super::context::{Broker, Context};
use super::panics;
use super::report::Report;
use super::subject::Subject;
use super::watch::Watch;

/// Runs `cases` against one broker: a RabbitMQ node, as many in parallel as the machine has cores, but at least four and at
/// most eight; or `amqp-broker`, where they mostly wait for themselves, 32 (`--test-threads` says otherwise). Those that may
/// take longest begin first, so that none is waited for at the end. Prints what `cargo test` prints, and a table, and
/// appends the results to the file that the environment variable `AMQP_SUITE_RESULTS` names, if it is set.
///
/// `adapter` is how the table is headed. `block_on` runs a case to its end on the thread that calls it; what the case
/// spawns must get on meanwhile, even while the case blocks this thread.
pub fn run(adapter: &str, block_on: fn(CaseFuture) -> CaseResult, mut cases: Vec<Case>) -> ExitCode {
    cases.sort_by_key(|case| Reverse(case.limit));
    let mut arguments = Arguments::from_args();
    let is_in_process = Subject::is_in_process();
    arguments.test_threads.get_or_insert_with(|| match thread::available_parallelism() {
        _ if is_in_process => 32,
        Ok(cores) => cores.get().clamp(4, 8),
        Err(_) => 4,
    });

    let mut names = BTreeSet::new();
    if let Some(twice) = cases.iter().find(|case| !names.insert(case.name)) {
        let _ =
            writeln!(io::stderr(), "two cases are named {}: names are made of it, so it must be unique", twice.name);
        return ExitCode::FAILURE;
    }

    let broker = Arc::new(Broker::default());
    let report = Arc::new(Report::default());
    let trials = cases.into_iter().map(|case| {
        let trial = trial(case, &broker, &report, block_on).with_ignored_flag(is_in_process && case.need.is_some());
        if let Some(need) = case.need
            && arguments.is_ignored(&trial)
            && !arguments.is_filtered_out(&trial)
        {
            report.leave_out(need);
        }
        trial
    });
    let trials = trials.collect();
    let conclusion = libtest_mimic::run(&arguments, trials);

    let mut written = Ok(());
    if let Some(node) = broker.started() {
        let mut text = report.table(&format!("{adapter} on {}", node.title()));
        if conclusion.has_failed() {
            let log = node.warnings().join("\n");
            text.push_str(&format!("\nThe broker's log, from [warning] on, over all cases:\n{log}\n"));
        }
        let _ = io::stdout().write_all(text.as_bytes());
        if !alone::is_alone() {
            written = report.append_results(adapter, &node.title());
        }
    }
    // A case that hangs may hold the node: it then ends with this process, which it notices.
    drop(broker);
    if let Err(error) = written {
        let _ = writeln!(io::stderr(), "the results could not be written: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trial(case: Case, broker: &Arc<Broker>, report: &Arc<Report>, block_on: fn(CaseFuture) -> CaseResult) -> Trial {
    let (broker, report) = (Arc::clone(broker), Arc::clone(report));
    let name = format!("{}::{}", case.group, case.name);
    Trial::test(name.clone(), move || {
        let watch = Arc::new(Watch::start());
        let result = if case.is_alone && !alone::is_alone() {
            // That process keeps to the case's time.
            alone::run(&name)
        } else {
            supervise(case, &watch, {
                let watch = Arc::clone(&watch);
                move || block_on((case.run)(Context::new(case, broker, watch)))
            })
        };
        report.note(case, &result, watch.elapsed());
        result.map_err(Failed::from)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait;

    fn case() -> Case {
        Case::new("conformance::suite::tests", "a_case", |_| Box::pin(async { Ok(()) })).within(1)
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
            Ok(())
        });
        assert_eq!(result, Ok(()), "longer than its second");
        assert_eq!(watch.elapsed(), before);
        drop(starting);
        wait::until_true(Duration::from_secs(10), "the watch to go on", || watch.elapsed() > before).unwrap();
    }
}
