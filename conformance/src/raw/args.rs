//! Method arguments, field by field: `Args::new().short_string("orders").u32(0)`.

/// The arguments of a method as they stand on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<u8>);

impl Args {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Any bytes, right or wrong.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An octet: also one to eight bits in a row.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// A short integer.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A long integer.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A long long integer, such as a delivery tag.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A short string. What does not fit its length of one byte is cut off.
    #[must_use]
    pub fn short_string(self, text: &str) -> Self {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX)).bytes(bytes)
    }

    /// A long string, or a table whose fields `bytes` holds.
    #[must_use]
    pub fn long_string(self, bytes: &[u8]) -> Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).bytes(bytes)
    }

    /// A table with nothing in it.
    #[must_use]
    pub fn empty_table(self) -> Self {
        self.long_string(&[])
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
