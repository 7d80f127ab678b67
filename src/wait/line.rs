//! [`Line`]: a first-in-first-out line in which everybody holds a number and may leave from anywhere.
//!
//! **Invariants.** 1. Numbers are never given twice. 2. The order of numbers is the order of joining. **Locking.** None:
//! it lives behind its owner's lock. Joining, leaving and serving the first cost O(log n).

use std::collections::BTreeMap;

/// One's number in a [`Line`].
pub(crate) type Place = u64;

#[derive(Debug)]
pub(crate) struct Line<T> {
    next: Place,
    items: BTreeMap<Place, T>,
}

impl<T> Line<T> {
    pub(crate) const fn new() -> Self {
        Self { next: 0, items: BTreeMap::new() }
    }

    pub(crate) fn join(&mut self, item: T) -> Place {
        let place = self.next;
        self.next += 1;
        self.items.insert(place, item);
        place
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.items.get_mut(&place)
    }

    pub(crate) fn leave(&mut self, place: Place) -> Option<T> {
        self.items.remove(&place)
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.items.first_key_value().map(|(_, item)| item)
    }

    pub(crate) fn serve(&mut self) -> Option<(Place, T)> {
        self.items.pop_first()
    }

    /// Everybody leaves at once; numbers go on counting.
    pub(crate) fn empty(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.items).into_values()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}
