//! How a connection that was lost comes back: decisions as pure state, which [`conn`](crate::conn) carries out.
//!
//! | file | job |
//! |---|---|
//! | `back_off` | how long to wait before the next attempt |
//! | `topology` | what was declared, so that it can be declared again |
//! | `change` | what a method and its reply do to that record |
//! | `restore` | declaring it again: in which order, and what becomes of refusals |

mod back_off;
mod change;
mod restore;
mod topology;

pub use self::back_off::BackOff;
pub(crate) use self::change::Change;
pub use self::restore::Recorded;
pub(crate) use self::restore::{ATTEMPTS, Item, Next, Refused, Restore};
pub(crate) use self::topology::Topology;
pub use self::topology::{Binding, Destination, Exchange, Queue};
