//! Class tx: transactions of publishes and acknowledgements on a channel.

use super::class::class;

class! {
    /// Any method of class tx.
    "tx" = 90, Tx: enum Method;

    /// Puts the channel into transaction mode.
    "select" = 10, client, sync, plain, replies "select-ok";
    struct Select {}

    /// The channel is in transaction mode.
    "select-ok" = 11, server, sync, plain;
    struct SelectOk {}

    /// Makes what was published and acknowledged since the last commit happen.
    "commit" = 20, client, sync, plain, replies "commit-ok";
    struct Commit {}

    /// It has happened.
    "commit-ok" = 21, server, sync, plain;
    struct CommitOk {}

    /// Forgets what was published and acknowledged since the last commit.
    "rollback" = 30, client, sync, plain, replies "rollback-ok";
    struct Rollback {}

    /// It is forgotten.
    "rollback-ok" = 31, server, sync, plain;
    struct RollbackOk {}
}
