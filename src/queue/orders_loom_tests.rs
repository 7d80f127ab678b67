//! Models of the orders to workers: to pause, and to leave.

use super::job::InlineJob;
use super::{Queue, Wake};
use crate::sync::Spin;
use crate::sync::model::{model, spawn, twin};
use loom::sync::Arc;

/// What a worker knows of itself here: nothing.
struct Nobody;

fn job() -> InlineJob<Nobody> {
    InlineJob::new(|_: &Nobody| ())
}

/// A worker that takes one job and is then busy for ever, or leaves; whether it took one.
fn worker(queue: &Arc<Queue<Nobody>>) -> loom::thread::JoinHandle<bool> {
    let queue = queue.clone();
    spawn(move || {
        let mut seat = queue.seat();
        match queue.pop(&mut seat, None) {
            Some(job) => {
                job.run(&Nobody);
                true
            }
            None => {
                queue.leave(seat);
                false
            }
        }
    })
}

/// Two jobs, each of which keeps its worker, are pushed in a pause: both workers must come. One left beside a sleeper is a
/// deadlock.
fn pushes_in_a_pause() {
    let queue = Arc::new(Queue::new(2, Spin::Brief, Wake::Lifo));
    let workers = [worker(&queue), worker(&queue)];
    queue.pause();
    queue.push(job());
    queue.push(job());
    queue.resume();
    assert_eq!(workers.map(|w| w.join().unwrap()), [true, true]);
}

#[test]
fn loom_no_wake_is_lost_in_a_pause() {
    model("no wake is lost in a pause", pushes_in_a_pause);
    twin("park: a resume wakes nobody", pushes_in_a_pause);
}

/// A push against a resume, on another thread.
fn a_push_against_a_resume() {
    let queue = Arc::new(Queue::new(1, Spin::Brief, Wake::Fifo));
    let worker = worker(&queue);
    queue.pause();
    let pusher = {
        let queue = queue.clone();
        spawn(move || queue.push(job()))
    };
    queue.resume();
    pusher.join().unwrap();
    assert!(worker.join().unwrap());
}

#[test]
fn loom_a_push_against_a_resume_is_seen() {
    model("a push against a resume is seen", a_push_against_a_resume);
    twin("park: a resume wakes nobody", a_push_against_a_resume);
}

/// One of two workers is told to leave while a job comes: one leaves, the other does it.
fn one_is_to_leave_while_a_job_comes() {
    let queue = Arc::new(Queue::new(1, Spin::Brief, Wake::Lifo));
    let workers = [worker(&queue), worker(&queue)];
    let pusher = {
        let queue = queue.clone();
        spawn(move || queue.push(job()))
    };
    queue.dismiss(1);
    pusher.join().unwrap();
    let worked = workers.map(|w| w.join().unwrap());
    assert_ne!(worked[0], worked[1]);
}

#[test]
fn loom_a_worker_that_is_told_to_leave_strands_no_wake() {
    model("a worker that is told to leave strands no wake", one_is_to_leave_while_a_job_comes);
    twin("park: who leaves keeps its search", one_is_to_leave_while_a_job_comes);
    twin("park: who sleeps is not told to leave", one_is_to_leave_while_a_job_comes);
}
