//! Ending a pool in stages under one deadline: stop the intake, drain, cancel, abandon.
//!
//! **States.** draining → cancelling → over; over from either when the pool has stopped. **Invariants.** 1. Whoever waits
//! drives the stages: the same steps for a thread ([`Stop::wait`]) and for a task ([`Stopping`]). Nobody waits, and the pool
//! drains. 2. The wait is never longer than the context. 3. What one of several shutdowns has cancelled or abandoned is so
//! for all of them, and the account is the pool's, not theirs. **Locking.** None held while anything is waited for.

use super::Pool;
use super::lifecycle::Stage;
use super::post::RunningJob;
use super::report::{ShutdownReport, StillRunning, Unrun};
use super::shared::{FORKED, Shared};
use super::unqueued::evict;
use super::worker::Evicts;
use crate::cancel::TokenWait;
use crate::context::{Context, ContextWait};
use crate::deadline::Deadline;
use crate::error::{CancelCause, Interrupted};
use crate::sync::{Arc, broken};
use crate::wait::{Waiting, block_on};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// How long a [shutdown](Pool::stop) lets jobs end by themselves before it cancels what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Drain {
    /// For so many hundredths of the time that is left until the deadline; 75 by default. Without a deadline, until the
    /// token is cancelled. More than 100 is 100.
    Percent(u8),
    /// For so long, or until the context ends. Zero cancels at once.
    For(Duration),
    /// To the end: nothing is cancelled or abandoned. When the context ends the wait does, and draining goes on by itself.
    ToTheEnd,
}

impl Drain {
    fn until(self, cx: &Context) -> Deadline {
        match self {
            Self::Percent(percent) => match cx.remaining() {
                Some(left) => Deadline::after(cx.now(), left / 100 * u32::from(percent.min(100))),
                None => Deadline::NEVER,
            },
            Self::For(time) => Deadline::after(cx.now(), time),
            Self::ToTheEnd => Deadline::NEVER,
        }
    }
}

/// A shutdown about to begin, made by [`Pool::stop`].
///
/// # Examples
///
/// What never ran comes back, to be kept for the next start:
///
/// ```
/// use std::time::Duration;
/// use watertight::pool::Drain;
/// use watertight::{Context, Pool};
///
/// let pool = Pool::builder("mail").threads(1).queue(8).build()?;
/// pool.execute(|| drop(Context::current().sleep(Duration::from_secs(3600))))?;
/// pool.job().name("letter 2").execute(|| println!("sent"))?;
/// let soon = Context::background().with_timeout(Duration::from_secs(60));
/// let report = pool.stop().drain(Drain::For(Duration::ZERO)).hand_back().wait(&soon)?;
/// let unrun = report.unrun.iter().filter_map(|unrun| unrun.name());
/// assert_eq!(unrun.collect::<Vec<_>>(), ["letter 2"]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
#[must_use = "a shutdown begins with wait() or wait_async()"]
pub struct Stop<'a> {
    pool: &'a Pool,
    drain: Drain,
    hand_back: bool,
}

impl<'a> Stop<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self { pool, drain: Drain::Percent(75), hand_back: false }
    }

    /// How long jobs may end by themselves; [`Drain::Percent`]`(75)` by default.
    pub fn drain(mut self, drain: Drain) -> Self {
        self.drain = drain;
        self
    }

    /// Hands back the closures of jobs without a handle that never ran because they were cancelled in the queue:
    /// [`ShutdownReport::unrun`]. Jobs with a handle are not among them: whoever holds the handle is told.
    pub fn hand_back(mut self) -> Self {
        self.hand_back = true;
        self
    }

    /// Shuts down: takes no more work from now on, waits for the jobs that were admitted, cancels what is left when the
    /// time for [draining](Self::drain) is over, and when `cx` ends abandons what runs all the same.
    ///
    /// A token of `cx` that is cancelled is the end of all patience: what is left is cancelled and abandoned at once.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the pool has stopped or `cx` ends. On one of the pool's own workers it never blocks and only
    /// stops the intake: that worker's job is itself what is still running.
    ///
    /// # Cancellation
    ///
    /// Cancelled jobs that are queued never run: their handles say [`Shed`](crate::JobError::Shed). Running ones see their
    /// token at their next check or wait, with [`CancelCause::Shutdown`]; those submitted by `execute` in the background
    /// too, by [`Context::current`].
    ///
    /// # Errors
    ///
    /// [`StillRunning`], with the same report, if jobs were running when `cx` ended. Their handles say
    /// [`Abandoned`](crate::JobError::Abandoned), they keep their places and threads until they end, and nothing waits for
    /// them: the process can exit. In a forked process, which has none of the threads, at once and with an empty report.
    pub fn wait(self, cx: &Context) -> Result<ShutdownReport, StillRunning> {
        let mut stages = match Stages::begin(self, cx) {
            Ok(stages) => stages,
            Err(over) => return over,
        };
        loop {
            let waited = block_on(stages.shared.stopped.waiting(), &stages.until());
            if let Some(over) = stages.step(waited) {
                return over;
            }
        }
    }

    /// [`wait`](Self::wait) as a future. The intake is stopped now, not at the first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it stops the waiting, and with it the later stages; draining goes on by itself.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_async(self, cx: &Context) -> Stopping {
        Stopping(match Stages::begin(self, cx) {
            Ok(stages) => State::Waiting(Box::new((stages.waiting(), stages))),
            Err(over) => State::Over(Some(over)),
        })
    }
}

/// One shutdown under way.
struct Stages {
    shared: Arc<Shared>,
    cx: Context,
    drain: Drain,
    drain_until: Deadline,
    hand_back: bool,
    cancelling: bool,
    unrun: Vec<Unrun>,
    began: Instant,
    /// How many jobs each worker had begun when it was first seen.
    seen: Vec<u64>,
}

/// So often a report looks again because jobs have begun or ended meanwhile. Once it has cancelled, each worker does so once
/// at most.
const LOOKS: usize = 1 << 15;

type Outcome = Result<ShutdownReport, StillRunning>;

impl Stages {
    /// Stops the intake. Where nothing may be waited for, that is all.
    fn begin(stop: Stop<'_>, cx: &Context) -> Result<Self, Outcome> {
        let shared = stop.pool.owner.shared.clone();
        if shared.is_forked() {
            let why = Some(Interrupted::Cancelled(FORKED));
            return Err(Err(StillRunning { why, report: ShutdownReport::default() }));
        }
        shared.drain();
        let mut stages = Self {
            cx: cx.clone(),
            drain: stop.drain,
            drain_until: stop.drain.until(cx),
            hand_back: stop.hand_back,
            cancelling: false,
            unrun: Vec::new(),
            began: cx.now(),
            seen: (0..shared.posts.len()).map(|seat| shared.counters.at(seat).0).collect(),
            shared,
        };
        if stages.shared.is_own_worker() && stages.shared.stage() < Stage::Stopped {
            let report = stages.report();
            return Err(Err(StillRunning { why: None, report }));
        }
        Ok(stages)
    }

    /// What ends the wait of this stage.
    fn until(&self) -> Context {
        if self.cancelling || self.drain_until.is_never() {
            self.cx.clone()
        } else {
            self.cx.with_deadline(self.drain_until)
        }
    }

    fn waiting(&self) -> Waiting<TokenWait, ContextWait> {
        Waiting::new(self.shared.stopped.waiting(), &self.until())
    }

    /// The wait of this stage is over: on to the next, or done.
    fn step(&mut self, waited: Result<Interrupted, Interrupted>) -> Option<Outcome> {
        let Err(why) = waited else { return Some(Ok(self.report())) };
        if self.drain == Drain::ToTheEnd {
            return Some(Err(StillRunning { why: Some(why), report: self.report() }));
        }
        if !self.cancelling {
            self.cancelling = true;
            self.shared.cancel_running();
            self.clear_queue();
        }
        let why = self.cx.check().err()?; // the time to drain was over, not all of it
        self.clear_queue(); // who held a place may have filled it since
        self.shared.abandon();
        let report = self.report();
        if report.running.is_empty() && report.queued == 0 {
            return Some(Ok(report)); // the last of it has just ended
        }
        Some(Err(StillRunning { why: Some(why), report }))
    }

    fn clear_queue(&mut self) {
        while let Some(job) = self.shared.queue.evict() {
            let mut evicts = Evicts::new(Interrupted::Cancelled(CancelCause::Shutdown));
            evicts.unrun = self.hand_back.then(|| RefCell::new(std::mem::take(&mut self.unrun)));
            let evicts = evict(&self.shared, job, evicts);
            if let Some(unrun) = evicts.unrun {
                self.unrun = unrun.into_inner();
            }
            if evicts.kept.get() {
                self.shared.give_back(self.shared.own_seat());
            }
        }
    }

    fn report(&mut self) -> ShutdownReport {
        let shared = &self.shared;
        let mut looks = 0;
        let (running, begun, ended) = loop {
            let before = shared.progress();
            let running = self.running();
            let after = shared.progress();
            looks += 1;
            // What has ended while the posts were looked at would be counted twice, or not at all.
            if before == after || looks > LOOKS {
                break (running, after.0, after.1);
            }
        };
        let account = shared.life.lock().account(ended);
        let (accepted, known) = (shared.accepted_so_far(), begun + ended.shed);
        ShutdownReport {
            finished: account.finished,
            cancelled: account.cancelled,
            never_ran: account.never_ran,
            queued: usize::try_from(accepted.saturating_sub(known)).unwrap_or(usize::MAX),
            running,
            unrun: std::mem::take(&mut self.unrun),
        }
    }

    /// What runs: what is noted at the posts, and beside it what is only counted.
    fn running(&self) -> Vec<RunningJob> {
        let since = self.cx.now().saturating_duration_since(self.began);
        let mut running = Vec::new();
        for (seat, post) in self.shared.posts.iter().enumerate() {
            let worker = (seat + 1 < self.shared.posts.len()).then_some(seat);
            let (begun, at_work) = self.shared.counters.at(seat);
            let age = if begun == self.seen[seat] { since } else { Duration::ZERO };
            let mut here = post.running(worker, age);
            while here.len() < at_work {
                here.push(RunningJob { name: None, id: None, worker, age });
            }
            running.append(&mut here);
        }
        running
    }
}

impl Shared {
    /// Tells what runs to stop, and what has not begun that it will not.
    fn cancel_running(&self) {
        let ended = self.ended();
        self.life.lock().cancel(ended);
        self.cancelled.cancel_because(CancelCause::Shutdown);
        if !broken("stop: what runs in a context of its own is not told") {
            self.posts.iter().for_each(|post| post.cancel());
        }
    }

    fn abandon(&self) {
        self.life.lock().abandon();
        if !broken("stop: nobody hears that the jobs are abandoned") {
            self.abandoned.token().cancel_because(CancelCause::Shutdown);
        }
    }
}

/// The future of a shutdown, made by [`Stop::wait_async`] and [`Pool::shutdown_async`].
///
/// # Cancellation
///
/// Dropping it stops the waiting; draining goes on by itself.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Stopping(State);

enum State {
    Waiting(Box<(Waiting<TokenWait, ContextWait>, Stages)>),
    Over(Option<Outcome>),
}

impl Future for Stopping {
    type Output = Result<ShutdownReport, StillRunning>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let (waiting, stages) = match &mut self.0 {
            State::Waiting(under_way) => &mut **under_way,
            State::Over(over) => return Poll::Ready(over.take().expect("polled after it was ready")),
        };
        loop {
            let Poll::Ready(waited) = Pin::new(&mut *waiting).poll(task) else { return Poll::Pending };
            if let Some(over) = stages.step(waited) {
                self.0 = State::Over(None);
                return Poll::Ready(over);
            }
            *waiting = stages.waiting();
        }
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopping")
    }
}
