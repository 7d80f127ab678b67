
mod clock;
mod deadline;
mod error;
pub mod event;
pub mod retry;
mod sync;
mod window;

pub use clock::{Clock, ManualClock};
pub use deadline::Deadline;
pub use error::{BuildError, CallError, CancelCause, Interrupted, JobError, PanicPayload, RejectReason, Rejected};
pub use retry::{Budget, Jitter, Retry};
