//! [`Places`]: a small table in which everybody holds a number. Joining and leaving are O(1).
//!
//! Most tokens have no child, many have one, few have thousands: so none and one cost no allocation.
//!
//! **Invariants.** 1. A number is given again only after whoever held it has left. 2. Whoever is [taken](Places::take_if)
//! leaves a number that is not given again: its holder may still try to leave, and finds nobody. 3. An empty table keeps
//! no more than a few places. **Locking.** None: it lives behind its owner's lock.

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
    free: Vec<Place>,
    len: usize,
}

impl<T> Places<T> {
    pub(super) fn join(&mut self, item: T) -> Place {
        match std::mem::replace(self, Self::None) {
            Self::None => {
                *self = Self::One(item);
                0
            }
            Self::One(first) => {
                *self = Self::Many(Box::new(Table { items: vec![Some(first), Some(item)], free: Vec::new(), len: 2 }));
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

    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        match self {
            Self::One(_) if place == 0 => match std::mem::replace(self, Self::None) {
                Self::One(item) => Some(item),
                _ => None,
            },
            Self::Many(table) => {
                let item = table.leave(place);
                if table.len == 0 && table.items.capacity() > KEPT {
                    *self = Self::None;
                }
                item
            }
            _ => None,
        }
    }

    /// Takes out those of whom `wanted` is true. Nobody may join after that.
    pub(super) fn take_if(&mut self, taken: &mut Vec<T>, wanted: impl Fn(&T) -> bool) {
        match self {
            Self::None => {}
            Self::One(item) => {
                if wanted(item) {
                    taken.extend(self.leave(0));
                }
            }
            Self::Many(table) => {
                for item in &mut table.items {
                    if item.as_ref().is_some_and(&wanted) {
                        taken.extend(item.take());
                        table.len -= 1;
                    }
                }
            }
        }
    }

    pub(super) fn for_each(self, f: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(item) => Some(item).into_iter().for_each(f),
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
            let mut taken = Vec::new();
            real.take_if(&mut taken, |item| item % 2 == 0);
            prop_assert!(taken.iter().all(|item| item % 2 == 0));
            prop_assert_eq!(real.len() + taken.len(), model.len());
            for (place, item) in model {
                prop_assert_eq!(real.leave(place), (item % 2 == 1).then_some(item));
            }
            prop_assert_eq!(real.len(), 0);
        }
    }
}
