//! Worker pools, bulkheads, breakers, deadlines and retries that keep a service up when a dependency is down.

pub mod breaker;
pub mod bulkhead;
pub mod cancel;
mod clock;
pub mod context;
mod deadline;
mod error;
pub mod event;
pub mod permit;
pub mod pool;
mod queue;
pub mod retry;
mod sync;
mod wait;
mod window;

pub use breaker::{Admitted, Breaker, Recovery, Trip};
pub use bulkhead::{Bulkhead, Isolation};
pub use cancel::CancelToken;
pub use clock::{Clock, ManualClock};
pub use context::Context;
pub use deadline::Deadline;
pub use error::{BuildError, CallError, CancelCause, Interrupted, JobError, PanicPayload, RejectReason, Rejected};
pub use permit::{Limit, Permit};
pub use pool::{JobHandle, Pool};
pub use retry::{Budget, Jitter, Retry};
