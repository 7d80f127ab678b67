//! The life of a pool as a pure value: `Running < Draining < Stopping < Stopped`, with the number of workers alive.
//!
//! **Invariants.** 1. The stage only grows. 2. `Stopped` exactly when it is stopping and no worker is alive.

/// How far a pool has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// Takes work.
    Running,
    /// Takes none; does what was admitted.
    Draining,
    /// Nothing is left; workers leave.
    Stopping,
    /// The last worker has left.
    Stopped,
}

#[derive(Debug)]
pub(super) struct Lifecycle {
    stage: Stage,
    alive: usize,
}

impl Lifecycle {
    pub(super) fn new(workers: usize) -> Self {
        Self { stage: Stage::Running, alive: workers }
    }

    /// Asks it to take no more work.
    pub(super) fn drain(&mut self) {
        self.stage = self.stage.max(Stage::Draining);
    }

    /// No place is held and none will be.
    pub(super) fn stop(&mut self) {
        self.stage = self.stage.max(Stage::Stopping);
    }

    /// A worker leaves; true for the last.
    pub(super) fn left(&mut self) -> bool {
        self.alive -= 1;
        let last = self.alive == 0;
        if last {
            self.stage = Stage::Stopped;
        }
        last
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

    #[test]
    fn the_stage_only_grows() {
        let mut life = Lifecycle::new(2);
        life.drain();
        life.stop();
        life.drain();
        assert_eq!(life.stage(), Stage::Stopping);
        assert!(!life.left());
        assert_eq!((life.stage(), life.alive()), (Stage::Stopping, 1));
        assert!(life.left());
        life.stop();
        assert_eq!(life.stage(), Stage::Stopped);
    }
}
