//! What was recorded of late, counted exactly: the last `n` calls ([`CountWindow`]), or those of the last so many seconds
//! ([`TimeWindow`]). Pure: time is an argument, in nanoseconds since an origin of the caller's.
//!
//! **Invariants.** 1. `sums` is the sum over what the window holds. 2. Count: `len <= size`, and while `len < size` nothing
//! has been evicted since the last `clear`, so what the ring holds beyond `len` is never read. 3. Time: slot `n % SLOTS`
//! holds the calls of slot number `n` for the `SLOTS` numbers up to `current`, which never goes back.

/// How a call ended, as windows count it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// How many calls, and how many of them failed and were slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.slow += other.slow;
    }

    fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }

    /// One of each: what is behind these sums, failures last. Which failures were slow is not known any more.
    fn unfold(self) -> impl Iterator<Item = Seen> {
        let slow_only = self.slow.min(self.calls - self.failures);
        let plain = self.calls - self.failures - slow_only;
        let slow_failures = self.slow - slow_only;
        (0..self.calls).map(move |n| Seen {
            failed: n >= plain + slow_only,
            slow: (n >= plain && n < plain + slow_only) || n >= self.calls - slow_failures,
        })
    }
}

impl From<Seen> for Sums {
    fn from(seen: Seen) -> Self {
        Self { calls: 1, failures: u64::from(seen.failed), slow: u64::from(seen.slow) }
    }
}

/// Calls of one word of a [`CountWindow`]: two bits each.
const PER_WORD: u32 = u64::BITS / 2;
/// The bit of each call that says that it failed.
const FAILED: u64 = u64::MAX / 3;

/// A window over the last `size` calls.
#[derive(Clone, Debug)]
pub(crate) struct CountWindow {
    bits: Box<[u64]>,
    size: u32,
    len: u32,
    next: u32,
    sums: Sums,
}

impl CountWindow {
    /// A window of `size` calls, at least one: a size of zero counts as one.
    pub(crate) fn new(size: u32) -> Self {
        let size = size.max(1);
        let words = size.div_ceil(PER_WORD) as usize;
        Self { bits: vec![0; words].into_boxed_slice(), size, len: 0, next: 0, sums: Sums::default() }
    }

    /// Counts a call; the oldest leaves when the window is full.
    pub(crate) fn push(&mut self, seen: Seen) {
        let (word, at) = place(self.next);
        let old = (self.bits[word] >> at) & 3;
        if self.is_full() {
            self.sums.take(read(old).into());
        } else {
            self.len += 1;
        }
        let new = u64::from(seen.failed) | u64::from(seen.slow) << 1;
        self.bits[word] ^= (old ^ new) << at;
        self.sums.add(seen.into());
        self.next = if self.next + 1 == self.size { 0 } else { self.next + 1 };
    }

    /// Counts so many calls in a row that were neither failures nor slow, a word at a time.
    pub(crate) fn push_good(&mut self, calls: u64) {
        let mut left = u32::try_from(calls).map_or(self.size, |calls| calls.min(self.size));
        while left > 0 {
            let (word, at) = place(self.next);
            let room = if self.is_full() { self.size - self.next } else { self.size - self.len };
            let here = left.min(room).min(PER_WORD - at / 2);
            let mask = (u64::MAX >> (u64::BITS - 2 * here)) << at;
            if self.is_full() {
                let gone = self.bits[word] & mask;
                self.sums.failures -= u64::from((gone & FAILED).count_ones());
                self.sums.slow -= u64::from((gone & !FAILED).count_ones());
            } else {
                self.len += here;
                self.sums.calls += u64::from(here);
            }
            self.bits[word] &= !mask;
            self.next = if self.next + here == self.size { 0 } else { self.next + here };
            left -= here;
        }
    }

    pub(crate) fn sums(&self) -> Sums {
        self.sums
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.size
    }

    /// Forgets everything, in constant time (invariant 2).
    pub(crate) fn clear(&mut self) {
        (self.len, self.next, self.sums) = (0, 0, Sums::default());
    }

    /// Oldest first.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Seen> + '_ {
        let first = if self.is_full() { self.next } else { 0 };
        (0..self.len).map(move |i| {
            let (word, at) = place((first + i) % self.size);
            read((self.bits[word] >> at) & 3)
        })
    }

    /// A window of another size with the same calls in it, as far as they fit: the latest.
    pub(crate) fn resized(&self, size: u32) -> Self {
        let mut other = Self::new(size);
        self.calls().for_each(|seen| other.push(seen));
        other
    }
}

fn place(n: u32) -> (usize, u32) {
    ((n / PER_WORD) as usize, n % PER_WORD * 2)
}

fn read(bits: u64) -> Seen {
    Seen { failed: bits & 1 != 0, slow: bits & 2 != 0 }
}

/// In how many steps a time window moves on.
pub(crate) const SLOTS: u64 = 10;

/// A window over the last `SLOTS` slots of time, of which the latest is under way.
#[derive(Clone, Debug)]
pub(crate) struct TimeWindow {
    /// Nanoseconds of a slot.
    width: u64,
    current: u64,
    slots: [Sums; SLOTS as usize],
    sums: Sums,
}

impl TimeWindow {
    /// A window of so many nanoseconds, of which between nine and ten tenths are in it at any time.
    pub(crate) fn new(span: u64, now: u64) -> Self {
        let width = span.div_ceil(SLOTS).max(1);
        Self { width, current: now / width, slots: Default::default(), sums: Sums::default() }
    }

    /// Lets go of what is too old by now.
    pub(crate) fn advance(&mut self, now: u64) {
        let to = now / self.width;
        if to <= self.current {
            return; // time that runs backwards counts for the slot under way
        }
        for n in self.current.saturating_add(1).max(to.saturating_sub(SLOTS - 1))..=to {
            let slot = &mut self.slots[(n % SLOTS) as usize];
            self.sums.take(std::mem::take(slot));
        }
        self.current = to;
    }

    /// Counts into the slot under way.
    pub(crate) fn add(&mut self, sums: Sums) {
        self.slots[(self.current % SLOTS) as usize].add(sums);
        self.sums.add(sums);
    }

    pub(crate) fn sums(&self) -> Sums {
        self.sums
    }

    /// When the slot under way ends.
    pub(crate) fn ends(&self) -> u64 {
        self.current.saturating_add(1).saturating_mul(self.width)
    }

    pub(crate) fn clear(&mut self) {
        (self.slots, self.sums) = Default::default();
    }

    /// Oldest first; within a slot the failures last, since their order is not known.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Seen> + '_ {
        (self.current + 1..=self.current + SLOTS).flat_map(|n| self.slots[(n % SLOTS) as usize].unfold())
    }

    /// A window of another span with the same calls in it, as far as they are not too old for it.
    pub(crate) fn respanned(&self, span: u64, now: u64) -> Self {
        let mut other = Self::new(span, now);
        for back in 0..SLOTS.min(self.current + 1) {
            let n = self.current - back;
            let latest = ((n + 1).saturating_mul(self.width) - 1).min(now) / other.width;
            if latest + SLOTS > other.current {
                other.slots[(latest % SLOTS) as usize].add(self.slots[(n % SLOTS) as usize]);
                other.sums.add(self.slots[(n % SLOTS) as usize]);
            }
        }
        other
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn seen() -> impl Strategy<Value = Seen> {
        (any::<bool>(), any::<bool>()).prop_map(|(failed, slow)| Seen { failed, slow })
    }

    fn sum<'a>(calls: impl IntoIterator<Item = &'a Seen>) -> Sums {
        calls.into_iter().fold(Sums::default(), |mut sums, seen| {
            sums.add((*seen).into());
            sums
        })
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(Seen),
        Good(u64),
        Clear,
        Resize(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            60 => seen().prop_map(Op::Push),
            4 => (0_u64..250).prop_map(Op::Good),
            1 => Just(Op::Clear),
            1 => (1_u32..200).prop_map(Op::Resize),
        ]
    }

    proptest! {
        #[test]
        fn the_window_counts_what_a_deque_counts(
            mut size in 1_u32..200,
            ops in prop::collection::vec(op(), 0..600),
        ) {
            let mut window = CountWindow::new(size);
            let mut model: VecDeque<Seen> = VecDeque::new();
            for op in ops {
                match op {
                    Op::Push(seen) => {
                        window.push(seen);
                        model.push_back(seen);
                    }
                    Op::Good(calls) => {
                        window.push_good(calls);
                        model.extend((0..calls).map(|_| Seen::default()));
                    }
                    Op::Clear => {
                        window.clear();
                        model.clear();
                    }
                    Op::Resize(to) => {
                        size = to;
                        window = window.resized(to);
                    }
                }
                while model.len() > size as usize {
                    model.pop_front();
                }
                prop_assert_eq!(window.sums(), sum(&model));
                prop_assert_eq!(window.is_full(), model.len() == size as usize);
                prop_assert!(window.calls().eq(model.iter().copied()));
            }
        }

        #[test]
        fn the_time_window_counts_what_a_list_with_times_counts(
            span in 1_u64..1_000,
            ops in prop::collection::vec((seen(), prop_oneof![9 => 0_u64..60, 1 => 0_u64..100_000]), 0..300),
        ) {
            let width = span.div_ceil(SLOTS);
            let (mut now, mut window) = (12_345, TimeWindow::new(span, 12_345));
            let mut model: Vec<(u64, Seen)> = vec![];
            for (seen, pause) in ops {
                now += pause;
                window.advance(now);
                window.add(seen.into());
                model.push((now / width, seen));
                model.retain(|(slot, _)| slot + SLOTS > now / width);
                prop_assert_eq!(window.sums(), sum(model.iter().map(|(_, seen)| seen)));
                prop_assert!(window.ends() > now && window.ends() <= now + width);
                prop_assert_eq!(sum(&window.calls().collect::<Vec<_>>()), window.sums());
                prop_assert_eq!(window.respanned(span, now).sums(), window.sums());
                prop_assert_eq!(window.respanned(span * 3, now).sums(), window.sums());
            }
        }
    }

    #[test]
    fn the_largest_window_goes_round() {
        let mut window = CountWindow::new(65_536);
        for i in 0..200_000_u32 {
            window.push(Seen { failed: i % 2 == 0, slow: i % 4 == 0 });
        }
        assert_eq!(window.sums(), Sums { calls: 65_536, failures: 32_768, slow: 16_384 });
    }

    #[test]
    fn time_that_runs_backwards_counts_for_the_slot_under_way() {
        let mut window = TimeWindow::new(100, 1_000);
        window.add(Seen::default().into());
        window.advance(3);
        window.add(Seen::default().into());
        assert_eq!((window.sums().calls, window.ends()), (2, 1_010));
        window.advance(u64::MAX);
        assert_eq!(window.sums(), Sums::default());
        window.advance(u64::MAX);
    }
}
