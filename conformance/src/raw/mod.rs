//! AMQP by hand: frames and the two sides of a handshake, spelled out byte by byte.
//!
//! Tests of the client need a counterpart that shares no code with it, and that can say what no correct peer would
//! say. [`Frame`] is a frame as bytes; [`Wire`] is a connection on which such frames, or any bytes, go both ways.
//! [`args`] writes method arguments.

pub mod args;
mod frame;
mod wire;

pub use frame::Frame;
pub(crate) use wire::reset_on_close;
pub use wire::{Tune, Wire};

/// What a client of 0-9-1 says first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// A method by its two ids, as the specification numbers them: `(class, method)`.
pub type MethodId = (u16, u16);

/// The methods that handshakes and most scripts need.
pub mod id {
    use super::MethodId;

    /// connection.start
    pub const CONNECTION_START: MethodId = (10, 10);
    /// connection.start-ok
    pub const CONNECTION_START_OK: MethodId = (10, 11);
    /// connection.secure
    pub const CONNECTION_SECURE: MethodId = (10, 20);
    /// connection.secure-ok
    pub const CONNECTION_SECURE_OK: MethodId = (10, 21);
    /// connection.tune
    pub const CONNECTION_TUNE: MethodId = (10, 30);
    /// connection.tune-ok
    pub const CONNECTION_TUNE_OK: MethodId = (10, 31);
    /// connection.open
    pub const CONNECTION_OPEN: MethodId = (10, 40);
    /// connection.open-ok
    pub const CONNECTION_OPEN_OK: MethodId = (10, 41);
    /// connection.close
    pub const CONNECTION_CLOSE: MethodId = (10, 50);
    /// connection.close-ok
    pub const CONNECTION_CLOSE_OK: MethodId = (10, 51);
    /// connection.blocked
    pub const CONNECTION_BLOCKED: MethodId = (10, 60);
    /// connection.unblocked
    pub const CONNECTION_UNBLOCKED: MethodId = (10, 61);
    /// connection.update-secret
    pub const CONNECTION_UPDATE_SECRET: MethodId = (10, 70);
    /// channel.open
    pub const CHANNEL_OPEN: MethodId = (20, 10);
    /// channel.open-ok
    pub const CHANNEL_OPEN_OK: MethodId = (20, 11);
    /// channel.close
    pub const CHANNEL_CLOSE: MethodId = (20, 40);
    /// channel.close-ok
    pub const CHANNEL_CLOSE_OK: MethodId = (20, 41);
    /// queue.declare
    pub const QUEUE_DECLARE: MethodId = (50, 10);
    /// queue.declare-ok
    pub const QUEUE_DECLARE_OK: MethodId = (50, 11);
    /// queue.purge
    pub const QUEUE_PURGE: MethodId = (50, 30);
    /// queue.purge-ok
    pub const QUEUE_PURGE_OK: MethodId = (50, 31);
    /// basic.qos
    pub const BASIC_QOS: MethodId = (60, 10);
    /// basic.qos-ok
    pub const BASIC_QOS_OK: MethodId = (60, 11);
    /// basic.consume
    pub const BASIC_CONSUME: MethodId = (60, 20);
    /// basic.consume-ok
    pub const BASIC_CONSUME_OK: MethodId = (60, 21);
    /// basic.cancel
    pub const BASIC_CANCEL: MethodId = (60, 30);
    /// basic.cancel-ok
    pub const BASIC_CANCEL_OK: MethodId = (60, 31);
    /// basic.publish
    pub const BASIC_PUBLISH: MethodId = (60, 40);
    /// basic.return
    pub const BASIC_RETURN: MethodId = (60, 50);
    /// basic.deliver
    pub const BASIC_DELIVER: MethodId = (60, 60);
    /// basic.get
    pub const BASIC_GET: MethodId = (60, 70);
    /// basic.get-empty
    pub const BASIC_GET_EMPTY: MethodId = (60, 72);
    /// basic.ack
    pub const BASIC_ACK: MethodId = (60, 80);
    /// basic.reject
    pub const BASIC_REJECT: MethodId = (60, 90);
    /// basic.nack
    pub const BASIC_NACK: MethodId = (60, 120);
    /// confirm.select
    pub const CONFIRM_SELECT: MethodId = (85, 10);
    /// confirm.select-ok
    pub const CONFIRM_SELECT_OK: MethodId = (85, 11);
}
