//! Arrays of field values, borrowed.

use std::fmt;

use super::table::Form;
use super::value::{ValueRef, read_value};

/// An array in a decoded table, borrowed.
#[derive(Clone, Copy, Default)]
pub struct ArrayRef<'a> {
    /// Valid values one after the other.
    values: &'a [u8],
    form: Form,
}

impl<'a> ArrayRef<'a> {
    /// Values that were checked, in a table of this form.
    #[inline]
    pub(super) fn checked(values: &'a [u8], form: Form) -> Self {
        Self { values, form }
    }

    /// The values in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter { rest: self.values, form: self.form }
    }

    /// How many values there are. They are counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<'a> IntoIterator for ArrayRef<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl PartialEq for ArrayRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ArrayRef<'_> {}

impl fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The values of an [`ArrayRef`] in order.
#[derive(Debug, Clone)]
pub struct ArrayIter<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = ValueRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ValueRef<'a>> {
        let (rest, value) = read_value(self.rest, self.form)?;
        self.rest = rest;
        Some(value)
    }
}

impl std::iter::FusedIterator for ArrayIter<'_> {}
