//! Field tables, kept in wire form.
//!
//! What is decoded is validated once and then read where it lies; what is built is encoded entry by entry, so that
//! encoding a table is one copy. (0-9-1 §4.2.5.5, with the brokers' types)

use std::fmt;

use super::check::{check_table, make_canonical};
use super::error::{DecodeError, EncodeError};
use super::parse::{TableContent, emit_errors, short_string, value};
use super::strings::ShortStr;
use super::value::{FieldValue, ValueRef, read_value};
use super::writer::put_entry;

/// What the bytes of a table are, beside valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// As we write them.
    #[default]
    Canonical,
    /// There is an `L`, or a true that is not 1.
    AsReceived,
    /// A value that is nested too deep was left out: it cannot be encoded.
    TooDeep,
    /// A value that is too long was left out: it cannot be encoded.
    TooLong,
    /// Nothing was left out, but there is a number that is not finite: it cannot be encoded.
    NotFinite,
}

impl Form {
    /// The form of a table or array inside. What was left out was not inside.
    fn of_nested(self) -> Self {
        if self == Self::AsReceived { self } else { Self::Canonical }
    }
}

/// Room that a table gets with its first entry, in bytes: most need no more.
const FIRST_CAPACITY: usize = 128;

/// A field table of one's own: client properties, arguments, headers.
///
/// Keys are at most 255 bytes, nesting at most [`MAX_TABLE_DEPTH`](super::MAX_TABLE_DEPTH). Entries keep the order in
/// which they were inserted; equality does not look at it.
///
/// ```
/// use amqp_proto::table;
/// use amqp_proto::wire::{EncodeError, FieldTable};
///
/// let mut arguments = FieldTable::new();
/// arguments.insert("x-queue-type", "quorum")?;
/// arguments.insert("x-delivery-limit", 5)?;
/// assert_eq!(arguments.get("x-delivery-limit").and_then(|limit| limit.as_i64()), Some(5));
///
/// assert_eq!(arguments, table! { "x-delivery-limit" => 5, "x-queue-type" => "quorum" });
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Clone, Default)]
pub struct FieldTable {
    /// Valid entries one after the other, without the table's length.
    entries: Vec<u8>,
    /// Never [`Form::AsReceived`].
    form: Form,
}

impl FieldTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), form: Form::Canonical }
    }

    /// Sets the value of a key. An entry of this key is replaced and keeps its place.
    ///
    /// # Errors
    /// [`EncodeError`] for a key over 255 bytes, for nesting that is too deep, for what is longer than 2³² − 1 bytes, and
    /// for a floating-point number that is not finite. The table is then unchanged.
    #[inline]
    pub fn insert(&mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Result<(), EncodeError> {
        self.insert_value(key.as_ref(), &value.into())
    }

    fn insert_value(&mut self, key: &str, value: &FieldValue) -> Result<(), EncodeError> {
        let key = ShortStr::named("key of a field table", key)?;
        let old = self.as_ref().find(key);
        let end = self.entries.len();
        if end == 0 {
            self.entries.reserve(FIRST_CAPACITY);
        }
        let put = put_entry(&mut self.entries, key, value).and_then(|()| match u32::try_from(self.entries.len()) {
            Ok(_) => Ok(()),
            Err(_) => Err(EncodeError::over_u32(self.entries.len())),
        });
        if let Err(error) = put {
            self.entries.truncate(end);
            return Err(error);
        }
        if let Some((start, stop)) = old {
            let entry = self.entries.split_off(end);
            self.entries.splice(start..stop, entry);
        }
        Ok(())
    }

    /// The table with one more entry; see [`insert`](Self::insert).
    ///
    /// # Errors
    /// As of [`insert`](Self::insert).
    #[inline]
    pub fn with(mut self, key: impl AsRef<str>, value: impl Into<FieldValue>) -> Result<Self, EncodeError> {
        self.insert(key, value)?;
        Ok(self)
    }

    /// For `table!`: the key was checked when it was compiled, and a value that cannot be encoded makes a table that
    /// cannot be encoded.
    #[doc(hidden)]
    pub fn insert_or_spoil(&mut self, key: &'static str, value: impl Into<FieldValue>) {
        match self.insert(key, value) {
            Ok(()) => {}
            Err(EncodeError::TooDeep) => self.form = Form::TooDeep,
            Err(EncodeError::NotFinite { .. }) => {
                // It stands for whatever was not finite, so that its key can be named.
                self.entries.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
                self.entries.extend_from_slice(key.as_bytes());
                self.entries.push(b'd');
                self.entries.extend_from_slice(&f64::NAN.to_be_bytes());
                self.form = Form::NotFinite;
            }
            Err(_) => self.form = Form::TooLong,
        }
    }

    /// Removes the entry of a key. `false` if there was none.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = ShortStr::new(key).ok().and_then(|key| self.as_ref().find(key));
        match found {
            Some((start, stop)) => {
                self.entries.drain(start..stop);
                true
            }
            None => false,
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<ValueRef<'_>> {
        self.as_ref().get(key)
    }

    /// Whether there is an entry of this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many entries there are. They are counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in order.
    #[must_use]
    pub fn iter(&self) -> TableIter<'_> {
        self.as_ref().iter()
    }

    /// The table, borrowed.
    #[inline]
    #[must_use]
    pub fn as_ref(&self) -> TableRef<'_> {
        TableRef { entries: &self.entries, form: self.form }
    }
}

impl<'a> From<&'a FieldTable> for TableRef<'a> {
    fn from(table: &'a FieldTable) -> Self {
        table.as_ref()
    }
}

impl<'a> IntoIterator for &'a FieldTable {
    type Item = (ShortStr<'a>, ValueRef<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl PartialEq for FieldTable {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for FieldTable {}

impl fmt::Debug for FieldTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A field table as it was received, borrowed and valid.
///
/// Keys are legal more than once; the first one counts. Equality compares the entries that count, regardless of
/// their order, and of whether an integer came as `l` or `L`.
#[derive(Clone, Copy, Default)]
pub struct TableRef<'a> {
    /// Valid entries one after the other, without the table's length.
    entries: &'a [u8],
    form: Form,
}

impl<'a> TableRef<'a> {
    /// The empty table.
    pub const EMPTY: TableRef<'static> = TableRef { entries: &[], form: Form::Canonical };

    /// Entries that were checked, with what the check has found.
    #[inline]
    pub(super) fn checked(entries: &'a [u8], form: Form) -> Self {
        Self { entries, form: form.of_nested() }
    }

    /// Entries that we wrote.
    #[inline]
    pub(crate) fn written(entries: &'a [u8]) -> Self {
        Self { entries, form: Form::Canonical }
    }

    /// A table of these bytes: its entries, without the length before them.
    ///
    /// # Errors
    /// [`DecodeError`] if they are no table; its offset counts from the start of `entries`.
    pub fn from_wire(entries: &'a [u8]) -> Result<Self, DecodeError> {
        if let Ok(checked) = check_table::<nom::Check>(entries) {
            return Ok(Self::checked(entries, checked.form));
        }
        match emit_errors(entries, TableContent) {
            Ok(_) => Ok(Self::EMPTY),
            Err(failure) => Err(DecodeError {
                class_id: 0,
                method_id: 0,
                name: "table",
                field: "",
                offset: failure.offset_in(entries),
                kind: failure.kind,
            }),
        }
    }

    /// The entries as bytes, without the length before them.
    #[inline]
    #[must_use]
    pub const fn as_wire(&self) -> &'a [u8] {
        self.entries
    }

    /// The length to write before the entries, or why the table cannot be encoded.
    #[inline]
    pub(crate) fn encodable_size(&self) -> Result<u32, EncodeError> {
        let size = u32::try_from(self.entries.len()).map_err(|_| EncodeError::over_u32(self.entries.len()))?;
        match self.form {
            Form::Canonical | Form::AsReceived => Ok(size),
            Form::TooDeep => Err(EncodeError::TooDeep),
            Form::TooLong => Err(EncodeError::over_u32(self.entries.len())),
            Form::NotFinite => Err(self.not_finite()),
        }
    }

    /// Which entry is the number that is not finite.
    #[cold]
    fn not_finite(&self) -> EncodeError {
        let found = self.iter().find(|(_, value)| value.as_f64().is_some_and(|number| !number.is_finite()));
        EncodeError::NotFinite { key: found.map(|(key, _)| key.to_string_lossy().into_owned()).unwrap_or_default() }
    }

    /// The value of a key; the first one if there are several.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<ValueRef<'a>> {
        self.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whether there is an entry of this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many entries there are, those with the same key too. They are counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no entries.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in order, those with the same key too.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter { rest: self.entries, form: self.form }
    }

    /// A copy that does not borrow, and is written as we write tables: integers as `l`, not `L`.
    #[must_use]
    pub fn to_owned(&self) -> FieldTable {
        let mut entries = self.entries.to_vec();
        if self.form == Form::AsReceived {
            make_canonical(&mut entries);
        }
        FieldTable { entries, form: if self.form == Form::AsReceived { Form::Canonical } else { self.form } }
    }

    /// Whether both have the same entries, but for those of the keys to ignore.
    #[must_use]
    pub fn eq_ignoring(&self, other: &Self, ignored: &[&str]) -> bool {
        if self.entries == other.entries {
            return true;
        }
        self.sorted(ignored) == other.sorted(ignored)
    }

    /// The entries that count, sorted by key.
    fn sorted(&self, ignored: &[&str]) -> Vec<(ShortStr<'a>, ValueRef<'a>)> {
        let mut entries: Vec<_> = self.iter().filter(|(key, _)| !ignored.iter().any(|name| key == name)).collect();
        // The sort is stable, so that of one key the first entry stays.
        entries.sort_by_key(|&(key, _)| key);
        entries.dedup_by_key(|&mut (key, _)| key);
        entries
    }

    /// From where to where the first entry of this key reaches.
    pub(crate) fn find(&self, key: ShortStr<'_>) -> Option<(usize, usize)> {
        let mut iter = self.iter();
        loop {
            let start = self.entries.len() - iter.rest.len();
            let (name, _) = iter.next()?;
            if name == key {
                return Some((start, self.entries.len() - iter.rest.len()));
            }
        }
    }
}

impl<'a> IntoIterator for TableRef<'a> {
    type Item = (ShortStr<'a>, ValueRef<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl PartialEq for TableRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.eq_ignoring(other, &[])
    }
}

impl Eq for TableRef<'_> {}

impl fmt::Debug for TableRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The entries of a table in order.
#[derive(Debug, Clone)]
pub struct TableIter<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (ShortStr<'a>, ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (rest, key) = value(self.rest, short_string())?;
        let (rest, value) = read_value(rest, self.form)?;
        self.rest = rest;
        Some((key, value))
    }
}

impl std::iter::FusedIterator for TableIter<'_> {}

/// A [`FieldTable`] of literal keys, whose length is checked when it is compiled.
///
/// A value that cannot be encoded, a number that is not finite for example, makes a table that cannot be encoded: see
/// [`EncodeError`](crate::wire::EncodeError).
///
/// ```
/// use amqp_proto::table;
///
/// let arguments = table! {
///     "x-queue-type" => "quorum",
///     "x-max-length" => 10_000,
///     "nested" => table! { "yes" => true },
/// };
/// assert_eq!(arguments.len(), 3);
/// assert!(table! {}.is_empty());
/// ```
#[macro_export]
macro_rules! table {
    () => { $crate::wire::FieldTable::new() };
    ($($key:literal => $value:expr),+ $(,)?) => {{
        let mut table = $crate::wire::FieldTable::new();
        $(
            const { assert!($key.len() <= 255, "a key of a field table has at most 255 bytes") };
            table.insert_or_spoil($key, $value);
        )+
        table
    }};
}
