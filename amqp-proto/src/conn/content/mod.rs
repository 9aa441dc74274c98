//! Messages that come in: [`Delivery`] and [`Returned`], the [`Body`] they carry, and how they are put together from a
//! method, a header and body frames (`assembly`).
//!
//! The names, the undecoded properties and a small body of one message are copied into one allocation: that is faster
//! than counting references, and a message of 16 bytes does not pin the block of 64 KiB it came in. A large body stays
//! where it was read and is shared.

mod assembly;
mod body;
mod built;
mod delivery;
mod inflow;

pub(super) use assembly::{Assembly, Envelope, HEADER_FIXED, Head, Incoming, Misplaced, Progress};
pub use body::{Body, BodyReader};
pub(super) use body::{INLINE_BODY, Payload};
pub use built::DeliveryParts;
pub use delivery::{Delivery, Returned};
pub(super) use inflow::Inflow;
pub use inflow::{NextChunk, StreamedBody};
