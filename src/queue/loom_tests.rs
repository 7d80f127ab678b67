//! Models of the ring and of the parking, run on themselves: loom sees every access to a cell.

use super::job::InlineJob;
use super::ring::{Empty, Ring};
use super::{Queue, Wake};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::model::{model, spawn, twin, wide_model};
use crate::sync::{Condvar, Mutex, Spin, look_so_often, moment};
use loom::alloc::Track;
use loom::sync::Arc;

/// What jobs leave behind: how often they ran, and in which order.
#[derive(Default)]
struct Ran(Mutex<Vec<usize>>);

/// A job that says its number, and whose closure loom misses if it is not dropped.
fn numbered(n: usize) -> InlineJob<Ran> {
    let track = Track::new(n);
    InlineJob::new(move |ran: &Ran| ran.0.lock().push(*track.get_ref()))
}

/// Pushes however often it takes.
fn push(ring: &Ring<Ran>, n: usize) {
    let (mut job, mut turn) = (numbered(n), 0);
    while let Err(full) = ring.push(job) {
        job = full;
        moment(&mut turn);
    }
}

/// Pops `jobs` jobs and says in which order they came.
fn pop(ring: &Ring<Ran>, jobs: usize) -> Vec<usize> {
    let ran = Ran::default();
    for _ in 0..jobs {
        let mut turn = 0;
        loop {
            match ring.pop() {
                Ok(job) => break job.run(&ran),
                Err(_) => moment(&mut turn),
            }
        }
    }
    ran.0.into_inner()
}

/// One pushes a lap more than there are cells while another pops.
fn around(cells: usize) {
    let ring = Arc::new(Ring::new(cells));
    let jobs = cells + 1;
    let popper = {
        let ring = ring.clone();
        spawn(move || pop(&ring, jobs))
    };
    (0..jobs).for_each(|n| push(&ring, n));
    assert!(popper.join().unwrap().into_iter().eq(0..jobs));
    assert_eq!(ring.pop().unwrap_err(), Empty { closed: false });
}

#[test]
fn loom_a_cell_is_touched_by_one_thread_at_a_time_around_a_ring_of_one_and_of_two() {
    for cells in [1, 2] {
        model(&format!("jobs come in order and once around a ring of {cells}"), move || around(cells));
        twin("ring: a cell is called filled before it is", move || around(cells));
        twin("ring: a cell is called free before it is", move || around(cells));
    }
}

/// Of two who push, the one who was admitted later may be first, and only that one knows of the pop that made room.
fn admitted_earlier() {
    let (ring, freed) = (Arc::new(Ring::new(2)), Arc::new(AtomicU64::new(0)));
    push(&ring, 0);
    let worker = {
        let (ring, freed) = (ring.clone(), freed.clone());
        spawn(move || {
            let popped = pop(&ring, 1);
            freed.store(1, Ordering::Release);
            popped
        })
    };
    let later = {
        let ring = ring.clone();
        spawn(move || freed.load(Ordering::Acquire) == 1 && ring.push(numbered(1)).is_ok())
    };
    assert!(ring.push(numbered(2)).is_ok(), "it was admitted");
    let both = later.join().unwrap();
    assert_eq!(worker.join().unwrap(), [0]);
    assert_eq!(pop(&ring, 1 + usize::from(both)).len(), 1 + usize::from(both));
}

#[test]
fn loom_who_was_admitted_finds_room_whoever_has_pushed_since() {
    model("who was admitted finds room, whoever has pushed since", admitted_earlier);
    twin("ring: a push reads the tail relaxed", admitted_earlier);
}

/// Two push and two pop.
fn two_and_two(cells: usize) {
    let ring = Arc::new(Ring::new(cells));
    let other = |ring: &Arc<Ring<Ran>>, f: fn(&Ring<Ran>) -> Vec<usize>| {
        let ring = ring.clone();
        spawn(move || f(&ring))
    };
    let pusher = other(&ring, |ring| {
        push(ring, 0);
        Vec::new()
    });
    let popper = other(&ring, |ring| pop(ring, 1));
    push(&ring, 1);
    let here = pop(&ring, 1);
    pusher.join().unwrap();
    let mut all = [here, popper.join().unwrap()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1]);
}

#[test]
fn loom_each_job_is_popped_once_by_whoever_claims_it() {
    for cells in [1, 2] {
        let name = format!("each of two pushed by two is popped once by two, {cells} cells");
        model(&name, move || two_and_two(cells));
    }
    twin("ring: a pop takes without claiming", || two_and_two(2));
}

/// A push, a close and a worker that pops to the end.
fn push_against_close() {
    let ring = Arc::new(Ring::new(2));
    let pusher = {
        let ring = ring.clone();
        spawn(move || ring.push(numbered(0)).is_ok())
    };
    let popper = {
        let ring = ring.clone();
        spawn(move || {
            let (ran, mut turn) = (Ran::default(), 0);
            loop {
                match ring.pop() {
                    Ok(job) => job.run(&ran),
                    Err(Empty { closed: true }) => break ran.0.into_inner().len(),
                    Err(_) => moment(&mut turn),
                }
            }
        })
    };
    ring.close();
    let (accepted, ran) = (pusher.join().unwrap(), popper.join().unwrap());
    assert_eq!(ran, usize::from(accepted), "accepted, it ran; refused, it came back");
}

#[test]
fn loom_a_push_against_a_close_is_accepted_and_popped_or_comes_back() {
    model("a push against a close is accepted and popped, or comes back", push_against_close);
    twin("ring: a closed one takes jobs", push_against_close);
}

fn what_is_left_is_dropped_once() {
    let ring = Arc::new(Ring::new(2));
    let pusher = {
        let ring = ring.clone();
        spawn(move || push(&ring, 0))
    };
    push(&ring, 1);
    if let Ok(job) = ring.pop() {
        drop(job); // unrun
    }
    drop(ring);
    pusher.join().unwrap();
}

#[test]
fn loom_a_closure_that_never_runs_is_dropped_once() {
    model("a closure that never runs is dropped once", what_is_left_is_dropped_once);
    twin("ring: what is left in it is forgotten", what_is_left_is_dropped_once);
}

/// A worker that takes what comes until it is told to leave; how much that was.
fn worker(queue: &Arc<Queue<Ran>>) -> loom::thread::JoinHandle<usize> {
    let queue = queue.clone();
    spawn(move || {
        let (ran, mut seat) = (Ran::default(), queue.seat());
        while let Some(job) = queue.pop(&mut seat, None) {
            job.run(&ran);
        }
        ran.0.into_inner().len()
    })
}

/// The close comes when the job has run: a lost wake is a deadlock.
fn a_submit_against_a_worker_that_lies_down(looks: u32) {
    look_so_often(looks);
    let queue = Arc::new(Queue::new(1, Spin::Brief, Wake::Lifo));
    let worker = worker(&queue);
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    let tell = done.clone();
    queue.push(InlineJob::new(move |ran: &Ran| {
        ran.0.lock().push(0);
        *tell.0.lock() = true;
        tell.1.notify_one();
    }));
    let mut is_done = done.0.lock();
    while !*is_done {
        is_done = done.1.wait(is_done);
    }
    drop(is_done);
    assert!(queue.parking.seen().wakes <= 1);
    queue.close();
    assert_eq!(worker.join().unwrap(), 1);
}

#[test]
fn loom_a_submit_wakes_a_worker_that_lies_down_at_most_once() {
    for looks in [0, 1] {
        let name = format!("a submit against a worker that lies down: no lost wake, at most one, {looks} looks");
        model(&name, move || a_submit_against_a_worker_that_lies_down(looks));
    }
    twin("park: who lies down does not look again", || a_submit_against_a_worker_that_lies_down(0));
}

/// A worker that takes one job and is then busy for ever.
fn busy_after_one(queue: &Arc<Queue<Ran>>) -> loom::thread::JoinHandle<()> {
    let queue = queue.clone();
    spawn(move || queue.pop(&mut queue.seat(), None).expect("not closed").run(&Ran::default()))
}

/// Two jobs, each of which keeps its worker: both workers must come, though a push wakes at most one. A job left beside
/// a sleeper is a deadlock.
fn two_jobs_that_keep_their_workers(looks: u32, together: bool) {
    look_so_often(looks);
    let queue = Arc::new(Queue::new(2, Spin::Brief, Wake::Lifo));
    let workers = [busy_after_one(&queue), busy_after_one(&queue)];
    if together {
        queue.push_all((0..2).map(numbered));
    } else {
        (0..2).for_each(|n| queue.push(numbered(n)));
    }
    workers.into_iter().for_each(|w| w.join().unwrap());
    let seen = queue.parking.seen();
    assert!(seen.wakes <= 2 && seen.wakes_beside_a_searcher == 0, "{seen:?}");
}

#[test]
fn loom_no_job_is_left_beside_a_sleeper_and_no_wake_is_paid_beside_a_searcher() {
    for looks in [0, 1] {
        let name = format!("no job is left beside a sleeper, no wake is paid beside a searcher, {looks} looks");
        match looks {
            0 => model(&name, move || two_jobs_that_keep_their_workers(looks, false)),
            _ => wide_model(&name, move || two_jobs_that_keep_their_workers(looks, false)),
        }
        twin("park: a searcher that leaves work behind wakes nobody", move || {
            two_jobs_that_keep_their_workers(looks, false)
        });
    }
    twin("park: a wake is paid beside a searcher", || two_jobs_that_keep_their_workers(0, false));
}

#[test]
fn loom_a_batch_wakes_one_worker_and_leaves_no_job_beside_a_sleeper() {
    let name = "a batch wakes one worker, which wakes the next";
    model(name, || two_jobs_that_keep_their_workers(0, true));
    twin("queue: a batch wakes nobody", || two_jobs_that_keep_their_workers(0, true));
}

fn a_close_against_two_that_lie_down() {
    let queue = Arc::new(Queue::<Ran>::new(1, Spin::Brief, Wake::Lifo));
    let workers = [worker(&queue), worker(&queue)];
    queue.close();
    assert_eq!(workers.map(|w| w.join().unwrap()), [0, 0]);
}

#[test]
fn loom_a_close_lets_every_worker_leave() {
    model("a close lets every worker leave", a_close_against_two_that_lie_down);
    twin("park: a close wakes nobody", a_close_against_two_that_lie_down);
}
