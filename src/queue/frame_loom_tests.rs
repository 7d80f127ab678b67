//! Models of lent work, on itself: loom sees every access to the frame.

use super::frame::{Desk, Returned, Ticket};
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Mutex, Parker, Waiter};
use loom::alloc::Track;
use loom::sync::Arc;

/// What hands the ticket over.
type Table = Arc<Mutex<Option<Ticket>>>;

fn a_worker(table: &Table) -> loom::thread::JoinHandle<bool> {
    let table = table.clone();
    spawn(move || {
        let ticket = table.lock().take();
        ticket.map(|ticket| ticket.run(|_| {})).is_some()
    })
}

/// A caller that leaves when it likes, against a worker that has the ticket. The desk serves it twice, and whatever became
/// of the first turn, the second is another.
fn a_lender_that_leaves_against_a_worker() {
    let (desk, table) = (Arc::new(Desk::new()), Table::default());
    let worker = a_worker(&table);
    for turn in 0..2 {
        let borrowed = Track::new(turn);
        let returned = Desk::lend(&desk, || *borrowed.get_ref(), |lent| drop(table.lock().replace(lent.ticket())));
        match returned {
            Returned::Done(result) => assert_eq!(result, turn),
            Returned::Unrun(work) => assert_eq!(work(), turn, "it comes back whole"),
        }
    }
    worker.join().unwrap();
}

#[test]
fn loom_lent_work_is_run_or_comes_back_and_nobody_touches_it_afterwards() {
    let name = "lent work is run or comes back, and nobody touches it afterwards";
    model(name, a_lender_that_leaves_against_a_worker);
    twin("frame: a lender leaves while its work runs", a_lender_that_leaves_against_a_worker);
    twin("frame: who takes work back looks first and takes it later", a_lender_that_leaves_against_a_worker);
    twin("frame: the lender is told before the work is done", a_lender_that_leaves_against_a_worker);
}

/// A caller that waits for the end, whichever it is: a lost wake is a deadlock.
fn a_lender_that_waits(refuses: bool) {
    let (desk, table) = (Arc::new(Desk::new()), Table::default());
    let returned = Desk::lend(
        &desk,
        || 7,
        |lent| {
            let ticket = lent.ticket();
            let worker = spawn(move || if refuses { drop(ticket) } else { ticket.run(|_| {}) });
            let parker = Parker::new();
            let waiter = Waiter::thread(&parker);
            while lent.poll_over(&waiter).is_pending() {
                parker.park();
            }
            worker.join().unwrap();
        },
    );
    drop(table);
    assert_eq!(matches!(returned, Returned::Done(7)), !refuses);
}

#[test]
fn loom_a_lender_that_waits_is_woken_when_its_work_is_done_or_refused() {
    for refuses in [false, true] {
        let name =
            format!("a lender that waits is woken when its work is {}", if refuses { "refused" } else { "done" });
        model(&name, move || a_lender_that_waits(refuses));
        twin("frame: a lender is not woken", move || a_lender_that_waits(refuses));
    }
}
