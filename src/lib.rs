//! Worker pools, bulkheads, breakers, deadlines and retries that keep a service up when a dependency is down.

pub mod breaker;
mod clock;
mod deadline;
mod error;
pub mod event;
pub mod retry;
mod sync;
mod window;

pub use breaker::{Admitted, Breaker, Recovery, Trip};
pub use clock::{Clock, ManualClock};
pub use deadline::Deadline;
pub use error::{BuildError, CallError, CancelCause, Interrupted, JobError, PanicPayload, RejectReason, Rejected};
pub use retry::{Budget, Jitter, Retry};
