use super::*;
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

proptest! {
    #[test]
    fn trees_do_what_the_naive_model_does(ops in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..40)) {
        let mut model = Naive::default();
        let mut real: Vec<Option<CancelToken>> = Vec::new();
        model.add(vec![]);
        real.push(Some(CancelToken::new()));
        for (step, (op, i, j)) in ops.into_iter().enumerate() {
            let (i, j) = (i.index(real.len()), j.index(real.len()));
            match (op, real[i].clone(), real[j].clone()) {
                (0, Some(parent), _) => { model.add(vec![i]); real.push(Some(parent.child())); }
                (1, Some(a), Some(b)) => { model.add(vec![i, j]); real.push(Some(a.link(&b))); }
                (2, Some(token), _) => { model.cancel(i, CAUSES[step]); token.cancel_because(CancelCause::Because(CAUSES[step])); }
                (3, Some(_), _) if i > 0 => real[i] = None,
                _ => {}
            }
            for (k, token) in real.iter().enumerate() {
                if let Some(token) = token {
                    let cause = model.cause[k].map(|why| Interrupted::Cancelled(CancelCause::Because(why)));
                    prop_assert_eq!(token.cause(), cause);
                    prop_assert_eq!(token.is_cancelled(), cause.is_some());
                }
            }
        }
        // Dropping everything but the root leaves nothing on its lists.
        let root = real.swap_remove(0);
        drop(real);
        prop_assert_eq!(root.as_ref().unwrap().registrations(), 0);
    }
}
