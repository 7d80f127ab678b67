//! Token trees against a naive model: the same tokens cancelled for the same causes after every step, callbacks run once or
//! not at all, waiters woken once, and what nobody needs any more let go, seen by the counts of what is captured.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use watertight::cancel::{Cancelled, Registration};
use watertight::{CancelCause, CancelToken, Interrupted};

/// Of tokens, callbacks and waits, so that a long script stays quick to check after every step.
const MOST: usize = 48;

/// Numbers stand for tokens, callbacks and waits, modulo how many there are.
#[derive(Arbitrary, Debug)]
enum Op {
    New,
    Child(u8),
    Link(u8, u8),
    Any(Vec<u8>),
    /// One more handle of the same token.
    Clone(u8),
    /// One handle less, and the token with it if that was the last.
    Drop(u8),
    Cancel(u8, Cause),
    /// A drop guard that is made and dropped, or disarmed first.
    Guard(u8, bool),
    OnCancel(u8, bool),
    TakeBack(u8),
    Wait(u8),
    /// By one of two tasks.
    Poll(u8, bool),
    GiveUp(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Cause {
    Requested,
    Shutdown,
    Dropped,
    This,
    That,
}

impl From<Cause> for CancelCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Requested => Self::Requested,
            Cause::Shutdown => Self::Shutdown,
            Cause::Dropped => Self::Dropped,
            Cause::This => Self::Because("this"),
            Cause::That => Self::Because("that"),
        }
    }
}

/// A token as the model sees it, with the handles of the real one. Parents come before their children.
#[derive(Default)]
struct Token {
    never: bool,
    parents: Vec<usize>,
    cause: Option<Interrupted>,
    handles: Vec<CancelToken>,
}

struct Callback {
    on: usize,
    registration: Option<Registration>,
    kept: bool,
    /// What the callback is to have run for.
    ran: Option<Interrupted>,
    /// The callback holds one more of it and writes to it.
    runs: Arc<Mutex<Vec<Interrupted>>>,
}

#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Waiting {
    on: usize,
    future: Option<Pin<Box<Cancelled>>>,
    tasks: [Arc<Task>; 2],
    /// Which of the tasks is to be woken, and how often each has been.
    registered: Option<usize>,
    woken: [usize; 2],
}

#[derive(Default)]
struct World {
    tokens: Vec<Token>,
    callbacks: Vec<Callback>,
    waits: Vec<Waiting>,
}

impl World {
    /// The token a number stands for, if somebody has a handle of it.
    fn token(&self, number: u8) -> Option<(usize, CancelToken)> {
        let i = usize::from(number) % self.tokens.len();
        Some((i, self.tokens[i].handles.first()?.clone()))
    }

    fn add(&mut self, parents: Vec<usize>, real: CancelToken) {
        let cause = parents.iter().find_map(|p| self.tokens[*p].cause);
        // What is born cancelled needs no parents, and never is nobody's.
        let parents = if cause.is_some() { vec![] } else { parents };
        let parents = parents.into_iter().filter(|p| !self.tokens[*p].never).collect();
        self.tokens.push(Token { never: false, parents, cause, handles: vec![real] });
    }

    fn cancel(&mut self, i: usize, why: Interrupted) {
        if self.tokens[i].never || self.tokens[i].cause.is_some() {
            return;
        }
        let mut fired = vec![false; self.tokens.len()];
        for k in i..self.tokens.len() {
            let token = &mut self.tokens[k];
            if token.cause.is_none() && (k == i || token.parents.iter().any(|p| fired[*p])) {
                (token.cause, fired[k]) = (Some(why), true);
            }
        }
        for callback in self.callbacks.iter_mut().filter(|c| fired[c.on] && (c.kept || c.registration.is_some())) {
            callback.ran = Some(why);
        }
        for wait in self.waits.iter_mut().filter(|wait| fired[wait.on]) {
            if let Some(task) = wait.registered.take() {
                wait.woken[task] += 1;
            }
        }
    }

    fn is_held(&self, i: usize) -> bool {
        !self.tokens[i].handles.is_empty()
            || self.callbacks.iter().any(|c| c.on == i && c.registration.is_some())
            || self.waits.iter().any(|wait| wait.on == i && wait.future.is_some())
    }

    /// Of each callback, whether it must be kept for its token's sake; `None` if only cancelled tokens below would be
    /// what keeps it, which is open.
    fn kept(&self) -> Vec<Option<bool>> {
        let of = |callback: &Callback| {
            let (any, live) =
                if callback.kept && callback.ran.is_none() { self.keeps(callback.on) } else { (false, false) };
            Some(live).filter(|live| *live == any)
        };
        self.callbacks.iter().map(of).collect()
    }

    /// What nobody can run any more, and what is gone of what need not be kept, is not to run.
    fn forget(&mut self) {
        let kept = self.kept();
        for (callback, kept) in self.callbacks.iter_mut().zip(kept) {
            callback.kept &= kept.unwrap_or(Arc::strong_count(&callback.runs) > 1);
        }
    }

    /// Whether the token or one below it is held: any, and any that is not cancelled.
    fn keeps(&self, i: usize) -> (bool, bool) {
        let mut below = vec![false; self.tokens.len()];
        let (mut any, mut live) = (false, false);
        for k in i..self.tokens.len() {
            below[k] = k == i || self.tokens[k].parents.iter().any(|p| below[*p]);
            if below[k] && self.is_held(k) {
                any = true;
                live |= self.tokens[k].cause.is_none();
            }
        }
        (any, live)
    }

    fn step(&mut self, op: Op) {
        let full = self.tokens.len() == MOST;
        match op {
            Op::New | Op::Child(_) | Op::Link(..) | Op::Any(_) if full => {}
            Op::New => self.add(vec![], CancelToken::new()),
            Op::Child(n) => {
                if let Some((i, token)) = self.token(n) {
                    self.add(vec![i], token.child());
                }
            }
            Op::Link(n, m) => {
                if let (Some((i, a)), Some((j, b))) = (self.token(n), self.token(m)) {
                    self.add(vec![i, j], a.link(&b));
                }
            }
            Op::Any(of) => {
                let (parents, tokens): (Vec<_>, Vec<_>) = of.into_iter().take(6).filter_map(|n| self.token(n)).unzip();
                self.add(parents, CancelToken::any(tokens));
            }
            Op::Clone(n) => {
                if let Some((i, token)) = self.token(n) {
                    self.tokens[i].handles.push(token);
                }
            }
            Op::Drop(n) => {
                let i = usize::from(n) % self.tokens.len();
                self.tokens[i].handles.pop();
            }
            Op::Cancel(n, cause) => {
                if let Some((i, token)) = self.token(n) {
                    token.cancel_because(cause.into());
                    self.cancel(i, Interrupted::Cancelled(cause.into()));
                }
            }
            Op::Guard(n, disarmed) => {
                if let Some((i, token)) = self.token(n) {
                    let guard = token.drop_guard();
                    if disarmed {
                        drop(guard.disarm());
                    } else {
                        drop(guard);
                        self.cancel(i, Interrupted::Cancelled(CancelCause::Dropped));
                    }
                }
            }
            Op::OnCancel(n, keep) => self.on_cancel(n, keep),
            Op::TakeBack(n) => {
                if let Some(callback) = nth(&mut self.callbacks, n) {
                    callback.registration = None;
                }
            }
            Op::Wait(n) => {
                if let Some((on, token)) = self.token(n).filter(|_| self.waits.len() < MOST) {
                    let future = Some(Box::pin(token.cancelled()));
                    self.waits.push(Waiting { on, future, tasks: Default::default(), registered: None, woken: [0; 2] });
                }
            }
            Op::Poll(n, second) => self.poll(n, usize::from(second)),
            Op::GiveUp(n) => {
                if let Some(wait) = nth(&mut self.waits, n) {
                    (wait.future, wait.registered) = (None, None);
                }
            }
        }
    }

    fn on_cancel(&mut self, n: u8, keep: bool) {
        let Some((on, token)) = self.token(n).filter(|_| self.callbacks.len() < MOST) else { return };
        let runs = Arc::new(Mutex::new(Vec::new()));
        let log = runs.clone();
        let registration = token.on_cancel(move |why| log.lock().unwrap().push(why));
        let Token { cause, never, .. } = self.tokens[on];
        let mut callback = Callback { on, registration: None, kept: false, ran: cause, runs };
        if keep {
            registration.keep();
            callback.kept = cause.is_none() && !never;
        } else if cause.is_none() && !never {
            callback.registration = Some(registration);
        } else {
            drop(registration); // nothing is registered: it keeps nothing
        }
        self.callbacks.push(callback);
    }

    fn poll(&mut self, n: u8, task: usize) {
        let Some(wait) = nth(&mut self.waits, n) else { return };
        let Some(future) = &mut wait.future else { return };
        let waker = wait.tasks[task].clone().into();
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let token = &self.tokens[wait.on];
        match token.cause {
            Some(why) => {
                assert_eq!(polled, Poll::Ready(why));
                (wait.future, wait.registered) = (None, None);
            }
            None => {
                assert_eq!(polled, Poll::Pending);
                wait.registered = Some(task).filter(|_| !token.never);
            }
        }
    }

    fn check(&mut self) {
        self.forget();
        for token in &self.tokens {
            for handle in &token.handles {
                assert_eq!((handle.cause(), handle.is_cancelled()), (token.cause, token.cause.is_some()));
                assert_eq!(handle.check(), token.cause.map_or(Ok(()), Err));
            }
        }
        for (callback, kept) in self.callbacks.iter().zip(&self.kept()) {
            assert_eq!(*callback.runs.lock().unwrap(), Vec::from_iter(callback.ran));
            let held = callback.ran.is_none() && callback.registration.is_some();
            let is_there = Arc::strong_count(&callback.runs) > 1;
            assert!(kept.is_none_or(|kept| is_there == (kept || held)));
        }
        for wait in &self.waits {
            for (k, task) in wait.tasks.iter().enumerate() {
                assert_eq!(task.0.load(Ordering::Relaxed), wait.woken[k]);
                assert_eq!(Arc::strong_count(task), 1 + usize::from(wait.registered == Some(k)));
            }
        }
    }
}

fn nth<T>(all: &mut [T], number: u8) -> Option<&mut T> {
    let at = usize::from(number).checked_rem(all.len())?;
    all.get_mut(at)
}

fuzz_target!(|script: Vec<Op>| {
    let mut world = World::default();
    world.tokens.push(Token { never: true, handles: vec![CancelToken::never()], ..Token::default() });
    world.add(vec![], CancelToken::new());
    for op in script {
        world.step(op);
        world.check();
    }
    // What is left goes in an order of its own, and takes everything with it.
    for i in 0..world.tokens.len() {
        world.tokens[i].handles.clear();
        world.check();
    }
    for callback in &mut world.callbacks {
        callback.registration = None;
    }
    for wait in &mut world.waits {
        (wait.future, wait.registered) = (None, None);
    }
    world.check();
    assert!(world.callbacks.iter().all(|callback| Arc::strong_count(&callback.runs) == 1));
});
