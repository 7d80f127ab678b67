//! The flow against a straight-line reading of the same rules.

use super::flow::{Ended, Flow, Step};
use crate::error::{CallError, Interrupted, PanicPayload, RejectReason};
use crate::event::Class;
use proptest::prelude::*;
use std::time::Duration;

/// What the world answers in one attempt.
#[derive(Clone, Copy, Debug)]
struct Answers {
    admitted: bool,
    acquired: bool,
    ended: u8,
    pause: Option<u8>,
    left: Option<u8>,
    paid: bool,
    slept: bool,
}

fn answers() -> impl Strategy<Value = Answers> {
    let yes = || prop::bool::weighted(0.8);
    (yes(), yes(), 0u8..12, prop::option::weighted(0.8, 0u8..20), prop::option::of(0u8..30), yes(), yes()).prop_map(
        |(admitted, acquired, ended, pause, left, paid, slept)| Answers {
            admitted,
            acquired,
            ended,
            pause,
            left,
            paid,
            slept,
        },
    )
}

const REFUSED: RejectReason = RejectReason::NoThreads;

fn ended(a: Answers, n: u32) -> Ended<u32, u32> {
    match a.ended {
        0 => Ended::Returned(Ok(n), Class::Success),
        1 => Ended::Panicked(PanicPayload::new(Box::new("x"))),
        2 => Ended::Interrupted(Interrupted::DeadlinePassed),
        3 => Ended::Refused(REFUSED),
        4 => Ended::Returned(Err(n), Class::Final),
        5 => Ended::Returned(Err(n), Class::Ignore),
        6 => Ended::Returned(Ok(n), Class::Failure),
        7 => Ended::Returned(Err(n), Class::RetryAfter(ms(10))),
        _ => Ended::Returned(Err(n), Class::Failure),
    }
}

fn ms(n: u8) -> Duration {
    Duration::from_millis(n.into())
}

/// The pause before the next attempt: at least what the dependency asks for.
fn pause(a: Answers) -> Option<u8> {
    a.pause.map(|pause| if a.ended == 7 { pause.max(10) } else { pause })
}

/// The rules in a straight line: the kind of outcome, its number, and how many attempts were entered.
fn straight(script: &[Answers]) -> (&'static str, u32, u32) {
    let (mut entered, mut failed) = (0, None);
    for (a, n) in script.iter().zip(1..) {
        let refused = match failed {
            Some((how, n)) => (how, n, entered),
            None => ("rejected", 0, entered),
        };
        if !a.admitted || !a.acquired || a.ended == 3 {
            return refused;
        }
        entered += 1;
        match a.ended {
            0 => return ("ok", n, entered),
            1 => return ("panicked", 0, entered),
            2 => return ("interrupted", 0, entered),
            4 | 5 => return ("failed", n, entered), // not tried again
            _ => {}
        }
        let how = if a.ended == 6 { "ok" } else { "failed" };
        failed = Some((how, n));
        if pause(*a).is_none_or(|p| a.left.is_some_and(|left| p >= left)) || !a.paid || !a.slept {
            return (how, n, entered);
        }
    }
    ("more", 0, entered)
}

proptest! {
    #[test]
    fn the_flow_keeps_its_order_and_never_calls_started_work_rejected(script in prop::collection::vec(answers(), 1..6)) {
        let mut flow: Flow<u32, u32> = Flow::new();
        let mut at = script.iter().copied().zip(1u32..);
        let (mut now, mut n) = at.next().unwrap();
        let (mut entered, mut before) = (0, Step::Done);
        let expected = straight(&script);
        let result = loop {
            let step = flow.next();
            match step {
                Step::Attempt { number } => {
                    if let Step::Ask = before {
                        match at.next() {
                            Some(next) => (now, n) = next,
                            None => break None,
                        }
                    } else {
                        prop_assert_eq!((before, number), (Step::Done, 1));
                    }
                    prop_assert_eq!(number, n);
                    let let_in = now.admitted && now.acquired;
                    entered += u32::from(let_in && now.ended != 3);
                    let ended = if let_in { ended(now, n) } else { Ended::Refused(REFUSED) };
                    let over = ended.again().is_none();
                    flow.finished(ended, || now.pause.map(ms), || now.left.map(ms));
                    // Drivers do not ask the flow about a first attempt that is the last.
                    prop_assert!(!over || flow.next() == Step::Done);
                }
                Step::Spend => flow.spent(now.paid),
                Step::Sleep { failed, pause: asked } => {
                    prop_assert_eq!((failed, Some(asked)), (n, pause(now).map(ms)));
                    flow.slept(if now.slept { Ok(()) } else { Err(Interrupted::DeadlinePassed) });
                }
                Step::Ask => flow.asked(None),
                Step::Done => break Some(flow.into_result()),
            }
            before = step;
        };
        let got = match result {
            None => ("more", 0, entered),
            Some(result) => {
                prop_assert_eq!(result.as_ref().err().is_some_and(|e| !e.started()), entered == 0);
                match result {
                    Ok(n) => ("ok", n, entered),
                    Err(CallError::Rejected(_)) => ("rejected", 0, entered),
                    Err(CallError::Interrupted(_)) => ("interrupted", 0, entered),
                    Err(CallError::Panicked(_)) => ("panicked", 0, entered),
                    Err(CallError::Failed(n)) => ("failed", n, entered),
                }
            }
        };
        prop_assert_eq!(got, expected);
    }
}
