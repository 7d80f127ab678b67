//! [`PanicPayload`]: what is left of a panic that was caught.

use super::JobId;
use crate::sync::Mutex;
use std::any::Any;
use std::backtrace::Backtrace;
use std::fmt;

/// What a panicking job left behind.
pub struct PanicPayload(Box<Left>); // every result of a call is as large as its largest error

struct Left {
    message: Option<Box<str>>,
    job: Option<Box<str>>,
    id: Option<JobId>,
    backtrace: Option<Box<Backtrace>>,
    // Behind a mutex because a payload is `Send` but not `Sync`, and an error must be both to be boxed.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl PanicPayload {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&'static str>().map(|s| Box::from(*s));
        let message = text.or_else(|| payload.downcast_ref::<String>().map(|s| Box::from(s.as_str())));
        Self(Box::new(Left { message, job: None, id: None, backtrace: None, payload: Mutex::new(payload) }))
    }

    /// The same with what is known of where it comes from.
    pub(crate) fn of_job(mut self, id: Option<JobId>, job: Option<&str>, backtrace: Option<Backtrace>) -> Self {
        self.0.id = id;
        self.0.job = job.map(Box::from);
        self.0.backtrace = backtrace.map(Box::new);
        self
    }

    /// The name of the job that panicked, if it has one.
    pub fn job(&self) -> Option<&str> {
        self.0.job.as_deref()
    }

    /// Which job panicked, if it has a handle or is one of several: that of its [handle](crate::JobHandle::id).
    pub fn job_id(&self) -> Option<JobId> {
        self.0.id
    }

    /// Where the panic began, if that is [recorded](crate::pool::record_backtraces).
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.backtrace.as_deref()
    }

    /// The panic's text, if it had one: a `panic!` with a string or a format.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Goes on panicking with it, on this thread.
    ///
    /// # Panics
    ///
    /// Always; that is what it is for.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.0.payload.into_inner())
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicPayload")
            .field("message", &self.0.message)
            .field("job", &self.0.job)
            .finish_non_exhaustive()
    }
}
