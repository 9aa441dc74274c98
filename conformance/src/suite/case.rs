//! A case: a name, a time limit, and the function that may fail.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use super::Context;

/// How long a case may take unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// A case that runs.
pub type CaseFuture = Pin<Box<dyn Future<Output = CaseResult>>>;

/// How a case ended: all was as it should be, or with a message about what went wrong.
///
/// None can be skipped. What a broker's version does not have, a case expects to be refused there. Only where there is no
/// RabbitMQ at all are cases left out that [name what they need of one](Case::needing).
pub type CaseResult = Result<(), String>;

/// A named case. [`cases!`](crate::cases) makes them.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) limit: Duration,
    pub(super) need: Option<&'static str>,
    pub(super) is_alone: bool,
    pub(super) run: fn(Context) -> CaseFuture,
}

impl Case {
    /// A case named `name` in the module `path`, whose last part becomes its group.
    pub fn new(path: &'static str, name: &'static str, run: fn(Context) -> CaseFuture) -> Self {
        let group = path.rsplit("::").next().unwrap_or(path);
        Self { group, name, limit: LIMIT, need: None, is_alone: false, run }
    }

    /// Runs it in a process of its own, and, if it asks for one, with a node of its own, so that what it measures of either is
    /// its own doing. What the platform trusts there is for the case to say: see [`Context::platform_roots`].
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Gives it another time limit than a minute.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Says what it does to a RabbitMQ node that `amqp-broker` has nothing like, such as `a restart`. It is left out there,
    /// and counted as such.
    #[must_use]
    pub fn needing(mut self, what: &'static str) -> Self {
        self.need = Some(what);
        self
    }
}

/// What a case may return: nothing, or a `Result`, so that it can use `?`.
pub trait Outcome {
    /// Nothing, or why the case failed.
    ///
    /// # Errors
    /// If the case failed.
    fn into_result(self) -> CaseResult;
}

impl Outcome for () {
    fn into_result(self) -> CaseResult {
        Ok(())
    }
}

impl<T: Outcome, E: Debug> Outcome for Result<T, E> {
    fn into_result(self) -> CaseResult {
        match self {
            Ok(outcome) => outcome.into_result(),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

/// Lists the cases of a file: `cases! { first_case, slow_case within 120, special_case needs "a restart", measuring_case
/// (alone) }`, where the number is a time limit in seconds, the text is [what only a RabbitMQ node has](Case::needing), and
/// `alone` gives a case [a process of its own](Case::alone).
///
/// It makes the function `cases()` that `suite/mod.rs` collects. A case that is not listed is dead code, and the
/// compiler says so.
#[macro_export]
macro_rules! cases {
    ($($name:ident $(($place:ident))? $(within $seconds:literal)? $(needs $what:literal)?),* $(,)?) => {
        pub(crate) fn cases() -> Vec<$crate::Case> {
            vec![$(
                $crate::Case::new(module_path!(), stringify!($name), |context| {
                    Box::pin(async move { $crate::suite::Outcome::into_result($name(context).await) })
                })$(.$place())?$(.within($seconds))?$(.needing($what))?
            ),*]
        }
    };
}
