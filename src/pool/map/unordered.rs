//! [`Unordered`]: the same in the order in which the items are done.

use super::{Place, bound, refused};
use crate::context::Context;
use crate::error::JobError;
use crate::pool::batch::Batch;
use crate::pool::handle::JobHandle;
use crate::pool::{Pool, here};
use crate::sync::Shared;
use std::fmt;

/// Results of a closure applied to an iterator's items by a pool, as they complete. Made by [`Pool::map_unordered`].
///
/// As [`Map`](super::Map), without the order: no result waits for a slow one before it.
#[must_use = "iterators do nothing unless consumed"]
pub struct Unordered<I: IntoIterator, F, U> {
    batch: Batch<U>,
    items: Option<I::IntoIter>,
    /// Pulled, and no place was free.
    spare: Option<I::Item>,
    f: Shared<F>,
    bound: usize,
}

impl Pool {
    /// [`map`](Self::map) without the order: the results as they complete.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("words").threads(2).build()?;
    /// let longest = pool.map_unordered(["a", "few", "words"], |word| word.len()).filter_map(Result::ok).max();
    /// assert_eq!(longest, Some(5));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn map_unordered<I, F, U>(&self, items: I, f: F) -> Unordered<I, F, U>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> U + Send + Sync + 'static,
        U: Send + 'static,
    {
        Unordered {
            batch: self.batch(),
            items: Some(items.into_iter()),
            spare: None,
            f: Shared::new(f),
            bound: bound(self.owner.shared.size.threads()),
        }
    }
}

impl<I: IntoIterator, F, U> Unordered<I, F, U> {
    /// As [`Map::in_flight`](super::Map::in_flight).
    pub fn in_flight(mut self, items: usize) -> Self {
        self.bound = items.max(1);
        self
    }

    fn pull(&mut self) -> Option<I::Item> {
        if let Some(item) = self.spare.take() {
            return Some(item);
        }
        let item = self.items.as_mut()?.next();
        if item.is_none() {
            self.items = None;
        }
        item
    }
}

impl<I, F, U> Iterator for Unordered<I, F, U>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> U + Send + Sync + 'static,
    U: Send + 'static,
{
    type Item = Result<U, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.batch.len() < self.bound {
            let Some(item) = self.pull() else { break };
            let (pool, cx) = self.batch.origin();
            match Place::ask(pool, cx, self.batch.is_empty()) {
                // What is under way is given first.
                Place::Refused(_) | Place::Full if !self.batch.is_empty() => {
                    self.spare = Some(item);
                    break;
                }
                Place::There(slot) => {
                    let f = self.f.clone();
                    self.batch.submit_into(slot, move || f(item));
                }
                Place::Refused(reason) => return Some(Err(refused(pool, cx, reason, item))),
                Place::Here | Place::Full => return Some(run_here(pool, cx, || (self.f)(item))),
            }
        }
        self.batch.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let here = self.batch.len() + usize::from(self.spare.is_some());
        let (least, most) = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        (least.saturating_add(here), most.and_then(|most| most.checked_add(here)))
    }
}

fn run_here<U: Send + 'static>(pool: &Pool, cx: &Context, work: impl FnOnce() -> U) -> Result<U, JobError> {
    JobHandle::new(here::run(&pool.owner.shared, cx.clone(), None, work)).join()
}

impl<I: IntoIterator, F, U> fmt::Debug for Unordered<I, F, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unordered").field("under_way", &self.batch.len()).finish_non_exhaustive()
    }
}
