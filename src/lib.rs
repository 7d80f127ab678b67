//! Worker pools, bulkheads, breakers, deadlines and retries that keep a service up when a dependency is down.

mod clock;
mod deadline;
mod error;
pub mod event;
mod sync;

pub use clock::{Clock, ManualClock};
pub use deadline::Deadline;
pub use error::{BuildError, CallError, CancelCause, Interrupted, JobError, PanicPayload, RejectReason, Rejected};
