//! [`Places`]: a small table in which everybody holds a number. Joining and leaving are O(1).
//!
//! Most tokens have no child, many have one, few have thousands: so none and one cost no allocation.
//!
//! **Invariants.** 1. A number is given again only after whoever held it has left. 2. While the items are
//! [away](Places::away), who leaves is noted, and let go when they are [back](Places::back). 3. An empty table keeps no
//! more than a few places. **Locking.** None: it lives behind its owner's lock.

use crate::sync::broken;

/// One's number in [`Places`].
pub(super) type Place = u32;

/// The number of who has no place: nobody is found under it.
pub(super) const NOWHERE: Place = Place::MAX;

/// How many places an empty table may keep, so that one who comes and goes does not allocate each time.
const KEPT: usize = 8;

pub(super) enum Places<T> {
    None,
    One(T),
    Many(Box<Table<T>>),
}

pub(super) struct Table<T> {
    items: Vec<Option<T>>,
    /// Places to be given again; while the items are away, those whose holders have left.
    free: Vec<Place>,
    len: usize,
    away: bool,
}

impl<T> Places<T> {
    pub(super) fn join(&mut self, item: T) -> Place {
        match std::mem::replace(self, Self::None) {
            Self::None => {
                *self = Self::One(item);
                0
            }
            Self::One(first) => {
                let items = vec![Some(first), Some(item)];
                *self = Self::Many(Box::new(Table { items, free: Vec::new(), len: 2, away: false }));
                1
            }
            Self::Many(mut table) => {
                let place = table.join(item);
                *self = Self::Many(table);
                place
            }
        }
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        match self {
            Self::One(item) if place == 0 => Some(item),
            Self::Many(table) => table.items.get_mut(place as usize)?.as_mut(),
            _ => None,
        }
    }

    /// The place of one that `is` so.
    pub(super) fn find(&self, is: impl Fn(&T) -> bool) -> Option<Place> {
        match self {
            Self::None => None,
            Self::One(item) => is(item).then_some(0),
            Self::Many(table) => {
                let at = table.items.iter().position(|item| item.as_ref().is_some_and(&is))?;
                Place::try_from(at).ok()
            }
        }
    }

    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        match self {
            Self::One(_) if place == 0 => match std::mem::replace(self, Self::None) {
                Self::One(item) => Some(item),
                _ => None,
            },
            Self::Many(table) => {
                let item = table.leave(place);
                if table.len == 0 && !table.away && table.items.capacity() > KEPT {
                    *self = Self::None;
                }
                item
            }
            _ => None,
        }
    }

    /// Gives the items of a table away for a while, each at its place. Nobody may join any more.
    pub(super) fn away(&mut self) -> Option<Vec<Option<T>>> {
        match self {
            Self::Many(table) if !table.away => {
                table.away = true;
                table.free = Vec::new();
                Some(std::mem::take(&mut table.items))
            }
            _ => None,
        }
    }

    /// Takes the items back, and gives those whose holders have left meanwhile.
    pub(super) fn back(&mut self, items: Vec<Option<T>>) -> Vec<T> {
        let Self::Many(table) = self else { return Vec::new() };
        (table.items, table.away) = (items, false);
        let left = std::mem::take(&mut table.free);
        left.into_iter().filter_map(|place| table.items.get_mut(place as usize)?.take()).collect()
    }

    #[inline]
    pub(super) fn for_each(self, mut f: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(item) => f(item),
            Self::Many(table) => table.items.into_iter().flatten().for_each(f),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(table) => table.len,
        }
    }
}

impl<T> Table<T> {
    fn join(&mut self, item: T) -> Place {
        assert!(!self.away, "nobody joins a node that is being cancelled");
        self.len += 1;
        if let Some(place) = self.free.pop() {
            self.items[place as usize] = Some(item);
            return place;
        }
        let place = Place::try_from(self.items.len()).ok().filter(|place| *place != NOWHERE);
        self.items.push(Some(item));
        place.expect("memory ends long before four thousand million children")
    }

    fn leave(&mut self, place: Place) -> Option<T> {
        if self.away {
            if !broken("token: a child that goes while it is being cancelled is not noted") {
                self.free.push(place);
                self.len -= 1;
            }
            return None;
        }
        let at = place as usize;
        let item = self.items.get_mut(at)?.take()?;
        self.len -= 1;
        if self.len == 0 {
            self.items.clear();
            self.free.clear();
        } else if at + 1 == self.items.len() {
            self.items.pop();
        } else {
            self.free.push(place);
        }
        Some(item)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_table_does_what_a_map_does(ops in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let (mut real, mut model) = (Places::None, BTreeMap::new());
            for (step, (join, which)) in ops.into_iter().enumerate() {
                if join || model.is_empty() {
                    let place = real.join(step);
                    prop_assert!(model.insert(place, step).is_none(), "a number was given twice");
                } else {
                    let place = *model.keys().nth(which.index(model.len())).unwrap();
                    prop_assert_eq!(real.leave(place), model.remove(&place));
                    prop_assert_eq!(real.leave(place), None);
                }
                prop_assert_eq!(real.len(), model.len());
                prop_assert!(model.iter().all(|(place, item)| real.get_mut(*place) == Some(&mut item.clone())));
            }
            // Half of them leave while the items are away.
            let items = real.away();
            let many = items.is_some();
            let (leaves, stays): (Vec<_>, Vec<_>) = model.into_iter().partition(|(place, _)| place % 2 == 0);
            let mut gone: Vec<_> = leaves.iter().filter_map(|(place, _)| real.leave(*place)).collect();
            prop_assert_eq!((real.len(), many && !gone.is_empty()), (stays.len(), false));
            gone.extend(items.map(|items| real.back(items)).unwrap_or_default());
            prop_assert_eq!(gone, leaves.into_iter().map(|(_, item)| item).collect::<Vec<_>>());
            for (place, item) in stays {
                prop_assert_eq!(real.leave(place), Some(item));
            }
            prop_assert_eq!(real.len(), 0);
        }
    }
}
