//! The 14 properties of class basic. (0-9-1 §1.8)
//!
//! [`Properties`] (`owned`) are one's own and in wire form, so that publishing copies them. [`PropertiesRef`]
//! (`decoded`) borrow from a content header; the table of properties stands there too.

mod decoded;
mod owned;

pub use decoded::{PROPERTIES, PropertiesRef, PropertyInfo};
pub use owned::Properties;
