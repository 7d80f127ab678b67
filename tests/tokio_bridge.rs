//! Tokens to and from tokio-util's: either side cancels the other, with and without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{self, Wake, Waker};
use std::thread;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use watertight::{CancelCause, CancelToken, Context, Interrupted, ManualClock, Pool};

const REQUESTED: Interrupted = Interrupted::Cancelled(CancelCause::Requested);

/// A pair made each way.
fn pairs() -> [(CancelToken, CancellationToken); 2] {
    let (theirs, ours) = (CancellationToken::new(), CancelToken::new());
    [(CancelToken::from_tokio(&theirs), theirs), (ours.clone(), ours.to_tokio())]
}

#[test]
fn either_side_cancels_the_other() {
    for (ours, theirs) in pairs() {
        assert!(!ours.is_cancelled() && !theirs.is_cancelled());
        theirs.cancel();
        assert_eq!(ours.cause(), Some(REQUESTED));
    }
    for (ours, theirs) in pairs() {
        ours.cancel_because(CancelCause::Because("of this"));
        assert!(theirs.is_cancelled());
        assert_eq!(ours.cause(), Some(Interrupted::Cancelled(CancelCause::Because("of this"))));
    }
}

#[test]
fn who_waits_and_who_is_below_sees_it_before_cancel_returns() {
    for by_theirs in [true, false] {
        for (ours, theirs) in pairs() {
            let (our_child, their_child) = (ours.child(), theirs.child_token());
            let (told, hears) = channel();
            our_child.on_cancel(move |why| told.send(why).unwrap()).keep();
            let woken = Arc::new(Counted(AtomicUsize::new(0)));
            let mut waits = pin!(their_child.cancelled());
            assert!(waits.as_mut().poll(&mut task::Context::from_waker(&woken.clone().into())).is_pending());
            if by_theirs {
                theirs.cancel()
            } else {
                ours.cancel()
            }
            assert!(our_child.is_cancelled() && their_child.is_cancelled());
            assert_eq!((hears.try_recv(), woken.0.load(SeqCst)), (Ok(REQUESTED), 1));
        }
    }
}

/// A waker that counts.
struct Counted(AtomicUsize);
impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_child_does_not_cancel_what_is_above() {
    for (ours, theirs) in pairs() {
        ours.child().cancel();
        theirs.child_token().cancel();
        ours.child().to_tokio().cancel();
        CancelToken::from_tokio(&theirs.child_token()).cancel();
        assert!(!ours.is_cancelled() && !theirs.is_cancelled());
    }
}

#[test]
fn the_pair_of_a_cancelled_token_is_born_cancelled() {
    let theirs = CancellationToken::new();
    let (below, root) = (theirs.child_token(), &theirs);
    root.cancel();
    for theirs in [&theirs, &below] {
        let ours = CancelToken::from_tokio(theirs);
        assert_eq!(ours.cause(), Some(REQUESTED));
        assert!(ours.to_tokio().is_cancelled());
    }
    let ours = CancelToken::new();
    let before = ours.to_tokio();
    ours.cancel_because(CancelCause::Shutdown);
    assert!(before.is_cancelled() && ours.to_tokio().is_cancelled() && ours.child().to_tokio().is_cancelled());
    assert_eq!(ours.cause(), Some(Interrupted::Cancelled(CancelCause::Shutdown)));
}

#[test]
fn a_token_has_one_pair_and_bridges_of_bridges_end() {
    let ours = CancelToken::new();
    assert_eq!(ours.to_tokio(), ours.clone().to_tokio());
    assert_ne!(ours.to_tokio(), ours.child().to_tokio());
    let theirs = CancellationToken::new();
    assert_eq!(CancelToken::from_tokio(&theirs).to_tokio(), theirs);
    let again = CancelToken::from_tokio(&ours.to_tokio());
    assert_eq!(again.to_tokio(), ours.to_tokio());
    for cancels in
        [|ours: &CancelToken, _: &CancelToken| ours.cancel(), |_: &CancelToken, again: &CancelToken| again.cancel()]
    {
        let ours = CancelToken::new();
        let again = CancelToken::from_tokio(&CancelToken::from_tokio(&ours.to_tokio()).to_tokio());
        cancels(&ours, &again);
        assert!(ours.is_cancelled() && again.is_cancelled() && ours.to_tokio().is_cancelled());
    }
}

#[test]
fn a_token_that_is_never_cancelled_is_not_cancelled_by_its_pair() {
    let (never, theirs) = (CancelToken::never(), CancelToken::never().to_tokio());
    theirs.cancel();
    assert!(!never.is_cancelled() && !never.to_tokio().is_cancelled());
}

#[test]
fn tokens_in_the_middle_may_be_dropped() {
    let theirs = CancellationToken::new();
    let below = CancelToken::from_tokio(&theirs).child();
    theirs.cancel();
    assert!(below.is_cancelled());

    let theirs = CancellationToken::new();
    let below = theirs.child_token();
    let ours = CancelToken::from_tokio(&theirs);
    drop(theirs);
    ours.cancel();
    assert!(below.is_cancelled());

    let ours = CancelToken::new();
    let theirs = ours.to_tokio();
    let below = ours.child();
    drop(ours);
    theirs.cancel();
    assert!(below.is_cancelled());
}

#[test]
fn what_ours_was_dropped_of_is_nobodys_business() {
    let theirs = CancellationToken::new();
    drop(CancelToken::from_tokio(&theirs));
    let (ours, others) = (CancelToken::new(), CancelToken::new());
    let left = ours.to_tokio();
    drop(ours);
    assert!(!left.is_cancelled() && !theirs.is_cancelled(), "dropping is not cancelling");
    left.cancel();
    theirs.cancel();
    // A token made now may have the address of one that is gone.
    assert!(!others.to_tokio().is_cancelled() && !CancelToken::new().to_tokio().is_cancelled());
}

#[test]
fn callbacks_that_panic_or_come_back_harm_nobody() {
    for by_theirs in [true, false] {
        for (ours, theirs) in pairs() {
            let (told, hears) = channel();
            ours.on_cancel(|_| panic!("on purpose")).keep();
            let (a, b) = (ours.clone(), theirs.clone());
            ours.on_cancel(move |_| {
                b.cancel();
                a.cancel();
                drop(CancelToken::from_tokio(&b));
                told.send((a.to_tokio().is_cancelled(), b.is_cancelled())).unwrap();
            })
            .keep();
            if by_theirs {
                theirs.cancel()
            } else {
                ours.cancel()
            }
            // Ours tells its callbacks in their order: when cancelled from here, tokio's is told first or last.
            assert!(hears.recv().unwrap().0);
            assert!(ours.is_cancelled() && theirs.is_cancelled());
        }
    }
}

/// tokio wakes some dozens at a time: those after them may be gone, or come, before it is their turn.
#[test]
fn a_callback_may_drop_and_make_bridges_of_the_same_token() {
    for by_ours in [false, true] {
        let theirs = CancellationToken::new();
        let bridges: Vec<_> = (0..200).map(|_| CancelToken::from_tokio(&theirs)).collect();
        let kept: Vec<_> = bridges.iter().step_by(7).cloned().collect();
        let first = bridges[0].clone();
        let (bridges, went_well) = (Arc::new(Mutex::new(bridges)), Arc::new(AtomicUsize::new(0)));
        for token in kept.iter() {
            let (theirs, bridges, went_well) = (theirs.clone(), bridges.clone(), went_well.clone());
            token
                .on_cancel(move |_| {
                    let half = bridges.lock().unwrap().len() / 2;
                    let dropped = bridges.lock().unwrap().split_off(half);
                    drop(dropped);
                    assert!(CancelToken::from_tokio(&theirs).is_cancelled());
                    went_well.fetch_add(1, SeqCst);
                })
                .keep();
        }
        if by_ours {
            first.cancel()
        } else {
            theirs.cancel()
        }
        assert!(theirs.is_cancelled() && kept.iter().all(CancelToken::is_cancelled));
        assert_eq!((bridges.lock().unwrap().len(), went_well.load(SeqCst)), (0, kept.len()));
    }
}

/// Both sides at once, with a drop of what is between them: nobody waits for anybody, and both are cancelled in the end.
#[test]
fn both_sides_may_cancel_at_once() {
    const ROUNDS: usize = 2_000;
    let (start, end) = (Barrier::new(3), Barrier::new(3));
    let (send_ours, ours_come) = channel::<CancelToken>();
    let (send_theirs, theirs_come) = channel::<CancellationToken>();
    thread::scope(|s| {
        s.spawn(|| {
            let ours_come = ours_come;
            for ours in ours_come {
                start.wait();
                ours.cancel_because(CancelCause::Shutdown);
                assert!(ours.is_cancelled());
                drop(ours);
                end.wait();
            }
        });
        s.spawn(|| {
            let theirs_come = theirs_come;
            for theirs in theirs_come {
                start.wait();
                theirs.cancel();
                assert!(theirs.is_cancelled());
                drop(theirs);
                end.wait();
            }
        });
        let mut causes = [0; 2];
        // Until each side has been the first.
        for round in 0.. {
            if round >= ROUNDS && !causes.contains(&0) {
                break;
            }
            let (ours, theirs) = pairs()[round % 2].clone();
            let (bridged, back) = (CancelToken::from_tokio(&theirs), ours.child().to_tokio());
            send_ours.send(ours.clone()).unwrap();
            send_theirs.send(theirs.clone()).unwrap();
            start.wait();
            drop(back);
            let fresh = if round % 4 < 2 {
                CancelToken::from_tokio(&theirs)
            } else {
                CancelToken::from_tokio(&ours.to_tokio())
            };
            end.wait();
            assert!(ours.is_cancelled() && theirs.is_cancelled() && bridged.is_cancelled() && fresh.is_cancelled());
            causes[usize::from(ours.cause() == Some(REQUESTED))] += 1;
        }
        drop((send_ours, send_theirs));
    });
}

/// Made, looked at, cancelled and dropped by two threads at once: every pair that is given is a live one.
#[test]
fn a_pair_may_be_asked_for_while_the_token_is_cancelled() {
    const ROUNDS: usize = 2_000;
    let mut slot = CancelToken::new();
    for round in 0..ROUNDS {
        let ours = std::mem::take(&mut slot);
        let start = Barrier::new(2);
        thread::scope(|s| {
            let other = s.spawn(|| {
                start.wait();
                let theirs = ours.to_tokio();
                if round % 2 == 0 {
                    ours.cancel();
                }
                assert_eq!(theirs.is_cancelled(), ours.is_cancelled());
                theirs
            });
            start.wait();
            let theirs = ours.to_tokio();
            let of_the_other = other.join().unwrap();
            if round % 2 == 1 {
                assert_eq!(theirs, of_the_other, "one pair");
            }
            of_the_other.cancel();
            assert!(theirs.is_cancelled() || ours.to_tokio().is_cancelled());
            assert!(ours.is_cancelled() && theirs.is_cancelled());
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tokio() {
    for by_theirs in [true, false] {
        for (ours, theirs) in pairs() {
            let ours_ends = tokio::spawn(ours.child().cancelled());
            let theirs_ends = tokio::spawn(theirs.child_token().cancelled_owned());
            let raced = tokio::spawn(Context::background().with_token(&ours).run(std::future::pending::<()>()));
            if by_theirs {
                theirs.cancel()
            } else {
                ours.cancel()
            }
            assert_eq!(ours_ends.await.unwrap(), REQUESTED);
            theirs_ends.await.unwrap();
            assert_eq!(raced.await.unwrap(), Err(REQUESTED));
        }
    }
}

/// A job on a thread is stopped by an application that knows tokio's tokens alone, and no runtime is there.
#[test]
fn without_a_runtime() {
    let pool = Pool::builder("bridged").threads(1).build().unwrap();
    let shutdown = CancellationToken::new();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_token(&CancelToken::from_tokio(&shutdown));
    let (begun, has_begun) = channel();
    let job = pool.job().context(&cx).submit(move || {
        begun.send(()).unwrap();
        Context::current().sleep(Duration::from_secs(3600))
    });
    has_begun.recv().unwrap();
    shutdown.cancel();
    assert_eq!(job.unwrap().join().unwrap(), Err(REQUESTED));

    let theirs = cx.token().child().to_tokio();
    assert!(theirs.is_cancelled());
    let ours = CancelToken::new();
    let theirs = ours.to_tokio();
    let waiter = thread::spawn(move || futures::executor::block_on(theirs.cancelled()));
    ours.cancel();
    waiter.join().unwrap();
}

/// A pair below a pair below a pair: whoever cancels the first tells them in turn, on a thread of the usual size.
#[test]
fn a_long_row_of_bridges_is_cancelled() {
    let first = CancelToken::new();
    let mut row = vec![first.clone()];
    for _ in 0..1_000 {
        let below = row[row.len() - 1].child();
        row.push(below.clone());
        row.push(CancelToken::from_tokio(&below.to_tokio().child_token()));
    }
    thread::spawn(move || first.cancel()).join().unwrap();
    assert!(row.iter().all(CancelToken::is_cancelled));
}

/// Deep in a row a cancel returns before tokio's token is cancelled; the outermost does not.
#[test]
fn a_cancel_within_a_long_row_of_bridges_takes_its_turn() {
    let first = CancelToken::new();
    let mut row = vec![first.clone()];
    for _ in 0..40 {
        let below = row[row.len() - 1].child();
        row.push(below.clone());
        row.push(CancelToken::from_tokio(&below.to_tokio().child_token()));
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    for token in &row {
        let seen = seen.clone();
        token
            .on_cancel(move |_| {
                let within = CancelToken::new();
                let theirs = within.to_tokio();
                within.cancel();
                assert!(within.is_cancelled());
                let at_once = theirs.is_cancelled();
                seen.lock().unwrap().push((at_once, theirs));
            })
            .keep();
    }
    first.cancel();
    assert!(row.iter().all(CancelToken::is_cancelled));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), row.len());
    assert!(seen.iter().all(|(_, theirs)| theirs.is_cancelled()), "all, when the outermost has returned");
    assert!(seen.iter().any(|(at_once, _)| !at_once) && seen.iter().any(|(at_once, _)| *at_once));
}

#[test]
fn a_waker_of_nobodys_is_no_runtime() {
    let (ours, theirs) = (CancelToken::new(), CancellationToken::new());
    let bridged = CancelToken::from_tokio(&theirs);
    let mut ended = pin!(ours.link(&bridged).cancelled());
    assert!(ended.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    theirs.cancel();
    assert!(ended.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_ready());
}
