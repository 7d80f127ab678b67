//! Tokens, deadlines and contexts.

use std::future::Future;
use std::io::{self, Read};
use std::time::Duration;
use watertight::{CancelToken, Clock, Context, Deadline, Interrupted};

/// What a request carries.
pub struct Request {
    token: CancelToken,
}

impl Request {
    pub fn token(&self) -> &CancelToken {
        &self.token
    }
}

/// Linked cancellation: ends with the request or with the service.
pub fn context_of(request: &Request, shutdown_token: &CancelToken) -> Context {
    let token = request.token().link(shutdown_token);
    Context::current().with_token(&token).with_timeout(Duration::from_secs(2))
}

/// The cooperative checkpoint, in a function with an error of its own.
pub fn copy(cx: &Context, mut from: impl Read) -> io::Result<usize> {
    let (mut buffer, mut total) = ([0; 16], 0);
    loop {
        cx.check()?; // into io::Error as well
        match from.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

/// What a client's time-out argument wants: no deadline, no time-out.
pub fn client_timeout(cx: &Context) -> Option<Duration> {
    cx.remaining()
}

/// A budget for the whole, and a smaller one for a part: a deadline only tightens.
pub fn part_of(whole: Deadline, clock: &Clock) -> Deadline {
    whole.child(clock.now(), Duration::from_millis(50))
}

/// A future or the end of the context, whichever is first.
pub async fn or_ended<F: Future>(cx: &Context, f: F) -> Result<F::Output, Interrupted> {
    cx.run(f).await
}

/// A pause that can be cut short, on a thread and in a task.
pub fn pause(cx: &Context) -> Result<(), Interrupted> {
    cx.sleep(Duration::from_millis(1))
}
pub async fn pause_async(cx: &Context) -> Result<(), Interrupted> {
    cx.sleep_async(Duration::from_millis(1)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use watertight::{CancelCause, ManualClock};

    #[test]
    fn either_parent_ends_it() {
        let (request, shutdown) = (Request { token: CancelToken::new() }, CancelToken::new());
        let cx = context_of(&request, &shutdown);
        assert_eq!(copy(&cx, &[0; 100][..]).unwrap(), 100);
        shutdown.cancel_because(CancelCause::Shutdown);
        assert_eq!(cx.check(), Err(Interrupted::Cancelled(CancelCause::Shutdown)));
        let cut = copy(&cx, &[0; 100][..]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::Other); // not `Interrupted`, which `read_exact` would try again
        assert!(!request.token().is_cancelled());
    }

    #[test]
    fn deadlines_only_tighten() {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock());
        assert_eq!(client_timeout(&cx), None);
        let tight = cx.with_timeout(Duration::from_millis(20));
        assert_eq!(client_timeout(&tight.with_timeout(Duration::from_secs(9))), Some(Duration::from_millis(20)));
        assert_eq!(part_of(tight.deadline(), &time.clock()), tight.deadline());
        assert_eq!(part_of(Deadline::NEVER, &time.clock()).remaining(time.now()), Some(Duration::from_millis(50)));
        time.advance(Duration::from_secs(1));
        assert_eq!(client_timeout(&tight), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn waits_end_with_the_context() {
        let cx = Context::background();
        assert_eq!(pause(&cx), Ok(()));
        assert_eq!(pause_async(&cx).await, Ok(()));
        assert_eq!(or_ended(&cx, async { 7 }).await, Ok(7));
        let token = CancelToken::new();
        let cx = cx.with_token(&token);
        token.cancel();
        assert_eq!(token.cancelled().await, Interrupted::Cancelled(CancelCause::Requested));
        assert_eq!(cx.ended().await, Interrupted::Cancelled(CancelCause::Requested));
        assert!(or_ended(&cx, std::future::pending::<()>()).await.is_err());
        assert!(pause(&cx).is_err() && pause_async(&cx).await.is_err());
    }
}
