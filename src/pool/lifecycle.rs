//! The life of a pool as a pure value: its stages, the number of workers alive, and the account of its end.
//!
//! `Running < Draining < Cancelling < Abandoned < Stopping < Stopped`. **Invariants.** 1. The stage only grows. 2.
//! `Stopped` exactly when it is stopping and no worker is alive. 3. The account is kept by differences of counts that only
//! grow, taken once at each turn: so a job is in one line of it, once.

/// How far a pool has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// Takes work.
    Running,
    /// Takes none; does what was admitted.
    Draining,
    /// What runs is told to stop; what is queued is shed.
    Cancelling,
    /// What still runs is waited for by nobody.
    Abandoned,
    /// Nothing is left; workers leave.
    Stopping,
    /// The last worker has left.
    Stopped,
}

/// How many jobs have ended, one way or the other.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Ended {
    /// They ran.
    pub(super) ran: u64,
    /// They did not.
    pub(super) shed: u64,
}

/// What became of the jobs since the intake was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Account {
    pub(super) finished: u64,
    pub(super) cancelled: u64,
    pub(super) never_ran: u64,
}

#[derive(Debug)]
pub(super) struct Lifecycle {
    stage: Stage,
    alive: usize,
    /// Numbers that no worker has.
    vacant: Vec<usize>,
    /// The numbers of those that have left and whose replacements have not begun.
    retiring: Vec<usize>,
    /// Workers that are not warm yet.
    cold: usize,
    at_close: Option<Ended>,
    at_cancel: Option<Ended>,
}

impl Lifecycle {
    /// Of so many workers, with numbers for so many.
    pub(super) fn new(workers: usize, numbers: usize) -> Self {
        let vacant = (workers..numbers).rev().collect();
        let stage = Stage::Running;
        Self { stage, alive: workers, vacant, retiring: Vec::new(), cold: workers, at_close: None, at_cancel: None }
    }

    /// A worker more: its number. `None` if there is none now, or the pool is being shut down.
    pub(super) fn hire(&mut self) -> Option<usize> {
        if self.stage > Stage::Running {
            return None;
        }
        let number = self.vacant.pop()?;
        self.alive += 1;
        self.cold += 1;
        Some(number)
    }

    /// Nobody counts by this number any more.
    pub(super) fn vacate(&mut self, number: usize) {
        self.vacant.push(number);
    }

    /// The worker of this number wants to be replaced: whether it may, with so many threads. At most one in ten at once, but
    /// one.
    pub(super) fn may_retire(&mut self, number: usize, threads: usize) -> bool {
        let may = self.stage == Stage::Running && self.retiring.len() < (threads / 10).max(1);
        if may {
            self.retiring.push(number);
        }
        may
    }

    /// The worker of this number has begun and is warm, or could not be had. True if with it all are warm that there were.
    pub(super) fn begun(&mut self, number: usize) -> bool {
        if let Some(at) = self.retiring.iter().position(|retiring| *retiring == number) {
            self.retiring.swap_remove(at);
            return false;
        }
        self.cold = self.cold.saturating_sub(1);
        self.cold == 0
    }

    /// Asks it to take no more work; so much had ended before.
    pub(super) fn drain(&mut self, ended: Ended) {
        self.stage = self.stage.max(Stage::Draining);
        self.at_close.get_or_insert(ended);
    }

    /// The time to drain is over; so much had ended before.
    pub(super) fn cancel(&mut self, ended: Ended) {
        self.stage = self.stage.max(Stage::Cancelling);
        self.at_cancel.get_or_insert(ended);
    }

    /// The time is over.
    pub(super) fn abandon(&mut self) {
        self.stage = self.stage.max(Stage::Abandoned);
    }

    /// No place is held and none will be; true if the pool has stopped with it, because nobody is left.
    pub(super) fn stop(&mut self) -> bool {
        self.stage = self.stage.max(Stage::Stopping);
        self.stopped()
    }

    /// A worker leaves; true if the pool has stopped with it.
    pub(super) fn left(&mut self) -> bool {
        self.alive -= 1;
        self.stopped()
    }

    fn stopped(&mut self) -> bool {
        let last = self.alive == 0 && self.stage == Stage::Stopping;
        if last {
            self.stage = Stage::Stopped;
        }
        last
    }

    /// The account, if so much has ended by now.
    pub(super) fn account(&self, now: Ended) -> Account {
        let Some(close) = self.at_close else { return Account::default() };
        let cancel = self.at_cancel.unwrap_or(now);
        Account {
            finished: cancel.ran.saturating_sub(close.ran),
            cancelled: now.ran.saturating_sub(cancel.ran),
            never_ran: now.shed.saturating_sub(close.shed),
        }
    }

    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn at_close(&self) -> Option<Ended> {
        self.at_close
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn alive(&self) -> usize {
        self.alive
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    const fn ended(ran: u64, shed: u64) -> Ended {
        Ended { ran, shed }
    }

    #[test]
    fn the_stage_only_grows() {
        let mut life = Lifecycle::new(2, 2);
        life.drain(ended(0, 0));
        life.stop();
        life.drain(ended(0, 0));
        assert_eq!(life.stage(), Stage::Stopping);
        assert!(!life.left());
        assert_eq!((life.stage(), life.alive()), (Stage::Stopping, 1));
        assert!(life.left());
        life.stop();
        assert_eq!(life.stage(), Stage::Stopped);
    }

    #[test]
    fn one_in_ten_retires_at_once_and_at_least_one() {
        for (threads, so_many) in [(1, 1), (9, 1), (10, 1), (25, 2), (100, 10)] {
            let mut life = Lifecycle::new(threads, threads);
            let may = (0..threads).filter(|n| life.may_retire(*n, threads)).count();
            assert_eq!(may, so_many, "of {threads}");
            assert!(!life.begun(0)); // a replacement
            assert!(life.may_retire(0, threads));
            life.drain(ended(0, 0));
            assert!(!life.begun(0));
            assert!(!life.may_retire(0, threads), "nobody is replaced in a pool that ends");
        }
    }

    #[test]
    fn a_number_is_given_to_one_worker_at_a_time() {
        let mut life = Lifecycle::new(1, 2);
        assert_eq!((life.hire(), life.hire()), (Some(1), None));
        life.vacate(0);
        assert!(!life.left() && life.alive() == 1);
        assert_eq!(life.hire(), Some(0));
        life.drain(ended(0, 0));
        life.vacate(0);
        assert_eq!(life.hire(), None);
    }

    #[test]
    fn every_job_is_in_one_line_of_the_account() {
        let mut life = Lifecycle::new(1, 1);
        assert_eq!(life.account(ended(7, 7)), Account::default());
        life.drain(ended(10, 1));
        assert_eq!(life.account(ended(12, 2)), Account { finished: 2, cancelled: 0, never_ran: 1 });
        life.cancel(ended(13, 2));
        life.cancel(ended(14, 5)); // another shutdown: the first turn counts
        life.drain(ended(14, 5));
        assert_eq!(life.account(ended(15, 6)), Account { finished: 3, cancelled: 2, never_ran: 5 });
    }
}
