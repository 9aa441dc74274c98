//! The input of a fuzz target as a supply of choices. When it is used up, every choice is the first one.

/// What is left of the input.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of so many, from 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of these, if there is any.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let at = self.below(choices.len());
        choices.get(at).copied()
    }

    /// Up to so many bytes as they stand in the input.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.0.len());
        self.0.split_off(..count).unwrap_or_default()
    }

    /// A number: mostly small, sometimes of any size.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            255 => self.bytes(8).iter().fold(u64::MAX, |number, byte| number << 8 | u64::from(*byte)),
            small => u64::from(small % 16),
        }
    }
}
