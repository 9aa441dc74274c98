//! Bytes to frames and back, and the types that fields are made of.
//!
//! Bytes of a socket go into a [`Deframer`], which cuts them into [`Block`]s of whole, checked [`Frame`]s without
//! copying. What a frame carries is parsed in place by nom parsers (`parse`): all decoded types borrow from the block.
//! Names are [`ShortStr`]s, whose UTF-8 is only checked when it is asked for. Field tables stay in wire form, both
//! borrowed ([`TableRef`]) and owned ([`FieldTable`]); they are validated once, when they are decoded or built.
//!
//! Encoding appends to a `Vec<u8>`; lengths are written back, and on an error the vector is as long as it was.
//!
//! | file | job |
//! |---|---|
//! | `strings` | short and long strings |
//! | `frame` | frames, blocks of frames, writing of frames |
//! | `deframer` | bytes to blocks |
//! | `value`, `array` | the 17 types of field values |
//! | `table` | field tables, borrowed and owned, and [`table!`](crate::table) |
//! | `check` | the one pass that validates a table |
//! | `parse` | nom parsers of the primitives |
//! | `reader`, `writer` | fields of methods and properties in order, with their bits packed |
//! | `error` | what can go wrong |

mod array;
mod check;
mod deframer;
mod error;
mod frame;
mod parse;
mod reader;
mod strings;
mod table;
mod value;
mod writer;

pub use array::{ArrayIter, ArrayRef};
pub use deframer::{Deframer, MAX_FRAME_UNLIMITED};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, FrameError};
pub use frame::{
    Block, FRAME_END, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind, Frames, PROTOCOL_HEADER, put_body_frame_header,
    put_frame, put_heartbeat,
};
pub(crate) use frame::{finish_frame, frame_header, start_frame};
pub use reader::WireType;
pub(crate) use reader::{Field, FieldChecker, Reader};
pub use strings::{LongStr, ShortStr};
pub use table::{FieldTable, TableIter, TableRef};
pub use value::{FieldValue, ValueRef};
pub(crate) use writer::{Sink, Writer, put_entry};

/// The deepest nesting of field tables and arrays: 32, the outermost table counting as one.
///
/// The protocol knows no limit; without one, 14 kB of nested tables overflow the stack of a recursive decoder.
pub const MAX_TABLE_DEPTH: u8 = 32;
