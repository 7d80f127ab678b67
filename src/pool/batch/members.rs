//! The jobs of a batch in the order of submission, found by their number and taken out in any order.
//!
//! **Invariants.** 1. Numbers ascend, so a number is found by search. 2. What was taken out leaves a hole; holes at the front
//! go at once, and all of them when they are more than the jobs. So the list is no longer than twice the jobs, and taking
//! one out costs a search. **Locking.** None: it is the batch's own.

use super::Job;
use crate::sync::Arc;
use std::collections::VecDeque;

/// So few holes are not worth looking for.
const FEW: usize = 32;

/// A job and its number, or the hole that it has left.
type Numbered<T> = (u64, Option<Arc<dyn Job<T>>>);

pub(super) struct Members<T> {
    list: VecDeque<Numbered<T>>,
    next: u64,
    /// Those before it are not queued any more, as far as this batch's thread has claimed.
    claimed: u64,
    holes: usize,
}

impl<T> Members<T> {
    pub(super) fn new() -> Self {
        Self { list: VecDeque::new(), next: 0, claimed: 0, holes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() - self.holes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, job: Arc<dyn Job<T>>) {
        self.list.push_back((self.next, Some(job)));
        self.next += 1;
    }

    fn position(&self, number: u64) -> Option<usize> {
        let first = self.list.front()?.0;
        // Without holes taken out it is where it was put.
        let straight = usize::try_from(number.checked_sub(first)?).ok()?;
        match self.list.get(straight) {
            Some((here, _)) if *here == number => Some(straight),
            _ => self.list.binary_search_by_key(&number, |(number, _)| *number).ok(),
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<dyn Job<T>>> {
        let position = self.position(number)?;
        let job = self.list.get_mut(position)?.1.take()?;
        self.holes += 1;
        while self.list.front().is_some_and(|(_, job)| job.is_none()) {
            self.list.pop_front();
            self.holes -= 1;
        }
        if self.holes > FEW && self.holes > self.list.len() / 2 {
            self.list.retain(|(_, job)| job.is_some());
            self.holes = 0;
        }
        Some(job)
    }

    /// The oldest that nobody on this thread has claimed; it is not given again.
    pub(super) fn next_to_claim(&mut self) -> Option<Arc<dyn Job<T>>> {
        let from = self.list.partition_point(|(number, _)| *number < self.claimed);
        let (number, job) = self.list.iter().skip(from).find_map(|(number, job)| Some((*number, job.as_ref()?)))?;
        self.claimed = number + 1;
        Some(job.clone())
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Arc<dyn Job<T>>> {
        self.list.iter().filter_map(|(_, job)| job.as_ref())
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.list.iter().filter_map(|(number, job)| job.as_ref().map(|_| *number))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<dyn Job<T>>> {
        self.holes = 0;
        std::mem::take(&mut self.list).into_iter().filter_map(|(_, job)| job)
    }
}
