//! The cases that every adapter must pass, on every broker. One file per subject, each with its list on top.
//!
//! This folder is included by each adapter's test binary (`tests/tokio.rs` and so on), beside a module `facade` with
//! these names:
//!
//! - what the adapter exports: `connect`, `Connection`, `Channel` and the rest of the client's API
//! - `block_on(future)`: runs a case; what it spawns gets on even while the case blocks its thread
//! - `spawn(future)`: runs concurrently; awaiting what it returns gives the result, or goes on with its panic
//! - `sleep(duration)`
//! - `THREADS_PER_CONNECTION`: how many threads a connection takes
//! - `on_connect(options, hook)`: options with one more hook, a function of the connection that returns a future
//! - `timeout(duration, future)`: `Err(Elapsed)` if the future takes longer. A blocking adapter can say so only
//!   afterwards, so this is for things that must end, not for giving up on things that do not.
//!
//! A case is an `async fn(Context)`, listed in the file's `cases!`. A blocking adapter's futures are always ready,
//! so a case must not count on `join!` or `select!` to run two things at a time: it spawns them.
//!
//! The name of a case that shows a statement of `docs/acceptance.md` begins with its number: `r4_...`, `f26_...`.

use conformance::Case;

mod alarm;
mod arguments;
mod batches;
mod calls;
mod channels;
mod closing;
mod confirms;
mod connect;
mod consume;
mod content;
mod dead_letters;
mod events;
mod exchanges;
mod facade_works;
mod frames;
mod handlers;
mod handshake;
mod heartbeat;
mod hostile;
mod listeners;
mod login;
mod pools;
mod prefetch;
mod pressure;
mod publish;
mod publish_batches;
mod publisher;
mod put_back;
mod qos;
mod queues;
mod recovery;
mod recovery_pitfalls;
mod reply;
mod resources;
mod restored;
mod retry;
mod rpc;
mod scope;
mod settle;
mod smoke;
mod streamed_in;
mod streamed_out;
mod streams;
mod support;
mod tasks;
mod tls;
mod transactions;
mod typed;

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    [
        alarm::cases(),
        arguments::cases(),
        batches::cases(),
        calls::cases(),
        channels::cases(),
        closing::cases(),
        confirms::cases(),
        connect::cases(),
        consume::cases(),
        content::cases(),
        dead_letters::cases(),
        events::cases(),
        exchanges::cases(),
        facade_works::cases(),
        frames::cases(),
        handlers::cases(),
        handshake::cases(),
        heartbeat::cases(),
        hostile::cases(),
        listeners::cases(),
        login::cases(),
        pools::cases(),
        prefetch::cases(),
        pressure::cases(),
        publish::cases(),
        publish_batches::cases(),
        publisher::cases(),
        put_back::cases(),
        qos::cases(),
        queues::cases(),
        recovery::cases(),
        recovery_pitfalls::cases(),
        reply::cases(),
        retry::cases(),
        rpc::cases(),
        scope::cases(),
        resources::cases(),
        restored::cases(),
        settle::cases(),
        smoke::cases(),
        transactions::cases(),
        streamed_in::cases(),
        streamed_out::cases(),
        streams::cases(),
        tasks::cases(),
        tls::cases(),
        typed::cases(),
    ]
    .concat()
}
