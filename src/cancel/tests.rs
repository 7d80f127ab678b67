use super::*;
use crate::sync::Mutex;
use proptest::prelude::*;

#[test]
fn the_first_cause_wins_and_is_inherited() {
    let root = CancelToken::new();
    let child = root.child();
    child.cancel_because(CancelCause::Because("mine"));
    assert!(!root.is_cancelled());
    root.cancel();
    assert_eq!(child.cause(), Some(Interrupted::Cancelled(CancelCause::Because("mine"))));
    assert_eq!(root.child().cause(), Some(Interrupted::Cancelled(CancelCause::Requested)));
}

#[test]
fn never_is_never_cancelled_but_its_child_may_be() {
    let never = CancelToken::never();
    let child = never.child();
    never.cancel();
    assert!(!never.is_cancelled() && !child.is_cancelled());
    child.cancel();
    assert!(child.is_cancelled() && !never.is_cancelled());
}

#[test]
fn a_chain_of_100_000_is_cancelled_and_dropped_without_overflow() {
    let root = CancelToken::new();
    let mut last = root.clone();
    for _ in 0..100_000 {
        last = last.child();
    }
    root.cancel();
    assert!(last.is_cancelled());
    drop(root);
    drop(last);

    let mut last = CancelToken::new();
    for _ in 0..100_000 {
        last = last.child();
    }
    drop(last); // never cancelled: the chain of handles unwinds in a loop
}

#[test]
fn a_chain_whose_middle_nobody_holds_stays_short() {
    // A job that submits its successor, for ever: each token is the child of the one before, which is then dropped.
    let (root, held) = (CancelToken::new(), CancelToken::new());
    let middle = root.link(&held).child();
    let mut last = middle.child();
    for _ in 0..1_000 {
        last = last.child();
        assert!(last.depth() <= 5, "{}", last.depth());
    }
    assert!(!last.is_cancelled());
    held.cancel();
    assert!(last.is_cancelled() && middle.is_cancelled() && !root.is_cancelled());
    drop((middle, last));
    assert_eq!(root.registrations(), 0);
}

#[test]
fn dropped_children_and_waits_leave_the_lists() {
    let root = CancelToken::new();
    let children: Vec<_> = (0..100).map(|_| root.child()).collect();
    let mut waits: Vec<_> = (0..100).map(|_| root.cancelled()).collect();
    let waker = futures::task::noop_waker();
    for wait in &mut waits {
        assert!(Pin::new(&mut *wait).poll(&mut task::Context::from_waker(&waker)).is_pending());
        assert!(Pin::new(wait).poll(&mut task::Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(root.registrations(), 200);
    drop(children);
    drop(waits);
    assert_eq!(root.registrations(), 0);
}

#[test]
fn a_panicking_waker_does_not_keep_the_others_asleep() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("bomb");
        }
    }
    let root = CancelToken::new();
    let bomb = std::sync::Arc::new(Bomb).into();
    let mut first = root.cancelled();
    assert!(Pin::new(&mut first).poll(&mut task::Context::from_waker(&bomb)).is_pending());
    let (waker, woken) = futures_test_waker();
    let mut second = root.cancelled();
    assert!(Pin::new(&mut second).poll(&mut task::Context::from_waker(&waker)).is_pending());
    root.cancel();
    assert_eq!(woken.load(std::sync::atomic::Ordering::Relaxed), 1);
}

fn futures_test_waker() -> (std::task::Waker, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    struct Count(std::sync::Arc<std::sync::atomic::AtomicUsize>);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    (std::sync::Arc::new(Count(count.clone())).into(), count)
}

#[test]
fn a_fan_of_a_million_is_cancelled_and_dropped_in_any_order() {
    let root = CancelToken::new();
    let mut children: Vec<_> = (0..1_000_000).map(|_| root.child()).collect();
    assert_eq!(root.registrations(), 1_000_000);
    for step in [7, 3, 2] {
        let mut at = 0;
        children.retain(|_| {
            at += 1;
            at % step != 0
        });
        assert_eq!(root.registrations(), children.len());
    }
    root.cancel();
    assert!(children.iter().all(CancelToken::is_cancelled));
    drop(children);
    assert_eq!(root.registrations(), 0);
}

#[test]
fn any_is_cancelled_by_each_of_its_parents_and_leaves_them() {
    for which in 0..4 {
        let mut parents: Vec<_> = (0..4).map(|_| CancelToken::new()).collect();
        let (owned, borrowed) = (CancelToken::any(parents.clone()), CancelToken::any(&parents));
        let below = borrowed.child();
        parents[which].cancel_because(CancelCause::Shutdown);
        for token in [&owned, &borrowed, &below] {
            assert_eq!(token.cause(), Some(Interrupted::Cancelled(CancelCause::Shutdown)));
        }
        assert!(CancelToken::any(&parents).is_cancelled());
        parents.remove(which);
        drop((owned, borrowed, below));
        assert!(parents.iter().all(|parent| parent.registrations() == 0 && !parent.is_cancelled()));
    }
    let of_none = CancelToken::any::<[CancelToken; 0]>([]);
    let of_never = CancelToken::any([CancelToken::never(), CancelToken::never()]);
    assert!(!of_none.is_cancelled() && !of_never.is_cancelled());
    of_never.cancel();
    assert!(of_never.is_cancelled());
}

#[test]
fn a_callback_runs_once_and_at_once_if_it_comes_late() {
    let token = CancelToken::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = |name: &'static str| {
        let seen = seen.clone();
        move |why| seen.lock().push((name, why))
    };
    token.on_cancel(log("kept")).keep();
    let held = token.on_cancel(log("held"));
    drop(token.on_cancel(log("undone")));
    token.cancel();
    token.cancel();
    let late = token.on_cancel(log("late"));
    let why = Interrupted::Cancelled(CancelCause::Requested);
    assert_eq!(*seen.lock(), [("kept", why), ("held", why), ("late", why)]);
    drop((held, late));
    assert_eq!(token.registrations(), 0);
    let never = CancelToken::never().on_cancel(|_| unreachable!("never is never cancelled"));
    never.keep();
}

#[test]
fn a_callback_may_use_its_own_token_and_its_panic_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let root = CancelToken::new();
    let (token, inner) = (root.child(), root.child());
    let ran = Arc::new(Mutex::new(0));
    let (count, again) = (ran.clone(), ran.clone());
    token.on_cancel(|_| panic!("on purpose")).keep();
    let bomb = Bomb;
    token.on_cancel(move |_| drop(bomb)).keep();
    root.on_cancel(move |_| {
        assert!(inner.is_cancelled() && inner.child().is_cancelled());
        inner.cancel();
        inner.on_cancel(move |_| *count.lock() += 1).keep();
    })
    .keep();
    token.on_cancel(move |_| *again.lock() += 1).keep();
    root.cancel();
    assert_eq!(*ran.lock(), 2);

    // What is dropped unrun is the user's too.
    let bomb = Bomb;
    drop(CancelToken::new().on_cancel(move |_| drop(bomb)));
    let bomb = Bomb;
    CancelToken::new().on_cancel(move |_| drop(bomb)).keep();
}

#[test]
fn a_kept_callback_lives_as_long_as_the_token_or_a_descendant() {
    let root = CancelToken::new();
    let alive = Arc::new(());
    let keep = |token: &CancelToken| {
        let held = alive.clone();
        token.on_cancel(move |_| drop(held)).keep();
    };
    keep(&root.child());
    assert_eq!(Arc::strong_count(&alive), 1, "the token is gone and the callback with it");

    let (middle, ran) = (root.child(), Arc::new(Mutex::new(false)));
    let flag = ran.clone();
    middle.on_cancel(move |_| *flag.lock() = true).keep();
    let last = middle.child();
    drop(middle);
    let below = last.child(); // makes the chain shorter, but not by a token that somebody listens to
    root.cancel();
    assert!(*ran.lock() && below.is_cancelled());
}

#[test]
fn a_drop_guard_cancels_unless_it_is_disarmed() {
    let token = CancelToken::new();
    let disarmed = token.drop_guard().disarm();
    assert!(!disarmed.is_cancelled() && !token.is_cancelled());
    let unwound = std::panic::catch_unwind(|| {
        let _guard = token.drop_guard();
        panic!("on purpose");
    });
    assert!(unwound.is_err());
    assert_eq!(token.cause(), Some(Interrupted::Cancelled(CancelCause::Dropped)));
}

#[test]
fn every_cause_is_told_as_it_was() {
    let because = CancelCause::Because("of this");
    for cause in [CancelCause::Requested, CancelCause::Shutdown, CancelCause::Dropped, because] {
        let root = CancelToken::new();
        let (bare, parent) = (root.child(), root.child());
        let below = parent.child();
        root.cancel_because(cause);
        for token in [&root, &bare, &parent, &below, &below.child()] {
            assert_eq!(token.cause(), Some(Interrupted::Cancelled(cause)));
        }
    }
}

/// What the tree must do, said naively: parents by index, causes found by walking up at the moment of the cancel.
#[derive(Default)]
struct Naive {
    parents: Vec<Vec<usize>>,
    cause: Vec<Option<&'static str>>,
}

impl Naive {
    fn add(&mut self, parents: Vec<usize>) {
        self.cause.push(parents.iter().find_map(|p| self.cause[*p]));
        self.parents.push(parents);
    }

    fn cancel(&mut self, i: usize, cause: &'static str) {
        if self.cause[i].is_some() {
            return;
        }
        self.cause[i] = Some(cause);
        for child in i + 1..self.parents.len() {
            if self.cause[child].is_none() && self.parents[child].iter().any(|p| self.cause[*p] == Some(cause)) {
                self.cause[child] = Some(cause);
            }
        }
    }
}

const CAUSES: [&str; 40] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20",
    "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "36", "37", "38", "39",
];

/// A callback of the script: on which token, whether it is registered still, and how often it has run for what.
struct Called {
    on: usize,
    registration: Option<Registration>,
    /// What the token's cause was when the callback was taken back; `None` if it was not.
    taken_back: Option<Option<&'static str>>,
    runs: Arc<Mutex<Vec<Interrupted>>>,
}

proptest! {
    #[test]
    fn trees_do_what_the_naive_model_does(ops in prop::collection::vec((0u8..7, any::<[prop::sample::Index; 3]>()), 1..40)) {
        let mut model = Naive::default();
        let mut real: Vec<Option<CancelToken>> = Vec::new();
        let mut called: Vec<Called> = Vec::new();
        model.add(vec![]);
        real.push(Some(CancelToken::new()));
        let why = |cause: Option<&'static str>| cause.map(|why| Interrupted::Cancelled(CancelCause::Because(why)));
        for (step, (op, which)) in ops.into_iter().enumerate() {
            let [i, j, k] = which.map(|index| index.index(real.len()));
            match (op, real[i].clone(), real[j].clone(), real[k].clone()) {
                (0, Some(parent), ..) => { model.add(vec![i]); real.push(Some(parent.child())); }
                (1, Some(a), Some(b), _) => { model.add(vec![i, j]); real.push(Some(a.link(&b))); }
                (2, Some(token), ..) => { model.cancel(i, CAUSES[step]); token.cancel_because(CancelCause::Because(CAUSES[step])); }
                (3, Some(_), ..) if i > 0 => real[i] = None,
                (4, Some(a), Some(b), Some(c)) => { model.add(vec![i, j, k]); real.push(Some(CancelToken::any([a, b, c]))); }
                (5, Some(token), ..) => {
                    let runs = Arc::new(Mutex::new(Vec::new()));
                    let log = runs.clone();
                    let registration = token.on_cancel(move |why| log.lock().push(why));
                    called.push(Called { on: i, registration: Some(registration), taken_back: None, runs });
                }
                (6, ..) if !called.is_empty() => {
                    let at = which[0].index(called.len());
                    let one = &mut called[at];
                    if one.registration.take().is_some() {
                        one.taken_back = Some(model.cause[one.on]);
                    }
                }
                _ => {}
            }
            for (k, token) in real.iter().enumerate() {
                if let Some(token) = token {
                    prop_assert_eq!(token.cause(), why(model.cause[k]));
                    prop_assert_eq!(token.is_cancelled(), model.cause[k].is_some());
                }
            }
            for one in &called {
                let expected = one.taken_back.unwrap_or(model.cause[one.on]);
                prop_assert_eq!(&*one.runs.lock(), &Vec::from_iter(why(expected)));
            }
        }
        // Dropping everything but the root leaves nothing on its lists.
        let root = real.swap_remove(0);
        drop((real, called));
        prop_assert_eq!(root.as_ref().unwrap().registrations(), 0);
    }
}
