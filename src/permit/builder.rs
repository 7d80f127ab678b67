//! [`LimitBuilder`]: what a limit is made of, checked in one place.

use super::inner::{Inner, Settings};
use super::turns::{millionths, owned};
use super::{Limit, Order, Oversize, Share, check};
use crate::error::BuildError;
use crate::sync::Arc;
use std::borrow::Cow;
use std::time::Duration;

const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_PARTITIONS: usize = 64;

/// Builds a [`Limit`]. Nothing fails before [`build`](Self::build).
///
/// | setting | default | range |
/// |---|---|---|
/// | permits | given to [`Limit::builder`] | 1 to 2,147,483,647 |
/// | [`queue`](Self::queue) | 2,147,483,647 | 0 to 2,147,483,647 |
/// | [`max_wait`](Self::max_wait) | none: until the context ends | above 0, at most one day |
/// | [`order`](Self::order) | [`Order::Fifo`] | |
/// | [`oversize`](Self::oversize) | [`Oversize::Refuse`] | `Alone` not with partitions |
/// | [`partition`](Self::partition) | none | at most 64, together at most the whole |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct LimitBuilder {
    permits: usize,
    queue: usize,
    max_wait: Option<Duration>,
    order: Order,
    oversize: Oversize,
    partitions: Vec<(Cow<'static, str>, Share)>,
}

impl LimitBuilder {
    pub(super) fn new(permits: usize) -> Self {
        let (order, oversize) = (Order::default(), Oversize::default());
        Self { permits, queue: Limit::MAX, max_wait: None, order, oversize, partitions: Vec::new() }
    }

    /// How many may wait; 0 refuses at once whoever cannot be served.
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting;
        self
    }

    /// How long anybody waits at most, by the clock of its context; then it is refused as
    /// [`Full`](crate::RejectReason::Full). A context that ends sooner has its way.
    pub fn max_wait(mut self, d: Duration) -> Self {
        self.max_wait = Some(d);
        self
    }

    /// Who of those who wait is served next.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// What becomes of who asks for more than the limit.
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// A part of the limit with a share of its own, to be had from [`Limit::partition`].
    pub fn partition(mut self, name: impl Into<Cow<'static, str>>, share: Share) -> Self {
        self.partitions.push((name.into(), share));
        self
    }

    /// Makes the limit.
    ///
    /// # Errors
    ///
    /// - [`BuildError::OutOfRange`]: a limit of 0, a number beyond the table, a share that does not own a single permit,
    ///   or shares that are together more than the whole.
    /// - [`BuildError::Name`]: a partition's name that is empty, longer than 64 bytes or contains a NUL.
    /// - [`BuildError::Conflict`]: two partitions of one name, or [`Oversize::Alone`] with partitions.
    pub fn build(self) -> Result<Limit, BuildError> {
        let limit = check(self.permits)?;
        if self.queue > Limit::MAX {
            return Err(BuildError::out_of_range("queue", self.queue, "at most 2147483647"));
        }
        if let Some(d) = self.max_wait.filter(|d| d.is_zero() || *d > MAX_WAIT) {
            return Err(BuildError::out_of_range("max_wait", format!("{d:?}"), "above 0 and at most one day"));
        }
        self.check_partitions(limit)?;
        Ok(Limit(Arc::new(Inner::new(Settings {
            limit,
            order: self.order,
            alone: self.oversize == Oversize::Alone,
            max_waiting: self.queue,
            max_wait: self.max_wait,
            partitions: self.partitions,
        }))))
    }

    fn check_partitions(&self, limit: u64) -> Result<(), BuildError> {
        let all = &self.partitions;
        if all.len() > MAX_PARTITIONS {
            return Err(BuildError::out_of_range("partitions", all.len(), "at most 64"));
        }
        if self.oversize == Oversize::Alone && !all.is_empty() {
            return Err(BuildError::Conflict("what runs alone would take the shares of all partitions"));
        }
        let mut sum = 0;
        for (i, (name, share)) in all.iter().enumerate() {
            BuildError::check_name(name)?;
            if all[..i].iter().any(|(other, _)| other == name) {
                return Err(BuildError::Conflict("two partitions of one name"));
            }
            match millionths(*share) {
                Some(of) if owned(of, limit) > 0 => sum += of,
                _ => {
                    let allowed = "0 to 1, and enough to own a permit";
                    return Err(BuildError::out_of_range("share", format!("{share:?} of {name:?}"), allowed));
                }
            }
        }
        if sum > 1_000_000 {
            return Err(BuildError::out_of_range("sum of shares", sum as f64 / 1e6, "at most 1"));
        }
        Ok(())
    }
}
