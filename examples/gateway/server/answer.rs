//! What the gateway answers. A refusal says which limit was hit, its value, the load, and how long to wait.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::client::ClientError;
use crate::plan::Route;

/// The header that names the limit, for clients that do not read the body.
pub(crate) const REFUSED_BY: &str = "x-refused-by";

/// Which limit refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RefusedBy {
    /// The dependency is known to be sick.
    Breaker,
    /// Every thread is busy and the queue is full.
    Full,
    /// The time was up before a thread was free.
    Deadline,
    /// The gateway is going down.
    Shutdown,
    /// The system gave no further thread.
    Threads,
}

impl RefusedBy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            RefusedBy::Breaker => "breaker",
            RefusedBy::Full => "full",
            RefusedBy::Deadline => "deadline",
            RefusedBy::Shutdown => "shutdown",
            RefusedBy::Threads => "threads",
        }
    }

    /// Too much is asked of this compartment: 429. The dependency or the gateway is unwell: 503.
    fn status(self) -> StatusCode {
        match self {
            RefusedBy::Full => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A request that no attempt was made for.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) by: RefusedBy,
    pub(crate) route: Route,
    /// The limit and its value, in words.
    pub(crate) limit: String,
    /// What it is loaded with just now, in words.
    pub(crate) load: String,
    pub(crate) wait: Duration,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Ok(String),
    Refused(Refusal),
    /// The dependency was asked and failed.
    Failed(ClientError),
    /// The time was up before the dependency had answered.
    TimedOut(String),
}

#[derive(Serialize)]
struct Body<'a> {
    refused_by: &'static str,
    compartment: &'static str,
    limit: &'a str,
    load: &'a str,
    retry_after_ms: u128,
}

impl Refusal {
    /// HTTP counts `Retry-After` in whole seconds. Rounded up: whoever comes back must not be early, and zero would
    /// mean at once.
    pub(crate) fn retry_after_secs(&self) -> u64 {
        (self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)).max(1)
    }

    fn body(&self) -> Body<'_> {
        Body {
            refused_by: self.by.name(),
            compartment: self.route.name(),
            limit: &self.limit,
            load: &self.load,
            retry_after_ms: self.wait.as_millis(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let headers = [(RETRY_AFTER.as_str(), self.retry_after_secs().to_string())];
        let by = [(REFUSED_BY, self.by.name())];
        (self.by.status(), headers, by, Json(self.body())).into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Ok(body) => body.into_response(),
            Answer::Refused(refusal) => refusal.into_response(),
            Answer::Failed(ClientError::TimedOut) => {
                (StatusCode::GATEWAY_TIMEOUT, format!("{}\n", ClientError::TimedOut)).into_response()
            }
            Answer::Failed(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
            Answer::TimedOut(why) => (StatusCode::GATEWAY_TIMEOUT, format!("{why}\n")).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(by: RefusedBy, wait_ms: u64) -> Refusal {
        Refusal {
            by,
            route: Route::Recommendations,
            limit: "10 threads and 10 waiting".into(),
            load: "10 running, 10 waiting".into(),
            wait: Duration::from_millis(wait_ms),
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_a_second() {
        for (ms, secs) in [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (2_500, 3)] {
            assert_eq!(refusal(RefusedBy::Breaker, ms).retry_after_secs(), secs, "{ms} ms");
        }
    }

    #[test]
    fn the_limit_decides_the_status_and_is_named() {
        for (by, status) in [(RefusedBy::Breaker, 503), (RefusedBy::Full, 429), (RefusedBy::Deadline, 503)] {
            let response = Answer::Refused(refusal(by, 1_200)).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[REFUSED_BY], by.name());
            assert_eq!(response.headers()[RETRY_AFTER], "2");
        }
    }

    #[test]
    fn the_body_says_which_limit_its_value_the_load_and_how_long_to_wait() {
        let body = serde_json::to_value(refusal(RefusedBy::Full, 250).body()).unwrap();
        assert_eq!(body["compartment"], "recommendations");
        assert_eq!(body["refused_by"], "full");
        assert_eq!(body["limit"], "10 threads and 10 waiting");
        assert_eq!(body["load"], "10 running, 10 waiting");
        assert_eq!(body["retry_after_ms"], 250);
    }
}
