//! The same work three ways. The first is what this crate is for.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on_stream;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use watertight::{Context, JobError, Pool};

use crate::parse::{self, Outcome};
use crate::walk::{Closed, Found};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What the three have in common.
#[derive(Clone)]
pub(crate) struct Work {
    /// Ends the work when it ends: each file is read within it.
    pub(crate) cx: Context,
    /// Before each file: what a network would take.
    pub(crate) latency: Duration,
    /// The parser panics at files with this in their name: a mistake, for the tests.
    pub(crate) panic_on: Option<Arc<str>>,
}

/// How a way went.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ran {
    /// The walk was left before its end: cancelled, or refused.
    pub(crate) stopped: bool,
    /// The system would not give it another thread.
    pub(crate) refused: Option<String>,
    pub(crate) most_threads: usize,
    /// The most files it was at, waiting ones included.
    pub(crate) most_in_hand: usize,
}

/// Told of every file, once, what became of it.
pub(crate) trait Tell: FnMut(&str, Outcome) -> io::Result<()> {}
impl<F: FnMut(&str, Outcome) -> io::Result<()>> Tell for F {}

impl Work {
    fn drain(&self, found: &Found) -> Outcome {
        if self.panic_on.as_deref().is_some_and(|part| found.name.contains(part)) {
            panic!("the parser has a mistake");
        }
        if !self.latency.is_zero() {
            let _ = self.cx.sleep(self.latency); // cut short by the context's end, which `parse` then sees for itself
        }
        parse::file(found, &self.cx)
    }
}

/// `threads` workers, and a queue that makes the walk wait.
///
/// `submit` is the whole of the flow control: it blocks while all workers are busy and `queue` files wait, so the walk
/// gets no further ahead than that, and memory is the same for a thousand files and for a million. What has ended is
/// told of between two submissions, so what has ended does not pile up either.
pub(crate) fn pool(
    (threads, queue): (usize, usize),
    work: &Work,
    files: impl Iterator<Item = Result<Found, Closed>>,
    mut tell: impl Tell,
) -> Result<Ran, Failed> {
    let pool = Pool::builder("drain").threads(threads).queue(queue).build()?;
    let mut ran = Ran { most_threads: threads, ..Ran::default() };
    // Handles are futures, on any executor: here it is only asked which of them have ended, in the order they do. Joined
    // in the order of the walk, one big file would keep all those that ended after it.
    let mut held = FuturesUnordered::new();
    for found in files {
        let found = match found {
            Ok(found) => found,
            Err(closed) => {
                tell(&closed.name, Outcome::Failed(closed.why))?;
                continue;
            }
        };
        let (name, work_here) = (found.name.clone(), work.clone());
        // The context ends the wait for a place, then the wait in the queue, and then, by way of `drain`, the reading.
        match pool.job().context(&work.cx).submit(move || work_here.drain(&found)) {
            Ok(job) => held.push(async move { (name, job.await) }),
            Err(refused) => {
                tell(&name, Outcome::Undone(format!("not taken: {}", refused.reason)))?;
                ran.stopped = true;
                break;
            }
        }
        ran.most_in_hand = ran.most_in_hand.max(pool.stats().in_flight);
        while let Some(Some((name, ended))) = held.next().now_or_never() {
            tell(&name, outcome(ended))?;
        }
    }
    // Taken is taken: every handle says what became of its file. If the context has ended, what was still queued is shed
    // by that, unrun, and what was running leaves its file.
    for (name, ended) in block_on_stream(held) {
        tell(&name, outcome(ended))?;
    }
    pool.shutdown(&Context::background())?; // nothing is left in it, so this is to see its threads leave
    Ok(ran)
}

/// A panic ended its job and not its worker, and no job goes without a word.
fn outcome(ended: Result<Outcome, JobError>) -> Outcome {
    match ended {
        Ok(outcome) => outcome,
        Err(JobError::Shed(why)) => Outcome::Undone(format!("never begun: {why}")),
        Err(JobError::Panicked(payload)) => panicked(payload.message()),
        Err(e) => Outcome::Failed(e.to_string()),
    }
}

fn panicked(message: Option<&str>) -> Outcome {
    Outcome::Failed(format!("the parser panicked: {}", message.unwrap_or("without a message")))
}

/// What a panic that was caught by hand says.
fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// A plain loop: no memory to speak of, and no help from the other processors, nor while the disk is waited for.
pub(crate) fn one(
    work: &Work,
    files: impl Iterator<Item = Result<Found, Closed>>,
    mut tell: impl Tell,
) -> Result<Ran, Failed> {
    let mut ran = Ran { most_threads: 1, ..Ran::default() };
    for found in files {
        match found {
            Ok(_) if work.cx.check().is_err() => {
                ran.stopped = true;
                break;
            }
            Ok(found) => {
                ran.most_in_hand = 1;
                let ended = catch_unwind(AssertUnwindSafe(|| work.drain(&found)));
                tell(&found.name, ended.unwrap_or_else(|payload| panicked(message(&*payload))))?;
            }
            Err(closed) => tell(&closed.name, Outcome::Failed(closed.why))?,
        }
    }
    Ok(ran)
}

/// As it is often written: spawn for each, then join all. Nothing holds the walk back: there are as many threads as there
/// is backlog, or, where they end as fast, as many of their stacks, which are kept until they are joined. So until the
/// system refuses one; that is then its result.
pub(crate) fn thread_per_file(
    stack: Option<usize>,
    work: &Work,
    files: impl Iterator<Item = Result<Found, Closed>>,
    mut tell: impl Tell,
) -> Result<Ran, Failed> {
    let mut ran = Ran::default();
    let live = Arc::new(Live::default());
    let mut all = Vec::new();
    for found in files {
        let found = match found {
            Ok(_) if work.cx.check().is_err() => {
                ran.stopped = true;
                break;
            }
            Ok(found) => found,
            Err(closed) => {
                tell(&closed.name, Outcome::Failed(closed.why))?;
                continue;
            }
        };
        let (name, work, one_more) = (found.name.clone(), work.clone(), Live::one_more(&live));
        let mut thread = thread::Builder::new();
        if let Some(bytes) = stack {
            thread = thread.stack_size(bytes);
        }
        let spawned = thread.spawn(move || {
            let _one_more = one_more;
            work.drain(&found)
        });
        match spawned {
            Ok(thread) => all.push((name, thread)),
            Err(why) => {
                tell(&name, Outcome::Undone(format!("no thread for it: {why}")))?;
                ran.refused = Some(format!("no thread after {}: {why}", all.len()));
                ran.stopped = true;
                break;
            }
        }
    }
    for (name, thread) in all {
        tell(&name, thread.join().unwrap_or_else(|payload| panicked(message(&*payload))))?;
    }
    ran.most_threads = live.most.load(Ordering::Relaxed);
    ran.most_in_hand = ran.most_threads;
    Ok(ran)
}

/// How many there are, and were at most.
#[derive(Default)]
struct Live {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct OneMore(Arc<Live>);

impl Live {
    fn one_more(live: &Arc<Self>) -> OneMore {
        let now = live.now.fetch_add(1, Ordering::Relaxed) + 1;
        live.most.fetch_max(now, Ordering::Relaxed);
        OneMore(live.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
