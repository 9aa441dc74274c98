//! Frames to typed methods, content headers and properties, and back.
//!
//! One file per class of 0-9-1, with RabbitMQ's extensions. A method stands there once, as a struct with its fields in
//! the order of the wire; the macro in `class` makes everything else of it: ids, encoding, decoding, and a row of
//! reflection ([`MethodInfo`]) that names the field when decoding fails. Reserved fields are on the wire and in the
//! reflection, but not in the struct.
//!
//! All methods borrow from the frame they were decoded from.
//!
//! ```
//! use amqp_proto::method::{Method, basic, put_method};
//! use amqp_proto::wire::{Deframer, FrameKind};
//! use bytes::BytesMut;
//!
//! let mut out = Vec::new();
//! put_method(&mut out, 1, &basic::Ack { delivery_tag: 7, multiple: true })?;
//!
//! let block = Deframer::new(4096).next_block(&mut BytesMut::from(&out[..]))?.expect("a whole frame");
//! let frame = block.frames().next().expect("it is a frame");
//! assert_eq!((frame.kind, frame.channel), (FrameKind::Method, 1));
//! let method = Method::decode(frame.payload)?;
//! assert_eq!(method, Method::from(basic::Ack { delivery_tag: 7, multiple: true }));
//! assert_eq!(method.name(), "basic.ack");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | job |
//! |---|---|
//! | `class` | the macro, and the trait it implements |
//! | `info` | reflection: rows of the method table, and the cold path that explains a failure |
//! | `any` | [`Method`]: any method of any class |
//! | [`connection`], [`channel`], [`access`], [`exchange`], [`queue`], [`basic`], [`confirm`], [`tx`] | the classes |
//! | `header` | content headers |
//! | [`properties`] | the 14 properties of class basic |
//! | [`reply_code`] | reply codes |

mod any;
mod class;
mod header;
mod info;
pub mod properties;
pub mod reply_code;

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

pub use any::{Method, ids, put_any};
pub use class::{MethodCodec, put_method};
pub use header::{ContentHeader, RawProperties, put_content_header};
pub use info::{FieldInfo, MethodInfo, Sender, info_of, methods, name_of};
pub use properties::{Properties, PropertiesRef};
pub use reply_code::ReplyCode;
