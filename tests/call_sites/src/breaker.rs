//! Breakers, retries, and admissions composed by hand.

use std::time::Duration;
use watertight::{Breaker, Budget, BuildError, CallError, Context, Limit, Recovery, RejectReason, Retry, Trip};

pub fn build() -> Result<Breaker, BuildError> {
    Breaker::builder("payments")
        .trip(Trip::rate(0.5).min_calls(20))
        .recovery(Recovery::after(Duration::from_secs(5)).probes(3))
        .build()
}

/// Two policies in an order of the caller's choice, with nothing but `?`.
pub fn charge<E>(
    limit: &Limit,
    breaker: &Breaker,
    cx: &Context,
    client: impl FnOnce(Option<Duration>) -> Result<u32, E>,
) -> Result<u32, CallError<E>> {
    let permit = limit.acquire(cx)?;
    let admitted = breaker.admit()?;
    let out = client(cx.remaining());
    admitted.record(&out);
    drop(permit);
    out.map_err(CallError::Failed)
}

/// For callbacks: the admission is a value and goes along.
pub fn charge_later(breaker: &Breaker) -> Result<impl FnOnce(bool) + Send + 'static, RejectReason> {
    let admitted = breaker.admit()?;
    Ok(move |well: bool| if well { admitted.success() } else { admitted.failure() })
}

/// Somebody's own loop around a schedule of pauses: an attempt more than there are pauses.
pub fn retried<E>(cx: &Context, retry: &Retry, mut client: impl FnMut() -> Result<u32, E>) -> Result<u32, E> {
    let mut pauses = retry.schedule();
    loop {
        match (client(), pauses.next()) {
            (Err(_), Some(pause)) if cx.sleep(pause).is_ok() => {}
            (out, _) => return out,
        }
    }
}

pub fn patient() -> Retry {
    Retry::exponential(Duration::from_millis(50)).attempts(3).budget(Budget::percent(20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight::breaker::BreakerState;

    #[test]
    fn what_is_composed_by_hand_answers_did_it_start() {
        let (limit, breaker, cx) = (Limit::new(1), build().unwrap(), Context::background());
        assert_eq!(charge(&limit, &breaker, &cx, |_| Ok::<_, ()>(7)).unwrap(), 7);
        assert!(matches!(charge(&limit, &breaker, &cx, |_| Err("no")), Err(CallError::Failed("no"))));
        breaker.force_open();
        let refused = charge(&limit, &breaker, &cx, |_| -> Result<u32, ()> { unreachable!("it is forced open") });
        let refused = refused.unwrap_err();
        assert!(!refused.started() && refused.retry_after().is_some());
        assert_eq!(limit.in_flight(), 0);
        breaker.reset();
        charge_later(&breaker).unwrap()(true);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_schedule_is_an_iterator_of_pauses() {
        let mut calls = 0;
        let retry = Retry::constant(Duration::ZERO).attempts(3);
        let out = retried(&Context::background(), &retry, || {
            calls += 1;
            if calls == 3 { Ok(7) } else { Err(()) }
        });
        assert_eq!((out, calls), (Ok(7), 3));
        assert_eq!(patient().schedule().count(), 2);
    }
}
