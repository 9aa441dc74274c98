//! What every method can, and the macro that makes it of a class's methods.

use super::info::MethodInfo;
use crate::wire::{DecodeError, EncodeError, FrameKind, Reader, Writer, finish_frame, start_frame};

/// A method that can be encoded and decoded.
pub trait MethodCodec<'a>: Sized {
    /// Its class.
    const CLASS_ID: u16;
    /// Its number in the class.
    const METHOD_ID: u16;
    /// The specification's name of it, such as `basic.deliver`.
    const NAME: &'static str;
    /// Its row in the table of methods.
    const INFO: &'static MethodInfo;

    /// Appends the fields: what follows class and method in a method frame.
    ///
    /// # Errors
    /// If a field cannot be encoded. `out` may then have some of the fields; [`put_method`] takes them away.
    fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Decodes the fields: what follows class and method in a method frame, all of it.
    ///
    /// # Errors
    /// If the fields do not decode or something follows them. The error's offset counts from the start of the
    /// frame's payload: 4 bytes before `fields`.
    fn decode_fields(fields: &'a [u8]) -> Result<Self, DecodeError>;
}

/// Appends a whole frame with this method.
///
/// # Errors
/// If a field cannot be encoded; `out` is then as it was. Whether the frame is larger than negotiated is the caller's
/// business.
#[inline]
pub fn put_method<'a, M: MethodCodec<'a>>(out: &mut Vec<u8>, channel: u16, method: &M) -> Result<(), EncodeError> {
    put_method_frame(out, channel, M::CLASS_ID, M::METHOD_ID, |out| method.encode_fields(out))
}

/// Appends a whole method frame with these fields, or nothing.
#[inline(always)]
pub(super) fn put_method_frame(
    out: &mut Vec<u8>,
    channel: u16,
    class_id: u16,
    method_id: u16,
    encode_fields: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let [c0, c1] = class_id.to_be_bytes();
    let [m0, m1] = method_id.to_be_bytes();
    start_frame(out, FrameKind::Method, channel, [c0, c1, m0, m1]);
    let done = encode_fields(out).and_then(|()| finish_frame(out, start));
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// Makes the methods of a class: a struct each, `enum Method` of them all, and their codec.
///
/// A method says its name, its number, who sends it (`client`, `server` or `both`), whether it is `sync` or `async`,
/// whether it has `content` or is `plain`, and the names of its replies. A `reserved` field is not in the struct.
macro_rules! class {
    (
        $(#[$class_doc:meta])*
        $class_name:literal = $class_id:literal, $variant:ident: enum Method $(<$class_lt:lifetime>)?;
        $(
            $(#[$doc:meta])*
            $method_name:literal = $method_id:literal, $sender:ident, $sync:ident, $content:ident
            $(, replies $($reply:literal)|+)?;
            struct $name:ident $(<$lt:lifetime>)? {
                $(
                    $(reserved $reserved:ident: $reserved_type:ident $(<$reserved_lt:lifetime>)?)?
                    $($(#[$field_doc:meta])* pub $field:ident: $type:ty)?
                ,)*
            }
        )*
    ) => {
        use $crate::method::class::MethodCodec;

        /// The class's number.
        pub const CLASS_ID: u16 = $class_id;

        /// The rows of the class in the table of methods.
        pub(super) const METHODS: &[&$crate::method::MethodInfo] = &[$($name::INFO),*];

        $(#[$class_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method $(<$class_lt>)? {
            $(
                #[doc = concat!("`", $class_name, ".", $method_name, "`")]
                $name($name $(<$lt>)?),
            )*
        }

        impl $(<$class_lt>)? Method $(<$class_lt>)? {
            /// Reads the fields of the class's method with this number, without saying why it fails.
            #[inline(always)]
            pub(super) fn read_fields(method_id: u16, fields: & $($class_lt)? [u8]) -> Option<Self> {
                match method_id {
                    $($method_id => $crate::method::class::ReadFields::read_fields(fields).map(Self::$name),)*
                    _ => None,
                }
            }

            /// Appends the fields.
            #[inline]
            pub(super) fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), $crate::wire::EncodeError> {
                match self {
                    $(Self::$name(method) => MethodCodec::encode_fields(method, out),)*
                }
            }

            /// The method's row in the table of methods.
            #[inline]
            #[must_use]
            pub fn info(&self) -> &'static $crate::method::MethodInfo {
                match self {
                    $(Self::$name(_) => $name::INFO,)*
                }
            }
        }

        impl<'a> From<Method $(<$class_lt>)?> for $crate::method::Method<'a> {
            #[inline]
            fn from(method: Method $(<$class_lt>)?) -> Self {
                Self::$variant(method)
            }
        }

        $(
            $crate::method::class::method_struct! {
                $(#[$doc])*
                #[doc = ""]
                #[doc = concat!("`", $class_name, ".", $method_name, "` = ", $class_id, ".", $method_id)]
                pub struct $name $(<$lt>)? { $($($(#[$field_doc])* pub $field: $type,)?)* }
            }

            impl<'a> MethodCodec<'a> for $name $(<$lt>)? {
                const CLASS_ID: u16 = $class_id;
                const METHOD_ID: u16 = $method_id;
                const NAME: &'static str = concat!($class_name, ".", $method_name);
                const INFO: &'static $crate::method::MethodInfo = &$crate::method::MethodInfo {
                    class_id: $class_id,
                    method_id: $method_id,
                    name: concat!($class_name, ".", $method_name),
                    sender: $crate::method::class::method_word!($sender),
                    synchronous: $crate::method::class::method_word!($sync),
                    content: $crate::method::class::method_word!($content),
                    replies: &[$($(concat!($class_name, ".", $reply)),+)?],
                    fields: &[
                        $(
                            $($crate::method::FieldInfo {
                                name: stringify!($reserved),
                                wire_type: <$reserved_type $(<$reserved_lt>)? as $crate::wire::Field>::WIRE_TYPE,
                                reserved: true,
                            },)?
                            $($crate::method::FieldInfo {
                                name: stringify!($field),
                                wire_type: <$type as $crate::wire::Field>::WIRE_TYPE,
                                reserved: false,
                            },)?
                        )*
                    ],
                };

                #[inline]
                fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), $crate::wire::EncodeError> {
                    $crate::method::class::encode_all(out, #[inline(always)] |_writer| {
                        $(
                            $($crate::wire::Field::put(<$reserved_type $(<$reserved_lt>)?>::default(), _writer)?;)?
                            $($crate::wire::Field::put(self.$field, _writer)?;)?
                        )*
                        Ok(())
                    })
                }

                #[inline]
                fn decode_fields(fields: &'a [u8]) -> Result<Self, $crate::wire::DecodeError> {
                    match $crate::method::class::ReadFields::read_fields(fields) {
                        Some(method) => Ok(method),
                        None => Err(Self::INFO.explain(fields)),
                    }
                }
            }

            impl<'a> $crate::method::class::ReadFields<'a> for $name $(<$lt>)? {
                #[inline(always)]
                fn read_fields(fields: &'a [u8]) -> Option<Self> {
                    $crate::method::class::read_all(fields, #[inline(always)] |_reader| {
                        $(
                            $(let _: $reserved_type $(<$reserved_lt>)? = _reader.read()?;)?
                            $(let $field: $type = _reader.read()?;)?
                        )*
                        Some(Self { $($($field,)?)* })
                    })
                }
            }

            impl<'a> From<$name $(<$lt>)?> for $crate::method::Method<'a> {
                #[inline]
                fn from(method: $name $(<$lt>)?) -> Self {
                    Self::$variant(Method::$name(method))
                }
            }
        )*
    };
}
pub(super) use class;

/// Runs an encoder, and appends the bits that are left.
#[inline(always)]
pub(super) fn encode_all(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut writer = Writer::new(out);
    encode(&mut writer)?;
    writer.finish();
    Ok(())
}

/// A method whose fields can be read without saying why it fails: the fast pass. What it takes to say why would be in
/// the way of it.
pub(super) trait ReadFields<'a>: Sized {
    /// Reads all of `fields`. `None` if they do not decode or something follows them.
    fn read_fields(fields: &'a [u8]) -> Option<Self>;
}

/// Reads all of `fields`.
#[inline(always)]
pub(super) fn read_all<'a, M>(fields: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Option<M>) -> Option<M> {
    let mut reader = Reader::new(fields);
    let method = read(&mut reader)?;
    reader.rest().is_empty().then_some(method)
}

/// A method's struct: a unit struct if there is no field.
macro_rules! method_struct {
    ($(#[$doc:meta])* pub struct $name:ident {}) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;
    };
    ($(#[$doc:meta])* pub struct $name:ident $(<$lt:lifetime>)? { $($fields:tt)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name $(<$lt>)? { $($fields)+ }
    };
}
pub(super) use method_struct;

/// The words that say what a method is.
macro_rules! method_word {
    (client) => {
        $crate::method::Sender::Client
    };
    (server) => {
        $crate::method::Sender::Server
    };
    (both) => {
        $crate::method::Sender::Both
    };
    (sync) => {
        true
    };
    (async) => {
        false
    };
    (content) => {
        true
    };
    (plain) => {
        false
    };
}
pub(super) use method_word;
