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
    at_close: Option<Ended>,
    at_cancel: Option<Ended>,
}

impl Lifecycle {
    pub(super) fn new(workers: usize) -> Self {
        Self { stage: Stage::Running, alive: workers, at_close: None, at_cancel: None }
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

    /// No place is held and none will be.
    pub(super) fn stop(&mut self) {
        self.stage = self.stage.max(Stage::Stopping);
        self.stopped();
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

    #[cfg(all(test, watertight_loom))]
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
        let mut life = Lifecycle::new(2);
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
    fn every_job_is_in_one_line_of_the_account() {
        let mut life = Lifecycle::new(1);
        assert_eq!(life.account(ended(7, 7)), Account::default());
        life.drain(ended(10, 1));
        assert_eq!(life.account(ended(12, 2)), Account { finished: 2, cancelled: 0, never_ran: 1 });
        life.cancel(ended(13, 2));
        life.cancel(ended(14, 5)); // another shutdown: the first turn counts
        life.drain(ended(14, 5));
        assert_eq!(life.account(ended(15, 6)), Account { finished: 3, cancelled: 2, never_ran: 5 });
    }
}
