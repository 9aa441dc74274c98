//! The handles of an AMQP 0-9-1 client and the driver that carries them, for any runtime.
//!
//! Use an adapter: amqp-tokio, amqp-smol or amqp-blocking. It re-exports everything from here, and adds the sockets, timers and
//! tasks.
//!
//! | module | job |
//! |---|---|
//! | `connection`, `channel`, `consumer`, `publisher` | the handles |
//! | `subscription` | deliveries that go to a handler |
//! | `body_writer`, `streamed` | messages that are too large for memory: on their way out, and in |
//! | `connect`, `resolver`, `credentials` | what a connection is made with |
//! | `events` | what happens to a connection as a whole |
//! | `call`, `confirm`, `batch_confirm` | answers that are still to come |
//! | `message`, `delivery`, `batch`, `content`, `codec` | what goes out, what comes in, and as what it is read |
//! | `options` | how things are asked for |
//! | `above` | what stands above the channel: pools of connections, listeners, remote calls, retries, task queues |
//! | `elapsed` | waiting no longer than a given time |
//! | `intake` | what consumers of both kinds are made of |
//! | `shared`, `wakers`, `link` | what the handles of one connection share, who waits for what, what keeps it open |
//! | [`driver`] | the one driver, over two traits that an adapter implements |
//!
//! There is no runtime, socket, thread or clock in this crate. All state is that of
//! [`conn::Connection`](proto::conn::Connection) under one mutex; a handle's method locks it, changes it, and leaves;
//! the driver carries bytes between it and a transport.

mod above;
mod acker;
mod batch;
mod batch_confirm;
mod body_writer;
mod built;
mod call;
mod channel;
mod codec;
mod confirm;
mod connect;
mod connection;
mod consumer;
mod content;
mod credentials;
mod delivery;
pub mod driver;
mod elapsed;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod intake;
mod link;
mod message;
mod options;
mod publisher;
mod resolver;
mod shared;
mod streamed;
mod subscription;
mod wakers;

pub use amqp_proto as proto;
pub use amqp_proto::config::{
    Address, Config, ConfigError, Heartbeat, Limits, Recovery, TcpOptions, Timeouts, TlsInput, TlsOptions, Verify,
};
pub use amqp_proto::conn::{
    BatchFailure, BatchOutcome, Body, BodyReader, DeliveryTag, Outcome, Returned, Stats, Tuning, Unconfirmed,
};
pub use amqp_proto::error::{
    CloseReason, CodecError, Error, ErrorKind, Origin, ProtocolError, TimeoutReason, TlsFailure,
};
pub use amqp_proto::method::{Properties, PropertiesRef, ReplyCode};
pub use amqp_proto::recovery::Recorded;
pub use amqp_proto::sasl::{Credentials, Mechanism, SaslError, SaslExchange, SaslMechanism};
pub use amqp_proto::table;
pub use amqp_proto::wire::{FieldTable, FieldValue, TableRef, ValueRef};

pub use self::above::{Listener, Pool, Pooled, Pools, PoolsConfig, PoolsConfigError, PoolsSetup, Retry, RpcClient};
#[cfg(feature = "json")]
pub use self::above::{Task, TaskQueue, Work};
pub use self::acker::Acker;
pub use self::batch::Batch;
pub use self::batch_confirm::BatchConfirm;
pub use self::body_writer::BodyWriter;
pub use self::built::{DeliveryBuilder, DeliveryRecord, PublishRecord, Settled};
pub use self::call::Call;
pub use self::channel::{Channel, QueueDeclared, Returns, Tag};
#[cfg(feature = "json")]
pub use self::codec::Json;
pub use self::codec::{BoxError, Codec, Decode, Encode};
pub use self::confirm::Confirm;
pub use self::connect::{ConnectOptions, IntoConnectOptions};
pub use self::connection::Connection;
pub use self::consumer::Consumer;
pub use self::content::Content;
pub use self::credentials::ProvideCredentials;
pub use self::delivery::Delivery;
pub use self::elapsed::Elapsed;
pub use self::events::{ConnectionEvent, Events};
pub use self::message::Message;
pub use self::options::{
    Binding, Cancel, Consume, DeadLetterStrategy, Exchange, ExchangeDelete, Get, Handling, LeaderLocator, OnError,
    Overflow, Qos, Queue, QueueDelete, QueueMode, QueuePurge, StreamOffset,
};
pub use self::publisher::Publisher;
pub use self::resolver::Resolve;
pub use self::streamed::{BodyStream, StreamedConsumer, StreamedDelivery};
pub use self::subscription::{Handled, IntoSettlement, Settlement, Subscription};
#[cfg(feature = "tls")]
pub use rustls;
