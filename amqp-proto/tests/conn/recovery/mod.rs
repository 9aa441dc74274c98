//! A connection that is lost and comes back, in virtual time.

mod attempts;
mod channels;
mod held;
mod retained;
mod topology;

use amqp_proto::config::{Config, Recovery};
use amqp_proto::error::{Error, ErrorKind};

use crate::peer::{Peer, TUNE, quiet};

fn config() -> Config {
    quiet().recovery(Recovery::default())
}

/// An open connection that comes back.
fn open() -> Peer {
    Peer::open_with(config(), TUNE)
}

/// The socket is lost.
fn lose(peer: &mut Peer) {
    peer.eof();
    assert!(peer.connection.is_disconnected() && !peer.connection.is_finished());
}

#[track_caller]
fn assert_lost(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error:?}");
    assert!(error.is_retryable());
}
