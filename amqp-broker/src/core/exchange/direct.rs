//! The routing of direct exchanges: by equal keys.

use std::collections::BTreeMap;

use super::{Destination, remove_one};
use crate::core::name::Name;

/// Destinations by routing key, one for each binding: how many there are of other arguments does not matter.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<Name, Vec<Destination>>);

impl Keys {
    pub(super) fn insert(&mut self, key: &Name, destination: Destination) {
        self.0.entry(key.clone()).or_default().push(destination);
    }

    pub(super) fn remove(&mut self, key: &[u8], destination: &Destination) {
        if let Some(destinations) = self.0.get_mut(key) {
            remove_one(destinations, |other| other == destination);
            if destinations.is_empty() {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> &[Destination] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}
