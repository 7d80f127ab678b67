//! The hook that carries another library's ambient state. It is set once for the process, so this is a process of its own.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use watertight::context::{Propagate, propagate};
use watertight::{Bulkhead, Context, Isolation, Pool};

thread_local! {
    /// Spans as tracing has them: a stack of names.
    static SPANS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn spans() -> Vec<&'static str> {
    SPANS.with_borrow(Vec::clone)
}

struct Span;

impl Span {
    fn enter(name: &'static str) -> Self {
        SPANS.with_borrow_mut(|spans| spans.push(name));
        Self
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        SPANS.with_borrow_mut(|spans| _ = spans.pop());
    }
}

struct Spans(Arc<()>);

impl Propagate for Spans {
    type Carried = (&'static str, Arc<()>);
    type Entered = Span;

    fn capture(&self) -> Option<Self::Carried> {
        let name = *spans().last()?;
        assert_ne!(name, "capture panics");
        Some((name, self.0.clone()))
    }

    fn enter(&self, (name, _): &Self::Carried) -> Span {
        assert_ne!(*name, "enter panics");
        Span::enter(name)
    }
}

/// Carries nothing, ever.
struct Nothing;

impl Propagate for Nothing {
    type Carried = ();
    type Entered = ();
    fn capture(&self) -> Option<()> {
        None
    }
    fn enter(&self, (): &()) {
        unreachable!("there is nothing to enter")
    }
}

#[test]
fn a_span_travels_with_every_form_of_work_and_stays_nowhere() {
    let held = Arc::new(());
    assert_eq!(propagate((Nothing, Spans(held.clone()))), Ok(()));
    assert!(propagate(Nothing).is_err());
    let pool = Pool::builder("carries").threads(1).queue(8).build().unwrap();
    assert_eq!(pool.submit(spans).unwrap().join().unwrap(), [""; 0], "nothing to carry");
    {
        let _request = Span::enter("request");
        assert_eq!(pool.submit(spans).unwrap().join().unwrap(), ["request"]);
        let (told, hears) = channel();
        pool.execute(move || told.send(spans()).unwrap()).unwrap();
        assert_eq!(hears.recv().unwrap(), ["request"]);
        assert_eq!(futures::executor::block_on(pool.call_async(spans)).unwrap(), ["request"]);
        let later = pool.submit_async(spans);
        let another = Span::enter("another, by the time it is polled");
        assert_eq!(futures::executor::block_on(later).unwrap().join().unwrap(), ["request"]);
        drop(another);
        let bulkhead = Bulkhead::builder("db", Isolation::Threads(1)).timeout(Duration::from_secs(60)).build().unwrap();
        assert_eq!(bulkhead.call(&Context::current(), |_| Ok::<_, ()>(spans())).unwrap(), ["request"]);
        let later = bulkhead.call_blocking(&Context::current(), |_| Ok::<_, ()>(spans()));
        let another = Span::enter("another, by the time it is polled");
        assert_eq!(futures::executor::block_on(later).unwrap(), ["request"]);
        drop(another);
        assert_eq!(bulkhead.call_here(&Context::current(), |_| Ok::<_, ()>(spans())).unwrap(), ["request"]);
        // A scope inside a job does not bring the submitter's span back over the job's own.
        let inner = pool.submit(|| {
            let _step = Span::enter("step");
            Context::current().with_timeout(Duration::from_secs(60)).in_scope(spans)
        });
        assert_eq!(inner.unwrap().join().unwrap(), ["request", "step"]);
        // Nor does a context from outside between the two.
        let inner = pool.submit(|| {
            let (cx, _step) = (Context::current(), Span::enter("step"));
            Context::background().in_scope(|| cx.in_scope(spans))
        });
        assert_eq!(inner.unwrap().join().unwrap(), ["request", "step"]);
        // A job's job carries what was there when it was submitted.
        let inner_pool = pool.clone();
        let nested = pool.submit(move || {
            let _step = Span::enter("step");
            inner_pool.submit(spans).unwrap().join().unwrap()
        });
        assert_eq!(
            nested.unwrap().join().unwrap(),
            ["request", "step", "step"],
            "claimed by the job that waits for it"
        );
        let elsewhere = Pool::builder("elsewhere").threads(1).build().unwrap();
        let nested = pool.submit(move || {
            let _step = Span::enter("step");
            elsewhere.submit(spans).unwrap().join().unwrap()
        });
        assert_eq!(nested.unwrap().join().unwrap(), ["step"]);
    }
    // What a context carried to a job is not carried on when there is nothing to carry any more.
    let kept = {
        let _request = Span::enter("request");
        pool.submit(Context::current).unwrap().join().unwrap()
    };
    assert_eq!(pool.job().context(&kept).submit(spans).unwrap().join().unwrap(), [""; 0]);
    for name in ["capture panics", "enter panics"] {
        let _request = Span::enter(name);
        assert_eq!(pool.submit(spans).unwrap().join().unwrap(), [""; 0], "it costs what it carries and nothing else");
    }
    assert!(pool.submit(|| panic!("on purpose")).unwrap().join().is_err());
    assert_eq!(pool.submit(spans).unwrap().join().unwrap(), [""; 0]);
    drop(kept);
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!((spans(), Arc::strong_count(&held)), (vec![], 2), "ours and the hook's");
}
