//! Limits and the permits they hand out.

use watertight::{BuildError, CallError, Context, Limit, Permit, RejectReason};

/// Around borrowed work on the caller's own thread. The permit lives to the end of the block; `let _ = ..` would give it
/// back at once.
pub fn charge<E>(limit: &Limit, cx: &Context, client: &mut dyn FnMut() -> Result<u32, E>) -> Result<u32, CallError<E>> {
    let _permit = limit.acquire(cx)?;
    client().map_err(CallError::Failed)
}

/// The same, awaited.
pub async fn charge_async(limit: &Limit, cx: &Context) -> Result<u32, RejectReason> {
    let _permit = limit.acquire_async(cx).await?;
    Ok(7)
}

/// A permit goes wherever the work goes.
pub fn hand_over(limit: &Limit) -> Result<std::thread::JoinHandle<()>, RejectReason> {
    let permit: Permit = limit.try_acquire()?;
    Ok(std::thread::spawn(move || drop(permit)))
}

/// Numbers out of a configuration give an error, not a panic.
pub fn configured(permits: usize, queue: usize) -> Result<Limit, BuildError> {
    Limit::builder(permits).queue(queue).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn permits_come_back() {
        let (limit, cx) = (configured(1, 0).unwrap(), Context::background());
        let mut borrowed = 0;
        let mut client = || {
            borrowed += 1;
            if borrowed == 1 { Ok(7) } else { Err("no") }
        };
        assert_eq!(charge(&limit, &cx, &mut client).unwrap(), 7);
        assert!(matches!(charge(&limit, &cx, &mut client), Err(CallError::Failed("no"))));
        assert_eq!(charge_async(&limit, &cx).await, Ok(7));
        hand_over(&limit).unwrap().join().unwrap();
        assert_eq!(limit.in_flight(), 0);
    }

    #[test]
    fn refusals_say_why() {
        let limit = configured(1, 0).unwrap();
        let held = limit.try_acquire().unwrap();
        let refused = charge(&limit, &Context::background(), &mut || Ok::<_, ()>(7)).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(RejectReason::Full { limit: 1, waiting: 0 })));
        assert!(!refused.started());
        let past = Context::background().with_timeout(Duration::ZERO);
        assert_eq!(limit.acquire(&past).unwrap_err(), RejectReason::DeadlinePassed);
        drop(held);
        assert_eq!(configured(0, 0).unwrap_err().to_string().split(',').next(), Some("permits is 0"));
    }
}
