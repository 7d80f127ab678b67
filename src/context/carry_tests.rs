//! Values, shields and detached work.

use super::*;
use crate::event::{Event, from_fn};
use crate::{CancelCause, JobError, ManualClock, Pool};
use std::sync::Arc;
use std::sync::mpsc::channel;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq)]
struct Tenant(u32);
#[derive(Debug, PartialEq)]
struct Priority(u8);

#[test]
fn values_are_one_of_a_type_and_travel_with_everything_made_from_a_context() {
    let cx = Context::background().with_value(Tenant(1)).with_value(Priority(9));
    let other = cx.with_value(Tenant(2));
    assert_eq!((cx.value(), other.value()), (Some(&Tenant(1)), Some(&Tenant(2))));
    let made = [
        cx.with_timeout(SECOND),
        cx.with_token(&CancelToken::new()),
        cx.with_clock(&ManualClock::new().clock()),
        cx.detached(),
        cx.child(),
        cx.shield(SECOND, Context::clone).unwrap(),
    ];
    assert!(made.iter().all(|cx| (cx.value(), cx.value()) == (Some(&Tenant(1)), Some(&Priority(9)))));
    assert_eq!(Context::background().value::<Tenant>(), None);
    assert_eq!(cx.value::<u32>(), None);
}

#[test]
fn values_go_with_the_last_context_and_one_that_panics_harms_nobody() {
    struct Panics(#[expect(dead_code, reason = "held")] Arc<()>);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let count = Arc::new(());
    let mut cx = Context::background();
    for _ in 0..100 {
        cx = cx.with_value(Panics(count.clone())); // work that submits its successor keeps the last one only
        assert!(Arc::strong_count(&count) <= 3);
    }
    let unwound = std::panic::catch_unwind(move || {
        let _dropped_while_unwinding = cx;
        panic!("another");
    });
    assert!(unwound.is_err());
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_job_is_run_dropped_and_told_of_in_its_own_context() {
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let tell = told.clone();
    let observer = from_fn(move |event| {
        if matches!(event, Event::Panicked { .. } | Event::Shed { .. }) {
            tell.lock().push(Context::current().value::<Tenant>().map(|tenant| tenant.0));
        }
    });
    let pool = Pool::builder("carries").threads(1).queue(4).observer(observer).build().unwrap();
    let cx = Context::background().with_value(Tenant(7));
    assert!(matches!(
        pool.job().context(&cx).submit(|| panic!("on purpose")).unwrap().join(),
        Err(JobError::Panicked(_))
    ));
    // Shed in the queue, by the canceller: neither it nor the worker is in the job's context by itself.
    struct Sees(std::sync::mpsc::Sender<Option<u32>>);
    impl Drop for Sees {
        fn drop(&mut self) {
            self.0.send(Context::current().value::<Tenant>().map(|tenant| tenant.0)).unwrap();
        }
    }
    let (release, held) = channel::<()>();
    let busy = pool.submit(move || held.recv()).unwrap();
    let (saw, sees) = channel();
    let sees_drop = Sees(saw);
    let queued = pool.job().context(&cx).submit(move || drop(sees_drop)).unwrap();
    queued.cancel();
    assert_eq!(sees.recv().unwrap(), Some(7));
    drop(release);
    assert!(busy.join().unwrap().is_err());
    assert_eq!(*told.lock(), [Some(7), Some(7)]);
}

#[test]
fn a_shield_defers_both_ends_and_is_bounded_by_its_own_limit() {
    let time = ManualClock::new();
    let token = CancelToken::new();
    let cx = Context::background().with_clock(&time.clock()).with_token(&token).with_timeout(SECOND);
    let (left_behind, seen) = cx
        .shield(3 * SECOND, |shielded| {
            time.advance(2 * SECOND);
            token.cancel();
            assert_eq!(cx.check(), Err(Interrupted::Cancelled(CancelCause::Requested)));
            assert_eq!(Context::current().remaining(), Some(SECOND), "the ambient one is the shielded one");
            let seen = (shielded.check(), shielded.token().is_cancelled());
            time.advance(SECOND);
            assert_eq!(shielded.check(), Err(Interrupted::DeadlinePassed), "its own limit");
            (shielded.with_value(Tenant(1)), seen)
        })
        .unwrap();
    assert_eq!(seen, (Ok(()), false));
    assert!(left_behind.check().is_err());
    assert!(cx.shield(SECOND, |_| unreachable!("it has ended")).is_err());
}

#[test]
fn what_a_shield_leaves_behind_hears_of_a_later_cancel_and_leaks_nothing() {
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let left = cx.shield(SECOND, |cx| cx.clone()).unwrap();
    let kept = token.registrations();
    for _ in 0..1000 {
        let unwound = std::panic::catch_unwind(|| {
            cx.shield(SECOND, |cx| {
                let _used = cx.token().child();
                panic!("on purpose")
            })
        });
        assert!(unwound.is_err());
    }
    assert_eq!(token.registrations(), kept);
    token.cancel_because(CancelCause::Shutdown);
    assert_eq!(left.check(), Err(Interrupted::Cancelled(CancelCause::Shutdown)));
    drop(left);
    assert_eq!(token.registrations(), 0);
}

#[test]
fn a_chain_of_100_000_shields_is_cancelled_and_dropped_without_overflow_and_kept_short() {
    for cancel in [true, false] {
        let token = CancelToken::new();
        let mut cx = Context::background().with_token(&token);
        let mut held = Vec::new();
        for step in 0..100_000 {
            cx = cx.shield(SECOND, Context::clone).unwrap();
            if cancel {
                held.push(cx.token().clone());
            } else if step % 1000 == 0 {
                assert!(
                    cx.token().depth() < 5,
                    "a job that submits its successor from inside keeps nothing of the past"
                );
            }
        }
        if cancel {
            token.cancel();
            assert!(held.iter().all(CancelToken::is_cancelled));
        }
        drop(cx);
        drop(held);
        assert_eq!(token.registrations(), 0);
    }
}

#[test]
fn a_shield_cut_short_by_its_own_end_drops_what_was_deferred() {
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let left = cx
        .shield(SECOND, |shielded| {
            let listens = shielded.token().on_cancel(|_| ());
            token.cancel_because(CancelCause::Shutdown);
            shielded.token().cancel_because(CancelCause::Because("inside"));
            drop(listens);
            shielded.clone()
        })
        .unwrap();
    assert_eq!(left.check(), Err(Interrupted::Cancelled(CancelCause::Because("inside"))), "the first cause wins");
    assert_eq!(token.registrations(), 0);
}

#[test]
fn a_deadline_that_passes_during_a_shield_is_told_at_its_end() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let left = cx
        .shield(60 * SECOND, |shielded| {
            time.advance(SECOND);
            assert!(cx.check().is_err() && shielded.check().is_ok());
            shielded.clone()
        })
        .unwrap();
    assert_eq!(left.check(), Err(Interrupted::DeadlinePassed));
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let left = futures::executor::block_on(cx.shield_async(60 * SECOND, async |shielded| {
        time.advance(SECOND);
        shielded
    }));
    assert_eq!(left.unwrap().check(), Err(Interrupted::DeadlinePassed), "though nobody had looked");
}

#[test]
fn a_shield_within_a_shield_and_an_asynchronous_one() {
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    cx.shield(SECOND, |outer| {
        outer
            .shield(SECOND, |inner| {
                token.cancel();
                assert!(outer.check().is_ok() && inner.check().is_ok());
            })
            .unwrap();
        assert!(outer.check().is_ok());
    })
    .unwrap();
    assert!(cx.check().is_err());
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let section = cx.shield_async(SECOND, |shielded| {
        let token = token.clone();
        async move {
            token.cancel();
            (shielded.check(), Context::current().check())
        }
    });
    assert_eq!(futures::executor::block_on(section), Ok((Ok(()), Ok(()))));
    let late = cx.shield_async(SECOND, |_| async { unreachable!("it has ended") });
    assert!(futures::executor::block_on(late).is_err());
}

#[test]
fn detached_work_has_no_end_but_its_own_and_is_told_of() {
    let (tell, told) = channel();
    let observer = from_fn(move |event| {
        if let Event::Detached { name, job, .. } = event {
            tell.send((name.to_string(), job.map(str::to_string))).unwrap();
        }
    });
    let pool = Pool::builder("detached").threads(1).observer(observer).build().unwrap();
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token).with_timeout(Duration::ZERO).with_value(Tenant(7));
    token.cancel();
    let audit = cx.detached();
    assert_eq!((audit.check(), audit.remaining(), audit.value()), (Ok(()), None, Some(&Tenant(7))));
    assert!(audit.with_timeout(SECOND).is_detached() && !cx.is_detached());
    pool.job().context(&audit).name("audit").submit(|| ()).unwrap().join().unwrap();
    pool.job().context(&audit).execute(|| ()).unwrap();
    pool.submit(|| ()).unwrap().join().unwrap();
    pool.shutdown(&Context::background()).unwrap();
    let told: Vec<_> = told.try_iter().collect(); // all of it: nobody is left to tell
    assert_eq!(told, [("detached".into(), Some("audit".to_string())), ("detached".to_string(), None)]);
}
