//! What many cases need, each thing once.

use std::fmt::{self, Display};
use std::panic::Location;
use std::time::Duration;

use conformance::node::Queue;
use conformance::suite::Subject;
use conformance::{Context, wait};

use crate::facade::{Config, Connection, Error, ErrorKind, connect};

/// What a case returns that uses `?`.
pub(crate) type Result<T = (), E = Failed> = std::result::Result<T, E>;

/// An error that was met by `?`, and where.
pub(crate) struct Failed {
    message: String,
    place: &'static Location<'static>,
}

impl<E: Display> From<E> for Failed {
    #[track_caller]
    fn from(error: E) -> Self {
        Self { message: error.to_string(), place: Location::caller() }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// How long things at the broker may take that follow soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The shared node, by a connection that bears the case's name.
pub(crate) fn config(context: &Context) -> Config {
    named(context, &context.uri())
}

/// Any URI, by a connection that bears the case's name.
pub(crate) fn named(context: &Context, uri: &str) -> Config {
    Config::from_uri(uri).expect("the harness makes good URIs").connection_name(context.case())
}

/// A connection to the shared node that bears the case's name, and that comes back when it is lost, as connections do.
pub(crate) async fn open(context: &Context) -> Result<Connection, Error> {
    connect(config(context)).await
}

/// The same without recovery: for cases about what its end is to everybody.
pub(crate) async fn open_once(context: &Context) -> Result<Connection, Error> {
    connect(config(context).no_recovery()).await
}

/// The major and minor version of a node: what a broker does not have is an expectation of its version.
pub(crate) fn version(node: &Subject) -> (u32, u32) {
    let version = node.version().expect("the node answers");
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("what version is {version}?"),
    }
}

/// Waits until the broker sees a queue of the default virtual host in such a state.
#[track_caller]
pub(crate) fn await_queue(node: &Subject, name: &str, what: &str, is_so: impl Fn(&Queue) -> bool) {
    let mut seen = None;
    let waited = wait::until_true(SOON, what, || {
        seen = node.queue(name).expect("the node answers");
        seen.as_ref().is_some_and(&is_so)
    });
    assert!(waited.is_ok(), "{}: the queue is {seen:?}", waited.unwrap_err());
}

/// The broker closed the channel with this code, and says so.
#[track_caller]
pub(crate) fn assert_channel_closed(error: &Error, code: u16) {
    let ErrorKind::ChannelClosed(reason) = error.kind() else { panic!("not a closed channel: {error}") };
    assert_eq!(reason.code.0, code, "{error}");
    assert_eq!(error.reply_code(), Some(reason.code));
    assert!(!reason.text.is_empty(), "the broker gave a reason");
}

/// The broker closed the connection with this code, and says so.
#[track_caller]
pub(crate) fn assert_connection_closed(error: &Error, code: u16) {
    let ErrorKind::ConnectionClosed(reason) = error.kind() else { panic!("not a closed connection: {error}") };
    assert_eq!(reason.code.0, code, "{error}");
    assert_eq!(error.reply_code(), Some(reason.code));
    assert!(!reason.text.is_empty(), "the broker gave a reason");
}

/// Every number below `count` is there, and for the first time each comes in order: some may come again.
#[track_caller]
pub(crate) fn assert_all_in_order(numbers: &[u32], count: u32) {
    let mut expected = 0;
    for number in numbers {
        assert!(*number <= expected, "{expected} is missing before {number}");
        expected += u32::from(*number == expected);
    }
    assert_eq!(expected, count, "the last ones are missing");
}
