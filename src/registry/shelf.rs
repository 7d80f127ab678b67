//! [`Shelf`]: a bounded map that makes room by dropping what nobody holds, the longest unasked-for first. Pure: it is told
//! the time.
//!
//! **Invariants.** Those of the registry. Asking costs O(1); making room O(n), which happens once per new key.

use crate::sync::broken;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What is kept on a shelf and handed out as clones.
pub(super) trait Kept: Clone {
    /// Whether anybody beside the shelf has it. May only go from no to yes through the shelf itself.
    fn is_held_elsewhere(&self) -> bool;
}

pub(super) struct Shelf<K, V> {
    limit: usize,
    residence: Duration,
    entries: HashMap<K, Entry<V>>,
    /// Grows with every asking: the order of use, finer than the clock.
    asked: u64,
}

struct Entry<V> {
    value: V,
    since: Instant,
    asked: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full {
    pub(super) limit: usize,
}

impl<K: Hash + Eq + Clone, V: Kept> Shelf<K, V> {
    pub(super) fn new(limit: usize, residence: Duration) -> Self {
        Self { limit, residence, entries: HashMap::new(), asked: 0 }
    }

    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entry = self.entries.get_mut(key)?;
        self.asked += 1;
        entry.asked = self.asked;
        Some(entry.value.clone())
    }

    /// Whether another key would find room.
    pub(super) fn has_room(&self, now: Instant) -> Result<(), Full> {
        let room = self.entries.len() < self.limit || self.oldest(now).is_some();
        if room { Ok(()) } else { Err(Full { limit: self.limit }) }
    }

    /// The one that stays for `key`, handed out, and what went for it.
    pub(super) fn put(&mut self, key: K, value: V, now: Instant) -> Result<(V, Option<V>), (Full, V)> {
        if !broken("registry: who built later replaces who built first") {
            if let Some(there) = self.get(&key) {
                return Ok((there, Some(value)));
            }
        }
        let mut gone = None;
        if self.entries.len() >= self.limit {
            let Some(oldest) = self.oldest(now) else { return Err((Full { limit: self.limit }, value)) };
            gone = self.entries.remove(&oldest).map(|entry| entry.value);
        }
        self.asked += 1;
        self.entries.insert(key, Entry { value: value.clone(), since: now, asked: self.asked });
        Ok((value, gone))
    }

    /// The key that makes room, if one may.
    fn oldest(&self, now: Instant) -> Option<K> {
        let may_go = |entry: &Entry<V>| {
            let idle = !entry.value.is_held_elsewhere() || broken("registry: what is in use may go");
            idle && now.saturating_duration_since(entry.since) >= self.residence
        };
        let idle = self.entries.iter().filter(|(_, entry)| may_go(entry));
        idle.min_by_key(|(_, entry)| entry.asked).map(|(key, _)| key.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn residence(&self) -> Duration {
        self.residence
    }

    pub(super) fn all(&self) -> Vec<(K, V)> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }
}
