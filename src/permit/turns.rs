//! Whose turn it is: the lines of those who wait, and the shares of the partitions. Pure: it is told how many permits
//! there are and how many are out, and decides; `inner.rs` holds it behind the lock.
//!
//! Everybody belongs to a part. Part 0 is everybody's: it owns nothing, and its permits are not counted here. The others
//! are partitions; each *owns* its share of the limit, rounded down.
//!
//! **Invariants.** 1. Within a part the order decides, and nobody is passed over for being heavy. 2. A part that stays
//! within what it owns waits for holders only: for no part that goes beyond its own. 3. What a part *keeps* is never
//! taken by another: `out` and what is kept and idle are together at most the limit, unless the limit was lowered.

use super::{Order, Share};
use crate::sync::broken;
use crate::wait::line::Place;
use std::collections::{BTreeMap, BTreeSet};

/// Shares are counted in millionths, so that decimals are exact.
const WHOLE: u64 = 1_000_000;

pub(super) struct Turns<W> {
    order: Order,
    /// What is larger than the limit may run alone.
    alone: bool,
    next: Place,
    parts: Box<[Part<W>]>,
    /// Served, but not yet come back to take it.
    granted: BTreeSet<Place>,
    /// Turned away by a limit of so many, and not yet come back to hear it.
    away: BTreeMap<Place, u64>,
    waiting: usize,
}

struct Part<W> {
    share: u64,
    kept: bool,
    owns: u64,
    out: u64,
    line: BTreeMap<Place, (u64, W)>,
}

/// Who is at the head of a line: its number, its weight, its part.
type Head = (Place, u64, usize);

/// What became of who leaves.
pub(super) enum Left<W> {
    /// It was in line still.
    Waiting(W),
    /// It was granted what it waited for.
    Granted,
    /// It had been turned away.
    Gone,
}

/// In millionths; `None` for what is no share.
pub(super) fn millionths(share: Share) -> Option<u64> {
    let (Share::Lent(of) | Share::Kept(of)) = share;
    (0.0..=1.0).contains(&of).then(|| (of * WHOLE as f64).round() as u64)
}

/// What a share owns of so many permits.
pub(super) fn owned(share: u64, limit: u64) -> u64 {
    share * limit / WHOLE
}

impl<W> Turns<W> {
    pub(super) fn new(order: Order, alone: bool, shares: impl IntoIterator<Item = Share>, limit: u64) -> Self {
        let part = |(share, kept)| Part { share, kept, owns: owned(share, limit), out: 0, line: BTreeMap::new() };
        let shares = shares.into_iter().map(|s| (millionths(s).unwrap_or(0), matches!(s, Share::Kept(_))));
        let parts = [(0, false)].into_iter().chain(shares).map(part).collect();
        Self { order, alone, next: 0, parts, granted: BTreeSet::new(), away: BTreeMap::new(), waiting: 0 }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn waiting_in(&self, part: usize) -> usize {
        self.parts[part].line.len()
    }

    pub(super) fn out_of(&self, part: usize) -> u64 {
        self.parts[part].out
    }

    pub(super) fn owned_by(&self, part: usize) -> u64 {
        self.parts[part].owns
    }

    /// The most that this part can ever have at once.
    pub(super) fn most(&self, part: usize, limit: u64) -> u64 {
        let kept = self.others(part).filter(|p| p.kept).map(|p| p.owns).sum();
        limit.saturating_sub(kept)
    }

    fn others(&self, part: usize) -> impl Iterator<Item = &Part<W>> {
        self.parts.iter().enumerate().filter(move |(i, _)| *i != part).map(|(_, p)| p)
    }

    pub(super) fn is_too_large(&self, part: usize, n: u64, limit: u64) -> bool {
        !self.alone && n > self.most(part, limit)
    }

    fn fits(&self, part: usize, n: u64, limit: u64, out: u64) -> bool {
        let idle = |p: &Part<W>| p.owns.saturating_sub(p.out);
        let kept: u64 = self.others(part).filter(|p| p.kept).map(idle).sum();
        let kept = if broken("permit: what is kept is lent") { 0 } else { kept };
        out + n + kept <= limit || (self.alone && n > limit && out == 0)
    }

    fn is_own(&self, part: usize, n: u64) -> bool {
        let part = &self.parts[part];
        part.out + n <= part.owns
    }

    /// Whether one who comes now may take so many: there is room, and nobody waits whom it must not overtake.
    pub(super) fn may_take(&self, part: usize, n: u64, limit: u64, out: u64) -> bool {
        let first = if self.is_own(part, n) { self.parts[part].line.is_empty() } else { self.waiting == 0 };
        first && self.fits(part, n, limit, out)
    }

    pub(super) fn took(&mut self, part: usize, n: u64) {
        if part > 0 {
            self.parts[part].out += n;
        }
    }

    pub(super) fn gave_back(&mut self, part: usize, n: u64) {
        if part > 0 {
            self.parts[part].out -= n;
        }
    }

    pub(super) fn join(&mut self, part: usize, n: u64, who: W) -> Place {
        let place = self.next;
        self.next += 1;
        self.parts[part].line.insert(place, (n, who));
        self.waiting += 1;
        place
    }

    pub(super) fn get_mut(&mut self, part: usize, place: Place) -> Option<&mut W> {
        self.parts[part].line.get_mut(&place).map(|(_, who)| who)
    }

    /// The next in order among these.
    fn next_of(&self, heads: impl Iterator<Item = Head>) -> Option<Head> {
        match self.order {
            Order::Fifo => heads.min_by_key(|(place, ..)| *place),
            Order::Lifo => heads.max_by_key(|(place, ..)| *place),
        }
    }

    fn heads(&self) -> impl Iterator<Item = Head> {
        let head = |line: &BTreeMap<Place, (u64, W)>| match self.order {
            Order::Fifo => line.first_key_value().map(|(place, (n, _))| (*place, *n)),
            Order::Lifo => line.last_key_value().map(|(place, (n, _))| (*place, *n)),
        };
        self.parts.iter().enumerate().filter_map(move |(i, part)| head(&part.line).map(|(place, n)| (place, n, i)))
    }

    /// Who is to be served now (invariants 1 and 2).
    fn turn(&self, limit: u64, out: u64) -> Option<Head> {
        let own = |(_, n, part): &Head| self.is_own(*part, *n);
        let fits = |(_, n, part): &Head| self.fits(*part, *n, limit, out);
        if self.heads().any(|head| own(&head)) {
            return self.next_of(self.heads().filter(own).filter(fits));
        }
        self.next_of(self.heads()).filter(fits)
    }

    /// Grants what there is to whoever's turn it is: how many, and whom to wake.
    pub(super) fn serve(&mut self, limit: u64, out: u64) -> Option<(u64, W)> {
        let (place, n, part) = self.turn(limit, out)?;
        let (_, who) = self.parts[part].line.remove(&place)?;
        self.waiting -= 1;
        self.granted.insert(place);
        self.took(part, n);
        Some((n, who))
    }

    /// Whether it was granted what it waits for; said once.
    pub(super) fn take_granted(&mut self, place: Place) -> bool {
        self.granted.remove(&place)
    }

    pub(super) fn leave(&mut self, part: usize, place: Place) -> Left<W> {
        if let Some((_, who)) = self.parts[part].line.remove(&place) {
            self.waiting -= 1;
            return Left::Waiting(who);
        }
        self.away.remove(&place);
        if self.granted.remove(&place) { Left::Granted } else { Left::Gone }
    }

    /// Whether it was turned away, and by what limit; said once.
    pub(super) fn take_away(&mut self, place: Place) -> Option<u64> {
        self.away.remove(&place)
    }

    /// There are so many permits from now on. Who waits for more than there will ever be is sent away.
    pub(super) fn resize(&mut self, limit: u64) -> Vec<W> {
        for part in &mut self.parts {
            part.owns = owned(part.share, limit);
        }
        let mut away = Vec::new();
        for i in 0..self.parts.len() {
            let too_large = |n: u64| self.is_too_large(i, n, limit);
            let places: Vec<_> =
                self.parts[i].line.iter().filter(|(_, (n, _))| too_large(*n)).map(|(place, _)| *place).collect();
            self.waiting -= places.len();
            let most = self.most(i, limit);
            self.away.extend(places.iter().map(|place| (*place, most)));
            let line = &mut self.parts[i].line;
            away.extend(places.iter().filter_map(|place| line.remove(place)).map(|(_, who)| who));
        }
        away
    }

    #[cfg(all(test, not(watertight_loom)))]
    pub(super) fn grants(&self) -> usize {
        self.granted.len()
    }
}
