//! The table of methods, for reflection, and the cold path that explains why a method does not decode.

use super::any::ids;
use crate::wire::{DecodeError, DecodeErrorKind, FieldChecker, WireType};

/// A row of the table of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodInfo {
    /// Its class.
    pub class_id: u16,
    /// Its number in the class.
    pub method_id: u16,
    /// The specification's name of it, such as `basic.get-ok`.
    pub name: &'static str,
    /// Who may send it.
    pub sender: Sender,
    /// Whether the specification calls it synchronous.
    pub synchronous: bool,
    /// Whether a content header and a body follow it.
    pub content: bool,
    /// Names of the methods that can answer it; none if it is not answered.
    pub replies: &'static [&'static str],
    /// Its fields, in the order of the wire.
    pub fields: &'static [FieldInfo],
}

/// A field of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldInfo {
    /// Its name, as in the method's struct.
    pub name: &'static str,
    /// Its type.
    pub wire_type: WireType,
    /// Whether it is only on the wire, and not in the struct: written as zero or empty, and ignored when read.
    pub reserved: bool,
}

/// Who may send a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
    /// Both.
    Both,
}

/// The methods of all classes, by class and in the order of the specification.
const CLASSES: [&[&MethodInfo]; 8] = [
    super::connection::METHODS,
    super::channel::METHODS,
    super::access::METHODS,
    super::exchange::METHODS,
    super::queue::METHODS,
    super::basic::METHODS,
    super::confirm::METHODS,
    super::tx::METHODS,
];

/// All methods there are.
pub fn methods() -> impl Iterator<Item = &'static MethodInfo> {
    CLASSES.into_iter().flatten().copied()
}

/// The row of this method, if there is such a method.
#[must_use]
pub fn info_of(class_id: u16, method_id: u16) -> Option<&'static MethodInfo> {
    methods().find(|info| (info.class_id, info.method_id) == (class_id, method_id))
}

/// The name of this method, such as `basic.deliver`, if there is such a method.
///
/// ```
/// assert_eq!(amqp_proto::method::name_of(60, 60), Some("basic.deliver"));
/// assert_eq!(amqp_proto::method::name_of(60, 61), None);
/// ```
#[must_use]
pub fn name_of(class_id: u16, method_id: u16) -> Option<&'static str> {
    info_of(class_id, method_id).map(|info| info.name)
}

/// Class and method, which stand before the fields.
pub(super) const IDS_LEN: usize = 4;

impl MethodInfo {
    /// Why these fields do not decode.
    #[cold]
    #[inline(never)]
    pub(super) fn explain(&self, fields: &[u8]) -> DecodeError {
        let error = |field, offset, kind| DecodeError {
            class_id: self.class_id,
            method_id: self.method_id,
            name: self.name,
            field,
            offset: IDS_LEN + offset,
            kind,
        };
        let mut checker = FieldChecker::new(fields);
        for field in self.fields {
            if let Err(failure) = checker.check(field.wire_type) {
                return error(field.name, failure.offset_in(fields), failure.kind);
            }
        }
        let left = checker.rest().len();
        error("", fields.len() - left, DecodeErrorKind::TrailingBytes(left))
    }
}

/// Why the payload of a method frame does not decode.
#[cold]
#[inline(never)]
pub(super) fn explain(payload: &[u8]) -> DecodeError {
    let error = |class_id, method_id, offset, kind| DecodeError {
        class_id,
        method_id,
        name: "method",
        field: "",
        offset,
        kind,
    };
    let (Some((class_id, method_id)), Some(fields)) = (ids(payload), payload.get(IDS_LEN..)) else {
        return error(0, 0, payload.len(), DecodeErrorKind::Truncated);
    };
    match info_of(class_id, method_id) {
        Some(info) => info.explain(fields),
        None if methods().any(|info| info.class_id == class_id) => {
            error(class_id, method_id, 2, DecodeErrorKind::UnknownMethod(class_id, method_id))
        }
        None => error(class_id, method_id, 0, DecodeErrorKind::UnknownClass(class_id)),
    }
}
