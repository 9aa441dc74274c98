//! What waits to be written: small bytes in one vector, large bodies linked between them without a copy.
//!
//! A turn of the driver swaps the connection's [`Outbound`] for an empty one under the lock and writes it outside of
//! it; the vectors go back and forth and are never reallocated in a steady state.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Everything but the linked bodies.
    bytes: Vec<u8>,
    /// How much of `bytes` has been written.
    written: usize,
    /// Large bodies; each goes out before `bytes[at]`.
    links: VecDeque<Link>,
    /// Bytes left, links included.
    len: usize,
    /// The length of `bytes` when `len` was last brought up to date.
    counted: usize,
}

#[derive(Debug)]
struct Link {
    at: usize,
    body: Bytes,
}

/// A vector that grew beyond this by one large message is not kept for the next turn.
const KEEP: usize = 1 << 20;

impl Outbound {
    /// Nothing to write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes are left to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len + (self.bytes.len() - self.counted)
    }

    /// Whether all has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vector to which small things are appended. Nothing may be taken from it below its present length.
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts a body behind what is there, without copying it.
    pub(crate) fn link(&mut self, body: Bytes) {
        if !body.is_empty() {
            self.len += body.len();
            self.links.push_back(Link { at: self.bytes.len(), body });
        }
    }

    /// Fills `slices` with what is to be written next and returns how many were filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.written;
        for link in &self.links {
            for part in [self.bytes.get(at..link.at).unwrap_or_default(), &link.body] {
                if part.is_empty() {
                    continue;
                }
                let Some(slice) = slices.get_mut(filled) else { return filled };
                *slice = IoSlice::new(part);
                filled += 1;
            }
            at = link.at;
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        if !rest.is_empty()
            && let Some(slice) = slices.get_mut(filled)
        {
            *slice = IoSlice::new(rest);
            filled += 1;
        }
        filled
    }

    /// Takes note that the first `count` bytes have been written.
    pub fn advance(&mut self, mut count: usize) {
        self.len = self.len().saturating_sub(count);
        self.counted = self.bytes.len();
        while count > 0 {
            let before_link = self.links.front().map_or(self.bytes.len(), |link| link.at) - self.written;
            let small = before_link.min(count);
            self.written += small;
            count -= small;
            let Some(link) = self.links.front_mut() else { break };
            if count < link.body.len() {
                bytes::Buf::advance(&mut link.body, count);
                break;
            }
            if small == before_link {
                count -= link.body.len();
                self.links.pop_front();
            }
        }
        if self.len == 0 {
            self.clear();
        }
    }

    fn clear(&mut self) {
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.links.clear();
        (self.written, self.len, self.counted) = (0, 0, 0);
    }

    /// All that is left, in one piece. For tests and simulations.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        let mut at = self.written;
        for link in &self.links {
            all.extend_from_slice(self.bytes.get(at..link.at).unwrap_or_default());
            all.extend_from_slice(&link.body);
            at = link.at;
        }
        all.extend_from_slice(self.bytes.get(at..).unwrap_or_default());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_sequence_of_short_writes_gives_the_bytes_in_order(
            parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            steps in proptest::collection::vec(1usize..50, 1..200),
        ) {
            let mut out = Outbound::new();
            let mut expected = Vec::new();
            for (linked, part) in parts {
                expected.extend_from_slice(&part);
                if linked { out.link(Bytes::from(part)) } else { out.tail().extend_from_slice(&part) }
            }
            prop_assert_eq!(out.len(), expected.len());
            let mut written = Vec::new();
            for step in steps.into_iter().cycle() {
                if out.is_empty() { break }
                let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
                let filled = out.io_slices(&mut slices);
                let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert!(!offered.is_empty());
                let step = step.min(offered.len());
                written.extend_from_slice(&offered[..step]);
                out.advance(step);
                prop_assert_eq!(out.len(), expected.len() - written.len());
                prop_assert_eq!(&out.to_vec()[..], &expected[written.len()..]);
            }
            prop_assert_eq!(written, expected);
        }
    }
}
