//! The ways to give jobs to a pool, and to meddle with it.

use super::ledger::{self, Does, Given, Held, Kind, count, fire, note, quietly, refused, run, work};
use super::{LONGEST, MOST_THREADS, Random, Round, SEC};
use std::future::Future;
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};
use watertight::pool::{BranchError, OnFull, Partial};
use watertight::{CallError, CancelToken, Context, JobHandle, Pool, RejectReason};

/// So many handles are kept at most.
const PENDING: usize = 48;

pub(crate) struct Submitter<'r> {
    round: &'r Round,
    pool: Pool,
    random: Random,
    pending: Vec<(u64, JobHandle<Given>)>,
    made: u64,
}

impl<'r> Submitter<'r> {
    pub(crate) fn new(round: &'r Round, pool: Pool, random: Random) -> Self {
        Self { round, pool, random, pending: Vec::new(), made: 0 }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Until it has made so many jobs, or for some moves more when the pool is closed.
    pub(crate) fn submit(&mut self, so_many: u64) {
        let mut late = 0;
        while self.made < so_many && late < 8 {
            late += u64::from(self.round.is_closed());
            // Scopes go on with the panics of jobs that nobody joined, and what comes back may have a bomb in it.
            quietly(|| self.one_move());
            if self.pending.len() > PENDING {
                self.settle(PENDING / 2);
            }
        }
    }

    fn one_move(&mut self) {
        match self.random.below(128) {
            0..40 => self.bursts(),
            40..56 => self.batches_of_fire_and_forget(),
            56..80 => self.handles(),
            80..86 => self.cancelled_at_once(),
            86..90 => self.with_a_deadline(),
            90..94 => self.calls(),
            94..98 => self.batch(),
            98..100 => self.maps(),
            100..104 => self.scope(),
            104..108 => self.reserved(),
            108..112 => self.whatever_is_done_when_it_is_full(),
            112..116 => self.futures(),
            116..119 => self.nested(),
            119..121 => self.partial(),
            121 => self.in_somebodys_context(),
            122 => self.cancel_somebody(),
            123 => self.pause(),
            124 => self.resize(),
            125 => self.retire(),
            126 => self.round.time.advance(SEC),
            _ => self.look(),
        }
    }

    fn does(&mut self) -> Does {
        match self.random.below(256) {
            0..5 => Does::Panics,
            5..8 => Does::CapturesABomb,
            8..14 => Does::Listens,
            14..24 => Does::Yields,
            _ => Does::Nothing,
        }
    }

    fn tame_does(&mut self) -> Does {
        let does = self.does();
        if does == Does::CapturesABomb { Does::Nothing } else { does }
    }

    fn held_that(&mut self, does: Does) -> Held {
        self.made += 1;
        Held::new(self.round.id(), does)
    }

    fn held(&mut self) -> Held {
        let does = self.does();
        self.held_that(does)
    }

    /// Without a bomb in what it captures, for where the caller drops it.
    fn tame(&mut self) -> Held {
        let does = self.tame_does();
        self.held_that(does)
    }

    /// A context with a deadline that somebody's clock may pass.
    fn soon(&mut self) -> Context {
        let seconds = 1 + self.random.below(3) as u32;
        Context::background().with_clock(&self.round.time.clock()).with_timeout(SEC * seconds)
    }

    fn keep<R>(&mut self, id: u64, submitted: Result<JobHandle<Given>, watertight::Rejected<R>>) {
        match submitted {
            Ok(handle) => self.pending.push((id, handle)),
            Err(e) => refused(e.reason, e, 1),
        }
    }

    fn bursts(&mut self) {
        let ever = self.random.one_in(2);
        for _ in 0..32 {
            let does = if self.random.one_in(128) { Does::PanicsWithABomb } else { self.does() };
            let (held, large) = (self.held_that(does), self.random.one_in(8));
            let padding = [held.id; 6];
            let done = match (ever, large) {
                (true, false) => self.pool.execute(move || fire(held)).map_err(|e| (e.reason, refused(e.reason, e, 1))),
                (false, false) => {
                    self.pool.try_execute(move || fire(held)).map_err(|e| (e.reason, refused(e.reason, e, 1)))
                }
                (_, true) => {
                    let job = move || assert!(padding.contains(&run(held).take())); // too large for a cell of the queue
                    self.pool.job().name("large").execute(job).map_err(|e| (e.reason, refused(e.reason, e, 1)))
                }
            };
            if matches!(done, Err((RejectReason::ShuttingDown, ()))) {
                return;
            }
        }
    }

    fn batches_of_fire_and_forget(&mut self) {
        let so_many = 1 + self.random.below(64);
        let helds: Vec<_> = (0..so_many).map(|_| self.held()).collect();
        let jobs: Vec<_> = helds.into_iter().map(|held| move || fire(held)).collect();
        let done =
            if self.random.one_in(2) { self.pool.execute_batch(jobs) } else { self.pool.try_execute_batch(jobs) };
        if let Err(e) = done {
            refused(e.reason, e, so_many);
        }
    }

    fn handles(&mut self) {
        if self.random.one_in(4) {
            let helds: Vec<_> = (0..8).map(|_| self.held()).collect();
            let ids: Vec<_> = helds.iter().map(|held| held.id).collect();
            let jobs: Vec<_> = helds.into_iter().map(|held| move || run(held)).collect();
            match self.pool.submit_batch(jobs) {
                Ok(handles) => self.pending.extend(ids.into_iter().zip(handles)),
                Err(e) => refused(e.reason, e, 8),
            }
            return;
        }
        for _ in 0..8 {
            let held = self.held();
            let (id, job) = (held.id, move || run(held));
            match self.random.below(3) {
                0 => {
                    let submitted = self.pool.try_submit(job);
                    self.keep(id, submitted);
                }
                1 => {
                    let submitted = self.pool.job().name("named").submit(job);
                    self.keep(id, submitted);
                }
                _ => {
                    let submitted = self.pool.submit(job);
                    self.keep(id, submitted);
                }
            }
        }
    }

    fn cancelled_at_once(&mut self) {
        for _ in 0..4 {
            let does = [Does::Listens, Does::GivesABomb, Does::Nothing][self.random.below(3) as usize];
            let held = self.held_that(does);
            let id = held.id;
            match self.pool.submit(move || run(held)) {
                Ok(handle) if does == Does::GivesABomb => drop(handle),
                Ok(handle) => {
                    if self.random.one_in(2) {
                        std::thread::yield_now(); // perhaps it runs by now
                    }
                    handle.cancel();
                    note(id, handle.join());
                }
                Err(e) => refused(e.reason, e, 1),
            }
        }
    }

    fn with_a_deadline(&mut self) {
        for _ in 0..4 {
            let (held, cx) = (self.held(), self.soon());
            let id = held.id;
            if self.random.one_in(2) {
                let done = self.pool.job().context(&cx).execute(move || fire(held));
                done.unwrap_or_else(|e| refused(e.reason, e, 1));
            } else {
                let submitted = self.pool.job().context(&cx).submit(move || run(held));
                self.keep(id, submitted);
            }
            if self.random.one_in(4) {
                self.round.time.advance(SEC);
            }
        }
    }

    fn calls(&mut self) {
        for _ in 0..2 {
            let held = self.tame();
            let called = if self.random.one_in(2) {
                self.pool.call(|| work(&held))
            } else {
                let cx = self.soon();
                self.pool.job().context(&cx).call(|| work(&held))
            };
            match called {
                Ok(given) => assert_eq!(given.take(), held.id),
                Err(CallError::Rejected(_)) => count(Kind::CallRejected),
                Err(CallError::Panicked(_)) => count(Kind::CallPanicked),
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Jobs that are likely to run when somebody ends the pool.
    pub(crate) fn listeners(&mut self) {
        for _ in 0..8 {
            let held = self.held_that(Does::Listens);
            let (id, submitted) = (held.id, self.pool.try_submit(move || run(held)));
            self.keep(id, submitted);
        }
    }

    fn batch(&mut self) {
        let mut batch = self.pool.batch();
        if self.random.one_in(2) {
            batch = batch.in_flight(1 + self.random.below(8) as usize);
        }
        let mut ids = Vec::new();
        for _ in 0..8 {
            let held = self.held();
            let id = held.id;
            match batch.submit(move || run(held)) {
                Ok(()) => ids.push(id),
                Err(e) => refused(e.reason, e, 1),
            }
        }
        match self.random.below(6) {
            0 => drop(batch),
            1 => batch.detach(),
            2 => {
                batch.cancel();
                batch.join_each().into_iter().zip(ids).for_each(|(result, id)| note(id, result));
            }
            3 => {
                if let Ok(all) = batch.join_all() {
                    assert_eq!(all.into_iter().map(Given::take).collect::<Vec<_>>(), ids);
                }
            }
            4 => drop(batch.by_ref().take(3).count()),
            _ => batch.for_each(|result| note(result.as_ref().map_or(0, |given| given.id), result)),
        }
    }

    fn maps(&mut self) {
        let items: Vec<_> = (0..12).map(|_| self.tame()).collect();
        let ids: Vec<_> = items.iter().map(|held| held.id).collect();
        if self.random.one_in(2) {
            self.pool.map(items, run).zip(ids).for_each(|(result, id)| note(id, result));
        } else {
            let results = self.pool.map_unordered(items, run);
            results.for_each(|result| note(result.as_ref().map_or(0, |given| given.id), result));
        }
    }

    fn scope(&mut self) {
        let helds: Vec<_> = (0..6).map(|_| self.held()).collect();
        let (numbers, random) = ([7_u64; 4], &mut self.random);
        let (pool, numbers) = (&self.pool, &numbers);
        let panicked = quietly(|| {
            pool.scope(|s| {
                for held in helds {
                    let id = held.id;
                    let handle = s.submit(move || {
                        assert_eq!(numbers, &[7; 4]);
                        run(held)
                    });
                    match random.below(4) {
                        0 => drop(handle),
                        1 => handle.cancel(),
                        _ => note(id, handle.join()),
                    }
                }
                if random.one_in(8) {
                    s.cancel();
                }
            });
        });
        if panicked {
            count(Kind::ScopePanicked);
        }
    }

    fn reserved(&mut self) {
        let so_many = 1 + self.random.below(4) as usize;
        let slots = match self.random.below(3) {
            0 => self.pool.try_reserve().map(|slot| vec![slot]),
            1 => self.pool.reserve().map(|slot| vec![slot]),
            _ => self.pool.reserve_many(so_many).map(Iterator::collect),
        };
        let slots: Vec<_> = match slots {
            Ok(slots) => slots,
            Err(_) => return count(Kind::RefusedSlots),
        };
        for slot in slots {
            match self.random.below(4) {
                0 => drop(slot),
                1 => {
                    let held = self.held();
                    slot.execute(move || fire(held));
                }
                _ => {
                    let held = self.held();
                    self.pending.push((held.id, slot.submit(move || run(held))));
                }
            }
        }
    }

    fn whatever_is_done_when_it_is_full(&mut self) {
        for _ in 0..8 {
            let (held, choice) = (self.held(), self.random.below(5));
            let on_full = [OnFull::Wait, OnFull::Refuse, OnFull::CallerRuns, OnFull::DropNewest, OnFull::DropOldest];
            let id = held.id;
            let job = self.pool.job().on_full(on_full[choice as usize].clone());
            let submitted = job.submit(move || run(held));
            self.keep(id, submitted);
        }
    }

    /// Polls so often and then drops the future, or until it is ready.
    fn polled<F: Future>(&mut self, future: F) -> Option<F::Output> {
        if self.random.one_in(2) {
            return Some(futures::executor::block_on(future));
        }
        let mut future = pin!(future);
        for _ in 0..self.random.below(4) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
                return Some(output);
            }
            std::thread::yield_now();
        }
        None
    }

    fn futures(&mut self) {
        for _ in 0..4 {
            let held = self.tame(); // a future drops its closure here
            let (id, pool) = (held.id, self.pool.clone());
            match self.polled(pool.submit_async(move || run(held))) {
                None => count(Kind::LeftInLine),
                Some(Err(e)) => refused(e.reason, e, 1),
                Some(Ok(handle)) => {
                    let handle = if self.random.one_in(2) { handle.cancel_on_drop() } else { handle };
                    if let Some(result) = self.polled(handle) {
                        note(id, result);
                    }
                }
            }
        }
    }

    /// Jobs that wait for jobs of their own pool, in one way or another.
    fn nested(&mut self) {
        let (held, inner, way) = (self.held(), self.pool.clone(), self.random.below(4));
        let (id, does) = (held.id, self.tame_does());
        let submitted = self.pool.submit(move || {
            count(Kind::Nested);
            // Made here: if this job never runs they are given to nobody.
            let below = (1..4).map(|n| Held::new(id | n << 60, does)).collect();
            nested(&inner, below, way);
            drop(inner);
            run(held)
        });
        self.keep(id, submitted);
    }

    fn partial(&mut self) {
        let mut partial = Partial::new();
        for branch in 0..3 {
            let held = self.held();
            match self.pool.submit(move || run(held)) {
                Ok(handle) if branch == 0 => partial = partial.mandatory(handle),
                Ok(handle) => partial = partial.optional(handle),
                Err(e) => refused(e.reason, e, 1),
            }
        }
        let cx = self.soon();
        if self.random.one_in(2) {
            self.round.time.advance(SEC * 3);
        }
        if let Ok(arrived) = partial.join(&cx) {
            let late = |branch: &Result<_, BranchError>| matches!(branch, Err(BranchError::Late(_)));
            ledger::add(Kind::PartialLate, arrived.optional.iter().filter(|branch| late(branch)).count() as u64);
        }
    }

    /// Where somebody else may cancel it.
    fn in_somebodys_context(&mut self) {
        let token = {
            let tokens = self.round.tokens.lock().unwrap();
            tokens[self.random.below(tokens.len() as u64) as usize].clone()
        };
        let cx = Context::background().with_token(&token);
        cx.in_scope(|| {
            self.handles();
            self.bursts();
            self.reserved();
        });
    }

    fn cancel_somebody(&mut self) {
        let token = {
            let mut tokens = self.round.tokens.lock().unwrap();
            let whose = self.random.below(tokens.len() as u64) as usize;
            std::mem::replace(&mut tokens[whose], CancelToken::new())
        };
        token.cancel();
    }

    /// Others may wait meanwhile, so nothing here does.
    fn pause(&mut self) {
        self.pool.pause();
        self.listeners();
        self.pool.resume();
        count(Kind::Paused);
    }

    fn resize(&mut self) {
        if !self.round.is_elastic {
            return;
        }
        let threads = 1 + self.random.below(MOST_THREADS as u64) as usize;
        let queue = self.random.below(LONGEST as u64) as usize;
        if self.pool.resize(threads, queue).is_ok() {
            count(Kind::Resized);
        }
    }

    fn retire(&mut self) {
        let held = self.held_that(Does::Retires);
        let (id, submitted) = (held.id, self.pool.submit(move || run(held)));
        self.keep(id, submitted);
    }

    fn look(&mut self) {
        let stats = self.pool.stats();
        assert!(stats.in_flight <= MOST_THREADS + LONGEST, "{stats:?}");
        assert!(stats.threads <= MOST_THREADS && stats.queue <= LONGEST, "{stats:?}");
        assert_eq!(self.pool.jobs_per_worker().len(), MOST_THREADS);
    }

    /// Does something with the oldest handles, until so few are left.
    fn settle(&mut self, left: usize) {
        let more = self.pending.len().saturating_sub(left);
        let pending: Vec<_> = self.pending.drain(..more).collect();
        for (id, mut handle) in pending {
            match self.random.below(16) {
                0 => drop(handle),
                1 => drop(handle.cancel_on_drop()),
                2 => handle.cancel(),
                3 => {
                    if let Some(result) = handle.try_join() {
                        note(id, result);
                    }
                }
                4 => {
                    let cx = self.soon();
                    self.round.time.advance(SEC);
                    if let Some(result) = handle.join_within(&cx) {
                        note(id, result);
                    }
                }
                5 => {
                    if let Some(result) = self.polled(handle) {
                        note(id, result);
                    }
                }
                6 => {
                    handle.cancel();
                    note(id, handle.join());
                }
                _ => note(id, handle.join()),
            }
        }
    }

    /// The last of its handles goes with a job, if nobody else is to end the pool.
    pub(crate) fn leave(mut self) {
        self.settle(0);
        if !self.round.drops_its_handles() {
            return;
        }
        let held = self.tame();
        let handle = self.pool.clone();
        let job = move || {
            fire(held);
            drop(handle);
        };
        match self.pool.execute(job) {
            Ok(()) => count(Kind::LastHandleInJob),
            Err(e) => refused(e.reason, e, 1),
        }
    }
}

fn nested(pool: &Pool, below: Vec<Held>, way: u64) {
    match way {
        0 => {
            for held in below {
                let id = held.id;
                match pool.submit_or_run(move || run(held)) {
                    Ok(handle) => note(id, handle.join()),
                    Err(e) => refused(e.reason, e, 1),
                }
            }
        }
        1 => {
            for held in below {
                match pool.call(|| work(&held)) {
                    Ok(given) => _ = given.take(),
                    Err(CallError::Rejected(_)) => count(Kind::CallRejected),
                    Err(CallError::Panicked(_)) => count(Kind::CallPanicked),
                    Err(e) => panic!("{e}"),
                }
            }
        }
        2 => {
            _ = quietly(|| {
                pool.scope(|s| below.into_iter().for_each(|held| drop(s.submit(move || run(held)))));
            })
        }
        _ => {
            let mut batch = pool.batch();
            for held in below {
                if let Err(e) = batch.submit(move || run(held)) {
                    refused(e.reason, e, 1);
                }
            }
            batch.for_each(|result| note(result.as_ref().map_or(0, |given| given.id), result));
        }
    }
}
