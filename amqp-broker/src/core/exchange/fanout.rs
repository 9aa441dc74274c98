//! The routing of fanout exchanges: everywhere.

use super::{Destination, remove_one};

/// Destinations, one for each binding.
#[derive(Debug, Default)]
pub(super) struct Everywhere(Vec<Destination>);

impl Everywhere {
    pub(super) fn insert(&mut self, destination: Destination) {
        self.0.push(destination);
    }

    pub(super) fn remove(&mut self, destination: &Destination) {
        remove_one(&mut self.0, |other| other == destination);
    }

    pub(super) fn all(&self) -> &[Destination] {
        &self.0
    }
}
