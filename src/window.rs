//! The last `n` outcomes, counted exactly. Pure: a ring of bits and two counts.
//!
//! **Invariants.** 1. `len <= size`. 2. `failures` is the number of set bits among the last `len` outcomes. 3. While
//! `len < size` nothing has been evicted since the last `clear`, so what the ring holds beyond `len` is never read.

/// A window over the last `size` outcomes.
#[derive(Clone, Debug)]
pub(crate) struct CountWindow {
    bits: Box<[u64]>,
    size: u32,
    len: u32,
    next: u32,
    failures: u32,
}

impl CountWindow {
    /// A window of `size` outcomes, at least one: a size of zero counts as one.
    pub(crate) fn new(size: u32) -> Self {
        let size = size.max(1);
        let words = size.div_ceil(u64::BITS) as usize;
        Self { bits: vec![0; words].into_boxed_slice(), size, len: 0, next: 0, failures: 0 }
    }

    /// Counts an outcome; the oldest leaves when the window is full.
    pub(crate) fn push(&mut self, failed: bool) {
        let (word, bit) = ((self.next / u64::BITS) as usize, 1_u64 << (self.next % u64::BITS));
        if self.len == self.size {
            self.failures -= u32::from(self.bits[word] & bit != 0);
        } else {
            self.len += 1;
        }
        if failed {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
        self.failures += u32::from(failed);
        self.next = if self.next + 1 == self.size { 0 } else { self.next + 1 };
    }

    /// How many outcomes it holds.
    pub(crate) fn calls(&self) -> u32 {
        self.len
    }

    /// How many of them are failures.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets everything, in constant time (invariant 3).
    pub(crate) fn clear(&mut self) {
        (self.len, self.next, self.failures) = (0, 0, 0);
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn the_window_counts_what_a_deque_counts(
            size in 1_u32..200,
            ops in prop::collection::vec(prop_oneof![40 => any::<bool>().prop_map(Some), 1 => Just(None)], 0..600),
        ) {
            let mut window = CountWindow::new(size);
            let mut model: VecDeque<bool> = VecDeque::new();
            for op in ops {
                match op {
                    Some(failed) => {
                        window.push(failed);
                        model.push_back(failed);
                        if model.len() > size as usize {
                            model.pop_front();
                        }
                    }
                    None => {
                        window.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(window.calls() as usize, model.len());
                prop_assert_eq!(window.failures() as usize, model.iter().filter(|f| **f).count());
            }
        }
    }

    #[test]
    fn the_largest_window_goes_round() {
        let mut window = CountWindow::new(65_536);
        for i in 0..200_000_u32 {
            window.push(i % 2 == 0);
        }
        assert_eq!((window.calls(), window.failures()), (65_536, 32_768));
    }
}
